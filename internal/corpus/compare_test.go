package corpus

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

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
		r[host] = cmp.Or(string(q.Field("host")), absent)
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
