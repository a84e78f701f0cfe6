package corpus

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// The fields that are compared.
const (
	client = iota
	server
	method
	host
	target
	status
	requestBody
	responseBody
	decodedBody
	fields
)

// columns are the names of the fields in expectations.
var columns = [fields]string{
	"client", "server", "method", "host", "uri", "status", "req_body", "resp_body", "resp_body_decoded",
}

// What stands for a value that the oracle doesn't tell, and for one that isn't there.
const (
	unknown = "?"
	absent  = "-"
)

// row is one exchange: the values of its fields as texts.
type row [fields]string

// ours makes the row of an exchange.
func ours(x *exchange.Exchange) row {
	r := row{client: x.Flow.End(x.Client), server: x.Flow.End(x.Server())}
	for f := method; f < fields; f++ {
		r[f] = absent
	}
	if q := &x.Request; x.HasRequest {
		r[method] = cmp.Or(string(q.Bytes(q.Method)), absent)
		r[target] = cmp.Or(string(q.Bytes(q.Target)), absent)
		r[host] = cmp.Or(string(q.Field(":authority")), string(q.Field("host")), absent) // as HTTP/2 and its predecessors have it
		r[requestBody] = strconv.FormatInt(q.BodyBytes, 10)
	}
	if s := &x.Response; x.HasResponse {
		r[status] = strconv.Itoa(s.Status)
		r[responseBody] = strconv.FormatInt(s.BodyBytes, 10)
		r[decodedBody] = r[responseBody]
		if s.Field("content-encoding") != nil && s.BodyBytes > 0 {
			r[decodedBody] = unknown
			if n := x.ResponseBody.DecodedBytes; n >= 0 {
				r[decodedBody] = strconv.FormatInt(n, 10)
			}
		}
	}
	return r
}

// difference is one thing that an oracle and we don't agree about: the value of a field, or a whole
// exchange that only one side has.
type difference struct{ what, oracle, ours string }

func (d difference) String() string { return d.what + "\t" + d.oracle + "\t" + d.ours }

// wholeExchange is what a difference is about when one side doesn't have the exchange at all.
const wholeExchange = "exchange"

// weights say how much an equal field tells about whether two rows of one connection are the same
// exchange.
var weights = [fields]int{
	method: 4, host: 1, target: 8, status: 4, requestBody: 1, responseBody: 1, decodedBody: 1,
}

// compare pairs the rows of an oracle with ours, those first that have most in common, and returns what
// differs, and how many of the oracle's rows it concerns. The order of rows says nothing.
func compare(want, have []row) (differences []difference, concerned int) {
	want, have = withoutEqual(want, have)
	type pair struct{ w, h, score int }
	var pairs []pair
	for w := range want {
		for h := range have {
			if score, ok := alike(&want[w], &have[h]); ok {
				pairs = append(pairs, pair{w, h, score})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return b.score - a.score })
	pairedWant, pairedHave := make([]bool, len(want)), make([]bool, len(have))
	for _, p := range pairs {
		if pairedWant[p.w] || pairedHave[p.h] {
			continue
		}
		pairedWant[p.w], pairedHave[p.h] = true, true
		differences = append(differences, want[p.w].differences(&have[p.h])...)
	}
	for w := range want {
		if !pairedWant[w] {
			differences = append(differences, difference{wholeExchange, want[w].String(), absent})
		}
	}
	for h := range have {
		if !pairedHave[h] {
			differences = append(differences, difference{wholeExchange, absent, have[h].String()})
		}
	}
	return differences, len(want)
}

// differences returns the fields in which the oracle's row r differs from ours.
func (r *row) differences(ours *row) (list []difference) {
	for f, column := range columns {
		if f == decodedBody && r[f] == r[responseBody] && ours[f] == ours[responseBody] {
			continue // no content coding: it says the same as the field before
		}
		if !equal(f, r[f], ours[f]) {
			list = append(list, difference{column, escape(r[f]), escape(ours[f])})
		}
	}
	return list
}

// String names an exchange in lists.
func (r row) String() string { return escape(r[method] + " " + r[target] + " " + r[status]) }

// withoutEqual returns the rows that remain when those that are equal in every field are taken away.
func withoutEqual(want, have []row) (w, h []row) {
	have = slices.Clone(have)
	for i := range want {
		if j := slices.IndexFunc(have, func(r row) bool { return want[i].equal(&r) }); j >= 0 {
			have = slices.Delete(have, j, j+1)
		} else {
			w = append(w, want[i])
		}
	}
	return w, have
}

func (r *row) equal(o *row) bool {
	for f := range columns {
		if !equal(f, r[f], o[f]) {
			return false
		}
	}
	return true
}

// alike says how much two rows have in common, and whether it is enough for one exchange.
func alike(want, have *row) (score int, ok bool) {
	var same [fields]bool
	for f := range columns {
		if same[f] = equal(f, want[f], have[f]); same[f] {
			score += weights[f]
		}
	}
	return score, same[client] && same[server] && (same[target] || same[status])
}

// equal compares a value of the oracle with ours. What it lets pass are ways of writing, the same for
// every capture.
func equal(field int, oracle, ours string) bool {
	if oracle == unknown || oracle == ours {
		return true
	}
	switch field {
	case client, server:
		if address, ok := strings.CutSuffix(oracle, unknown); ok {
			return strings.HasPrefix(ours, address) // the oracle doesn't tell the port
		}
		o, err := netip.ParseAddrPort(oracle) // Suricata writes IPv6 addresses in full
		return err == nil && netip.AddrPortFrom(o.Addr().Unmap(), o.Port()).String() == ours
	case host:
		name, port, err := net.SplitHostPort(ours) // Suricata logs the port apart
		return err == nil && port != "" && name == oracle
	case target:
		return originForm(oracle) == originForm(ours)
	case status:
		// HTTP/0.9 has no status, and neither have malformed status lines; some write that as 0.
		return isNone(oracle) && isNone(ours)
	case requestBody, responseBody, decodedBody:
		// Without a message there is no body, which some write as 0. The other fields tell whether there is
		// a message.
		return isNone(oracle) && isNone(ours)
	}
	return false
}

func isNone(value string) bool { return value == absent || value == "0" }

// originForm returns a target without scheme and authority: oracles differ in whether they show them.
func originForm(t string) string {
	_, rest, ok := strings.Cut(t, "://")
	if !ok || !strings.HasPrefix(t, "http://") && !strings.HasPrefix(t, "https://") {
		return t
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

func TestCompare(t *testing.T) {
	get := row{"1.2.3.4:5", "6.7.8.9:80", "GET", "a:80", "/", "200", "0", "10", "20"}
	with := func(changes ...string) row {
		r := get
		for i := 0; i < len(changes); i += 2 {
			r[slices.Index(columns[:], changes[i])] = changes[i+1]
		}
		return r
	}
	for _, c := range []struct {
		name       string
		want, have []row
		expect     []difference
	}{
		{"the same", []row{get}, []row{get}, nil},
		{"another order", []row{get, with("uri", "/2")}, []row{with("uri", "/2"), get}, nil},
		{"what the oracle doesn't tell", []row{with("client", "?", "resp_body", "?")}, []row{get}, nil},
		{"a port that it doesn't tell", []row{with("client", "1.2.3.4:?")}, []row{get}, nil},
		{"absolute form", []row{with("uri", "http://b/x")}, []row{with("uri", "/x")}, nil},
		{"IPv6 in full", []row{with("client", "[2001:0db8:0000:0000:0000:0000:0000:0001]:5")},
			[]row{with("client", "[2001:db8::1]:5")}, nil},
		{"a host without its port", []row{with("host", "a")}, []row{get}, nil},
		{"no status", []row{with("status", "0")}, []row{with("status", "-")}, nil},
		{"a status", []row{with("status", "404")}, []row{get}, []difference{{"status", "404", "200"}}},
		{"a decoded length that we don't claim", []row{get}, []row{with("resp_body_decoded", "?")},
			[]difference{{"resp_body_decoded", "20", "?"}}},
		{"without a coding both lengths are one difference", []row{with("resp_body", "1", "resp_body_decoded", "1")},
			[]row{with("resp_body", "2", "resp_body_decoded", "2")}, []difference{{"resp_body", "1", "2"}}},
		{"one missing of two that are equal", []row{get, get}, []row{get}, []difference{{"exchange", "GET / 200", "-"}}},
		{"one too many", []row{get}, []row{get, get}, []difference{{"exchange", "-", "GET / 200"}}},
		{"of another connection", []row{get}, []row{with("client", "1.2.3.4:6")},
			[]difference{{"exchange", "GET / 200", "-"}, {"exchange", "-", "GET / 200"}}},
		{"pairs by what they have in common", []row{with("uri", "/1", "status", "-"), with("uri", "/2")},
			[]row{with("uri", "/1"), with("uri", "/2", "host", "b")},
			[]difference{{"host", "a:80", "b"}, {"status", "-", "200"}}},
		{"bytes that aren't printable", []row{with("uri", "/\xff")}, []row{with("uri", "/\n")},
			[]difference{{"uri", `/\xff`, `/\x0a`}}},
	} {
		got, _ := compare(c.want, c.have)
		slices.SortFunc(got, func(a, b difference) int { return cmp.Compare(a.String(), b.String()) })
		slices.SortFunc(c.expect, func(a, b difference) int { return cmp.Compare(a.String(), b.String()) })
		if !slices.Equal(got, c.expect) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.expect)
		}
	}
}
