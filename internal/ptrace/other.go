//go:build !linux

package ptrace

// breakpoint is one that is set; elsewhere than on Linux there are none.
type breakpoint struct{}
