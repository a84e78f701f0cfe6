package pipeline_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// memory is a capture.Source of records in memory. A record without data is a pause of the input.
type memory struct {
	records []capture.Record
	at      int
	tap     capture.Tap
	// end is what Next returns behind the last record; nil: io.EOF.
	end error
}

func (m *memory) Next(r *capture.Record) error {
	if m.at == len(m.records) {
		if m.end != nil {
			return m.end
		}
		return io.EOF
	}
	*r = m.records[m.at]
	m.at++
	if r.Data == nil {
		return capture.ErrIdle
	}
	m.tap.Received++
	m.tap.Bytes += uint64(len(r.Data))
	return nil
}

func (m *memory) Taps() []capture.Tap { return []capture.Tap{m.tap} }
func (m *memory) Warnings() []string  { return nil }
func (m *memory) Close() error        { return nil }

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

// received is a pipeline.Receiver that writes down what it is given.
type received struct {
	// each, if not nil, is called for every exchange.
	each func(x *exchange.Exchange) error
	// waited is called for every request that is shown as waiting.
	waited func(x *exchange.Exchange)
	// paused is called when the input pauses.
	paused func()
	idles  int
	grades [exchange.Grades]uint64
}

func (r *received) Exchanges(done, waiting []*exchange.Exchange) error {
	for _, x := range done {
		r.grades[x.Grade]++
		if r.each != nil {
			if err := r.each(x); err != nil {
				return err
			}
		}
	}
	for _, x := range waiting {
		if r.waited != nil {
			r.waited(x)
		}
	}
	return nil
}

func (r *received) Idle() error {
	r.idles++
	if r.paused != nil {
		r.paused()
	}
	return nil
}

func config() pipeline.Config {
	return pipeline.Config{
		Workers: 1,
		Memory:  512 << 20,
		Packet:  packet.DefaultLimits(),
		TCP:     tcp.DefaultLimits,
		Parser:  proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{
			MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute,
		},
	}
}

// run runs the pipeline over records, and checks that its totals reconcile.
func run(t testing.TB, c pipeline.Config, src []capture.Record, to *received) pipeline.Stats {
	t.Helper()
	stats, err := pipeline.Run(context.Background(), &memory{records: src}, c, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := reconcile(src, &stats, to); err != nil {
		t.Error(err)
	}
	return stats
}

// reconcile checks that every packet, byte and exchange is accounted for.
func reconcile(src []capture.Record, s *pipeline.Stats, to *received) error {
	var sent, sum pipeline.Count
	for i := range src {
		if src[i].Data != nil {
			sent.Packets++
			sent.Bytes += uint64(len(src[i].Data))
		}
	}
	sum = s.Analysed
	for _, c := range s.Ignored {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	if s.Received != sent || sum != sent {
		return fmt.Errorf("received %v of %v, but analysed %v and ignored %v", s.Received, sent, s.Analysed, s.Ignored)
	}
	if s.Exchanges != to.grades {
		return fmt.Errorf("counted exchanges %v, delivered %v", s.Exchanges, to.grades)
	}
	return nil
}

// document returns the exchanges of a capture as NDJSON.
func document(t testing.TB, c pipeline.Config, src []capture.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	o := ndjson.New(&out)
	number := uint64(0)
	run(t, c, src, &received{each: func(x *exchange.Exchange) error {
		number++
		x.Number = number
		return o.Exchange(x)
	}})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
