package firehose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/udp"
)

// file is a file in memory. room, if limited, is how many bytes it still takes.
type file struct {
	name    string
	b       []byte
	at      int64
	limited bool
	room    int
	writes  []int
	// stuck: what was written can't be taken back.
	stuck bool
}

var errFull = errors.New("no space left on device")

func (f *file) Name() string { return f.name }

func (f *file) Write(p []byte) (n int, err error) {
	n = len(p)
	if f.limited {
		if n > f.room {
			n, err = f.room, errFull
		}
		f.room -= n
	}
	f.b = append(f.b[:f.at], p[:n]...)
	f.at += int64(n)
	f.writes = append(f.writes, n)
	return n, err
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		offset += f.at
	}
	f.at = offset
	return offset, nil
}

func (f *file) Truncate(size int64) error {
	if f.stuck {
		return errors.New("read-only")
	}
	f.room += len(f.b) - int(size)
	f.b = f.b[:size]
	return nil
}

// everything are the options of a recording of all there is.
func everything() firehose.Options { return firehose.Options{Input: true, Output: true} }

// fragment is a fragment as the test reads it.
type fragment struct {
	uuid  string
	dir   byte
	time  uint64
	count uint64
	end   bool
	data  string
	size  int
}

// strict is the header of a fragment as mod_firehose writes it: lower case, no padding.
var strict = regexp.MustCompile(`^(0|[1-9a-f][0-9a-f]{0,15}) (0|[1-9a-f][0-9a-f]{0,15}) ([<>]) ([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}) (0|[1-9a-f][0-9a-f]{0,15})\r\n`)

func number(t testing.TB, s []byte) uint64 {
	n, err := strconv.ParseUint(string(s), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// parse reads a stream, and fails where it isn't one that the module could have written.
func parse(t testing.TB, b []byte) (all []fragment) {
	t.Helper()
	whole := b
	next, last, over := map[string]uint64{}, map[string]uint64{}, map[string]bool{}
	for len(b) > 0 {
		m := strict.FindSubmatch(b)
		if m == nil {
			t.Fatalf("no header at byte %d of %d: %.100q", len(whole)-len(b), len(whole), b)
		}
		f := fragment{uuid: string(m[4]), dir: m[3][0], time: number(t, m[2]), count: number(t, m[5])}
		n := int(number(t, m[1]))
		f.size = len(m[0])
		b = b[len(m[0]):]
		key := f.uuid + string(f.dir)
		switch {
		case over[key]:
			t.Fatalf("%s goes on after its end", key)
		case f.count < next[key]:
			t.Fatalf("%s: count %d after %d", key, f.count, next[key])
		case f.time < last[key]:
			t.Fatalf("%s: the time goes back from %d to %d", key, last[key], f.time)
		}
		next[key], last[key] = f.count, f.time
		if f.end = n == 0; f.end {
			over[key] = true
			if f.count == 0 {
				t.Fatalf("%s: an end without anything", key)
			}
			all = append(all, f)
			continue
		}
		if len(b) < n+2 || string(b[n:n+2]) != "\r\n" {
			t.Fatalf("%s: no line end behind %d bytes", key, n)
		}
		f.data = string(b[:n])
		f.size += n + 2
		if b = b[n+2:]; f.size > 4096 {
			t.Fatalf("%s: a fragment of %d bytes", key, f.size)
		}
		next[key]++
		all = append(all, f)
	}
	for key := range next {
		if !over[key] {
			t.Fatalf("%s doesn't end", key)
		}
	}
	return all
}

// halves are what each direction of each UUID carries, with [?] where a count is left out.
func halves(all []fragment) map[string]string {
	built, next := map[string]*strings.Builder{}, map[string]uint64{}
	for _, f := range all {
		key := f.uuid + string(f.dir)
		b := built[key]
		if b == nil {
			b = &strings.Builder{}
			built[key] = b
		}
		for ; next[key] < f.count; next[key]++ {
			b.WriteString("[?]")
		}
		if !f.end {
			b.WriteString(f.data)
			next[key]++
		}
	}
	text := map[string]string{}
	for key, b := range built {
		text[key] = b.String()
	}
	return text
}

// receiver gives chunks to outputs, and writes down what there is to be recorded.
type receiver struct {
	outputs []*firehose.Output
	// want are the half-streams by their ends, in the order in which they began, with [?] for holes.
	want  map[string]*bytes.Buffer
	order []string
	nth   map[*proto.Flow]int
}

func (r *receiver) Exchanges(_, _ []*exchange.Exchange) error { return nil }
func (r *receiver) Idle() error                               { return nil }

func (r *receiver) Chunks(list []follow.Chunk) error {
	for i := range list {
		c := &list[i]
		if _, begun := r.nth[c.Flow]; c.Step != follow.NoMessage || c.Close != proto.Open || c.Undecrypted != "" && !begun {
			continue
		}
		if r.nth == nil {
			r.nth, r.want = map[*proto.Flow]int{}, map[string]*bytes.Buffer{}
		}
		n, there := r.nth[c.Flow]
		if !there {
			n = len(r.nth)
			r.nth[c.Flow] = n
		}
		key := fmt.Sprintf("%d %s %s", n, c.Flow.End(c.Dir), c.Flow.End(c.Dir.Other()))
		b := r.want[key]
		if b == nil {
			b = &bytes.Buffer{}
			r.want[key] = b
			r.order = append(r.order, key)
			if c.Flow.Midstream && c.Gap == 0 {
				b.WriteString("[?]")
			}
		}
		if c.Gap != 0 {
			b.WriteString("[?]")
		}
		b.Write(c.Data)
	}
	for _, o := range r.outputs {
		if err := o.Chunks(list); err != nil {
			return err
		}
	}
	return nil
}

// record runs a capture through the pipeline.
func record(t testing.TB, path string, workers int, to *receiver) {
	t.Helper()
	src, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c := pipeline.Config{
		Workers: workers, Memory: 256 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits, TLS: tls.DefaultLimits(),
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
		Follow:   follow.Plain, Contents: follow.Heads,
	}
	if _, err := pipeline.Run(context.Background(), src, c, to); err != nil {
		t.Fatal(err)
	}
	for _, o := range to.outputs {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// captures are files with traffic of all kinds: samples, made-up ones, and those of others where they are.
func captures(t testing.TB) []string {
	t.Helper()
	root := filepath.Join("..", "..", "..", "testdata")
	all := []string{filepath.Join(root, "demo.pcap"), filepath.Join(root, "databases", "databases.pcapng"), filepath.Join(root, "sample", "shop.pcapng.zst")}
	for _, s := range synth.Scenarios() {
		if !slices.Contains([]string{"flows", "lossy", "demo"}, s.Name) {
			continue
		}
		var out bytes.Buffer
		if _, err := s.Make(&out, 1<<20, synth.Options{Nano: true}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), s.Name+".pcap")
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Log("without the captures of others: set CULPRIT_SHARED")
		return all
	}
	for _, name := range []string{
		"tcpflow/test1.pcap", "arkime/postgres-good.pcap", "zeek/var-services-std-ports.pcap", "zeek/redis/pubsub-resp3.pcap",
		"suricata-verify/http-gap-double/input.pcap", "suricata-verify/http-gap-whole-body/input.pcap", "packetbeat/gap_in_stream.pcap",
		"packetbeat/http_100_continue.pcap", "arkime/http-500-head.pcap", "arkime/http2-nghttp2.pcap", "ndpi/http_connect.pcap",
		"ndpi/http_starting_with_reply.pcapng", "zeek/http/smuggle-http-request.pcap", "zeek/http/byteranges.pcap", "zeek/spicy/gap-recovery.pcap",
		"zeek/http/261/variant-04-te_cl_desync.pcap",
	} {
		path := filepath.Join(shared, "corpus", "files", name)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
			continue
		}
		all = append(all, path)
	}
	return all
}

// play gives hand-made chunks of one connection to an output. Times go on by a millisecond each.
type play struct {
	t    testing.TB
	o    *firehose.Output
	file *file
	list *file
	flow *proto.Flow
	tap  *exchange.Tap
	at   [2]int64
	now  int64
	// batch, if true, has chunks wait for done.
	waiting []follow.Chunk
	open    [2]*follow.Message
}

func end(text string) (a packet.Addr, port uint16) {
	e := netip.MustParseAddrPort(text)
	return packet.Addr(e.Addr().As16()), e.Port()
}

func newPlay(t testing.TB, o firehose.Options) *play {
	f, l := &file{name: "x.firehose"}, &file{name: "x.firehose" + firehose.ListSuffix}
	return &play{t: t, o: firehose.NewFiles([]firehose.Volume{{Data: f, List: l}}, o), file: f, list: l, flow: newFlow(1), tap: &exchange.Tap{}}
}

// newFlow returns the nth flow from one client to one server.
func newFlow(n int) *proto.Flow {
	f := &proto.Flow{Proto: packet.ProtoTCP, First: clock.Mark{Time: int64(n) * 1e9, Packet: uint64(n)}}
	f.Addr[proto.Originator], f.Port[proto.Originator] = end("10.0.0.7:" + strconv.Itoa(40000+n))
	f.Addr[proto.Responder], f.Port[proto.Responder] = end("10.0.0.2:80")
	return f
}

func (p *play) mark(d proto.Direction) clock.Mark {
	return clock.Mark{Time: 1_700_000_000_000_000_000 + p.now*1e6, Packet: uint64(p.now), Offset: p.at[d], Peer: -1}
}

func (p *play) give(c follow.Chunk) {
	p.t.Helper()
	c.Flow, c.Tap = p.flow, p.tap
	if err := p.o.Chunks([]follow.Chunk{c}); err != nil {
		p.t.Fatal(err)
	}
}

// send sends text in a packet of its own. In it, a vertical bar ends a message and a caret begins one.
func (p *play) send(d proto.Direction, text string) {
	p.t.Helper()
	p.now++
	var plain strings.Builder
	at := p.at[d]
	for _, r := range text {
		kind := proto.Request
		if d == proto.Responder {
			kind = proto.Response
		}
		m := p.mark(d)
		m.Offset = at
		switch r {
		case '^':
			p.open[d] = &follow.Message{Protocol: "http", Kind: kind, Dir: d, First: m}
			p.give(follow.Chunk{Dir: d, At: m, Step: follow.Begin, Message: p.open[d]})
		case '|', '!', '~':
			m.Offset--
			p.open[d].Last, p.open[d].Ended = m, map[rune]proto.End{'|': proto.Whole, '!': proto.Upgraded, '~': proto.Broken}[r]
			p.give(follow.Chunk{Dir: d, At: m, Step: follow.End, Message: p.open[d]})
		default:
			plain.WriteRune(r)
			at++
		}
	}
	if plain.Len() > 0 {
		p.give(follow.Chunk{Dir: d, At: p.mark(d), Data: []byte(plain.String())})
	}
	p.at[d] = at
}

func (p *play) ask(text string)    { p.t.Helper(); p.send(proto.Originator, text) }
func (p *play) answer(text string) { p.t.Helper(); p.send(proto.Responder, text) }

func (p *play) miss(d proto.Direction, n int64) {
	p.t.Helper()
	p.now++
	p.give(follow.Chunk{Dir: d, At: p.mark(d), Gap: n})
	p.at[d] += max(n, 0)
}

func (p *play) close() {
	p.t.Helper()
	p.now++
	p.give(follow.Chunk{Dir: proto.Originator, At: p.mark(proto.Originator), Close: proto.Finished})
	p.give(follow.Chunk{Dir: proto.Responder, At: p.mark(proto.Responder), Close: proto.Finished, Over: true})
}

// shown ends the recording, and describes it: a letter for each UUID, its direction, its bytes; / for its end, with the count.
func (p *play) shown() string {
	p.t.Helper()
	if err := p.o.Close(); err != nil {
		p.t.Fatal(err)
	}
	return describe(parse(p.t, p.file.b))
}

func describe(all []fragment) string {
	letters := map[string]string{}
	var parts []string
	for _, f := range all {
		if letters[f.uuid] == "" {
			letters[f.uuid] = string(rune('a' + len(letters)))
		}
		text := letters[f.uuid] + string(f.dir) + strconv.FormatUint(f.count, 10)
		if f.end {
			text += "/"
		} else {
			text += ":" + f.data
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// chunk returns one of what the client sends.
func chunk(p *play, at clock.Mark, text string) follow.Chunk {
	return follow.Chunk{Flow: p.flow, Tap: p.tap, Dir: proto.Originator, At: at, Data: []byte(text)}
}
