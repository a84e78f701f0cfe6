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

// mongo is what Packetbeat tells of a request and its response, as far as it is compared.
type mongo struct {
	CursorID       int64 `json:"cursorId"`
	StartingFrom   int64 `json:"startingFrom"`
	NumberReturned int64 `json:"numberReturned"`
	NumberToSkip   int64 `json:"numberToSkip"`
	NumberToReturn int64 `json:"numberToReturn"`
}

// mongoReasons says where Packetbeat is left alone, and why.
var mongoReasons = map[string]string{
	"otherCommand": "its name for commands that it has no table entry for: the document of that query begins with buildinfo",
	"$cmd":         "its name for the collection of commands, which are about no collection or about the one that they name",
	"returned":     "of a command it counts the one document that OP_REPLY holds, and not the documents of the batch in it",
	"arguments":    "it leaves most out; what is between the parentheses isn't compared",
	"unsigned":     "it takes a numberToReturn of -1, an int32, for 4294967295",
}

// unsigned32 is what Packetbeat makes of -1.
const unsigned32 = 1<<32 - 1

// TestMongoDB compares exchanges with MongoDB with the transactions of Packetbeat, in order.
func TestMongoDB(t *testing.T) {
	root := shared(t, "corpus")
	compared, used := 0, map[string]bool{"arguments": true}
	for _, e := range readIndex(t, root) {
		table := readTable(t, filepath.Join(root, "expected", e.name+".mongodb.tsv"))
		if table == nil {
			continue
		}
		compared++
		var want, have []string
		for _, r := range table {
			var m mongo
			if err := json.Unmarshal([]byte(unescape(r["detail"])), &m); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			subject, _, _ := strings.Cut(r["query"], "(")
			command := strings.Contains(subject, "$cmd.") || m.NumberToReturn == unsigned32
			if strings.Contains(subject, "$cmd.") {
				subject, used["$cmd"] = strings.Replace(subject, "$cmd.", "", 1), true
			}
			if m.NumberToReturn == unsigned32 {
				m.NumberToReturn, used["unsigned"] = -1, true
			}
			if command {
				m.NumberReturned, used["returned"] = 0, true
			}
			want = append(want, fmt.Sprint(r["client"], " ", r["server"], " ", subject, " ", m))
		}
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			if x.Protocol != "mongodb" || !x.HasRequest {
				return // a response whose request came before the capture; Packetbeat doesn't tell of it
			}
			if x.Grade != exchange.Complete {
				t.Errorf("%s: %s is %s", e.name, x.Request.Bytes(x.Request.Target), x.Grade)
			}
			have = append(have, mongoLine(x))
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if len(have) != len(want) {
			t.Errorf("%s: %d exchanges, want %d", e.name, len(have), len(want))
			continue
		}
		slices.Sort(want)
		slices.Sort(have)
		for i := range want {
			if strings.Contains(want[i], "otherCommand") {
				continue
			}
			if !slices.Contains(have, want[i]) {
				t.Errorf("%s: Packetbeat has %s, ours are\n%s", e.name, want[i], strings.Join(have, "\n"))
			}
		}
		others := 0
		for _, line := range want {
			if strings.Contains(line, "otherCommand") {
				others++
			}
		}
		for _, line := range have {
			if !slices.Contains(want, line) {
				others--
			}
		}
		if used["otherCommand"] = used["otherCommand"] || others == 0; others != 0 {
			t.Errorf("%s: %d exchanges have no name at Packetbeat that it has no table entry for", e.name, -others)
		}
	}
	t.Logf("%d captures", compared)
	if compared == 0 {
		t.Error("the corpus lists no transactions of MongoDB")
	}
	for _, name := range sortedKeys(mongoReasons) {
		if !used[name] {
			t.Errorf("a reason isn't needed any more: %s, %s", name, mongoReasons[name])
		}
	}
}

// mongoLine writes an exchange down.
func mongoLine(x *exchange.Exchange) string {
	number := func(m *proto.Message, name string) int64 {
		if f := m.Fact(name); f != nil {
			return f.Number
		}
		return 0
	}
	q, r := &x.Request, &x.Response
	m := mongo{
		CursorID: number(r, "cursor"), StartingFrom: number(r, "starting_from"), NumberReturned: r.Parts.Count,
		NumberToSkip: number(q, "skip"), NumberToReturn: number(q, "limit"),
	}
	if m.NumberToReturn == -1 {
		m.NumberReturned = 0
	}
	subject, _, _ := strings.Cut(string(q.Bytes(q.Target)), "(")
	return fmt.Sprint(x.Flow.End(x.Client), " ", x.Flow.End(x.Server()), " ", subject, " ", m)
}

// TestMongoDBMessages reads a capture of OP_MSG between the members of a replica set, of which Packetbeat's own test only says
// that all of it are requests and responses. Each of its 202 packets is one, and the name of the error is in 78 of them (strings).
func TestMongoDBMessages(t *testing.T) {
	const name, exchanges, failed = "packetbeat.mongodb_op_msg_opcode", 101, 78
	for _, e := range readIndex(t, shared(t, "corpus")) {
		if e.name != name {
			continue
		}
		have, errors := 0, 0
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			have++
			if x.Grade != exchange.Complete || x.Protocol != "mongodb" {
				t.Errorf("%s %s is %s", x.Protocol, x.Request.Bytes(x.Request.Target), x.Grade)
			}
			if text := x.Response.FactText(proto.FactError); text != nil {
				errors++
				if string(text) != "InvalidReplicaSetConfig" {
					t.Errorf("an error %s", text)
				}
			}
		}); err != nil {
			t.Error(err)
		}
		if have != exchanges || errors != failed {
			t.Errorf("%d exchanges, %d of them failed; want %d and %d", have, errors, exchanges, failed)
		}
		return
	}
	t.Errorf("the corpus lacks %s", name)
}
