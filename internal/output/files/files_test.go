package files

import (
	"bytes"
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

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output"
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
	open, most int
	// reopened are the files that were opened again.
	reopened []string
	fails    error
}

func (d *dir) file(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	d.open++
	d.most = max(d.most, d.open)
	return &counted{f, d}, nil
}

func (d *dir) Create(name string) (File, error) {
	if d.fails != nil {
		return nil, d.fails
	}
	return d.file(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}

func (d *dir) Reopen(name string) (File, error) {
	d.reopened = append(d.reopened, name)
	return d.file(name, os.O_WRONLY)
}

type counted struct {
	*os.File
	dir *dir
}

func (f *counted) WriteAt(b []byte, at int64) (int, error) {
	if f.dir.fails != nil {
		return 0, f.dir.fails
	}
	return f.File.WriteAt(b, at)
}

func (f *counted) Close() error { f.dir.open--; return f.File.Close() }

// contents are the files of the folder.
func (d *dir) contents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(d.path, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
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
		{"chunks larger than the buffer", []follow.Chunk{data(flow, 0, "a"), data(flow, 0, strings.Repeat("b", bufferSize)), data(flow, 0, strings.Repeat("c", bufferSize-1)), data(flow, 0, "de")},
			map[string]string{asks: "a" + strings.Repeat("b", bufferSize) + strings.Repeat("c", bufferSize-1) + "de"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &dir{path: t.TempDir()}
			o := New(d)
			if err := o.Chunks(c.chunks); err != nil {
				t.Fatal(err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
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
	d := &dir{path: t.TempDir()}
	o := New(d)
	o.maxOpen = 3
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
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
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
	d := &dir{path: t.TempDir()}
	o := New(d)
	o.maxOpen = 2
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "b"), data(flow, 0, "a"), data(six, 0, "c"), data(flow, 0, "a"), data(flow, 1, "b")}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.reopened, []string{answers}) {
		t.Errorf("opened again: %v", d.reopened)
	}
}

// TestTooManyFiles: what finds no room is left out, and counted.
func TestTooManyFiles(t *testing.T) {
	d := &dir{path: t.TempDir()}
	o := New(d)
	o.maxFiles = 2
	for _, f := range []*proto.Flow{flow, six, outputtest.Flow("10.0.0.1:1", "10.0.0.2:2")} {
		for range 2 {
			if err := o.Chunks([]follow.Chunk{data(f, 0, "a"), data(f, 1, "b"), {Flow: f, Gap: 2}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := d.contents(t)
	delete(got, MissingName)
	if want := map[string]string{asks: "a\x00\x00a", answers: "bb"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := o.Stats(); st.Refused != 4 || st.Files != 2 {
		t.Errorf("%+v", st)
	}
}

// TestFlush: what was taken can be read.
func TestFlush(t *testing.T) {
	d := &dir{path: t.TempDir()}
	o := New(d)
	if err := errors.Join(o.Chunks([]follow.Chunk{data(flow, 0, "a"), gap(1), data(flow, 0, "b")}), o.Flush()); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t); got[asks] != "a\x00b" || !strings.HasPrefix(got[MissingName], head+asks) {
		t.Errorf("got %q", got)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestErrors: what a disk refuses comes back with the file's name, and no file stays open.
func TestErrors(t *testing.T) {
	full := errors.New("the disk is full")
	d := &dir{path: t.TempDir(), fails: full}
	o := New(d)
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a")}); !errors.Is(err, full) || !strings.Contains(err.Error(), asks) {
		t.Errorf("a file that can't be made gives %v", err)
	}
	d.fails = nil
	o = New(d)
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), data(flow, 1, "a"), gap(3)}); err != nil {
		t.Fatal(err)
	}
	d.fails = full
	if err := o.Chunks([]follow.Chunk{data(flow, 0, strings.Repeat("a", bufferSize))}); !errors.Is(err, full) {
		t.Errorf("a file that can't be written gives %v", err)
	}
	if err := o.Close(); !errors.Is(err, full) {
		t.Errorf("closing gives %v", err)
	}
	if d.open != 0 {
		t.Errorf("%d files are still open", d.open)
	}
	if err := New(&dir{path: filepath.Dir(d.path)}).Close(); err != nil {
		t.Error(err)
	}
	o = New(&dir{path: d.path}) // where the files are already
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a")}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there gives %v", err)
	}
}

// TestBorrowed: what waits to be written isn't the caller's.
func TestBorrowed(t *testing.T) {
	d := &dir{path: t.TempDir()}
	o := New(d)
	b := bytes.Repeat([]byte("a"), 100)
	if err := o.Chunks([]follow.Chunk{{Flow: flow, Data: b}}); err != nil {
		t.Fatal(err)
	}
	copy(b, bytes.Repeat([]byte("b"), 100))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := d.contents(t)[asks]; got != strings.Repeat("a", 100) {
		t.Errorf("got %q", got)
	}
}
