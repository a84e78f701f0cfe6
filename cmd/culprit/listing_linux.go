package main

import (
	"errors"

	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/process"
)

// sockets lists the sockets of the network namespace of the capture, if that was agreed. It may be called from another
// goroutine than the rest, one call at a time.
func (l *liveCapture) sockets() (*process.Listing, error) {
	conn, ok := l.keeping.(*keeper.Conn)
	if !ok {
		return nil, errors.New("nothing lists sockets")
	}
	return process.FetchListing(func(request []byte) ([]byte, error) {
		reply, files, err := conn.Call(socketsService, request)
		for _, f := range files {
			f.Close()
		}
		return reply, err
	})
}
