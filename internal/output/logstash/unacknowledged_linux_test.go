package logstash

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// What our system has taken isn't delivered as long as the other hasn't acknowledged it.
func TestUnacknowledged(t *testing.T) {
	var listening error
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { // the buffer of a server that reads nothing
		return c.Control(func(fd uintptr) { listening = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil || listening != nil {
		t.Fatal(err, listening)
	}
	defer l.Close()
	s := sender(t, "tcp://"+l.Addr().String(), Options{Timeout: 100 * time.Millisecond, Endpoint: endpoint.Options{
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			c, err := net.Dial(network, address)
			if err == nil {
				err = c.(*net.TCPConn).SetWriteBuffer(200 << 10)
			}
			return c, err
		}}}).(*Sender)
	result, err := s.Send(t.Context(), events(0, 100, 1000))
	if err == nil || result.Delivered != 0 || !strings.Contains(err.Error(), "has taken nothing for 100ms") {
		t.Errorf("%+v, %v", result, err)
	}
}
