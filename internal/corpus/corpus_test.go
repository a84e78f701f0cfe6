// Package corpus holds the captures of other projects against what independent tools say is in them.
// It has tests only, and they run when CULPRIT_SHARED names the folder that holds corpus and bench;
// nothing of that folder is copied here.
//
// TestOracles compares the exchanges of each capture with those of its oracle (oracle_test.go reads
// them, compare_test.go compares). Each difference must be listed in testdata/disagreements.tsv, with
// the reason why the oracle is wrong; each one that is listed must still be there. Captures with keys are read with
// them. TestWebSockets and TestTLSFacts (session_test.go) compare what isn't a field of an exchange there. TestEveryCapture
// holds every capture, whatever is in it, against what must always be true. TestKnownLoads counts the
// exchanges of large captures whose truth is known.
//
// docs/corpus.md has the results.
package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// maxBody is how much of each body is kept, so that content codings are undone.
const maxBody = 1 << 20

// sampleEvery is how many captures a test passes over for each that it takes, in short runs and under
// the race detector.
const sampleEvery = 8

// shared returns the path of a folder beneath $CULPRIT_SHARED.
func shared(t *testing.T, folder string) string {
	t.Helper()
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds " + folder)
	}
	return filepath.Join(root, folder)
}

// sample reports whether a test takes the i-th capture.
func sample(i int) bool { return !testing.Short() && !raceEnabled || i%sampleEvery == 0 }

// each calls f for every entry, several at a time.
func each(entries []entry, f func(e *entry)) {
	next := make(chan *entry)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for e := range next {
				f(e)
			}
		})
	}
	for i := range entries {
		if sample(i) {
			next <- &entries[i]
		}
	}
	close(next)
	wg.Wait()
}

// counted is a Source that counts what it delivers, to check the pipeline's totals against.
type counted struct {
	capture.Source
	packets, bytes uint64
}

func (c *counted) Next(r *capture.Record) error {
	err := c.Source.Next(r)
	if err == nil {
		c.packets++
		c.bytes += uint64(len(r.Data))
	}
	return err
}

// Secrets implements capture.SecretSource.
func (c *counted) Secrets() []capture.Secret { return c.Source.(capture.SecretSource).Secrets() }

// receiver hands each exchange to a function.
type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// run reads a capture with the keys of a key log, empty for none, and hands its exchanges to f. It returns an error for a
// failure and for totals that don't reconcile.
func run(path, keys string, workers int, f receiver) (pipeline.Stats, error) {
	store := keylog.NewStore(keylog.Options{}) // secrets in the capture itself are added to it
	if keys != "" {
		log, err := os.ReadFile(keys)
		if err != nil {
			return pipeline.Stats{}, err
		}
		store.Add(log)
	}
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		return pipeline.Stats{}, err
	}
	defer source.Close()
	src := &counted{Source: source}
	delivered := [exchange.Grades]uint64{}
	stats, err := pipeline.Run(context.Background(), src, pipeline.Config{
		Workers: workers,
		Memory:  512 << 20,
		Keys:    store,
		Packet:  packet.DefaultLimits(),
		TCP:     tcp.DefaultLimits,
		Parser:  proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{
			MaxWaiting: 1000, MaxBody: maxBody, ExchangeTimeout: 5 * time.Minute,
		},
	}, receiver(func(x *exchange.Exchange) {
		delivered[x.Grade]++
		f(x)
	}))
	if err != nil {
		return stats, err
	}
	return stats, reconcile(src, &stats, delivered)
}

// reconcile checks that everything is accounted for.
func reconcile(src *counted, s *pipeline.Stats, delivered [exchange.Grades]uint64) error {
	var errs []error
	received := pipeline.Count{Packets: src.packets, Bytes: src.bytes}
	if s.Received != received {
		errs = append(errs, fmt.Errorf("received %v, the source delivered %v", s.Received, received))
	}
	sum := s.Analysed
	for _, c := range s.Ignored {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	// The second test finds a sum that wrapped around: more was ignored than received.
	if sum != s.Received || s.Analysed.Packets > s.Received.Packets || s.Analysed.Bytes > s.Received.Bytes {
		errs = append(errs, fmt.Errorf("received %v, but analysed %v, ignored %v", s.Received, s.Analysed, s.Ignored))
	}
	if delivered != s.Exchanges {
		errs = append(errs, fmt.Errorf("delivered %v exchanges by grade, counted %v", delivered, s.Exchanges))
	}
	return errors.Join(errs...)
}

func TestOracles(t *testing.T) {
	root := shared(t, "corpus")
	entries := readIndex(t, root)
	allowed := readDisagreements(t, filepath.Join("testdata", "disagreements.tsv"))

	var mu sync.Mutex
	var total tally
	topics := map[string]*tally{}
	each(entries, func(e *entry) {
		want := readExpectation(t, filepath.Join(root, "expected", e.name+".tsv"))
		if want == nil {
			return
		}
		var have []row
		if _, err := run(e.file, e.keys, 1, func(x *exchange.Exchange) {
			// What tells of a connection that couldn't be read has neither. The exchange of a WebSocket's messages repeats the
			// head of the one that began it.
			if (x.HasRequest || x.HasResponse) && x.Protocol != "websocket" && x.Family == exchange.HTTP {
				have = append(have, ours(x))
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		differences, concerned := compare(want, have)
		listed := slices.Clone(allowed[e.name])
		for _, d := range differences {
			if i := slices.IndexFunc(listed, func(l disagreement) bool { return l.difference == d }); i >= 0 {
				listed = slices.Delete(listed, i, i+1)
			} else {
				t.Errorf("unlisted\t%s\t%v", e.name, d)
			}
		}
		for _, l := range listed {
			t.Errorf("no longer so\t%s\t%v", e.name, l.difference)
		}
		mu.Lock()
		if topics[e.topic] == nil {
			topics[e.topic] = &tally{}
		}
		topics[e.topic].add(len(want), concerned, len(differences))
		total.add(len(want), concerned, len(differences))
		mu.Unlock()
	})
	t.Log(table(topics, &total))
	names := map[string]bool{}
	for i := range entries {
		names[entries[i].name] = true
	}
	for name := range allowed {
		if !names[name] {
			t.Errorf("disagreements.tsv names %s, which the corpus doesn't have", name)
		}
	}
}

// tally sums up comparisons: same counts captures without a difference, differing the oracle's exchanges
// with one, differences those of fields and of exchanges that one side doesn't have.
type tally struct{ captures, same, exchanges, differing, differences int }

func (c *tally) add(exchanges, differing, differences int) {
	c.captures++
	c.exchanges += exchanges
	c.differing += differing
	c.differences += differences
	if differences == 0 {
		c.same++
	}
}

// table shows the results as docs/corpus.md has them.
func table(topics map[string]*tally, total *tally) string {
	var b strings.Builder
	b.WriteString("\n| topic | captures | without a difference | exchanges | agreed in every field | differences |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: |\n")
	line := func(topic string, c *tally) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n",
			topic, c.captures, c.same, c.exchanges, c.exchanges-c.differing, c.differences)
	}
	for _, topic := range sortedKeys(topics) {
		line(topic, topics[topic])
	}
	line("all", total)
	return b.String()
}

func TestEveryCapture(t *testing.T) {
	entries := readIndex(t, shared(t, "corpus"))
	each(entries, func(e *entry) {
		var first []byte
		for _, workers := range []int{1, 2, 8} {
			got, err := document(e.file, e.keys, workers)
			if err != nil {
				t.Errorf("%s, %d workers: %v", e.name, workers, err)
			}
			if workers == 1 {
				first = got
				for line := range bytes.Lines(got) {
					if !json.Valid(line) {
						t.Errorf("%s: not JSON: %s", e.name, clip(string(line)))
					}
				}
			} else if !bytes.Equal(got, first) {
				t.Errorf("%s: %d workers give other output than one:\n%s", e.name, workers, firstDifference(first, got))
			}
		}
	})
}

// document returns the exchanges of a capture as NDJSON.
func document(path, keys string, workers int) ([]byte, error) {
	var out bytes.Buffer
	o := ndjson.New(&out)
	number := uint64(0)
	_, err := run(path, keys, workers, func(x *exchange.Exchange) {
		number++
		x.Number = number
		_ = o.Exchange(x) // a bytes.Buffer takes everything
	})
	_ = o.Close()
	return out.Bytes(), err
}

// clip shortens a line for a message: documents hold whole bodies.
func clip(line string) string { return line[:min(len(line), 2000)] }

// firstDifference shows the first line in which two documents differ.
func firstDifference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			from := 0
			for from < len(x[i]) && from < len(y[i]) && x[i][from] == y[i][from] {
				from++
			}
			return fmt.Sprintf("line %d from byte %d on:\n%s\n%s", i+1, from, clip(x[i][from:]), clip(y[i][from:]))
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// TestKnownLoads counts exchanges where the truth is known from the server's log.
func TestKnownLoads(t *testing.T) {
	root := shared(t, "bench")
	if testing.Short() || raceEnabled {
		t.Skip("takes too long in short runs and under the race detector")
	}
	for _, load := range []struct {
		file                         string
		requests, answered, complete int
	}{
		{"small.pcap.zst", 52912, 52856, 52856},
		{"flows.pcap.zst", 24913, 24913, 24913},
		// The capture ends in the middle of one answer: its head is there, and 6,982 of 102,400 bytes of its
		// body. It counts as answered, as in the truth, which counts heads; its grade is gap.
		{"lossy.pcap.zst", 31842, 31811, 31810},
	} {
		t.Run(load.file, func(t *testing.T) {
			t.Parallel()
			requests, answered, orphans := 0, 0, 0
			stats, err := run(filepath.Join(root, load.file), "", 1, func(x *exchange.Exchange) {
				switch {
				case !x.HasRequest:
					orphans++
				case x.HasResponse:
					answered++
					fallthrough
				default:
					requests++
				}
			})
			if err != nil {
				t.Error(err)
			}
			complete := stats.Exchanges[exchange.Complete]
			if requests != load.requests || answered != load.answered || orphans != 0 || complete != uint64(load.complete) {
				t.Errorf("%d requests, %d answered, %d complete, %d responses without a request; want %d, %d, %d, 0",
					requests, answered, complete, orphans, load.requests, load.answered, load.complete)
			}
		})
	}
}
