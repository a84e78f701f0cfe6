package detect_test

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// TestBoth: a line that several protocols have decides nothing before it is answered, and then nothing of it is lost.
func TestBoth(t *testing.T) {
	for _, c := range []struct {
		name, script string
		port         uint16
		hints        map[uint16]string
		want         string
	}{
		{"an inline command and its reply", `> PING\r\n` + "\n" + `< +PONG\r\n`, 9999, nil, "redis client=originator, PING PING, 0"},
		{"in pieces", "> PI\n" + `> NG\r\n` + "\n" + `< +PO` + "\n" + `< NG\r\n`, 9999, nil, "redis client=originator, PING PING, 0"},
		{"two, and a reply that says little", `> SELECT 1\r\nGET a\r\n` + "\n" + `< +OK\r\n` + "\n" + `< $-1\r\n`, 9999, nil, "redis client=originator, SELECT SELECT 1, GET GET a, 0, 0"},
		{"the responder asks", `< PING\r\n` + "\n" + `> +PONG\r\n`, 9999, nil, "redis client=responder, PING PING, 0"},
		{"many at once", `> SET a 1\r\nSET b 2\r\nSET c 3\r\n`, 9999, nil, "redis client=originator, SET SET a 1, SET SET b 2, SET SET c 3"},
		{"nobody answers, at the port", `> PING\r\n` + "\n>close fin", 6379, nil, "redis client=originator, PING PING"},
		{"nobody answers, at another", `> PING\r\n`, 6380, nil, "recognised unknown"},
		{"something else at the port", `> hello\r\n`, 6379, nil, "recognised unknown"},
		{"no reply at the port", `> PING\r\n` + "\n" + `< PONG\r\n`, 6379, nil, "recognised unknown"},
		{"a hint", `> ??\r\n` + "\n" + `< ok\r\n`, 9999, map[uint16]string{9999: "redis"}, "redis client=originator, ?? ??"},
		{"IRC goes on", strings.Repeat(`> PING :irc.example\r\n`+"\n"+`< :irc.example PONG\r\n`+"\n", 5), 6667, nil, "recognised unknown"},
		{"memcached", `> version\r\n` + "\n" + `< VERSION 1.6.9\r\n`, 9999, nil, "memcached client=originator, version version, 0"},
		{"memcached deletes", `> delete a\r\n` + "\n" + `< NOT_FOUND\r\n`, 9999, nil, "memcached client=originator, delete delete a, 0"},
		{"beanstalkd deletes", `> delete 12\r\n` + "\n" + `< DELETED\r\n` + "\n" + `> reserve\r\n`, 9999, nil, "recognised unknown"},
		{"it deletes, and then shows what it is", `> delete 12\r\n` + "\n" + `< DELETED\r\n` + "\n" + `> get a\r\n` + "\n" + `< END\r\n`, 9999, nil, "memcached client=originator, delete delete 12, 0, get get a, 0"},
		{"it deletes, at the port", `> delete 12\r\n` + "\n" + `< DELETED\r\n`, 11211, nil, "memcached client=originator, delete delete 12, 0"},
		{"beanstalkd at the port", `> stats\r\n` + "\n" + `< OK 10\r\n`, 11211, nil, "recognised unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, err := prototest.Parse(c.script)
			if err != nil {
				t.Fatal(err)
			}
			if got := play(t, &proto.Flow{Port: [2]uint16{40000, c.port}}, c.hints, steps); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
