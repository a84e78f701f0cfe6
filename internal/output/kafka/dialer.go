package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// dialer connects to brokers, and remembers what went wrong last: the client tries again by itself, and in the end knows
// only that time was up.
type dialer struct {
	endpoint *endpoint.Options
	// tls is nil without TLS.
	tls *tls.Config

	mu sync.Mutex
	// failed is the address of the last attempt that failed, with why; nil once that address was reached.
	failed string
	why    error
}

// dial opens a connection to a broker, by the address that the settings or another broker tell.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.endpoint.DialContext(ctx, network, address)
	if err == nil && d.tls != nil {
		conn, err = d.encrypt(ctx, conn, address)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// What the end of the session interrupts is nobody's fault.
	if (err != nil || d.failed == address) && !errors.Is(err, context.Canceled) {
		d.failed, d.why = address, err
	}
	return conn, err
}

// encrypt does the handshake. On an error the connection is closed.
func (d *dialer) encrypt(ctx context.Context, plain net.Conn, address string) (net.Conn, error) {
	config := d.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			plain.Close()
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	timeout := d.endpoint.Timeout
	if timeout == 0 {
		timeout = endpoint.DialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, err
	}
	return conn, nil
}

// problem returns why a broker can't be reached; nil: nothing is known.
func (d *dialer) problem() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", d.failed, d.why)
}

// reset forgets what went wrong.
func (d *dialer) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed, d.why = "", nil
}
