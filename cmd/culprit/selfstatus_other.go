//go:build !linux

package main

import "github.com/culprit-http/culprit/internal/web"

// selfStatus tells of this process; here, nothing is known.
type selfStatus struct{}

func openSelfStatus() selfStatus { return selfStatus{} }

func (selfStatus) close() {}

func (selfStatus) read(*web.Process) {}
