//go:build !linux

package main

import "github.com/culprit-http/culprit/internal/output/files"

// resources isn't known here.
func resources() []files.Element { return nil }
