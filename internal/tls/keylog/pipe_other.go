//go:build !unix

package keylog

import (
	"errors"
	"os"
)

const nonblocking = 0

func readNow(*os.File, []byte) (int, error) {
	return 0, errors.New("pipes can't be followed on this system: give a file")
}
