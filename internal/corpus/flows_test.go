package corpus

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/udp"
)

// withFlows reads a capture with records of all its flows, as NDJSON, and checks what must be true of it: that everything is
// accounted for, and that the records of a flow follow one another and tell of no more than was analysed.
func withFlows(t *testing.T, e *entry, workers int, set func(c *pipeline.Config)) []byte {
	source, err := capture.Open([]capture.Input{{Path: e.file}}, capture.Options{})
	if err != nil {
		t.Errorf("%s: %v", e.name, err)
		return nil
	}
	defer source.Close()
	src := &counted{Source: source}
	c := pipeline.Config{
		Workers: workers, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
		Flows:    pipeline.AllFlows, FlowPeriod: 30 * time.Second,
	}
	set(&c)
	var out bytes.Buffer
	o := ndjson.New(&out)
	delivered := [exchange.Grades]uint64{}
	next := map[*proto.Flow]int{}
	var number, ended, packets uint64
	stats, err := pipeline.Run(context.Background(), src, c, receiver(func(x *exchange.Exchange) {
		number++
		x.Number = number
		delivered[x.Grade]++
		_ = o.Exchange(x) // a bytes.Buffer takes everything
		p := x.Period
		if p == nil {
			return
		}
		if p.Number != next[x.Flow] {
			t.Errorf("%s: record %d of %s is number %d", e.name, next[x.Flow], x.Flow.End(0), p.Number)
		}
		if next[x.Flow]++; p.Final {
			ended++
			next[x.Flow] = -1 // nothing may follow
		}
		packets += x.During[0].Packets + x.During[1].Packets
	}))
	_ = o.Close()
	if err != nil {
		t.Errorf("%s, %d workers: %v", e.name, workers, err)
		return nil
	}
	if err := reconcile(src, &stats, delivered); err != nil {
		t.Errorf("%s, %d workers: %v", e.name, workers, err)
	}
	if ended < stats.TCP.Connections+stats.UDP.Flows {
		t.Errorf("%s: %d flows have ended, there were %d connections of TCP and %d flows of UDP", e.name, ended, stats.TCP.Connections, stats.UDP.Flows)
	}
	if packets > stats.Received.Packets {
		t.Errorf("%s: the records tell of %d packets, %d were received", e.name, packets, stats.Received.Packets)
	}
	return out.Bytes()
}

// TestFlowsOfEveryCapture holds the records of flows against what must always be true, whatever is in a capture.
func TestFlowsOfEveryCapture(t *testing.T) {
	each(readIndex(t, shared(t, "corpus")), func(e *entry) {
		want := withFlows(t, e, 1, func(*pipeline.Config) {})
		if got := withFlows(t, e, 5, func(*pipeline.Config) {}); !bytes.Equal(got, want) {
			t.Errorf("%s: 5 workers give other output than one:\n%s", e.name, firstDifference(want, got))
		}
	})
}

// TestFewFlows: what is forgotten for lack of room is the same with any number of workers.
func TestFewFlows(t *testing.T) {
	topics := []string{"dns", "mysql", "redis", "postgresql", "mongodb", "memcache"}
	taken := 0
	for _, e := range readIndex(t, shared(t, "corpus")) {
		if !slices.Contains(topics, e.topic) {
			continue
		}
		taken++
		for _, few := range []int{1, 2} {
			set := func(c *pipeline.Config) {
				c.UDP.MaxFlows, c.TCP.MaxConns, c.TCP.MaxLinger, c.FlowPeriod = few, few, 1, time.Second
			}
			want := withFlows(t, &e, 1, set)
			for _, workers := range []int{2, 5} {
				if got := withFlows(t, &e, workers, set); !bytes.Equal(got, want) {
					t.Errorf("%s, %d flows: %d workers give other output than one:\n%s", e.name, few, workers, firstDifference(want, got))
				}
			}
		}
	}
	if taken < 50 {
		t.Errorf("only %d captures of databases and DNS", taken)
	}
}
