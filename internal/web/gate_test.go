package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// So many run, some wait, and more are told to come again.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		ctx, cancel := context.WithCancel(t.Context())
		var leave []func()
		for range 2 {
			l, err := g.enter(ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		got := make(chan error, MaxPending)
		for range MaxPending - 2 {
			go func() {
				l, err := g.enter(ctx, "a")
				if err == nil {
					l()
				}
				got <- err
			}()
		}
		synctest.Wait()
		if _, err := g.enter(ctx, "a"); problemOf(err).Status != http.StatusTooManyRequests {
			t.Errorf("one too many: %v", err)
		}
		other := make(chan error, 1)
		go func() {
			l, err := g.enter(ctx, "b") // another client may still wait
			if err == nil {
				l()
			}
			other <- err
		}()
		synctest.Wait()
		leave[0]() // all of them get their turn
		if err := <-other; err != nil {
			t.Errorf("another client: %v", err)
		}
		for range MaxPending - 2 {
			if err := <-got; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}

		l, err := g.enter(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.enter(ctx, "a"); problemOf(err).Status != http.StatusTooManyRequests || !strings.Contains(err.Error(), "longer than 10s") {
			t.Errorf("one that waited for too long: %v", err)
		}
		go func() {
			_, err := g.enter(ctx, "a")
			got <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("one whose client left: %v", err)
		}
		l()
		leave[1]()
		if len(g.pending) != 0 || len(g.places) != 0 {
			t.Errorf("left behind: %v, %d", g.pending, len(g.places))
		}
	})
}

func TestTooMany(t *testing.T) {
	entered, left := make(chan bool), make(chan error, 1)
	s := serve(t, func(o *Options) { o.Store, o.Queries = hanging{o.Store, entered, left}, 1 })
	for range MaxPending {
		if !s.queries.join("192.0.2.1") { // httptest's client
			t.Fatal("no room")
		}
	}
	w := do(s, request("/api/terms?field=path"))
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := do(s, request("/api/status")); w.Code != 200 { // costs nothing
		t.Errorf("%d", w.Code)
	}
}
