package pcapng

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/udp"
)

// disk is a File in memory.
type disk struct {
	data []byte
	at   int64
	// full is how large the file can get, 0 for no limit.
	full int64
	// gate, if not nil, is received from before each write.
	gate chan struct{}
	// writes counts writes that were begun, when it isn't nil.
	writes chan struct{}
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(b []byte) (int, error) {
	if d.writes != nil {
		d.writes <- struct{}{}
	}
	if d.gate != nil {
		<-d.gate
	}
	n := len(b)
	if d.full > 0 {
		n = int(min(int64(n), max(d.full-d.at, 0)))
	}
	if grow := d.at + int64(n) - int64(len(d.data)); grow > 0 {
		d.data = append(d.data, make([]byte, grow)...)
	}
	copy(d.data[d.at:], b[:n])
	d.at += int64(n)
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error {
	if size < int64(len(d.data)) {
		d.data = d.data[:size]
	}
	return nil
}

func (d *disk) Seek(offset int64, _ int) (int64, error) {
	d.at = offset
	return offset, nil
}

// sink is a File that forgets.
type sink struct{}

func (sink) Write(b []byte) (int, error)        { return len(b), nil }
func (sink) Truncate(int64) error               { return nil }
func (sink) Seek(o int64, _ int) (int64, error) { return o, nil }

// memory is a capture.Source of records in memory.
type memory struct {
	records []capture.Record
	at      int
	taps    []capture.Tap
}

func (m *memory) Next(r *capture.Record) error {
	if m.at == len(m.records) {
		return io.EOF
	}
	*r = m.records[m.at]
	m.at++
	m.taps[r.Tap].Received++
	m.taps[r.Tap].Bytes += uint64(len(r.Data))
	return nil
}

func (m *memory) Taps() []capture.Tap { return m.taps }
func (m *memory) Warnings() []string  { return nil }
func (m *memory) Close() error        { return nil }

func source(records []capture.Record) *memory {
	return &memory{records: records, taps: []capture.Tap{{Name: "eth0"}}}
}

// records takes a capture apart that synth has written in nanoseconds, little-endian.
func records(t testing.TB, pcap []byte) (out []capture.Record) {
	t.Helper()
	le := binary.LittleEndian
	if len(pcap) < 24 || le.Uint32(pcap) != 0xa1b23c4d {
		t.Fatal("not a capture in nanoseconds")
	}
	link := capture.LinkType(le.Uint32(pcap[20:]))
	for b := pcap[24:]; len(b) > 0; {
		n := int(le.Uint32(b[8:]))
		out = append(out, capture.Record{
			Time:   int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:])),
			Number: uint64(len(out) + 1), Data: b[16 : 16+n], WireLen: int(le.Uint32(b[12:])), Link: link,
		})
		b = b[16+n:]
	}
	return out
}

// scenario makes a capture of one of synth's scenarios.
func scenario(t testing.TB, name string, size int64) []capture.Record {
	t.Helper()
	for _, s := range synth.Scenarios() {
		if s.Name == name {
			var out bytes.Buffer
			if _, err := s.Make(&out, size, synth.Options{Nano: true}); err != nil {
				t.Fatal(err)
			}
			return records(t, out.Bytes())
		}
	}
	t.Fatalf("there is no scenario %q", name)
	return nil
}

// dialogue makes a capture of one connection.
func dialogue(t testing.TB, program func(c *synth.Conn)) []capture.Record {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	c := s.Dial(0, netip.MustParseAddrPort("10.0.0.7:51022"), netip.MustParseAddrPort("10.0.0.2:80"), synth.Path{Client: time.Millisecond, Server: time.Millisecond})
	program(c)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

func quit(c *synth.Conn) {
	c.Close(synth.Client)
	c.RecvEnd(synth.Server)
	c.Close(synth.Server)
}

func get(target string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: shop.example\r\n\r\n", target)
}

func answer(status, n int) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n", status, n)
	return append(b, bytes.Repeat([]byte("x"), n)...)
}

// show is a pipeline.Receiver: each is called for every exchange, with its number.
type show struct {
	each   func(x *exchange.Exchange) error
	after  func() error
	number uint64
}

func (s *show) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		s.number++
		x.Number = s.number
		if err := s.each(x); err != nil {
			return err
		}
	}
	return s.Idle()
}

func (s *show) Idle() error {
	if s.after != nil {
		return s.after()
	}
	return nil
}

func config(workers int) pipeline.Config {
	return pipeline.Config{
		Workers: workers, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}
}

// record runs the pipeline with a recorder; choose says which exchanges are selected.
func record(t testing.TB, src *memory, workers int, files []File, o Options, choose func(x *exchange.Exchange) bool) *Recorder {
	t.Helper()
	o.Taps = src.Taps
	r := New(files, o)
	c := config(workers)
	c.Recorder = r
	to := &show{each: func(x *exchange.Exchange) error {
		if choose(x) {
			return r.Exchange(x)
		}
		r.Unmatched(x)
		return nil
	}}
	if _, err := pipeline.Run(context.Background(), src, c, to); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	reconcile(t, r)
	return r
}

// reconcile checks that every packet is accounted for.
func reconcile(t testing.TB, r *Recorder) {
	t.Helper()
	c := r.Counters()
	if c.Received != c.Written+c.LetGo+c.Evicted+c.Dropped+c.Failed {
		t.Errorf("the counters don't add up: %+v", c)
	}
	if len(r.secrets.byPage) != 0 || r.secrets.size != 0 {
		t.Errorf("secrets of %d packets are left over, %d bytes", len(r.secrets.byPage), r.secrets.size)
	}
	if r.pages.used != 0 || r.queued != 0 || len(r.flows.index) != 0 {
		t.Errorf("%d pages, %d queued and %d flows are left over", r.pages.used, r.queued, len(r.flows.index))
	}
}

// exchanges returns what a trace of records shows.
func exchanges(t testing.TB, src capture.Source) (all []string) {
	t.Helper()
	to := &show{each: func(x *exchange.Exchange) error {
		all = append(all, summary(x))
		return nil
	}}
	if _, err := pipeline.Run(context.Background(), src, config(1), to); err != nil {
		t.Fatal(err)
	}
	return all
}

func summary(x *exchange.Exchange) string {
	s := fmt.Sprintf("%s %s", x.Flow.End(proto.Originator), x.Grade)
	if x.HasRequest {
		s += fmt.Sprintf(" %s %s %d", x.Request.Bytes(x.Request.Method), x.Request.Bytes(x.Request.Target), x.Request.Size)
	}
	if x.HasResponse {
		s += fmt.Sprintf(" %d %d", x.Response.Status, x.Response.Size)
	}
	return s
}

// open reads files with culprit's own reader.
func open(t testing.TB, files ...[]byte) capture.Source {
	t.Helper()
	dir := t.TempDir()
	var inputs []capture.Input
	for i, b := range files {
		path := filepath.Join(dir, fmt.Sprintf("r.%04d.pcapng", i))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, capture.Input{Path: path})
	}
	src, err := capture.Open(inputs, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// read returns the records of files.
func read(t testing.TB, files ...[]byte) (all []capture.Record, src capture.Source) {
	t.Helper()
	src = open(t, files...)
	var r capture.Record
	for {
		switch err := src.Next(&r); {
		case err == nil:
			c := r
			c.Data, c.Block = bytes.Clone(r.Data), nil
			all = append(all, c)
			continue
		case !errors.Is(err, io.EOF):
			t.Fatal(err)
		}
		if len(src.Warnings()) > 0 {
			t.Fatal(src.Warnings())
		}
		return all, src
	}
}

// same checks that records have the times, lengths and bytes of others.
func same(t testing.TB, got, want []capture.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d packets, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if g, w := &got[i], &want[i]; g.Time != w.Time || g.WireLen != w.WireLen || g.Link != w.Link || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("packet %d: %d %d %d %x, want %d %d %d %x", i, g.Time, g.WireLen, g.Link, g.Data, w.Time, w.WireLen, w.Link, w.Data)
			return
		}
	}
}

// numbers returns where records are in a capture.
func numbers(t testing.TB, got, in []capture.Record) (all []int) {
	t.Helper()
	for i := range got {
		k := slices.IndexFunc(in, func(r capture.Record) bool { return r.Time == got[i].Time && bytes.Equal(r.Data, got[i].Data) })
		if k < 0 {
			t.Fatalf("packet %d isn't one of the capture", i)
		}
		all = append(all, k+1)
	}
	return all
}

// block is one block of a file.
type block struct {
	kind    uint32
	body    []byte
	options map[uint16][]string
}

// fixed is where the options of a block begin.
func (b *block) fixed() int {
	switch b.kind {
	case blockSection:
		return 16
	case blockInterface:
		return 8
	case blockStatistics:
		return 12
	case blockSecrets:
		return 8 + int(binary.LittleEndian.Uint32(b.body[4:])+3)&^3
	}
	return 20 + int(binary.LittleEndian.Uint32(b.body[12:])+3)&^3
}

// blocks takes a file apart, strictly.
func blocks(t testing.TB, file []byte) (all []block) {
	t.Helper()
	le := binary.LittleEndian
	for len(file) > 0 {
		if len(file) < 12 {
			t.Fatalf("%d bytes are left over", len(file))
		}
		n := int(le.Uint32(file[4:]))
		if n%4 != 0 || n < 12 || n > len(file) || int(le.Uint32(file[n-4:])) != n {
			t.Fatalf("a block of %d bytes, where %d are left", n, len(file))
		}
		b := block{kind: le.Uint32(file), body: file[8 : n-4], options: map[uint16][]string{}}
		for o := b.body[b.fixed():]; len(o) > 0; {
			code, size := le.Uint16(o), int(le.Uint16(o[2:]))
			if code == 0 {
				if size != 0 || len(o) != 4 {
					t.Fatalf("options end with %x", o)
				}
				break
			}
			b.options[code] = append(b.options[code], string(o[4:4+size]))
			o = o[4+(size+3)&^3:]
		}
		all = append(all, b)
		file = file[n:]
	}
	return all
}

// comments returns those of the packets of a file, by the number of the packet.
func comments(t testing.TB, file []byte) map[int][]string {
	t.Helper()
	all := map[int][]string{}
	n := 0
	for _, b := range blocks(t, file) {
		if b.kind == blockPacket {
			n++
			if c := b.options[optionComment]; c != nil {
				all[n] = c
			}
		}
	}
	return all
}

// cutUp cuts an Ethernet frame with an IPv4 packet into fragments of IPv4, or of IPv6 between other ends.
func cutUp(frame []byte, version int) (out [][]byte) {
	be := binary.BigEndian
	ip, payload := frame[14:34], frame[34:]
	const size = 400
	for at := 0; at < len(payload); at += size {
		part := payload[at:min(at+size, len(payload))]
		more := at+size < len(payload)
		b := bytes.Clone(frame[:14])
		if version == 4 {
			b = append(b, ip...)
			h := b[14:]
			be.PutUint16(h[2:], uint16(20+len(part)))
			be.PutUint16(h[6:], uint16(at/8))
			if more {
				h[6] |= 0x20
			}
			h[10], h[11] = 0, 0
			be.PutUint16(h[10:], ^checksum(h))
		} else {
			be.PutUint16(b[12:], 0x86dd)
			b = append(b, 0x60, 0, 0, 0)
			b = be.AppendUint16(b, uint16(8+len(part)))
			b = append(b, fragmentOfIPv6, 64)
			for _, a := range [][]byte{ip[12:16], ip[16:20]} {
				b = append(append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), a...) // as culprit writes IPv4
			}
			flag := uint16(0)
			if more {
				flag = 1
			}
			b = append(b, ip[9], 0)
			b = be.AppendUint16(b, uint16(at)|flag)
			b = be.AppendUint32(b, uint32(be.Uint16(ip[4:])))
		}
		out = append(out, append(b, part...))
	}
	return out
}

const fragmentOfIPv6 = 44
