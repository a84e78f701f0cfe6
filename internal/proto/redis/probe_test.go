package redis

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		in            string
		probe, resume proto.Match
		role          proto.Role
	}{
		{"", proto.NeedMore, proto.No, proto.AnyRole},
		{"*", proto.NeedMore, proto.No, proto.AnyRole},
		{"*3\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"*3\r\n$", proto.Yes, proto.No, proto.Client},
		{"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", proto.Yes, proto.Yes, proto.Client},
		{"*3\r\n$3\r\nset\r\n$100\r\nab", proto.Yes, proto.Yes, proto.Client},
		{"*2\r\n$9\r\nFT.SEARCH\r\n$1\r\na\r\n", proto.Yes, proto.Yes, proto.Client},
		{"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", proto.Yes, proto.Yes, proto.Client},
		{"*2\r\n*1\r\n:1\r\n$1\r\na\r\n", proto.Yes, proto.Yes, proto.Server},
		{"$5\r\nhello\r\n", proto.Yes, proto.Yes, proto.Server},
		{"$-1\r\n", proto.Yes, proto.No, proto.Server},
		{"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n", proto.Yes, proto.Yes, proto.Server},
		{"|1\r\n+ttl\r\n:1\r\n$1\r\na\r\n", proto.Yes, proto.No, proto.Server},
		{">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", proto.No, proto.Yes, proto.Server},
		{":12\r\n", proto.Yes, proto.No, proto.Server},
		{"+PONG\r\n", proto.Yes, proto.No, proto.Server},
		{"+PON", proto.NeedMore, proto.No, proto.AnyRole},
		{"-NOAUTH Authentication required.\r\n", proto.Yes, proto.No, proto.Server},
		{"PING\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"ping\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"PIN", proto.NeedMore, proto.No, proto.AnyRole},
		{"INFO server\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"SELECT 3\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"HELLO 3 AUTH bob secret\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"SET k v\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"SET a 1\r\nSET b 2\nTTL c\r\n", proto.Yes, proto.No, proto.Client},
		{"SET a 1\r\nSET b 2\r\nTTL", proto.NeedMore, proto.No, proto.AnyRole},
		{"SET a 1\r\nSET b 2\r\nsay\r\n", proto.No, proto.No, proto.AnyRole},
		{"touch 12\r\ntouch 13\r\ntouch 14\r\n", proto.NeedMore, proto.No, proto.AnyRole}, // beanstalkd
		{"SCAN /var/mail/x\n", proto.NeedMore, proto.No, proto.AnyRole},                   // clamd
		{"CLIENT REPLY OFF\r\nPING\r\n", proto.NeedMore, proto.No, proto.AnyRole},

		// A reply of which the first element is no command, and what only looks like RESP.
		{"*2\r\n$4\r\nname\r\n$3\r\nbob\r\n", proto.Yes, proto.Yes, proto.Client},
		{"*0\r\n", proto.No, proto.No, proto.AnyRole},
		{"* item\r\n", proto.No, proto.No, proto.AnyRole},
		{"*3x\r\n", proto.No, proto.No, proto.AnyRole},
		{"*3\r\nfoo", proto.No, proto.No, proto.AnyRole},
		{"$5\r\nhelloXX", proto.No, proto.No, proto.AnyRole},
		{"$Lock EXTENDEDPROTOCOL|", proto.No, proto.No, proto.AnyRole},
		{"%PDF-1.7\r\n", proto.No, proto.No, proto.AnyRole},
		{"~~~\r\n", proto.No, proto.No, proto.AnyRole},
		{":irc.example 001 bob :Welcome\r\n", proto.No, proto.No, proto.AnyRole},
		{":1\r\nx", proto.No, proto.No, proto.AnyRole},
		// The neighbours.
		{"+OK Dovecot ready.\r\n", proto.No, proto.No, proto.AnyRole},
		{"+OK\r\n", proto.No, proto.No, proto.AnyRole},
		{"-ERR too many connections\r\n", proto.No, proto.No, proto.AnyRole},
		{"* OK [CAPABILITY IMAP4rev1] ready\r\n", proto.No, proto.No, proto.AnyRole},
		{"GET / HTTP/1.1\r\n", proto.No, proto.No, proto.AnyRole},
		{"get key\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"set key 0 0 5\r\nhello\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"quit\r\n", proto.NeedMore, proto.No, proto.AnyRole},
		{"INFO {\"server_id\":\"N\"}\r\n", proto.No, proto.No, proto.AnyRole},
		{"INFO sip:bob@b.example SIP/2.0\r\n", proto.No, proto.No, proto.AnyRole},
		{"SUBSCRIBE /events HTTP/1.1\r\n", proto.No, proto.No, proto.AnyRole},
		{"SUBSCRIBE sip:bob@b.example SIP/2.0\r\n", proto.No, proto.No, proto.AnyRole},
		{"HELLO there\r\n", proto.No, proto.No, proto.AnyRole},
		{"SELECT * FROM t\r\n", proto.No, proto.No, proto.AnyRole},
		{"EHLO a\r\n", proto.No, proto.No, proto.AnyRole},
		{"220 mail.example ESMTP\r\n", proto.No, proto.No, proto.AnyRole},
		{"VALUE a 0 1\r\n", proto.No, proto.No, proto.AnyRole},
		{"SSH-2.0-x\r\n", proto.No, proto.No, proto.AnyRole},
		{"\x16\x03\x01\x02\x00\x01", proto.No, proto.No, proto.AnyRole},
	} {
		if match, role := Probe([]byte(c.in)); match != c.probe || match == proto.Yes && role != c.role {
			t.Errorf("Probe(%q) = %d, %d", c.in, match, role)
		}
		role := c.role
		if c.in == "*2\r\n$4\r\nname\r\n$3\r\nbob\r\n" {
			role = proto.Server // in the middle it is a reply; a connection begins with a command
		}
		if match, r := Resume([]byte(c.in)); match != c.resume || match == proto.Yes && r != role {
			t.Errorf("Resume(%q) = %d, %d", c.in, match, r)
		}
	}
}

func TestProbeBoth(t *testing.T) {
	for _, c := range []struct {
		asked, answered string
		want            proto.Match
	}{
		{"PING\r\n", "", proto.Yes},
		{"PING\r\n", "+PONG\r\n", proto.Yes},
		{"ping\n", "+PON", proto.NeedMore},
		{"PING\r\nPING\r\n", "-ERR max number of clients reached\r\n", proto.Yes},
		{"SET k v\r\n", "+OK\r\n", proto.Yes},
		{"get k\r\n", "$5\r\nhel", proto.Yes},
		{"get k\r\n", "$-1\r\n", proto.Yes},
		{"config get maxmemory\r\n", "*2\r\n$9\r\nmaxmemory\r\n", proto.Yes},
		{"INCR n\r\n", ":12\r\n", proto.Yes},
		{"HGETALL h\r\n", "%1\r\n", proto.Yes},
		{"EVAL \"return 1\" 0\r\n", ":1\r\n", proto.Yes},
		{"BF.ADD f x\r\n", ":1\r\n", proto.Yes},

		{"PING\n", "PONG\n", proto.No},                                           // clamd
		{"SCAN /var/mail/x\n", "/var/mail/x: OK\n", proto.No},                    // clamd
		{"PING\r\n", "PONG\r\n", proto.No},                                       // NATS
		{"PING :irc.example\r\n", ":irc.example PONG irc.example\r\n", proto.No}, // IRC
		{"PING :irc.example\r\n", ":irc.example PONG", proto.NeedMore},
		{"AUTH PLAIN AGEAYg==\r\n", "235 ok\r\n", proto.No},
		{"AUTH PLAIN\r\n", "+ \r\n", proto.No},
		{"AUTH PLAIN\r\n", "+\r\n", proto.No},
		{"touch 12\r\n", "TOUCHED\r\n", proto.No},
		{"config get cluster\r\n", "CONFIG cluster 0 2\r\n", proto.No},
		{"PING\r\n", "+PONG\n", proto.No},
		{"PING\r\n", ".\r\n", proto.No},
		{"INFO\r\n", "$x\r\n", proto.No},
		// Probe decides.
		{"PIN", "+PONG\r\n", proto.NeedMore},
		{"hello\r\n", "-ERR unknown command\r\n", proto.NeedMore},
		{"*1\r\n$4\r\nPING\r\n", "+PONG\r\n", proto.NeedMore},
		{"INFO {\"server_id\":\"N\"}\r\n", "+OK\r\n", proto.NeedMore},
		{"GET / HTTP/1.1\r\n", "+OK\r\n", proto.NeedMore},
	} {
		if got := ProbeBoth([]byte(c.asked), []byte(c.answered)); got != c.want {
			t.Errorf("ProbeBoth(%q, %q) = %d, want %d", c.asked, c.answered, got, c.want)
		}
	}
}
