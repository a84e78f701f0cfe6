package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/endpoint/stream/streamtest"
)

func TestParse(t *testing.T) {
	s, err := Parse("tcp://a, tls://b:7,tls://[::1]", 5044, endpoint.Options{TLS: endpoint.TLS{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a:5044", "b:7", "[::1]:5044", "a:5044"} {
		if got := s.Dialer().Address(); got != want {
			t.Errorf("a Dialer begins with %s, want %s", got, want)
		}
	}
	for _, c := range []struct {
		target string
		o      endpoint.Options
		want   string
	}{
		{"http://a:1", endpoint.Options{}, "want a URL such as tcp://"},
		{"a:1", endpoint.Options{}, "want a URL such as tcp://"},
		{"tcp://a", endpoint.Options{}, "want a port"},
		{"tcp://a:1/x", endpoint.Options{}, "without a path"},
		{"tcp://me:secret@a:1", endpoint.Options{}, "no users"},
		{"tcp://a:1", endpoint.Options{Auth: endpoint.Auth{APIKey: "secret"}}, "no users"},
		{"tcp://a:1", endpoint.Options{TLS: endpoint.TLS{CA: "x"}}, "need tls://"},
		{"tls://a:1", endpoint.Options{TLS: endpoint.TLS{CA: "x"}}, "no certificate"},
	} {
		if _, err := Parse(c.target, 0, c.o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", c.target, err, c.want)
		}
	}
}

// listen returns the address of a server that greets everybody, and how often it did.
func listen(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.WriteString(c, "hello")
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// greeted dials, and wants to be greeted.
func greeted(d *Dialer) error {
	c, err := d.Dial(context.Background())
	if err != nil {
		return err
	}
	defer c.Close()
	hello := make([]byte, 5)
	if _, err := io.ReadFull(c, hello); err != nil {
		return err
	}
	if string(hello) != "hello" {
		return errors.New(string(hello))
	}
	return nil
}

func TestFailover(t *testing.T) {
	up, down := listen(t, nil), refused(t)
	s, err := Parse("tcp://"+down+",tcp://"+up, 0, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := s.Dialer()
	if err := greeted(d); err != nil || d.Address() != up {
		t.Errorf("%v, at %s, want %s", err, d.Address(), up)
	}
	d.Next()
	if d.Address() != down {
		t.Errorf("after trouble the next turn is that of %s, want %s", d.Address(), down)
	}

	s, err = Parse("tcp://"+down+",tcp://"+down, 0, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Dialer().Dial(context.Background()); err == nil || strings.Count(err.Error(), down+": ") != 2 || strings.Count(err.Error(), "refused") != 2 {
		t.Errorf("%v, want what is wrong with either server", err)
	}
}

func TestTLS(t *testing.T) {
	ca, err := streamtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other, err := streamtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Sign("agent")
	if err != nil {
		t.Fatal(err)
	}
	config := func(clients bool, names ...string) string {
		c, err := ca.Server(clients, names...)
		if err != nil {
			t.Fatal(err)
		}
		return listen(t, c)
	}
	open, strict, named := config(false, "127.0.0.1"), config(true, "127.0.0.1"), config(false, "logs.example")
	for _, c := range []struct {
		name, address string
		tls           endpoint.TLS
		want          string
	}{
		{"the right CA", open, endpoint.TLS{CA: ca.PEM}, ""},
		{"another CA", open, endpoint.TLS{CA: other.PEM}, "name the certificate of who signed it with ca"},
		{"no CA", open, endpoint.TLS{}, "name the certificate of who signed it with ca"},
		{"any certificate", open, endpoint.TLS{Insecure: true}, ""},
		{"a client's certificate", strict, endpoint.TLS{CA: ca.PEM, Cert: cert, Key: key}, ""},
		{"no client's certificate", strict, endpoint.TLS{CA: ca.PEM}, "certificate required"},
		{"another name", named, endpoint.TLS{CA: ca.PEM}, "with server_name"},
		{"the name that is in it", named, endpoint.TLS{CA: ca.PEM, ServerName: "logs.example"}, ""},
		{"no TLS", listen(t, nil), endpoint.TLS{Insecure: true}, "doesn't speak TLS"},
	} {
		s, err := Parse("tls://"+c.address, 0, endpoint.Options{TLS: c.tls})
		if err != nil {
			t.Fatal(err)
		}
		if err := greeted(s.Dialer()); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A server that says nothing mustn't hold up the handshake.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connections are accepted by the system, and by nobody else
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Parse("tls://"+l.Addr().String(), 0, endpoint.Options{Timeout: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.o.Dial = func(_ context.Context, network, address string) (net.Conn, error) { return net.Dial(network, address) }
	if _, err := s.Dialer().Dial(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a timeout", err)
	}
}
