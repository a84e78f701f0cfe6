//go:build !linux

package main

import (
	"context"
	"io"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/privilege"
)

// keep is never called: no process keeps privileges.
func keep(*keeper.Keeper, io.Writer) int { return exitFailed }

// openLive returns an error: live capture needs Linux.
func openLive(context.Context, *config.Live, captureFilter, func(format string, args ...any)) (*liveCapture, error) {
	_, err := afpacket.New(nil, afpacket.Options{})
	return nil, err
}

// drop is never called: there is no live capture.
func (*liveCapture) drop(*config.Live, privilege.Options) ([]string, error) { return nil, nil }
