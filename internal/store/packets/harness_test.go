package packets

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	return nil
}

func (m *memory) Taps() []capture.Tap { return m.taps }
func (m *memory) Warnings() []string  { return nil }
func (m *memory) Close() error        { return nil }

func source1(records []capture.Record) *memory {
	return &memory{records: records, taps: []capture.Tap{{Name: "eth0"}}}
}

// records takes a capture apart that synth has written in nanoseconds, little-endian.
func records(t testing.TB, pcap []byte) (out []capture.Record) {
	t.Helper()
	le := binary.LittleEndian
	if len(pcap) < 24 || le.Uint32(pcap) != 0xa1b23c4d {
		t.Fatal("not a capture in nanoseconds")
	}
	for b := pcap[24:]; len(b) > 0; {
		n := int(le.Uint32(b[8:]))
		out = append(out, capture.Record{
			Time: int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:])), Number: uint64(len(out) + 1), Data: b[16 : 16+n],
			WireLen: int(le.Uint32(b[12:])), Link: capture.LinkType(le.Uint32(pcap[20:])),
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

// show is a pipeline.Receiver that calls each for every exchange.
type show struct {
	each   func(x *exchange.Exchange)
	number uint64
}

func (s *show) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		s.number++
		x.Number = s.number
		s.each(x)
	}
	return nil
}

func (s *show) Idle() error { return nil }

func config() pipeline.Config {
	return pipeline.Config{
		Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}
}

// seen is an exchange as it was shown.
type seen struct {
	query    Query
	protocol string
	grade    exchange.Grade
	summary  string
	timing   exchange.Timing
	index    uint32
}

// same reports whether an exchange is another one, as far as it can be seen without the rest of its connection.
func (s *seen) same(o *seen) bool {
	a, b := s.timing, o.timing
	return s.summary == o.summary && s.query.Start == o.query.Start && s.query.End == o.query.End &&
		a.Send == b.Send && a.Wait == b.Wait && a.Receive == b.Receive && a.Duration == b.Duration && a.Overlap == b.Overlap
}

func see(x *exchange.Exchange) seen {
	s := fmt.Sprintf("%s %s %s %q", x.Tap.Label, x.Flow.End(proto.Originator), x.Grade, x.Reason)
	if x.HasRequest {
		s += fmt.Sprintf(" %s %s %d", x.Request.Bytes(x.Request.Method), x.Request.Bytes(x.Request.Target), x.Request.Size)
	}
	if x.HasResponse {
		s += fmt.Sprintf(" %d %d", x.Response.Status, x.Response.Size)
	}
	return seen{query: Of(x), protocol: x.Protocol, grade: x.Grade, summary: s, timing: x.Timing, index: x.Index}
}

// trace runs a pipeline and returns its exchanges; k may be nil.
func trace(t testing.TB, src capture.Source, k *Keeper) (all []seen) {
	t.Helper()
	c := config()
	if k != nil {
		c.Recorder = k
	}
	if _, err := pipeline.Run(context.Background(), src, c, &show{each: func(x *exchange.Exchange) { all = append(all, see(x)) }}); err != nil {
		t.Log(err) // damaged captures are in the corpus
	}
	if k != nil {
		k.Close()
	}
	return all
}

// keep runs a pipeline into a ring.
func keep(t testing.TB, r *Ring, src capture.Source) []seen {
	t.Helper()
	return trace(t, src, r.Keeper(src.Taps, false))
}

// options are for tests: nothing happens by the clock.
func testOptions() Options {
	return Options{Limit: 256 << 20, FlushEvery: -1, Burst: -1, Application: "culprit test"}
}

func openRing(t testing.TB, dir string, o Options) *Ring {
	t.Helper()
	r, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func closeRing(t testing.TB, r *Ring) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if c := r.Counters(); c.Received != c.Written+c.Other+c.Cut+c.Dropped+c.Failed {
		t.Errorf("the counters don't add up: %+v", c)
	}
}

// read1 reads a file that was made of kept packets.
func openFile(t testing.TB, name string) capture.Source {
	t.Helper()
	src, err := capture.Open([]capture.Input{{Path: name}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// place writes what a query gives to a file.
func place(t testing.TB, dir string, write func(io.Writer, Query) (Count, error), q Query) (string, Count) {
	t.Helper()
	name := filepath.Join(dir, "x.pcapng")
	var b bytes.Buffer
	n, err := write(&b, q)
	if err != nil {
		t.Fatalf("%v: %+v", err, q)
	}
	if n.Bytes != int64(b.Len()) {
		t.Errorf("%d bytes, told %d", b.Len(), n.Bytes)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, n
}

// packetsOf returns the packets of a source.
func packetsOf(t testing.TB, src capture.Source) (all []capture.Record) {
	t.Helper()
	var r capture.Record
	for {
		switch err := src.Next(&r); {
		case err == nil:
			c := r
			c.Data, c.Block = bytes.Clone(r.Data), nil
			all = append(all, c)
		case errors.Is(err, io.EOF):
			return all
		default:
			t.Fatal(err)
		}
	}
}

// corpus returns the captures that others have made, and skips when they aren't there.
func corpus(t *testing.T) (all []string) {
	t.Helper()
	dir := os.Getenv("CULPRIT_SHARED")
	if dir == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder with the corpus")
	}
	err := filepath.Walk(filepath.Join(dir, "corpus", "files"), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Size() < 8<<20 && strings.Contains(filepath.Ext(path), "cap") {
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Skipf("no captures in CULPRIT_SHARED: %v", err)
	}
	return all
}
