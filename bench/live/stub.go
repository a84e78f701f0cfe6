//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench/live: live captures are measured in network namespaces, which needs Linux")
	os.Exit(1)
}
