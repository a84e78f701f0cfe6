//go:build linux

package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// The folders of a recording, with and without ids, and the files in each.
const (
	WithIDs     = "stack-ids"
	WithoutIDs  = "stack-noids"
	CaptureFile = "stack.pcapng"
	TruthFile   = "truth.tsv"
)

// Record sends requests, so many at once, and writes what it has recorded to two folders in folder.
func Record(requests, atOnce int, folder string) (err error) {
	work, err := os.MkdirTemp("", "culprit-stack")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s, err := start(l, work)
	if err != nil {
		return err
	}
	r, err := s.host.Record("lo")
	if err != nil {
		return err
	}
	failed := s.drive(requests, atOnce)
	pcap, _, err := r.Stop()
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	truth, err := truthOf(pcap, s.app.asked)
	if err != nil {
		return err
	}
	without, err := mask(pcap)
	if err != nil {
		return err
	}
	for name, pcap := range map[string][]byte{WithIDs: pcap, WithoutIDs: without} {
		b, _, err := lab.PCAPNG([]lab.Tapped{{Name: "lo", PCAP: pcap}}, lab.PCAPNGOptions{})
		if err != nil {
			return err
		}
		to := filepath.Join(folder, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(filepath.Join(to, CaptureFile), b, 0o644), writeTruth(filepath.Join(to, TruthFile), truth)); err != nil {
			return err
		}
	}
	return nil
}

// drive sends the requests, each client over a connection of its own, with a cookie of its own.
func (s *stack) drive(requests, atOnce int) error {
	next := make(chan int)
	errs := make(chan error, atOnce)
	for k := range atOnce {
		go func() {
			t := &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
				return s.host.Dial(network, address)
			}}
			defer t.CloseIdleConnections()
			random := rand.New(rand.NewPCG(1, uint64(k)))
			var err error
			for i := range next {
				if err == nil {
					err = s.request(t, random, k, i)
				}
			}
			errs <- err
		}()
	}
	for i := range requests {
		next <- i
	}
	close(next)
	var all []error
	for range atOnce {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// products is how many the shop has.
const products = 100

// request makes one of the requests that a shop gets, and waits for its answer.
func (s *stack) request(t *http.Transport, random *rand.Rand, client, i int) error {
	method, target, body := http.MethodGet, "", ""
	switch p := random.IntN(100); {
	case p < 45:
		target = fmt.Sprintf("/products/%d", 1+random.IntN(products))
	case p < 65:
		target = "/cart"
	case p < 78:
		target = fmt.Sprintf("/search?q=%d", 1+random.IntN(products))
	case p < 85:
		method, target, body = http.MethodPost, "/orders", fmt.Sprint(1+random.IntN(products))
	case p < 95:
		target = fmt.Sprintf("/static/%d.css", random.IntN(4))
	default:
		target = "/about"
	}
	q, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", HAProxyPort, target), strings.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set(idHeader, fmt.Sprintf("%016x%016x", random.Uint64(), i))
	q.AddCookie(&http.Cookie{Name: "session", Value: fmt.Sprintf("%016x", uint64(client+1)*0x9e3779b97f4a7c15)})
	a, err := t.RoundTrip(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", target, a.StatusCode)
	}
	time.Sleep(time.Duration(random.ExpFloat64() * float64(5*time.Millisecond)))
	return err
}
