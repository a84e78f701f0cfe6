package demux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/output/folder"
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

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(shared(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// disk is a Folder.
type disk struct {
	*folder.Folder
	root *os.Root
}

func (d disk) Leave(name string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return d.root.Chtimes(name+folder.PartSuffix, at, at)
}

func (d disk) Doubt(name string) error { return d.root.Rename(name, name+folder.PartSuffix) }

// counting counts the files that are made.
type counting struct {
	disk
	created *int
}

func (c counting) Create(name string) (folder.File, error) {
	*c.created++
	return c.disk.Create(name)
}

// result is what there is of a recording.
type result struct {
	dir   string
	files map[string]string
	// states are those of the streams, by the name of the file, or what it would be.
	states    map[string]string
	over      []string
	totals    Totals
	sequencer firehose.SequencerTotals
	scanner   firehose.Totals
	// open is how many files were open at once, at most; created how many were made; left how many bytes wait for a decision at the end.
	open, created, left int
}

// run takes a recording apart.
func run(t testing.TB, b []byte, o Options) *result {
	t.Helper()
	r := &result{dir: t.TempDir(), states: map[string]string{}}
	if err := r.run(b, o, true); err != nil {
		t.Fatal(err)
	}
	r.files = read(t, r.dir)
	return r
}

func (r *result) run(b []byte, o Options, force bool) error {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	o.Folder = counting{disk{folder.Open(root, force), root}, &r.created}
	o.Over = func(s *firehose.Stream, file string) error {
		name := strings.TrimSuffix(file, folder.PartSuffix)
		if file == "" {
			name = s.UUID.String() + suffixes[s.Dir]
		}
		r.states[name] = s.State.String()
		r.over = append(r.over, file)
		return nil
	}
	d := New(o)
	in := firehose.NewReader(bytes.NewReader(b))
	in.Idle = d.Flush
	for {
		var f firehose.Fragment
		err := in.Next(&f)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = d.Fragment(&f)
		}
		if err != nil {
			return errors.Join(err, d.Close())
		}
		r.open = max(r.open, len(d.open))
	}
	err = d.Close()
	r.totals, r.sequencer, r.scanner, r.left = d.Totals(), d.Sequencer(), in.Totals(), d.undecided
	return err
}

// read reads the files of a folder.
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// different compares the files of two folders: a line for each that isn't the same, with the first digits of its name and both lengths.
func different(theirs, ours map[string]string) string {
	names := map[string]bool{}
	for _, m := range []map[string]string{theirs, ours} {
		for name := range m {
			names[name] = true
		}
	}
	var lines []string
	for name := range names {
		a, inA := theirs[name]
		b, inB := ours[name]
		if inA && inB && a == b {
			continue
		}
		short := name
		if len(name) > 36 && name[8] == '-' {
			short = name[:4] + name[36:]
		}
		line := short + ":"
		if inA {
			line += fmt.Sprintf(" theirs %d", len(a))
		}
		if inB {
			line += fmt.Sprintf(" ours %d", len(b))
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestReal: of the recordings that httpd made, the files are those that Apache's utility makes, but for those where it is wrong. Each
// difference is in docs/firehose.md, with its reason.
func TestReal(t *testing.T) {
	type recording struct {
		different string
		// gaps is the list of them, states what isn't complete, and traffic which files are what clients and backends have sent and received.
		gaps, states, traffic string
	}
	for name, want := range map[string]recording{
		"h24-b-req-internal-redirect": {},
		"h24-k-h2-connection":         {},
		"h24-k-h2-proxydirectives":    {},
		"h25-a-conn-keepalive":        {traffic: "4b1c.request=client1.sent 4b1c.response=client1.received a7c3.request=client0.sent a7c3.response=client0.received"},
		"h25-b-req-internal-redirect": {},
		"h25-b-req-keepalive":         {},
		"h25-c-proxy-all-six": {states: "c99b.request: no end, c99b.response: no end",
			traffic: "dcc5.request=client0.sent dcc5.response=client0.received f6dc.request=client1.sent f6dc.response=client1.received"},
		"h25-c-proxy-backend-side": {states: "c99b.request: no end, c99b.response: no end"},
		"h25-c-proxy-client-side":  {traffic: "dcc5.request=client0.sent dcc5.response=client0.received f6dc.request=client1.sent f6dc.response=client1.received"},
		"h25-d-up-down":            {traffic: "e069.request=client0.sent e069.response=client0.received"},
		"h25-f-killed": {states: "033b.request: no end, 033b.response: no end, 5783.request: no end, dc55.request: no end, dc55.response: no end",
			traffic: "1dc2.request=client0.sent 1dc2.response=client0.received 033b.request.part=client2.sent 033b.response.part=client2.received 5783.request.part=client3.sent dc55.request.part=client1.sent dc55.response.part=client1.received"},
		// What comes behind the gap is there.
		"h25-g-fifo-nonblock-slow": {different: "5d57.response.part: theirs 60540 ours 124856\ngaps.tsv: ours 95", gaps: "5d57.response.part\t60540\t60\tfragments\n",
			states: "5d57.request: no end, 5d57.response: gap, no end", traffic: "5d57.request.part=client0.sent"},
		"h25-h-tls": {traffic: "0619.response=client1.received 5f82.request=client0.sent 5f82.response=client0.received"},
		// The headers of others aren't among the bytes, and what comes behind the fragment that was cut short is there.
		"h25-l-disk-full": {different: "c377.request.part: theirs 134\nc377.request: ours 290\nc377.response.part: theirs 16506 ours 15799\ngaps.tsv: ours 292",
			gaps:    "c377.response.part\t15275\t1231\tbytes\nc377.response.part\t15275\t14\tfragments\nac6a.response.part\t0\t2\tfragments\nac6a.request.part\t0\t5\tfragments\n",
			states:  "ac6a.request: no start, untrusted, ac6a.response: no start, untrusted, c377.response: gap, truncated",
			traffic: "c377.request=client0.sent af19.request=client2.sent af19.response=client2.received"},
		"h25-r-copytruncate-part1": {states: "3f3f.request: no end, a3d4.request: no end, a3d4.response: no end"},
		// Streams that begin within are there.
		"h25-r-copytruncate-part2": {different: "3f3f.request.part: ours 38\na3d4.request.part: ours 88\na3d4.response.part: ours 279\ngaps.tsv: ours 218",
			gaps:   "3f3f.request.part\t0\t1\tfragments\na3d4.request.part\t0\t4\tfragments\na3d4.response.part\t0\t2\tfragments\n",
			states: "3f3f.request: no start, a3d4.request: no start, a3d4.response: no start"},
		"h25-s-two-files-input":  {traffic: "0226.request=client1.sent 1f6b.request=client2.sent 4ecd.request=client0.sent"},
		"h25-s-two-files-output": {traffic: "0226.response=client1.received 1f6b.response=client2.received 4ecd.response=client0.received"},
		"h25-w-websocket-proxy":  {traffic: "05ae.request=backend0.received 05ae.response=backend0.sent ad9d.request=client0.sent ad9d.response=client0.received"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(shared(t), "real", name)
			b := load(t, filepath.Join("real", name, "stream.firehose"))
			ours := run(t, b, Options{})
			if got := different(read(t, filepath.Join(dir, "demux")), ours.files); got != want.different {
				t.Errorf("different:\n%s\nwant\n%s", got, want.different)
			}
			if got := shortened(strings.TrimPrefix(ours.files[gapsName], gapsHead)); got != want.gaps {
				t.Errorf("gaps:\n%s\nwant\n%s", got, want.gaps)
			}
			if got := ours.incomplete(); got != want.states {
				t.Errorf("states: %s\nwant %s", got, want.states)
			}
			if lossless := ours.totals.Incomplete == 0 && ours.scanner.Damages == 0; lossless != (want.states == "") {
				t.Errorf("lossless: %v", lossless)
			}
			for _, pair := range strings.Fields(want.traffic) {
				file, sent, _ := strings.Cut(pair, "=")
				if got := ours.find(file); got == "" || got != string(load(t, filepath.Join("real", name, "traffic", sent))) {
					t.Errorf("%s isn't what %s has", file, sent)
				}
			}
			ours.times(t, b)
		})
	}
}

// shortened leaves of each UUID at the begin of a line the first digits.
func shortened(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(line[:4] + line[36:])
	}
	return b.String()
}

// find returns the file whose name has these first digits, and this end.
func (r *result) find(short string) string {
	for name, text := range r.files {
		if name[:4]+name[min(36, len(name)):] == short {
			return text
		}
	}
	return ""
}

// incomplete lists the states of the streams that aren't complete.
func (r *result) incomplete() string {
	var list []string
	for name, state := range r.states {
		if state != "complete" {
			list = append(list, name[:4]+name[36:]+": "+state)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// times: each file was changed last when its own last bytes were recorded.
func (r *result) times(t *testing.T, b []byte) {
	t.Helper()
	last := map[string]int64{}
	in := firehose.NewReader(bytes.NewReader(b))
	for {
		var f firehose.Fragment
		if in.Next(&f) != nil {
			break
		}
		if name := f.UUID.String() + suffixes[f.Dir]; !f.End {
			last[name] = max(last[name], f.Time)
		}
	}
	for name := range r.files {
		info, err := os.Stat(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		if at := last[strings.TrimSuffix(name, folder.PartSuffix)]; at != 0 && info.ModTime().UnixMicro() != at {
			t.Errorf("%s was changed at %v, want %v", name, info.ModTime(), time.UnixMicro(at))
		}
	}
}

// TestEdited: of recordings that were damaged or changed on purpose, the files are those that Apache's utility makes, but for those where
// it is wrong. Each difference is in docs/firehose.md, with its reason.
func TestEdited(t *testing.T) {
	const a, b = "a7c302f9-57e1-4933-9b49-0bcb00701100", "4b1cd3a9-aeb0-4b83-888c-0679680caa0b"
	for name, want := range map[string]struct {
		options   Options
		different string
		states    string
		// lost: the recording is damaged.
		damaged bool
	}{
		"00-base":                        {},
		"01-trunc-in-header":             {states: "4b1c.request: no end", damaged: true},
		"03-trunc-before-footer":         {states: "4b1c.request: no end, 4b1c.response: no end", damaged: true},
		"04-trunc-half-footer":           {states: "4b1c.request: no end, 4b1c.response: no end", damaged: true},
		"06-gap-last-request":            {states: "4b1c.request: gap", different: "gaps.tsv: ours 91"},
		"07-first-missing":               {states: "4b1c.request: no start", different: "4b1c.request.part: ours 112\ngaps.tsv: ours 89"},
		"09-duplicate-1":                 {},
		"10-no-end-marker":               {states: "4b1c.request: no end, 4b1c.response: no end"},
		"12-bnf-crlf-not-last":           {},
		"13-upper-hex-uuid":              {different: "4B1C.request: theirs 137\n4B1C.response: theirs 509\n4b1c.request: ours 137\n4b1c.response: ours 509"},
		"15-zero-padded-16":              {},
		"16-zero-padded-20":              {},
		"18-tab-separated":               {},
		"19-trailing-space":              {damaged: true},
		"21-garbage-no-newline":          {different: "4b1c.request.part: theirs 66\n4b1c.request: ours 137", damaged: true},
		"22-missing-footer-mid":          {different: "4b1c.request.part: theirs 66\n4b1c.request: ours 137", damaged: true},
		"24-huge-length":                 {different: "4b1c.request.part: theirs 42\n4b1c.request: ours 137\n4b1c.response: ours 509", damaged: true},
		"25-negative-length":             {different: "4b1c.request.part: theirs 42\n4b1c.request: ours 137\n4b1c.response: ours 509", damaged: true},
		"27-only-end-marker-0":           {},
		"28-end-marker-unknown-5":        {states: "1111.request: no start", different: "gaps.tsv: ours 89"},
		"30-end-count-wrong":             {}, // the recording is the same as the first
		"31-long-junk-16k":               {damaged: true},
		"40-u-both-directions":           {options: Options{UUIDs: ids(t, b)}, different: "4b1c.response: ours 509"},
		"42-u-unknown":                   {options: Options{UUIDs: ids(t, "11111111-2222-4333-8444-555555555555")}},
		"43-u-two":                       {options: Options{UUIDs: ids(t, a, b)}, different: "4b1c.response: ours 509\na7c3.request.part: theirs 500\na7c3.request: ours 500\na7c3.response: theirs 7 ours 1540"},
		"45-long-option-uuid":            {options: Options{UUIDs: ids(t, b)}, different: "4b1c.response: ours 509"},
		"51-prefix-HTTP":                 {options: Options{Prefixes: []string{"HTTP/1.1 200"}}, different: "4b1c.request: ours 137\na7c3.request: ours 500"},
		"52-prefix-exact-whole-fragment": {options: Options{Prefixes: []string{"GET /hello.txt HTTP/1.1\r\n"}}, different: "4b1c.request: ours 137"},
		"54-prefix-POST":                 {options: Options{Prefixes: []string{"POST "}}},
		"55-prefix-straddle-8000":        {options: Options{Prefixes: []string{"GET "}}, different: "9999.request.part: theirs 2198\n9999.request: ours 4003"},
		"60-rerun":                       {},
		"61-rerun-part":                  {different: "4b1c.request: theirs 411 ours 137\n4b1c.response: theirs 1527 ours 509"},
		"63-two-recordings-cat":          {},
		"70-fake-fragment-in-body":       {},
		"72-fake-in-body-in-sync":        {},
		"73-fake-after-lost-sync2": {states: "4444.request: no end, truncated, 5555.request: untrusted",
			different: "4444.request.part: theirs 300 ours 140\n5555.request.part: ours 567\n6666.response: theirs 25\ngaps.tsv: ours 89", damaged: true},
	} {
		t.Run(name, func(t *testing.T) {
			ours := run(t, load(t, "edited/"+name+".firehose"), want.options)
			if got := different(read(t, filepath.Join(shared(t), "edited", name+".demux")), ours.files); got != want.different {
				t.Errorf("different:\n%s\nwant\n%s", got, want.different)
			}
			if got := ours.incomplete(); got != want.states {
				t.Errorf("states: %s\nwant %s", got, want.states)
			}
			if got := ours.scanner.Damages > 0; got != want.damaged {
				t.Errorf("damaged: %v", got)
			}
		})
	}
	entries, err := filepath.Glob(filepath.Join(shared(t), "edited/*.firehose"))
	if err != nil || len(entries) != 36 {
		t.Errorf("%d recordings, %v: are there others?", len(entries), err)
	}
}

func ids(t testing.TB, list ...string) (all []firehose.UUID) {
	t.Helper()
	for _, text := range list {
		var u firehose.UUID
		if _, err := hex.Decode(u[:], []byte(strings.ReplaceAll(text, "-", ""))); err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

// recorder writes a recording.
type recorder struct {
	b      []byte
	counts map[string]uint64
	time   int64
}

// add adds a fragment, or an end if there is no text.
func (r *recorder) add(n byte, dir firehose.Dir, text string) *recorder {
	if r.counts == nil {
		r.counts = map[string]uint64{}
	}
	r.time += 1000
	key := string([]byte{n, byte(dir)})
	f := firehose.Fragment{UUID: firehose.UUID{n}, Dir: dir, Time: 1_700_000_000_000_000 + r.time, Count: r.counts[key], End: text == "", Data: []byte(text)}
	r.counts[key]++
	if f.End {
		delete(r.counts, key)
	}
	r.b = f.Append(r.b)
	return r
}

// skip leaves a fragment out.
func (r *recorder) skip(n byte, dir firehose.Dir) *recorder {
	b := len(r.b)
	r.add(n, dir, "x")
	r.b = r.b[:b]
	return r
}

const (
	request  = firehose.Request
	response = firehose.Response
)

// texts are the files by their short names.
func (r *result) texts() string {
	var list []string
	for name, text := range r.files {
		if len(text) > 20 {
			text = fmt.Sprintf("%s... %d", text[:10], len(text))
		}
		if strings.HasPrefix(name, "gaps") {
			continue
		}
		list = append(list, fmt.Sprintf("%s%s=%s", name[:2], name[36:], text))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestPrefixes: a prefix chooses conversations, by what either direction begins with, however it is cut into fragments.
func TestPrefixes(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	for _, test := range []struct {
		name     string
		r        *recorder
		prefixes []string
		want     string
		totals   Totals
	}{
		{"one byte at first", new(recorder).add(1, request, "G").add(1, request, "ET /").add(1, response, "HTTP/1.1 200").add(1, request, "").add(1, response, "").
			add(2, request, "G").add(2, request, "IT").add(2, response, "GET").add(2, request, "").add(2, response, ""),
			[]string{"GET /"}, "01.request=GET / 01.response=HTTP/1.1 200", Totals{Complete: 2, Unwanted: 2}},
		{"any of several, and one is the start of another", new(recorder).add(1, request, "GETX").add(2, request, "POST").add(3, request, "PUT").add(1, request, "").add(2, request, "").add(3, request, ""),
			[]string{"GET /", "GET", "POST"}, "01.request=GETX 02.request=POST", Totals{Complete: 2, Unwanted: 1}},
		{"shorter than the prefix", new(recorder).add(1, request, "GE").add(1, request, "").add(2, request, "GET").add(2, request, ""), []string{"GET"}, "02.request=GET", Totals{Complete: 1, Unwanted: 1}},
		{"by the response, which comes later", new(recorder).add(1, request, "GET").add(1, response, "HTTP 2").add(1, request, "").add(1, response, "00").add(1, response, ""),
			[]string{"HTTP 20"}, "01.request=GET 01.response=HTTP 200", Totals{Complete: 2}},
		{"by the response, when the request is over", new(recorder).add(1, request, "GET").add(1, request, "").add(1, response, "HTTP 200").add(1, response, ""),
			[]string{"HTTP"}, "01.request=GET 01.response=HTTP 200", Totals{Complete: 2}},
		{"all requests, and then all responses", new(recorder).add(1, request, "GET").add(1, request, "").add(2, request, "PUT").add(2, request, "").add(1, response, "a").add(1, response, "").add(2, response, "b").add(2, response, ""),
			[]string{"GET"}, "01.request=GET 01.response=a", Totals{Complete: 2, Unwanted: 2}},
		{"nothing fits", new(recorder).add(1, request, "GET").add(1, response, "HTTP").add(1, request, "").add(1, response, ""), []string{"PUT"}, "", Totals{Unwanted: 2}},
		{"one that is over before the other begins", new(recorder).add(1, request, "GET").add(1, request, ""), []string{"PUT"}, "", Totals{Unwanted: 1}},
		{"without a start", new(recorder).skip(1, request).add(1, request, "GET").add(1, request, ""), []string{"GET"}, "", Totals{Unwanted: 1, Undecidable: 1}},
		{"a request without a start, but its response fits", new(recorder).skip(1, request).add(1, request, "GET").add(1, request, "").add(1, response, "HTTP").add(1, response, ""), []string{"HTTP"},
			"01.request.part=GET 01.response=HTTP", Totals{Complete: 1, Incomplete: 1, Gaps: 1}},
		{"a gap within the start", new(recorder).add(1, request, "G").skip(1, request).add(1, request, "ET").add(1, request, ""), []string{"GET"}, "", Totals{Unwanted: 1}},
		{"a gap behind the start", new(recorder).add(1, request, "GET").skip(1, request).add(1, request, "x").add(1, request, ""), []string{"GET"}, "01.request.part=GETx", Totals{Incomplete: 1, Gaps: 1}},
		{"more than is kept until it is known", new(recorder).add(1, request, "POST").add(2, request, "POST").add(1, request, big).add(2, request, big).add(1, response, "HTTP 200").add(2, response, "HTTP 404").
			add(1, request, "").add(2, request, "").add(1, response, "").add(2, response, ""), []string{"HTTP 200"}, "01.request=POSTxxxxxx... 100004 01.response=HTTP 200", Totals{Complete: 2, Unwanted: 2}},
		{"a UUID used again", new(recorder).add(1, request, "GET").add(1, request, "").add(1, response, "a").add(1, response, "").add(1, request, "PUT").add(1, request, "").add(1, response, "b").add(1, response, ""),
			[]string{"PUT"}, "01.2.request=PUT 01.2.response=b", Totals{Complete: 2, Unwanted: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, test.r.b, Options{Prefixes: test.prefixes, Undecided: 1000})
			if text := got.texts(); text != test.want {
				t.Errorf("got %s\nwant %s", text, test.want)
			}
			is := got.totals
			is.Fragments, is.Bytes, is.Streams = 0, 0, 0
			if is != test.totals {
				t.Errorf("got %+v\nwant %+v", is, test.totals)
			}
			if most := len(got.files); got.left != 0 || test.name != "more than is kept until it is known" && got.created > most {
				t.Errorf("%d bytes wait; %d files were made for %d", got.left, got.created, most)
			}
			if n := got.totals; n.Streams != n.Complete+n.Incomplete+n.Unwanted {
				t.Errorf("%+v don't add up", n)
			}
		})
	}
}

// TestManyStreams: more streams than files may be open, each with more than is written at once.
func TestManyStreams(t *testing.T) {
	var r recorder
	want := map[string]string{}
	for round := range 40 {
		for i := range byte(200) {
			text := fmt.Sprintf("%d of %d %s\n", round, i, strings.Repeat("x", 3000))
			r.add(i, request, text)
			want[firehose.UUID{i}.String()+".request"] += text
		}
	}
	for i := range byte(200) {
		r.add(i, request, "")
	}
	if got := run(t, r.b, Options{}); different(want, got.files) != "" || got.open > maxOpen || got.open < maxOpen/2 {
		t.Errorf("%d files were open; %s", got.open, different(want, got.files))
	}
}

// TestAgain: what is there isn't written over, nor appended to, but replaced if that is wanted.
func TestAgain(t *testing.T) {
	b := new(recorder).add(1, request, "GET").add(1, response, "HTTP").add(1, request, "").skip(1, response).add(1, response, "").b
	r := run(t, b, Options{})
	want := "01.request=GET 01.response.part=HTTP"
	if got := r.texts(); got != want {
		t.Fatal(got)
	}
	err := r.run(b, Options{}, false)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("got %v", err)
	}
	r.files = read(t, r.dir)
	if got := r.texts(); got != want {
		t.Error(got)
	}
	if err := r.run(b, Options{}, true); err != nil {
		t.Fatal(err)
	}
	if r.files = read(t, r.dir); r.texts() != want {
		t.Error(r.texts())
	}
	// What another run has left unfinished isn't taken for one's own.
	os.Remove(filepath.Join(r.dir, firehose.UUID{1}.String()+".request"))
	if err := r.run(b, Options{}, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	// Gaps of several recordings in one folder have lists of their own.
	other := new(recorder).skip(2, request).add(2, request, "x").add(2, request, "").b
	if err := r.run(other, Options{}, false); err != nil {
		t.Fatal(err)
	}
	if files := read(t, r.dir); !strings.Contains(files["gaps.tsv"], "01") || !strings.Contains(files["gaps.2.tsv"], "02") {
		t.Errorf("%q, %q", files["gaps.tsv"], files["gaps.2.tsv"])
	}
}

// steps is a reader that gives out a recording piece by piece, and looks at what there is before each.
type steps struct {
	pieces [][]byte
	before func()
}

func (s *steps) Read(b []byte) (int, error) {
	s.before()
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, nil
}

// TestLive: files grow as fragments come, and have their names as soon as their ends come.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d := New(Options{Folder: disk{folder.Open(root, false), root}})
	var rec recorder
	var in steps
	for _, text := range []string{"GET", " /", ""} {
		rec.b = nil
		in.pieces = append(in.pieces, rec.add(1, request, text).b)
	}
	var seen []string
	in.before = func() { seen = append(seen, (&result{files: read(t, dir)}).texts()) }
	r := firehose.NewReader(&in)
	r.Idle = d.Flush
	for err == nil {
		var f firehose.Fragment
		if err = r.Next(&f); err == nil {
			err = d.Fragment(&f)
		}
	}
	if err != io.EOF {
		t.Error(err)
	}
	if want := []string{"", "01.request.part=GET", "01.request.part=GET /", "01.request=GET /"}; !slices.Equal(seen, want) {
		t.Errorf("got %q", seen)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestResumed: a stream that was given up goes on in its file.
func TestResumed(t *testing.T) {
	r := new(recorder).add(1, request, "one ")
	r.time += 10_000_000
	r.add(2, request, "x").add(1, request, "two").add(1, request, "").add(2, request, "")
	got := run(t, r.b, Options{Limits: firehose.Limits{Idle: 5_000_000}})
	if text := got.texts(); text != "01.request=one two 02.request=x" || got.totals.Complete != 2 || got.totals.Incomplete != 0 || got.sequencer.Idle != 1 {
		t.Errorf("%s, %+v", text, got.totals)
	}
}

// TestDoubt: a file loses its name if it turns out to hold what others lack.
func TestDoubt(t *testing.T) {
	lost := new(recorder).add(2, request, "lost").b
	got := run(t, new(recorder).add(1, request, string(lost)).add(1, request, "").skip(2, request).add(2, request, "x").add(2, request, "").b, Options{})
	if text := got.texts(); !strings.HasPrefix(text, "01.request.part=") || !strings.HasSuffix(text, " 02.request.part=x") || got.totals.Complete != 0 || got.totals.Incomplete != 2 {
		t.Errorf("%s, %+v", text, got.totals)
	}
}

// failing is a Folder whose files fail after some bytes.
type failing struct {
	disk
	left int
}

type failingFile struct {
	folder.File
	of *failing
}

var errFull = errors.New("no space left on device")

func (f failingFile) Write(b []byte) (int, error) {
	if f.of.left -= len(b); f.of.left < 0 {
		return 0, errFull
	}
	return f.File.Write(b)
}

func (f *failing) Create(name string) (folder.File, error) {
	file, err := f.disk.Create(name)
	return failingFile{file, f}, err
}

// TestDiskFull: when nothing can be written any more, that is an error, and no file that isn't whole has its name.
func TestDiskFull(t *testing.T) {
	b := new(recorder).add(1, request, "12345").add(2, request, "67890").add(1, request, "").add(2, request, "").b
	for left := range 10 {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		d := New(Options{Folder: &failing{disk{folder.Open(root, false), root}, left}})
		in := firehose.NewReader(bytes.NewReader(b))
		for err == nil {
			var f firehose.Fragment
			if err = in.Next(&f); err == nil {
				err = d.Fragment(&f)
			}
		}
		if err = errors.Join(err, d.Close()); !errors.Is(err, errFull) {
			t.Errorf("%d bytes: %v", left, err)
		}
		for name, text := range read(t, dir) {
			if !strings.HasSuffix(name, folder.PartSuffix) && len(text) != 5 {
				t.Errorf("%d bytes: %s has %d", left, name, len(text))
			}
		}
		root.Close()
	}
}

// TestConversations: what is remembered of conversations that nothing is decided about is bounded.
func TestConversations(t *testing.T) {
	d := New(Options{Prefixes: []string{"GET"}})
	for i := range MaxConversations + 100 {
		f := firehose.Fragment{UUID: firehose.UUID{byte(i), byte(i >> 8), byte(i >> 16)}, Dir: request, Data: []byte("PUT")}
		if err := d.Fragment(&f); err != nil {
			t.Fatal(err)
		}
		f.End, f.Count = true, 1
		if err := d.Fragment(&f); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Totals(); len(d.conversations) > MaxConversations || n.Forgotten != 100 {
		t.Errorf("%d conversations, %+v", len(d.conversations), n)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := d.Totals(); n.Unwanted != n.Streams {
		t.Errorf("%+v", n)
	}
}
