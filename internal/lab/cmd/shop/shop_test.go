//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/enrich"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

const (
	folder = "../../../../testdata/sample"
	// maxSample is how large the shipped capture may be, in bytes.
	maxSample = 2_500_000
)

// seen is what culprit says of an exchange of the sample.
type seen struct {
	tap, service, origin, route, agent, country string
	status                                      int
	grade                                       exchange.Grade
	at, took                                    time.Duration // at: since begin
	stream                                      bool
	anomalies                                   proto.Anomalies
	retransmits                                 uint32
	trace, request                              string
}

// read has culprit read the sample, with what its configuration and its places tell.
func read(t *testing.T) ([]seen, pipeline.Stats) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "culprit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Services, Hosts map[string][]string
		Routes          []string
	}
	if err := yaml.UnmarshalWithOptions(text, &known, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	enricher, err := enrich.New(enrich.Options{GeoIP: []string{filepath.Join(folder, "places.mmdb")}, Services: known.Services, Hosts: known.Hosts, Routes: known.Routes})
	if err != nil {
		t.Fatal(err)
	}
	defer enricher.Close()
	source, err := capture.Open([]capture.Input{{Path: filepath.Join(folder, "shop.pcapng.zst")}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var all []seen
	stats, err := pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}, receiver(func(x *exchange.Exchange) {
		enricher.Exchange(x)
		s := seen{
			tap: x.Tap.Name, service: x.Enriched.Service[x.Server()], origin: x.Enriched.Service[x.Client], route: x.Enriched.Route,
			agent: string(x.Request.Field("user-agent")), status: x.Response.Status, grade: x.Grade,
			at: time.Duration(x.Start.Time - begin.UnixNano()), took: time.Duration(x.Timing.Duration), stream: x.Stream, anomalies: x.Anomalies,
			retransmits: x.During[x.Server()].Retransmits, trace: string(x.Request.Field("traceparent")), request: string(x.Request.Field("x-request-id")),
		}
		if p := x.Enriched.Place[x.Client]; p != nil {
			s.country = p.Country
		}
		all = append(all, s)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return all, stats
}

type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if x.Protocol == "websocket" || x.Protocol == "tls" {
			continue // what was said after a request that is here, too, or before any
		}
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// named are the routes that the servers have a name for.
func (e *expected) named() map[string]bool {
	all := map[string]bool{}
	for _, t := range append([]tally{e.Edge}, e.Apps...) {
		for route := range t.Routes {
			all[route] = true
		}
	}
	return all
}

// TestSample holds the shipped capture against what those who took part say of it: every request at every hop, by
// status, by route and by user agent.
func TestSample(t *testing.T) {
	var want expected
	text, err := os.ReadFile(filepath.Join(folder, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	all, stats := read(t)

	// Every byte that the servers speak of is in it.
	if g := stats.Exchanges; g[exchange.Gap]+g[exchange.Midstream]+g[exchange.OneSided]+g[exchange.Undecryptable] != 0 || stats.TCP.Gaps != 0 ||
		stats.TimedOut+stats.Overflow+stats.Dropped != 0 {
		t.Errorf("something is missing: %+v", stats)
	}

	named := want.named()
	tallies := map[string]*tally{}
	retransmits := 0
	for _, s := range all {
		if tallies[s.service] == nil {
			n := newTally()
			tallies[s.service] = &n
		}
		n := tallies[s.service]
		n.add(s.status)
		route := s.route
		if !named[route] {
			route = "other"
		}
		n.Routes[route]++
		n.Agents[s.agent]++
		if s.took > slow && s.status != 0 && !s.stream {
			n.Slow[route]++
		}
		if s.service == "edge" {
			retransmits += int(s.retransmits)
		}
	}
	servers := map[string]tally{"edge": want.Edge, "lb": want.LB, "app-1": want.Apps[0], "app-2": want.Apps[1]}
	if have, names := slices.Sorted(maps.Keys(tallies)), slices.Sorted(maps.Keys(servers)); !slices.Equal(have, names) {
		t.Fatalf("services %q, want %q", have, names)
	}
	for name, w := range servers {
		h := tallies[name]
		if h.Requests != w.Requests {
			t.Errorf("%s: %d requests, want %d", name, h.Requests, w.Requests)
		}
		for _, c := range []struct {
			what       string
			have, want map[string]int
		}{{"statuses", h.Status, w.Status}, {"routes", h.Routes, w.Routes}, {"agents", h.Agents, w.Agents}, {"slow routes", h.Slow, w.Slow}} {
			if c.want != nil && !maps.Equal(c.have, c.want) {
				t.Errorf("%s: %s\n %v, want\n %v", name, c.what, c.have, c.want)
			}
		}
	}
	// The kernel also counts what it sent again after an answer's last byte was on its way.
	if retransmits < 20 || retransmits > want.Retransmitted {
		t.Errorf("%d segments sent again to clients, the kernel says %d", retransmits, want.Retransmitted)
	}
}

// TestStory: what testdata/README.md tells is in the capture, at its time and place.
func TestStory(t *testing.T) {
	all, _ := read(t)
	const late = 8 * time.Second // what began earlier may end then
	chapters := []struct {
		what     string
		is       func(s *seen) bool
		from, to time.Duration
		min      int
	}{
		{"app-1 slow to say what is in stock", func(s *seen) bool { return s.service == "app-1" && s.route == "/api/stock/{id}" && s.took > slow }, slowFrom, slowTo, 30},
		{"nobody else is", func(s *seen) bool { return s.service == "app-2" && s.route == "/api/stock/{id}" && s.took > slow }, 0, -1, 0},
		{"Nikto", func(s *seen) bool { return s.service == "edge" && s.agent == nikto }, scanFrom, deployFrom, 100},
		{"sqlmap", func(s *seen) bool { return s.service == "edge" && s.agent == sqlmap }, scanFrom, deployFrom + late, 60},
		{"503 while app-2 is away", func(s *seen) bool { return s.service == "edge" && s.status == 503 }, deployFrom, deployTo + late, 10},
		{"photographs that app-2 breaks off at", func(s *seen) bool { return s.service == "edge" && s.status == 502 }, deployFrom, wholeStory, 1},
		{"app-2 away", func(s *seen) bool {
			return s.service == "app-2" && s.at > deployFrom+time.Second && s.at < deployTo-time.Second
		}, 0, -1, 0},
		{"orders with a coupon fail", func(s *seen) bool { return s.service == "app-2" && s.status == 500 && s.route == "/api/orders" }, deployTo, wholeStory, 3},
		{"too many passwords", func(s *seen) bool { return s.service == "edge" && s.status == 429 && s.route == "/login" }, stuffingFrom, wholeStory, 20},
		{"exports that take too long", func(s *seen) bool { return s.service == "edge" && s.status == 504 && s.route == "/api/export" }, 0, wholeStory, 3},
		{"slow reports", func(s *seen) bool {
			return s.service == "edge" && s.status == 200 && s.route == "/api/report" && s.took > slow
		}, 0, wholeStory, 15},
		{"uploads that are too large", func(s *seen) bool { return s.service == "edge" && s.status == 413 && s.route == "/upload" }, 0, wholeStory, 5},
		{"answered before they were sent", func(s *seen) bool { return s.status == 413 && s.anomalies.Has(proto.EarlyResponse) }, 0, wholeStory, 1},
		{"a stale token", func(s *seen) bool { return s.service == "edge" && s.status == 401 && s.route == "/api/products" }, 0, wholeStory, 40},
		{"downloads left half way", func(s *seen) bool {
			return s.service == "edge" && s.grade == exchange.Aborted && s.route == "/download/*"
		}, 0, wholeStory, 3},
		{"parts of files", func(s *seen) bool { return s.status == 206 }, 0, wholeStory, 3},
		{"not modified", func(s *seen) bool { return s.status == 304 }, 0, wholeStory, 50},
		{"the news", func(s *seen) bool { return s.service == "app-1" && s.route == "/events" && s.stream }, 0, wholeStory, 2},
		{"the chat", func(s *seen) bool { return s.status == 101 }, 0, wholeStory, 3},
		{"crawlers", func(s *seen) bool { return s.service == "edge" && (s.agent == googlebot || s.agent == bingbot) }, 0, wholeStory, 100},
		{"health checks", func(s *seen) bool {
			return s.tap == "dmz" && s.origin == "lb" && s.route == "/healthz" && s.agent == "haproxy-check"
		}, 0, wholeStory + time.Minute, 250},
	}
	for _, c := range chapters {
		n, misplaced := 0, 0
		for i := range all {
			s := &all[i]
			if !c.is(s) {
				continue
			}
			n++
			if s.at < c.from-time.Second || s.at > c.to+late {
				misplaced++
			}
		}
		if misplaced > 0 {
			t.Errorf("%s: %d of %d aren't from %v to %v after the beginning", c.what, misplaced, n, c.from, c.to)
		}
		if n < c.min {
			t.Errorf("%s: %d, want at least %d", c.what, n, c.min)
		}
	}

	// Every request that an app answers was asked of the load balancer, and that of the edge, by the same names.
	passed, traces := map[string]map[string]int{}, map[string]map[string]bool{"wan": {}, "lo": {}, "dmz": {}}
	countries := map[string]bool{}
	taps := map[string]string{"edge": "wan", "lb": "lo", "app-1": "dmz", "app-2": "dmz"}
	for _, s := range all {
		if s.tap != taps[s.service] {
			t.Fatalf("%s was seen on %s", s.service, s.tap)
		}
		traces[s.tap][s.trace] = true
		if s.service == "edge" {
			countries[s.country] = true
		} else if s.route != "/healthz" {
			if passed[s.tap] == nil {
				passed[s.tap] = map[string]int{}
			}
			passed[s.tap][s.request]++
		}
	}
	for request := range passed["dmz"] {
		if request == "" || passed["lo"][request] == 0 {
			t.Fatalf("request %q reached an app by no way", request)
		}
	}
	if n := len(traces["dmz"]); n < 500 {
		t.Errorf("%d traces", n)
	}
	for trace := range traces["dmz"] {
		if !traces["lo"][trace] || !traces["wan"][trace] {
			t.Errorf("trace %q isn't at every hop", trace)
		}
	}
	if len(countries) < 12 || countries[""] {
		t.Errorf("clients are in %d countries: %v", len(countries), slices.Sorted(maps.Keys(countries)))
	}
}

func TestSampleSize(t *testing.T) {
	info, err := os.Stat(filepath.Join(folder, "shop.pcapng.zst"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSample {
		t.Errorf("%d bytes, the most is %d", info.Size(), maxSample)
	}
}

// The shipped places are those of the table.
func TestPlaces(t *testing.T) {
	want, err := places()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(folder, "places.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("places.mmdb isn't what the table says: testdata/sample/make.sh -places")
	}
}

// Every address that somebody may have is somewhere.
func TestEveryRegionIsSomewhere(t *testing.T) {
	for _, r := range regions() {
		for i := range 1 << (32 - r.v4.Bits()) {
			a, found := nth(r.v4, i), 0
			for _, p := range madeUpPlaces {
				if netip.MustParsePrefix(p.network).Contains(a) {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s is in %d places", a, found)
			}
		}
		for _, a := range r.v6 {
			if !slices.ContainsFunc(madeUpPlaces, func(p place) bool { return netip.MustParsePrefix(p.network).Contains(a) }) {
				t.Errorf("%s is nowhere", a)
			}
		}
	}
}
