package corpus

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// redisNumber is what stands before an item of a reply.
var redisNumber = regexp.MustCompile(`(?m)(^|^ +|\) |~ |# | => )( *[0-9]+[)~#] )+`)

// redisLeaves writes what is in a reply, without how it is nested: tools show that in ways of their own.
func redisLeaves(text string) string {
	text = redisNumber.ReplaceAllString(text, "\n")
	text = strings.NewReplacer(" => ", "\n", "(integer) ", "", "(nil)", "nil", "(empty array)", "", "(double) ", "").Replace(text)
	var leaves []string
	for line := range strings.Lines(text) {
		if line = strings.Trim(line, " \n\""); line != "" {
			leaves = append(leaves, line)
		}
	}
	return strings.Join(leaves, ", ")
}

// redisFlat is the same for what a tool writes as lists within lists.
func redisFlat(text string) string {
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	var leaves []string
	for leaf := range strings.SplitSeq(text, ", ") {
		if leaf = strings.TrimSpace(leaf); leaf != "" {
			leaves = append(leaves, leaf)
		}
	}
	return strings.Join(leaves, ", ")
}

// redisLine writes an exchange down: what was asked and what came. zeek: as Zeek has it, which tells the first word of commands.
func redisLine(x *exchange.Exchange, zeek bool) string {
	line := x.Flow.End(x.Client) + " " + x.Flow.End(x.Server()) + " "
	q, a := &x.Request, &x.Response
	switch {
	case a.OneWay:
		line += "push " + string(a.Bytes(a.Method)) + " " + string(a.Bytes(a.Target))
	case !x.HasRequest:
		line += "nothing"
	case zeek:
		word, _, _ := strings.Cut(string(q.Bytes(q.Method)), " ")
		line += word
	default:
		line += string(q.Bytes(q.Target))
	}
	if !x.HasResponse {
		return line
	}
	if code := a.FactText(proto.FactErrorText); code != nil {
		return line + " -> " + string(code)
	}
	body := x.ResponseBody.Bytes
	return line + " -> " + redisLeaves(string(body))
}

// redisDifferences are the lines that only one has, by how they begin, and why the oracle is wrong, or means the same.
var redisDifferences = map[string][]struct {
	oracle, ours string
	n            int
	why          string
}{
	"ndpi.resp": {
		{"192.168.88.231:6379 192.168.88.221:51882 ", "", 43, "Packetbeat takes the items of the reply to COMMAND for commands of the server"},
		{"", "192.168.88.221:51882 192.168.88.231:6379 COMMAND -> ", 1, "and so misses what the client asks"},
		{"", "192.168.88.221:51882 192.168.88.231:6379 ping -> PONG", 1, ""},
		{"", "192.168.88.221:51882 192.168.88.231:6379 set test \"Hello world!\" -> OK", 1, ""},
		{"", "192.168.88.221:51882 192.168.88.231:6379 get test -> Hello world!", 1, ""},
	},
	"zeek.pop3.redis-50-pings": {
		{"127.0.0.1:59954 127.0.0.1:6379 AUTH zeek -> OK", "127.0.0.1:59954 127.0.0.1:6379 AUTH …[redacted] -> OK", 2, "a password isn't shown"},
		{"", "127.0.0.1:59954 127.0.0.1:6379 CLIENT SETINFO LIB-", 2, "Packetbeat knows no CLIENT SETINFO"},
	},
	"zeek.redis.excessive-pipelining": {
		{"[::1]:57156 [::1]:6379 - -> PONG", "[::1]:57156 [::1]:6379 PING -> PONG", 14, "Zeek gives up pairing after five commands at a time"},
	},
	"zeek.redis.pubsub": {
		{"127.0.0.1:60831 127.0.0.1:6379 SUBSCRIBE", "127.0.0.1:60831 127.0.0.1:6379 SUBSCRIBE -> subscribe, Foo, 1", 2, "Zeek takes the confirmation for a message"},
		{"127.0.0.1:60831 127.0.0.1:6379 PSUBSCRIBE", "127.0.0.1:60831 127.0.0.1:6379 PSUBSCRIBE -> psubscribe, F*, 2", 2, ""},
		{"", "127.0.0.1:60831 127.0.0.1:6379 push MESSAGE Foo -> message, Foo, Hi there :)", 1, "Zeek's log has no messages; its events do"},
		{"", "127.0.0.1:60831 127.0.0.1:6379 push PMESSAGE Foo -> pmessage, F*, Foo, Hi there :)", 1, ""},
		{"", "127.0.0.1:60831 127.0.0.1:6379 push PMESSAGE FeeFooFiiFum -> pmessage, F*, FeeFooFiiFum, Hello! :)", 1, ""},
	},
	"zeek.redis.pubsub-resp3": {
		{"", "127.0.0.1:53232 127.0.0.1:6379 HELLO 3 -> server, redis, version, 7.2.5, proto, 3, id, 4,", 1, "Packetbeat knows no RESP3"},
		{"", "127.0.0.1:53234 127.0.0.1:6379 HELLO 3 -> server, redis, version, 7.2.5, proto, 3, id, 5,", 1, ""},
		{"", "127.0.0.1:53232 127.0.0.1:6379 COMMAND DOCS -> zcount, summary, Returns the count of members", 1, ""},
		{"", "127.0.0.1:53234 127.0.0.1:6379 COMMAND DOCS -> zcount, summary, Returns the count of members", 1, ""},
		{"127.0.0.1:53232 127.0.0.1:6379 SUBSCRIBE Foo -> OK", "127.0.0.1:53232 127.0.0.1:6379 SUBSCRIBE Foo -> subscribe, Foo, 1", 2, "it passes over the pushes, and so pairs with the reply to SET"},
		{"127.0.0.1:53232 127.0.0.1:6379 PSUBSCRIBE F* -> PONG", "127.0.0.1:53232 127.0.0.1:6379 PSUBSCRIBE F* -> psubscribe, F*, 2", 2, "and here with that to PING"},
		{"", "127.0.0.1:53232 127.0.0.1:6379 SET random_key random_val -> OK", 1, ""},
		{"", "127.0.0.1:53232 127.0.0.1:6379 PING -> PONG", 1, ""},
		{"", "127.0.0.1:53232 127.0.0.1:6379 push MESSAGE Foo -> message, Foo, Hi:)", 1, ""},
		{"", "127.0.0.1:53232 127.0.0.1:6379 push PMESSAGE Foo -> pmessage, F*, Foo, Hi:)", 1, ""},
		{"", "127.0.0.1:53232 127.0.0.1:6379 push PMESSAGE Foobar -> pmessage, F*, Foobar, Hello!", 1, ""},
	},
}

// TestRedis compares exchanges with Redis with the transactions of Packetbeat and of Zeek.
func TestRedis(t *testing.T) {
	root := shared(t, "corpus")
	compared := 0
	for _, e := range readIndex(t, root) {
		table := readTable(t, filepath.Join(root, "expected", e.name+".redis.tsv"))
		if table == nil {
			continue
		}
		zeek := table[0]["command"] != ""
		var want, have []string
		for _, r := range table {
			line := r["client"] + " " + r["server"] + " "
			if zeek {
				line += r["command"]
				if r["reply"] != "-" {
					line += " -> " + redisFlat(r["reply"])
				}
			} else {
				var detail struct {
					Value string `json:"return_value"`
					Error string
				}
				if err := json.Unmarshal([]byte(unescape(r["detail"])), &detail); err != nil {
					t.Fatalf("%s: %v", e.name, err)
				}
				line += r["query"] + " -> " + redisFlat(detail.Value) + detail.Error
			}
			want = append(want, line)
		}
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			if x.Protocol == "redis" {
				have = append(have, redisLine(x, zeek))
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		differ := redisDifferences[e.name]
		want, have = withoutLines(want, have), withoutLines(have, want)
		for _, d := range differ {
			n := len(want) + len(have)
			want = slices.DeleteFunc(want, func(line string) bool { return strings.HasPrefix(line, d.oracle) && d.oracle != "" })
			have = slices.DeleteFunc(have, func(line string) bool { return strings.HasPrefix(line, d.ours) && d.ours != "" })
			if n -= len(want) + len(have); n != d.n {
				t.Errorf("%s: %d lines begin with %q or %q, and not %d", e.name, n, d.oracle, d.ours, d.n)
			}
		}
		if len(want)+len(have) > 0 {
			t.Errorf("%s: only we have\n%s\nonly the oracle has\n%s", e.name, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		compared++
	}
	t.Logf("%d captures", compared)
	if compared == 0 {
		t.Error("the corpus lists no transactions of Redis")
	}
}

// withoutLines returns the lines that another list doesn't have, each as often as it has more of it.
func withoutLines(lines, other []string) (rest []string) {
	count := map[string]int{}
	for _, line := range other {
		count[line]++
	}
	for _, line := range lines {
		if count[line]--; count[line] < 0 {
			rest = append(rest, line)
		}
	}
	return rest
}
