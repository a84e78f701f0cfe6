// Package endpoint is how receivers are reached over the network: their addresses, TLS and credentials, by the same
// settings for every output.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DialFunc opens a connection. It is own.Connections.Dial in the program, so that culprit knows its own connections.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Options say how a receiver is reached.
type Options struct {
	// Dial opens connections; nil: a net.Dialer does.
	Dial DialFunc
	TLS  TLS
	Auth Auth
	// Timeout bounds each attempt to connect; 0: DialTimeout.
	Timeout time.Duration
	// UserAgent is who culprit says it is, to HTTP servers.
	UserAgent string
}

// DialTimeout bounds an attempt to connect, unless Options say otherwise.
const DialTimeout = 10 * time.Second

// TLS says how servers are checked and who the client is. The texts are PEM, not the names of files: those are read once,
// by whoever reads the configuration.
type TLS struct {
	// CA are the certificates that sign servers'; empty: the system's.
	CA string
	// Cert and Key are the client's; empty: none.
	Cert, Key string
	// ServerName is what the server's certificate must be for; empty: the name that was dialled.
	ServerName string
	// Insecure takes any certificate.
	Insecure bool
}

// Config returns the configuration for crypto/tls.
func (t *TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("ca: there is no certificate in it; want PEM, which begins with -----BEGIN CERTIFICATE-----")
		}
	}
	switch {
	case t.Cert != "" && t.Key != "":
		pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	case t.Cert != "" || t.Key != "":
		return nil, errors.New("cert and key: a client's certificate needs both")
	}
	return c, nil
}

// Auth is who the client is to an HTTP server, by one of its parts.
type Auth struct {
	// User and Password are sent as HTTP's basic scheme has it.
	User, Password string
	// APIKey is an Elasticsearch API key in its encoded form, Bearer a token.
	APIKey, Bearer string
}

// Set sets the credentials of a request, if there are any.
func (a *Auth) Set(r *http.Request) {
	switch {
	case a.APIKey != "":
		r.Header.Set("Authorization", "ApiKey "+a.APIKey)
	case a.Bearer != "":
		r.Header.Set("Authorization", "Bearer "+a.Bearer)
	case a.User != "" || a.Password != "":
		r.SetBasicAuth(a.User, a.Password)
	}
}

// DialContext opens a connection, within the timeout.
func (o *Options) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if o.Dial != nil {
		return o.Dial(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Transport returns what makes HTTP requests: with TLS and proxies as the settings and the environment (HTTPS_PROXY,
// NO_PROXY) say, at most conns connections to a server, and no compression of answers.
func (o *Options) Transport(conns int) (*http.Transport, error) {
	c, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: o.DialContext, TLSClientConfig: c, TLSHandshakeTimeout: DialTimeout,
		MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, IdleConnTimeout: 90 * time.Second, DisableCompression: true, ForceAttemptHTTP2: true,
	}, nil
}

// ParseURLs reads the addresses of a receiver's servers: URLs with commas between them, of one of the schemes. A URL
// without port gets that one; 0: that of its scheme. Credentials in URLs are returned as auth; those of the first
// URL that has some. Errors say which URL is wrong by its place: what can't be read may be a password.
func ParseURLs(text string, schemes []string, port int) (urls []*url.URL, auth Auth, err error) {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		which := "the target"
		if len(parts) > 1 {
			which = fmt.Sprintf("URL %d of %d", i+1, len(parts))
		}
		advice := ""
		if strings.Contains(text, "@") {
			advice = "; in users and passwords, " + escapes
		}
		if err != nil || u.Host == "" || !contains(schemes, u.Scheme) {
			return nil, Auth{}, fmt.Errorf("%s: want a URL such as %s://HOST%s%s", which, schemes[0], portText(port), advice)
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, Auth{}, fmt.Errorf("%s: want a URL without a query%s", which, advice)
		}
		if strings.Contains(u.Path, "@") { // it ended where a password has a slash
			return nil, Auth{}, fmt.Errorf("%s: want a URL without @ in its path%s", which, advice)
		}
		if u.User != nil {
			if auth.User == "" {
				auth.User = u.User.Username()
				auth.Password, _ = u.User.Password()
			}
			u.User = nil
		}
		if u.Port() == "" && port != 0 {
			u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(port))
		}
		u.Path = strings.TrimSuffix(u.Path, "/")
		urls = append(urls, u)
	}
	return urls, auth, nil
}

// escapes say how characters are written that end a user or a password.
const escapes = "a slash is written %2F, a question mark %3F, a comma %2C, # %23, @ %40 and % %25"

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func portText(port int) string {
	if port == 0 {
		return ""
	}
	return fmt.Sprintf(":%d", port)
}
