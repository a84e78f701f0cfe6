//go:build linux

package situations

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// connectionRefused: nobody listens.
func connectionRefused(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		port := 20000 + i
		_, err := s.dial(serverHost+":81", dialing{from: port})
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("connecting where nobody listens: %w", err)
		}
		s.know(PortKey(port), "refused", "port 81")
		return nil
	})
}

// synLost: the far link loses the SYN or its answer, once or twice.
func synLost(s *site, n int) error {
	return s.each(n, 24, func(i int) error {
		port := 20000 + i
		kind, way := "syn-lost", there
		if i%2 == 1 {
			kind, way = "syn-answer-lost", back
		}
		l := s.losses[farLink][way]
		l.arm(uint16(port), loss{syn: true, times: 1})
		began := time.Now()
		c, err := s.dial(appAddress, dialing{from: port})
		if err != nil {
			return err
		}
		defer c.Close()
		connected := time.Since(began)
		if l.done(uint16(port)) != 1 {
			return errors.New("no SYN was lost")
		}
		a, err := c.do(asking{target: path(kind, i) + "?body=500"})
		s.know(path(kind, i), kind, "connected after %v; %v", connected, a.took)
		return err
	})
}

// acceptQueueFull: a listener with room for two connections, which takes none for 600 ms. Those that come first are in the queue; the
// SYNs of the others are dropped.
func acceptQueueFull(s *site, n int) error {
	const room, atOnce, port = 2, 24, 82
	l, err := listenBacklog(s.server, port, room-1)
	if err != nil {
		return err
	}
	defer l.Close()
	return s.each((n+atOnce-1)/atOnce, 1, func(round int) error {
		taken := make(chan error, 1)
		take := func() {
			for range atOnce {
				c, err := l.Accept()
				if err != nil {
					taken <- err
					return
				}
				go s.app.own(c.(*net.TCPConn), s.app.answers)
			}
			taken <- nil
		}
		time.AfterFunc(600*time.Millisecond, take)
		if err := each(atOnce, atOnce, func(i int) error {
			kind := "accepted-late"
			if i >= room {
				// One after the other: they come again in the same order.
				kind = "accept-queue"
				time.Sleep(60*time.Millisecond + time.Duration(i)*4*time.Millisecond)
			}
			began := time.Now()
			c, err := s.dial(fmt.Sprintf("%s:%d", serverHost, port), dialing{})
			if err != nil {
				return err
			}
			defer c.Close()
			connected := time.Since(began)
			if i >= room && connected < time.Second {
				return fmt.Errorf("connected after %v: the queue had room", connected)
			}
			a, err := c.do(asking{target: path(kind, round*atOnce+i) + "?body=500"})
			s.know(path(kind, round*atOnce+i), kind, "connected after %v; %v", connected, a.took)
			return err
		}); err != nil {
			return err
		}
		return <-taken
	})
}

// resetMidResponse: the server resets the connection in the middle of its answer.
func resetMidResponse(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		kind := "reset"
		sent := 1000 + i*50
		_, err := s.once(appAddress, dialing{}, asking{target: fmt.Sprintf("%s?body=50000&reset=%d", path(kind, i), sent)})
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("an answer that was to be reset: %w", err)
		}
		s.know(path(kind, i), kind, "after %d of 50000 bytes: %v", sent, err)
		return nil
	})
}

// keepAliveRace: the server closes a connection that it has kept open, while a request is on its way.
func keepAliveRace(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		kind := "keepalive-race"
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.do(asking{target: path("before-race", i) + "?body=300"}); err != nil {
			return err
		}
		s.know(path("before-race", i), "before-race", "")
		time.Sleep(between(i, 20*time.Millisecond, 60*time.Millisecond))
		// Both at once: the request is on its way when the FIN is.
		if err := s.app.of(c.port).Close(); err != nil {
			return err
		}
		_, err = c.do(asking{target: path(kind, i)})
		if err == nil {
			return errors.New("a request on a closed connection was answered")
		}
		s.know(path(kind, i), kind, "%v", err)
		return nil
	})
}

// earlyResponse: nginx, and the app, refuse an upload before it has ended, and close.
func earlyResponse(s *site, n int) error {
	g, err := s.nginx("limits", s.server, `
		listen `+serverHost+`:8080;
		client_max_body_size 10k;
		lingering_close off;
		location / { return 200; }`)
	if err != nil {
		return err
	}
	if err := s.server.Listening(8080, g); err != nil {
		return err
	}
	statuses := []int{http.StatusRequestEntityTooLarge, http.StatusUnauthorized, http.StatusBadRequest}
	return s.each(n, 8, func(i int) error {
		status := statuses[i%len(statuses)]
		kind := fmt.Sprintf("early-%d", status)
		address, query := appAddress, fmt.Sprintf("?early=%d&status=%d&body=100", between(i, 5_000, 30_000), status)
		if status == http.StatusRequestEntityTooLarge {
			address, query = serverHost+":8080", ""
		}
		c, err := s.dial(address, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		err = c.ask(asking{method: "POST", target: path(kind, i) + query, body: 512 << 10, pieces: 64, pause: 4 * time.Millisecond})
		if err == nil {
			// All of it went into buffers.
			_, err = c.hear(asking{method: "POST"})
		}
		s.know(path(kind, i), kind, "the client got: %v", err)
		return nil
	})
}

// clientGaveUp: the client closes before the answer, soon, or after more than a second.
func clientGaveUp(s *site, n int) error {
	return s.each(n, 24, func(i int) error {
		kind, wait := "gave-up-soon", between(i, 150*time.Millisecond, 400*time.Millisecond)
		if i%2 == 1 {
			kind, wait = "gave-up-late", between(i, 1200*time.Millisecond, 1500*time.Millisecond)
		}
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.ask(asking{target: path(kind, i) + "?wait=2s"}); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		_, err = c.hear(asking{})
		s.know(path(kind, i), kind, "after %v: %v", wait, err)
		return nil
	})
}

// requestTimeout: HAProxy (408) and nginx (without a word) give up on a client that doesn't go on with its body.
func requestTimeout(s *site, n int) error {
	if err := s.haproxy(haproxyPort, fmt.Sprintf(`
frontend lab
	bind %s:%d
	option http-buffer-request
	timeout http-request 1s
	default_backend app
backend app
	server app %s
`, middleFront, haproxyPort, appAddress)); err != nil {
		return err
	}
	g, err := s.nginx("timeouts", s.server, `
		listen `+serverHost+`:8080;
		client_body_timeout 1s;
		location / { proxy_pass http://`+appAddress+`; }`)
	if err != nil {
		return err
	}
	if err := s.server.Listening(8080, g); err != nil {
		return err
	}
	return s.each(n, 32, func(i int) error {
		kind, address := "timeout-408", edgeAddress
		if i%2 == 1 {
			kind, address = "timeout-closed", serverHost+":8080"
		}
		c, err := s.dial(address, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: lab\r\nContent-Length: 5000\r\n\r\n%0500d", path(kind, i), 0); err != nil {
			return err
		}
		a, err := c.hear(asking{method: http.MethodPost})
		s.know(path(kind, i), kind, "status %d, %v", a.status, err)
		return nil
	})
}

// unreachable: no answer to any SYN.
func unreachable(s *site, n int) error {
	return s.each(n, 24, func(i int) error {
		port := 20000 + i
		s.losses[farLink][there].arm(uint16(port), loss{syn: true, times: 10})
		_, err := s.dial(appAddress, dialing{from: port, timeout: 2500 * time.Millisecond})
		if err == nil {
			return errors.New("connected without a SYN")
		}
		s.know(PortKey(port), "unreachable", "%v", err)
		return nil
	})
}

// retries: the first attempt gets a reset, the second an answer.
func retries(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		const kind, again = "retry-failed", "retry"
		p := path(again, i)
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.do(asking{target: path("before-retry", i) + "?body=300"}); err != nil {
			return err
		}
		if _, err = c.do(asking{target: p + "?reset=0&body=300&wait=30ms"}); err == nil {
			return errors.New("an answer that was to be reset came")
		}
		s.know(p, kind, "%v", err)
		_, err = s.once(appAddress, dialing{}, asking{target: p + "?body=300"})
		s.know(p+"#2", again, "")
		return err
	})
}

// redirects: two redirects, and the answer.
func redirects(s *site, n int) error {
	return s.each((n+2)/3, 4, func(i int) error {
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		steps := []string{
			path("redirect", i) + "?status=302&wait=40ms&to=" + path("redirect-second", i),
			path("redirect-second", i) + "?status=301&wait=40ms&to=" + path("redirected", i),
			path("redirected", i) + "?body=500",
		}
		for k, kind := range []string{"redirect", "redirect", "redirected"} {
			if _, err := c.do(asking{target: steps[k]}); err != nil {
				return err
			}
			key := []string{path("redirect", i), path("redirect-second", i), path("redirected", i)}[k]
			s.know(key, kind, "")
		}
		return nil
	})
}

// blackHole: the far link lets no full-size segment through, and tells nobody. The client gives up.
func blackHole(s *site, n int) error {
	return s.each(n, 48, func(i int) error {
		kind := "black-hole-answer"
		q := asking{target: path(kind, i) + "?body=30000"}
		if i%2 == 1 {
			kind = "black-hole-upload"
			q = asking{method: "POST", target: path(kind, i), body: 30_000}
		}
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.do(asking{target: path("before-hole", i) + "?body=300"}); err != nil {
			return err
		}
		if err := c.SetDeadline(time.Now().Add(between(i, 2500*time.Millisecond, 4*time.Second))); err != nil {
			return err
		}
		_, err = c.do(q)
		if err == nil {
			return fmt.Errorf("%s: it came through", kind)
		}
		s.know(path(kind, i), kind, "%v", err)
		return nil
	})
}

// holed lets no IP packet above 1,300 bytes through the far link.
func holed() Conditions {
	c := usual()
	c.FarThere.MTU, c.FarBack.MTU = 1300, 1300
	return c
}

// nginx starts nginx on a host, with a server of the given configuration.
func (s *site) nginx(name string, host *lab.Namespace, server string) (*lab.Process, error) {
	program, err := lab.Program("nginx")
	if err != nil {
		return nil, err
	}
	folder, err := s.folder(name)
	if err != nil {
		return nil, err
	}
	config := "user root;\n" + `
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 2048; }
http {
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	access_log off;
	server {` + server + `
	}
}
`
	if err := write(filepath.Join(folder, "nginx.conf"), config); err != nil {
		return nil, err
	}
	return host.Start(exec.Command(program, "-p", folder+"/", "-c", "nginx.conf", "-e", "error.log"))
}
