package template

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

var cases = []prototest.Case{
	{
		Name: "a question and its answer",
		Script: `
			> \x01ASK weather in Paris 5\nnow?!
			< \x01ANSWER 0 4\nrain`,
		Want: `
			> request ASK weather in Paris at 0 head 24 length 5
			> "now?!"
			> end whole size 29 body 5
			< response 0 at 0 head 12 length 4
			< "rain"
			< end whole size 16 body 4`,
	},
	{
		Name: "several at once, one without text",
		Script: `
			> \x01ASK a 0\n\x01ASK b 3\nxyz
			< \x01ANSWER 1 0\n\x01ANSWER 2 2\nok
			> \x01ASK c 1\nx
			>close fin
			< \x01ANSWER 3 0\n
			<close fin`,
	},
	{
		Name: "an error",
		Script: `
			< \x01ANSWER 42 2\nno`,
		Want: `
			< response 42 at 0 head 13 length 2
			< error_code = 42
			< "no"
			< end whole size 15 body 2`,
	},
	{
		Name: "the answer comes first",
		Script: `
			< \x01ANSWER 7 1\n!
			> \x01ASK late 1\n?`,
	},
	{
		Name:   "the responder asks",
		Client: proto.Responder,
		Script: `
			< \x01ASK a 2\nhi
			> \x01ANSWER 0 2\nho`,
	},
	{
		Name: "what isn't a head",
		Script: `
			> hello\n\x01ASK a b\n\x01ASK \x01ASK c 1\nx
			> \x01ASK a -1\n`,
		Want: `
			> lost
			> request ASK c at 20 head 9 length 1
			> "x"
			> end whole size 10 body 1
			> lost`,
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: `
			> the end of a text\x01ASK a 0\n
			< \x01ANSWER 0 0\n`,
	},
	{
		Name: "missing bytes",
		Script: `
			> \x01ASK a 10\nabc
			>gap 3
			> def
			>gap 4
			> a 3\nxyz\x01ASK b 1\nx`,
		Want: `
			> request ASK a at 0 head 10 length 10
			> "abcdef"
			> end whole size 20 body 10 missing 4
			> lost
			> request ASK b at 30 head 9 length 1
			> "x"
			> end whole size 10 body 1`,
	},
	{
		Name:   "a head beyond the limit",
		Limits: &proto.Limits{MaxHead: 100}, MaxBody: 100,
		Script: `
			> \x01ASK\x20
			>repeat 93 y
			> \x200\n
			> \x01ASK\x20
			>repeat 93 y
			> \x2010\n
			> \x01ASK b 0\n`,
	},
	{
		Name:   "a text beyond what is wanted",
		Limits: &proto.Limits{MaxHead: 100}, MaxBody: 10,
		Script: `
			> \x01ASK a 500\n
			>repeat 500 y
			> \x01ASK b 0\n`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		in    string
		match proto.Match
		role  proto.Role
	}{
		{"", proto.NeedMore, proto.AnyRole},
		{"\x01", proto.NeedMore, proto.AnyRole},
		{"\x01ANSWE", proto.NeedMore, proto.AnyRole},
		{"\x01ASK a 1\n", proto.Yes, proto.Client},
		{"\x01ANSWER 0", proto.Yes, proto.Server},
		{"\x01ASKED", proto.No, proto.AnyRole},
		{"GET / HTTP/1.1", proto.No, proto.AnyRole},
	} {
		if match, role := Probe([]byte(c.in)); match != c.match || role != c.role {
			t.Errorf("Probe(%q) = %v, %v; want %v, %v", c.in, match, role, c.match, c.role)
		}
	}
}
