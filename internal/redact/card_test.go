package redact

import "testing"

// Invariant: mayHoldCard overlooks nothing that cardLen finds.
func FuzzMayHoldCard(f *testing.F) {
	for _, s := range []string{"", "4111111111111111", "x 4 1-1%201+1 1 1%2D1 1 1 1 1 1 1 1 1 y", "a4222222222222", "12:34:56 4111 1111 1111 1111 7"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found := mayHoldCard(b)
		for i := range b {
			if n := cardLen(b[i:]); n > 0 && !found {
				t.Fatalf("overlooks %q in %q", b[i:i+n], b)
			}
		}
	})
}
