package firehose_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	format "github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/proto"
)

// TestRecord: what is recorded of captures is a stream as the module writes it, in each mode with all the bytes of all half-streams, the
// same with any number of workers, and our reader finds nothing wrong with it.
func TestRecord(t *testing.T) {
	for _, path := range captures(t) {
		t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
			var first [2][]byte
			for _, workers := range []int{1, 4} {
				to := &receiver{}
				var files, lists [2]*file
				for i := range files {
					files[i], lists[i] = &file{name: "f"}, &file{name: "l"}
					o := everything()
					o.Requests, o.Digests = i == 1, true
					to.outputs = append(to.outputs, firehose.NewFiles([]firehose.Volume{{Data: files[i], List: lists[i], Manifest: &file{name: "m"}}}, o))
				}
				record(t, path, workers, to)
				if len(to.want) == 0 {
					t.Fatalf("only %d half-streams", len(to.want))
				}
				for i := range files {
					if workers == 1 {
						check(t, i == 1, files[i].b, lists[i].b, to)
						first[i] = append(slices.Clone(files[i].b), lists[i].b...)
					} else if !bytes.Equal(first[i], append(slices.Clone(files[i].b), lists[i].b...)) {
						t.Errorf("requests %v: %d workers make another recording", i == 1, workers)
					}
				}
			}
		})
	}
}

// lines reads a list of connections; the last line of a UUID holds.
func lines(t testing.TB, b []byte) (last map[string]firehose.Line, order []string) {
	t.Helper()
	last = map[string]firehose.Line{}
	for text := range strings.Lines(string(b)) {
		var l firehose.Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if _, there := last[l.UUID]; !there {
			order = append(order, l.UUID)
		}
		last[l.UUID] = l
	}
	return last, order
}

// check compares a recording with the half-streams that it is of.
func check(t *testing.T, requests bool, b, list []byte, to *receiver) {
	t.Helper()
	all := parse(t, b)
	text := halves(all)
	known, order := lines(t, list)
	got := map[string]string{} // of each connection's direction
	for _, id := range order {
		l := known[id]
		of := l.Connection
		if !requests {
			of = id
		}
		if l.Ended == "" || l.Bytes == nil {
			t.Errorf("%s has no end in the list", id)
			continue
		}
		for dir, n := range map[string]int64{"<": l.Bytes.Request, ">": l.Bytes.Response} {
			s := text[id+dir]
			got[of+dir] += s
			delete(text, id+dir)
			bare := strings.ReplaceAll(s, "[?]", "")
			sum := sha256.Sum256([]byte(bare))
			if want := map[string]string{"<": l.SHA256.Request, ">": l.SHA256.Response}[dir]; int64(len(bare)) != n || want != hex.EncodeToString(sum[:]) {
				t.Errorf("%s%s: %d bytes, and %d in the list", id, dir, len(bare), n)
			}
		}
	}
	for key := range text {
		t.Errorf("%s isn't in the list", key)
	}
	// Each half-stream is there once, whatever its UUID.
	var have, want []string
	for _, s := range got {
		if s != "" {
			have = append(have, s)
		}
	}
	for _, b := range to.want {
		want = append(want, b.String())
	}
	if requests { // where messages begin isn't missing there, and holes between them are told of elsewhere
		have, want = bare(have), bare(want)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("requests %v: %d half-streams, want %d, or other bytes", requests, len(have), len(want))
	}
	reread(t, b, all)
}

func bare(all []string) (out []string) {
	for _, s := range all {
		if s = strings.ReplaceAll(s, "[?]", ""); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// reread has our reader read a stream: there are all fragments, and no damage.
func reread(t *testing.T, b []byte, want []fragment) {
	t.Helper()
	r := format.NewReader(bytes.NewReader(b))
	for i := 0; ; i++ {
		var f format.Fragment
		err := r.Next(&f)
		if err == io.EOF && i == len(want) {
			break
		}
		if err != nil {
			t.Fatalf("fragment %d of %d: %v", i, len(want), err)
		}
		if w := want[i]; f.Untrusted || f.End != w.end || string(f.Data) != w.data || f.UUID.String() != w.uuid || byte(f.Dir) != w.dir || f.Count != w.count {
			t.Fatalf("fragment %d is read as %v", i, f)
		}
	}
}

// TestConnection: what a connection with one UUID becomes.
func TestConnection(t *testing.T) {
	long := strings.Repeat("x", 4003)
	for name, c := range map[string]struct {
		change func(o *firehose.Options, p *play)
		play   func(p *play)
		want   string
	}{
		"both directions": {nil, func(p *play) { p.ask("GET"); p.answer("200"); p.close() }, "a<0:GET a>0:200 a<1/ a>1/"},
		"cut into pieces": {nil, func(p *play) { p.ask(long + long + "y"); p.close() }, "a<0:" + long + " a<1:" + long + " a<2:y a<3/"},
		"exactly one":     {nil, func(p *play) { p.ask(long); p.close() }, "a<0:" + long + " a<1/"},
		"a hole":          {nil, func(p *play) { p.ask("a"); p.miss(0, 10); p.ask("b"); p.close() }, "a<0:a a<2:b a<3/"},
		"unknown hole":    {nil, func(p *play) { p.miss(1, proto.Unknown); p.answer("b"); p.close() }, "a>1:b a>2/"},
		"hole at the end": {nil, func(p *play) { p.answer("b"); p.miss(1, 3); p.close() }, "a>0:b a>2/"},
		"nothing":         {nil, func(p *play) { p.close() }, ""},
		"never closed":    {nil, func(p *play) { p.ask("a") }, "a<0:a a<1/"},
		"input alone": {func(o *firehose.Options, _ *play) { o.Output = false },
			func(p *play) { p.ask("GET"); p.answer("200"); p.close() }, "a<0:GET a<1/"},
		"output alone": {func(o *firehose.Options, _ *play) { o.Input = false },
			func(p *play) { p.ask("GET"); p.answer("200"); p.close() }, "a>0:200 a>1/"},
		"a proxy's input": {func(o *firehose.Options, _ *play) { o.Output, o.Proxy = false, true },
			func(p *play) { p.ask("GET"); p.answer("200"); p.close() }, "a>0:200 a>1/"},
		"a proxy's output": {func(o *firehose.Options, _ *play) { o.Input, o.Proxy = false, true },
			func(p *play) { p.ask("GET"); p.answer("200"); p.close() }, "a<0:GET a<1/"},
		"begun before": {func(_ *firehose.Options, p *play) { p.flow.Midstream = true },
			func(p *play) { p.ask("GET / "); p.answer("200"); p.close() }, "a<1:GET /  a>1:200 a<2/ a>2/"},
		"begun before, the answer first": {func(_ *firehose.Options, p *play) { p.flow.Midstream = true },
			func(p *play) { p.ask("HTTP/1.1 200"); p.answer("GET / "); p.close() }, "a>1:HTTP/1.1 200 a<1:GET /  a<2/ a>2/"},
		"begun before, with ports only": {func(_ *firehose.Options, p *play) {
			p.flow.Midstream = true
			p.flow.Port = [2]uint16{80, 40000}
		}, func(p *play) { p.ask("data"); p.close() }, "a>1:data a>2/"},
		"begun before, a message says": {func(_ *firehose.Options, p *play) { p.flow.Midstream = true },
			func(p *play) {
				p.answer("^x|y") // of kind response: who sends it is the server
				p.ask("z")
				p.close()
			}, "a>1:xy a<1:z a<2/ a>2/"},
	} {
		o := everything()
		p := newPlay(t, o)
		if c.change != nil {
			c.change(&o, p)
			flow := p.flow
			p = newPlay(t, o)
			p.flow = flow
		}
		c.play(p)
		if got := p.shown(); got != c.want {
			t.Errorf("%s:\n%.300s, want\n%.300s", name, got, c.want)
		}
	}
}

// TestRequests: each request has a UUID, with its response.
func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		play func(p *play)
		want string
	}{
		"one after the other": {func(p *play) { p.ask("^A1|"); p.answer("^a1|"); p.ask("^B2|"); p.answer("^b2|"); p.close() },
			"a<0:A1 a>0:a1 b<0:B2 a<1/ a>1/ b>0:b2 b<1/ b>1/"},
		"pipelined": {func(p *play) { p.ask("^A|^B|^C"); p.ask("c|"); p.answer("^a|^b|^c|"); p.close() },
			"a<0:A b<0:B c<0:C c<1:c a>0:a b>0:b c>0:c a<1/ a>1/ b<1/ b>1/ c<2/ c>1/"},
		// The head is complete with the second packet; its first byte begins the request all the same.
		"a head in two packets": {func(p *play) {
			p.ask("^A|")
			p.answer("^a|")
			p.ask("B1")
			p.ask("B2")
			p.answer("^b|")
			p.close()
		},
			"a<0:A a>0:a b<0:B1 a<1/ a>1/ b<1:B2 b>0:b b<2/ b>1/"},
		"the next one begins before the answer ends": {func(p *play) {
			p.ask("^A|")
			p.answer("^a")
			p.ask("^B|")
			p.answer("aa|")
			p.answer("^b|")
			p.close()
		},
			"a<0:A a>0:a b<0:B a>1:aa a<1/ a>2/ b>0:b b<1/ b>1/"},
		"line ends between": {func(p *play) { p.ask("^A|\r\n"); p.answer("^a|"); p.ask("^B|"); p.answer("^b|"); p.close() },
			"a<0:A b<0:\r\n a>0:a a<1/ a>1/ b<1:B b>0:b b<2/ b>1/"},
		"an answer nobody asked for": {func(p *play) { p.answer("^408|"); p.ask("^A|"); p.answer("^a|"); p.close() },
			"a>0:408 b<0:A a>1/ b>0:a b<1/ b>1/"},
		"unanswered": {func(p *play) { p.ask("^A|"); p.close() }, "a<0:A a<1/"},
		"handed over": {func(p *play) {
			p.ask("^A|")
			p.answer("^101!frame")
			p.ask("frame")
			p.answer("more")
			p.ask("end")
			p.close()
		},
			"a<0:A a>0:101frame a<1:frame a>1:more a<2:end a<3/ a>2/"},
		"handed over later": {func(p *play) {
			p.ask("^A|")
			p.answer("^a|")
			p.ask("^B|")
			p.answer("^101!")
			p.answer("frame")
			p.ask("frame")
			p.close()
		}, "a<0:A a>0:a b<0:B a<1/ a>1/ b>0:101 b>1:frame b<1:frame b<2/ b>2/"},
		"what looks like requests in a tunnel": {func(p *play) { p.ask("^A|"); p.answer("^200!"); p.ask("^x|y"); p.answer("^z|"); p.close() },
			"a<0:A a>0:200 a<1:xy a>1:z a<2/ a>2/"},
		"another protocol": {func(p *play) { p.ask("PRI"); p.answer("SETTINGS"); p.ask("HEADERS"); p.close() },
			"a<0:PRI a>0:SETTINGS a<1:HEADERS a<2/ a>1/"},
		"a hole in a body": {func(p *play) { p.ask("^A"); p.miss(0, 5); p.ask("A|^B|"); p.answer("^a|^b|"); p.close() },
			"a<0:A a<2:A b<0:B b>0:a c>0:b a<3/ b<1/ b>1/ c>1/"},
		"a hole that hides the end": {func(p *play) {
			p.ask("^A")
			p.ask("~")
			p.miss(0, 5)
			p.ask("rest^B|")
			p.answer("^b|")
			p.close()
		}, "a<0:A a<2:rest b<0:B b>0:b a<3/ b<1/ b>1/"},
		"a hole between": {func(p *play) {
			p.ask("^A|")
			p.answer("^a|")
			p.miss(0, 5)
			p.ask("^C|")
			p.answer("^c|")
			p.close()
		},
			// What is missing is neither of the request before nor of the one behind, and has a UUID of its own.
			"a<0:A a>0:a b<0:C a<1/ a>1/ b>0:c c<1/ b<1/ b>1/"},
		"broken": {func(p *play) { p.ask("^A|^"); p.ask("~junk"); p.ask("more"); p.close() }, "a<0:A b<0:junk b<1:more a<1/ b<2/"},
	} {
		o := everything()
		o.Requests = true
		p := newPlay(t, o)
		c.play(p)
		if got := p.shown(); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
}

// TestParties: whose connections are recorded.
func TestParties(t *testing.T) {
	for _, c := range []struct {
		parties string
		proxy   bool
		want    bool
	}{
		{"", false, true}, {"10.0.0.2:80", false, true}, {"10.0.0.2:0", false, true}, {"10.0.0.2:81", false, false}, {"10.0.0.7:0", false, false},
		{":80", false, true}, {":81", false, false}, {"10.0.0.9:0 :80", false, true}, {"10.0.0.7:40001", false, false},
		{"", true, true}, {"10.0.0.7:8080", true, true}, {"10.0.0.7:0", true, true}, {"10.0.0.2:80", true, false}, {"10.0.0.8:80", true, false},
	} {
		o := everything()
		o.Proxy = c.proxy
		for _, text := range strings.Fields(c.parties) {
			if text[0] == ':' {
				o.Parties = append(o.Parties, netip.AddrPortFrom(netip.Addr{}, netip.MustParseAddrPort("0.0.0.0"+text).Port()))
				continue
			}
			o.Parties = append(o.Parties, netip.MustParseAddrPort(text))
		}
		p := newPlay(t, o)
		p.ask("GET")
		p.close()
		if got := p.shown() != ""; got != c.want {
			t.Errorf("party %q, proxy %v: recorded %v", c.parties, c.proxy, got)
		}
		s := p.o.Stats()
		if c.want != (s.Connections == 1) || c.want == (s.Unselected == 1) || !c.want && !slices.Equal(s.Others, []string{"10.0.0.2:80"}) {
			t.Errorf("party %q: %+v", c.parties, s)
		}
	}
	// A proxy on the address of its backends: what it accepts isn't what it makes.
	o := everything()
	o.Proxy, o.Parties = true, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:80")}
	p := newPlay(t, o)
	p.flow.Addr[proto.Originator] = p.flow.Addr[proto.Responder]
	p.ask("GET")
	p.close()
	if got := p.shown(); got != "" {
		t.Errorf("the connection to the proxy is recorded: %s", got)
	}
}

// TestPackets: what comes in one packet is joined, what comes in another isn't, and times are those of the packets.
func TestPackets(t *testing.T) {
	p := newPlay(t, everything())
	p.now = 5
	at := p.mark(0)
	for _, part := range []string{"GET / ", "HTTP/1.1\r\n", "\r\n"} {
		c := chunk(p, at, part)
		at = at.After(len(part))
		p.waiting = append(p.waiting, c)
	}
	next := at
	next.Time, next.Packet = at.Time+1e6, at.Packet+1
	p.waiting = append(p.waiting, chunk(p, next, "second"))
	at, p.now = next.After(len("second")), 6
	if err := p.o.Chunks(p.waiting); err != nil {
		t.Fatal(err)
	}
	p.at[0] = at.Offset
	p.ask("body")
	p.close()
	if got, want := p.shown(), "a<0:GET / HTTP/1.1\r\n\r\n a<1:second a<2:body a<3/"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	all := parse(t, p.file.b)
	for i, want := range []uint64{1_700_000_000_005_000, 1_700_000_000_006_000, 1_700_000_000_007_000, 1_700_000_000_008_000} {
		if all[i].time != want {
			t.Errorf("fragment %d is of %d, want %d", i, all[i].time, want)
		}
	}
	var whole []int
	for _, f := range all {
		whole = append(whole, f.size)
	}
	if !slices.Equal(p.file.writes, whole) {
		t.Errorf("writes of %v, want one for each fragment: %v", p.file.writes, whole)
	}
}

// TestLateBytes: what was held back for bytes that came late isn't older than they are.
func TestLateBytes(t *testing.T) {
	p := newPlay(t, everything())
	p.now = 50
	p.ask("late")
	p.now = 10
	p.ask("early")
	p.close()
	p.shown() // which fails where times go back
}

// TestSameIDs: connections differ in their UUIDs, and a capture that is read again has the same.
func TestSameIDs(t *testing.T) {
	ids := map[string]bool{}
	run := func(requests bool) (all []string) {
		o := everything()
		o.Requests = requests
		p := newPlay(t, o)
		for i := range 50 {
			p.flow = newFlow(i % 49)
			p.flow.First.Packet = uint64(i)
			p.at = [2]int64{}
			p.ask("^A|")
			p.answer("^a|")
			p.ask("^B|")
			p.close()
		}
		p.shown()
		_, order := lines(t, p.list.b)
		return order
	}
	for _, requests := range []bool{false, true} {
		first, second := run(requests), run(requests)
		if !slices.Equal(first, second) || len(first) != 50*len(first)/50 || len(first) < 50 {
			t.Errorf("requests %v: other UUIDs the second time, or only %d", requests, len(first))
		}
		for _, id := range first {
			if ids[id] {
				t.Errorf("%s twice", id)
			}
			ids[id] = true
		}
	}
	if len(ids) != 150 {
		t.Errorf("%d UUIDs, want 150", len(ids))
	}
}
