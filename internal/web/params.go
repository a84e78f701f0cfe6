package web

import (
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

// params are the parameters of a query. Those that take several values take them with commas between, or the name
// again, or both.
type params struct {
	values url.Values
	// now is what relative times count from.
	now time.Time
}

// several are the parameters that take several values.
var several = []string{"fields", "group", "metric"}

// known refuses parameters that the route doesn't have: one that is ignored for a typo gives the answer to another
// question.
func (p *params) known(r *route) error {
	for _, name := range sorted(p.values) {
		switch {
		case name == "token" && r.access == linked:
		case !slices.Contains(r.params, name):
			if len(r.params) == 0 {
				return problems.parameter.about(clip(name), "there are no parameters here")
			}
			return problems.parameter.about(clip(name), "there is no such parameter here; there are %s", strings.Join(r.params, ", "))
		case len(p.values[name]) > 1 && !slices.Contains(several, name):
			return problems.parameter.about(name, "is there %d times, and can be there once", len(p.values[name]))
		}
	}
	return nil
}

func sorted(values url.Values) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// list gives the values of a parameter that takes several.
func (p *params) list(name string) (all []string) {
	for _, value := range p.values[name] {
		for _, s := range strings.Split(value, ",") {
			if s = strings.TrimSpace(s); s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}

// number gives a whole number from low to high, or absent when there is none.
func (p *params) number(name string, absent, low, high int) (int, error) {
	s := p.values.Get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, problems.parameter.about(name, "%s isn't a whole number from %d to %d", clip(s), low, high)
	}
	return n, nil
}

// truth gives whether a parameter says yes: true, 1, or nothing but its name.
func (p *params) truth(name string) (bool, error) {
	if !p.values.Has(name) {
		return false, nil
	}
	switch s := p.values.Get(name); s {
	case "", "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, problems.parameter.about(name, "%s is neither true nor false", clip(s))
	}
}

// fieldOf gives the field of that name or alias.
func fieldOf(param, name string) (*exchange.Field, error) {
	f := exchange.Lookup(name)
	if f == nil {
		return nil, problems.parameter.about(param, "there is no field %s; /api/fields lists them", clip(name))
	}
	return f, nil
}

// field gives the field that a parameter names, or that of the name absent.
func (p *params) field(name, absent string) (*exchange.Field, error) {
	s := p.values.Get(name)
	if s == "" {
		s = absent
	}
	if s == "" {
		return nil, problems.parameter.about(name, "is missing; name a field, such as %s=route", name)
	}
	return fieldOf(name, s)
}

// fields gives the fields that a parameter names, each once, in the order of documents; nil when it isn't there.
func (p *params) fields(name string) ([]*exchange.Field, error) {
	names := p.list(name)
	if len(names) == 0 {
		return nil, nil
	}
	wanted := map[*exchange.Field]bool{}
	for _, n := range names {
		f, err := fieldOf(name, n)
		if err != nil {
			return nil, err
		}
		wanted[f] = true
	}
	var all []*exchange.Field
	for i := range exchange.Fields {
		if f := &exchange.Fields[i]; wanted[f] {
			all = append(all, f)
		}
	}
	return all, nil
}

// where gives the exchange filter, nil when there is none.
func (p *params) where() (*filter.Filter, error) { return p.condition("where") }

// condition gives the exchange filter that a parameter has, nil when there is none.
func (p *params) condition(name string) (*filter.Filter, error) {
	s := p.values.Get(name)
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	f, err := filter.Parse(s)
	var bad *filter.Error
	if errors.As(err, &bad) {
		return nil, &badFilter{name, bad}
	}
	return f, err
}

// badFilter is a filter that can't be used, and the parameter that has it.
type badFilter struct {
	parameter string
	err       *filter.Error
}

// Error implements error.
func (b *badFilter) Error() string { return b.parameter + ": " + b.err.Error() }

// Unwrap gives what is wrong with it.
func (b *badFilter) Unwrap() error { return b.err }

// scope gives the exchanges that a question is about.
func (p *params) scope(timeout time.Duration) (store.Scope, error) {
	q := store.Scope{Timeout: timeout, Text: p.values.Get("text")}
	if len(q.Text) > MaxText {
		return q, problems.parameter.about("text", "has %d bytes, and %d are allowed", len(q.Text), MaxText)
	}
	f, err := p.where()
	if err != nil {
		return q, err
	}
	if f != nil {
		q.Where = f.Root()
	}
	if q.From, err = p.time("from"); err != nil {
		return q, err
	}
	if q.To, err = p.time("to"); err != nil {
		return q, err
	}
	if last := p.values.Get("last"); last != "" {
		if q.From != 0 || q.To != 0 {
			return q, problems.parameter.about("last", "doesn't go with from and to; say one or the other")
		}
		d, ok := duration(last)
		if !ok {
			return q, problems.parameter.about("last", "%s isn't a length of time, such as 15m, 1h or 7d", clip(last))
		}
		q.From = max(p.now.UnixNano()-d, 1)
	}
	if q.To != 0 && q.From >= q.To {
		return q, problems.parameter.about("to", "no time is from %s to %s; from comes first", clip(p.values.Get("from")), clip(p.values.Get("to")))
	}
	return q, nil
}

// time gives a time in nanoseconds since 1970, 0 when there is none.
func (p *params) time(name string) (int64, error) {
	s := p.values.Get(name)
	if s == "" {
		return 0, nil
	}
	ns, ok := instant(s, p.now)
	if !ok {
		return 0, problems.parameter.about(name,
			"%s isn't a time; write 2026-11-21T10:00:00Z, seconds, milliseconds, microseconds or nanoseconds since 1970, now, or -15m for what was then", clip(s))
	}
	return ns, nil
}

// units say by the number of digits whether a time since 1970 is in seconds, milliseconds, microseconds or
// nanoseconds. They can't be confused for the times from 2001 on.
var units = [...]struct {
	digits int
	unit   int64
}{{11, 1e9}, {14, 1e6}, {17, 1e3}, {19, 1}}

// instant reads a time, in nanoseconds since 1970. It is never 0, which means no bound.
func instant(s string, now time.Time) (ns int64, ok bool) {
	if s == "now" {
		return max(now.UnixNano(), 1), true
	}
	if before, relative := strings.CutPrefix(s, "-"); relative {
		d, ok := duration(before)
		return max(now.UnixNano()-d, 1), ok
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, false
		}
		for _, u := range units {
			if len(s) <= u.digits {
				return max(n, 1) * u.unit, n <= math.MaxInt64/u.unit
			}
		}
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		// A + that wasn't escaped came as a space.
		if t, err = time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1)); err != nil {
			return 0, false
		}
	}
	if t.Year() < 1970 || t.Year() > 2261 { // what nanoseconds in 64 bits hold
		return 0, false
	}
	return max(t.UnixNano(), 1), true
}

// duration reads a length of time such as 90s, 1h30m, 7d or 2w, in nanoseconds. It is positive.
func duration(s string) (ns int64, ok bool) {
	for suffix, unit := range map[string]int64{"d": 24 * int64(time.Hour), "w": 7 * 24 * int64(time.Hour)} {
		if digits, found := strings.CutSuffix(s, suffix); found && digits != "" && strings.Trim(digits, "0123456789") == "" {
			n, err := strconv.ParseInt(digits, 10, 64)
			return n * unit, err == nil && n > 0 && n <= math.MaxInt64/unit
		}
	}
	d, err := time.ParseDuration(s)
	return int64(d), err == nil && d > 0
}

// cursor gives where a search goes on.
func (p *params) cursor() (string, error) {
	s := p.values.Get("after")
	if len(s) > MaxCursor || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", problems.cursor.about("after", "this is no cursor; it is next of the page before")
	}
	return s, nil
}

// ordered are the kinds of fields that exchanges can be sorted by.
var ordered = []exchange.ValueKind{exchange.Text, exchange.Int, exchange.Float, exchange.Duration, exchange.Time}

// searching gives the question of a search.
func (p *params) searching(timeout time.Duration, limit, most int) (*store.Search, int, error) {
	var q store.Search
	var err error
	if q.Scope, err = p.scope(timeout); err != nil {
		return nil, 0, err
	}
	if q.Fields, err = p.fields("fields"); err != nil {
		return nil, 0, err
	}
	if q.Sort, err = p.field("sort", "@timestamp"); err != nil {
		return nil, 0, err
	}
	if !slices.Contains(ordered, q.Sort.Kind) {
		return nil, 0, problems.parameter.about("sort", "%s has no order; sort by a text, a number, a duration or a time", q.Sort.Name)
	}
	if q.Ascending, err = p.truth("ascending"); err != nil {
		return nil, 0, err
	}
	if limit, err = p.number("limit", limit, 1, most); err != nil {
		return nil, 0, err
	}
	if q.After, err = p.cursor(); err != nil {
		return nil, 0, err
	}
	q.Limit = min(limit, store.MaxLimit)
	return &q, limit, nil
}
