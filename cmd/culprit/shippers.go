package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/ship/spool"
	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// memoryQueue is what waits for a receiver where there is no spool, in bytes; spoolSize is the size of a spool, unless
	// told.
	memoryQueue = 64 << 20
	spoolSize   = 1 << 30
	// drainWithin is how long what waits is delivered after the program was asked to end.
	drainWithin = 5 * time.Second
	// asideSize is how large a file of refused events becomes; then it takes the place of the one before.
	asideSize = 16 << 20
)

// The names of what is in the folder of a spool beside the queue: the events that a receiver refused for good.
const (
	asideName  = "refused.ndjson"
	asideOlder = "refused.1.ndjson"
)

// contentJSON is the content of spools with documents. One with another content isn't taken for it.
const contentJSON = "culprit documents 1"

// shipment is how an output delivers.
type shipment struct {
	encoder ship.Encoder
	// sender makes the sender of one worker.
	sender func() (ship.Sender, error)
	// content names the form of the bodies, contentJSON or another.
	content string
}

// parcel is what the settings of an output that delivers over the network say.
type parcel struct {
	shipment
	name                string
	workers, batchBytes int
	spool               int64
	// files are those that settings name, which are read again with the configuration.
	files []string
}

// read reads the settings of an output.
func (o *order) read(dial endpoint.DialFunc) error {
	return o.readFrom(&settings{output: &o.Output}, dial)
}

func (o *order) readFrom(s *settings, dial endpoint.DialFunc) error {
	if o.serve {
		o.serving = readMetrics(s)
		return s.err()
	}
	o.parcel = &parcel{
		shipment: o.ship(s, dial),
		name:     s.text("name", o.Name), workers: s.number("workers", ship.DefaultWorkers, 1, 64),
		batchBytes: int(s.size("batch_bytes", ship.DefaultBatchBytes, 1<<10, 64<<20)), spool: s.size("spool", spoolSize, spool.MinBytes, 1<<50),
	}
	if strings.ContainsAny(o.parcel.name, "/\\\x00") || strings.HasPrefix(o.parcel.name, ".") || o.parcel.name == "" {
		s.fail("name", "%q: want a name that a folder can have", o.parcel.name)
	}
	o.parcel.files = s.files
	return s.err()
}

// label tells an output with settings from others.
func (o *order) label() string {
	if o.parcel != nil {
		return o.parcel.name
	}
	return o.serving.address
}

// shipper is an output that delivers, and its queue.
type shipper struct {
	*parcel
	*ship.Output
	aside *aside
	// before are the counters of the same output until the configuration was read again.
	before ship.Stats
}

// Stats returns the counters since the program began.
func (s *shipper) Stats() ship.Stats {
	now, old := s.Output.Stats(), &s.before
	now.Exchanges += old.Exchanges
	now.Rollups += old.Rollups
	now.Delivered += old.Delivered
	now.Known += old.Known
	now.Rejected += old.Rejected
	now.Lost += old.Lost
	now.Sent += old.Sent
	now.Failed += old.Failed
	now.Bytes += old.Bytes
	if now.Loss == "" {
		now.Loss = old.Loss
	}
	now.Queue.Dropped += old.Queue.Dropped
	now.Queue.Damaged += old.Queue.Damaged
	now.Queue.DamagedBytes += old.Queue.DamagedBytes
	now.Queue.Recovered += old.Queue.Recovered - int64(old.Waiting) // which were recovered again
	return now
}

// open opens the queue, in a folder below dir, or in memory if that is empty, and begins to deliver.
func (s *shipper) open(dir string, waits bool, polite func(), say func(format string, args ...any)) (err error) {
	var queue ship.Queue
	if dir == "" {
		queue = ship.Memory(memoryQueue)
	} else {
		folder := filepath.Join(dir, s.name)
		if queue, err = spool.Open(folder, spool.Options{MaxBytes: s.spool, Content: s.content}); err != nil {
			return spoolError(s.name, err)
		}
		s.aside = &aside{folder: folder, json: s.content == contentJSON}
	}
	o := ship.Options{
		Name: s.name, Encoder: s.encoder, Queue: queue, Sender: s.sender, Workers: s.workers, BatchBytes: s.batchBytes,
		Waits: waits, Say: say, Polite: polite,
	}
	if s.aside != nil {
		o.SetAside = s.aside.add
	}
	s.Output, err = ship.New(o)
	if err != nil {
		queue.Close()
	}
	return err
}

// spoolError says what is wrong with a spool. That another process has it isn't said as of a store, which many may read.
func spoolError(name string, err error) error {
	if locked := (*disk.LockedError)(nil); errors.As(err, &locked) {
		return fmt.Errorf("the spool of %s, %s, belongs to another culprit (pid %d): stop that, or choose another folder with --spool", name, locked.Dir, locked.PID)
	}
	return fmt.Errorf("the spool of %s: %w", name, err)
}

// aside is a file of events that were refused for good, one a line with the reason, and one of those before.
type aside struct {
	folder string
	json   bool

	mu sync.Mutex
}

// refused is one line of the file.
type refused struct {
	Time   time.Time `json:"time"`
	ID     string    `json:"id"`
	Reason string    `json:"reason"`
	// Event is the document; of what isn't text, Body has the bytes.
	Event json.RawMessage `json:"event,omitempty"`
	Body  []byte          `json:"body,omitempty"`
}

// add adds an event.
func (a *aside) add(e *ship.Event, reason string) error {
	r := refused{Time: time.Now().UTC(), ID: string(exchange.AppendID(nil, e.ID)), Reason: reason}
	if a.json && json.Valid(e.Body) {
		r.Event = e.Body
	} else {
		r.Body = e.Body
	}
	line, err := json.Marshal(&r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	root, err := os.OpenRoot(a.folder) // nobody who may write there can lead out of it
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(asideName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file: move it away", filepath.Join(a.folder, asideName))
	case info.Size() > asideSize:
		if err := root.Rename(asideName, asideOlder); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(asideName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// openShippers opens the queues, in folders below dir, and begins to deliver. Those that can't be opened are left out, and
// the others deliver all the same.
func (s *sinks) openShippers(dir string, waits bool, polite func(), say func(format string, args ...any)) error {
	var open []*shipper
	var errs []error
	for _, sh := range s.shippers {
		if err := sh.open(dir, waits, polite, say); err != nil {
			errs = append(errs, err)
			continue
		}
		open = append(open, sh)
		s.outputs = append(s.outputs, sh.Output)
	}
	s.shippers = open
	s.delivering.Store(&open)
	return errors.Join(errs...)
}

// hurry ends the waiting for room. It may be called from any goroutine.
func (s *sinks) hurry() {
	if open := s.delivering.Load(); open != nil {
		for _, sh := range *open {
			sh.Hurry()
		}
	}
}

// canceled returns a context that is done.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// rollup delivers a row.
func (s *sinks) rollup(r *rollup.Row) {
	for _, sh := range s.shippers {
		sh.Rollup(r)
	}
}

// end delivers what waits, until that is done or ctx is, all outputs at once.
func (s *sinks) end(ctx context.Context) error {
	errs := make([]error, len(s.shippers))
	var all sync.WaitGroup
	for i, sh := range s.shippers {
		all.Go(func() { errs[i] = sh.End(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// account says what became of the events of an output, for the totals at the end.
func account(t *ship.Stats) string {
	text := plural(t.Exchanges, "exchange")
	if t.Rollups > 0 {
		text += " + " + plural(t.Rollups, "rollup")
	}
	if n := t.Queue.Recovered; n > 0 {
		text += " + " + count(uint64(n)) + " of an earlier run"
	}
	text += " = delivered " + count(t.Delivered)
	if t.Known > 0 {
		text += " (" + count(t.Known) + " known already)"
	}
	for _, part := range []struct {
		name string
		n    uint64
	}{
		{"refused", t.Rejected}, {"lost", t.Lost}, {"dropped", uint64(t.Queue.Dropped)}, {"damaged", uint64(t.Queue.Damaged)}, {"waiting", t.Waiting},
	} {
		if part.n > 0 {
			text += " + " + part.name + " " + count(part.n)
		}
	}
	return text
}

// documents encodes JSON documents.
type documents struct{ exchanges ndjson.Encoder }

func newDocuments() *documents { return &documents{ndjson.NewEncoder()} }

// Exchange implements ship.Encoder.
func (d *documents) Exchange(dst []byte, x *exchange.Exchange) []byte {
	return d.exchanges.Append(dst, x)
}

// Rollup implements ship.Encoder.
func (d *documents) Rollup(dst []byte, r *rollup.Row) []byte { return rollup.AppendJSON(dst, r) }

// spoolFolder is where the queues are kept.
func spoolFolder(c *config.Trace) (string, error) {
	if c.Spool != "" || !c.Agent {
		return c.Spool, nil
	}
	return config.DefaultSpool(os.Getenv, os.Getuid())
}
