//go:build linux

package situations

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// haproxy starts HAProxy in the middle, with what its proxies are, and waits until it listens on a port.
func (s *site) haproxy(port uint16, proxies string) error {
	program, err := lab.Program("haproxy")
	if err != nil {
		return err
	}
	folder, err := s.folder("haproxy")
	if err != nil {
		return err
	}
	config := `
defaults
	mode http
	option http-keep-alive
	retries 0
	timeout connect 2s
	timeout client 60s
	timeout server 10s
	timeout queue 30s
` + proxies
	file := filepath.Join(folder, "haproxy.cfg")
	if err := write(file, config); err != nil {
		return err
	}
	p, err := s.middle.Start(exec.Command(program, "-q", "-db", "-f", file))
	if err != nil {
		return err
	}
	return s.middle.Listening(port, p)
}

// varnish starts Varnish in the middle, in front of the app, caching nothing.
func (s *site) varnish(port uint16) error {
	program, err := lab.Program("varnishd")
	if err != nil {
		return err
	}
	folder, err := s.folder("varnish")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "lab.vcl")
	if err := write(file, varnishConfig(serverHost, "80")); err != nil {
		return err
	}
	// The management of Varnish wants no cookies for itself, and the child inherits the jail: none.
	p, err := s.middle.Start(exec.Command(program, "-F", "-j", "none", "-n", filepath.Join(folder, "work"), "-a", fmt.Sprintf("%s:%d", middleFront, port),
		"-f", file, "-s", "default,16m", "-p", "thread_pool_min=20"))
	if err != nil {
		return err
	}
	return s.middle.Listening(port, p)
}

// varnishConfig passes everything to a backend.
func varnishConfig(host, port string) string {
	return fmt.Sprintf("vcl 4.1;\nbackend default { .host = %q; .port = %q; }\nsub vcl_recv { return (pass); }\n", host, port)
}

// The ports of the proxies in the middle.
const (
	haproxyPort, nginxPort, varnishPort = 80, 81, 82
)

// passing are proxies of HAProxy that pass everything on to the app.
const passing = `
frontend lab
	bind ` + edgeAddress + `
	default_backend app
backend app
	server app ` + appAddress + `
`

// slowUpstream: the app behind HAProxy, nginx and Varnish thinks for long.
func slowUpstream(s *site, n int) error {
	if err := s.haproxy(haproxyPort, passing); err != nil {
		return err
	}
	g, err := s.nginx("nginx", s.middle, fmt.Sprintf(`
		listen %s:%d;
		location / { proxy_pass http://%s; proxy_http_version 1.1; proxy_set_header Connection ""; }`, middleFront, nginxPort, appAddress))
	if err != nil {
		return err
	}
	if err := errors.Join(s.middle.Listening(nginxPort, g), s.varnish(varnishPort)); err != nil {
		return err
	}
	proxies := []struct {
		name string
		port int
	}{{"haproxy", haproxyPort}, {"nginx", nginxPort}, {"varnish", varnishPort}}
	return s.each(n, 12, func(i int) error {
		p := proxies[i%len(proxies)]
		kind, wait := "behind-"+p.name, between(i, 150*time.Millisecond, 400*time.Millisecond)
		a, err := s.once(fmt.Sprintf("%s:%d", middleFront, p.port), dialing{}, asking{target: fmt.Sprintf("%s?wait=%v&body=2000", path(kind, i), wait)})
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s says %d", p.name, a.status)
		}
		s.know(path(kind, i), kind, "the app slept for %v of %v", wait, a.took)
		return err
	})
}

// poolWait: a proxy that makes one request at a time, and six at once. The later ones wait in its queue for the most part of their time.
func poolWait(s *site, n int) error {
	const atOnce, wait = 6, 120 * time.Millisecond
	if err := s.haproxy(haproxyPort, fmt.Sprintf(`
frontend lab
	bind %s:%d
	default_backend app
backend app
	server app %s maxconn 1
`, middleFront, haproxyPort, appAddress)); err != nil {
		return err
	}
	return s.each((n+atOnce-1)/atOnce, 1, func(round int) error {
		return each(atOnce, atOnce, func(k int) error {
			// One after the other, so that their order is known.
			time.Sleep(time.Duration(k) * 10 * time.Millisecond)
			kind := "pool-wait"
			switch k {
			case 0:
				kind = "pool-first"
			case 1:
				kind = "pool-second" // its time is about half the queue's and half the app's
			}
			i := round*atOnce + k
			a, err := s.once(edgeAddress, dialing{}, asking{target: fmt.Sprintf("%s?wait=%v&body=200", path(kind, i), wait)})
			s.know(path(kind, i), kind, "number %d of %d in the queue; the app slept for %v of %v", k+1, atOnce, wait, a.took)
			return err
		})
	})
}

// failingUpstreams: a proxy whose upstreams are silent (504), refuse (503), or reset (502).
func failingUpstreams(s *site, n int) error {
	const timeout = 300 * time.Millisecond
	if err := s.haproxy(haproxyPort, fmt.Sprintf(`
frontend lab
	bind %s:%d
	use_backend refusing if { path_beg /upstream-refused }
	default_backend app
backend app
	timeout server %d
	server app %s
backend refusing
	server nobody %s:83
`, middleFront, haproxyPort, timeout.Milliseconds(), appAddress, serverHost)); err != nil {
		return err
	}
	kinds := []struct {
		name, query string
		status      int
	}{
		{"upstream-silent", "?wait=900ms", http.StatusGatewayTimeout},
		{"upstream-refused", "", http.StatusServiceUnavailable},
		{"upstream-reset", "?silent&wait=30ms", http.StatusBadGateway},
	}
	return s.each(n, 12, func(i int) error {
		k := kinds[i%len(kinds)]
		a, err := s.once(edgeAddress, dialing{}, asking{target: path(k.name, i) + k.query})
		if err == nil && a.status != k.status {
			err = fmt.Errorf("%s: the proxy says %d, not %d", k.name, a.status, k.status)
		}
		s.know(path(k.name, i), k.name, "status %d after %v", a.status, a.took)
		return err
	})
}

// proxyRetries: nginx asks another server when the first one resets the connection.
func proxyRetries(s *site, n int) error {
	const firstServer = 150 * time.Millisecond
	if err := s.app.listen(serverHost+":84", func(c *appConn) {
		if _, err := c.r.Peek(1); err == nil {
			time.Sleep(firstServer)
			_, _ = io.CopyN(io.Discard, c.r, int64(c.r.Buffered()))
			_ = c.tcp.SetLinger(0)
		}
	}); err != nil {
		return err
	}
	g, err := s.nginx("nginx", s.middle, strings.NewReplacer("LISTEN", edgeAddress, "BAD", serverHost+":84", "GOOD", appAddress).Replace(`
		listen LISTEN;
		location / {
			proxy_pass http://BAD;
			proxy_intercept_errors on;
			error_page 502 = @second;
		}
		location @second { proxy_pass http://GOOD; }`))
	if err != nil {
		return err
	}
	if err := s.middle.Listening(80, g); err != nil {
		return err
	}
	return s.each(n, 8, func(i int) error {
		kind := "proxy-retry"
		a, err := s.once(edgeAddress, dialing{}, asking{target: path(kind, i) + "?body=500"})
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("nginx says %d", a.status)
		}
		s.know(path(kind, i), "proxy-retry", "the first server reset after %v; %v", firstServer, a.took)
		s.know(path(kind, i)+"#2", "proxy-retried", "the second server")
		return err
	})
}
