package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/sample"
)

const (
	// shipperMemory is what a shipper takes beside --memory: frames, batches that are on their way, and their envelopes.
	shipperMemory = 48 << 20
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
	// reloads reads the configuration again; nil: nobody does. otherOutputs are the outputs that don't deliver, as they were written;
	// retired the counters of those that another configuration hasn't got any more.
	reloads      *reloading
	otherOutputs []string
	retired      []string
	// rolled is the first error of an output that got a rollup.
	rolled error
}

// prepareShipping reads what was said of sampling and spools.
func (t *tracing) prepareShipping(orders []order) (err error) {
	c := t.config
	for _, o := range orders {
		if o.parcel == nil {
			t.otherOutputs = append(t.otherOutputs, o.Text)
		}
		t.delivers = t.delivers || o.settings()
		t.connects = t.connects || o.parcel != nil
	}
	if t.sampler, err = newSampler(&c.Shipping); err != nil {
		return usage(err)
	}
	if !t.connects {
		return nil
	}
	if t.spool, err = spoolFolder(c); err != nil {
		return usage(err)
	}
	if !c.NoRollups {
		t.rollups = rollup.New(rollup.Options{}, func(r *rollup.Row) {
			if err := t.sinks.rollup(r); t.rolled == nil {
				t.rolled = err
			}
		})
	}
	return nil
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

// queueMemory is what shippers take beside --memory.
func (t *tracing) queueMemory() (size config.Size) {
	for range t.sinks.shippers {
		if size += shipperMemory; t.spool == "" {
			size += memoryQueue
		}
	}
	return size
}

// writePaths are the folders of the queues.
func (t *tracing) writePaths() []string {
	if t.spool == "" || len(t.sinks.shippers) == 0 {
		return nil
	}
	return []string{t.spool}
}

// readPaths are the folders of what is read again later.
func (t *tracing) readPaths() []string {
	if t.reloads == nil {
		return nil
	}
	return t.reloads.folders(t)
}

// handOverSpool makes the folders of the queues, and gives them to the user that the process is going to be.
func (t *tracing) handOverSpool() error {
	if len(t.writePaths()) == 0 {
		return nil
	}
	var names []string
	for _, s := range t.sinks.shippers {
		names = append(names, s.name)
	}
	if !t.config.Live.On() {
		return nil
	}
	return handOver(t.spool, t.config.Live.User, names)
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

// retire keeps the counters of an output, for the one among those that follow that has its name.
func (t *tracing) retire(s *shipper, next []*shipper) {
	for _, n := range next {
		if n.name == s.name {
			n.before = s.Stats()
			return
		}
	}
	t.retired = append(t.retired, fmt.Sprintf("%-11s %s", s.name, s.account()))
}

// deliver gives an exchange to the outputs, unless sampling leaves it out.
func (t *tracing) deliver(x *exchange.Exchange) error {
	if t.rollups != nil {
		if t.rollups.Add(x); t.rolled != nil {
			return t.rolled
		}
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
		for {
			select {
			case <-until.Done():
				return
			case <-ended:
				ended = nil
				time.AfterFunc(drainWithin, stop)
			case <-ticker.C:
				if t.spool != "" && t.sinks.hopeless() {
					stop()
				}
			}
		}
	}()
	return t.sinks.end(until)
}

// hopeless reports whether no output that has something to deliver can deliver it, and hasn't been able to for long.
func (s *sinks) hopeless() bool {
	for _, sh := range s.shippers {
		if st := sh.Stats(); st.Waiting > 0 && (st.Problem == "" || time.Since(st.Since) < giveUpAfter) {
			return false
		}
	}
	return true
}

// totalsOfShippers are the rows of the totals at the end that say what became of what was to be delivered.
func (t *tracing) totalsOfShippers() {
	if t.sampler != nil {
		fmt.Fprintf(t.stderr, "%-11s kept %s of %s\n", "sampling", count(t.number-t.sampledOut.Load()), plural(t.number, "exchange"))
	}
	for _, row := range t.retired {
		fmt.Fprintln(t.stderr, row)
	}
	for _, s := range t.sinks.shippers {
		if s.Output != nil {
			fmt.Fprintf(t.stderr, "%-11s %s\n", s.name, s.account())
		}
	}
}

// accountShippers says what became of what was to be delivered, where that matters.
func (t *tracing) accountShippers() {
	for _, s := range t.sinks.shippers {
		if s.Output == nil {
			continue
		}
		st := s.Stats()
		if n := st.Lost + uint64(st.Queue.Dropped); n > 0 {
			t.lose("%s: %s lost: the queue was full", s.name, plural(n, "event"))
		}
		if st.Rejected > 0 {
			where := ""
			if s.aside != nil {
				where = "; they are in " + filepath.Join(t.spool, s.name, asideName)
			}
			t.lose("%s: %s refused by the receiver%s", s.name, plural(st.Rejected, "event"), where)
		}
		if st.Waiting > 0 {
			t.warn("%s: %s wait in the spool, and are delivered by the next run", s.name, plural(st.Waiting, "event"))
		}
	}
}
