package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/faultfs"
	"github.com/culprit-http/culprit/internal/store/record"
)

// asWriter makes the test binary the writer of a store, until it is killed: its folder, the number of the first exchange
// to store, and the bytes that retention leaves, with commas between.
const asWriter = "CULPRIT_TEST_STORE_WRITER"

func TestMain(m *testing.M) {
	if what := os.Getenv(asWriter); what != "" {
		fmt.Println(writeUntilKilled(what))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const crashSeed = 11

func generator() *generate.Generator {
	// Few exchanges a second make segments of several days, and many that are out of order.
	return generate.New(generate.Options{Seed: crashSeed, Start: 1_763_769_000e9, Rate: 40})
}

// busy are options with which all happens all the time: segments are written, merged and deleted.
func busy(maxBytes int64) embedded.Options {
	return embedded.Options{TailRows: 60, SyncEvery: 3 * time.Millisecond, MaxBytes: maxBytes, Reserve: 1}
}

func writeUntilKilled(what string) error {
	parts := strings.Split(what, ",")
	first, err := strconv.Atoi(parts[1])
	if err != nil {
		return err
	}
	maxBytes, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return err
	}
	g := generator()
	for range first {
		g.Next()
	}
	o := busy(maxBytes)
	o.Warn = func(text string) { fmt.Println("warning:", text) }
	e, err := embedded.Open(parts[0], o)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(uint64(first), 3))
	var b record.Batch
	for next := first; ; {
		b.Reset()
		for range 1 + r.IntN(25) {
			b.Add(g.Next())
			next++
		}
		if _, err := e.Append(&b); err != nil {
			return err
		}
		fmt.Println(next)
	}
}

// writer is a writer in another process.
type writer struct {
	cmd *exec.Cmd
	// stored is up to where exchanges are stored; done is closed when the process has said all it will.
	stored  atomic.Int64
	done    chan struct{}
	trouble string
}

func startWriter(t *testing.T, dir string, first int, maxBytes int64) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d,%d", asWriter, dir, first, maxBytes))
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if n, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
				w.stored.Store(n)
			} else {
				w.trouble += lines.Text() + "\n"
			}
		}
	}()
	return w
}

// kill kills the writer, and returns up to where exchanges are stored.
func (w *writer) kill(t *testing.T) int {
	t.Helper()
	_ = w.cmd.Process.Kill()
	<-w.done
	_ = w.cmd.Wait()
	if w.trouble != "" {
		t.Errorf("the writer says: %s", w.trouble)
	}
	return int(w.stored.Load())
}

// until waits until n exchanges are stored, or the writer has ended.
func (w *writer) until(n int) {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for int(w.stored.Load()) < n {
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
	}
}

// truth knows the exchanges of the generator.
type truth struct {
	g         *generate.Generator
	encoder   ndjson.Encoder
	documents []string
	numbers   map[string]int // by id
}

func newTruth() *truth {
	return &truth{g: generator(), encoder: ndjson.NewEncoder(), numbers: map[string]int{}}
}

func (w *truth) upTo(n int) {
	for len(w.documents) < n {
		x := w.g.Next()
		w.numbers[idOf(x)] = len(w.documents)
		w.documents = append(w.documents, string(w.encoder.Append(nil, x)))
	}
}

func idOf(x *exchange.Exchange) string {
	id := x.ID(x.Tap.Observer)
	return string(id[:])
}

// check reads all of a store, and returns which exchanges are there: each once, as it was given.
func (w *truth) check(r store.Reader, encoder ndjson.Encoder, most int) (there []bool, err error) {
	w.upTo(most)
	there = make([]bool, most)
	count := int64(0)
	for after := ""; ; {
		page, err := r.Search(context.Background(), &store.Search{Limit: 5000, After: after}, func(x *exchange.Exchange) error {
			n, ok := w.numbers[idOf(x)]
			switch document := string(encoder.Append(nil, x)); {
			case !ok || n >= most:
				return fmt.Errorf("an exchange that was never given: %s", document)
			case there[n]:
				return fmt.Errorf("exchange %d is there twice", n)
			case document != w.documents[n]:
				return fmt.Errorf("exchange %d isn't as it was given:\n%s\n%s", n, document, w.documents[n])
			}
			there[n] = true
			count++
			return nil
		})
		if err != nil {
			return nil, err
		}
		if after = page.Next; after == "" {
			break
		}
	}
	table, err := r.Aggregate(context.Background(), &store.Aggregate{Order: -1})
	if err == nil && table.Total.Count != count {
		err = fmt.Errorf("%d exchanges are found, and %d counted", count, table.Total.Count)
	}
	return there, err
}

func rounds(normal, soak int) int {
	switch {
	case os.Getenv("CULPRIT_SOAK") != "":
		return soak
	case testing.Short():
		return max(normal/3, 2)
	}
	return normal
}

// The writer is killed at random moments, while it stores, writes segments, merges and deletes them. The store opens, by
// itself, and has all that was stored, as it was given, once.
func TestKill(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	truth, encoder := newTruth(), ndjson.NewEncoder()
	var dir string
	var first, stored, most int // most: of this store
	var maxBytes int64
	for round := range rounds(12, 100) {
		if round%4 == 0 {
			dir, first, most, maxBytes = filepath.Join(t.TempDir(), "store"), 0, 0, 0
			if round%8 == 4 {
				maxBytes = 1 << 20
			}
		}
		w := startWriter(t, dir, first, maxBytes)
		w.until(first + 40 + r.IntN(1500))
		// And some more: not always right after something was stored.
		for range r.IntN(2000) {
			_ = w.stored.Load()
		}
		if stored = w.kill(t); stored == 0 {
			t.Fatalf("round %d: the writer didn't come to store anything", round)
		}
		most = max(most, stored+25)
		what := fmt.Sprintf("round %d, %d stored, retention %d", round, stored, maxBytes)
		look := func(how string, open store.Reader, err error) {
			if err != nil {
				t.Fatalf("%s: %s: %v", what, how, err)
			}
			// It may have stored one more batch, and not come to say so.
			there, err := truth.check(open, encoder, most)
			if err != nil {
				t.Fatalf("%s: %s: %v", what, how, err)
			}
			for n := range stored {
				if !there[n] && maxBytes == 0 {
					t.Fatalf("%s: %s: exchange %d is lost", what, how, n)
				}
			}
			if err := open.Close(); err != nil {
				t.Fatalf("%s: %s: closing: %v", what, how, err)
			}
		}
		o := embedded.Options{Warn: func(text string) { t.Errorf("%s: warning: %s", what, text) }}
		reader, err := embedded.OpenReader(dir, o)
		look("reading", reader, err)
		if round%2 == 0 {
			o := busy(maxBytes)
			o.Warn = func(text string) { t.Errorf("%s: warning: %s", what, text) }
			e, err := embedded.Open(dir, o)
			look("opening", e, err)
		}
		// Some are stored again: duplicates.
		first = max(stored-r.IntN(300), 0)
	}
}

// Who reads while another process writes, merges and deletes sees each exchange once, and all that were stored when the
// question came.
func TestReadWhileWriting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	truth, encoder := newTruth(), ndjson.NewEncoder()
	w := startWriter(t, dir, 0, 0)
	defer w.kill(t)
	w.until(100)
	r, err := embedded.OpenReader(dir, embedded.Options{Warn: func(text string) { t.Errorf("warning: %s", text) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for round := range rounds(120, 1000) {
		before := int(w.stored.Load())
		table, err := r.Aggregate(context.Background(), &store.Aggregate{
			Metrics: []store.Metric{{Kind: store.Distinct, Field: exchange.Lookup("event.id")}},
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if n := table.Total.Count; n < int64(before) || float64(n) != table.Total.Values[0][0] {
			t.Fatalf("round %d: %d exchanges, %v different ones, of at least %d", round, n, table.Total.Values[0][0], before)
		}
		if before > 15_000 {
			w.kill(t)
			break
		}
		if round%20 > 0 || before > store.MaxLimit-3000 {
			continue
		}
		seen := map[string]bool{}
		before = int(w.stored.Load())
		if _, err := r.Search(context.Background(), &store.Search{Limit: store.MaxLimit}, func(x *exchange.Exchange) error {
			id := idOf(x)
			truth.upTo(int(w.stored.Load()) + 200)
			n, ok := truth.numbers[id]
			switch {
			case seen[id]:
				return fmt.Errorf("exchange %d is there twice", n)
			case ok && string(encoder.Append(nil, x)) != truth.documents[n]:
				return fmt.Errorf("exchange %d isn't as it was given", n)
			}
			seen[id] = true
			return nil
		}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		truth.upTo(before)
		for id, n := range truth.numbers {
			if n < before && !seen[id] {
				t.Fatalf("round %d: exchange %d isn't seen, of %d", round, n, before)
			}
		}
	}
}

// batches are the first exchanges of the generator, some at a time, with the number that each batch ends at.
type given struct {
	batches []record.Batch
	ends    []int
}

func newGiven(n int) *given {
	g, r := generator(), rand.New(rand.NewPCG(5, 5))
	v := &given{}
	for total := 0; total < n; {
		var b record.Batch
		for range 1 + r.IntN(9) {
			b.Add(g.Next())
		}
		total += b.Len()
		v.batches, v.ends = append(v.batches, b), append(v.ends, total)
	}
	return v
}

// world is a store on a file system where anything may happen.
type world struct {
	r       *rand.Rand
	fs      *faultfs.FS
	given   *given
	truth   *truth
	encoder ndjson.Encoder
	// stored are the batches that Append took, durable those of them that Sync was told of.
	stored, durable []bool
	next            int
	counts          map[string]int
}

const crashDir = "/store"

func (w *world) options() embedded.Options {
	return embedded.Options{FS: w.fs, TailRows: 3 + w.r.IntN(40), SyncEvery: time.Duration(1+w.r.IntN(3)) * time.Millisecond, Reserve: 1}
}

// live stores some, until something ends it.
func (w *world) live() error {
	w.fs.CrashAfter(1 + w.r.IntN(160))
	e, err := embedded.Open(crashDir, w.options())
	if err != nil {
		if !errors.Is(err, faultfs.ErrDown) {
			return fmt.Errorf("opening: %w", err)
		}
		w.counts["opening"]++
		return nil
	}
	if w.r.IntN(3) == 0 {
		w.faults()
	}
	began := w.next
	for range w.r.IntN(120) {
		if w.next == len(w.given.batches) {
			break
		}
		n := w.next
		if w.r.IntN(10) == 0 && n > 0 { // once more
			n = w.r.IntN(n)
		} else {
			w.next++
		}
		_, err := e.Append(&w.given.batches[n])
		switch {
		case err == nil:
			w.stored[n] = true
		case errors.Is(err, store.ErrFull):
			w.counts["full"]++
		case !errors.Is(err, faultfs.ErrDown):
			w.counts["failed"]++
		}
		if w.r.IntN(8) == 0 {
			if e.Sync() == nil {
				for i := began; i < w.next; i++ {
					w.durable[i] = w.durable[i] || w.stored[i]
				}
			}
		}
		if errors.Is(err, faultfs.ErrDown) {
			break
		}
	}
	if w.r.IntN(2) == 0 { // it may end in order
		w.fs.Inject(nil)
		if e.Close() == nil {
			copy(w.durable, w.stored)
			w.counts["closed"]++
		}
		return nil
	}
	w.fs.CrashAfter(1)
	_ = e.Close()
	return nil
}

// faults makes calls fail at random.
func (w *world) faults() {
	r := rand.New(rand.NewPCG(w.r.Uint64(), 1)) // it is used under a lock
	w.fs.Inject(func(op faultfs.Op) *faultfs.Fault {
		if r.IntN(15) > 0 {
			return nil
		}
		switch op.Kind {
		case faultfs.Write:
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO}[r.IntN(2)], Done: r.IntN(max(1, op.Len))}
		case faultfs.Sync, faultfs.Create, faultfs.Rename, faultfs.SyncDir, faultfs.Remove, faultfs.Mkdir:
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO}[r.IntN(2)]}
		}
		return nil
	})
}

// look checks what is there after the power went and came back.
func (w *world) look() error {
	var warnings []string
	var mu sync.Mutex
	o := w.options()
	o.Warn = func(text string) { mu.Lock(); warnings = append(warnings, text); mu.Unlock() }
	check := func(r store.Reader) error {
		there, err := w.truth.check(r, w.encoder, w.given.ends[len(w.given.ends)-1])
		if err != nil {
			return err
		}
		begin := 0
		for n, end := range w.given.ends {
			all := true
			for i := begin; i < end; i++ {
				switch {
				case there[i]:
					w.counts["found"]++
					continue
				case w.durable[n]:
					return fmt.Errorf("exchange %d of batch %d is lost, and was durable", i, n)
				case w.stored[n]:
					w.counts["lost"]++
				}
				all = false
			}
			w.stored[n] = all
			begin = end
		}
		return nil
	}
	if r, err := embedded.OpenReader(crashDir, o); err == nil {
		if err := errors.Join(check(r), r.Close()); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	}
	e, err := embedded.Open(crashDir, o)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if err := errors.Join(check(e), e.Close()); err != nil {
		return err
	}
	for _, text := range warnings {
		if !strings.Contains(text, "log of the store") { // the end of what wasn't synced
			return fmt.Errorf("warning: %s", text)
		}
	}
	copy(w.durable, w.stored) // Close has written what was found to segments
	return nil
}

func powerCuts(seed uint64, v *given, truth *truth, counts map[string]int) error {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &world{r: r, fs: faultfs.New(rand.New(rand.NewPCG(seed, 8))), given: v, truth: truth, encoder: ndjson.NewEncoder(), counts: counts,
		stored: make([]bool, len(v.batches)), durable: make([]bool, len(v.batches))}
	for range 1 + r.IntN(3) {
		if err := w.live(); err != nil {
			return err
		}
		w.fs.Inject(nil)
		w.fs.CrashAfter(0)
		w.fs.Crash()
		if err := w.look(); err != nil {
			return err
		}
	}
	return nil
}

// Wherever the power goes, and whatever fails before: what was synced is there, what is there was given, unchanged, once.
func TestPowerCuts(t *testing.T) {
	v, truth, counts := newGiven(500), newTruth(), map[string]int{}
	runs := rounds(40, 1000)
	for seed := range runs {
		if err := powerCuts(uint64(seed), v, truth, counts); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Log(runs, "runs:", counts)
	for _, what := range []string{"found", "lost", "closed"} {
		if counts[what] < runs/20 {
			t.Errorf("%s only happened %d times", what, counts[what])
		}
	}
}

// The folder of a day that couldn't be made durable is made so when it is used again.
func TestUnsyncedDay(t *testing.T) {
	v, truth, encoder := newGiven(30), newTruth(), ndjson.NewEncoder()
	for seed := range uint64(20) {
		f := faultfs.New(rand.New(rand.NewPCG(seed, 1)))
		e, err := embedded.Open(crashDir, embedded.Options{FS: f, SyncEvery: time.Hour, Reserve: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range v.batches {
			if _, err := e.Append(&v.batches[i]); err != nil {
				t.Fatal(err)
			}
		}
		failed := false
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.SyncDir && op.Name == crashDir+"/segments" && !failed {
				failed = true
				return &faultfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
		if err := e.Flush(); err == nil {
			t.Fatal("the folder couldn't be made durable, and nobody says so")
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		f.Inject(nil)
		f.CrashAfter(1)
		_ = e.Close()
		f.Crash()
		r, err := embedded.OpenReader(crashDir, embedded.Options{FS: f})
		if err != nil {
			t.Fatal(err)
		}
		there, err := truth.check(r, encoder, v.ends[len(v.ends)-1])
		if err != nil {
			t.Fatal(err)
		}
		for n, found := range there {
			if !found {
				t.Fatalf("seed %d: exchange %d is lost", seed, n)
			}
		}
		_ = r.Close()
	}
}

// Segments that were merged and aren't deleted yet don't count, for whoever reads, and after a crash.
func TestUnfinishedMerge(t *testing.T) {
	v, truth, encoder := newGiven(200), newTruth(), ndjson.NewEncoder()
	total := v.ends[len(v.ends)-1]
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Remove && strings.HasSuffix(op.Name, ".parquet") {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	warned := make(chan string, 1000)
	e, err := embedded.Open(crashDir, embedded.Options{FS: f, TailRows: 20, SyncEvery: time.Millisecond, Reserve: 1, Warn: func(text string) { warned <- text }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.batches {
		if _, err := e.Append(&v.batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	if text := <-warned; !strings.Contains(text, "merging small segments") {
		t.Fatalf("warning: %s", text)
	}
	look := func(how string, r store.Reader, err error) {
		if err != nil {
			t.Fatal(how, err)
		}
		there, err := truth.check(r, encoder, total)
		if err != nil {
			t.Fatal(how, err)
		}
		for n, found := range there {
			if !found {
				t.Fatalf("%s: exchange %d isn't there", how, n)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(how, err)
		}
	}
	if err := e.Sync(); err != nil {
		t.Fatal(err)
	}
	r, err := embedded.OpenReader(crashDir, embedded.Options{FS: f})
	look("reading", r, err)
	f.CrashAfter(1)
	_ = e.Close()
	f.Inject(nil)
	f.Crash()
	e, err = embedded.Open(crashDir, embedded.Options{FS: f, Reserve: 1})
	look("opening", e, err)
}

// A segment with a wrong byte anywhere is set aside as a whole, or the byte doesn't matter; the others serve.
func TestDamagedSegment(t *testing.T) {
	v, truth, encoder := newGiven(400), newTruth(), ndjson.NewEncoder()
	total := v.ends[len(v.ends)-1]
	dir := filepath.Join(t.TempDir(), "store")
	e, err := embedded.Open(dir, embedded.Options{TailRows: 90})
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.batches {
		if _, err := e.Append(&v.batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*", "*.parquet"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	r := rand.New(rand.NewPCG(2, 2))
	aside := 0
	for round := range rounds(40, 400) {
		path := files[r.IntN(len(files))]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		broken := append([]byte(nil), whole...)
		at := r.IntN(len(broken))
		for i := at; i < min(at+1+r.IntN(4), len(broken)); i++ {
			broken[i] ^= byte(1 + r.IntN(255))
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		var warnings []string
		o := embedded.Options{Warn: func(text string) { warnings = append(warnings, text) }, SyncEvery: time.Hour}
		var reader store.Reader
		if round%2 == 0 {
			reader, err = embedded.OpenReader(dir, o)
		} else {
			reader, err = embedded.Open(dir, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		there, err := truth.check(reader, encoder, total)
		if err != nil {
			t.Fatalf("byte %d of %s: %v", at, path, err)
		}
		missing := 0
		for _, found := range there {
			if !found {
				missing++
			}
		}
		s, err := reader.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		rows, err := strconv.Atoi(strings.Split(filepath.Base(path), "-")[2])
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case missing == 0 && s.Damaged == 0 && len(warnings) == 0:
		case missing == rows && s.Damaged == 1 && len(warnings) == 1 && strings.Contains(warnings[0], filepath.Base(path)):
			aside++
		default:
			t.Fatalf("byte %d of %s: %d exchanges of %d are missing, %d segments damaged, %q", at, path, missing, rows, s.Damaged, warnings)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		set, _ := filepath.Glob(filepath.Join(dir, "damaged", "*"))
		if want := round % 2 * s.Damaged; len(set) != want {
			t.Fatalf("set aside: %v", set)
		}
		for _, path := range set {
			_ = os.Remove(path)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if aside == 0 {
		t.Error("nothing was noticed")
	}
}
