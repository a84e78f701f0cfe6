//go:build !linux

package keeper

import (
	"errors"
	"os"
)

// Keeper is the keeper's end of the socket to the worker. There are none but on Linux.
type Keeper struct {
	// Agreed is what the worker gave to Start.
	Agreed []byte
}

// Start returns an error: a keeper needs Linux.
func Start([]byte) (*Conn, error) {
	return nil, errors.New("a second process that keeps privileges needs Linux")
}

// Inherited returns nil: no process is a keeper.
func Inherited() (*Keeper, error) { return nil, nil }

// Serve returns an error: a keeper needs Linux.
func (*Keeper) Serve(Services) error {
	return errors.New("a second process that keeps privileges needs Linux")
}

// link is never made.
type link struct{ ended chan struct{} }

func (*link) call(string, []byte) ([]byte, []*os.File, error) { return nil, nil, ErrEnded }
func (*link) close() error                                    { return nil }
