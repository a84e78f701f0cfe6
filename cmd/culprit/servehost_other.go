//go:build !linux

package main

import "github.com/culprit-http/culprit/internal/host"

// usage is never called: there is no live capture.
func (*liveCapture) usage() func(pids []int32) ([]host.Stat, error) { return nil }
