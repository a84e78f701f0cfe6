package afpacket

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The most connection attempts that are looked at in an interval, so that a flood of them costs little. What comes
// beyond waits in the socket's buffer, or is lost there: the ring has it too.
const (
	maxHandshakes     = 200
	handshakeInterval = 100 * time.Millisecond
	// stopWithin is how soon a reader sees that it is to end.
	stopWithin = 200 * time.Millisecond
)

// OpenHandshakes opens a socket that receives what passes s.Filter, at once and without a ring: it should pass nothing
// but TCP packets with SYN. Of s only Interface and Filter count.
func OpenHandshakes(s Spec) (*os.File, error) {
	facts, _, err := look(s.Interface)
	if err != nil {
		return nil, err
	}
	program, err := compile(s.Filter, LinkCooked, 0)
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
		return nil, fmt.Errorf("%s: connection attempts: %w", s.Interface, err)
	}
	return os.NewFile(uintptr(fd), "connection attempts of "+s.Interface), nil
}

// ReadHandshakes reads a socket of OpenHandshakes until stop is closed, and calls each with the ends of each
// connection attempt, as it is made: a ring delivers its packets a little later, when a short connection may be over
// and its process gone. It waits in the kernel, on a thread of its own: that is the fastest way to be woken.
func ReadHandshakes(f *os.File, stop <-chan struct{}, each func(from, to netip.AddrPort)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd := int(f.Fd())
	wait := unix.NsecToTimeval(stopWithin.Nanoseconds())
	if unix.SetNonblock(fd, false) != nil || unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) != nil {
		return
	}
	b := make([]byte, 128) // headers only
	begin, n := time.Now(), 0
	for {
		length, _, err := unix.Recvfrom(fd, b, 0)
		select {
		case <-stop:
			return
		default:
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.EBADF):
			return
		default: // nothing has come, or the interface is down
			continue
		}
		if from, to, ok := handshake(b[:length]); ok {
			each(from, to)
		}
		if n++; n < maxHandshakes {
			continue
		}
		if spent := time.Since(begin); spent < handshakeInterval {
			time.Sleep(handshakeInterval - spent)
		}
		begin, n = time.Now(), 0
	}
}
