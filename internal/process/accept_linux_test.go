package process

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAcceptQueues: a listener that doesn't accept, and more connections than its queue takes.
func TestAcceptQueues(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	full := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	fine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer fine.Close()

	d, err := OpenDiag(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	netstat, err := OpenNetstat(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer netstat.Close()
	q := NewAcceptQueues(d, netstat)
	const at = int64(1e18)
	if err := q.Sample(at - 1e9); err != nil {
		t.Fatal(err)
	}
	if q.Overflowed(full, at) {
		t.Error("nothing was dropped yet")
	}
	// The kernel drops the handshake's last ACK, or the SYN: who connects waits, and gives up.
	for range 4 {
		c, err := net.DialTimeout("tcp", full.String(), 200*time.Millisecond)
		if err == nil {
			defer c.Close()
		}
	}
	if err := q.Sample(at); err != nil {
		t.Fatal(err)
	}
	if !q.Overflowed(full, at) || !q.Overflowed(full, at+1e9) {
		t.Error("the full queue isn't known")
	}
	if q.Overflowed(full, at+1e10) || q.Overflowed(netip.MustParseAddrPort(fine.Addr().String()), at) {
		t.Error("a time at which nothing was dropped, or a queue that isn't full")
	}
}

func TestCounter(t *testing.T) {
	const text = "TcpExt: A ListenOverflows C\nTcpExt: 1 22 3\nIpExt: ListenOverflows\nIpExt: 9\n"
	if n, ok := counter([]byte(text), "TcpExt:", "ListenOverflows"); n != 22 || !ok {
		t.Errorf("%d %v", n, ok)
	}
	for _, text := range []string{"", "TcpExt: A\n", "TcpExt: A\nTcpExt: 1\n", "TcpExt: ListenOverflows\nTcpExt: x\n", "TcpExt: A ListenOverflows\nTcpExt: 1\n"} {
		if n, ok := counter([]byte(text), "TcpExt:", "ListenOverflows"); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}
