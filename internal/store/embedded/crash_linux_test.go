package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/disktest"
	"github.com/culprit-http/culprit/internal/store/embedded"
)

// On a file system that runs full: storing stops with ErrFull, which the status says, and nothing that was stored is lost;
// questions are answered; and storing goes on by itself when there is room.
func TestFullDisk(t *testing.T) {
	root := disktest.Small(t, "3m")
	if root == "" {
		return
	}
	dir, ballast := filepath.Join(root, "store"), filepath.Join(root, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	warnings := make(chan string, 1000)
	e, err := embedded.Open(dir, embedded.Options{TailRows: 200, SyncEvery: 2 * time.Millisecond, Reserve: 256 << 10, Warn: func(text string) { warnings <- text }})
	if err != nil {
		t.Fatal(err)
	}
	v, truth, encoder := newGiven(20_000), newTruth(), ndjson.NewEncoder()
	stored := make([]bool, len(v.batches))
	next := 0
	// fill stores until there is no room; what is refused is lost. It returns how many batches were stored.
	fill := func() (n int) {
		for refused := 0; refused < 100; next++ {
			if next == len(v.batches) {
				t.Fatal("the file system doesn't run full")
			}
			switch _, err := e.Append(&v.batches[next]); {
			case err == nil:
				stored[next] = true
				n++
			case errors.Is(err, store.ErrFull):
				refused++
			default:
				t.Fatal(err)
			}
		}
		return n
	}
	check := func(r store.Reader) {
		t.Helper()
		there, err := truth.check(r, encoder, v.ends[len(v.ends)-1])
		if err != nil {
			t.Fatal(err)
		}
		begin := 0
		for n, end := range v.ends {
			for i := begin; i < end; i++ {
				if there[i] != stored[n] {
					t.Fatalf("exchange %d of batch %d: there %v, stored %v", i, n, there[i], stored[n])
				}
			}
			begin = end
		}
	}
	before := fill()
	s, err := e.Status(context.Background())
	if err != nil || s.Lost < 100 || !strings.Contains(s.Problem, store.ErrFull.Error()) {
		t.Errorf("%d lost, problem %q, %v", s.Lost, s.Problem, err)
	}
	check(e)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		_, err := e.Append(&v.batches[next])
		stored[next] = err == nil
		next++
		if err == nil {
			break
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("there is room, but: %v", err)
		}
	}
	if s, err := e.Status(context.Background()); err != nil || s.Problem != "" {
		t.Errorf("there is room, but the problem is %q, %v", s.Problem, err)
	}
	after := fill()
	if after < before/4 {
		t.Errorf("%d batches were stored while full, and %d more when there was room", before, after)
	}
	check(e)
	if err := e.Close(); err != nil {
		t.Logf("closing: %v", err)
	}
	close(warnings)
	var stops, goes int
	for text := range warnings {
		switch {
		case strings.HasPrefix(text, "storing has stopped"):
			stops++
		case text == "storing goes on":
			goes++
		default:
			t.Errorf("warning: %s", text)
		}
	}
	if stops == 0 || goes == 0 || stops+goes > 40 {
		t.Errorf("it was said %d times that storing stops, %d times that it goes on", stops, goes)
	}
	e, err = embedded.Open(dir, embedded.Options{Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	check(e)
	_ = e.Close()
}
