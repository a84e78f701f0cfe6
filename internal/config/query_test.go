package config

import (
	"strings"
	"testing"
	"time"
)

func TestQueryValidate(t *testing.T) {
	for _, c := range []struct {
		change func(q *Query)
		want   string // a part of the error; empty: none
	}{
		{func(*Query) {}, ""},
		{func(q *Query) { q.Last, q.From = Age(time.Hour), "2026-11-21" }, "--last"},
		{func(q *Query) { q.ID, q.Trace = "a", "b" }, "--trace"},
		{func(q *Query) { q.ID, q.Where = "a", "status == 500" }, "--id"},
		{func(q *Query) { q.ID, q.Metrics = "a", []string{"rate"} }, "--id"},
		{func(q *Query) { q.GroupBy, q.Fields = []string{"status"}, []string{"path"} }, "--fields"},
		{func(q *Query) { q.Metrics, q.Ascending = []string{"rate"}, true }, "--ascending"},
		{func(q *Query) { q.Headers, q.NoHeaders = []string{"host"}, true }, "--headers"},
		{func(q *Query) { q.Timeout = -1 }, "--timeout"},
		{func(q *Query) { q.Color = "blue" }, "--color"},
	} {
		q := DefaultQuery()
		c.change(&q)
		err := q.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error about %q", err, c.want)
		}
	}
	for _, c := range []struct {
		q    Query
		want int
	}{
		{Query{Color: "auto", Limit: -1}, DefaultLimit}, {Query{Color: "auto", Limit: -1, Trace: "a"}, 0},
		{Query{Color: "auto", Limit: -1, Trace: "a", GroupBy: []string{"status"}}, DefaultLimit}, {Query{Color: "auto", Limit: 7, Trace: "a"}, 7},
	} {
		if err := c.q.Validate(); err != nil || c.q.Limit != c.want {
			t.Errorf("the limit is %d, want %d: %v", c.q.Limit, c.want, err)
		}
	}
}

func TestQueryTimes(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, zone)
	at := func(text string) int64 {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed.UnixNano()
	}
	for _, c := range []struct {
		q        Query
		from, to int64
	}{
		{Query{}, 0, 0},
		{Query{Last: Age(time.Hour)}, at("2026-11-21T10:00:00Z"), 0},
		{Query{From: "2026-11-21"}, at("2026-11-20T23:00:00Z"), 0},
		{Query{From: "2026-11-21 10:30", To: "2026-11-21T10:00:00.5Z"}, at("2026-11-21T09:30:00Z"), at("2026-11-21T10:00:00.5Z")},
		{Query{To: "2026-11-21T10:30:01"}, 0, at("2026-11-21T09:30:01Z")},
	} {
		if from, to, err := c.q.Times(now); err != nil || from != c.from || to != c.to {
			t.Errorf("%+v: from %d to %d, want %d to %d: %v", c.q, from, to, c.from, c.to, err)
		}
	}
	for _, q := range []Query{
		{From: "yesterday"}, {To: "1969-12-31"}, {From: "1970-01-01T00:00:00Z"}, {From: "3000-01-01"}, {To: "0001-01-01"}, {From: "2026-11-21", To: "2026-11-21"},
	} {
		if from, to, err := q.Times(now); err == nil {
			t.Errorf("%+v: from %d to %d", q, from, to)
		}
	}
}

func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"15m": 15 * time.Minute, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute, "": 0, "0": 0, "-1h": 0, "d": 0, "1.5d": 0, "70000d": 0} {
		var a Age
		if err := a.Set(text); (err == nil) != (want > 0) || time.Duration(a) != want {
			t.Errorf("%q is %v, want %v: %v", text, time.Duration(a), want, err)
		}
	}
}

func TestDefaultStore(t *testing.T) {
	for _, c := range []struct {
		data, home string
		uid        int
		want       string
	}{
		{"/data", "/home/u", 1000, "/data/culprit"}, {"", "/home/u", 1000, "/home/u/.local/share/culprit"},
		{"relative", "/home/u", 1000, "/home/u/.local/share/culprit"}, {"/data", "/root", 0, "/var/lib/culprit"}, {"", "", 1000, ""},
	} {
		env := map[string]string{"XDG_DATA_HOME": c.data, "HOME": c.home}
		got, err := DefaultStore(func(name string) string { return env[name] }, c.uid)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q: %v", c, got, err)
		}
	}
}
