package firehose_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/proto"
)

// TestFull: where the disk is full, nothing is left of a fragment that had no room, the counts go on, and what comes when there is room
// again is written; end marks are made up for.
func TestFull(t *testing.T) {
	o := everything()
	o.Live, o.Digests = true, true
	var told []string
	o.Tell = func(text string) { told = append(told, text) }
	p := newPlay(t, o)
	p.ask("GET /1")
	before := len(p.file.b)
	p.file.limited, p.file.room = true, 40
	p.ask("GET /2")
	p.ask("GET /3")
	if len(p.file.b) != before {
		t.Errorf("%d bytes are left of what had no room", len(p.file.b)-before)
	}
	p.close() // its end mark has no room, either
	if len(p.file.b) != before {
		t.Errorf("%d bytes are left of an end mark", len(p.file.b)-before)
	}
	p.file.room = 1000
	p.flow, p.at = newFlow(2), [2]int64{}
	p.answer("200")
	p.file.room = 0
	p.answer("x")
	p.file.room = 1000
	if got, want := p.shown(), "a<0:GET /1 a<3/ b>0:200 b>2/"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s := p.o.Stats(); s.Dropped != 3 || s.DroppedBytes != 13 || s.Affected != 2 || s.Fragments != 2 || s.LostEnds != 0 {
		t.Errorf("%+v", s)
	}
	if len(told) != 2 || !strings.Contains(told[0], "no space left") {
		t.Errorf("told %q, want it once each time", told)
	}
	known, _ := lines(t, p.list.b)
	for _, l := range known {
		if l.Server == "10.0.0.2:80" && l.Client == "10.0.0.7:40001" && (*l.Dropped != 2 || l.Bytes.Request != 6 || l.Fragments.Request != 1) {
			t.Errorf("the list has %+v", l)
		}
	}
}

// TestFullForGood: end marks that never get room are counted.
func TestFullForGood(t *testing.T) {
	o := everything()
	o.Live = true
	p := newPlay(t, o)
	p.ask("GET")
	p.answer("200")
	p.file.limited = true
	p.close()
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if s := p.o.Stats(); s.LostEnds != 2 {
		t.Errorf("%d end marks lost, want 2", s.LostEnds)
	}
}

// TestFullWithoutWaiting: reading files ends with the error, and the file ends with a whole fragment.
func TestFullWithoutWaiting(t *testing.T) {
	p := newPlay(t, everything())
	p.ask("GET /1")
	before := len(p.file.b)
	p.file.limited, p.file.room = true, 50
	p.now++
	err := p.o.Chunks([]follow.Chunk{chunk(p, p.mark(0), "GET /2")})
	if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "firehose output: ") {
		t.Errorf("%v", err)
	}
	if err := p.o.Close(); err != nil || len(p.file.b) != before {
		t.Errorf("%v, and %d bytes too many", err, len(p.file.b)-before)
	}
}

// TestSpoilt: where half of a fragment can't be taken back, nothing may follow it.
func TestSpoilt(t *testing.T) {
	o := everything()
	o.Live = true
	p := newPlay(t, o)
	p.file.limited, p.file.room, p.file.stuck = true, 50, true
	p.now++
	if err := p.o.Chunks([]follow.Chunk{chunk(p, p.mark(0), "GET /2")}); !errors.Is(err, errFull) {
		t.Errorf("%v, want the run to end", err)
	}
}

// TestListFull: the list has whole lines only.
func TestListFull(t *testing.T) {
	o := everything()
	o.Live = true
	p := newPlay(t, o)
	p.list.limited, p.list.room = true, 30
	p.ask("GET")
	p.list.room = 1000
	p.close()
	if got := p.shown(); got != "a<0:GET a<1/" {
		t.Errorf("%s", got)
	}
	known, order := lines(t, p.list.b)
	if len(order) != 1 || known[order[0]].Ended == "" || p.o.Stats().LostLines != 1 {
		t.Errorf("%d lines, %d lost", len(order), p.o.Stats().LostLines)
	}
}

// volumes makes n files with their lists and manifests.
func volumes(n int) (all []firehose.Volume) {
	for i := range n {
		name := fmt.Sprintf("dir/x.%d", i)
		all = append(all, firehose.Volume{Data: &file{name: name}, List: &file{name: name + ".l"}, Manifest: &file{name: name + ".sha256"}})
	}
	return all
}

func content(f firehose.File) string { return string(f.(*file).b) }

// TestRotation: files end where no connection is open in them, and each has all of its connections; manifests have their digests.
func TestRotation(t *testing.T) {
	all := volumes(3)
	o := everything()
	o.Digests, o.RotateSize = true, 300
	p := newPlay(t, o)
	p.o = firehose.NewFiles(all, o)
	begin := func(n int) {
		p.flow, p.at = newFlow(n), [2]int64{}
		p.ask(strings.Repeat("x", 250))
	}
	flows := map[int]*proto.Flow{}
	begin(1)
	flows[1] = p.flow
	begin(2) // there is still room
	p.close()
	begin(3) // in the second file, while the first goes on
	p.close()
	if len(content(all[0].Manifest)) != 0 {
		t.Error("the first file is in its manifest while a connection is open")
	}
	p.flow, p.at = flows[1], [2]int64{250, 0}
	p.ask("more of the first")
	p.close()
	if len(content(all[0].Manifest)) == 0 {
		t.Error("the first file is complete, and not in its manifest")
	}
	for i, want := range []string{"more of the first", "", ""} {
		if got := describe(parse(t, []byte(content(all[i].Data)))); !strings.Contains(got, want) {
			t.Errorf("file %d: %s", i, got)
		}
	}
	if n := strings.Count(content(all[1].List), "started"); n != 2 {
		t.Errorf("the second list has %d lines", n)
	}
	for n := 4; n < 9; n++ {
		begin(n)
		p.close()
	}
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	for i, v := range all {
		ids := map[string]bool{}
		for _, f := range parse(t, []byte(content(v.Data))) {
			ids[f.uuid] = true
		}
		if known, _ := lines(t, []byte(content(v.List))); len(known) != len(ids) {
			t.Errorf("file %d has %d connections, and its list %d", i, len(ids), len(known))
		}
		data, list := sha256.Sum256([]byte(content(v.Data))), sha256.Sum256([]byte(content(v.List)))
		want := fmt.Sprintf("%s  x.%d\n%s  x.%d.l\n", hex.EncodeToString(data[:]), i, hex.EncodeToString(list[:]), i)
		if got := content(v.Manifest); got != want {
			t.Errorf("manifest %d:\n%swant\n%s", i, got, want)
		}
		if n := len(content(v.Data)); n > 800 {
			t.Errorf("file %d has %d bytes", i, n)
		}
	}
}

// TestNoFreeFile: while connections are open in all files, the current one goes on.
func TestNoFreeFile(t *testing.T) {
	all := volumes(2)
	o := everything()
	o.RotateEvery = time.Second
	p := newPlay(t, o)
	p.o = firehose.NewFiles(all, o)
	var flows []*proto.Flow
	for n := range 4 {
		p.flow, p.at = newFlow(n), [2]int64{}
		p.now += 2000
		p.ask("GET")
		flows = append(flows, p.flow)
	}
	if s := p.o.Stats(); s.Late != 2 {
		t.Errorf("%d connections in a file that was due, want 2", s.Late)
	}
	for _, f := range flows {
		p.flow = f
		p.close()
	}
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := len(parse(t, []byte(content(all[0].Data)))), len(parse(t, []byte(content(all[1].Data)))); a != 2 || b != 6 {
		t.Errorf("%d and %d fragments", a, b)
	}
}

// TestOneFile: one file alone is used again, too.
func TestOneFile(t *testing.T) {
	all := volumes(1)
	o := everything()
	o.RotateSize = 100
	p := newPlay(t, o)
	p.o = firehose.NewFiles(all, o)
	for n := range 5 {
		p.flow, p.at = newFlow(n), [2]int64{}
		p.ask("GET " + fmt.Sprint(n))
		p.close()
	}
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := describe(parse(t, []byte(content(all[0].Data)))); got != "a<0:GET 4 a<1/" {
		t.Error(got)
	}
}

// TestManifestNames: names are written as sha256sum reads them.
func TestManifestNames(t *testing.T) {
	v := firehose.Volume{Data: &file{name: "/tmp/a\nb\\c"}, Manifest: &file{}}
	o := everything()
	o.Digests = true
	out := firehose.NewFiles([]firehose.Volume{v}, o)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := content(v.Manifest), "\\e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\\nb\\\\c\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// pipe is a pipe whose reader the test plays: it takes what there is room for.
type pipe struct {
	b      []byte
	room   int
	absent bool
	err    error
	// waits: who waits gets room.
	waits bool
}

func (p *pipe) Try(b []byte) (firehose.Fate, error) {
	switch {
	case p.err != nil:
		return firehose.Full, p.err
	case p.absent:
		return firehose.Gone, nil
	case len(b) > p.room:
		return firehose.Full, nil
	}
	p.room -= len(b)
	p.b = append(p.b, b...)
	return firehose.Taken, nil
}

func (p *pipe) Wait(b []byte) (firehose.Fate, error) {
	if p.waits {
		p.room += len(b)
	}
	return p.Try(b)
}

// queued returns a play into a queue.
func queued(t testing.TB, to *pipe, size int, told *[]string) *play {
	p := newPlay(t, everything())
	o := everything()
	o.Tell = func(text string) { *told = append(*told, text) }
	p.o = firehose.NewQueue(to, p.list, size, !to.absent, o)
	return p
}

// TestSlowReader: what has no room in the queue is dropped whole and counted, the counts go on, and all end marks come.
func TestSlowReader(t *testing.T) {
	var told []string
	to := &pipe{waits: true}
	p := queued(t, to, 3000, &told)
	big := strings.Repeat("x", 1000)
	for range 5 {
		p.ask(big)
	}
	p.answer("small") // which there is room for
	if len(to.b) != 0 {
		t.Fatal("something was written into a full pipe")
	}
	p.close()
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(parse(t, to.b)), "a<0:"+big+" a<1:"+big+" a>0:small a<5/ a>1/"; got != want {
		t.Errorf("%s", got)
	}
	if s := p.o.Stats(); s.Dropped != 3 || s.DroppedBytes != 3000 || s.LostEnds != 0 || s.Fragments != 3 || s.Affected != 1 {
		t.Errorf("%+v", s)
	}
	known, order := lines(t, p.list.b)
	if l := known[order[0]]; *l.Dropped != 3 || l.Bytes.Request != 2000 {
		t.Errorf("%+v", l)
	}
	if len(told) != 0 {
		t.Errorf("told %q", told)
	}
}

// TestCatchingUp: what waits is written in its order as there is room, without more packets.
func TestCatchingUp(t *testing.T) {
	var told []string
	to := &pipe{}
	p := queued(t, to, 64<<10, &told)
	p.ask("a")
	p.ask("b")
	to.room = 100
	p.answer("c")
	if got := halves(partly(to.b))[p.id()+"<"]; got != "a" {
		t.Errorf("first %q", got)
	}
	to.room = 1000
	if err := p.o.Flush(); err != nil {
		t.Fatal(err)
	}
	p.close()
	if got, want := p.describeClosed(to), "a<0:a a<1:b a>0:c a<2/ a>1/"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func (p *play) id() string {
	_, order := lines(p.t, p.list.b)
	return order[0]
}

func (p *play) describeClosed(to *pipe) string {
	p.t.Helper()
	if err := p.o.Close(); err != nil {
		p.t.Fatal(err)
	}
	return describe(parse(p.t, to.b))
}

// partly reads what there is of a stream that goes on.
func partly(b []byte) (all []fragment) {
	m := strict.FindSubmatch(b)
	for m != nil {
		n := 0
		fmt.Sscanf(string(m[1]), "%x", &n)
		f := fragment{uuid: string(m[4]), dir: m[3][0], data: string(b[len(m[0]) : len(m[0])+n])}
		all = append(all, f)
		b = b[len(m[0])+n+2:]
		m = strict.FindSubmatch(b)
	}
	return all
}

// TestUsedAgain: the room of what was taken is free again.
func TestUsedAgain(t *testing.T) {
	var told []string
	to := &pipe{}
	p := queued(t, to, 3000, &told)
	for range 20 {
		p.ask(strings.Repeat("x", 1500))
		to.room = 3000
		if err := p.o.Flush(); err != nil {
			t.Fatal(err)
		}
		to.room = 0
	}
	to.waits = true
	p.close()
	p.describeClosed(to)
	if s := p.o.Stats(); s.Dropped > 0 || s.Fragments != 20 {
		t.Errorf("%+v", s)
	}
}

// TestNobodyReads: without a reader all is dropped and counted, and one who comes gets a consistent stream from there on.
func TestNobodyReads(t *testing.T) {
	var told []string
	to := &pipe{absent: true}
	p := queued(t, to, 64<<10, &told)
	p.ask("lost")
	to.absent, to.room = false, 1<<20
	p.ask("read")
	to.absent = true
	p.ask("lost again")
	p.ask("and again")
	to.absent = false
	p.ask("back")
	p.close()
	if got, want := p.describeClosed(to), "a<1:read a<4:back a<5/"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(told) != 3 || !strings.Contains(told[0], "somebody reads") || !strings.Contains(told[1], "has gone") {
		t.Errorf("told %q", told)
	}
	if s := p.o.Stats(); s.Dropped != 3 || s.DroppedBytes != 23 {
		t.Errorf("%+v", s)
	}
}

// TestNobodyComes: end marks that nobody reads are counted.
func TestNobodyComes(t *testing.T) {
	var told []string
	p := queued(t, &pipe{absent: true}, 64<<10, &told)
	p.ask("lost")
	p.close()
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if s := p.o.Stats(); s.LostEnds != 1 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
}

// TestStuckReader: at the end a reader is waited for, but not for ever.
func TestStuckReader(t *testing.T) {
	var told []string
	to := &pipe{}
	p := queued(t, to, 64<<10, &told)
	p.ask("a")
	p.close()
	if err := p.o.Close(); err != nil {
		t.Fatal(err)
	}
	if s := p.o.Stats(); s.LostEnds != 1 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPipeError: what is none of a pipe's ways ends the run.
func TestPipeError(t *testing.T) {
	var told []string
	p := queued(t, &pipe{err: errFull}, 64<<10, &told)
	if err := p.o.Chunks([]follow.Chunk{chunk(p, p.mark(0), "GET")}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

// TestEndMarksAreNeverLost: whatever a reader does who goes on reading, each stream of which there is anything has its end mark, with the
// number of its fragments, and what was written and what was dropped is what there was. The queue never holds more than its size.
func TestEndMarksAreNeverLost(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var told []string
		to := &pipe{waits: true}
		size := 500 + r.IntN(20000)
		p := queued(t, to, size, &told)
		type state struct {
			flow *proto.Flow
			sent [2]int
			at   [2]int64
		}
		var open []*state
		every := map[string]*state{} // by the client
		sent, written := 0, 0
		for step := range 200 {
			to.room = min(to.room+r.IntN(600), 65536)
			switch k := r.IntN(10); {
			case k == 0 || len(open) == 0:
				open = append(open, &state{flow: newFlow(step)})
				every[open[len(open)-1].flow.End(proto.Originator)] = open[len(open)-1]
			case k == 1:
				i := r.IntN(len(open))
				p.flow, p.at = open[i].flow, open[i].at
				p.close()
				open = slices.Delete(open, i, i+1)
			case k == 2:
				if err := p.o.Flush(); err != nil {
					t.Fatal(err)
				}
			default:
				s := open[r.IntN(len(open))]
				d := proto.Direction(r.IntN(2))
				p.flow, p.at = s.flow, s.at
				p.send(d, strings.Repeat("x", 1+r.IntN(3000)))
				s.at = p.at
				s.sent[d]++
				sent++
			}
			if n := p.o.Waiting(); n > size {
				t.Fatalf("seed %d: %d bytes wait in a queue of %d", seed, n, size)
			}
		}
		if err := p.o.Close(); err != nil {
			t.Fatal(err)
		}
		all := parse(t, to.b) // which fails where a stream has no end
		known, _ := lines(t, p.list.b)
		for _, f := range all {
			if !f.end {
				written++
				continue
			}
			if want := every[known[f.uuid].Client].sent[map[byte]int{'<': 0, '>': 1}[f.dir]]; int(f.count) != want {
				t.Fatalf("seed %d: an end mark says %d fragments, and there were %d", seed, f.count, want)
			}
		}
		if s := p.o.Stats(); int(s.Fragments) != written || int(s.Fragments+s.Dropped) != sent || s.LostEnds > 0 {
			t.Fatalf("seed %d: %d fragments written and %d in the stream, %d dropped, of %d", seed, s.Fragments, written, s.Dropped, sent)
		}
	}
}
