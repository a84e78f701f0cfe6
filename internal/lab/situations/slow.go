//go:build linux

package situations

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// path is that of an exchange, without its query.
func path(kind string, i int) string { return fmt.Sprintf("/%s/%d", kind, i) }

// healthy are exchanges in which nothing is slow: small ones on a connection that stays, downloads, uploads, each after a pause.
func healthy(s *site, n int) error {
	const perConnection = 10
	return s.each((n+perConnection-1)/perConnection, 4, func(k int) error {
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		for i := k * perConnection; i < min(n, (k+1)*perConnection); i++ {
			q := asking{target: path("healthy", i) + "?body=300"}
			switch i % 5 {
			case 1:
				q.target = path("healthy", i) + "?body=9000"
			case 2:
				q.method, q.body = "POST", 3000
			case 3:
				q.target = path("healthy", i) + "?status=204"
			}
			a, err := c.do(q)
			if err != nil {
				return err
			}
			s.know(path("healthy", i), "healthy", "took %v", a.took)
			time.Sleep(between(i, 0, 20*time.Millisecond))
		}
		return nil
	})
}

// healthyElsewhere are exchanges in which nothing is slow over TLS, over HTTP/2, and through a proxy.
func healthyElsewhere(s *site, n int) error {
	if err := errors.Join(s.serveTLS(), s.serveHTTP2(), s.haproxy(haproxyPort, passing)); err != nil {
		return err
	}
	return s.each(n, 3, func(i int) error {
		var kind string
		switch i % 3 {
		case 0:
			kind = "healthy-tls"
			if _, err := s.overTLS(asking{target: path(kind, i) + "?body=700"}, 0, 0); err != nil {
				return err
			}
		case 1:
			kind = "healthy-h2"
			c, err := s.h2(h2Address, 65535)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := errors.Join(c.ask(1, http.MethodGet, path(kind, i)+"?body=7000"), c.until(1)); err != nil {
				return err
			}
		default:
			kind = "healthy-proxied"
			if _, err := s.once(edgeAddress, dialing{}, asking{target: path(kind, i) + "?body=700"}); err != nil {
				return err
			}
		}
		s.know(path(kind, i), kind, "")
		return nil
	})
}

// slowApplication: the app thinks before it answers, or in the middle of the answer.
func slowApplication(s *site, n int) error {
	return s.each(n, 16, func(i int) error {
		kind, what := "slow-app", "wait"
		if i%4 == 3 {
			kind, what = "slow-answer", "pause"
		}
		wait := between(i, 150*time.Millisecond, 450*time.Millisecond)
		a, err := s.once(appAddress, dialing{}, asking{target: fmt.Sprintf("%s?%s=%v&body=2000", path(kind, i), what, wait)})
		s.know(path(kind, i), kind, "the app slept for %v of %v", wait, a.took)
		return err
	})
}

// slowReader: the client reads the head of a long answer, and then takes its time.
func slowReader(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		kind := "slow-reader"
		wait := between(i, 300*time.Millisecond, 700*time.Millisecond)
		a, err := s.once(appAddress, dialing{buffer: 16 << 10}, asking{target: path(kind, i) + "?body=150000", before: wait})
		s.know(path(kind, i), kind, "the client read nothing for %v of %v", wait, a.took)
		return err
	})
}

// slowSender: the client sends its body in pieces, with pauses.
func slowSender(s *site, n int) error {
	return s.each(n, 16, func(i int) error {
		kind := "slow-sender"
		q := asking{method: "POST", target: path(kind, i), body: 4000 + i*10, pieces: 4 + i%9, pause: between(i, 40*time.Millisecond, 90*time.Millisecond)}
		a, err := s.once(appAddress, dialing{}, q)
		s.know(path(kind, i), kind, "the client sent %d pieces with %v between them; %v", q.pieces, q.pause, a.took)
		return err
	})
}

// smallWindow: the client's buffer holds much less than what is under way on a long path.
func smallWindow(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		kind := "small-window"
		a, err := s.once(appAddress, dialing{buffer: 4 << 10}, asking{target: path(kind, i) + "?body=60000"})
		s.know(path(kind, i), kind, "took %v", a.took)
		return err
	})
}

// far is a path of 54 ms there and back.
func far() Conditions {
	c := usual()
	c.NearThere.Delay, c.NearBack.Delay = 25*time.Millisecond, 25*time.Millisecond
	return c
}

// slowPath: a narrow link that the answer has to go through.
func slowPath(s *site, n int) error {
	return s.each(n, 1, func(i int) error {
		kind := "narrow-path"
		a, err := s.once(appAddress, dialing{}, asking{target: path(kind, i) + "?body=60000"})
		s.know(path(kind, i), kind, "took %v", a.took)
		return err
	})
}

// narrow lets 200 kB a second through on the far link.
func narrow() Conditions {
	c := usual()
	c.FarBack.Rate, c.FarBack.Queue = 200_000, 100_000
	return c
}

// reordered: long answers, of which some segments are overtaken by those behind them.
func reordered(s *site, n int) error {
	return s.each(n, 4, func(i int) error {
		kind := "reordered"
		a, err := s.once(appAddress, dialing{}, asking{target: path(kind, i) + "?body=9000"})
		s.know(path(kind, i), kind, "took %v", a.took)
		return err
	})
}

// shuffled has a tenth of the segments of answers overtaken.
func shuffled() Conditions {
	c := usual()
	c.FarBack.Late, c.FarBack.LateBy = 0.1, 2*time.Millisecond
	return c
}

// lossKind is where and how a segment gets lost.
type lossKind struct {
	name      string
	link, way int
	loss      loss
	target    string
	body      int
}

// lossKinds are those of a link: the request, a segment in the middle of a long answer, and the last of an answer.
func lossKinds(side string, link int) []lossKind {
	return []lossKind{
		{name: side + "-request", link: link, way: there, loss: loss{times: 1}, target: "?body=500"},
		{name: side + "-upload", link: link, way: there, loss: loss{skip: 3, times: 2}, body: 12_000},
		{name: side + "-answer", link: link, way: back, loss: loss{skip: 4, times: 2}, target: "?body=60000"},
		{name: side + "-tail", link: link, way: back, loss: loss{times: 1}, target: "?body=500"},
	}
}

func losing(side string, link int) func(s *site, n int) error {
	return func(s *site, n int) error {
		kinds := lossKinds(side, link)
		return s.each(n, 16, func(i int) error {
			_, err := s.lossy(&kinds[i%len(kinds)], i, "", "")
			return err
		})
	}
}

// lossy makes an exchange in which a segment gets lost. query and kind, if not empty, replace what follows from the loss.
func (s *site) lossy(k *lossKind, i int, query, kind string) (answered, error) {
	if kind == "" {
		kind, query = k.name, k.target
	}
	c, err := s.dial(appAddress, dialing{})
	if err != nil {
		return answered{}, err
	}
	defer c.Close()
	l := s.losses[k.link][k.way]
	l.arm(c.port, k.loss)
	q := asking{target: path(kind, i) + query, body: k.body}
	if k.body > 0 {
		q.method = "POST"
	}
	a, err := c.do(q)
	lost := l.done(c.port)
	s.know(path(kind, i), kind, "lost %d times; %v", lost, a.took)
	if lost != k.loss.times {
		err = errors.Join(err, s.even(kind, i)) // it came with another segment, or the client had gone
	}
	return a, err
}
