package packets

import (
	"io"
	"os"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// again extracts each exchange, traces what comes out, and returns how many aren't there as they were.
func again(t *testing.T, write func(io.Writer, Query) (Count, error), all []seen, connection bool) (missing []seen) {
	t.Helper()
	dir := t.TempDir()
	for i := range all {
		x := &all[i]
		if x.grade != exchange.Complete {
			continue
		}
		q := x.query
		q.Connection = connection
		name, count := place(t, dir, write, q)
		found := false
		var got []seen
		for _, y := range trace(t, openFile(t, name), nil) {
			y.summary = x.summary[:len(x.query.Tap)] + y.summary[len(y.query.Tap):]
			found = found || x.same(&y)
			got = append(got, y)
		}
		if !found || !count.First || !count.Last {
			missing = append(missing, *x)
			t.Logf("exchange %d isn't there again: %+v\n%+v\ngot %+v", i, count, x, got)
		}
	}
	return missing
}

// TestExchangesAreThereAgain: a trace of the packets of an exchange shows that exchange as it was.
func TestExchangesAreThereAgain(t *testing.T) {
	for _, name := range []string{"demo", "small", "flows", "lossy"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := openRing(t, dir, testOptions())
			all := keep(t, r, source1(scenario(t, name, 1<<20)))
			if len(all) > 300 {
				all = all[:300]
			}
			if n := len(again(t, r.Write, all, false)); n > 0 {
				t.Errorf("%d of %d are missing", n, len(all))
			}
			closeRing(t, r)
			if n := len(again(t, (&Folder{Dir: dir}).Write, all, false)); n > 0 {
				t.Errorf("from the folder: %d of %d are missing", n, len(all))
			}
		})
	}
}

func TestDemo(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	all := keep(t, r, openFile(t, "../../../testdata/demo.pcap"))
	if len(all) == 0 {
		t.Fatal("no exchanges")
	}
	if missing := again(t, r.Write, all, false); len(missing) > 0 {
		t.Errorf("%d of %d are missing", len(missing), len(all))
	}
	closeRing(t, r)
	if c := r.Counters(); c.Written == 0 || c.Failed+c.Dropped+c.Cut != 0 {
		t.Errorf("%+v", c)
	}
}

// TestCorpus: what can't be understood without what came before it, such as a response that nobody asked for, needs
// its connection. With HTTP/1 that is rare; a statement may have been prepared long before, and
// HTTP/2 refers to fields that were sent before.
func TestCorpus(t *testing.T) {
	exchanges, alone, missing := 0, 0, 0
	for _, name := range corpus(t) {
		dir := t.TempDir()
		r := openRing(t, dir, testOptions())
		all := keep(t, r, openFile(t, name))
		if len(all) > 40 {
			all = all[:40]
		}
		more := again(t, r.Write, all, false)
		exchanges, alone = exchanges+http1(all), alone+http1(more)
		if n := len(again(t, r.Write, more, true)); n > 0 {
			missing += n
			t.Errorf("%s: %d of %d are missing", name, n, len(all))
		}
		closeRing(t, r)
		os.RemoveAll(dir)
	}
	t.Logf("%d exchanges of HTTP/1; %d need their connection, %d of all are missing", exchanges, alone, missing)
	if exchanges == 0 || alone*100 > exchanges {
		t.Errorf("%d of %d exchanges of HTTP/1 need their connection", alone, exchanges)
	}
}

// http1 returns how many exchanges are of HTTP/1.
func http1(all []seen) (n int) {
	for i := range all {
		if all[i].protocol == "http" {
			n++
		}
	}
	return n
}
