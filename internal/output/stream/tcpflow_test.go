package stream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// TestTcpflowForms: each letter does what tcpflow's option does; what tcpflow prints for these bytes was looked at.
func TestTcpflowForms(t *testing.T) {
	flow := outputtest.Flow("10.0.0.1:1000", "10.0.0.2:80")
	under := outputtest.Flow("10.0.0.1:1000", "10.0.0.2:80")
	under.Midstream = true
	const ask, answer = "010.000.000.001.01000-010.000.000.002.00080: ", "010.000.000.002.00080-010.000.000.001.01000: "
	sent := "a\tb\x1b[31m\xc3\xa9 x\n\r\ny"
	for _, c := range []struct {
		form     string
		width    int
		chunks   []follow.Chunk
		want     string
		unmarked bool
	}{
		{"tcpflow", 0, []follow.Chunk{{Flow: flow, Data: []byte(sent)}, {Flow: flow, Dir: 1, Data: []byte("ok")}}, ask + "a.b.[31m.. x\n\r\ny\n" + answer + "ok\n", false},
		{"tcpflow-c0", 0, []follow.Chunk{{Flow: flow, Data: []byte("a")}, {Flow: flow, Dir: 1, Data: []byte("ok")}}, ask + "a" + answer + "ok", false},
		{"tcpflow-CB", 0, []follow.Chunk{{Flow: flow, Data: []byte(sent)}}, sent + "\n", true},
		{"tcpflow-CB0", 80, []follow.Chunk{{Flow: flow, Data: []byte("a\x1b[31m\r\nb")}}, "a\\x1b[31m\nb", true},
		{"tcpflow-C", 80, []follow.Chunk{{Flow: flow, Data: []byte("a\rb\r\n\x9b")}}, "a.b\r\n.\n", true},
		{"tcpflow-D", 0, []follow.Chunk{{Flow: flow, Data: []byte("hello")}}, ask + "\n0000: 6865 6c6c 6f hello\n\n", false},
		{"tcpflow-CD", 0, []follow.Chunk{{Flow: flow, Data: []byte(strings.Repeat("x", 33))}},
			"0000: " + strings.Repeat("7878 ", 16) + " " + strings.Repeat("x", 32) + "\n0020: 78" + strings.Repeat(" ", 79) + "x\n\n", true},
		{"tcpflow-Cg", 0, []follow.Chunk{{Flow: flow, Data: []byte("a")}, {Flow: flow, Dir: 1, Data: []byte("b")}, {Flow: under, Data: []byte("c")}},
			"\x1b[0;34ma\x1b[0m\n\x1b[0;31mb\x1b[0m\n\x1b[0;31mc\x1b[0m\n", true},
		{"tcpflow", 0, []follow.Chunk{{Flow: flow, Data: []byte("a")}, {Flow: flow, Gap: 3}, {Flow: flow, Close: proto.Reset, Over: true}}, ask + "a\n── [3 bytes missing]\n", false},
		{"tcpflow-c0", 0, []follow.Chunk{{Flow: flow, Data: []byte("a")}, {Flow: flow, Gap: 3}, {Flow: flow, Data: []byte("b\n")}, {Flow: flow, Gap: 1}},
			ask + "a\n── [3 bytes missing]\n" + ask + "b\n── [1 byte missing]\n", false},
		{"tcpflow-C", 0, []follow.Chunk{{Flow: flow, Gap: 3}, {Flow: flow, Step: follow.Body, Data: []byte("not of the half-stream")}}, "", true},
	} {
		form, err := ParseForm(c.form)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		o := New(&b, Options{Form: form, Terminal: terminal.Terminal{Width: c.width}})
		if err := o.Chunks(c.chunks); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want || o.Silent() != c.unmarked {
			t.Errorf("%s: got  %q\nwant %q (silent: %v)", c.form, &b, c.want, o.Silent())
		}
	}
}

// TestParseForm: what tcpflow doesn't know is refused, and so is what contradicts itself.
func TestParseForm(t *testing.T) {
	for text, ok := range map[string]bool{
		"auto": true, "hex": true, "tcpflow": true, "tcpflow-cBg0": true, "tcpflow-": false, "tcpflowC": false, "tcpflow-x": false, "tcpflow-cC": false,
		"tcpflow-sB": false, "": false, "tcpflow-c-C": false,
	} {
		if _, err := ParseForm(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
