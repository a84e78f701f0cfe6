package objects

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/klauspost/compress/zstd"
)

var one, two = outputtest.Flow("10.0.0.7:40000", "10.0.0.2:80"), outputtest.Flow("10.0.0.7:40001", "10.0.0.2:80")

// stage is a Keeper that a test plays to.
type stage struct {
	t      *testing.T
	dir    string
	keeper *Keeper
	files  *counting
	// notes are what is told of as missing, kept what is told of files.
	notes []string
	kept  []Object
}

// counting counts the files that are open.
type counting struct {
	*folder.Folder
	open, most int
}

func (c *counting) count(f folder.File, err error) (folder.File, error) {
	if err != nil {
		return nil, err
	}
	c.open++
	c.most = max(c.most, c.open)
	return &counted{f, c}, nil
}

func (c *counting) Create(name string) (folder.File, error) { return c.count(c.Folder.Create(name)) }
func (c *counting) Reopen(name string) (folder.File, error) { return c.count(c.Folder.Reopen(name)) }

type counted struct {
	folder.File
	in *counting
}

func (c *counted) Close() error { c.in.open--; return c.File.Close() }

func open(t *testing.T, o Options) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.files = &counting{Folder: folder.Open(root, false)}
	t.Cleanup(func() { s.files.Folder.Close() })
	o.Kept = func(k *Object) error { s.kept = append(s.kept, *k); return nil }
	o.Missing = func(name string, offset, n int64, why string) error {
		s.notes = append(s.notes, fmt.Sprintf("%s %d %d %s", name, offset, n, why))
		return nil
	}
	s.keeper = New(s.files, o)
	return s
}

func (s *stage) chunk(c follow.Chunk) {
	s.t.Helper()
	base := ""
	if c.Message != nil {
		c.Dir = c.Message.Dir
		base = []string{"asks", "answers"}[c.Dir]
		if c.Flow == two {
			base += "2"
		}
	}
	if c.Flow == nil {
		c.Flow = one
	}
	if c.Flow == two && c.Message != nil {
		base = []string{"asks2", "answers2"}[c.Dir]
	}
	if err := s.keeper.Chunk(&c, base); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) begin(m *follow.Message) { s.chunk(follow.Chunk{Step: follow.Begin, Message: m}) }
func (s *stage) body(m *follow.Message, text string) {
	s.chunk(follow.Chunk{Step: follow.Body, Message: m, Data: []byte(text)})
}
func (s *stage) gap(m *follow.Message, n int64) {
	s.chunk(follow.Chunk{Step: follow.Body, Message: m, Gap: n})
}
func (s *stage) end(m *follow.Message, how proto.End) {
	m.Ended = how
	s.chunk(follow.Chunk{Step: follow.End, Message: m})
}

// whole plays a whole message, its body in pieces of a size.
func (s *stage) whole(m *follow.Message, text string, piece int) {
	s.begin(m)
	for len(text) > 0 {
		n := min(piece, len(text))
		s.body(m, text[:n])
		text = text[n:]
	}
	s.end(m, proto.Whole)
}

// contents closes the Keeper and returns the files of its folder.
func (s *stage) contents() map[string]string {
	s.t.Helper()
	if err := s.keeper.Close(); err != nil {
		s.t.Fatal(err)
	}
	if s.files.open != 0 {
		s.t.Errorf("%d files are still open", s.files.open)
	}
	if s.keeper.held != 0 || s.keeper.waiting.Len() != 0 {
		s.t.Errorf("%d bytes of %d bodies are still held", s.keeper.held, s.keeper.waiting.Len())
	}
	all := map[string]string{}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, s.dir+"/")] = string(text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func response(mediaType, coding string) *follow.Message {
	return &follow.Message{Protocol: "http", Kind: proto.Response, Dir: proto.Responder, Status: 200, Type: mediaType, Coding: coding}
}

func request(mediaType string) *follow.Message {
	return &follow.Message{Protocol: "http", Kind: proto.Request, Method: "POST", Type: mediaType}
}

func said(dir proto.Direction, kind string) *follow.Message {
	return &follow.Message{Protocol: "websocket", Kind: proto.Event, Dir: dir, Method: kind}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func brotlied(text string) string {
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func zstded(text string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(text), nil))
}

// noise is text that doesn't compress well.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

func TestBodies(t *testing.T) {
	long := noise(3*SpillAt + 17)
	zeros := strings.Repeat("\x00", 7)
	for _, c := range []struct {
		name string
		play func(s *stage)
		want map[string]string
		// notes are the beginnings of what is told.
		notes []string
	}{
		{"both directions", func(s *stage) {
			s.whole(request("application/json"), "{}", 9)
			s.whole(response("text/html; charset=utf-8", ""), "<p>", 1)
		}, map[string]string{"asks-HTTPBODY-001.json": "{}", "answers-HTTPBODY-001.html": "<p>"}, nil},
		{"messages without bodies count", func(s *stage) {
			s.whole(response("", ""), "", 1)
			s.whole(&follow.Message{Kind: proto.Interim, Dir: proto.Responder, Status: 100}, "", 1)
			s.whole(response("text/css", ""), "a", 1)
		}, map[string]string{"answers-HTTPBODY-003.css": "a"}, nil},
		{"of two connections", func(s *stage) {
			m := response("text/css", "")
			s.chunk(follow.Chunk{Flow: two, Step: follow.Begin, Message: m})
			s.whole(response("text/css", ""), "a", 1)
			s.chunk(follow.Chunk{Flow: two, Step: follow.Body, Message: m, Data: []byte("b")})
			m.Ended = proto.Whole
			s.chunk(follow.Chunk{Flow: two, Step: follow.End, Message: m})
		}, map[string]string{"answers-HTTPBODY-001.css": "a", "answers2-HTTPBODY-001.css": "b"}, nil},
		{"streams side by side: numbers are those of the beginnings", func(s *stage) {
			a, b, c := response("text/css", ""), response("text/html", ""), response("text/csv", "")
			s.begin(a)
			s.begin(b)
			s.body(a, "1")
			s.begin(c)
			s.body(c, "x")
			s.body(b, "y")
			s.body(a, "2")
			s.end(c, proto.Whole)
			s.end(a, proto.Whole)
			s.body(b, "z")
			s.end(b, proto.Whole)
		}, map[string]string{"answers-HTTPBODY-001.css": "12", "answers-HTTPBODY-002.html": "yz", "answers-HTTPBODY-003.csv": "x"}, nil},
		{"directions side by side", func(s *stage) {
			a, b := request("text/css"), response("text/html", "")
			s.begin(a)
			s.begin(b)
			s.body(a, "1")
			s.body(b, "x")
			s.end(b, proto.Whole)
			s.body(a, "2")
			s.end(a, proto.Whole)
		}, map[string]string{"asks-HTTPBODY-001.css": "12", "answers-HTTPBODY-001.html": "x"}, nil},
		{"coded", func(s *stage) {
			for _, m := range []struct{ coding, body string }{
				{"gzip", gzipped("hello")}, {"x-gzip", gzipped("hello")}, {"br", brotlied("hello")}, {"zstd", zstded("hello")}, {"gzip, br", brotlied(gzipped("hello"))},
				{"identity", "hello"}, {"gzip", gzipped("hel") + gzipped("lo")},
			} {
				s.whole(response("text/plain", m.coding), m.body, 3)
			}
		}, map[string]string{
			"answers-HTTPBODY-001.txt": "hello", "answers-HTTPBODY-002.txt": "hello", "answers-HTTPBODY-003.txt": "hello", "answers-HTTPBODY-004.txt": "hello",
			"answers-HTTPBODY-005.txt": "hello", "answers-HTTPBODY-006.txt": "hello", "answers-HTTPBODY-007.txt": "hello",
		}, nil},
		{"coded, and empty", func(s *stage) { s.whole(response("text/plain", "gzip"), gzipped(""), 100) }, map[string]string{}, nil},
		{"not to be decoded", func(s *stage) {
			s.whole(response("text/plain", "compress"), "abc", 100)
			s.whole(response("text/plain", "gzip"), "no gzip at all", 100)
			s.whole(response("", "gzip, foo"), "abc", 100)
		}, map[string]string{"answers-HTTPBODY-001.txt.Z": "abc", "answers-HTTPBODY-002.txt.gz": "no gzip at all", "answers-HTTPBODY-003.bin.coded": "abc"},
			[]string{
				"answers-HTTPBODY-001.txt.Z 0 0 kept as it was sent: content coding", "answers-HTTPBODY-002.txt.gz 0 0 kept as it was sent: it isn't what",
				"answers-HTTPBODY-003.bin.coded 0 0 kept as it was sent: content coding",
			}},
		{"long", func(s *stage) { s.whole(response("text/plain", ""), long, 1448) }, map[string]string{"answers-HTTPBODY-001.txt": long}, nil},
		{"long, at once", func(s *stage) { s.whole(response("text/plain", ""), long, len(long)) }, map[string]string{"answers-HTTPBODY-001.txt": long}, nil},
		{"long and coded", func(s *stage) {
			for _, m := range []struct{ coding, body string }{{"gzip", gzipped(long)}, {"br", brotlied(long)}, {"zstd", zstded(long)}, {"br,gzip", gzipped(brotlied(long))}} {
				s.whole(response("", m.coding), m.body, 1448)
			}
		}, map[string]string{"answers-HTTPBODY-001.txt": long, "answers-HTTPBODY-002.txt": long, "answers-HTTPBODY-003.txt": long, "answers-HTTPBODY-004.txt": long}, nil},
		{"long, and not to be decoded", func(s *stage) { s.whole(response("text/plain", "gzip"), long, 1448) },
			map[string]string{"answers-HTTPBODY-001.txt.gz": long}, []string{"answers-HTTPBODY-001.txt.gz 0 0 kept as it was sent: it isn't what"}},
		{"cut short", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, "abc")
			s.end(m, proto.Cut)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "abc"}, []string{"answers-HTTPBODY-001.txt.incomplete 3 -1 the connection"}},
		{"cut short, and long", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, long)
			s.end(m, proto.Broken)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": long}, []string{"answers-HTTPBODY-001.txt.incomplete 196625 -1 its end"}},
		{"cut short, and coded", func(s *stage) {
			m := response("text/plain", "gzip")
			s.begin(m)
			s.body(m, gzipped(noise(4000))[:2000])
			s.end(m, proto.Cut)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "*"}, []string{"answers-HTTPBODY-001.txt.incomplete"}},
		{"what is coded ends too early", func(s *stage) { s.whole(response("text/plain", "gzip"), gzipped(noise(4000))[:2000], 100) },
			map[string]string{"answers-HTTPBODY-001.txt.incomplete": "*"}, []string{"answers-HTTPBODY-001.txt.incomplete * what is coded ends too early"}},
		{"a wrong checksum", func(s *stage) {
			b := []byte(gzipped("hello"))
			b[len(b)-5] ^= 1
			s.whole(response("text/plain", "gzip"), string(b), 100)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "hello"}, []string{"answers-HTTPBODY-001.txt.incomplete 5 0 the checksum"}},
		{"bytes behind", func(s *stage) { s.whole(response("text/plain", "gzip"), gzipped("hello")+"rest", 100) },
			map[string]string{"answers-HTTPBODY-001.txt.incomplete": "hello"}, []string{"answers-HTTPBODY-001.txt.incomplete 5 -1 bytes behind"}},
		{"a hole", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, "abc")
			s.gap(m, 7)
			s.body(m, "def")
			s.end(m, proto.Whole)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "abc" + zeros + "def"}, []string{"answers-HTTPBODY-001.txt.incomplete 3 7 not captured"}},
		{"holes that have no room", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, "abc")
			s.gap(m, proto.Unknown)
			s.body(m, "def")
			s.gap(m, MaxHole+1)
			s.body(m, "ghi")
			s.end(m, proto.Whole)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "abcdefghi"},
			[]string{"answers-HTTPBODY-001.txt.incomplete 3 -1 not captured", "answers-HTTPBODY-001.txt.incomplete 6 16777217 not captured, or not readable; no room"}},
		{"a hole at the beginning", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.gap(m, 7)
			s.body(m, "abc")
			s.end(m, proto.Whole)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": zeros + "abc"}, []string{"answers-HTTPBODY-001.txt.incomplete 0 7 not captured"}},
		{"a hole in a long body", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, long)
			s.gap(m, 7)
			s.body(m, long)
			s.end(m, proto.Whole)
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": long + zeros + long}, []string{"answers-HTTPBODY-001.txt.incomplete 196625 7 not captured"}},
		{"nothing but a hole", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.gap(m, 7)
			s.end(m, proto.Whole)
		}, map[string]string{}, []string{"answers-HTTPBODY-001.txt.incomplete 0 7 not captured"}},
		{"a hole in what is coded: nothing behind it is read", func(s *stage) {
			for _, n := range []int{4000, 4 * SpillAt} {
				m := response("text/plain", "gzip")
				z := gzipped(noise(n))
				s.begin(m)
				s.body(m, z[:len(z)/2])
				s.gap(m, 10)
				s.body(m, z[len(z)/2+10:])
				s.end(m, proto.Whole)
			}
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "*", "answers-HTTPBODY-002.txt.incomplete": "*"},
			[]string{"answers-HTTPBODY-001.txt.incomplete * 10 not captured, or not readable; of what is coded", "answers-HTTPBODY-002.txt.incomplete * 10 not captured, or not readable; of what is coded"}},
		{"the connection is forgotten", func(s *stage) {
			m := response("text/plain", "")
			s.begin(m)
			s.body(m, "abc")
			s.chunk(follow.Chunk{Close: proto.Evicted, Over: true})
			s.body(m, "def")
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "abc"}, []string{"answers-HTTPBODY-001.txt.incomplete 3 -1 the connection"}},
		{"the run is over", func(s *stage) {
			for range 2 {
				m := response("text/plain", "")
				s.begin(m)
				s.body(m, "abc")
			}
		}, map[string]string{"answers-HTTPBODY-001.txt.incomplete": "abc", "answers-HTTPBODY-002.txt.incomplete": "abc"},
			[]string{"answers-HTTPBODY-001.txt.incomplete 3 -1 the connection", "answers-HTTPBODY-002.txt.incomplete 3 -1 the connection"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Options{})
			c.play(s)
			got := s.contents()
			for name, text := range c.want {
				if text == "*" && len(got[name]) > 100 {
					c.want[name] = got[name]
				}
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("got  %.500q\nwant %.500q", got, c.want)
			}
			if len(s.notes) < len(c.notes) || len(c.notes) == 0 && len(s.notes) > 0 {
				t.Fatalf("told of %q, want %q", s.notes, c.notes)
			}
			for i, n := range c.notes {
				begins, behind, _ := strings.Cut(n, " * ")
				if !strings.HasPrefix(s.notes[i], begins) || !strings.Contains(s.notes[i], behind) {
					t.Errorf("told of %q, want %q", s.notes[i], n)
				}
			}
			files, incomplete := uint64(0), uint64(0)
			for name := range got {
				if files++; strings.HasSuffix(name, IncompleteSuffix) {
					incomplete++
				}
			}
			if st := s.keeper.Stats(); st.Files != files || st.Incomplete != incomplete || len(s.kept) != int(files) {
				t.Errorf("%+v, told of %d files", st, len(s.kept))
			}
			for _, o := range s.kept {
				if o.Size != int64(len(got[o.Name])) || o.Complete == strings.HasSuffix(o.Name, IncompleteSuffix) {
					t.Errorf("%s: told of %d bytes, complete %v", o.Name, o.Size, o.Complete)
				}
			}
		})
	}
}

// TestDigests: they are those of the files, whatever way these were made.
func TestDigests(t *testing.T) {
	s := open(t, Options{SHA256: true, MD5: true, Parts: true})
	long := noise(3 * SpillAt)
	s.whole(response("text/plain", ""), "short", 2)
	s.whole(response("text/plain", ""), long, 1448)
	s.whole(response("text/plain", "gzip"), gzipped("short"), 2)
	s.whole(response("text/plain", "gzip"), gzipped(long), 1448)
	s.whole(response("text/plain", "gzip"), long, 1448)
	s.whole(response("multipart/mixed; boundary=x", ""), "--x\r\n\r\n"+long+"\r\n--x\r\n\r\na\r\n--x--", 1448)
	m := response("text/plain", "")
	s.begin(m)
	s.body(m, long)
	s.gap(m, 10_000)
	s.body(m, long)
	s.end(m, proto.Whole)
	got := s.contents()
	if len(s.kept) != 9 || len(got) != 9 {
		t.Fatalf("%d files, told of %d", len(got), len(s.kept))
	}
	for _, o := range s.kept {
		sum := sha256.Sum256([]byte(got[o.Name]))
		if o.SHA256 != hex.EncodeToString(sum[:]) || len(o.MD5) != 32 {
			t.Errorf("%s: %s, %s", o.Name, o.SHA256, o.MD5)
		}
	}
}

// TestManyStreams: with many long bodies side by side, few files are open and little is in memory, and all are whole.
func TestManyStreams(t *testing.T) {
	s := open(t, Options{})
	k := s.keeper
	k.maxOpen, k.maxWaiting, k.spillAt = 3, 64<<10, 8<<10
	r := rand.New(rand.NewPCG(3, 4))
	want := map[string]string{}
	var all []*follow.Message
	bodies := map[*follow.Message]*strings.Builder{}
	for range 40 {
		m := response("text/plain", "")
		s.begin(m)
		all = append(all, m)
		bodies[m] = &strings.Builder{}
	}
	for range 3000 {
		m := all[r.IntN(len(all))]
		text := noise(1 + r.IntN(500))
		bodies[m].WriteString(text)
		s.body(m, text)
		buffers := 0
		for _, b := range k.flows[one].underWay() {
			buffers += cap(b.buf)
		}
		if limit := k.maxWaiting + (k.maxOpen+1)*2*k.spillAt; buffers > limit {
			t.Fatalf("%d bytes are held, %d may be", buffers, limit)
		}
	}
	for i, m := range all {
		want[fmt.Sprintf("answers-HTTPBODY-%03d.txt", i+1)] = bodies[m].String()
		s.end(m, proto.Whole)
	}
	if got := s.contents(); !maps.Equal(got, want) {
		t.Error("other files")
	}
	if s.files.most > 4 {
		t.Errorf("%d files were open", s.files.most)
	}
}

// TestFlush: a long body can be read while it comes.
func TestFlush(t *testing.T) {
	s := open(t, Options{})
	m := response("text/plain", "")
	s.begin(m)
	s.body(m, noise(SpillAt+1))
	s.body(m, "end")
	if err := s.keeper.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "answers-HTTPBODY-001.txt.part"))
	if err != nil || !strings.HasSuffix(string(text), "end") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// TestTooMany: what finds no room is left out, and counted.
func TestTooMany(t *testing.T) {
	s := open(t, Options{Parts: true})
	s.keeper.maxFiles, s.keeper.maxParts = 4, 2
	s.whole(response("multipart/mixed; boundary=x", ""), strings.Repeat("--x\r\n\r\na\r\n", 5)+"--x--", 100)
	for range 3 {
		s.whole(response("text/plain", ""), noise(SpillAt-1), 1000)
		s.whole(response("text/plain", ""), noise(SpillAt+1), 1000)
	}
	got := slices.Sorted(maps.Keys(s.contents()))
	want := []string{"answers-HTTPBODY-001-part-01.txt", "answers-HTTPBODY-001-part-02.txt", "answers-HTTPBODY-001.bin", "answers-HTTPBODY-002.txt"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if st := s.keeper.Stats(); st.Refused != 5 || st.Unlisted != 3 || st.Files != 4 {
		t.Errorf("%+v", st)
	}
}

// TestBomb: what decodes to more than there may be ends there, and is said to.
func TestBomb(t *testing.T) {
	bomb := gzipped(strings.Repeat("\x00", 32<<20))
	for _, pieces := range []int{1000, len(bomb)} {
		for _, body := range []string{bomb, brotlied(bomb)} {
			coding := "gzip"
			if body != bomb {
				coding = "gzip, br"
			}
			s := open(t, Options{})
			s.keeper.maxDecoded = 9 << 20
			if pieces == 1000 {
				s.keeper.spillAt = 512 // by way of the spool
			}
			s.whole(response("text/plain", coding), body, pieces)
			got := s.contents()
			if len(got) != 1 || len(got["answers-HTTPBODY-001.txt.incomplete"]) != 9<<20 {
				t.Errorf("%d files, %d bytes", len(got), len(got["answers-HTTPBODY-001.txt.incomplete"]))
			}
			if len(s.notes) != 1 || !strings.Contains(s.notes[0], "limit") {
				t.Errorf("told of %q", s.notes)
			}
		}
	}
}

func TestSessions(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		s := open(t, Options{Sessions: wanted})
		s.whole(said(0, "text"), "hello", 2)
		s.whole(said(0, "ping"), "x", 1)
		s.whole(said(1, "binary"), "\x00\x01", 1)
		s.whole(said(0, "text"), "world", 9)
		m := said(1, "text")
		s.begin(m)
		s.whole(said(1, "pong"), "x", 1) // between its frames
		s.body(m, "ab")
		s.end(m, proto.Cut)
		want := map[string]string{}
		if wanted {
			want = map[string]string{
				"asks-WSMSG-001.txt": "hello", "asks-WSMSG-002.txt": "world", "answers-WSMSG-001.bin": "\x00\x01", "answers-WSMSG-002.txt.incomplete": "ab",
			}
		}
		if got := s.contents(); !maps.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestNothingOver: a file that is there isn't written over.
func TestNothingOver(t *testing.T) {
	for _, name := range []string{"answers-HTTPBODY-001.txt", "answers-HTTPBODY-001.txt.incomplete"} {
		s := open(t, Options{})
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		m := response("text/plain", "")
		s.begin(m)
		m.Ended = proto.Whole
		if strings.HasSuffix(name, IncompleteSuffix) {
			m.Ended = proto.Cut
		}
		var errs []error
		for _, c := range []follow.Chunk{{Step: follow.Body, Data: []byte(noise(2 * SpillAt))}, {Step: follow.End}} {
			c.Flow, c.Dir, c.Message = one, 1, m
			errs = append(errs, s.keeper.Chunk(&c, "answers"))
		}
		if err := errors.Join(errs...); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
		if text, _ := os.ReadFile(filepath.Join(s.dir, name)); string(text) != "mine" {
			t.Errorf("%s was written over", name)
		}
	}
}

// TestForgotten: nothing of a connection is kept when it is over.
func TestForgotten(t *testing.T) {
	s := open(t, Options{})
	for range 10 {
		s.whole(response("text/plain", ""), "a", 1)
		s.chunk(follow.Chunk{Close: proto.Finished, Over: true})
		_ = os.Remove(filepath.Join(s.dir, "answers-HTTPBODY-001.txt"))
	}
	if n := len(s.keeper.flows); n != 0 {
		t.Errorf("%d connections are remembered", n)
	}
}

// TestOffset: it is told where in the half-stream a body begins.
func TestOffset(t *testing.T) {
	s := open(t, Options{})
	m := response("text/plain", "")
	s.begin(m)
	s.chunk(follow.Chunk{Step: follow.Body, Message: m, Data: []byte("a"), At: clock.Mark{Offset: 157}})
	s.chunk(follow.Chunk{Step: follow.Body, Message: m, Data: []byte("b"), At: clock.Mark{Offset: 158}})
	s.end(m, proto.Whole)
	s.contents()
	if len(s.kept) != 1 || s.kept[0].Offset != 157 || s.kept[0].Base != "answers" || s.kept[0].Message != m {
		t.Errorf("%+v", s.kept)
	}
}
