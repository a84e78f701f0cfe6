// Invariant: whatever the chunks, the table doesn't panic, keeps to its limits, and keeps the contract
// of proto.Parser: offsets are contiguous, and nothing comes after an end.

package sctp

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
)

func FuzzPacket(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(initial(chunkInit, 7, 100), data(100, 0, 0, "B", "abc")...))
	f.Add(append(data(100, 0, 0, "B", "abc"), data(103, 0, 0, "E", "abc")...))
	f.Add(append(idata(100, 0, 0, 0, "B", "abc"), forward(120)...))
	f.Add(append(data(5, 1, 0, "BEU", "abc"), raw(chunkAbort, 0, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := DefaultLimits()
		limits.MaxStreams, limits.MaxHeld, limits.MaxAhead = 3, 1000, 64
		l := &log{stop: "stop"}
		tab := New(l.open, limits)
		// The first byte of each packet is its length, sender, and the time that passes before it.
		elapsed := int64(0)
		for number := 1; len(b) > 0; number++ {
			n := min(int(b[0]&0x3F)*4, len(b)-1)
			from := client
			if b[0]&0x40 != 0 {
				from = server
			}
			if b[0]&0x80 != 0 {
				elapsed += int64(limits.HoleAfter) / 2
				tab.Tick(elapsed)
			}
			p := from.packet(number, b[1:1+n])
			p.PayloadLen += number % 3
			tab.Packet(p, elapsed)
			b = b[1+n:]
			if tab.Held() > limits.MaxHeld || tab.Held() < 0 {
				t.Fatalf("%d bytes held", tab.Held())
			}
		}
		tab.Close(clock.Mark{})
		if tab.Held() != 0 || len(tab.byKey) != 0 || l.bad != "" {
			t.Fatalf("%d bytes, %d associations left; %s", tab.Held(), len(tab.byKey), l.bad)
		}
	})
}
