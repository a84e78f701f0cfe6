//go:build !linux

package folder

import (
	"errors"
	"os"
	"time"
)

// directory isn't there: os.Root does it all.
type directory struct{}

func openDirectory(*os.Root) (*directory, error) { return nil, errors.ErrUnsupported }

func (*directory) empty() bool                       { return false }
func (*directory) close() error                      { return nil }
func (*directory) open(string, int) (File, error)    { return nil, errors.ErrUnsupported }
func (*directory) exists(string) (bool, error)       { return false, errors.ErrUnsupported }
func (*directory) change(string, time.Time) error    { return errors.ErrUnsupported }
func (*directory) rename(string, string, bool) error { return errors.ErrUnsupported }
