package metrics

import (
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// Statements and questions for names have metrics of their own, with labels of closed sets.
func TestDatabases(t *testing.T) {
	m := New(Options{})
	silent := outputtest.Lookup("A", "nobody.example")
	silent.HasResponse, silent.Grade = false, exchange.Unanswered
	waits := outputtest.Query("redis", "BLPOP", "BLPOP queue 0")
	waits.Stream = true
	for _, x := range []*exchange.Exchange{
		outputtest.Query("mysql", "SELECT", "SELECT 1"), outputtest.Query("mysql", "select", "select 2"),
		outputtest.Failed(outputtest.Query("mysql", "MADE\nUP", "x"), "1064", "syntax"), waits,
		outputtest.Lookup("A", "www.shop.example", "10.0.0.7"), outputtest.Lookup("TYPE4711", "www.shop.example"), silent,
		outputtest.FlowRecord("ssh"), outputtest.Push("news"),
	} {
		if err := m.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]*dto.Metric{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()
	}
	value := func(name string, labels ...string) float64 {
		for _, metric := range got[name] {
			same := len(metric.GetLabel()) == len(labels)
			for i, l := range metric.GetLabel() { // in the order of their names
				same = same && l.GetValue() == labels[i]
			}
			if same {
				return metric.GetCounter().GetValue()
			}
		}
		return 0
	}
	for _, c := range []struct {
		got, want float64
		what      string
	}{
		{value("culprit_db_statements_total", "select", "success", "", "mysql"), 2, "selects"},
		{value("culprit_db_statements_total", "other", "failure", "", "mysql"), 1, "what failed"},
		{value("culprit_db_rows_total", "select", "", "mysql"), 6, "rows"},
		{value("culprit_dns_lookups_total", "noerror", "", "a"), 1, "answers"},
		{value("culprit_dns_lookups_total", "none", "", "a"), 1, "questions without an answer"},
		{value("culprit_dns_lookups_total", "noerror", "", "other"), 1, "rare types"},
		{float64(len(got["culprit_db_statements_total"])), 4, "series of statements"},
		{float64(len(got["culprit_db_duration_seconds"])), 2, "series of durations: what waits for events has none"},
		{float64(len(got["culprit_http_requests_total"])), 0, "requests of HTTP"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}
