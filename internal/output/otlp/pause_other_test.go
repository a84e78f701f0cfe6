//go:build !unix

package otlp

import (
	"errors"
	"os"
)

func pause(*os.Process, bool) error { return errors.New("processes can't be paused on this system") }
