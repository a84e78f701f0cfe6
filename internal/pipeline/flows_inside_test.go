package pipeline

import (
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// TestFlowsWhenKeysAreLate: the record of a connection counts all of it, though what it carried was read long after it was over, and
// there is one record, since nothing is sent behind its end.
func TestFlowsWhenKeysAreLate(t *testing.T) {
	list, log := secured(t, "a.example", inside)
	for _, come := range []bool{false, true} {
		keys := keylog.NewStore(keylog.Options{})
		keys.SetMayGrow(true)
		s, out := alone(keys)
		s.know(keys)
		s.flows = flows{which: AllFlows, period: time.Second}
		w := dial(s, &proto.Flow{First: clock.Mark{Time: w0}})
		w.say(list)
		facts := *w.facts
		w.close()
		for i := range int64(5) { // nothing is sent any more, and nobody knows yet what was
			s.tick(i*1e9, clock.Mark{Time: w.mark.Time + i*1e9})
		}
		if come {
			s.know(keys, log)
		}
		s.tls.Flush()
		s.wantNothingLeft(t)
		if len(s.flows.open) != 0 {
			t.Errorf("%d flows are open", len(s.flows.open))
		}
		var packets, bytes [2]uint64
		final := false
		for _, x := range out.Done {
			if x.Period == nil {
				continue
			}
			if final {
				t.Error("a record behind the last one")
			}
			final = x.Period.Final
			for d := range packets {
				packets[d] += x.During[d].Packets
				bytes[d] += x.During[d].Bytes
			}
			if x.Protocol != "tls" || x.Completed.Time != w.mark.Time || x.Period.Number != 0 {
				t.Errorf("%s, record %d to %d", x.Protocol, x.Period.Number, x.Completed.Time)
			}
		}
		for d := range packets {
			if half := &facts.Half[d]; !final || packets[d] != half.Packets || bytes[d] != half.Bytes {
				t.Errorf("keys %v: direction %d: %d packets and %d bytes, want %d and %d; final %v", come, d, packets[d], bytes[d], half.Packets, half.Bytes, final)
			}
		}
	}
}

const w0 = 1e18
