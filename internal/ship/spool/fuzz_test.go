package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/faultfs"
)

// Whatever the files hold: a spool is opened or refused; what it delivers has its checksum and comes in order; the counters
// reconcile; it goes on working; and once all is done, nothing is left for the next.
func FuzzFiles(f *testing.F) {
	chance := rand.New(rand.NewPCG(1, 1))
	fsys := faultfs.New(chance)
	l := quiet(func(l *limits) { l.segment = 700 })
	s := onFaultFS(f, fsys, l)
	appendAll(f, s, 1, 30)
	c, err := s.Next(stopped(), 1)
	must(f, err)
	if _, err := s.Next(stopped(), 1); err != nil {
		f.Fatal(err)
	}
	s.Done(c)
	must(f, s.Close())
	read := func(name string) []byte { return fsys.ReadFile(filepath.Join(folder, name)) }
	var files [][]byte
	for _, g := range s.segments {
		files = append(files, read(fileName(g.seq)))
	}
	cursor := read(cursorName)
	f.Add(files[0], files[1], cursor)
	f.Add(files[1], files[0], cursor)
	f.Add(files[1], files[2], []byte{})
	f.Add(files[0][:len(files[0])-3], files[0], cursor)
	f.Add(append(bytes.Clone(files[0]), files[0][100:]...), files[2], appendCursor(nil, &progress{3, []span{{5, 9}, {12, 40}}}))
	f.Fuzz(func(t *testing.T, first, second, cursor []byte) {
		fsys := faultfs.New(rand.New(rand.NewPCG(1, 1)))
		must(t, disk.MkdirAll(fsys, folder))
		// Numbers in the files' heads are made to fit their names, else most would be refused.
		for i, b := range [][]byte{first, second} {
			if h, n, err := parseHead(b); err == nil && h.version == version {
				h.seq = uint64(i + 1)
				h.content = "test"
				b = append(h.append(nil), b[n:]...)
			}
			fsys.WriteFile(filepath.Join(folder, fileName(uint64(i+1))), b)
		}
		fsys.WriteFile(filepath.Join(folder, cursorName), cursor)
		s, err := open(folder, Options{FS: fsys, Content: "test"}, l)
		var other *VersionError
		if errors.As(err, &other) {
			return
		}
		if err != nil {
			if s != nil {
				t.Fatal("a spool, and an error")
			}
			return
		}
		done := int64(0)
		for {
			before := s.Stats()
			c, err := s.Next(stopped(), 1000)
			if err != nil {
				break
			}
			last := uint64(0)
			for _, n := range c.Token.(*claim).spans {
				if n.from < last || n.from >= n.to {
					t.Fatalf("claims %v", c.Token)
				}
				last = n.to
			}
			s.Done(c)
			q := s.Stats()
			done += before.Waiting - q.Waiting - (q.Damaged - before.Damaged)
			if q.Recovered != done+q.Damaged+q.Waiting+q.Dropped {
				t.Fatalf("%d done, %+v", done, q)
			}
		}
		q := s.Stats()
		if q.Waiting != 0 || q.Recovered != done+q.Damaged+q.Dropped {
			t.Fatalf("%d done, %+v", done, q)
		}
		must(t, s.Append([]byte("more"), 2))
		c, err := s.Next(stopped(), 1)
		if err != nil || c.Events != 2 || string(c.Frames[0]) != "more" {
			t.Fatalf("what is appended then: %+v, %v", c, err)
		}
		must(t, s.Sync())
		s, err = open(folder, Options{FS: fsys, Content: "test"}, l) // the first was killed
		must(t, err)
		if q := s.Stats(); q.Recovered != 2 {
			t.Fatalf("opened again: %+v", q)
		}
		c, err = s.Next(stopped(), 1)
		if err != nil || c.Events != 2 {
			t.Fatalf("opened again: %+v, %v", c, err)
		}
		s.Done(c)
		must(t, s.Close())
		s, err = open(folder, Options{FS: fsys, Content: "test"}, l)
		must(t, err)
		if q := s.Stats(); q.Recovered != 0 || q.Bytes != 0 {
			t.Fatalf("opened in the end: %+v", q)
		}
		must(t, s.Close())
	})
}
