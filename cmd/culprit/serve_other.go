//go:build !linux

package main

import (
	"github.com/culprit-http/culprit/internal/privilege"
)

// dropWithoutCapture does nothing: only Linux has something to give up.
func dropWithoutCapture(privilege.Options) ([]string, error) { return nil, nil }

// handOver makes the folder of the store.
func handOver(dir, _ string) error { return makeFolder(dir) }
