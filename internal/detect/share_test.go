package detect_test

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/proto"
)

// silent is a parser that takes everything.
type silent struct{}

func (silent) Data(proto.Direction, []byte, clock.Mark) proto.Verdict {
	return proto.Verdict{Action: proto.Continue}
}
func (silent) Gap(proto.Direction, int64, clock.Mark)               {}
func (silent) Close(proto.Direction, clock.Mark, proto.CloseReason) {}

// TestShare: the parsers of a protocol share one place within a detector, whatever connection they are of, and no other's.
func TestShare(t *testing.T) {
	given := map[string][]*any{}
	speaks := func(name string) proto.Protocol {
		return proto.Protocol{
			Name: name,
			Probe: func(b []byte) (proto.Match, proto.Role) {
				if string(b) == name {
					return proto.Yes, proto.Client
				}
				return proto.No, proto.AnyRole
			},
			New: func(c *proto.Context) proto.Parser {
				given[name] = append(given[name], c.Shared)
				return silent{}
			},
		}
	}
	shard := func() *detect.Detector {
		return &detect.Detector{Protocols: []proto.Protocol{speaks("a"), speaks("b")}, Limits: &proto.Limits{}, Held: new(int)}
	}
	first, second := shard(), shard()
	for _, d := range []*detect.Detector{first, first, second} {
		for _, text := range []string{"a", "b"} {
			var s detect.Stream
			s.Open(d, &log{}, &proto.Flow{})
			s.Data(proto.Originator, []byte(text), clock.Mark{})
		}
	}
	a, b := given["a"], given["b"]
	if len(a) != 3 || len(b) != 3 || a[0] == nil || a[0] != a[1] || b[0] != b[1] {
		t.Fatalf("%v, %v", a, b)
	}
	if a[0] == b[0] || a[0] == a[2] || b[0] == b[2] {
		t.Errorf("shared by others: %v, %v", a, b)
	}
	if first.Share(&first.Protocols[0]) != a[0] {
		t.Error("another place outside")
	}
}
