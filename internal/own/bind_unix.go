//go:build unix

package own

import (
	"strings"

	"golang.org/x/sys/unix"
)

// bind gives a socket a port that is free, and returns it; 0: it couldn't, and the system chooses one later.
func bind(fd int, network string) (port uint16) {
	var any unix.Sockaddr = &unix.SockaddrInet4{}
	if strings.HasSuffix(network, "6") {
		any = &unix.SockaddrInet6{}
	}
	if unix.Bind(fd, any) != nil {
		return 0
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return uint16(at.Port)
	case *unix.SockaddrInet6:
		return uint16(at.Port)
	}
	return 0
}
