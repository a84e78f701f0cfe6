package firehose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// id makes a UUID that a test can recognise.
func id(b byte) (u UUID) {
	for i := range u {
		u[i] = b
	}
	return u
}

// data makes a fragment, end an end.
func data(u UUID, d Dir, count uint64, text string) *Fragment {
	return &Fragment{UUID: u, Dir: d, Time: 0x660cf5287d8f1 + int64(count), Count: count, Data: []byte(text)}
}

func end(u UUID, d Dir, count uint64) *Fragment {
	return &Fragment{UUID: u, Dir: d, Time: 0x660cf5287d8f1 + int64(count), Count: count, End: true}
}

// stream writes fragments.
func stream(list ...*Fragment) (b []byte) {
	for _, f := range list {
		b = f.Append(b)
	}
	return b
}

// brief says what a scan has found, in short: UUID's first digits, direction, count, data, and what is wrong.
func (a *scanned) brief() string {
	var b strings.Builder
	for i := range a.fragments {
		f := &a.fragments[i]
		fmt.Fprintf(&b, "%.2s%c%d", f.UUID, f.Dir, f.Count)
		if !f.End {
			fmt.Fprintf(&b, "=%.20q", f.Data)
		}
		if f.Lost > 0 {
			fmt.Fprintf(&b, " lost %d", f.Lost)
		}
		if f.Untrusted {
			b.WriteString(" untrusted")
		}
		if f.Damaged {
			b.WriteString(" damaged")
		}
		b.WriteByte('\n')
	}
	for _, d := range a.damages {
		fmt.Fprintf(&b, "%d+%d %s", d.Offset, d.Bytes, d.Kind)
		if d.Of {
			fmt.Fprintf(&b, ": %.2s%c", d.UUID, d.Dir)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// intact are the edited recordings that are as mod_firehose might write them.
func intact(name string) bool {
	if strings.HasSuffix(name, "/stream.firehose") {
		return !strings.Contains(name, "disk-full")
	}
	number, _, _ := strings.Cut(filepath.Base(name), "-")
	return !slices.Contains([]string{"01", "03", "04", "12", "13", "15", "16", "18", "19", "21", "22", "24", "25", "31", "73"}, number)
}

// TestRoundTrip: what is read from a recording and written again is the recording, byte for byte.
func TestRoundTrip(t *testing.T) {
	n := 0
	for _, name := range samples(t) {
		if !intact(name) {
			continue
		}
		b := load(t, name)
		got := scanWhole(t, b)
		var again []byte
		for i := range got.fragments {
			again = got.fragments[i].Append(again)
		}
		if !bytes.Equal(again, b) || len(got.damages) > 0 || got.totals.Untrusted > 0 {
			t.Errorf("%s: %d bytes, read and written %d; %+v", name, len(b), len(again), got.damages)
		}
		n++
	}
	if n < 30 {
		t.Errorf("only %d recordings", n)
	}
}

// TestSplits: what is found doesn't depend on how a stream is cut into pieces, nor on whether a Reader reads it.
func TestSplits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range samples(t) {
		b := load(t, name)
		if len(b) > 200_000 {
			b = b[:200_000]
		}
		want := scanWhole(t, b)
		for _, way := range []struct {
			name string
			cut  func() int
		}{{"bytes", func() int { return 1 }}, {"pieces", func() int { return 1 + random.IntN(3000) }}, {"blocks", func() int { return 4096 }}} {
			if got := scan(t, b, way.cut); !got.equal(&want) {
				t.Errorf("%s in %s:\n%s\nwant\n%s", name, way.name, got.brief(), want.brief())
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.HalfReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			if got := read(t, r); !got.equal(&want) {
				t.Errorf("%s with a Reader:\n%s\nwant\n%s", name, got.brief(), want.brief())
			}
		}
	}
}

// TestPrefixes: a stream that ends anywhere has the fragments that were whole until there, and of the last one what there is of it.
func TestPrefixes(t *testing.T) {
	b := load(t, "edited/00-base.firehose")
	whole := scanWhole(t, b)
	for n := range b {
		got := scanWhole(t, b[:n])
		for i := range got.fragments {
			f, w := &got.fragments[i], &whole.fragments[i]
			if i < len(got.fragments)-1 && !bytes.Equal(f.Data, w.Data) || !bytes.HasPrefix(w.Data, f.Data) || len(f.Data)+f.Lost != len(w.Data) || f.Untrusted || f.Damaged {
				t.Fatalf("%d bytes: fragment %d is %+v, want %+v", n, i, f, w)
			}
		}
		i := len(got.fragments)
		if i < len(whole.fragments) && whole.fragments[i].Offset+int64(len(whole.fragments[i].Append(nil))) <= int64(n) {
			t.Fatalf("%d bytes: only %d fragments", n, i)
		}
	}
}

// TestCutAnywhere: a fragment that is cut short, wherever, and followed by the next one is noticed, and doesn't swallow others unnoticed: they
// are found, but for those behind whose line ends the cut one seems to end properly. Then it is its stream that is said to be corrupt.
func TestCutAnywhere(t *testing.T) {
	for _, name := range []string{"real/h25-a-conn-keepalive/stream.firehose", "edited/63-two-recordings-cat.firehose", "real/h25-b-req-keepalive/stream.firehose"} {
		b := load(t, name)
		whole := scanWhole(t, b)
		cuts, swallowed := 0, 0
		for i, f := range whole.fragments[:len(whole.fragments)-1] {
			if f.End {
				continue
			}
			next := int(whole.fragments[i+1].Offset)
			first := next - len(crlf) - len(f.Data)
			for at := first; at < next; at++ {
				got := scanWhole(t, slices.Concat(b[:at], b[next:]))
				cuts++
				state := map[half]State{}
				q := NewSequencer(Limits{}, func(e *Event) error { state[e.Stream.half()] = e.Stream.State; return nil })
				for j := range got.fragments {
					if err := q.Fragment(&got.fragments[j]); err != nil {
						t.Fatal(err)
					}
				}
				if err := q.Close(); err != nil {
					t.Fatal(err)
				}
				want := Cut
				if len(got.fragments) != len(whole.fragments) {
					swallowed++
					want = Corrupt
				} else if at >= first+len(f.Data) {
					want = Complete // only its line end is missing
				}
				if s := state[half{f.UUID, f.Dir}]; s&want != want || len(got.fragments) == len(whole.fragments) && got.fragments[i].Lost != max(0, len(f.Data)-at+first) {
					t.Fatalf("%s: fragment %d, cut at %d of %d: %v, want %v\n%s", name, i, at-first, len(f.Data), s, want, got.brief())
				}
				for j := range got.fragments {
					if k := slices.IndexFunc(whole.fragments, func(w Fragment) bool { return w.header().same(got.fragments[j].header()) }); k < 0 ||
						k != i && !bytes.Equal(whole.fragments[k].Data, got.fragments[j].Data) {
						t.Fatalf("%s: fragment %d, cut at %d of %d: %+v is no fragment", name, i, at-first, len(f.Data), got.fragments[j])
					}
				}
			}
		}
		t.Logf("%s: %d cuts, in %d of them fragments were swallowed", name, cuts, swallowed)
		if swallowed > cuts/70 {
			t.Errorf("%s: %d of %d cuts swallow fragments", name, swallowed, cuts)
		}
	}
}

// same compares whose fragments they are.
func (f fixed) same(g fixed) bool {
	return f.uuid == g.uuid && f.dir == g.dir && f.count == g.count && f.time == g.time && f.end == g.end
}

// TestScanner shows what becomes of each kind of damage.
func TestScanner(t *testing.T) {
	a, b, c, d := id(0xaa), id(0xbb), id(0xcc), id(0xdd)
	text := strings.Repeat("x", 300)
	forged := string(stream(data(d, Request, 0, "forged 0"), data(d, Request, 1, "forged 1"), end(d, Request, 2)))
	join := func(list ...any) []byte {
		var b []byte
		for _, x := range list {
			switch x := x.(type) {
			case *Fragment:
				b = x.Append(b)
			case string:
				b = append(b, x...)
			}
		}
		return b
	}
	// without is a fragment that lacks its last bytes.
	without := func(n int, f *Fragment) string {
		b := f.Append(nil)
		return string(b[:len(b)-n])
	}
	for _, test := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, ""},
		{"in step", join(data(a, Request, 0, "x"), end(a, Request, 1)), "aa<0=\"x\"\naa<1\n"},
		{"a line end behind ends", join(end(a, Request, 1), "\r\n", data(b, Request, 0, "x"), end(b, Request, 1), "\r\n"), "aa<1\nbb<0=\"x\"\nbb<1\n"},
		{"half a line end behind an end", join(end(a, Request, 1), "\r"), "aa<1\n58+1 the stream ends within a fragment\n"},
		{"two line ends behind an end", join(data(a, Request, 0, "x"), end(a, Request, 1), "\r\n\r\n", data(b, Request, 0, "x"), data(b, Request, 1, "y")),
			"aa<0=\"x\"\naa<1\nbb<0=\"x\" untrusted\nbb<1=\"y\" untrusted\n121+2 bytes that are no fragment\n"},
		{"junk before one that is known", join(data(a, Request, 0, "x"), "junk", data(a, Request, 1, "y"), data(b, Request, 0, "z")),
			"aa<0=\"x\"\naa<1=\"y\"\nbb<0=\"z\"\n61+4 bytes that are no fragment\n"},
		{"junk before the other direction of one that is known", join(data(a, Request, 0, "x"), "junk", data(a, Response, 3, "y")),
			"aa<0=\"x\"\naa>3=\"y\"\n61+4 bytes that are no fragment\n"},
		{"junk that ends with digits", join(data(a, Request, 0, "x"), "junk1", data(a, Request, 1, "y"), data(b, Request, 0, "z")),
			"aa<0=\"x\"\naa<1=\"y\"\nbb<0=\"z\"\n61+5 bytes that are no fragment\n"},
		{"junk that ends with digits, and an end", join(data(a, Request, 0, "x"), "junk1", end(a, Request, 1), data(b, Request, 0, "z")),
			"aa<0=\"x\"\naa<1\nbb<0=\"z\"\n61+5 bytes that are no fragment\n"},
		{"junk before what isn't known", join(data(a, Request, 0, "x"), "junk", data(b, Request, 0, "y"), data(c, Request, 0, "z"), data(a, Request, 1, "x"), data(b, Request, 1, "y")),
			"aa<0=\"x\"\nbb<0=\"y\" untrusted\ncc<0=\"z\" untrusted\naa<1=\"x\"\nbb<1=\"y\"\n61+4 bytes that are no fragment\n"},
		{"junk alone", []byte("junk\r\njunk\r\n"), "0+12 bytes that are no fragment\n"},
		{"a begin within a fragment", join("cdef\r\n", data(a, Request, 7, "x"), data(b, Request, 0, "y")),
			"aa<7=\"x\" untrusted\nbb<0=\"y\" untrusted\n0+6 bytes that are no fragment\n"},
		{"in step, data that look like fragments", join(data(a, Request, 0, forged), data(a, Request, 1, "\r\n"+forged), end(a, Request, 2)),
			fmt.Sprintf("aa<0=%.20q\naa<1=%.20q\naa<2\n", forged, "\r\n"+forged)},
		{"in step, data that go on with their own stream", join(data(a, Request, 0, string(stream(data(a, Request, 1, "forged")))), data(a, Request, 1, "x")),
			"aa<0=\"6 660cf5287d8f2 < aa\"\naa<1=\"x\"\n"},
		{"cut short", join(data(a, Request, 0, "x"), without(200, data(b, Request, 0, text)), data(a, Request, 1, "y"), data(c, Request, 0, "z"), end(a, Request, 2), data(a, Response, 0, text)),
			"aa<0=\"x\"\nbb<0=\"xxxxxxxxxxxxxxxxxxxx\" lost 198\naa<1=\"y\"\ncc<0=\"z\"\naa<2\naa>0=\"xxxxxxxxxxxxxxxxxxxx\"\n223+0 a fragment cut short: bb<\n"},
		{"cut short, and nothing known follows", join(without(200, data(b, Request, 0, text)), data(c, Request, 0, "z"), data(c, Request, 1, text)),
			"bb<0=\"xxxxxxxxxxxxxxxxxxxx\" lost 198\ncc<0=\"z\" untrusted\ncc<1=\"xxxxxxxxxxxxxxxxxxxx\" untrusted\n162+0 a fragment cut short: bb<\n"},
		{"two cut short", join(data(a, Request, 0, "x"), without(200, data(b, Request, 0, text)), without(100, data(a, Request, 1, text)), data(b, Request, 1, "z"), end(a, Request, 2), data(a, Response, 0, text)),
			"aa<0=\"x\"\nbb<0=\"xxxxxxxxxxxxxxxxxxxx\" lost 198\naa<1=\"xxxxxxxxxxxxxxxxxxxx\" lost 98\nbb<1=\"z\"\naa<2\naa>0=\"xxxxxxxxxxxxxxxxxxxx\"\n223+0 a fragment cut short: bb<\n485+0 a fragment cut short: aa<\n"},
		{"cut short behind forged fragments", join(data(a, Request, 0, "x"), without(200, data(b, Request, 0, forged+text)), data(a, Request, 1, "y"), data(b, Request, 1, text)),
			"aa<0=\"x\"\nbb<0=\"8 660cf5287d8f1 < dd\" lost 198\naa<1=\"y\"\nbb<1=\"xxxxxxxxxxxxxxxxxxxx\"\n417+0 a fragment cut short: bb<\n"},
		{"cut short, and it holds a copy of what was there", join(data(a, Request, 0, "x"), data(a, Request, 1, "y"),
			without(200, data(b, Request, 0, string(stream(data(a, Request, 0, "x"), data(a, Request, 1, "y")))+text)), data(a, Request, 2, "z"), data(b, Request, 1, text)),
			"aa<0=\"x\"\naa<1=\"y\"\nbb<0=\"1 660cf5287d8f1 < aa\" lost 198\naa<2=\"z\"\nbb<1=\"xxxxxxxxxxxxxxxxxxxx\"\n406+0 a fragment cut short: bb<\n"},
		{"without its line end", join(data(a, Request, 0, "x"), without(2, data(b, Request, 0, text)), data(a, Request, 1, "y")),
			"aa<0=\"x\"\nbb<0=\"xxxxxxxxxxxxxxxxxxxx\"\naa<1=\"y\"\n421+0 a fragment without its line end: bb<\n"},
		{"without its line end, with forged fragments", join(data(a, Request, 0, "x"), without(2, data(b, Request, 0, text+forged)), data(a, Request, 1, "y")),
			"aa<0=\"x\"\nbb<0=\"xxxxxxxxxxxxxxxxxxxx\"\naa<1=\"y\"\n615+0 a fragment without its line end: bb<\n"},
		{"with a length too small", join(data(a, Request, 0, "x"), strings.Replace(without(0, data(b, Request, 0, text)), "12c ", "2c ", 1), data(a, Request, 1, "y")),
			"aa<0=\"x\"\nbb<0=\"xxxxxxxxxxxxxxxxxxxx\" damaged\naa<1=\"y\"\n164+258 a fragment cut short: bb<\n"},
		{"with a length too large", join(data(a, Request, 0, "x"), "fffffff"+without(0, data(b, Request, 0, "y")), data(a, Request, 1, "z")),
			// What isn't digits of the length is left out.
			"aa<0=\"x\"\nbb<0=\"y\" untrusted\naa<1=\"z\"\n61+7 a fragment too long to be one\n"},
		{"with a length of 64 bits", join(data(a, Request, 0, "x"), strings.Repeat("f", 15)+without(0, data(b, Request, 0, "y")), data(a, Request, 1, "z")),
			"aa<0=\"x\"\nbb<0=\"y\" untrusted\naa<1=\"z\"\n61+15 a fragment too long to be one\n"},
		{"truncated in the header", join(data(a, Request, 0, "x"), without(40, data(a, Request, 1, "x"))), "aa<0=\"x\"\n61+21 the stream ends within a fragment\n"},
		{"truncated in the data", join(data(a, Request, 0, text), without(40, data(a, Request, 1, text))),
			"aa<0=\"xxxxxxxxxxxxxxxxxxxx\"\naa<1=\"xxxxxxxxxxxxxxxxxxxx\" lost 38\n684+0 the stream ends within a fragment: aa<\n"},
		{"truncated before the line end", join(data(a, Request, 0, text), without(2, data(a, Request, 1, text))),
			"aa<0=\"xxxxxxxxxxxxxxxxxxxx\"\naa<1=\"xxxxxxxxxxxxxxxxxxxx\"\n722+0 the stream ends within a fragment: aa<\n"},
		{"truncated in the line end", join(data(a, Request, 0, text), without(1, data(a, Request, 1, text))),
			"aa<0=\"xxxxxxxxxxxxxxxxxxxx\"\naa<1=\"xxxxxxxxxxxxxxxxxxxx\"\n722+1 the stream ends within a fragment: aa<\n"},
		{"a forged chain behind a broken header", join(data(a, Request, 0, "x"), "?", data(b, Request, 0, forged+text), data(a, Request, 1, "y"), data(c, Request, 0, "z")),
			// The fragment itself begins before what is within it.
			fmt.Sprintf("aa<0=\"x\"\nbb<0=%.20q untrusted\naa<1=\"y\"\ncc<0=\"z\"\n61+1 bytes that are no fragment\n", forged)},
		{"a forged chain behind a header that is gone", join(data(a, Request, 0, "x"), "? < \r\n"+forged+text+"\r\n", data(a, Request, 1, "y"), data(c, Request, 0, "z")),
			"aa<0=\"x\"\naa<1=\"y\"\ncc<0=\"z\"\n61+502 bytes that are no fragment\n"},
		{"a time that can't be", join(data(a, Request, 0, "x"), "junk", strings.Replace(without(0, data(b, Request, 0, "y")), "660cf", "60cf", 1), data(a, Request, 1, "z")),
			"aa<0=\"x\"\naa<1=\"z\"\n61+64 bytes that are no fragment\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := scanWhole(t, test.b)
			if got := want.brief(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if got := scan(t, test.b, func() int { return 1 }); !got.equal(&want) {
				t.Errorf("byte by byte:\n%s", got.brief())
			}
			if n := reconciled(&want); n != int64(len(test.b)) {
				t.Errorf("%d bytes are accounted for, of %d", n, len(test.b))
			}
		})
	}
}

// reconciled returns how many bytes the fragments and damages of a scan are.
func reconciled(a *scanned) (n int64) {
	for i := range a.fragments {
		f := &a.fragments[i]
		whole := Fragment{UUID: f.UUID, Dir: f.Dir, Time: f.Time, Count: f.Count, End: f.End, Data: append(slices.Clone(f.Data), make([]byte, f.Lost)...)}
		n += int64(len(whole.Append(nil)) - f.Lost)
		if f.Lost > 0 || f.Damaged {
			n -= int64(len(crlf))
		}
	}
	for _, d := range a.damages {
		n += d.Bytes
		if d.Kind == Junk && d.Of { // the fragment has its line end
			n += int64(len(crlf))
		}
		if d.Kind == NoLineEnd || d.Kind == Truncated && d.Of && a.fragments[len(a.fragments)-1].Lost == 0 {
			n -= int64(len(crlf))
		}
	}
	return n + int64(len(crlf))*int64(a.totals.LineEnds)
}

// TestTrust: what comes behind damage, and that nothing known goes on with, is trusted when it can't be within another fragment any more.
func TestTrust(t *testing.T) {
	b := []byte("junk")
	for i := range uint64(100) {
		b = data(id(1), Request, i, strings.Repeat("x", 1000)).Append(b)
	}
	got := scanWhole(t, b)
	first := slices.IndexFunc(got.fragments, func(f Fragment) bool { return !f.Untrusted })
	if len(got.fragments) != 100 || first != 62 { // 62 of 1,062 bytes are 64 KiB
		t.Errorf("%d fragments, trusted from %d on", len(got.fragments), first)
	}
	// A chain as long as that that ends isn't one of fragments.
	b = b[4:]
	b = data(id(2), Request, 0, "x").Append([]byte("junk" + string(b[:50_000]) + "junk"))
	if got := scanWhole(t, b); len(got.fragments) != 1 || got.fragments[0].UUID != id(2) {
		t.Errorf("%s", got.brief())
	}
}

// TestHeader: the numbers of a header have bounds.
func TestHeader(t *testing.T) {
	const uuid = " < 7596c94f-5cda-4018-8362-14d7ab616d14 "
	zeros := strings.Repeat("0", MaxHeader)
	for text, want := range map[string]reading{
		"1 1" + uuid + "1\r\n": readWhole,
		"ffffffffffffffff 7fffffffffffffff" + uuid + "10000000000\r\n": readWhole,
		"1 1" + uuid + "10000000001\r\n":                               readBad,
		"00ffffffffffffffff 1" + uuid + "1\r\n":                        readWhole,
		"1ffffffffffffffff 1" + uuid + "1\r\n":                         readBad,
		"1 8000000000000000" + uuid + "1\r\n":                          readBad,
		"1 1" + uuid + "1ffffffffffffffff\r\n":                         readBad,
		zeros + "1 1" + uuid + "1\r\n":                                 readBad,
		zeros[:100] + "1 1" + uuid + zeros[:100] + "1\r\n":             readWhole,
		zeros[:100] + "1 1" + uuid + zeros[:120] + "1\r\n":             readBad,
		zeros:                   readBad,
		zeros[:100]:             readShort,
		"1 1" + uuid + "1\r":    readShort,
		"1 1" + uuid + "1":      readShort,
		"1 1" + uuid + "\r\n":   readBad,
		"1 1" + uuid + "1 \r\n": readBad,
		"1  1" + uuid + "1\r\n": readBad,
		"1 1 =":                 readBad,
		"g":                     readBad,
		"":                      readShort,
	} {
		var h header
		if got := h.parse([]byte(text)); got != want {
			t.Errorf("%.150q: %v, want %v", text, got, want)
		}
	}
}

// TestKnown: only what goes on with a conversation does.
func TestKnown(t *testing.T) {
	var k known
	a, b := id(1), id(2)
	k.take(&header{uuid: a, dir: Request, count: 4, length: 1})
	k.take(&header{uuid: b, dir: Request, count: 4})
	for h, want := range map[header]bool{
		{uuid: a, dir: Request, count: 5}: true, {uuid: a, dir: Request, count: 50}: true, {uuid: a, dir: Request, count: 4}: false, {uuid: a, dir: Response, count: 3}: true,
		{uuid: b, dir: Request, count: 5}: false, {uuid: b, dir: Response}: true, {uuid: id(3), dir: Request}: false,
	} {
		if k.continues(&h) != want {
			t.Errorf("%+v: want %v", h, want)
		}
	}
	for i := range 3 * maxKnown {
		k.take(&header{uuid: UUID{byte(i), byte(i >> 8), byte(i >> 16), 1}, dir: Request, length: 1})
	}
	if len(k.recent) > maxKnown || len(k.earlier) > maxKnown || k.continues(&header{uuid: a, dir: Request, count: 5}) {
		t.Errorf("%d and %d are known", len(k.recent), len(k.earlier))
	}
}

// TestLooks: a file is taken for a firehose stream by its first fragment.
func TestLooks(t *testing.T) {
	whole := string(stream(data(id(1), Request, 0, strings.Repeat("x", 300)), end(id(1), Request, 1)))
	for text, want := range map[string]bool{
		"": false, whole: true, whole[:59]: false, whole[:60]: true, whole[:100]: true, whole[:363]: true, "x" + whole: false, strings.ToUpper(whole): true,
		"GET / HTTP/1.1\r\n\r\n":                false,
		strings.Replace(whole, "12c", "12b", 1): false, // no line end behind the data
		string(stream(end(id(1), Request, 1))):  true,
	} {
		if Looks([]byte(text)) != want {
			t.Errorf("%.100q: want %v", text, want)
		}
	}
}

// TestWithin: a stream is known by a later fragment, too, if something is wrong with the first.
func TestWithin(t *testing.T) {
	first := string(data(id(1), Request, 0, strings.Repeat("x", 300)).Append(nil))
	rest := string(stream(data(id(2), Response, 0, "hello"), end(id(2), Response, 1)))
	cut := first[:200]
	for text, want := range map[string]bool{
		"": false, first + rest: true, cut + rest: true, first[100:] + rest: true, "x" + rest: true, "12" + rest: true, strings.Repeat("\r\n", 500) + rest: true,
		first[:50]: false, first[80:]: false, "x" + strings.ToUpper(rest): false, // written by nobody
		strings.ReplaceAll("x"+rest, "\r\n", "\n"):         false, // text that shows one
		strings.Replace("x"+rest, "hello", "hell", 1)[:80]: false, // no line end behind the data
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                false,
	} {
		if Within([]byte(text)) != want {
			t.Errorf("%.400q: want %v", text, want)
		}
	}
}

// TestReader: fragments are given out as soon as they are there, whatever comes later.
func TestReader(t *testing.T) {
	r, w := io.Pipe()
	in := NewReader(r)
	idle := 0
	in.Idle = func() error { idle++; return nil }
	go func() {
		w.Write(data(id(1), Request, 0, "x").Append(nil))
		w.Write(end(id(1), Request, 1).Append(nil))
		w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	var f Fragment
	if err := in.Next(&f); err != nil || string(f.Data) != "x" || idle != 1 {
		t.Fatalf("%+v, %v after %d waits", f, err, idle)
	}
	if err := in.Next(&f); err != nil || !f.End || idle != 2 {
		t.Fatalf("%+v, %v after %d waits", f, err, idle)
	}
	if err := in.Next(&f); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "byte 119") {
		t.Fatalf("%+v, %v", f, err)
	}
	in = NewReader(iotest.ErrReader(nil))
	if err := in.Next(&f); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

// TestReaderMemory: a length that is only claimed takes no memory.
func TestReaderMemory(t *testing.T) {
	in := NewReader(strings.NewReader("ffffff" + string(data(id(1), Request, 0, "x").Append(nil)[1:])))
	var f Fragment
	if err := in.Next(&f); err != nil || f.Lost == 0 || len(in.buf) > readSize {
		t.Errorf("%v, %d bytes", err, len(in.buf))
	}
}

// TestManyDamages: they are kept until they are taken, but not without bound.
func TestManyDamages(t *testing.T) {
	var s Scanner
	b := data(id(1), Request, 0, "x").Append(nil)
	for i := range uint64(MaxDamages + 10) {
		b = data(id(1), Request, i+1, "x").Append(append(b, "junk"...))
	}
	for at, found := 0, true; found; {
		var f Fragment
		var n int
		n, found = s.Scan(b[at:], true, &f)
		at += n
	}
	if got := s.Totals(); got.Damages != MaxDamages+10 || got.Unlisted != 10 || got.Skipped != 4*(MaxDamages+10) || len(s.Damages()) != MaxDamages || len(s.Damages()) != 0 {
		t.Errorf("%+v", got)
	}
}

// random makes a stream whose data hold whole fragments, also of its own conversations.
func random(r *rand.Rand, depth int) (b []byte, list []Fragment) {
	counts := map[half]uint64{}
	for range 1 + r.IntN(12) {
		f := Fragment{UUID: id(byte(r.IntN(3))), Dir: Request, Time: 1_700_000_000_000_000 + r.Int64N(1e9), Offset: int64(len(b))}
		if r.IntN(2) == 0 {
			f.Dir = Response
		}
		key := half{f.UUID, f.Dir}
		f.Count = counts[key]
		counts[key]++
		switch n := r.IntN(8); {
		case n == 0:
			f.End = true
			delete(counts, key)
		case n < 5 && depth > 0:
			f.Data, _ = random(r, depth-1)
			if r.IntN(2) == 0 {
				f.Data = f.Data[:1+r.IntN(len(f.Data))]
			}
			if r.IntN(2) == 0 { // what really comes next
				f.Data = append(f.Data, data(f.UUID, f.Dir, f.Count+1, "forged").Append(nil)...)
			}
		default:
			f.Data = bytes.Repeat([]byte("x\r\n0 "), 1+r.IntN(20))
		}
		b = f.Append(b)
		list = append(list, f)
	}
	return b, list
}

// FuzzForged: in step, exactly the outer fragments come out, whatever their data hold, and however the stream is cut into pieces.
func FuzzForged(f *testing.F) {
	for i := range uint64(50) {
		f.Add(i, i)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		stream, list := random(r, 2)
		for _, cut := range []func() int{func() int { return len(stream) }, func() int { return 1 + r.IntN(200) }} {
			got := scan(t, stream, cut)
			if len(got.damages) > 0 || !slices.EqualFunc(got.fragments, list, func(x, y Fragment) bool {
				return bytes.Equal(x.Data, y.Data) && x.UUID == y.UUID && x.Dir == y.Dir && x.Time == y.Time && x.Count == y.Count && x.End == y.End &&
					x.Offset == y.Offset && !x.Untrusted && x.Lost == 0 && !x.Damaged
			}) {
				t.Fatalf("%q:\n%s", stream, got.brief())
			}
		}
	})
}

// FuzzScanner: whatever the bytes are, nothing panics, every byte is accounted for, what is found doesn't depend on how they are cut into
// pieces, and the streams that a Sequencer makes of it end, each once.
func FuzzScanner(f *testing.F) {
	whole := stream(data(id(1), Request, 0, "GET / HTTP/1.1\r\n"), data(id(1), Response, 0, "x"), data(id(1), Request, 1, "\r\n"), end(id(1), Request, 2), end(id(1), Response, 1))
	f.Add(whole, uint64(0))
	f.Add(append([]byte("junk"), whole...), uint64(1))
	f.Add(slices.Concat(whole[:20], whole[70:]), uint64(2))
	f.Add(slices.Concat(whole[:70], whole[20:], whole), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		want := scanWhole(t, b)
		if got := scan(t, b, func() int { return 1 + r.IntN(40) }); !got.equal(&want) {
			t.Fatalf("in pieces:\n%s\nwhole:\n%s", got.brief(), want.brief())
		}
		if want.totals.Bytes != int64(len(b)) {
			t.Fatalf("%d bytes of %d", want.totals.Bytes, len(b))
		}
		if want.totals.Loose == 0 && reconciled(&want) != int64(len(b)) {
			t.Fatalf("%d bytes are accounted for, of %d:\n%s", reconciled(&want), len(b), want.brief())
		}
		sequence(t, want.fragments, Limits{Streams: 3, Window: 4, Held: 1000, Idle: 1000})
	})
}

// FuzzDamaged: what holds for any bytes holds for streams that were damaged: with bytes cut out, put in, changed, or moved.
func FuzzDamaged(f *testing.F) {
	for i := range uint64(200) {
		f.Add(i, i)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		stream, _ := random(r, 2)
		for range 1 + r.IntN(4) {
			from := r.IntN(len(stream) + 1)
			to := min(len(stream), from+r.IntN(200))
			switch r.IntN(4) {
			case 0:
				stream = slices.Concat(stream[:from], stream[to:])
			case 1:
				stream = slices.Concat(stream[:to], stream[from:])
			case 2:
				stream = slices.Concat(stream[:from], []byte("0f1 \r\n<>-x")[:r.IntN(11)], stream[from:])
			default:
				if from < len(stream) {
					stream[from] = "0f1 \r\n<>-x"[r.IntN(10)]
				}
			}
		}
		want := scanWhole(t, stream)
		if got := scan(t, stream, func() int { return 1 + r.IntN(100) }); !got.equal(&want) {
			t.Fatalf("%q in pieces:\n%s\nwhole:\n%s", stream, got.brief(), want.brief())
		}
		if want.totals.Loose == 0 && reconciled(&want) != int64(len(stream)) {
			t.Fatalf("%q: %d bytes are accounted for, of %d:\n%s", stream, reconciled(&want), len(stream), want.brief())
		}
		sequence(t, want.fragments, Limits{Streams: 3, Window: 4, Held: 1000, Idle: 1000})
	})
}

func BenchmarkScanner(b *testing.B) {
	for _, size := range []int{25, 4003} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var in []byte
			for i := uint64(0); len(in) < 4<<20; i++ {
				in = data(id(byte(i%7)), Request, i/7, strings.Repeat("x", size)).Append(in)
			}
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				r := NewReader(bytes.NewReader(in))
				q := NewSequencer(Limits{}, func(*Event) error { return nil })
				var f Fragment
				for r.Next(&f) == nil {
					if err := q.Fragment(&f); err != nil {
						b.Fatal(err)
					}
				}
				if q.Totals().Missing+q.Totals().Duplicates > 0 {
					b.Fatal(q.Totals())
				}
			}
		})
	}
}
