package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/store"
)

// recordings reads the exchanges of recordings of any kind: captures and what is read like them, records of ours, HTTP archives, and stores.
//
//	captures ---> pipeline --.
//	records  --.              +--> --where --> secrets hidden, routes found --> f
//	archives --+--> by end --/
//	store    ---------------'
type recordings struct {
	capturing
	// kinds says of what kinds the inputs are, in the order in which they are read; valid once each was called.
	kinds []inputKind
	// read counts the exchanges that were handed over; of those with the same id that come one behind the other, as where files overlap, only the
	// first is, and repeated counts the others.
	read, repeated uint64
	last           [exchange.IDSize]byte

	each1 func(x *exchange.Exchange) error
}

// each calls f for the exchanges that c names: first those of captures, then those of records and archives, then those of the store. Within each
// they come in about the order in which they were completed, those of a store in that in which they began. x is f's until it returns, and no
// longer. Bodies are there as far as c.MaxBody says and the recording has them; secrets are hidden unless c.Reveal is set. An error of f ends the
// reading and is returned. Afterwards what was lost was said on standard error, and r.lossy is set.
func (r *recordings) each(ctx context.Context, cmd *cobra.Command, c *config.Recordings, f func(x *exchange.Exchange) error) error {
	own := c.Capture
	r.config, r.stderr, r.each1 = &own, cmd.ErrOrStderr(), f
	if err := r.parse(); err != nil {
		return err
	}
	if err := r.openEnricher(); err != nil {
		return err
	}
	defer r.enricher.Close()
	from, to, err := c.Times(time.Now())
	if err != nil {
		return usage(err)
	}
	stdin := bufio.NewReader(cmd.InOrStdin())
	var captures []string
	var records []capture.Input
	for _, arg := range c.Inputs {
		in := capture.ParseInput(arg)
		kind, err := kindOf(in, stdin)
		if err != nil {
			return err
		}
		r.kinds = append(r.kinds, kind)
		if kind == aCapture {
			captures = append(captures, arg)
		} else {
			records = append(records, in)
		}
	}
	own.Inputs = captures
	if len(captures) > 0 {
		err = r.captures(ctx, stdin)
	}
	if err == nil && len(records) > 0 {
		var left recordCounts
		left, err = readRecords(records, stdin, int(max(own.MaxBody, 0)), func(x *exchange.Exchange, _ inputKind) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return r.take(x)
		})
		left.tell(&r.capturing)
	}
	if err == nil && c.Store != "" {
		err = r.store(ctx, c.Store, store.Scope{From: from, To: to})
	}
	if r.repeated > 0 {
		r.say("left out: %s that had come before", plural(r.repeated, "exchange"))
	}
	var said *statusError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return &statusError{exitFailed, err}
}

// captures reads packets.
func (r *recordings) captures(ctx context.Context, stdin io.Reader) error {
	inputs, err := r.open(ctx, stdin)
	if err != nil {
		return err
	}
	defer r.capturing.sources[0].Close()
	if r.keylogs != nil {
		defer r.keylogs.Close()
	}
	r.progress = newProgress(r.stderr, inputs, false)
	r.analysis(0)
	stats, err := r.run(ctx, r)
	r.progress.clear()
	if err != nil {
		return err
	}
	r.number = max(r.read, 1) // that nothing was found is for the caller to say
	r.report(&stats, nil)
	return nil
}

// store reads a store, in the order of time.
func (r *recordings) store(ctx context.Context, dir string, scope store.Scope) error {
	if r.where != nil {
		scope.Where = r.where.Root()
	}
	from, at, err := openForQuery(dir, openEmbedded)
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := search(ctx, from, &store.Search{Scope: scope, Ascending: true}, 0, r.take); err != nil {
		return err
	}
	if s, err := from.Status(ctx); err == nil && s.Damaged > 0 {
		r.lose("left out as damaged: %s of the store in %s; exchanges are missing", plural(uint64(s.Damaged), "segment"), at)
	}
	return nil
}

// Exchanges implements pipeline.Receiver.
func (r *recordings) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		r.learn(x)
		if !r.count(r.choose(x)) {
			continue
		}
		r.finish(x)
		if err := r.hand(x); err != nil {
			return err
		}
	}
	return nil
}

// Idle implements pipeline.Receiver.
func (r *recordings) Idle() error { return nil }

var _ pipeline.Receiver = (*recordings)(nil)

// take takes an exchange that was recorded before.
func (r *recordings) take(x *exchange.Exchange) error {
	if r.read > 0 && *x.KnownID == r.last {
		r.repeated++
		return nil
	}
	r.last = *x.KnownID
	if x.Enriched.Route == "" && x.Family == exchange.HTTP {
		r.enricher.Exchange(x) // archives know no routes
	}
	if !r.count(r.choose(x)) {
		return nil
	}
	if r.redactor != nil { // what was shown once may have secrets: of an archive, or with --reveal
		r.redactor.Exchange(x)
	}
	if r.config.MaxBody <= 0 {
		x.DropBodies()
	}
	return r.hand(x)
}

// hand hands an exchange over.
func (r *recordings) hand(x *exchange.Exchange) error {
	r.read++
	return r.each1(x)
}

// contents says in words of what kinds the inputs are, as in "2 captures, 1 HTTP archive".
func (r *recordings) contents() string {
	var parts []string
	for kind, name := range inputKinds {
		n := uint64(0)
		for _, k := range r.kinds {
			if int(k) == kind {
				n++
			}
		}
		switch {
		case n == 0:
		case inputKind(kind) == aRecord:
			parts = append(parts, plural(n, "file")+" of "+name)
		default:
			parts = append(parts, plural(n, name))
		}
	}
	return strings.Join(parts, ", ")
}
