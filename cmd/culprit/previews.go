package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/redact"
)

// maxProtoset is the largest size of a file with descriptors, in bytes.
const maxProtoset = 64 << 20

// newPreviewer makes what lays bodies out, with the descriptors of files. What it decodes, redactor hides the secrets of; nil:
// they are to be seen.
func newPreviewer(files []string, redactor *redact.Redactor) (*preview.Previewer, error) {
	o := preview.Options{Redact: func(_ string, text []byte) []byte { return text }}
	if redactor != nil {
		var mu sync.Mutex // who serves previews asks from several goroutines
		o.Redact = func(mediaType string, text []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			return redactor.Text(mediaType, text)
		}
	}
	for _, name := range files {
		set, err := readProtoset(name)
		if err != nil {
			return nil, &statusError{exitFailed, fmt.Errorf("--proto %s: %w", name, err)}
		}
		o.Protosets = append(o.Protosets, set)
	}
	return preview.New(o), nil
}

func readProtoset(name string) (*preview.Protoset, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProtoset+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxProtoset {
		return nil, fmt.Errorf("it has more than %d bytes: want a FileDescriptorSet in its binary form", maxProtoset)
	}
	return preview.LoadProtoset(data)
}
