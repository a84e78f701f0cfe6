package firehose_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// FuzzChunks: whatever a connection carries, and whatever a parser says of where its messages begin and end, the recording is a stream as
// the module writes it. In it are the bytes of both directions, each in its order, and each stream that begins ends.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{
		"aGET / |bAnswer|aGET|b200|", "a^x|^y|b^x|^y|", "a^x|g5a^y|b^z|", "a^xb^101!aframebframe", "G9a^x|b^x|", "aaaa|c", "a^x~a^yg0b^z|", "b^x|a^y|b^y|a^z",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, script []byte, how uint8) {
		if len(script) > 4096 {
			return
		}
		o := everything()
		o.Requests, o.Proxy = how&1 != 0, how&2 != 0
		o.Digests = how&4 != 0
		p := newPlay(t, o)
		p.flow.Midstream = how&8 != 0
		var sent [2]strings.Builder
		dir := proto.Originator
		var text []byte
		holes := false
		send := func() {
			p.now++
			if len(text) > 0 {
				p.give(follow.Chunk{Dir: dir, At: p.mark(dir), Data: text})
				sent[dir].Write(text)
				p.at[dir] += int64(len(text))
			}
			text = nil
		}
	script:
		for _, c := range script {
			kind := proto.Kind(c & 1)
			switch c {
			case 'a', 'b':
				send()
				dir = proto.Direction(c - 'a')
			case 'g', 'G':
				send()
				holes = true
				p.miss(dir, map[byte]int64{'g': 7, 'G': proto.Unknown}[c])
			case '^':
				m := p.mark(dir)
				m.Offset += int64(len(text))
				p.open[dir] = &follow.Message{Protocol: "http", Kind: proto.Kind(dir), Dir: dir, First: m}
				p.give(follow.Chunk{Dir: dir, At: m, Step: follow.Begin, Message: p.open[dir]})
			case '|', '!', '~', '?':
				m := p.open[dir]
				if m == nil {
					m = &follow.Message{Protocol: "http", Kind: kind, Dir: dir}
				}
				m.Last = p.mark(dir)
				m.Last.Offset += int64(len(text)) - 1 + int64(how>>6) // beyond, too
				m.Ended = map[byte]proto.End{'|': proto.Whole, '!': proto.Upgraded, '~': proto.Broken, '?': proto.Cut}[c]
				p.give(follow.Chunk{Dir: dir, At: m.Last, Step: follow.End, Message: m})
				p.open[dir] = nil
			case 'c':
				send()
				p.close()
				break script
			default:
				text = append(text, bytes.Repeat([]byte{c}, 1+int(how>>4)*300)...)
			}
		}
		if len(text) > 0 {
			send()
		}
		if err := p.o.Close(); err != nil {
			t.Fatal(err)
		}
		all := parse(t, p.file.b)
		known, _ := lines(t, p.list.b)
		var got [2]strings.Builder
		for _, x := range all {
			l, there := known[x.uuid]
			if !there {
				t.Fatalf("%s isn't in the list", x.uuid)
			}
			d := 0
			if x.dir == '>' {
				d = 1
			}
			if l.Client != p.flow.End(proto.Originator) {
				d = 1 - d
			}
			got[d].WriteString(x.data)
		}
		for d := range sent {
			if got[d].String() != sent[d].String() {
				t.Fatalf("direction %d: %.200q, want %.200q", d, got[d].String(), sent[d].String())
			}
		}
		if s := p.o.Stats(); s.Dropped+s.LostEnds > 0 || !holes && s.Holes > 0 {
			t.Fatalf("%+v", s)
		}
		for _, l := range known {
			if l.Ended == "" {
				t.Fatalf("%s has no end in the list", l.UUID)
			}
		}
	})
}
