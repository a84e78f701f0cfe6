package corpus

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// memcache is what Packetbeat tells of a transaction, as far as it is compared.
type memcache struct {
	ProtocolType string `json:"protocol_type"`
	Request      struct {
		Command, Opcode string
		Keys            []string
		Opaque, Bytes   int64
		Noreply         bool
	}
	Response *struct {
		Command, Status string
		CountValues     int64 `json:"count_values"`
		Bytes, Value    *int64
	}
}

// outcomes are Packetbeat's words for what memcached says in others: the first status of the specification, and the lines of the
// text protocol that it doesn't tell: the last line of the response to a get, and a number.
var outcomes = map[string]string{"Success": "No error", "VALUE": "END", "<counter_op_res>": ""}

// line writes a transaction down as ours does.
func (m *memcache) line() string {
	q := &m.Request
	s := fmt.Sprintf("%s %s %s %v opaque %d bytes %d noreply %v", m.ProtocolType, q.Command, q.Opcode, q.Keys, q.Opaque, q.Bytes, q.Noreply)
	r := m.Response
	if r == nil {
		return s
	}
	status := r.Status
	if m.ProtocolType == "text" {
		status = r.Command
	}
	if other, ok := outcomes[status]; ok {
		status = other
	}
	values, bytes := r.CountValues, int64(0)
	switch {
	case r.Bytes != nil:
		bytes = *r.Bytes
	case r.Value != nil:
		values, bytes = 1, int64(len(fmt.Sprint(*r.Value))) // which ours counts as a value
	}
	if q.Command == "stats" {
		values, bytes = 0, 0 // which Packetbeat doesn't count
	}
	return fmt.Sprintf("%s -> %s, %d values of %d bytes", s, status, values, bytes)
}

// memcacheLine writes an exchange down.
func memcacheLine(x *exchange.Exchange) string {
	q := &x.Request
	var keys []string
	number := func(m *proto.Message, name string) int64 {
		if f := m.Fact(name); f != nil {
			return f.Number
		}
		return 0
	}
	for i := range q.Facts {
		if f := &q.Facts[i]; f.Name == "key" {
			keys = append(keys, string(q.Bytes(f.Value)))
		}
	}
	command := string(q.Bytes(q.Method))
	s := fmt.Sprintf("%s %s %s %v opaque %d bytes %d noreply %v", q.FactText("protocol_type"), command, q.FactText("opcode"), keys,
		number(q, "opaque"), number(q, "value_bytes"), number(q, "noreply") == 1)
	r := &x.Response
	if !x.HasResponse {
		return s
	}
	values := r.Parts
	if command == "stats" {
		values = proto.Parts{}
	}
	return fmt.Sprintf("%s -> %s, %d values of %d bytes", s, r.FactText("status"), values.Count, values.Bytes)
}

// TestMemcached compares exchanges with memcached with the transactions of Packetbeat.
func TestMemcached(t *testing.T) {
	root := shared(t, "corpus")
	compared := 0
	for _, e := range readIndex(t, root) {
		table := readTable(t, filepath.Join(root, "expected", e.name+".memcache.tsv"))
		if table == nil {
			continue
		}
		compared++
		var want, have []string
		for _, r := range table {
			var m memcache
			if err := json.Unmarshal([]byte(unescape(r["detail"])), &m); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			want = append(want, r["client"]+" "+r["server"]+" "+m.line())
		}
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			if x.Protocol == "memcached" {
				have = append(have, x.Flow.End(x.Client)+" "+x.Flow.End(x.Server())+" "+memcacheLine(x))
				if g := x.Grade; g != exchange.Complete {
					t.Errorf("%s: %s is %s", e.name, memcacheLine(x), g)
				}
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		slices.Sort(want)
		slices.Sort(have)
		if got, wanted := strings.Join(have, "\n"), strings.Join(want, "\n"); got != wanted {
			t.Errorf("%s: got\n%s\nPacketbeat has\n%s", e.name, got, wanted)
		}
	}
	t.Logf("%d captures", compared)
	if compared == 0 {
		t.Error("the corpus lists no transactions of memcached")
	}
}

// Of these captures, over UDP and of one direction, no other tool tells anything; this is what tshark -x shows.
var memcachedDatagrams = map[string][]string{
	"packetbeat.memcache.memcache_bin_udp_counter_ops":   {"set cnt 2 0 1", "incr cnt 2", "decr cnt 5"},
	"packetbeat.memcache.memcache_bin_udp_delete":        {"set key 0 0 3", "delete key"},
	"packetbeat.memcache.memcache_bin_udp_single_store":  {"set test_key 0 0 1024"},
	"packetbeat.memcache.memcache_text_udp_single_store": {"set test_key 0 0 1024 noreply"},
}

// TestMemcachedDatagrams reads memcached over UDP: quiet requests, one a datagram.
func TestMemcachedDatagrams(t *testing.T) {
	left := len(memcachedDatagrams)
	for _, e := range readIndex(t, shared(t, "corpus")) {
		want := memcachedDatagrams[e.name]
		if want == nil {
			continue
		}
		left--
		var have []string
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			have = append(have, string(x.Request.Bytes(x.Request.Target)))
			if g := x.Grade; g != exchange.Complete || x.Protocol != "memcached" || !x.Request.OneWay {
				t.Errorf("%s: %s %s is %s", e.name, x.Protocol, have[len(have)-1], g)
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s: got %q, want %q", e.name, have, want)
		}
	}
	if left > 0 {
		t.Errorf("the corpus lacks %d captures", left)
	}
}
