package files

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

var _ interface {
	output.Output
	output.Headline
} = (*Output)(nil)

// dir is a folder that counts the files that are open.
type dir struct {
	path       string
	in         *folder.Folder
	open, most int
	// reopened are the files that were opened again.
	reopened []string
	fails    error
}

func newDir(t *testing.T, path string) *dir {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &dir{path: path, in: folder.Open(root, false)}
}

func (d *dir) counted(f folder.File, err error) (folder.File, error) {
	if err != nil {
		return nil, err
	}
	d.open++
	d.most = max(d.most, d.open)
	return &counted{f, d}, nil
}

func (d *dir) Create(name string) (folder.File, error) {
	if d.fails != nil {
		return nil, d.fails
	}
	return d.counted(d.in.Create(name))
}

func (d *dir) Reopen(name string) (folder.File, error) {
	d.reopened = append(d.reopened, name)
	return d.counted(d.in.Reopen(name))
}

func (d *dir) Finish(name string, modified time.Time) error { return d.in.Finish(name, modified) }

func (d *dir) FinishAs(name, final string, modified time.Time) error {
	return d.in.FinishAs(name, final, modified)
}

func (d *dir) Remove(name string) error { return d.in.Remove(name) }

type counted struct {
	folder.File
	dir *dir
}

func (f *counted) WriteAt(b []byte, at int64) (int, error) {
	if f.dir.fails != nil {
		return 0, f.dir.fails
	}
	return f.File.WriteAt(b, at)
}

func (f *counted) Close() error { f.dir.open--; return f.File.Close() }

// output returns an Output in a folder.
func (d *dir) output(t *testing.T, o Options) *Output {
	t.Helper()
	out, err := New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// contents are the files of the folder, with the paths in it.
func (d *dir) contents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(d.path, path)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	flow  = outputtest.Flow("127.0.0.1:4001", "127.0.0.1:33378")
	again = outputtest.Flow("127.0.0.1:4001", "127.0.0.1:33378")
	back  = outputtest.Flow("127.0.0.1:33378", "127.0.0.1:4001")
	six   = outputtest.Flow("[2001:db8::7]:1", "[::1]:65535")
)

const asks, answers = "127.000.000.001.04001-127.000.000.001.33378", "127.000.000.001.33378-127.000.000.001.04001"

func data(f *proto.Flow, d proto.Direction, text string) follow.Chunk {
	return follow.Chunk{Flow: f, Dir: d, Data: []byte(text)}
}

func gap(n int64) follow.Chunk { return follow.Chunk{Flow: flow, Gap: n} }

func ends(f *proto.Flow) []follow.Chunk {
	return []follow.Chunk{{Flow: f, Close: proto.Finished}, {Flow: f, Dir: proto.Responder, Close: proto.Finished, Over: true}}
}

// finish ends all connections, and closes the Output.
func finish(t *testing.T, o *Output) {
	t.Helper()
	var open []*proto.Flow
	for f := range o.connections {
		open = append(open, f)
	}
	slices.SortFunc(open, func(a, b *proto.Flow) int { return strings.Compare(a.End(0)+a.End(1), b.End(0)+b.End(1)) })
	for _, f := range open {
		if err := o.Chunks(ends(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

const head = "file\toffset\tbytes\twhy\n"

func TestFiles(t *testing.T) {
	associated := *outputtest.Flow("127.0.0.1:4001", "127.0.0.1:33378")
	associated.Stream = 3
	for _, c := range []struct {
		name   string
		chunks []follow.Chunk
		want   map[string]string
	}{
		{"both half-streams", []follow.Chunk{data(flow, 0, "a"), data(flow, 1, "b"), data(flow, 0, "c")}, map[string]string{asks: "ac", answers: "b"}},
		{"a hole at the end", []follow.Chunk{data(flow, 0, "a"), gap(3)}, map[string]string{asks: "a\x00\x00\x00", MissingName: head + asks + "\t1\t3\tnot captured, or not readable\n"}},
		{"nothing", ends(flow), map[string]string{}},
		{"IPv6", []follow.Chunk{data(six, 0, "a"), data(six, 1, "b")}, map[string]string{"2001:db8::7.00001-::1.65535": "a", "::1.65535-2001:db8::7.00001": "b"}},
		{"the same ends again", slices.Concat([]follow.Chunk{data(flow, 0, "a")}, ends(flow), []follow.Chunk{data(again, 0, "b"), data(again, 1, "c")}, ends(again), []follow.Chunk{data(back, 0, "d")}),
			map[string]string{asks: "a", asks + "c1": "b", answers + "c1": "c", answers + "c2": "d"}},
		{"the same ends at the same time", []follow.Chunk{data(flow, 0, "a"), data(again, 0, "b"), data(flow, 0, "c")}, map[string]string{asks: "ac", asks + "c1": "b"}},
		{"a stream of an association", []follow.Chunk{data(&associated, 0, "a")}, map[string]string{asks + "s3": "a"}},
		{"a hole", []follow.Chunk{data(flow, 0, "a"), gap(3), data(flow, 0, "b"), data(flow, 1, "c")},
			map[string]string{asks: "a\x00\x00\x00b", answers: "c", MissingName: head + asks + "\t1\t3\tnot captured, or not readable\n"}},
		{"a hole of unknown length", []follow.Chunk{gap(3), gap(proto.Unknown), data(flow, 0, "b")},
			map[string]string{asks: "\x00\x00\x00b", MissingName: head + asks + "\t0\t3\tnot captured, or not readable\n" + asks + "\t3\t?\tnot captured, or not readable\n"}},
		{"a hole that is too long", []follow.Chunk{data(flow, 0, "a"), gap(MaxHole + 1), data(flow, 0, "b")},
			map[string]string{asks: "ab", MissingName: head + asks + "\t1\t16777217\tnot captured, or not readable; no room is left for it\n"}},
		{"not decrypted", []follow.Chunk{{Flow: flow, Dir: 1, Gap: 7, Undecrypted: "no key"}}, map[string]string{MissingName: head + answers + "\t0\t7\tnot decrypted: no key\n"}},
		{"more after the end of a half-stream", slices.Concat([]follow.Chunk{data(flow, 0, "a")}, ends(flow)[:1], []follow.Chunk{data(flow, 0, "b")}), map[string]string{asks: "ab"}},
		{"chunks larger than the buffer", []follow.Chunk{data(flow, 0, "a"), data(flow, 0, strings.Repeat("b", blockSize)), data(flow, 0, strings.Repeat("c", blockSize-1)), data(flow, 0, "de")},
			map[string]string{asks: "a" + strings.Repeat("b", blockSize) + strings.Repeat("c", blockSize-1) + "de"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t, t.TempDir())
			o := d.output(t, Options{})
			if err := o.Chunks(c.chunks); err != nil {
				t.Fatal(err)
			}
			finish(t, o)
			if got := d.contents(t); !maps.Equal(got, c.want) {
				t.Errorf("got  %.500q\nwant %.500q", got, c.want)
			}
			if d.open != 0 {
				t.Errorf("%d files are still open", d.open)
			}
		})
	}
}

// TestManyFiles: no more files are open than may be, and all are whole.
func TestManyFiles(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	o.sheets.maxOpen, o.sheets.maxPending = 3, 1
	want := map[string]string{}
	var flows [10]*proto.Flow
	for port := range flows {
		flows[port] = outputtest.Flow("10.0.0.1:"+strconv.Itoa(port+1), "10.0.0.2:80")
	}
	for round := range 3 {
		for port := range flows {
			if err := o.Chunks([]follow.Chunk{data(flows[port], 0, strconv.Itoa(round)), {Flow: flows[port], Gap: 2}, data(flows[port], 0, "x")}); err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprintf("010.000.000.001.%05d-010.000.000.002.00080", port+1)] += strconv.Itoa(round) + "\x00\x00x"
		}
	}
	finish(t, o)
	got := d.contents(t)
	delete(got, MissingName)
	if !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if d.most != 4 { // with the list of what is missing
		t.Errorf("%d files were open", d.most)
	}
	if st := o.Stats(); st.Files != 10 || st.Affected != 10 || st.Holes != 30 || st.MissingBytes != 60 || st.Bytes != 60 || st.HalfStreams != 10 {
		t.Errorf("%+v", st)
	}
}

// TestLeastRecentlyUsed: it is the file unused for the longest that is closed.
func TestLeastRecentlyUsed(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	o.sheets.maxOpen, o.sheets.maxPending = 2, 0
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "b"), data(flow, 0, "a"), data(six, 0, "c"), data(flow, 0, "a"), data(flow, 1, "b")}); err != nil {
		t.Fatal(err)
	}
	finish(t, o)
	if !slices.Equal(d.reopened, []string{answers}) {
		t.Errorf("opened again: %v", d.reopened)
	}
}

// TestTooManyFiles: what finds no room is left out, and counted.
func TestTooManyFiles(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	o.maxFiles = 2
	for _, f := range []*proto.Flow{flow, six, outputtest.Flow("10.0.0.1:1", "10.0.0.2:2")} {
		for range 2 {
			if err := o.Chunks([]follow.Chunk{data(f, 0, "a"), data(f, 1, "b"), {Flow: f, Gap: 2}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	finish(t, o)
	got := d.contents(t)
	delete(got, MissingName)
	if want := map[string]string{asks: "a\x00\x00a\x00\x00", answers: "bb"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := o.Stats(); st.Refused != 4 || st.Files != 2 {
		t.Errorf("%+v", st)
	}
}

// TestFlush: what was taken can be read, by the temporary names, and these are all there is when a run ends early.
func TestFlush(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	if err := errors.Join(o.Chunks([]follow.Chunk{data(flow, 0, "a"), gap(1), data(flow, 0, "b")}), o.Flush()); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t); got[asks+".part"] != "a\x00b" || !strings.HasPrefix(got[MissingName+".part"], head+asks) {
		t.Errorf("got %q", got)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t); got[asks+".part"] != "a\x00b" || !strings.HasPrefix(got[MissingName], head+asks) || len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

// TestSmall: a small file is made when it is complete, and opened once; what waits is bounded.
func TestSmall(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	o.sheets.maxPending = 3
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "b"), data(flow, 0, "c")}); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t); len(got) != 0 || o.sheets.pending != 3 {
		t.Errorf("too early: %q, %d bytes wait", got, o.sheets.pending)
	}
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "d")}); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t); len(got) != 1 || got[answers+".part"] != "b" { // unused the longest
		t.Errorf("got %q", got)
	}
	finish(t, o)
	if got := d.contents(t); got[asks] != "acd" || got[answers] != "b" || d.most != 2 || len(d.reopened) > 0 || o.sheets.pending != 0 {
		t.Errorf("got %q, %d open, reopened %q, %d wait", got, d.most, d.reopened, o.sheets.pending)
	}
}

// TestErrors: what a disk refuses comes back with the file's name, and no file stays open.
func TestErrors(t *testing.T) {
	full := errors.New("the disk is full")
	d := newDir(t, t.TempDir())
	d.fails = full
	o := d.output(t, Options{})
	if err := o.Chunks(append([]follow.Chunk{data(flow, 0, "a")}, ends(flow)...)); !errors.Is(err, full) || !strings.Contains(err.Error(), asks) {
		t.Errorf("a file that can't be made gives %v", err)
	}
	d.fails = nil
	o = d.output(t, Options{})
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "a"), gap(3)}); err != nil {
		t.Fatal(err)
	}
	d.fails = full
	if err := o.Chunks([]follow.Chunk{data(flow, 0, strings.Repeat("a", blockSize))}); !errors.Is(err, full) {
		t.Errorf("a file that can't be written gives %v", err)
	}
	if err := o.Close(); !errors.Is(err, full) {
		t.Errorf("closing gives %v", err)
	}
	if d.open != 0 {
		t.Errorf("%d files are still open", d.open)
	}
	d.fails = nil
	if err := newDir(t, d.path).output(t, Options{}).Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(d.path, answers), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o = newDir(t, d.path).output(t, Options{}) // where the file is already
	if err := o.Chunks(append([]follow.Chunk{data(flow, 1, "a")}, ends(flow)...)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there gives %v", err)
	}
}

// TestBorrowed: what waits to be written isn't the caller's.
func TestBorrowed(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	b := bytes.Repeat([]byte("a"), 100)
	if err := o.Chunks([]follow.Chunk{{Flow: flow, Data: b}}); err != nil {
		t.Fatal(err)
	}
	copy(b, bytes.Repeat([]byte("b"), 100))
	finish(t, o)
	if got := d.contents(t)[asks]; got != strings.Repeat("a", 100) {
		t.Errorf("got %q", got)
	}
}

// TestMaxBytes: what is beyond the limit isn't kept, be it data or a hole, and is counted.
func TestMaxBytes(t *testing.T) {
	for _, c := range []struct {
		chunks []follow.Chunk
		want   string
		cut    uint64
	}{
		{[]follow.Chunk{data(flow, 0, "abc"), data(flow, 0, "defg"), data(flow, 0, "h")}, "abcde", 3},
		{[]follow.Chunk{data(flow, 0, "abcde")}, "abcde", 0},
		{[]follow.Chunk{data(flow, 0, "abc"), gap(3), data(flow, 0, "d")}, "abc\x00\x00", 2},
		{[]follow.Chunk{data(flow, 0, "abcdef"), gap(3)}, "abcde", 4},
	} {
		d := newDir(t, t.TempDir())
		o := d.output(t, Options{MaxBytes: 5, Index: true, MD5: true, Report: &Creator{}})
		if err := o.Chunks(c.chunks); err != nil {
			t.Fatal(err)
		}
		finish(t, o)
		got := d.contents(t)
		if st := o.Stats(); got[asks] != c.want || st.CutBytes != c.cut || st.Cut != min(c.cut, 1) {
			t.Errorf("%.20v: got %q, %+v", c.chunks, got[asks], st)
		}
		if sum := fmt.Sprintf("<hashdigest type='MD5'>%x</hashdigest>", md5.Sum([]byte(c.want))); !strings.Contains(got[ReportName], sum) {
			t.Errorf("the report hasn't got %s:\n%s", sum, got[ReportName])
		}
	}
}

// TestIndex: the index has a line for each segment, and none for a hole.
func TestIndex(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{Index: true})
	a, b := data(flow, 0, "abc"), data(flow, 0, "de")
	a.At.Time, b.At.Time = 1768473727_000000001, 1768473727_040506999
	if err := o.Chunks([]follow.Chunk{a, gap(10), b}); err != nil {
		t.Fatal(err)
	}
	finish(t, o)
	if got, want := d.contents(t)[asks+IndexSuffix], "0|1768473727.000000|3\n13|1768473727.040506|2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestModified: a file says that it was changed last when its half-stream began, as tcpflow's do.
func TestModified(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{})
	over := ends(flow)
	over[1].Facts = &[2]proto.HalfFacts{{Packets: 1, First: 1_600_000_000_000_000_000}, {Packets: 1, First: 1_600_000_001_000_000_000}}
	if err := errors.Join(o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "b")}), o.Chunks(over), o.Close()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{asks: 1_600_000_000, answers: 1_600_000_001} {
		if info, err := os.Stat(filepath.Join(d.path, name)); err != nil || info.ModTime().Unix() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
