//go:build !linux

package host

import "errors"

// Open returns an error: the host is measured on Linux only.
func Open(string, func(f func() error) error) (*Files, int64, error) {
	return nil, 0, errors.New("--host-metrics needs Linux: leave it out")
}
