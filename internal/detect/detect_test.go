package detect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/http1"
	"github.com/culprit-http/culprit/internal/proto/http2"
	"github.com/culprit-http/culprit/internal/proto/memcached"
	"github.com/culprit-http/culprit/internal/proto/mysql"
	"github.com/culprit-http/culprit/internal/proto/prototest"
	"github.com/culprit-http/culprit/internal/proto/redis"
	"github.com/culprit-http/culprit/internal/proto/socks"
	"github.com/culprit-http/culprit/internal/proto/websocket"
	"github.com/culprit-http/culprit/internal/tls"
)

// log is an Opener and a Sink that writes down what it is told.
type log struct {
	text  []string
	state struct{ connect int }
}

func (l *log) say(format string, args ...any) { l.text = append(l.text, fmt.Sprintf(format, args...)) }

func (l *log) Sink(p *proto.Protocol, client proto.Direction, resumed bool, _ clock.Mark) proto.Sink {
	how := ""
	if resumed {
		how = " resumed"
	}
	l.say("%s client=%s%s", p.Name, client, how)
	return l
}

func (l *log) Recognised(name string) { l.say("recognised %s", name) }

func (l *log) Head(m *proto.Message) proto.Answers {
	if m.Kind == proto.Request {
		l.say("%s %s", m.Bytes(m.Method), m.Bytes(m.Target))
		if string(m.Bytes(m.Method)) == "CONNECT" {
			l.state.connect++
		}
		return proto.AnswersUnknown
	}
	l.say("%d", m.Status)
	if l.state.connect > 0 && m.Status < 300 {
		l.state.connect--
		return proto.AnswersCONNECT
	}
	return proto.AnswersUnknown
}
func (l *log) Body(*proto.Message, []byte)          {}
func (l *log) WantsBody(*proto.Message) int         { return 0 }
func (l *log) End(*proto.Message)                   {}
func (l *log) Lost(d proto.Direction, _ clock.Mark) {}
func (l *log) Abort(*proto.Abort)                   {}
func (l *log) Session(*proto.TLS)                   {}
func (l *log) Proxied(*proto.Proxied)               {}
func (l *log) Nest(proto.Nested) proto.Parser       { return nil }
func (l *log) Prior() *proto.Message                { return nil }

// play gives a connection to detection, and returns what became of it.
func play(t testing.TB, flow *proto.Flow, hints map[uint16]string, steps []prototest.Step) (text string) {
	t.Helper()
	held := 0
	d := &detect.Detector{
		Protocols: []proto.Protocol{http1.Protocol, http2.Protocol, websocket.Protocol, socks.Protocol, mysql.Protocol, memcached.Protocol, redis.Protocol, tls.NewEngine(nil, tls.Limits{}, nil).Protocol()}, Known: detect.Recognised, Hints: hints,
		Limits: &proto.Limits{MaxHead: 8192, MaxFields: 100, MaxStreams: 10, MaxMessage: 1 << 20, MaxStatement: 16 << 10}, Held: &held,
	}
	l := &log{}
	var s detect.Stream
	s.Open(d, l, flow)
	at := clock.Mark{}
	var sent [2]int64
	var closed [2]bool
	stopped := false
	for _, step := range steps {
		at.Packet++
		at.Offset, at.Peer = sent[step.Dir], sent[step.Dir.Other()]
		switch {
		case step.Close != proto.Open:
			s.Close(step.Dir, at, step.Close)
			closed[step.Dir] = true
		case stopped:
		case step.Gap > 0:
			s.Gap(step.Dir, step.Gap, at)
			sent[step.Dir] += step.Gap
		default:
			stopped = s.Data(step.Dir, step.Data, at).Action == proto.Stop
			sent[step.Dir] += int64(len(step.Data))
		}
	}
	for dir, is := range closed {
		if !is {
			s.Close(proto.Direction(dir), at, proto.CaptureEnded)
		}
	}
	if held != 0 {
		t.Errorf("%d bytes are still held at the end", held)
	}
	return strings.Join(l.text, ", ")
}

func TestDetection(t *testing.T) {
	const hello = `\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03`
	for _, c := range []struct {
		name, script string
		midstream    bool
		hints        map[uint16]string
		want         string
	}{
		{"HTTP", `> GET / HTTP/1.1\r\n\r\n`, false, nil, "http client=originator, GET /"},
		{"HTTP in pieces", "> GE\n> T / HT\n" + `> TP/1.1\r\n\r\n`, false, nil, "http client=originator, GET /"},
		{"the responder asks", `< GET / HTTP/1.1\r\n\r\n` + "\n" + `> HTTP/1.1 204 No Content\r\n\r\n`, false, nil, "http client=responder, GET /, 204"},
		{"the response comes first", `< HTTP/1.1 408 Request Timeout\r\n\r\n`, false, nil, "http client=originator, 408"},
		{"TLS", "> " + hello + "\n" + `< \x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03`, false, nil, "tls client=originator"},
		{"TLS that nobody answers", "> " + hello, false, nil, "tls client=originator"},
		{"TLS answered in plain HTTP", "> " + hello + "\n" + `< HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n`, false, nil, "tls client=originator, http client=originator resumed, 400"},
		{"HTTP/2", `> PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04`, false, nil, "http2 client=originator"},
		{"HTTP/2 in pieces", "> PRI * HT\n" + `> TP/2.0\r\n\r\nSM\r\n\r\n`, false, nil, "http2 client=originator"},
		{"unknown", ">repeat 3000 ?", false, nil, "recognised unknown"},
		{"unknown, short", "> ??", false, nil, "recognised unknown"},
		{"unknown, in many pieces", strings.Repeat("> ?\n< !\n", 100), false, nil, "recognised unknown"},
		{"empty", ">close fin\n<close fin", false, nil, "recognised empty"},
		{"a hint", "> ??\n< !!", false, map[uint16]string{3307: "smb"}, "recognised smb"},
		{"a hint to a parser", "> FOO\\x01BAR /x\\r\\n\\r\\n", false, map[uint16]string{3307: "http"}, "http client=originator, FOO\x01BAR /x"},
		{"content is stronger than a hint", `> GET / HTTP/1.1\r\n\r\n`, false, map[uint16]string{3307: "smb"}, "http client=originator, GET /"},
		{"midstream", "<repeat 100 x\n" + `> GET / HTTP/1.1\r\nHost: a\r\n\r\n`, true, nil, "http client=originator resumed, GET /"},
		{"midstream, unknown", "<repeat 5000 x", true, nil, "recognised unknown"},
		{"midstream, the responder asks", "> yz\n" + `> HTTP/1.1 204 No Content\r\n\r\n`, true, nil, "http client=responder resumed, 204"},
		{"midstream TLS", `> \x17\x03\x03\x00\x40\x11`, true, nil, "tls client=originator resumed"},
		{"the beginning is lost", ">gap 10\n" + `> GET / HTTP/1.1\r\nHost: a\r\n\r\n`, false, nil, "http client=originator resumed, GET /"},
		{"CONNECT to TLS", `> CONNECT b:443 HTTP/1.1\r\n\r\n` + "\n" + `< HTTP/1.1 200 OK\r\n\r\n` + "\n> " + hello + "\n" + `< \x16\x03\x03\x00\x5a\x02`, false, nil, "http client=originator, CONNECT b:443, 200, tls client=originator"},
		{"CONNECT, not used", `> CONNECT b:443 HTTP/1.1\r\n\r\n` + "\n" + `< HTTP/1.1 200 OK\r\n\r\n`, false, nil, "http client=originator, CONNECT b:443, 200"},
		{"CONNECT, then HTTP sent early", `> CONNECT b:80 HTTP/1.1\r\n\r\nGET /in HTTP/1.1\r\n\r\n` + "\n" + `< HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n`, false, nil, "http client=originator, CONNECT b:80, 200, http client=originator, GET /in, 204"},
		{"an upgrade", `> GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n` + "\n" + `< HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05hello`, false, nil, "http client=originator, GET /chat, 101, websocket client=originator, 0"},
		{"STARTTLS", `< 220 mail ready\r\n` + "\n" + `> EHLO a\r\n` + "\n" + `> STARTTLS\r\n` + "\n" + `< 220 go ahead\r\n` + "\n> " + hello, false, nil, "recognised smtp-or-ftp, tls client=originator"},
		{"midstream, a command that isn't sure", `> \x01\x00\x00\x00\x0e` + "\n" + `> \x09\x00\x00\x00\x03SELECT 1`, true, nil, "mysql client=originator resumed, SELECT SELECT 1"},
		{"with a hint", `> \x01\x00\x00\x00\x0e` + "\n" + `> \x09\x00\x00\x00\x03SELECT 1`, true, map[uint16]string{3307: "mysql"}, "mysql client=originator resumed, PING , SELECT SELECT 1"},
		{"with a hint, from the responder", `< \x01\x00\x00\x00\x0e`, true, map[uint16]string{3307: "mysql"}, "mysql client=responder resumed, PING "},
		{"with a hint, something else", "> hello", true, map[uint16]string{3307: "mysql"}, "mysql client=originator resumed"},
		{"midstream, content is stronger than a hint", `> GET / HTTP/1.1\r\nHost: a\r\n\r\n`, true, map[uint16]string{3307: "mysql"}, "http client=originator resumed, GET /"},
		{"midstream, a ClientHello", "> " + hello, true, nil, "tls client=originator"},
		{"SOCKS", `> \x05\x01\x00` + "\n" + `< \x05\x00` + "\n" + `> \x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50` + "\n" + `< \x05\x00\x00\x01\x0a\x00\x00\x02\x00\x50` + "\n" + `> GET / HTTP/1.1\r\n\r\n`, false, nil, "socks client=originator, http client=originator, GET /"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, err := prototest.Parse(c.script)
			if err != nil {
				t.Fatal(err)
			}
			flow := &proto.Flow{Midstream: c.midstream, Port: [2]uint16{40000, 3307}}
			if got := play(t, flow, c.hints, steps); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestNested: a packet of a thousand tunnels within tunnels ends, and so does one of upgrades.
func TestNested(t *testing.T) {
	for _, c := range []struct{ name, request, response string }{
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200\r\n\r\n"},
		{"upgrade", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 101\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 400_000
			got := play(t, &proto.Flow{}, nil, []prototest.Step{
				{Data: []byte(strings.Repeat(c.request, 600))},
				{Dir: proto.Responder, Data: []byte(strings.Repeat(c.response, n))},
			})
			if handed := strings.Count(got, "http client"); handed != detect.MaxHandovers+1 || !strings.HasSuffix(got, "recognised nested") {
				t.Errorf("handed on %d times: …%s", handed-1, got[max(0, len(got)-200):])
			}
		})
	}
}

// signatures are the first bytes of real conversations. role is who sends them, AnyRole when it may be both.
var signatures = []struct {
	name, bytes string
	role        proto.Role
}{
	{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", proto.Client},
	{"tls", "\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", proto.Server},
	{"tls", "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", proto.Client}, // SSL 2 ClientHello
	{"http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04", proto.Client},
	{"ssh", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", proto.AnyRole},
	{"ssh", "SSH-1.99-Cisco-1.25\n", proto.AnyRole},
	{"smtp-or-ftp", "220 mail.example ESMTP Postfix\r\n", proto.Server},
	{"smtp-or-ftp", "220-Welcome\r\n", proto.Server},
	{"pop3", "+OK Dovecot ready.\r\n", proto.Server},
	{"imap", "* OK [CAPABILITY IMAP4rev1] ready\r\n", proto.Server},
	{"imap", "* PREAUTH ready\r\n", proto.Server},
	{"rtsp", "DESCRIBE rtsp://cam/1 RTSP/1.0\r\nCSeq: 2\r\n\r\n", proto.Client},
	{"rtsp", "RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n", proto.Server},
	{"sip", "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n\r\n", proto.Client},
	{"sip", "SIP/2.0 180 Ringing\r\n\r\n", proto.Server},
	{"amqp", "AMQP\x00\x00\x09\x01", proto.Client},
	{"nats", "INFO {\"server_id\":\"N\"}\r\n", proto.Server},
	{"xmpp", "<?xml version='1.0'?><stream:stream to='a'>", proto.AnyRole},
	{"xmpp", "<stream:stream to='a'>", proto.AnyRole},
	{"bittorrent", "\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05", proto.AnyRole},
	{"smb", "\x00\x00\x00\xa4\xfeSMB\x40\x00\x00\x00", proto.AnyRole},
	{"smb", "\x00\x00\x00\x85\xffSMB\x72\x00\x00\x00", proto.AnyRole},
	{"rdp", "\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=a\r\n", proto.Client},
	{"http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", proto.Client},
	{"socks", "\x05\x02\x00\x02", proto.Client},
	{"socks", "\x04\x01\x00\x50\x0a\x00\x00\x02\x00", proto.Client},
}

// TestSignatures: each beginning is recognised by its protocol, from its sender, whole and byte by byte, and by
// no protocol that is asked before.
func TestSignatures(t *testing.T) {
	have := map[string]bool{}
	for _, c := range signatures {
		have[c.name] = true
		d := proto.Originator
		if c.role == proto.Server {
			d = proto.Responder
		}
		want := "recognised " + c.name
		if slices.Contains([]string{"http", "http2", "socks", "tls"}, c.name) {
			want = c.name + " client=originator"
		}
		steps := []prototest.Step{{Dir: d, Data: []byte(c.bytes)}}
		if got := play(t, &proto.Flow{}, nil, steps); got != want && !strings.HasPrefix(got, want+",") {
			t.Errorf("%s %q: %s", c.name, c.bytes, got)
		}
		steps = nil
		for i := range c.bytes {
			steps = append(steps, prototest.Step{Dir: d, Data: []byte{c.bytes[i]}})
		}
		if got := play(t, &proto.Flow{}, nil, steps); got != want && !strings.HasPrefix(got, want+",") {
			t.Errorf("%s %q, byte by byte: %s", c.name, c.bytes, got)
		}
	}
	for _, p := range detect.Recognised {
		if !have[p.Name] {
			t.Errorf("%s has no example here", p.Name)
		}
	}
}

func TestDatagram(t *testing.T) {
	for _, c := range []struct {
		bytes    string
		src, dst uint16
		want     string
	}{
		{"\x1d\x0f\x01\x00\x00\x01", 49311, 53, "udp"}, // a protocol with a parser isn't told by its port
		{"\x23", 40000, 123, "ntp"},
		{"\xc3\x00\x00\x00\x01\x08abcdefgh\x00", 50000, 443, "quic"},
		{"\xc3\x00\x00\x00\x01\x08abcdefgh\x00", 50000, 8443, "quic"},
		{"\xd3\x6b\x33\x43\xcf\x08abcdefgh", 50000, 443, "quic"},
		{"\xc3\xff\x00\x00\x1d\x08abcdefgh", 50000, 443, "quic"},
		{"\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q043\x01", 50000, 443, "quic"},
		{"\x41" + strings.Repeat("x", 30), 443, 50000, "quic"},
		{"\x41" + strings.Repeat("x", 30), 4000, 50000, "udp"},
		{"", 4000, 50000, "udp"},
	} {
		if got := detect.Datagram([]byte(c.bytes), c.src, c.dst); got != c.want {
			t.Errorf("%q from %d to %d: %s, want %s", c.bytes, c.src, c.dst, got, c.want)
		}
	}
}

// FuzzDetection: whatever comes, detection ends, and lets go of what it held.
func FuzzDetection(f *testing.F) {
	for _, s := range signatures {
		f.Add([]byte(s.bytes), []byte("HTTP/1.1 101\r\n\r\n"), uint8(7), false)
	}
	f.Fuzz(func(t *testing.T, originator, responder []byte, piece uint8, midstream bool) {
		var steps []prototest.Step
		rest := [2][]byte{originator, responder}
		for len(rest[0])+len(rest[1]) > 0 {
			for d := range rest {
				if n := min(int(piece)+1, len(rest[d])); n > 0 {
					steps = append(steps, prototest.Step{Dir: proto.Direction(d), Data: rest[d][:n]})
					rest[d] = rest[d][n:]
				}
			}
			if piece%16 == 3 {
				steps = append(steps, prototest.Step{Dir: proto.Direction(piece >> 7), Gap: 5})
			}
		}
		if len(steps) < 2000 {
			play(t, &proto.Flow{Midstream: midstream}, nil, steps)
		}
	})
}
