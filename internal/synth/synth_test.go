package synth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests read the captures with a reader of their own, so that it and the code under test don't
// share a mistake: pcap and TCP here, HTTP in net/http.

// frame is one TCP packet as the test's reader sees it.
type frame struct {
	at       int64 // nanoseconds since 1970
	src, dst netip.AddrPort
	seq, ack uint32
	flags    byte
	data     []byte
	raw      []byte
}

// readTCP reads the TCP packets of a pcap file, and checks every length and checksum.
func readTCP(t *testing.T, file []byte) (frames []frame, records int) {
	t.Helper()
	le := binary.LittleEndian
	unit := int64(1000)
	if le.Uint32(file) == magicNano {
		unit = 1
	}
	link := le.Uint32(file[20:])
	for file = file[24:]; len(file) > 0; records++ {
		at := int64(le.Uint32(file))*1e9 + int64(le.Uint32(file[4:]))*unit
		n, wire := int(le.Uint32(file[8:])), int(le.Uint32(file[12:]))
		raw := file[16 : 16+n]
		file = file[16+n:]
		if n != wire {
			t.Fatalf("record %d is cut: %d of %d bytes", records+1, n, wire)
		}
		if f, ok := parseTCP(t, raw, link); ok {
			f.at, f.raw = at, raw
			frames = append(frames, f)
		}
	}
	return frames, records
}

func parseTCP(t *testing.T, b []byte, link uint32) (f frame, ok bool) {
	t.Helper()
	if link == LinkEthernet {
		if binary.BigEndian.Uint16(b[12:]) == etherTypeARP {
			return f, false
		}
		b = b[14:]
	}
	var src, dst netip.Addr
	var proto byte
	switch b[0] >> 4 {
	case 4:
		if onesSum(b[:20]) != 0xffff {
			t.Errorf("IPv4 checksum is wrong: % x", b[:20])
		}
		if int(binary.BigEndian.Uint16(b[2:])) != len(b) {
			t.Errorf("IPv4 length %d, want %d", binary.BigEndian.Uint16(b[2:]), len(b))
		}
		proto = b[9]
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[20:]
	case 6:
		if int(binary.BigEndian.Uint16(b[4:])) != len(b)-40 {
			t.Errorf("IPv6 length %d, want %d", binary.BigEndian.Uint16(b[4:]), len(b)-40)
		}
		proto = b[6]
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	default:
		t.Fatalf("not IP: % x", b)
	}
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(pseudo, 0, proto, byte(len(b)>>8), byte(len(b)))
	if onesSum(append(pseudo, b...)) != 0xffff {
		t.Errorf("transport checksum is wrong: % x", b[:8])
	}
	if proto != 6 {
		return f, false
	}
	f.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	f.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	f.seq, f.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	f.flags = b[13]
	f.data = b[b[12]>>4*4:]
	return f, true
}

func onesSum(b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(slices.Clone(b), 0)
	}
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// conversation is the two streams of a connection, rebuilt.
type conversation struct {
	client, server netip.AddrPort
	isn            [2]uint32
	streams        [2][]byte
	known          [2][]bool
	// resent counts bytes that came more than once.
	resent int
}

// conversations rebuilds every connection of a capture that shows them whole.
func conversations(t *testing.T, frames []frame) (all []*conversation) {
	t.Helper()
	open := map[[2]netip.AddrPort]*conversation{}
	for _, f := range frames {
		if f.flags&flagSYN != 0 && f.flags&flagACK == 0 {
			if c := open[[2]netip.AddrPort{f.src, f.dst}]; c == nil || c.isn[0] != f.seq {
				c = &conversation{client: f.src, server: f.dst, isn: [2]uint32{0: f.seq}}
				open[[2]netip.AddrPort{f.src, f.dst}] = c
				all = append(all, c)
			}
			continue
		}
		dir, c := 0, open[[2]netip.AddrPort{f.src, f.dst}]
		if c == nil {
			dir, c = 1, open[[2]netip.AddrPort{f.dst, f.src}]
		}
		if c == nil {
			t.Fatalf("a packet from %v to %v without a SYN", f.src, f.dst)
		}
		if f.flags&flagSYN != 0 {
			c.isn[dir] = f.seq
			continue
		}
		c.resent += c.add(dir, int(f.seq-c.isn[dir]-1), f.data)
	}
	for _, c := range all {
		for dir := range c.known {
			if i := slices.Index(c.known[dir], false); i >= 0 {
				t.Errorf("%v to %v: direction %d misses byte %d", c.client, c.server, dir, i)
			}
		}
	}
	return all
}

func (c *conversation) add(dir, at int, data []byte) (resent int) {
	if need := at + len(data) - len(c.known[dir]); need > 0 && len(data) > 0 {
		c.streams[dir] = append(c.streams[dir], make([]byte, need)...)
		c.known[dir] = append(c.known[dir], make([]bool, need)...)
	}
	for i, b := range data {
		if c.known[dir][at+i] {
			resent++
			if c.streams[dir][at+i] != b {
				panic("a retransmission differs")
			}
		}
		c.streams[dir][at+i], c.known[dir][at+i] = b, true
	}
	return resent
}

// exchanges counts requests, final responses, and bytes of their bodies, as net/http reads them.
func (c *conversation) exchanges(t *testing.T) (requests, answered int, bodies int64) {
	t.Helper()
	in, out := bufio.NewReader(bytes.NewReader(c.streams[0])), bufio.NewReader(bytes.NewReader(c.streams[1]))
	for {
		request, err := http.ReadRequest(in)
		if err == io.EOF {
			return requests, answered, bodies
		}
		if err != nil {
			t.Fatalf("request %d: %v", requests+1, err)
		}
		requests++
		io.Copy(io.Discard, request.Body) // may end early, as the refused upload does
		for status := 100; status < 200; {
			response, err := http.ReadResponse(out, request)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				t.Fatalf("response to request %d: %v", requests, err)
			}
			if status = response.StatusCode; status < 200 {
				continue
			}
			raw := response.Body
			n, err := io.Copy(io.Discard, raw)
			if err != nil {
				t.Fatalf("body of response %d: %v", requests, err)
			}
			answered++
			bodies += n
		}
	}
}

// Each scenario is pinned: when one changes on purpose, so does its hash here.
var pinned = map[string]struct {
	size int64
	hash string
}{
	"small": {300_000, "372fffd5f71cfc2a549d0f4db1404daeccf9056c5c201dc95b6e36eaab015cf8"},
	"large": {1, "060e63950e616474c6ee20443a1303dc761349f519e03e1d61e3b97c0baf6cf4"},
	"flows": {3_000_000, "d29097dcf4af78f97171aca8c0c0a601467bd17fa1f0cf4132c378ff9450ab16"},
	"lossy": {3_000_000, "e88d730c9e6dcec9b8cbef01e9083e55f713db43d0803a5cc1e1c4c4011e2006"},
	"demo":  {0, "3abc67e2bfdbc0659f505bda7118830082c8dc35f66429abff00921b3d428908"},
}

func TestScenarios(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			var file, again bytes.Buffer
			truth, err := s.Make(&file, pinned[s.Name].size, Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Make(&again, pinned[s.Name].size, Options{Seed: 1}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(file.Bytes(), again.Bytes()) {
				t.Fatal("the same seed made another capture")
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(file.Bytes())); got != pinned[s.Name].hash {
				t.Errorf("SHA-256 %s, want %s", got, pinned[s.Name].hash)
			}
			if truth.Bytes != int64(file.Len()) {
				t.Errorf("truth says %d bytes, there are %d", truth.Bytes, file.Len())
			}
			check(t, file.Bytes(), truth)
		})
	}
}

// check compares a capture with its truth.
func check(t *testing.T, file []byte, truth Truth) (frames []frame, all []*conversation) {
	t.Helper()
	frames, records := readTCP(t, file)
	if !slices.IsSortedFunc(frames, func(a, b frame) int { return int(a.at - b.at) }) {
		t.Error("packets aren't in order of time")
	}
	all = conversations(t, frames)
	got := Truth{Packets: records, Bytes: int64(len(file)), Connections: len(all)}
	for _, c := range all {
		if c.server.Port() == 443 {
			continue
		}
		requests, answered, bodies := c.exchanges(t)
		got.Exchanges += requests
		got.Answered += answered
		got.Bodies += bodies
	}
	if got != truth {
		t.Errorf("the capture holds %+v,\ntruth says %+v", got, truth)
	}
	return frames, all
}

func TestLossyIsLossy(t *testing.T) {
	var file bytes.Buffer
	truth, err := Lossy(&file, 3_000_000, Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	frames, all := check(t, file.Bytes(), truth)
	late, twice, resent := 0, 0, 0
	newest := map[[2]netip.AddrPort]uint32{}
	for i, f := range frames {
		key := [2]netip.AddrPort{f.src, f.dst}
		if last, ok := newest[key]; ok && int32(f.seq-last) < 0 {
			late++
		} else {
			newest[key] = f.seq
		}
		if i > 0 && bytes.Equal(f.raw, frames[i-1].raw) {
			twice++
		}
	}
	for _, c := range all {
		resent += c.resent
	}
	percent := func(n int) float64 { return 100 * float64(n) / float64(len(frames)) }
	if p := percent(late); p < 0.5 || p > 5 {
		t.Errorf("%.2f %% of the packets are late", p)
	}
	if p := percent(twice); p < 0.1 || p > 1 {
		t.Errorf("%.2f %% of the packets come twice", p)
	}
	if resent == 0 {
		t.Error("nothing that the tap saw was sent again")
	}
}

func TestFlowsUseAPortAgain(t *testing.T) {
	var file bytes.Buffer
	truth, err := Flows(&file, 3_000_000, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, all := check(t, file.Bytes(), truth)
	uses := map[netip.AddrPort]int{}
	most := 0
	for _, c := range all {
		uses[c.client]++
		most = max(most, uses[c.client])
	}
	if most < 2 {
		t.Error("no port is used twice")
	}
}

func TestOptions(t *testing.T) {
	start := time.Date(2030, 5, 6, 7, 8, 9, 123456789, time.UTC)
	var file bytes.Buffer
	truth, err := Small(&file, 50_000, Options{Nano: true, Link: LinkRaw, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	frames, _ := check(t, file.Bytes(), truth)
	if d := frames[0].at - start.UnixNano(); d < 0 || d > int64(time.Millisecond) || frames[0].at%1000 == 0 {
		t.Errorf("the first packet is %v after the start", time.Duration(d))
	}

	file.Reset()
	if _, err := Small(&file, 50_000, Options{SnapLen: 96}); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	cut := 0
	for b := file.Bytes()[24:]; len(b) > 0; b = b[16+le.Uint32(b[8:]):] {
		n, wire := le.Uint32(b[8:]), le.Uint32(b[12:])
		if n != min(wire, 96) {
			t.Fatalf("captured %d of %d bytes with a snap length of 96", n, wire)
		}
		if n < wire {
			cut++
		}
	}
	if cut == 0 {
		t.Error("nothing was cut")
	}
}

func TestSeedsDiffer(t *testing.T) {
	var a, b bytes.Buffer
	for w, seed := range map[*bytes.Buffer]uint64{&a: 1, &b: 2} {
		if _, err := Small(w, 50_000, Options{Seed: seed}); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two seeds made the same capture")
	}
}

// A segment lost before the tap is recorded once, late; one lost after it, twice.
func TestLose(t *testing.T) {
	for _, seen := range []bool{false, true} {
		var file bytes.Buffer
		s := New(&file, Options{})
		c := s.Dial(0, netip.MustParseAddrPort("10.0.0.1:1024"), netip.MustParseAddrPort("10.0.0.2:80"), lan())
		body := bytes.Repeat([]byte("x"), 10*segmentSize)
		c.Lose(Server, 3, seen)
		c.Exchange([]byte("GET"), 0, body)
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		frames, _ := readTCP(t, file.Bytes())
		all := conversations(t, frames)
		want := 0
		if seen {
			want = segmentSize
		}
		if got := all[0].resent; got != want {
			t.Errorf("seen %v: %d bytes came twice, want %d", seen, got, want)
		}
		if got := all[0].streams[1]; !bytes.Equal(got, body) {
			t.Errorf("seen %v: the server sent %d bytes, want %d", seen, len(got), len(body))
		}
	}
}

// A path that loses everything must not keep the simulation going for ever.
func TestDeadPathEnds(t *testing.T) {
	var file bytes.Buffer
	s := New(&file, Options{})
	c := s.Dial(0, netip.MustParseAddrPort("10.0.0.1:1024"), netip.MustParseAddrPort("10.0.0.2:80"), Path{Loss: 1})
	c.Exchange([]byte("GET"), 0, []byte("OK"))
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	if s.Packets() > maxResends+1 {
		t.Errorf("%d SYNs", s.Packets())
	}
}

func TestEventQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var q eventQueue
	var want, got []int64
	for i := range 1000 {
		at := r.Int64N(200)
		q.push(event{at: at, order: uint64(i)})
		want = append(want, at<<32|int64(i))
	}
	for len(q) > 0 {
		e := q.pop()
		got = append(got, e.at<<32|int64(e.order))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("events don't come in order of time, then of scheduling")
	}
}

type fullDisk struct{ left int }

func (w *fullDisk) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(b), nil
}

func TestWriteErrorEndsTheRun(t *testing.T) {
	_, err := Small(&fullDisk{left: 2 << 20}, 1<<40, Options{})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v, want the writer's", err)
	}
}

// testdata/demo.pcap is what Demo makes; testdata/make.sh makes it anew.
func TestDemoIsTheOneInTestdata(t *testing.T) {
	kept, err := os.ReadFile("../../testdata/demo.pcap")
	if err != nil {
		t.Fatal(err)
	}
	var made bytes.Buffer
	if _, err := Demo(&made, 0, Options{Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, made.Bytes()) {
		t.Error("testdata/demo.pcap isn't what Demo makes: run testdata/make.sh")
	}
	if len(kept) > 100_000 {
		t.Errorf("testdata/demo.pcap has grown to %d bytes", len(kept))
	}
}
