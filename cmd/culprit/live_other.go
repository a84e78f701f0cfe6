//go:build !linux

package main

import (
	"context"
	"io"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/keeper"
)

// keep is never called: no process keeps privileges.
func keep(*keeper.Keeper, io.Writer) int { return exitFailed }

// openLive returns an error: live capture needs Linux.
func (t *tracing) openLive(context.Context) error {
	_, err := afpacket.New(nil, afpacket.Options{})
	return err
}

// drop does nothing: there is no live capture.
func (t *tracing) drop() error { return nil }
