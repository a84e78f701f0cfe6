package firehose

import (
	"fmt"
	"strings"
	"testing"
)

// sequence sequences fragments, and returns what happened: a line an event. It checks what holds for any events.
func sequence(t testing.TB, list []Fragment, l Limits) string {
	t.Helper()
	var b strings.Builder
	open := map[*Stream]bool{}
	q := NewSequencer(l, func(e *Event) error {
		s := e.Stream
		fmt.Fprintf(&b, "%.2s%c", s.UUID, s.Dir)
		if s.Nth > 0 {
			fmt.Fprintf(&b, "#%d", s.Nth)
		}
		is := open[s]
		switch e.Kind {
		case Begin, Resumed:
			if is {
				t.Fatalf("%s: it was open", &b)
			}
			open[s] = true
			b.WriteString([]string{Begin: " begins", Resumed: " is resumed"}[e.Kind])
		case Data:
			fmt.Fprintf(&b, " %d=%.10q", e.Count, e.Data)
		case Missing:
			fmt.Fprintf(&b, " %d: %d missing", e.Count, e.Missing)
		case Lost:
			fmt.Fprintf(&b, " %d: %d bytes lost", e.Count, e.Missing)
		case End:
			fmt.Fprintf(&b, " ends: %v", s.State)
			delete(open, s)
		case Closed:
			fmt.Fprintf(&b, " is closed (%s): %v", []string{EndOfInput: "at the end", Idle: "idle", TooMany: "too many"}[e.Why], s.State)
			delete(open, s)
		case Doubt:
			fmt.Fprintf(&b, " is in doubt: %v", s.State)
		}
		b.WriteByte('\n')
		if !is && e.Kind != Begin && e.Kind != Resumed && e.Kind != Doubt || is && e.Kind == Doubt {
			t.Fatalf("%s: at the wrong time", &b)
		}
		if len(open) > max(l.Streams, 1) && l.Streams > 0 {
			t.Fatalf("%d streams are open", len(open))
		}
		return nil
	})
	for i := range list {
		if err := q.Fragment(&list[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if len(open) > 0 || len(q.open) > 0 || q.held != 0 || q.oldest != nil || q.newest != nil {
		t.Fatalf("%d streams are open, %d bytes held", len(open), q.held)
	}
	return b.String()
}

// TestSequencer shows what happens with streams.
func TestSequencer(t *testing.T) {
	a, b, c := id(0xaa), id(0xbb), id(0xcc)
	at := func(time int64, f *Fragment) *Fragment { f.Time = time; return f }
	untrusted := func(f *Fragment) *Fragment { f.Untrusted = true; return f }
	cut := func(lost int, f *Fragment) *Fragment { f.Lost = lost; return f }
	nested := func(f *Fragment) *Fragment { f.Nested = true; return f }
	for _, test := range []struct {
		name   string
		limits Limits
		list   []*Fragment
		want   string
	}{
		{"complete", Limits{}, []*Fragment{data(a, Request, 0, "x"), data(a, Response, 0, "y"), data(a, Request, 1, "z"), end(a, Response, 1), end(a, Request, 2)},
			"aa< begins\naa< 0=\"x\"\naa> begins\naa> 0=\"y\"\naa< 1=\"z\"\naa> ends: complete\naa< ends: complete\n"},
		{"out of order", Limits{}, []*Fragment{data(a, Request, 1, "1"), data(a, Request, 0, "0"), data(a, Request, 4, "4"), data(a, Request, 3, "3"), data(a, Request, 2, "2"), end(a, Request, 5)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< 2=\"2\"\naa< 3=\"3\"\naa< 4=\"4\"\naa< ends: complete\n"},
		{"the end before the last", Limits{}, []*Fragment{data(a, Request, 0, "0"), end(a, Request, 2), data(a, Request, 1, "1")},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< ends: complete\n"},
		{"a gap", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 3, "3"), end(a, Request, 4)},
			"aa< begins\naa< 0=\"0\"\naa< 1: 2 missing\naa< 3=\"3\"\naa< ends: gap\n"},
		{"a gap is told once the window is full", Limits{Window: 2}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 2, "2"), data(a, Request, 3, "3"), data(a, Request, 4, "4"), data(a, Request, 1, "1"), data(a, Request, 5, "5")},
			"aa< begins\naa< 0=\"0\"\naa< 1: 1 missing\naa< 2=\"2\"\naa< 3=\"3\"\naa< 4=\"4\"\naa< 5=\"5\"\naa< is closed (at the end): gap, no end\n"},
		{"or once too much is held", Limits{Held: 5}, []*Fragment{data(a, Request, 1, "12345"), data(a, Request, 2, "6"), data(b, Request, 0, "x")},
			"aa< begins\naa< 0: 1 missing\naa< 1=\"12345\"\naa< 2=\"6\"\nbb< begins\nbb< 0=\"x\"\naa< is closed (at the end): no start, no end\nbb< is closed (at the end): no end\n"},
		{"or once time has passed", Limits{}, []*Fragment{at(1e6, data(a, Request, 0, "0")), at(2e6, data(a, Request, 2, "2")), at(5e6, data(b, Request, 0, "x")), at(5e6, data(a, Request, 3, "3"))},
			"aa< begins\naa< 0=\"0\"\naa< 1: 1 missing\naa< 2=\"2\"\nbb< begins\nbb< 0=\"x\"\naa< 3=\"3\"\naa< is closed (at the end): gap, no end\nbb< is closed (at the end): no end\n"},
		{"a gap before the end", Limits{}, []*Fragment{data(a, Request, 0, "0"), end(a, Request, 3)}, "aa< begins\naa< 0=\"0\"\naa< 1: 2 missing\naa< ends: gap\n"},
		{"no start", Limits{}, []*Fragment{data(a, Request, 5, "5"), end(a, Request, 6)}, "aa< begins\naa< 0: 5 missing\naa< 5=\"5\"\naa< ends: no start\n"},
		{"only an end", Limits{}, []*Fragment{end(a, Request, 5)}, "aa< begins\naa< 0: 5 missing\naa< ends: no start\n"},
		{"only an end, of nothing", Limits{}, []*Fragment{end(a, Request, 0)}, "aa< begins\naa< ends: complete\n"},
		{"no end", Limits{}, []*Fragment{data(a, Request, 0, "0")}, "aa< begins\naa< 0=\"0\"\naa< is closed (at the end): no end\n"},
		{"an end that counts fewer", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 1, "1"), end(a, Request, 1)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< ends: corrupt\n"},
		{"duplicates", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 0, "0"), data(a, Request, 2, "2"), data(a, Request, 2, "2"), data(a, Request, 1, "1"), data(a, Request, 1, "1"), end(a, Request, 3), end(a, Request, 3)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< 2=\"2\"\naa< ends: complete\n"},
		{"unequal duplicates", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 0, "x"), end(a, Request, 1)}, "aa< begins\naa< 0=\"0\"\naa< ends: corrupt\n"},
		{"unequal duplicates of what waits", Limits{}, []*Fragment{data(a, Request, 1, "1"), data(a, Request, 1, "x"), data(a, Request, 0, "0"), end(a, Request, 2)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< ends: corrupt\n"},
		{"all twice, one recording after the other", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 1, "1"), end(a, Request, 2), data(a, Request, 0, "0"), data(a, Request, 1, "1"), end(a, Request, 2)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< ends: complete\n"},
		{"a UUID used again", Limits{}, []*Fragment{data(a, Request, 0, "0"), end(a, Request, 1), at(0x660cf5287d8ff, data(a, Request, 0, "0")), data(a, Request, 1, "1"), end(a, Request, 2)},
			"aa< begins\naa< 0=\"0\"\naa< ends: complete\naa<#1 begins\naa<#1 0=\"0\"\naa<#1 1=\"1\"\naa<#1 ends: complete\n"},
		{"a place that can't be", Limits{}, []*Fragment{data(a, Request, 0, "0"), data(a, Request, 1<<40, "x"), data(a, Request, 1, "1"), data(a, Request, 2, "2"), end(a, Request, 3)},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\naa< 2=\"2\"\naa< ends: corrupt\n"},
		{"a place that can't be, and no end", Limits{}, []*Fragment{at(1e6, data(a, Request, 0, "0")), at(1e6, data(a, Request, 1<<40, "x")), at(1e6, data(a, Request, 1, "1")), at(5e6, data(b, Request, 0, "y")), at(5e6, data(a, Request, 2, "2"))},
			"aa< begins\naa< 0=\"0\"\naa< 1=\"1\"\nbb< begins\nbb< 0=\"y\"\naa< 2=\"2\"\naa< is closed (at the end): no end, corrupt\nbb< is closed (at the end): no end\n"},
		{"idle", Limits{Idle: 1e6}, []*Fragment{at(1e6, data(a, Request, 0, "0")), at(3e6, data(b, Request, 0, "x")), at(3.1e6, data(a, Request, 1, "1")), at(3.2e6, end(a, Request, 2)), at(3.3e6, end(b, Request, 1))},
			"aa< begins\naa< 0=\"0\"\naa< is closed (idle): no end\nbb< begins\nbb< 0=\"x\"\naa< is resumed\naa< 1=\"1\"\naa< ends: complete\nbb< ends: complete\n"},
		{"a jump of time makes nobody idle", Limits{Idle: 1e6}, []*Fragment{at(1e6, data(a, Request, 0, "0")), at(1e12, data(b, Request, 0, "x")), at(1e12, end(a, Request, 1)), at(1e12, end(b, Request, 1))},
			"aa< begins\naa< 0=\"0\"\nbb< begins\nbb< 0=\"x\"\naa< ends: complete\nbb< ends: complete\n"},
		{"too many", Limits{Streams: 2}, []*Fragment{data(a, Request, 0, "0"), data(b, Request, 0, "0"), data(a, Request, 1, "1"), data(c, Request, 0, "0"), end(a, Request, 2), end(b, Request, 1), end(c, Request, 1)},
			"aa< begins\naa< 0=\"0\"\nbb< begins\nbb< 0=\"0\"\naa< 1=\"1\"\nbb< is closed (too many): no end\ncc< begins\ncc< 0=\"0\"\naa< ends: complete\nbb< is resumed\nbb< ends: complete\ncc< ends: complete\n"},
		{"cut short", Limits{}, []*Fragment{cut(7, data(a, Request, 0, "0")), cut(9, data(a, Request, 1, "")), end(a, Request, 2)},
			"aa< begins\naa< 0=\"0\"\naa< 0: 7 bytes lost\naa< 1: 9 bytes lost\naa< ends: truncated\n"},
		{"untrusted", Limits{}, []*Fragment{data(a, Request, 0, "0"), untrusted(data(b, Request, 0, "x")), untrusted(data(a, Request, 0, "forged")), data(a, Request, 1, "1"), untrusted(end(a, Request, 1)), end(a, Request, 2), untrusted(data(a, Request, 0, "forged")), end(b, Request, 1)},
			"aa< begins\naa< 0=\"0\"\nbb< begins\nbb< 0=\"x\"\naa< 1=\"1\"\naa< ends: complete\nbb< ends: untrusted\n"},
		{"one that holds those that others miss", Limits{}, []*Fragment{nested(data(a, Request, 0, string(stream(data(b, Request, 0, "lost"))))), end(a, Request, 1), end(b, Request, 1)},
			"aa< begins\naa< 0=\"4 660cf528\"\naa< ends: complete\nbb< begins\nbb< 0: 1 missing\naa< is in doubt: corrupt\nbb< ends: no start\n"},
		{"one that holds copies of those that others have", Limits{}, []*Fragment{nested(data(a, Request, 0, string(stream(data(b, Request, 0, "lost"))))), end(a, Request, 1), data(b, Request, 0, "x"), end(b, Request, 1)},
			"aa< begins\naa< 0=\"4 660cf528\"\naa< ends: complete\nbb< begins\nbb< 0=\"x\"\nbb< ends: complete\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var list []Fragment
			for _, f := range test.list {
				list = append(list, *f)
			}
			if got := sequence(t, list, test.limits); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestWait: what is missing is awaited for some fragments of the file, whoever's they are.
func TestWait(t *testing.T) {
	list := []Fragment{*data(id(1), Request, 0, "0"), *data(id(1), Request, 2, "2")}
	for range maxWait + 2 {
		list = append(list, *end(id(2), Request, 0))
	}
	list = append(list, *data(id(1), Request, 1, "1"))
	for i := range list {
		list[i].Time = 1
	}
	if text := sequence(t, list, Limits{}); !strings.Contains(text, "01< 1: 1 missing\n01< 2=\"2\"") {
		t.Error(text)
	}
}

// TestRealStreams: of recordings that nothing disturbed, all streams are complete.
func TestRealStreams(t *testing.T) {
	for name, want := range map[string]int{"h25-a-conn-keepalive": 4, "h25-b-req-keepalive": 16, "h25-d-up-down": 2, "h24-k-h2-connection": 4, "h25-c-proxy-client-side": 4} {
		got := scanWhole(t, load(t, "real/"+name+"/stream.firehose"))
		text := sequence(t, got.fragments, Limits{})
		if n := strings.Count(text, "ends: complete"); n != want || strings.Contains(text, "missing") || strings.Contains(text, "closed") {
			t.Errorf("%s: %d streams, want %d", name, n, want)
		}
	}
}

// TestMemory: what is remembered of streams that are over is bounded.
func TestMemory(t *testing.T) {
	q := NewSequencer(Limits{}, func(*Event) error { return nil })
	for i := range 3 * maxPast {
		f := Fragment{UUID: UUID{byte(i), byte(i >> 8), byte(i >> 16)}, Dir: Request, Data: []byte("x")}
		if err := q.Fragment(&f); err != nil {
			t.Fatal(err)
		}
		f.End, f.Count = true, 1
		if err := q.Fragment(&f); err != nil {
			t.Fatal(err)
		}
	}
	if len(q.past) > maxPast || len(q.pastOrder) > maxPast || len(q.open) > 0 || len(q.waiting) > 0 {
		t.Errorf("%d streams of the past, %d open, %d waiting", len(q.past), len(q.open), len(q.waiting))
	}
}
