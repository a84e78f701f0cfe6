package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// statementList is the answer of /api/statements, statementOf one row.
type statementList struct {
	Rows    []statementOf
	Waiting int64
}

type statementOf struct {
	Key                                         string
	System, Database, Operation, Type, Protocol *string
	Count                                       int64
	Errors, Max, Rows                           *float64
	TotalTime                                   float64 `json:"total_time"`
	First, Last, Slowest                        *string
}

// stored are exchanges as /api/exchanges gives them.
type stored struct {
	Exchanges []struct {
		Start string `json:"@timestamp"`
		Event struct {
			ID, Outcome string
			Duration    *int64
		}
		Network struct{ Protocol string }
		DB      struct {
			System                struct{ Name *string }
			Namespace             *string
			Operation, Collection struct{ Name *string }
			Query                 struct{ Summary *string }
			Response              struct {
				Rows *int64 `json:"returned_rows"`
			}
		}
		DNS struct {
			Question struct{ Name, Type *string }
			Answers  *int64 `json:"answers_count"`
		}
		Culprit struct{ Stream bool }
	}
}

// corpusOfOthers are captures of other projects in which databases and DNS are asked.
var corpusOfOthers = []string{
	"packetbeat/mysql_long.pcap", "packetbeat/mysql_prepare_statement.pcap", "packetbeat/mysql_affected_rows.pcap", "packetbeat/pgsql_extended_query.pcap",
	"packetbeat/pgsql_rt.pcap", "packetbeat/redis_session.pcap", "packetbeat/mongo_3.0_session.pcap", "packetbeat/dns_google_com.pcap", "packetbeat/dns_not_found.pcap",
}

// The lists of statements and names are those of the exchanges that are stored, added up one by one.
func TestServeStatements(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	args := []string{"--store", storeFolder(t), "--literals"}
	for _, name := range corpusOfOthers {
		args = append(args, "-r", filepath.Join(root, "corpus", "files", name))
	}
	p := startServe(t, args...)
	p.until(t, "all is read")
	var all stored
	p.get(t, "/api/exchanges?limit=10000", &all)
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	for by, want := range map[string]int{"template": 20, "table": 5, "verb": 10, "qname": 2} {
		type sum struct {
			count, errors, rows, max int64
			total                    int64
			first, last              string
		}
		sums, waiting := map[string]*sum{}, int64(0)
		for i := range all.Exchanges {
			x := &all.Exchanges[i]
			value, rows := map[string]*string{"template": x.DB.Query.Summary, "table": x.DB.Collection.Name, "verb": x.DB.Operation.Name, "qname": x.DNS.Question.Name}[by], x.DB.Response.Rows
			if value == nil {
				continue
			}
			if x.Culprit.Stream {
				waiting++
				continue
			}
			key := fmt.Sprintf("%s | %s | %s", *value, text(x.DB.System.Name), text(x.DB.Namespace))
			switch by {
			case "template":
				key += " | " + text(x.DB.Operation.Name)
			case "qname":
				key, rows = fmt.Sprintf("%s | %s | %s", *value, text(x.DNS.Question.Type), x.Network.Protocol), x.DNS.Answers
			}
			s := sums[key]
			if s == nil {
				s = &sum{first: x.Start, last: x.Start}
				sums[key] = s
			}
			s.count++
			s.first, s.last = min(s.first, x.Start), max(s.last, x.Start)
			if x.Event.Outcome == "failure" {
				s.errors++
			}
			if x.Event.Duration != nil {
				s.total, s.max = s.total+*x.Event.Duration, max(s.max, *x.Event.Duration)
			}
			if rows != nil {
				s.rows += *rows
			}
		}
		if len(sums) < want {
			t.Errorf("by %s there are only %d rows", by, len(sums))
		}
		var list statementList
		p.get(t, "/api/statements?limit=500&by="+by, &list)
		if len(list.Rows) != len(sums) || list.Waiting != waiting {
			t.Errorf("by %s: %d rows and %d waiting, want %d and %d", by, len(list.Rows), list.Waiting, len(sums), waiting)
		}
		if !slices.IsSortedFunc(list.Rows, func(a, b statementOf) int {
			return cmp.Compare(b.TotalTime, a.TotalTime)
		}) {
			t.Errorf("by %s: not in the order of time", by)
		}
		for i := range list.Rows {
			r := &list.Rows[i]
			key := fmt.Sprintf("%s | %s | %s", r.Key, text(r.System), text(r.Database))
			switch by {
			case "template":
				key += " | " + text(r.Operation)
			case "qname":
				key = fmt.Sprintf("%s | %s | %s", r.Key, text(r.Type), text(r.Protocol))
			}
			s := sums[key]
			if s == nil {
				t.Errorf("by %s: there is no %s", by, key)
				continue
			}
			got := fmt.Sprint(r.Count, int64(*r.Errors), int64(*r.Rows), int64(r.TotalTime), " ", text(r.First), " ", text(r.Last))
			if want := fmt.Sprint(s.count, s.errors, s.rows, s.total, " ", s.first, " ", s.last); got != want {
				t.Errorf("by %s: %s: got %s, want %s", by, key, got, want)
			}
			for k := range all.Exchanges {
				if x := &all.Exchanges[k]; x.Event.ID == text(r.Slowest) && x.Event.Duration != nil && *x.Event.Duration != s.max {
					t.Errorf("by %s: the slowest of %s took %d, and another %d", by, key, *x.Event.Duration, s.max)
				}
			}
		}
		if by == "template" && !slices.ContainsFunc(list.Rows, func(r statementOf) bool {
			return strings.HasPrefix(r.Key, "SELECT ")
		}) {
			t.Error("there is no SELECT")
		}
	}
	p.end(t, 0)
}
