package kafka

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/culprit-http/culprit/internal/ship"
)

// wire makes connections that lose answers: cut is how many more.
type wire struct {
	cut atomic.Int32
	// ports are the brokers', by node.
	ports []int
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &wiredConn{Conn: c, wire: w}, nil
}

type wiredConn struct {
	net.Conn
	wire *wire
}

// Read reads, or closes the connection once an answer is there.
func (c *wiredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.wire.cut.Add(-1) >= 0 {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// disturbances are what can happen to a cluster while a batch is on its way.
var disturbances = []struct {
	name string
	do   func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire)
}{
	{"none", func(*testing.T, *rand.Rand, *kfake.Cluster, *wire) {}},
	{"answers are lost", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) { w.cut.Store(1 + r.Int32N(6)) }},
	{"leaders move", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) { c.ShufflePartitionLeaders() }},
	{"a leader moves under way", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.DropControl()
			c.SleepControl(c.ShufflePartitionLeaders)
			return nil, nil, false
		})
	}},
	{"a broker is replaced", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		node := c.LeaderFor(DefaultTopic, r.Int32N(6))
		if err := c.RemoveNode(node); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.AddNode(node, w.ports[node]); err != nil {
			t.Fatal(err)
		}
	}},
	{"a connection ends before the request is read", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("the broker was killed"), true
		})
	}},
	{"a broker stalls", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
	}},
	{"written, but not acknowledged in time", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Err: kerr.RequestTimedOut, Count: 1 + r.IntN(3)})
	}},
	{"written, but not by enough", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Err: kerr.NotEnoughReplicasAfterAppend, Count: 1 + r.IntN(3)})
	}},
	{"too few replicas", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Partitions: []int32{r.Int32N(6)}, Err: kerr.NotEnoughReplicas, Count: 1 + r.IntN(12)})
	}},
	{"the producer is forgotten", func(t *testing.T, r *rand.Rand, c *kfake.Cluster, w *wire) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Err: kerr.UnknownProducerID})
	}},
}

// Whatever happens on the way, every event is consumed in the end, and those whose first Send had nothing to complain
// about, exactly once.
func TestSentIsConsumed(t *testing.T) {
	const batch, seed = 60, 7
	rounds := 2 * len(disturbances)
	if testing.Short() {
		rounds = len(disturbances)
	}
	c := newCluster(t)
	w, r := &wire{ports: ports(t, c)}, rand.New(rand.NewPCG(seed, 0))
	s := newSender(t, c, func(o *Options) { o.Timeout, o.Endpoint.Dial = 700*time.Millisecond, w.dial })
	var pending []int
	sent, repeated := 0, map[int]bool{}
	for round := 0; round < rounds || len(pending) > 0; round++ {
		if round < rounds {
			d := &disturbances[round%len(disturbances)]
			t.Log(d.name)
			d.do(t, r, c, w)
			for range batch {
				pending = append(pending, sent)
				sent++
			}
		} else {
			w.cut.Store(0)
			s.options.Timeout = patience
		}
		if round > rounds+10 {
			t.Fatalf("%d events are still not delivered", len(pending))
		}
		var events []ship.Event
		for _, n := range pending {
			events = append(events, numbered(n))
		}
		result, err := s.Send(context.Background(), events)
		if len(result.Rejected) > 0 {
			t.Fatalf("rejected: %+v", result.Rejected)
		}
		// They were only lent.
		for i := range events {
			clear(events[i].Body)
			clear(events[i].Key)
		}
		again := pending
		if err == nil {
			again = nil
			for _, i := range result.Retry {
				again = append(again, pending[i])
			}
		}
		for _, n := range again {
			repeated[n] = true
		}
		pending = again
	}

	records := consume(t, c.ListenAddrs(), DefaultTopic)
	partition := map[string]int32{}
	for _, record := range records {
		want := numbered(number(t, record))
		if !bytes.Equal(record.Value, want.Body) || !bytes.Equal(record.Key, want.Key) {
			t.Fatalf("%s=%q, want %s=%q", record.Key, record.Value, want.Key, want.Body)
		}
		if p, ok := partition[string(record.Key)]; ok && p != record.Partition {
			t.Errorf("%s is in partitions %d and %d", record.Key, p, record.Partition)
		}
		partition[string(record.Key)] = record.Partition
	}
	all, duplicates := counts(t, records), 0
	for n := range sent {
		switch {
		case all[n] == 0:
			t.Errorf("event %d is lost", n)
		case all[n] > 1 && !repeated[n]:
			t.Errorf("event %d was sent once, and consumed %d times", n, all[n])
		}
		duplicates += max(0, all[n]-1)
	}
	if len(all) != sent {
		t.Errorf("%d events were consumed, %d sent", len(all), sent)
	}
	// Both kinds of events have to be there, or the test has shown nothing.
	if len(repeated) == 0 || len(repeated) > sent*2/3 {
		t.Errorf("%d of %d events were sent again", len(repeated), sent)
	}
	t.Logf("%d events, %d sent again, %d duplicates", sent, len(repeated), duplicates)
}
