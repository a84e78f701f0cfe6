package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/sample"
	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// shipperMemory is what a shipper takes beside --memory, without batches: frames, and what the queue keeps.
	shipperMemory = 32 << 20
	// batchCopies is how many times a batch is in memory: as events, and in its envelope.
	batchCopies = 2
	// giveUpAfter is how long nothing could be delivered before a run ends that has read everything, and leaves the rest to the
	// next run.
	giveUpAfter = 30 * time.Second
	// drainLook is how often that is looked at.
	drainLook = 250 * time.Millisecond
)

// shipping is what trace and agent do for outputs that deliver over the network.
type shipping struct {
	// delivers: there are such outputs, or some that are asked.
	delivers bool
	// rollups counts all exchanges, sampler chooses those that are delivered; nil: nobody needs the one, all are.
	rollups *rollup.Counter
	sampler *sample.Sampler
	// sampledOut exchanges were left out by the sampler.
	sampledOut atomic.Uint64
	// totals are those of the pipeline while it runs.
	totals liveTotals
	// self tells what the program takes.
	self selfStatus
	// spool is the folder of the queues; empty: they are in memory.
	spool string
	// reloads reads the configuration again; nil: nobody does. retired are the outputs that another configuration hasn't got any
	// more.
	reloads *reloading
	retired []retired
}

// retired is an output that another configuration hasn't got any more.
type retired struct {
	name  string
	stats ship.Stats
}

// prepareShipping reads what was said of sampling and spools.
func (t *tracing) prepareShipping(orders []order) (err error) {
	c := t.config
	for _, o := range orders {
		t.delivers = t.delivers || o.settings()
		t.connects = t.connects || o.parcel != nil
	}
	if t.sampler, err = newSampler(&c.Shipping); err != nil {
		return usage(err)
	}
	if t.reloadable() { // another configuration may have such outputs
		t.connects = true
	}
	if !t.connects {
		return nil
	}
	if t.spool, err = spoolFolder(c); err != nil {
		return usage(err)
	}
	if !c.NoRollups {
		t.rollups = rollup.New(rollup.Options{}, func(r *rollup.Row) { t.sinks.rollup(r) })
	}
	return nil
}

// reloadable reports whether the configuration can be read again.
func (t *tracing) reloadable() bool {
	return t.reloads != nil && t.reloads.file()
}

// newSampler returns what chooses exchanges; nil: all are taken.
func newSampler(c *config.Shipping) (*sample.Sampler, error) {
	if c.Sample == "" {
		return nil, nil
	}
	rate, err := sample.ParseRate(c.Sample)
	if err != nil {
		return nil, fmt.Errorf("--sample: %w", err)
	}
	o := sample.Options{N: rate, Slow: c.SampleSlow}
	if c.SampleKeep != "" {
		if o.Keep, err = filter.Parse(c.SampleKeep); err != nil {
			return nil, fmt.Errorf("--sample-keep: %w", err)
		}
	}
	return sample.New(o), nil
}

// queueMemory is what shippers take beside --memory: frames, and for each worker a batch, its events and its envelope.
func (t *tracing) queueMemory() (size config.Size) {
	for _, s := range t.sinks.shippers {
		if size += shipperMemory + config.Size(s.workers*s.batchBytes*batchCopies); t.spool == "" {
			size += memoryQueue
		}
	}
	return size
}

// writePaths are the folders of the queues.
func (t *tracing) writePaths() []string {
	if t.spool == "" || len(t.sinks.shippers) == 0 && !t.reloadable() {
		return nil
	}
	return []string{t.spool}
}

// handOverSpool makes the folders of the queues, and gives them to the user that the process is going to be.
func (t *tracing) handOverSpool() error {
	if len(t.writePaths()) == 0 || !t.config.Live.On() {
		return nil
	}
	var names []string
	for _, s := range t.sinks.shippers {
		names = append(names, s.name)
	}
	// Not one that another process has open, who would be locked out.
	for _, name := range names {
		folder := filepath.Join(t.spool, name)
		if _, err := os.Stat(folder); err != nil {
			continue
		}
		lock, err := disk.Lock(folder)
		if err != nil {
			return spoolError(name, err)
		}
		if err := lock.Unlock(); err != nil {
			return err
		}
	}
	return handOver(t.spool, t.config.Live.User, names)
}

// readPaths are the folders of what is read again later.
func (t *tracing) readPaths() []string {
	if t.reloads == nil {
		return nil
	}
	return t.reloads.folders(t)
}

// begin opens the queues. It comes after the privileges are dropped: what is there, others may have written.
func (t *tracing) begin() error {
	err := t.sinks.openShippers(t.spool, !t.live, t.polite(), t.warn)
	for _, m := range t.sinks.servers {
		m.serve(t.ownMetrics)
	}
	return err
}

// polite is what goroutines call that mustn't keep the capture waiting.
func (t *tracing) polite() func() {
	if t.config.Live.On() {
		return yield
	}
	return nil
}

// deliver gives an exchange to the outputs, unless sampling leaves it out.
func (t *tracing) deliver(x *exchange.Exchange) error {
	if t.rollups != nil {
		t.rollups.Add(x)
	}
	for _, m := range t.sinks.servers {
		if err := m.Exchange(x); err != nil {
			return err
		}
	}
	if t.sampler != nil && !t.sampler.Keep(x) {
		t.sampledOut.Add(1)
		return nil
	}
	return t.sinks.exchange(x)
}

// look does what is due, whether exchanges come or not.
func (t *tracing) look() {
	t.reload()
	if t.rollups != nil && t.config.Live.On() {
		t.rollups.Tick(time.Now().UnixNano())
	}
}

// drain delivers what waits: until that is done, until the user has had enough, or until there is no hope.
func (t *tracing) drain(ctx context.Context) error {
	if len(t.sinks.shippers) == 0 {
		return nil
	}
	until, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		ticker := time.NewTicker(drainLook)
		defer ticker.Stop()
		ended := ctx.Done()
		settled, since := t.sinks.settled(), time.Now()
		for {
			select {
			case <-until.Done():
				return
			case <-ended:
				ended = nil
				time.AfterFunc(drainWithin, stop)
			case <-ticker.C:
				if n := t.sinks.settled(); n != settled {
					settled, since = n, time.Now()
				}
				// Of a file that is in memory only, the user decides how long to wait.
				if (t.spool != "" || t.config.Live.On()) && time.Since(since) > giveUpAfter {
					stop()
				}
			}
		}
	}()
	return t.sinks.end(until)
}

// settled is how many events were delivered or refused until now.
func (s *sinks) settled() (n uint64) {
	for _, sh := range s.shippers {
		st := sh.Stats()
		n += st.Delivered + st.Rejected
	}
	return n
}

// totalsOfShippers are the rows of the totals at the end that say what became of what was to be delivered.
func (t *tracing) totalsOfShippers() {
	if t.sampler != nil {
		fmt.Fprintf(t.stderr, "%-11s kept %s of %s\n", "sampling", count(t.number-t.sampledOut.Load()), plural(t.number, "exchange"))
	}
	for _, s := range t.retired {
		fmt.Fprintf(t.stderr, "%-11s %s\n", s.name, account(&s.stats))
	}
	for _, s := range t.sinks.shippers {
		st := s.Stats()
		fmt.Fprintf(t.stderr, "%-11s %s\n", s.name, account(&st))
	}
}

// accountShippers says what became of what was to be delivered, where that matters.
func (t *tracing) accountShippers() {
	for _, s := range t.retired {
		t.accountShipper(s.name, &s.stats, "no output delivers them any more; they are in "+filepath.Join(t.spool, s.name))
	}
	for _, s := range t.sinks.shippers {
		st := s.Stats()
		t.accountShipper(s.name, &st, "they are delivered by the next run")
	}
}

func (t *tracing) accountShipper(name string, st *ship.Stats, later string) {
	if st.Lost > 0 {
		t.lose("%s: %s lost: %s", name, plural(st.Lost, "event"), st.Loss)
	}
	if n := uint64(st.Queue.Dropped); n > 0 {
		why := "the queue was full, and later ones were kept"
		if t.spool == "" {
			why = "they were in memory when the run ended, or the queue was full"
		}
		t.lose("%s: %s dropped: %s", name, plural(n, "event"), why)
	}
	if n := uint64(st.Queue.Damaged); n > 0 {
		t.lose("%s: %s damaged in the queue", name, plural(n, "event"))
	}
	if st.Rejected > 0 {
		where := ""
		if t.spool != "" {
			where = "; they are in " + filepath.Join(t.spool, name, asideName)
		}
		t.lose("%s: %s refused by the receiver%s", name, plural(st.Rejected, "event"), where)
	}
	switch {
	case st.Waiting > 0 && t.config.Agent:
		t.warn("%s: %s wait in the spool; %s", name, plural(st.Waiting, "event"), later)
	case st.Waiting > 0: // there may be no next run
		t.lose("%s: %s weren't delivered, and wait in the spool; %s", name, plural(st.Waiting, "event"), later)
	}
}
