package afpacket

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenHandshakes opens a socket that receives what passes s.Program for LinkCooked, at once and without a ring: the
// program should pass nothing but TCP packets with SYN. Of s only Interface and Program count.
func OpenHandshakes(s Spec) (*os.File, error) {
	facts, _, err := look(s.Interface)
	if err != nil {
		return nil, err
	}
	program, err := s.Program(LinkCooked)
	if err != nil {
		return nil, err
	}
	fd, err := packetSocket(s.Interface, unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	if err = setFilter(fd, program); err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: facts.Index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: connection attempts: %w", s.Interface, privilege(err))
	}
	return os.NewFile(uintptr(fd), "connection attempts of "+s.Interface), nil
}
