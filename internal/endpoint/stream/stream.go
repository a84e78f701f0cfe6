// Package stream connects to one of several servers over TCP, with or without TLS: for receivers that get a stream of
// bytes, such as Logstash.
package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// The schemes of addresses.
const (
	plain  = "tcp"
	secure = "tls"
)

// Servers are those of one receiver, any of which takes everything.
type Servers struct {
	urls []*url.URL
	o    endpoint.Options
	tls  *tls.Config
	// first is the server that the next Dialer begins with.
	first int
}

// Parse reads the addresses of servers: URLs with commas between them, tcp://HOST:PORT or tls://HOST:PORT. Without a port, it
// is the one that is given; 0: there must be one.
func Parse(target string, port int, o endpoint.Options) (*Servers, error) {
	urls, auth, err := endpoint.ParseURLs(target, []string{plain, secure}, port)
	if err != nil {
		return nil, err
	}
	if auth != (endpoint.Auth{}) || o.Auth != (endpoint.Auth{}) {
		return nil, errors.New("there are no users in this protocol: take user, password and the like away, and have the server check a client's certificate (tls://, with cert and key)")
	}
	s := &Servers{urls: urls, o: o}
	encrypted := false
	for _, u := range urls {
		switch {
		case u.Path != "":
			return nil, fmt.Errorf("%s: want an address without a path", u)
		case u.Port() == "":
			return nil, fmt.Errorf("%s: want a port, as in %s://%s:5000", u, u.Scheme, u.Host)
		}
		encrypted = encrypted || u.Scheme == secure
	}
	if o.TLS != (endpoint.TLS{}) && !encrypted {
		return nil, fmt.Errorf("%s: ca, cert, key, server_name and insecure need %s:// instead of %s://", urls[0], secure, plain)
	}
	if s.tls, err = o.TLS.Config(); err != nil {
		return nil, err
	}
	return s, nil
}

// Dialer returns what connects one worker. Each begins with another server, so that they spread. It isn't safe for
// concurrent use.
func (s *Servers) Dialer() *Dialer {
	d := &Dialer{servers: s, at: s.first}
	s.first = (s.first + 1) % len(s.urls)
	return d
}

// Dialer connects to one server as long as that works, and to the next one when it doesn't. It isn't safe for concurrent
// use.
type Dialer struct {
	servers *Servers
	at      int
}

// Dial connects to the server whose turn it is, or else to the first one after it that can be reached. Each attempt is bounded as
// the options say.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	var failed error
	for range d.servers.urls {
		c, err := d.connect(ctx)
		if err == nil {
			return c, nil
		}
		err = fmt.Errorf("%s: %w", d.Address(), err)
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
		d.Next()
	}
	return nil, failed
}

// Next says that the server whose turn it was is in trouble: the next one's turn comes.
func (d *Dialer) Next() { d.at = (d.at + 1) % len(d.servers.urls) }

// Address returns host and port of the server whose turn it is.
func (d *Dialer) Address() string { return d.servers.urls[d.at].Host }

func (d *Dialer) connect(ctx context.Context) (net.Conn, error) {
	u := d.servers.urls[d.at]
	c, err := d.servers.o.DialContext(ctx, "tcp", u.Host)
	if err != nil || u.Scheme == plain {
		return c, short(err)
	}
	config := d.servers.tls.Clone()
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	timeout := d.servers.o.Timeout
	if timeout == 0 {
		timeout = endpoint.DialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := tls.Client(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("TLS: %w%s", err, advice(err))
	}
	return t, nil
}

// Abort closes a connection at once. Where TLS is used, Close would say goodbye first, and wait up to 5 s for a server that takes
// nothing.
func Abort(c net.Conn) { Below(c).Close() }

// Below returns the connection below TLS, or c itself.
func Below(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// short leaves out what net repeats: the address is said anyway.
func short(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Err != nil {
		return op.Err
	}
	return err
}

// advice says what the user can do about a handshake that failed.
func advice(err error) string {
	var notTLS tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &notTLS):
		return ": the server doesn't speak TLS there, " + plain + ":// may"
	case errors.As(err, &unknown):
		return ": name the certificate of who signed it with ca"
	case errors.As(err, &name):
		return ": name one that is in it with server_name"
	case strings.Contains(err.Error(), "certificate required"):
		return ": it wants a client's certificate, see cert and key"
	}
	return ""
}
