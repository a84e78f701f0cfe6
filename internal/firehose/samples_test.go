package firehose

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// shared returns the folder of the recordings, which CULPRIT_SHARED has.
func shared(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CULPRIT_SHARED")
	if dir == "" {
		t.Skip("CULPRIT_SHARED isn't set: the recordings of httpd are in its folder firehose")
	}
	return filepath.Join(dir, "firehose")
}

// samples returns the recordings of httpd, and those that were edited.
func samples(t testing.TB) (names []string) {
	t.Helper()
	dir := shared(t)
	for _, pattern := range []string{"real/*/stream.firehose", "edited/*.firehose"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		names = append(names, found...)
	}
	return names
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(shared(t), name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scanned is what a Scanner makes of a stream.
type scanned struct {
	fragments []Fragment
	damages   []Damage
	totals    Totals
}

// scan scans a stream in pieces, which cut says the lengths of, in turn.
func scan(t testing.TB, b []byte, cut func() int) (got scanned) {
	t.Helper()
	var s Scanner
	for from, to := 0, 0; ; {
		var f Fragment
		last := to == len(b)
		n, found := s.Scan(b[from:to:to], last, &f)
		if n < 0 || from+n > to {
			t.Fatalf("done with %d of %d bytes", n, to-from)
		}
		if to-from-n > s.MaxNeed() {
			t.Fatalf("%d bytes are wanted, and MaxNeed is %d", to-from-n, s.MaxNeed())
		}
		from += n
		got.damages = append(got.damages, s.Damages()...)
		switch {
		case found:
			f.Data = slices.Clone(f.Data)
			got.fragments = append(got.fragments, f)
		case last:
			if from != to {
				t.Fatalf("%d bytes are left at the end", to-from)
			}
			got.totals = s.Totals()
			return got
		default:
			to = min(len(b), to+cut())
		}
	}
}

func scanWhole(t testing.TB, b []byte) scanned {
	t.Helper()
	return scan(t, b, func() int { return len(b) })
}

// equal compares what two scans have found.
func (a *scanned) equal(b *scanned) bool {
	return slices.EqualFunc(a.fragments, b.fragments, func(x, y Fragment) bool {
		same := bytes.Equal(x.Data, y.Data)
		x.Data, y.Data = nil, nil
		return same && x.header() == y.header()
	}) && slices.Equal(a.damages, b.damages) && a.totals == b.totals
}

// fixed is a fragment without its data.
type fixed struct {
	uuid                        UUID
	dir                         Dir
	time, offset                int64
	count                       uint64
	lost                        int
	end, untrusted, damaged, in bool
}

func (f *Fragment) header() fixed {
	return fixed{f.UUID, f.Dir, f.Time, f.Offset, f.Count, f.Lost, f.End, f.Untrusted, f.Damaged, f.Nested}
}

// read reads a stream with a Reader.
func read(t testing.TB, r io.Reader) (got scanned) {
	t.Helper()
	in := NewReader(r)
	for {
		var f Fragment
		err := in.Next(&f)
		got.damages = append(got.damages, in.Damages()...)
		if errors.Is(err, io.EOF) {
			got.totals = in.Totals()
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Data = slices.Clone(f.Data)
		got.fragments = append(got.fragments, f)
	}
}
