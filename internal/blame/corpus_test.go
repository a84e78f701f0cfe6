package blame_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// receiver hands each exchange to a function.
type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// each hands the exchanges of a capture to a function.
func each(path string, f receiver) error {
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		return err
	}
	defer source.Close()
	_, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 256 << 20, Keys: keylog.NewStore(keylog.Options{}), Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, Flows: pipeline.FailedFlows,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}, f)
	return err
}

// holds checks what must be so of every exchange: its causes add up to the nanosecond, and its verdict is within its bounds and says something.
func holds(t *testing.T, path string, x *exchange.Exchange) {
	t.Helper()
	var l measure.Ledger
	l.Take(x)
	tm := &x.Timing
	for row, part := range [measure.Rows]int64{tm.Connect, tm.Send, tm.Wait, tm.Receive, tm.TLS} {
		var sum int64
		for cause, n := range l.Rows[row] {
			if n < 0 {
				t.Errorf("%s: packet %d, row %d: cause %d has %d ns", path, x.FirstPacket, row, cause, n)
			}
			sum += n
		}
		if sum != max(part, 0) {
			t.Errorf("%s: packet %d, row %d: the causes add up to %d ns of %d", path, x.FirstPacket, row, sum, part)
		}
	}
	for p, part := range [exchange.Phases]int64{tm.Connect, tm.Send, tm.Wait, tm.Receive} {
		if c := &tm.Causes[p]; c.Known && c.Sum() != part {
			t.Errorf("%s: packet %d: the parties add up to %d ns of %s, which has %d", path, x.FirstPacket, c.Sum(), exchange.Phase(p), part)
		}
	}
	b := &x.Blame
	switch {
	case b.Confidence < 0 || b.Confidence > 1, b.Time < 0, b.Who > exchange.Nobody && (b.N == 0 || x.Why() == ""),
		b.Who > exchange.Nobody && b.Who != exchange.Unclear && b.Confidence < blame.MinConfidence:
		t.Errorf("%s: packet %d: %+v", path, x.FirstPacket, *b)
	}
	for _, text := range x.Proofs() {
		if text == "" || strings.ContainsAny(text, "{}") {
			t.Errorf("%s: packet %d: %q", path, x.FirstPacket, text)
		}
	}
}

// TestEveryCapture holds what must be so against every exchange of real captures.
func TestEveryCapture(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	captures, exchanges := 0, 0
	err := filepath.WalkDir(filepath.Join(root, "corpus"), func(path string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(path)
		if err != nil || d.IsDir() || ext != ".pcap" && ext != ".pcapng" && ext != ".cap" {
			return err
		}
		if info, err := d.Info(); err != nil || testing.Short() && info.Size() > 1<<20 {
			return err
		}
		// What isn't a capture, or is broken, has nothing to hold.
		if each(path, func(x *exchange.Exchange) { exchanges++; holds(t, path, x) }) == nil {
			captures++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if captures == 0 || exchanges == 0 {
		t.Errorf("%d captures with %d exchanges beneath %s/corpus", captures, exchanges, root)
	}
	t.Logf("%d captures, %d exchanges", captures, exchanges)
}

// TestOwnCaptures: the captures of this project, and simulated ones with losses.
func TestOwnCaptures(t *testing.T) {
	lossy := filepath.Join(t.TempDir(), "lossy.pcap")
	f, err := os.Create(lossy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := synth.Lossy(f, 4<<20, synth.Options{Seed: 5}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{lossy, "../../testdata/demo.pcap", "../../testdata/sample/shop.pcapng.zst", "../../testdata/secure/secure.pcapng", "../../testdata/databases/databases.pcapng"} {
		n := 0
		if err := each(path, func(x *exchange.Exchange) { n++; holds(t, path, x) }); err != nil || n == 0 {
			t.Errorf("%s: %d exchanges, %v", path, n, err)
		}
	}
}

// TestDemo: the verdicts on the demonstration capture are those of its story.
func TestDemo(t *testing.T) {
	got := map[string]int{}
	if err := each("../../testdata/demo.pcap", func(x *exchange.Exchange) {
		if x.Blame.Who > exchange.Nobody {
			got[string(x.Subject())+" "+x.Blame.Who.String()+"/"+x.Blame.Situation.String()]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"/api/transactions?investor_id=7 client/client-error": 2,
		"/upload server/early-response":                       1,
		"/api/stock/17 upstream/failed-hop":                   1,
		"/api/report?year=2025 server/slow-application":       1,
		"/images/hero.jpg client-network/loss-client-side":    1,
		"/favicon.ico client/client-error":                    1,
		"/api/orders server/server-error":                     1,
		"/api/export?format=csv server/slow-application":      1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}
