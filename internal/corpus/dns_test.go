package corpus

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// TestNames compares the questions and answers of DNS with what Suricata, Packetbeat and Zeek say.
func TestNames(t *testing.T) {
	root := shared(t, "corpus")
	entries := readIndex(t, root)
	allowed := readDisagreements(t, filepath.Join("testdata", "dns.tsv"))
	var mu sync.Mutex
	total, captures := 0, 0
	each(entries, func(e *entry) {
		oracle := readTable(t, filepath.Join(root, "expected", e.name+".dns.tsv"))
		if oracle == nil {
			return
		}
		var have []said
		if _, err := run(e.file, e.keys, 1, func(x *exchange.Exchange) {
			// Suricata knows DNS alone, not what is like it.
			if x.Protocol == "dns" || x.Family == exchange.Names && !(len(oracle) > 0 && oracle[0]["kind"] != "") {
				have = append(have, saidBy(x)...)
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		listed := slices.Clone(allowed[e.name])
		differences := compareNames(oracle, have)
		for _, d := range differences {
			if i := slices.IndexFunc(listed, func(l disagreement) bool { return l.difference == d }); i >= 0 {
				listed = slices.Delete(listed, i, i+1)
			} else {
				t.Errorf("unlisted\t%s\t%v", e.name, d)
			}
		}
		for _, l := range listed {
			t.Errorf("no longer so\t%s\t%v", e.name, l.difference)
		}
		mu.Lock()
		total += len(oracle)
		captures++
		mu.Unlock()
	})
	t.Logf("%d captures, %d questions and answers of the oracles", captures, total)
}

// said is a question or an answer. Times tells how often it was sent.
type said struct {
	kind, from, to, id, name, typ, rcode string
	answers                              []string
}

// saidBy returns what an exchange consists of.
func saidBy(x *exchange.Exchange) (all []said) {
	client, server := x.Flow.End(x.Client), x.Flow.End(x.Server())
	of := func(m *proto.Message, kind, from, to string) said {
		return said{
			kind: kind, from: from, to: to, id: strconv.FormatInt(m.Fact("id").Number, 10),
			name: string(m.FactText("name")), typ: string(m.FactText("type")),
		}
	}
	if x.HasRequest {
		for range 1 + x.Retries {
			all = append(all, of(&x.Request, "query", client, server))
		}
	}
	if m := &x.Response; x.HasResponse {
		s := of(m, "answer", server, client)
		s.rcode = string(m.FactText("rcode"))
		var types []string
		for i := range m.Facts {
			switch f := &m.Facts[i]; f.Name {
			case "answer_type":
				types = append(types, string(m.Bytes(f.Value)))
			case "answer_data":
				s.answers = append(s.answers, types[len(s.answers)]+" "+string(m.Bytes(f.Value)))
			}
		}
		all = append(all, s)
	}
	return all
}

// compareNames returns what is in one list and not in the other. Oracles write differently, and know more or less.
func compareNames(oracle []map[string]string, have []said) (list []difference) {
	have = slices.Clone(have)
	for _, r := range oracle {
		for _, want := range wanted(r) {
			if i := slices.IndexFunc(have, func(s said) bool { return s.agrees(&want) }); i >= 0 {
				have = slices.Delete(have, i, i+1)
			} else {
				list = append(list, difference{"dns", escape(want.String()), absent})
			}
		}
	}
	for i := range have {
		list = append(list, difference{"dns", absent, escape(have[i].String())})
	}
	return list
}

func (s said) String() string {
	return fmt.Sprintf("%s %s > %s %s %s %s %s %s", s.kind, s.from, s.to, s.id, s.typ, s.name, s.rcode, strings.Join(s.answers, ", "))
}

// numbered are the types that Suricata writes as numbers.
var numbered = map[string]string{"252": "AXFR", "257": "CAA", "*": "ANY"}

// wanted reads a row of an oracle. Suricata has one for each message, the others for each pair: Packetbeat tells which of the
// two is missing, and Zeek has no code where there was no answer.
func wanted(r map[string]string) []said {
	query := said{
		kind: cmp.Or(r["kind"], "query"), from: endpoint(r["client"]), to: endpoint(r["server"]), id: r["id"], name: cmp.Or(r["name"], r["query"]),
		typ: cmp.Or(r["type"], r["qtype"]),
	}
	if query.name == "[]" { // the root has no labels
		query.name = "."
	}
	query.typ = cmp.Or(numbered[query.typ], query.typ)
	if r["kind"] != "" {
		query.rcode, query.answers = r["rcode"], wantedAnswers(r["answers"])
		return []said{query}
	}
	reply := query
	reply.kind, reply.from, reply.to, reply.rcode, reply.answers = "answer", query.to, query.from, r["rcode"], []string{unknown}
	_, zeek := r["rejected"]
	if !zeek {
		reply.answers = wantedAnswers(r["answers"])
	}
	switch {
	case strings.Contains(r["error"], "without an associated Query"), query.name == absent, zeek && query.typ == absent && strings.HasSuffix(query.to, ":5353"):
		return []said{reply}
	case strings.Contains(r["error"], "without receiving a response"), reply.rcode == absent:
		return []said{query}
	}
	return []said{query, reply}
}

// endpoint writes an address and a port as we do.
func endpoint(s string) string {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
	}
	return s
}

// wantedAnswers reads answers, which are pairs of type and data as JSON.
func wantedAnswers(s string) (list []string) {
	var pairs [][]any
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return nil
	}
	for _, p := range pairs {
		typ, _ := p[0].(string)
		data, _ := p[1].(string)
		if a, err := netip.ParseAddr(data); err == nil {
			data = a.String()
		}
		list = append(list, cmp.Or(numbered[typ], typ)+" "+data)
	}
	return list
}

// agrees reports whether the oracle says the same.
func (s *said) agrees(want *said) bool {
	same := func(ours, theirs string) bool {
		some, ok := strings.CutSuffix(theirs, unknown)
		return ok && strings.HasPrefix(ours, strings.TrimSuffix(some, unknown+":")) || theirs == absent || strings.EqualFold(ours, theirs) // Zeek writes all in lower case
	}
	return s.kind == want.kind && same(s.from, want.from) && same(s.to, want.to) && same(s.id, want.id) &&
		same(unescapeName(s.name), want.name) && same(s.typ, want.typ) && same(s.rcode, want.rcode) && sameAnswers(s.answers, want.answers)
}

// sameAnswers compares records. Of some types the oracle tells a part of the data, or nothing; it tells each string of a text as
// a record.
func sameAnswers(ours, theirs []string) bool {
	if slices.Equal(theirs, []string{unknown}) {
		return true
	}
	var have []string
	for _, r := range ours {
		switch typ, data, _ := strings.Cut(r, " "); typ {
		case "MX":
			_, data, _ = strings.Cut(data, " ")
			have = append(have, "MX "+data)
		case "TXT":
			for text := range strings.SplitSeq(data[1:len(data)-1], `" "`) {
				have = append(have, "TXT "+unescapeName(text))
			}
		default:
			have = append(have, typ+" "+unescapeName(data))
		}
	}
	return slices.EqualFunc(have, theirs, func(our, their string) bool {
		typ, data, _ := strings.Cut(their, " ")
		return our == their || data == "" && strings.HasPrefix(our, typ+" ")
	})
}

// unescapeName undoes the backslashes of master files.
func unescapeName(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b = append(b, byte(c))
				i += 3
				continue
			}
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}
