//go:build !linux

package main

// yield does nothing where threads have no priorities of their own.
func yield() {}
