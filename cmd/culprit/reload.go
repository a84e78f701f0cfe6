package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/sample"
	"github.com/culprit-http/culprit/internal/ship"
)

// reloading reads the configuration again when the program is told to. What was read takes effect in the goroutine of the
// pipeline, between two exchanges.
type reloading struct {
	// path is the configuration's; given are the flags of the command line and the environment, which go before it, words
	// the capture filter.
	path  string
	given []givenFlag
	words string
	stdin io.Reader

	ready atomic.Pointer[reloaded]
}

// reloaded is what another configuration says, ready to use.
type reloaded struct {
	config   *config.Trace
	parsed   *capturing
	sampler  *sample.Sampler
	shippers []*shipper
}

// follow reads the configuration again at each SIGHUP, until what it returns is called.
func (r *reloading) follow(t *tracing) (stop func()) {
	told, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(told, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range told {
			if r.path == "" || r.path == "-" {
				t.warn("there is no configuration file to read again")
				continue
			}
			n, err := r.read(t)
			if errors.Is(err, fs.ErrPermission) {
				err = fmt.Errorf("%w; culprit runs as uid %d by now, who must be able to read it", err, os.Geteuid())
			}
			if err != nil {
				t.warn("the configuration was read again and is left aside, the old one holds: %v", err)
				continue
			}
			if old := r.ready.Swap(n); old != nil {
				old.parsed.close()
			}
		}
	}()
	return func() {
		signal.Stop(told)
		close(told)
		<-done
	}
}

// folders are those of the files that are read again, which may be others by then: editors make new ones.
func (r *reloading) folders(t *tracing) (all []string) {
	if r.path == "" || r.path == "-" {
		return nil
	}
	files := append([]string{r.path}, t.config.Enrichment.GeoIP...)
	for _, s := range t.sinks.shippers {
		files = append(files, s.files...)
	}
	for _, f := range files {
		if folder := filepath.Dir(f); folder != "/" && !slices.Contains(all, folder) {
			all = append(all, folder)
		}
	}
	return all
}

// read reads the configuration, and opens what it needs but for the queues, which the running outputs have.
func (r *reloading) read(t *tracing) (*reloaded, error) {
	c := config.DefaultAgent()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, g := range agentGroups(&c, new(string)) {
		flags.AddFlagSet(g.FlagSet)
	}
	for _, g := range r.given {
		for _, value := range g.values {
			if err := flags.Set(g.name, value); err != nil {
				return nil, fmt.Errorf("--%s: %w", g.name, err)
			}
		}
	}
	c.CaptureFilter = r.words
	f, err := parseConfig(r.path, r.stdin)
	if err != nil {
		return nil, err
	}
	if err := applyConfig(f, flags, &c.Capture, nil); err != nil {
		return nil, err
	}
	c.FileOutputs = f.Outputs
	c.Live.Complete(len(c.Inputs) > 0)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n := &reloaded{config: &c, parsed: &capturing{config: &c.Capture, stderr: t.stderr}}
	if err := n.parsed.parse(); err != nil {
		return nil, err
	}
	if n.sampler, err = newSampler(&c.Shipping); err != nil {
		return nil, err
	}
	orders, err := parseOutputs(&c, t.own.Dial)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, o := range orders {
		if o.parcel != nil {
			n.shippers = append(n.shippers, &shipper{parcel: o.parcel})
		} else {
			others = append(others, o.Text)
		}
	}
	if err := n.parsed.openEnricher(); err != nil {
		return nil, err
	}
	if !slices.Equal(others, t.otherOutputs) {
		t.warn("outputs that write files or are asked take effect when culprit is started again")
	}
	if changed := fixedChanges(t.config, &c); len(changed) > 0 {
		t.warn("%s: changes take effect when culprit is started again", strings.Join(changed, ", "))
	}
	return n, nil
}

// fixedChanges returns the options that differ and can't change while a capture runs.
func fixedChanges(old, new *config.Trace) (keys []string) {
	oldLive, newLive := old.Live, new.Live
	oldLive.Interfaces, newLive.Interfaces = nil, nil
	for _, f := range []struct {
		key      string
		old, new any
	}{
		{"interface", old.Live.Interfaces, new.Live.Interfaces}, {"read", old.Inputs, new.Inputs}, {captureFilterKey, old.CaptureFilter, new.CaptureFilter},
		{"max_body", old.MaxBody, new.MaxBody}, {"memory", old.Memory, new.Memory}, {"spool", old.Spool, new.Spool}, {"rotate", old.Rotate, new.Rotate},
		{"decode_as", old.DecodeAs, new.DecodeAs}, {"workers", old.Workers, new.Workers}, {"what concerns live captures", oldLive, newLive},
	} {
		if !reflect.DeepEqual(f.old, f.new) {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// reload takes over what was read, if there is something. It is called in the goroutine of the pipeline.
func (t *tracing) reload() {
	if t.reloads == nil {
		return
	}
	n := t.reloads.ready.Swap(nil)
	if n == nil {
		return
	}
	t.where, t.redactor = n.parsed.where, n.parsed.redactor
	t.wantsOwner, t.wantsSecrets, t.wantsEnriched = n.parsed.wantsOwner, n.parsed.wantsSecrets, n.parsed.wantsEnriched
	if t.enricher != nil {
		t.enricher.Close()
	}
	t.enricher = n.parsed.enricher
	t.sampler = n.sampler
	t.config.Where, t.config.Reveal, t.config.Sample = n.config.Where, n.config.Reveal, n.config.Sample

	for _, s := range t.sinks.shippers {
		if s.Output == nil {
			continue
		}
		if err := s.End(canceled()); err != nil { // what waits is in the spool
			t.warn("%s: %v", s.name, err)
		}
		t.retire(s, n.shippers)
	}
	t.sinks.outputs = slices.DeleteFunc(t.sinks.outputs, func(o output.Output) bool { _, ships := o.(*ship.Output); return ships })
	t.sinks.shippers = n.shippers
	if err := t.sinks.openShippers(t.spool, !t.live, t.polite(), t.warn); err != nil {
		t.lose("nothing is delivered any more: %v; mend it and reload, or start culprit again", err)
		return
	}
	fmt.Fprintln(t.stderr, "culprit: the configuration was read again")
}
