package main

import (
	"errors"

	"github.com/culprit-http/culprit/internal/host"
	"github.com/culprit-http/culprit/internal/keeper"
)

// usage returns what tells what processes use, of those that own captured connections.
func (l *liveCapture) usage() func(pids []int32) ([]host.Stat, error) {
	return host.Ask(func(request []byte) ([]byte, error) {
		conn, ok := l.keeping.(*keeper.Conn)
		if !ok {
			return nil, errors.New("nothing tells of processes")
		}
		reply, files, err := conn.Call(usageService, request)
		for _, f := range files {
			f.Close()
		}
		return reply, err
	})
}
