package process

import (
	"net"
	"os"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// Connections of real processes, looked up by the real kernel, and the holders in what could be another process.
func TestResolverForReal(t *testing.T) {
	s, err := NewScanner("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	remote := NewRemote(func(req []byte) ([]byte, error) { return Serve(s, req) })
	r := newResolver(t, openDiag(t), remote, 0)
	server := start(t, "listen 127.0.0.1:0")
	at := addrPort(dummyAddr(server.said))

	for _, accept := range []bool{true, false} {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		f := flow(c.LocalAddr().String(), at.String())
		r.Opened(f)
		if accept {
			server.tell("accept")
		}
		both := settled(r, f)
		if p := both[proto.Originator]; p == nil || p.PID != os.Getpid() || p.Listening {
			t.Errorf("client: %+v", p)
		}
		if p := both[proto.Responder]; p == nil || p.PID != server.Process.Pid || !p.Listening {
			t.Errorf("server (accepted %v): %+v", accept, p)
		}
		if accept {
			server.tell("close")
		}
		c.Close()
		// The connection is over, and looked up for the first time.
		late := flow(f.End(proto.Originator), f.End(proto.Responder))
		both = settled(r, late)
		if p := both[proto.Originator]; p != nil {
			t.Errorf("client, late: %+v", p)
		}
		if p := both[proto.Responder]; p == nil || p.PID != server.Process.Pid {
			t.Errorf("server, late: %+v", p)
		}
	}
	n := r.Counters()
	if n.Fallback == 0 || n.Errors != 0 || n.Closed == 0 {
		t.Errorf("%+v, %v", n, r.Err())
	}
}

// Several processes accept from one socket: which of them it was isn't known when the connection is gone.
func TestResolverSharedListener(t *testing.T) {
	s, _ := openScanner(t)
	r := newResolver(t, openDiag(t), s, 0)
	l, _, f := listener(t)
	one, two := start(t, "hold", f), start(t, "hold", f)
	at := l.Addr().String()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().String()
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// This one closes first, which leaves nothing of the connection at the server's end.
	c.Close()
	a.Close()
	l.Close()
	f.Close()
	p := settled(r, flow(from, at))[proto.Responder]
	if p == nil || p.PID != 0 || p.Name == "" || !p.Listening {
		t.Errorf("%+v, held by %d and %d", p, one.Process.Pid, two.Process.Pid)
	}
}

func BenchmarkResolver(b *testing.B) {
	s, err := NewScanner("")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	d := openDiag(b)
	r := newResolver(b, d, s, 0)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	missed := 0
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for range b.N {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		a, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		f := flow(c.LocalAddr().String(), l.Addr().String())
		r.Opened(f)
		if _, err := c.Write([]byte("GET")); err != nil {
			b.Fatal(err)
		}
		if _, err := a.Read(make([]byte, 3)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p := r.Lookup(f)
		b.StopTimer()
		if p[0] == nil || p[1] == nil {
			missed++
		}
		c.Close()
		a.Close()
	}
	b.ReportMetric(float64(missed)/float64(b.N), "missed/op")
}
