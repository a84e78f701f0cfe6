//go:build !linux

package main

import (
	"github.com/culprit-http/culprit/internal/privilege"
)

// dropWithoutCapture does nothing: only Linux has something to give up.
func dropWithoutCapture(privilege.Options) ([]string, error) { return nil, nil }

// handOverStore makes the folder of the store.
func handOverStore(dir, _ string) error { return makeFolder(dir) }

// handOver makes a folder.
func handOver(dir, _ string, _ []string) error { return makePrivate(dir) }
