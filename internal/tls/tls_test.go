package tls_test

import (
	"bytes"
	stdtls "crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

func text(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// talks are conversations with each kind of protection.
func talks(t testing.TB) map[string]*talk {
	turns := [][]byte{text(100, 1), text(50_000, 2), text(40_000, 3), text(10, 4), text(1, 5), text(70_000, 6)}
	return map[string]*talk{
		"1.3":          converse(t, stdtls.VersionTLS13, 0, turns...),
		"1.2 gcm":      converse(t, stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, turns...),
		"1.2 chacha20": converse(t, stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, turns...),
		"1.2 cbc":      converse(t, stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, turns...),
		"1.0 cbc":      converse(t, stdtls.VersionTLS10, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, turns...),
	}
}

func whole(n int) (int, bool) { return n, false }
func single(int) (int, bool)  { return 1, false }

// TestWhole: everything that was said is read, however the bytes were cut.
func TestWhole(t *testing.T) {
	for name, c := range talks(t) {
		for how, next := range map[string]func(int) (int, bool){"whole": whole, "byte by byte": single, "mss": func(n int) (int, bool) { return min(n, 1448), false }} {
			t.Run(name+" "+how, func(t *testing.T) {
				p := newPlayed(t, c, c.store(), tls.DefaultLimits())
				p.play(c.pieces, next)
				for d := range c.said {
					if p.read[d] != int64(len(c.said[d])) || !p.closed[d] {
						t.Errorf("%d: read %d of %d bytes, closed %v", d, p.read[d], len(c.said[d]), p.closed[d])
					}
					if !slices.IsSorted(p.times[d]) || !slices.IsSorted(p.peers[d]) || p.peers[d][0] < 0 {
						t.Errorf("%d: times or acknowledgements go back: %v", d, p.peers[d][:min(10, len(p.peers[d]))])
					}
				}
				// The last answer was given by a server that had everything that the client said.
				if last := p.peers[1][len(p.peers[1])-1]; last != int64(len(c.said[0])) {
					t.Errorf("the last answer has seen %d of %d bytes", last, len(c.said[0]))
				}
				if p.held != 0 {
					t.Errorf("%d bytes are still held", p.held)
				}
				f := p.facts
				if !f.Established || !f.Decrypted || f.Reason != "" || f.ServerName != "a.example" || f.ALPN != "x" || p.hint != "x" || f.LostRecords != 0 || f.Finished <= f.Hello.Time ||
					f.JA3 == "" || f.JA4 == "" || f.Turns[1] == 0 || f.TurnTime[1] <= 0 {
					t.Errorf("%+v", f)
				}
				if len(f.ServerChain) != 1 || f.ServerChain[0].CommonName != "a.example" {
					t.Errorf("certificates: %v", f.ServerChain)
				}
			})
		}
	}
}

// TestGaps: whatever is lost, what is read is what was said, at its place as long as that is known; and what comes a while behind
// a gap is read again.
func TestGaps(t *testing.T) {
	for name, c := range talks(t) {
		t.Run(name, func(t *testing.T) {
			size := 0
			for _, p := range c.pieces {
				size += len(p.data)
			}
			again := 0
			const tries = 300
			for i := range tries {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				from := r.IntN(size)
				n := 1 + r.IntN(3000)
				if i%3 == 0 {
					n = 1 + r.IntN(30_000)
				}
				p := newPlayed(t, c, c.store(), tls.DefaultLimits())
				at := 0
				p.play(c.pieces, func(left int) (int, bool) {
					k := min(left, 1448)
					switch {
					case at < from:
						k = min(k, from-at)
					case at < from+n:
						k = min(k, from+n-at)
						at += k
						return k, true
					}
					at += k
					return k, false
				})
				if p.held != 0 {
					t.Fatalf("gap of %d at %d: %d bytes are still held", n, from, p.held)
				}
				if p.read[0]+p.read[1] > int64(len(c.said[0])+len(c.said[1]))/2 {
					again++
				}
				if t.Failed() {
					t.Fatalf("gap of %d at %d", n, from)
				}
			}
			t.Logf("in %d of %d cases most was read", again, tries)
			if again < tries*8/10 {
				t.Errorf("only in %d of %d cases most was read", again, tries)
			}
		})
	}
}

// TestLateKeys: what comes before its keys waits, also beyond the end of the connection, and is read when they come.
func TestLateKeys(t *testing.T) {
	for name, c := range talks(t) {
		t.Run(name, func(t *testing.T) {
			keys := keylog.NewStore(keylog.Options{})
			keys.SetMayGrow(true)
			p := newPlayed(t, c, keys, tls.DefaultLimits())
			p.play(c.pieces, whole)
			if p.read != [2]int64{} || !slices.Equal(p.lingers, []bool{true}) || p.held == 0 {
				t.Fatalf("before the keys: read %v, lingers %v, %d held", p.read, p.lingers, p.held)
			}
			p.publish(keys) // nothing new
			lines := bytes.SplitAfter(c.keys.Bytes(), []byte("\n"))
			for _, line := range lines { // one secret after the other
				keys.Add(line)
				p.publish(keys)
			}
			if p.read[0] != int64(len(c.said[0])) || p.read[1] != int64(len(c.said[1])) || p.held != 0 || !slices.Equal(p.lingers[len(p.lingers)-1:], []bool{false}) ||
				!p.closed[0] || !p.closed[1] {
				t.Errorf("after the keys: read %v, lingers %v, %d held, %+v", p.read, p.lingers, p.held, p.facts)
			}
			if p.engine.Counters.Waited == 0 || p.engine.Counters.Late == 0 {
				t.Errorf("%+v", p.engine.Counters)
			}
		})
	}
}

// TestNoKeys: without keys the facts are there, and the reason, and nothing is kept.
func TestNoKeys(t *testing.T) {
	other := converse(t, stdtls.VersionTLS13, 0, []byte("other"))
	for name, c := range talks(t) {
		for _, k := range []struct {
			what   string
			keys   *keylog.Store
			reason string
		}{
			{"none", nil, "no keys were given"},
			{"another's", other.store(), "no key for this client random"},
		} {
			t.Run(name+" "+k.what, func(t *testing.T) {
				p := newPlayed(t, c, k.keys, tls.DefaultLimits())
				p.play(c.pieces, whole)
				f := p.facts
				if p.read != [2]int64{} || f.Decrypted || f.Reason != k.reason || !f.Established || f.ServerName != "a.example" || f.Finished == 0 || p.held != 0 {
					t.Errorf("read %v, held %d: %+v", p.read, p.held, f)
				}
				if seen := len(f.ServerChain) == 1; seen != (name != "1.3") {
					t.Errorf("certificates: %v", f.ServerChain)
				}
			})
		}
	}
}

// TestWaitIsBounded: who waits too long, or for too much, is given up with the reason, and holds nothing.
func TestWaitIsBounded(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(1000, 1), text(100_000, 2))
	keys := func() *keylog.Store {
		s := keylog.NewStore(keylog.Options{})
		s.SetMayGrow(true)
		return s
	}
	l := tls.Limits{MaxWaiting: 10_000, MaxWaitingAll: 1 << 20, WaitTime: 5e9}
	p := newPlayed(t, c, keys(), l)
	p.play(c.pieces, whole)
	if p.facts.Reason != "its key didn't come while there was room to wait for it" || p.held != 0 || p.engine.Counters.Overflow != 1 {
		t.Errorf("too much for one: %d held, %+v, %+v", p.held, p.facts, p.engine.Counters)
	}
	l.MaxWaiting, l.MaxWaitingAll = 1<<20, 50_000
	p = newPlayed(t, c, keys(), l)
	p.play(c.pieces, whole)
	if p.facts.Reason != "its key didn't come while there was room to wait for it" || p.held != 0 || p.engine.Counters.Overflow != 1 {
		t.Errorf("too much for all: %d held, %+v, %+v", p.held, p.facts, p.engine.Counters)
	}
	l.MaxWaitingAll = 1 << 20
	p = newPlayed(t, c, keys(), l)
	p.play(c.pieces, whole)
	if p.engine.Tick(4e9); p.held == 0 {
		t.Error("given up too early")
	}
	if p.engine.Tick(6e9); p.facts.Reason != "its key didn't come in time" || p.held != 0 || !slices.Equal(p.lingers, []bool{true, false}) {
		t.Errorf("too long: %d held, lingers %v, %+v", p.held, p.lingers, p.facts)
	}
	p = newPlayed(t, c, keys(), l)
	p.play(c.pieces, whole)
	if p.engine.Flush(); p.facts.Reason != "no key for this client random" || p.held != 0 || !slices.Equal(p.lingers, []bool{true, false}) {
		t.Errorf("at the end: %d held, lingers %v, %+v", p.held, p.lingers, p.facts)
	}
}

// TestSated: when nobody wants what is inside, no more is decrypted.
func TestSated(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(10, 1), text(100_000, 2))
	p := newPlayed(t, c, c.store(), tls.DefaultLimits())
	p.end = proto.Stop
	p.play(c.pieces, whole)
	if p.read != [2]int64{10, 0} || !p.facts.Decrypted || p.facts.Reason != "" {
		t.Errorf("read %v, %+v", p.read, p.facts)
	}
}

// TestDamaged: a record that was altered is lost, and only that one.
func TestDamaged(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(10, 1), text(60_000, 2))
	last := c.pieces[len(c.pieces)-1]
	last.data[len(last.data)/2] ^= 1
	p := newPlayed(t, c, c.store(), tls.DefaultLimits())
	p.play(c.pieces, whole)
	if p.facts.LostRecords != 1 || p.lost[1] == 0 || p.lost[1]+p.read[1] != 60_000 || p.vague[1] {
		t.Errorf("read %v, lost %v, %+v", p.read, p.lost, p.facts)
	}
}

// FuzzParser: whatever comes, with whatever gaps, nothing panics, nothing stays held, and nothing is read that wasn't said.
func FuzzParser(f *testing.F) {
	list := talks(f)
	names := []string{"1.3", "1.2 gcm", "1.2 cbc", "1.0 cbc"}
	f.Add(uint8(0), []byte{10, 200, 3}, uint16(0), byte(0))
	f.Add(uint8(1), []byte{0, 0, 255, 7}, uint16(700), byte(1))
	f.Fuzz(func(t *testing.T, which uint8, cuts []byte, at uint16, flip byte) {
		c := list[names[int(which)%len(names)]]
		damaged := &talk{said: c.said}
		n := 0
		for _, p := range c.pieces {
			data := bytes.Clone(p.data)
			if k := int(at) - n; flip != 0 && 0 <= k && k < len(data) {
				data[k] ^= flip
			}
			n += len(data)
			damaged.pieces = append(damaged.pieces, piece{p.d, data})
		}
		p := newPlayed(t, damaged, c.store(), tls.DefaultLimits())
		i := 0
		p.play(damaged.pieces, func(left int) (int, bool) {
			if len(cuts) == 0 {
				return left, false
			}
			cut := cuts[i%len(cuts)]
			i++
			return min(left, 1+int(cut)*16), cut%16 == 3
		})
		if p.held != 0 {
			t.Errorf("%d bytes are still held", p.held)
		}
	})
}

// FuzzBytes: nothing that comes crashes or holds memory beyond the end.
func FuzzBytes(f *testing.F) {
	c := converse(f, stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, []byte("a"), []byte("b"))
	var sides [2][]byte
	for _, p := range c.pieces {
		sides[p.d] = append(sides[p.d], p.data...)
	}
	f.Add(sides[0], sides[1], uint8(0))
	f.Fuzz(func(t *testing.T, a, b []byte, size uint8) {
		for _, keys := range []*keylog.Store{nil, c.store()} {
			p := newPlayed(t, &talk{said: [2][]byte{[]byte("a"), []byte("b")}}, keys, tls.DefaultLimits())
			p.play([]piece{{proto.Originator, a}, {proto.Responder, b}}, func(n int) (int, bool) { return min(n, int(size)+1), false })
			if p.held != 0 {
				t.Errorf("%d bytes are still held", p.held)
			}
		}
	})
}

// BenchmarkBulk is how fast a long answer is decrypted.
func BenchmarkBulk(b *testing.B) {
	for _, c := range []struct {
		name    string
		version uint16
		suite   uint16
	}{{"1.3", stdtls.VersionTLS13, 0}, {"1.2-gcm", stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}} {
		b.Run(c.name, func(b *testing.B) {
			talk := converse(b, c.version, c.suite, []byte("get"), text(8<<20, 1))
			keys := talk.store()
			b.SetBytes(8 << 20)
			b.ReportAllocs()
			for b.Loop() {
				p := newPlayed(b, talk, keys, tls.DefaultLimits())
				p.unchecked = true
				p.play(talk.pieces, func(n int) (int, bool) { return min(n, 1448), false })
				if p.read[1] != 8<<20 {
					b.Fatal(fmt.Sprint(p.read, p.facts))
				}
			}
		})
	}
}
