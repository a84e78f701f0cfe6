package query

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// ByID calls found for the exchange of that id, or returns store.ErrNotFound. Ids begin with the start, so that it
// looks first where exchanges of that time are, and elsewhere only as far as statistics don't rule it out.
func ByID(ctx context.Context, parts []vector.Part, id [exchange.IDSize]byte, l Limits, found func(*exchange.Exchange) error) error {
	r := newRun(ctx, parts, &store.Scope{}, l)
	ms := int64(binary.BigEndian.Uint64(id[:]) >> 16)
	text := exchange.AppendID(nil, id)
	here := func(p vector.Part) bool {
		first, last := p.Times()
		return max(first, 0)/1e6 <= ms && ms <= max(last, 0)/1e6
	}
	e := &evaluator{check: r.check}
	for _, near := range [...]bool{true, false} {
		for _, p := range parts {
			if near && !here(p) {
				continue
			}
			if err := r.check(); err != nil {
				return err
			}
			done, err := r.byID(e, p, text, ms, near, found)
			if done || err != nil {
				return err
			}
		}
	}
	return store.ErrNotFound
}

// byID looks for an id in one part.
func (r *run) byID(e *evaluator, p vector.Part, id []byte, ms int64, near bool, found func(*exchange.Exchange) error) (done bool, err error) {
	c, err := p.Open()
	if err != nil {
		return false, fmt.Errorf("opening a part of the store: %w", err)
	}
	defer r.release(c)
	if least, most, _, ok := c.TextBounds(record.ID); ok && (bytes.Compare(id, least) < 0 || bytes.Compare(id, most) > 0) {
		return false, nil
	}
	if !c.MayHave(record.ID, id) {
		return false, nil
	}
	e.open(c)
	selected := e.take()
	defer e.give(selected)
	selected.fill(e.n)
	if near {
		times, err := e.ints(record.Time)
		if err != nil {
			return false, err
		}
		selected.keep(func(row int) bool { return max(times[row], 0)/1e6 == ms })
	}
	rows := selected.rows(nil)
	ids := &ids{chunk: c}
	if err := ids.expect(len(rows)); err != nil {
		return false, err
	}
	for _, row := range rows {
		got, err := ids.id(row)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(got[:], id) {
			continue
		}
		var cells record.Row
		if err := c.Row(int(row), nil, &cells); err != nil {
			return false, fmt.Errorf("reading an exchange of the store: %w", err)
		}
		var m record.Maker
		return true, found(m.Exchange(&cells))
	}
	return false, nil
}
