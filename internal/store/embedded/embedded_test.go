package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// engine opens a store for a test, which fails if anything is wrong in the background.
type engine struct {
	*embedded.Engine
	dir     string
	options embedded.Options
}

func open(t testing.TB, dir string, o embedded.Options) *engine {
	t.Helper()
	o.Warn = func(text string) { t.Errorf("warning: %s", text) }
	e, err := embedded.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return &engine{e, dir, o}
}

// The engine answers as the oracle does, whatever is in the log, in memory, and in segments of any size.
func TestEngine(t *testing.T) {
	all := []embedded.Options{{}, {TailRows: 150, Workers: 2, SyncEvery: 5 * time.Millisecond}}
	if os.Getenv("CULPRIT_SOAK") != "" {
		all = append(all, embedded.Options{TailRows: 50, Workers: 4, SyncEvery: time.Millisecond},
			embedded.Options{TailRows: 3000, TailAge: time.Nanosecond, SyncEvery: 5 * time.Millisecond, Workers: 2})
	}
	for _, o := range all {
		t.Run(fmt.Sprintf("tail=%d,age=%v,workers=%d", o.TailRows, o.TailAge, o.Workers), func(t *testing.T) {
			storetest.Test(t, func(t testing.TB) store.Store { return open(t, t.TempDir(), o) },
				func(t testing.TB, old store.Store) store.Store {
					e := old.(*engine)
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
					return open(t, e.dir, e.options)
				})
		})
	}
}

func TestSecondWriter(t *testing.T) {
	e := open(t, t.TempDir(), embedded.Options{})
	if _, err := embedded.Open(e.dir, embedded.Options{}); !errors.Is(err, store.ErrBusy) {
		t.Errorf("a second writer gets %v", err)
	}
}

// Retention holds for what is closed at once, too.
func TestRetentionAtClose(t *testing.T) {
	e := open(t, t.TempDir(), embedded.Options{MaxAge: time.Hour}) // exchanges of the suite are older
	var b record.Batch
	for _, x := range storetest.Exchanges(1, 20) {
		b.Add(x)
	}
	if n, err := e.Append(&b); err != nil || n != 20 {
		t.Fatalf("%d were stored: %v", n, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := e.Status(context.Background()); err != nil || s.Expired != 20 || s.Exchanges != 0 {
		t.Errorf("the status is %+v, %v", s, err)
	}
}
