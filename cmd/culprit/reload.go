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
	"unicode"

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
	// first is the configuration that the program began with, as it was before anything was done with it.
	first config.Trace
	// ended reports whether the run was asked to end.
	ended func() bool

	// told has the signal until somebody has time for it; done is closed when nobody has any more.
	told  chan os.Signal
	done  chan struct{}
	ready atomic.Pointer[reloaded]
}

// reloaded is what another configuration says, ready to use.
type reloaded struct {
	config   *config.Trace
	parsed   *capturing
	sampler  *sample.Sampler
	shippers []*shipper
}

// newReloading returns what keeps a SIGHUP from ending the program, from now on; begin does something about it.
func newReloading() *reloading {
	r := &reloading{told: make(chan os.Signal, 1), ended: func() bool { return false }}
	signal.Notify(r.told, syscall.SIGHUP)
	return r
}

// file reports whether there is a configuration file, which can be read again.
func (r *reloading) file() bool { return r.path != "" && r.path != "-" }

// begin reads the configuration again at each SIGHUP, also at one that came before, until end is called. The outputs of the
// run are open by now. A nil one does nothing.
func (r *reloading) begin(t *tracing) {
	if r == nil {
		return
	}
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		for range r.told {
			r.again(t)
		}
	}()
}

// again reads the configuration, and leaves it to the goroutine of the pipeline.
func (r *reloading) again(t *tracing) {
	if r.ended() {
		return // there is nobody to take it over
	}
	if !r.file() {
		t.warn("there is no configuration file to read again")
		return
	}
	n, err := r.read(t)
	if err != nil {
		t.warn("the configuration was read again and is left aside, the old one holds: %v", outOfReach(err))
		return
	}
	if old := r.ready.Swap(n); old != nil {
		old.parsed.close()
	}
}

// outOfReach says what may be the reasons where a file can't be read.
func outOfReach(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w; culprit runs as uid %d by now, who must be able to read it, and reads only in the folders in which its files were when it began", err, os.Geteuid())
}

// end ends what begin began. From now on, SIGHUP ends the program, as it does others.
func (r *reloading) end() {
	signal.Stop(r.told)
	close(r.told)
	if r.done != nil {
		<-r.done
	}
	if n := r.ready.Swap(nil); n != nil {
		n.parsed.close()
	}
}

// folders are those of the files that are read again, which may be others by then: editors make new ones. Where a file is a
// link, it is the folder of that and the one of what it leads to. The root folder stands for all files, and isn't among them:
// there, it is the file itself, as it is now.
func (r *reloading) folders(t *tracing) (all []string) {
	if !r.file() {
		return nil
	}
	files := append([]string{r.path}, r.first.Enrichment.GeoIP...)
	for _, s := range t.sinks.shippers {
		files = append(files, s.files...)
	}
	all, alone := readable(files)
	for _, f := range alone {
		t.warn("%s can be read again as it is now, but not when another takes its place: have it in a folder", f)
	}
	return all
}

// readable returns the folders of files; for files without a folder of their own, alone, themselves.
func readable(files []string) (all, alone []string) {
	for _, f := range files {
		f, err := filepath.Abs(f)
		if err != nil {
			continue // which nobody could open either
		}
		names := []string{f}
		if real, err := filepath.EvalSymlinks(f); err == nil {
			names = append(names, real)
		}
		for _, name := range names {
			path := filepath.Dir(name)
			if path == "/" {
				path = name
				if !slices.Contains(alone, name) {
					alone = append(alone, name)
				}
			}
			if !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
	}
	return all, alone
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
	n := &reloaded{config: &c, parsed: &capturing{config: &c.Capture, stderr: t.stderr, progress: t.progress, key: t.key}}
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
	for _, o := range orders {
		if o.parcel != nil {
			n.shippers = append(n.shippers, &shipper{parcel: o.parcel})
		}
	}
	if err := n.parsed.openEnricher(); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(fixedOutputs(&r.first), fixedOutputs(&c)) {
		t.warn("outputs that write files or are asked: changes take effect when culprit is started again")
	}
	if changed := fixedChanges(r.first, c); len(changed) > 0 {
		t.warn("%s: changes take effect when culprit is started again", strings.Join(changed, ", "))
	}
	return n, nil
}

// fixedOutputs are the outputs that don't deliver, with their settings.
func fixedOutputs(c *config.Trace) (all []config.Output) {
	outputs, _ := orderedOutputs(c) // which was looked at before
	for _, o := range outputs {
		if !slices.ContainsFunc(kinds, func(k kind) bool { return k.name == o.Name && k.ship != nil }) {
			all = append(all, o)
		}
	}
	return all
}

// fixedChanges returns the keys of what differs and can't change while a capture runs: all but what reload takes over.
func fixedChanges(old, new config.Trace) []string {
	for _, c := range []*config.Trace{&old, &new} {
		c.Where, c.Reveal, c.Redaction, c.Enrichment = "", false, config.Redaction{}, config.Enrichment{}
		c.Sample, c.SampleKeep, c.SampleSlow, c.Outputs, c.FileOutputs = "", "", 0, nil, nil
	}
	return differing(reflect.ValueOf(old), reflect.ValueOf(new))
}

// keysOfFields are the keys of fields that have other names.
var keysOfFields = map[string]string{"Inputs": "read", "Interfaces": "interface", "Promiscuous": "promisc", "SnapLen": "snaplen", "NetNS": "netns", "PID": "pid",
	"Keylogs": "keylog", "TLSKeys": "tls_key", "Protosets": "proto"}

// differing returns the keys of fields that differ, also of the structs within.
func differing(old, new reflect.Value) (keys []string) {
	for i := range old.NumField() {
		f, a, b := old.Type().Field(i), old.Field(i), new.Field(i)
		switch {
		case f.Anonymous || f.Type == reflect.TypeFor[config.Live]():
			keys = append(keys, differing(a, b)...)
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			key, other := keysOfFields[f.Name]
			if !other {
				key = snakeCase(f.Name)
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// snakeCase makes max_body of MaxBody.
func snakeCase(name string) string {
	var b strings.Builder
	for i, c := range name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
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
		if err := s.End(canceled()); err != nil { // what waits is in the spool
			t.warn("%s: %v", s.name, err)
		}
		t.retired = append(t.retired, retired{s.name, s.Stats()})
	}
	for _, s := range n.shippers {
		t.takeBack(s)
	}
	t.headlines = t.headlines && len(n.shippers) == 0 // they deliver all of an exchange
	t.sinks.outputs = slices.DeleteFunc(t.sinks.outputs, func(o output.Output) bool { _, ships := o.(*ship.Output); return ships })
	t.sinks.shippers = n.shippers
	t.limitMemory(t.queueMemory())
	err := t.sinks.openShippers(t.spool, !t.live, t.polite(), t.warn)
	if t.reloads.ended() { // those who were told to hurry may have been the old ones
		t.sinks.hurry()
	}
	for _, s := range n.shippers {
		if s.Output == nil {
			t.retired = append(t.retired, retired{s.name, s.before})
		}
	}
	for i := range t.retired {
		if n := t.retired[i].stats.Waiting; n > 0 {
			t.warn("%s: %s wait in %s, and no output delivers them any more", t.retired[i].name, plural(n, "event"), filepath.Join(t.spool, t.retired[i].name))
		}
	}
	if err != nil {
		t.lose("the configuration was read again, but nothing goes there any more: %v; mend it and reload, or start culprit again", outOfReach(err))
		return
	}
	t.say("the configuration was read again")
}

// takeBack gives an output the counters of the one before it that had its name.
func (t *tracing) takeBack(s *shipper) {
	if i := slices.IndexFunc(t.retired, func(r retired) bool { return r.name == s.name }); i >= 0 {
		s.before = t.retired[i].stats
		t.retired = slices.Delete(t.retired, i, i+1)
	}
}
