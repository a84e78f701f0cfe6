package main

import (
	"io"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
)

// captureFilter is a capture filter: its text, and what it means; nil for none.
type captureFilter struct {
	expression string
	filter     *pcapfilter.Filter
}

// liveCapture is what a live capture has open.
type liveCapture struct {
	source  capture.Source
	keeping io.Closer // what keeps the privileges
	owners  finder    // of the processes at the ends of connections, or nil
}

// Close closes all of it.
func (l *liveCapture) Close() {
	if l.source != nil {
		l.source.Close()
	}
	if l.owners != nil {
		l.owners.Close()
	}
	if l.keeping != nil {
		l.keeping.Close()
	}
}
