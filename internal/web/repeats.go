package web

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/repeats"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

const (
	// DefaultRepeats is how many findings are given, unless told, and MaxRepeats how many may be.
	DefaultRepeats, MaxRepeats = 50, 500
	// MaxCompared is how many exchanges repetitions are looked for in: the newest of the time that is asked about.
	MaxCompared = 100_000
	// mostLeast bounds the parameter least.
	mostLeast = 100_000
)

// repeatFields are what repetitions are found by.
var repeatFields = fieldsNamed("event.id", "event.end", "event.outcome", "observer.hostname", "client.ip", "client.port", "server.ip", "server.port",
	"client.bytes", "server.bytes", "http.request.method", "url.original", "url.domain", "url.port", "culprit.route", "culprit.stream", "culprit.message.kind",
	"db.query.summary", "dns.question.name", "dns.question.type", "source.process.pid", "destination.process.pid")

// repeated is the JSON of what requests of one kind ask over and over. Durations are nanoseconds. What it says of one request is
// of the one in which that took longest.
type repeated struct {
	Parent   repeatParent `json:"parent"`
	Protocol string       `json:"protocol"`
	// Template is what was asked: the template of a statement, method, host and route of a call, type and name of a question.
	Template text `json:"template"`
	// Count is how often it was asked while the parent was under way, Sure how many of these can be for no other request,
	// Expected how many are likely to be for it, and Failed how many failed.
	Count    int     `json:"count"`
	Sure     int     `json:"sure"`
	Expected float64 `json:"expected"`
	Failed   int     `json:"failed"`
	// Time is what all of them took, each as likely as it is for the parent, Busy the time in which at least one was under way,
	// Share that of the parent's duration, times the confidence.
	Time       int64   `json:"time"`
	Busy       int64   `json:"busy"`
	Share      float64 `json:"share"`
	Confidence float64 `json:"confidence"`
	// Sequential: one after the other. AtOnce is how many were under way at a time, at most.
	Sequential bool `json:"sequential"`
	AtOnce     int  `json:"at_once"`
	// First and Last are the ids of the first and the last of them.
	First text `json:"first"`
	Last  text `json:"last"`
	// Where is the filter for them, and for what else was asked so meanwhile; empty when that would be too long.
	Where string `json:"where"`

	// Requests of this kind asked it over and over, TotalCount times together, which took TotalTime.
	Requests   int   `json:"requests"`
	TotalCount int   `json:"total_count"`
	TotalTime  int64 `json:"total_time"`
}

type repeatParent struct {
	ID     text `json:"id"`
	Method text `json:"method"`
	// Route is that, or else the path.
	Route    text  `json:"route"`
	Start    stamp `json:"start"`
	Duration int64 `json:"duration"`
}

// kindOfRepeat is what findings have in common that are one row.
type kindOfRepeat struct{ name, protocol, template string }

// ofKind are the findings of one kind: the worst, and sums.
type ofKind struct {
	worst           *repeats.Finding
	requests, count int
	time            int64
}

// repeats answers with what requests that began in the time that is asked about ask over and over, first what took most time
// together. A filter or text chooses findings by the request, or by the first or the last of what was asked.
func (s *Server) repeats(c *call) error {
	scope, err := c.scope(s.options.QueryTimeout)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultRepeats, 1, MaxRepeats)
	if err != nil {
		return err
	}
	least, err := c.number("least", repeats.Least, 2, mostLeast)
	if err != nil {
		return err
	}
	confidence, err := c.fraction("confidence")
	if err != nil {
		return err
	}
	r := s.newReading(c.Context(), "repetitions")
	// What was under way with a request may have begun before, and be over later.
	margin := repeats.Settle.Nanoseconds()
	w := window{scope: scope, before: MaxCompared}
	w.scope.Where, w.scope.Text = nil, ""
	if scope.From > 0 {
		w.scope.From = max(scope.From-margin, 1)
	}
	if scope.To > 0 {
		w.scope.To = scope.To + margin
		w.split = w.scope.To
	}
	if err := r.begin(&w); err != nil {
		return err
	}
	w.border.room = 0 // a part of a nanosecond isn't worth an order of its own
	var chosen map[[exchange.IDSize]byte]bool
	if scope.Where != nil || scope.Text != "" {
		if chosen, err = r.choose(&w, &scope); err != nil {
			return err
		}
	}

	kinds := map[kindOfRepeat]*ofKind{}
	d := repeats.New(least, func(f *repeats.Finding) {
		switch {
		case rounded(f.Confidence) < confidence || f.Start < scope.From || scope.To > 0 && f.Start >= scope.To:
			return
		case chosen != nil && !chosen[f.Parent] && !chosen[f.First] && !chosen[f.Last]:
			return
		}
		k := kindOfRepeat{f.Name, f.Protocol, f.Template}
		of := kinds[k]
		if of == nil {
			of = &ofKind{}
			kinds[k] = of
		}
		of.requests++
		of.count += f.Count
		of.time += f.Time
		if of.worst == nil || worse(f, of.worst) {
			of.worst = f
		}
	})
	looked := 0
	q := store.Search{Fields: repeatFields, Sort: exchange.Lookup("event.end")} // as the detector wants them
	if err := r.each(&w, &q, func(x *exchange.Exchange) error {
		looked++
		d.Add(x)
		return nil
	}); err != nil {
		return err
	}
	d.End()

	all := make([]*ofKind, 0, len(kinds))
	for _, of := range kinds {
		all = append(all, of)
	}
	slices.SortFunc(all, func(a, b *ofKind) int {
		if n := cmp.Compare(b.time, a.time); n != 0 {
			return n
		}
		if worse(a.worst, b.worst) {
			return -1
		}
		return 1
	})
	answer := struct {
		Repeats []repeated `json:"repeats"`
		// More kinds there are beyond the limit.
		More int `json:"more"`
		// LookedAt exchanges were, of which LeftOut found no room.
		LookedAt int `json:"looked_at"`
		LeftOut  int `json:"left_out"`
		// Truncated: there were more, older ones.
		Truncated bool `json:"truncated"`
		Cost      cost `json:"cost"`
	}{[]repeated{}, max(len(all)-limit, 0), looked, d.LeftOut, r.truncated, costOf(r.cost)}
	for _, of := range all[:min(len(all), limit)] {
		answer.Repeats = append(answer.Repeats, repeatedOf(of))
	}
	return c.json(&answer)
}

// worse reports whether a finding took longer than another; of equal ones, it is the one of the request with the smaller id.
func worse(a, b *repeats.Finding) bool {
	if a.Time != b.Time {
		return a.Time > b.Time
	}
	if n := bytes.Compare(a.Parent[:], b.Parent[:]); n != 0 {
		return n < 0
	}
	return bytes.Compare(a.First[:], b.First[:]) < 0
}

func repeatedOf(of *ofKind) repeated {
	f := of.worst
	method, route, _ := strings.Cut(f.Name, " ")
	return repeated{
		Parent:   repeatParent{ID: idText(f.Parent), Method: text(method), Route: text(route), Start: stamp(f.Start), Duration: f.Duration},
		Protocol: f.Protocol, Template: text(f.Template),
		Count: f.Count, Sure: f.Sure, Expected: rounded(f.Expected), Failed: f.Failed,
		Time: f.Time, Busy: f.Busy, Share: rounded(f.Share), Confidence: rounded(f.Confidence), Sequential: f.AtOnce == 1, AtOnce: f.AtOnce,
		First: idText(f.First), Last: idText(f.Last), Where: askedWhile(f),
		Requests: of.requests, TotalCount: of.count, TotalTime: of.time,
	}
}

// askedWhile is the filter for what was asked so while the request of a finding was under way.
func askedWhile(f *repeats.Finding) string {
	parts := []string{
		equals("network.protocol", f.Protocol),
		fmt.Sprintf("time >= %s", filter.Constant{Kind: exchange.Time, Int: f.Start}),
		fmt.Sprintf("event.end <= %s", filter.Constant{Kind: exchange.Time, Int: f.Start + f.Duration}),
	}
	verb, subject, _ := strings.Cut(f.Template, " ")
	switch exchange.FamilyOf(f.Protocol) {
	case exchange.Database:
		parts = append(parts, equals("db.query.summary", f.Template))
	case exchange.Names:
		parts = append(parts, equals("dns.question.type", verb), equals("dns.question.name", subject))
	default:
		parts = append(parts, equals("http.request.method", verb))
		host, route, ok := strings.Cut(subject, "/")
		if host = domainOf(host); host != "" {
			parts = append(parts, equals("url.domain", host))
		}
		if ok {
			parts = append(parts, "("+equals("culprit.route", "/"+route)+" or "+equals("url.path", "/"+route)+")")
		}
	}
	return parsed(strings.Join(parts, " and "))
}

func equals(field, value string) string {
	return field + " == " + filter.Constant{Kind: exchange.Text, Text: value}.String()
}

// domainOf is a Host header without its port, as url.domain has it.
func domainOf(host string) string {
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		inner, _, _ = strings.Cut(inner, "]")
		return inner
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return host
}
