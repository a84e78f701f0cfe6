package socks_test

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
	"github.com/culprit-http/culprit/internal/proto/socks"
)

var cases = []prototest.Case{
	{
		Name: "version 5, no login",
		Script: `
			> \x05\x01\x00
			< \x05\x00
			> \x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50
			< \x05\x00\x00\x01\x0a\x00\x00\x02\x12\x34`,
		Want: `handover to "" at > 13 < 12`,
	},
	{
		Name: "version 5, login, host name",
		Script: `
			> \x05\x02\x00\x02
			< \x05\x02
			> \x01\x03bob\x04pass
			< \x01\x00
			> \x05\x01\x00\x03\x09a.example\x01\xbb
			< \x05\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x12\x34`,
		Want: `handover to "" at > 30 < 26`,
	},
	{
		Name: "version 5, and what follows in the same segments",
		Script: `
			> \x05\x01\x00
			< \x05\x00
			> \x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50GET
			< \x05\x00\x00\x01\x0a\x00\x00\x02\x12\x34HTTP`,
		Want: `handover to "" at > 13 < 12`,
	},
	{
		Name: "version 4",
		Script: `
			> \x04\x01\x00\x50\x0a\x00\x00\x02me\x00
			< \x00\x5a\x00\x50\x0a\x00\x00\x02`,
		Want: `handover to "" at > 11 < 8`,
	},
	{
		Name: "version 4a",
		Script: `
			> \x04\x01\x00\x50\x00\x00\x00\x01me\x00a.example\x00
			< \x00\x5a\x00\x50\x0a\x00\x00\x02`,
		Want: `handover to "" at > 21 < 8`,
	},
	{
		Name: "no method",
		Script: `
			> \x05\x01\x02
			< \x05\xff`,
		Want: "stop",
	},
	{
		Name: "a wrong password",
		Script: `
			> \x05\x01\x02
			< \x05\x02
			> \x01\x01a\x01b
			< \x01\x01`,
		Want: "stop",
	},
	{
		Name: "refused",
		Script: `
			> \x05\x01\x00
			< \x05\x00
			> \x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50
			< \x05\x05\x00\x01\x00\x00\x00\x00\x00\x00`,
		Want: "stop",
	},
	{
		Name: "version 4, refused",
		Script: `
			> \x04\x01\x00\x50\x0a\x00\x00\x02\x00
			< \x00\x5b\x00\x00\x00\x00\x00\x00`,
		Want: "stop",
	},
	{
		Name: "the responder asks",
		Script: `
			< \x05\x01\x00
			> \x05\x00
			< \x05\x01\x00\x01\x0a\x00\x00\x02\x00\x50
			> \x05\x00\x00\x01\x0a\x00\x00\x02\x12\x34`,
		Client: proto.Responder,
		Want:   `handover to "" at > 12 < 13`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, socks.New, cases) }

func FuzzSOCKS(f *testing.F) { prototest.Fuzz(f, socks.New, cases) }

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		bytes string
		want  proto.Match
	}{
		{"", proto.NeedMore},
		{"\x05", proto.NeedMore},
		{"\x05\x01", proto.NeedMore},
		{"\x05\x01\x00", proto.Yes},
		{"\x05\x02\x00\x02", proto.Yes},
		{"\x05\x01\x00\x05", proto.No}, // a client must wait for the answer
		{"\x05\x00", proto.No},
		{"\x05\x11", proto.No},
		{"\x05\x01\x55", proto.No},
		{"\x04", proto.NeedMore},
		{"\x04\x01\x00\x50\x0a\x00\x00\x02me\x00", proto.Yes},
		{"\x04\x01\x00\x50\x00\x00\x00\x01me\x00host\x00", proto.Yes},
		{"\x04\x01\x00\x50\x0a\x00\x00\x02me\x00x", proto.No},
		{"GET /", proto.No},
	} {
		if got, _ := socks.Probe([]byte(c.bytes)); got != c.want {
			t.Errorf("%q: %v, want %v", c.bytes, got, c.want)
		}
	}
}
