//go:build linux

package situations

import (
	"fmt"
	"time"
)

// The times of a pair: the larger cause takes more than twice as long as the smaller.
const (
	larger  = 600 * time.Millisecond
	smaller = 150 * time.Millisecond
)

// slowAppAndLoss: the app thinks, and a segment of its long answer gets lost some times.
func slowAppAndLoss(s *site, n int) error {
	// The segment is near the end: those behind it show that it is missing, but there are too few for early repair to go on.
	const length, skip = 60_000, 38
	return s.each(n, 16, func(i int) error {
		kind, wait, times := "app-over-loss", larger, 1
		if i%2 == 1 {
			kind, wait, times = "loss-over-app", smaller/2, 3
		}
		k := lossKind{name: kind, link: farLink, way: back, loss: loss{skip: skip, times: times}}
		a, err := s.lossy(&k, i, fmt.Sprintf("?wait=%v&body=%d", wait, length), kind)
		if err != nil {
			return err
		}
		if lost := a.took - wait; i%2 == 1 && lost < 2*wait || i%2 == 0 && lost > wait/2 {
			return s.even(kind, i)
		}
		return nil
	})
}

// even takes back what is known of an exchange whose causes turned out to be of about the same size, or weren't there.
func (s *site) even(kind string, i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.truth {
		if s.truth[k].Key == path(kind, i) {
			s.truth[k].Kind = Even
			return nil
		}
	}
	return fmt.Errorf("nothing is known of %s", path(kind, i))
}

// slowAppAndReader: the app thinks, and then the client doesn't read.
func slowAppAndReader(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		kind, wait, reader := "app-over-reader", larger, smaller
		if i%2 == 1 {
			kind, wait, reader = "reader-over-app", smaller, larger
		}
		a, err := s.once(appAddress, dialing{buffer: 16 << 10}, asking{target: fmt.Sprintf("%s?wait=%v&body=100000", path(kind, i), wait), before: reader})
		s.know(path(kind, i), kind, "the app slept for %v, the client read nothing for %v; %v", wait, reader, a.took)
		return err
	})
}

// slowAppAndSender: the client sends in pieces, and then the app thinks.
func slowAppAndSender(s *site, n int) error {
	return s.each(n, 16, func(i int) error {
		kind, wait, sender := "app-over-sender", larger, smaller
		if i%2 == 1 {
			kind, wait, sender = "sender-over-app", smaller, larger
		}
		const pieces = 6
		a, err := s.once(appAddress, dialing{}, asking{
			method: "POST", target: fmt.Sprintf("%s?wait=%v", path(kind, i), wait), body: 6000, pieces: pieces, pause: sender / (pieces - 1),
		})
		s.know(path(kind, i), kind, "the client took %v to send, the app slept for %v; %v", sender, wait, a.took)
		return err
	})
}

// senderAndLoss: the client sends in pieces, of which one gets lost.
func senderAndLoss(s *site, n int) error {
	return s.each(n, 16, func(i int) error {
		const pieces = 6
		kind, pause, times, skip := "sender-over-loss", 200*time.Millisecond, 1, 2
		if i%2 == 1 {
			// The last piece shows that the one before is missing.
			kind, pause, times, skip = "loss-over-sender", 20*time.Millisecond, 3, pieces-2
		}
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		l := s.losses[farLink][there]
		l.arm(c.port, loss{skip: skip, times: times})
		a, err := c.do(asking{method: "POST", target: path(kind, i), body: 6000, pieces: pieces, pause: pause})
		if err != nil {
			return err
		}
		lost := l.done(c.port)
		s.know(path(kind, i), kind, "the client took %v to send; lost %d times; %v", (pieces-1)*pause, lost, a.took)
		// A segment that is sent again early, since others follow, costs little.
		if took := a.took - (pieces-1)*pause; lost != times || i%2 == 1 && took < 2*(pieces-1)*pause {
			return s.even(kind, i)
		}
		return nil
	})
}

// readerAndLoss: the client doesn't read for a while, and a segment of the answer gets lost.
func readerAndLoss(s *site, n int) error {
	return s.each(n, 8, func(i int) error {
		// What is lost near the end of the answer comes after the client has begun to read again.
		const skip = 38
		kind, reader, times := "reader-over-loss", larger, 1
		if i%2 == 1 {
			kind, reader, times = "loss-over-reader", smaller, 3
		}
		c, err := s.dial(appAddress, dialing{buffer: 16 << 10})
		if err != nil {
			return err
		}
		defer c.Close()
		l := s.losses[farLink][back]
		l.arm(c.port, loss{skip: skip, times: times})
		a, err := c.do(asking{target: path(kind, i) + "?body=60000", before: reader})
		if err != nil {
			return err
		}
		lost := l.done(c.port)
		s.know(path(kind, i), kind, "the client read nothing for %v; lost %d times; %v", reader, lost, a.took)
		if took := a.took - reader; lost != times || i%2 == 1 && took < 2*reader || i%2 == 0 && took > reader/2 {
			return s.even(kind, i)
		}
		return nil
	})
}

// dnsAndApp: the resolver takes its time, and then the app does.
func dnsAndApp(s *site, n int) error {
	return s.behindDNS(n, func(i int) (kind string, dns time.Duration, query string) {
		if i%2 == 1 {
			return "dns-over-app", larger, "?wait=" + smaller.String()
		}
		return "app-over-dns", smaller, "?wait=" + larger.String()
	})
}
