//go:build !linux

package main

import (
	"errors"

	"github.com/culprit-http/culprit/internal/process"
)

// sockets is never called: there is no live capture.
func (*liveCapture) sockets() (*process.Listing, error) {
	return nil, errors.New("listing sockets needs Linux")
}
