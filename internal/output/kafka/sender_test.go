package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

func TestRecords(t *testing.T) {
	for name := range codecs {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			s := newSender(t, c, func(o *Options) { o.Compression = name })
			events := numberedBatch(0, 100)
			rollup := numbered(100)
			rollup.Kind, rollup.Key = ship.Rollup, nil
			deliver(t, s, append(events, rollup))

			records := consume(t, c.ListenAddrs(), DefaultTopic)
			once(t, counts(t, records), 100)
			for _, r := range records {
				want := numbered(number(t, r))
				id := exchange.AppendID(nil, want.ID)
				if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Body) || r.Timestamp.UnixNano() != want.Time || len(r.Headers) != 2 ||
					r.Headers[0].Key != "event.id" || !bytes.Equal(r.Headers[0].Value, id) ||
					r.Headers[1].Key != "content-type" || string(r.Headers[1].Value) != "application/json" {
					t.Errorf("%s=%s, %v, %v", r.Key, r.Value, r.Headers, r.Timestamp)
				}
			}
			records = consume(t, c.ListenAddrs(), DefaultRollupTopic)
			if len(records) != 1 || number(t, records[0]) != 100 || records[0].Key != nil || !bytes.Equal(records[0].Value, rollup.Body) {
				t.Errorf("%v", records)
			}
		})
	}
}

// One batch after the other: what belongs to a connection is in one partition, in order.
func TestOrderOfKey(t *testing.T) {
	c := newCluster(t)
	s := newSender(t, c, nil)
	for from := 0; from < 2000; from += 100 {
		deliver(t, s, numberedBatch(from, 100))
	}
	partition, last, used := map[string]int32{}, map[string]int{}, map[int32]bool{}
	for _, r := range consume(t, c.ListenAddrs(), DefaultTopic) {
		key, n := string(r.Key), number(t, r)
		if p, ok := partition[key]; ok && p != r.Partition {
			t.Fatalf("%s is in partitions %d and %d", key, p, r.Partition)
		}
		if before, ok := last[key]; ok && n <= before {
			t.Fatalf("%s: %d after %d", key, n, before)
		}
		partition[key], last[key], used[r.Partition] = r.Partition, n, true
	}
	if len(partition) != 10 || len(used) < 2 {
		t.Errorf("%d keys in %d partitions", len(partition), len(used))
	}
}

func TestBrokersAway(t *testing.T) {
	folder := t.TempDir()
	first := newCluster(t, kfake.DataDir(folder))
	s := newSender(t, first, nil)
	deliver(t, s, numberedBatch(0, 50))
	listeners := ports(t, first)
	first.Close()

	// The session that is there has to end by itself: its time is what the test waits for.
	s.options.Timeout = 2 * time.Second
	for range 2 {
		r, err := s.Send(context.Background(), numberedBatch(50, 50))
		if err == nil || !strings.Contains(err.Error(), "connection refused") || len(r.Retry) != 0 || r.Delivered != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	s.options.Timeout = patience
	second := newCluster(t, kfake.DataDir(folder), kfake.Ports(listeners...))
	deliver(t, s, numberedBatch(50, 50))
	once(t, counts(t, consume(t, second.ListenAddrs(), DefaultTopic)), 100)
}

// A sender is made while nothing listens.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s, err := New(Options{Brokers: []string{l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	// The default timeout is longer than the test's patience is worth; the refusal comes at once.
	if _, err := s.Send(context.Background(), numberedBatch(0, 1)); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A broker takes requests and never answers. When Send has given up, nothing is sent any more.
func TestStalled(t *testing.T) {
	c := newCluster(t)
	s := newSender(t, c, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	var stalled atomic.Bool
	stalled.Store(true)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, nil, stalled.Load()
	})
	events := numberedBatch(0, 200)
	if r, err := s.Send(context.Background(), events); err == nil || !strings.Contains(err.Error(), "not acknowledged within 300ms") || len(r.Retry) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := range events {
		clear(events[i].Body)
	}
	stalled.Store(false)
	s.options.Timeout = patience
	deliver(t, s, numberedBatch(0, 200))
	records := consume(t, c.ListenAddrs(), DefaultTopic)
	once(t, counts(t, records), 200)
	for _, r := range records {
		if want := numbered(number(t, r)); !bytes.Equal(r.Value, want.Body) {
			t.Errorf("%q", r.Value)
		}
	}
}

func TestCanceled(t *testing.T) {
	c := newCluster(t)
	s := newSender(t, c, nil)
	ctx, cancel := context.WithCancel(context.Background())
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		return nil, nil, true
	})
	if r, err := s.Send(ctx, numberedBatch(0, 1)); !errors.Is(err, context.Canceled) || len(r.Retry) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// One partition can't be written: its events are sent again, the others aren't.
func TestOnePartitionFails(t *testing.T) {
	c := newCluster(t)
	s := newSender(t, c, func(o *Options) { o.Timeout = 2 * time.Second })
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Partitions: []int32{3}, Err: kerr.NotEnoughReplicas, Count: -1})
	events := numberedBatch(0, 100)
	r, err := s.Send(context.Background(), events)
	if err != nil || len(r.Retry) == 0 || len(r.Retry) == 100 || len(r.Rejected) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !slices.IsSorted(r.Retry) {
		t.Errorf("not in order: %v", r.Retry)
	}
	fault.Remove()
	s.options.Timeout = patience
	var again []ship.Event
	for _, i := range r.Retry {
		again = append(again, events[i])
	}
	deliver(t, s, again)
	once(t, counts(t, consume(t, c.ListenAddrs(), DefaultTopic)), 100)
}

func TestTooLarge(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     func(*Options)
		cluster []kfake.Opt
	}{
		{"here", func(o *Options) { o.MaxMessageBytes = 4000 }, nil},
		{"there", nil, []kfake.Opt{kfake.BrokerConfigs(map[string]string{"message.max.bytes": "4000"})}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, test.cluster...)
			s := newSender(t, c, func(o *Options) {
				o.Compression = "none"
				if test.set != nil {
					test.set(o)
				}
			})
			events := numberedBatch(0, 500)
			large := []int{0, 77, 78, 499}
			for _, i := range large {
				events[i].Body = bytes.Repeat([]byte{'x'}, 5000)
			}
			r, err := s.Send(context.Background(), events)
			if err != nil || len(r.Retry) != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			var rejected []int
			for _, x := range r.Rejected {
				rejected = append(rejected, x.Index)
				if want := fmt.Sprintf("%d bytes are too large", 5000+len(events[x.Index].Key)); !strings.HasPrefix(x.Reason, want) {
					t.Errorf("%s: want %s", x.Reason, want)
				}
			}
			if !slices.Equal(rejected, large) {
				t.Errorf("rejected %v, want %v", rejected, large)
			}
			all := counts(t, consume(t, c.ListenAddrs(), DefaultTopic))
			for _, i := range large {
				all[i]++
			}
			once(t, all, 500)
			deliver(t, s, numberedBatch(500, 10))
		})
	}
}

// The refusal of a batch is that of single records, as soon as they are alone.
func TestRefused(t *testing.T) {
	for _, refusal := range []*kerr.Error{kerr.InvalidTimestamp, kerr.InvalidRecord, kerr.RecordListTooLarge} {
		t.Run(refusal.Message, func(t *testing.T) {
			c := newCluster(t)
			s := newSender(t, c, func(o *Options) { o.Compression = "none" })
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Err: refusal, Count: -1, When: func(r kmsg.Request) bool {
				for _, topic := range r.(*kmsg.ProduceRequest).Topics {
					for _, p := range topic.Partitions {
						if bytes.Contains(p.Records, []byte("poison")) {
							return true
						}
					}
				}
				return false
			}})
			events := numberedBatch(0, 100)
			events[42].Body = []byte("poison")
			r, err := s.Send(context.Background(), events)
			if err != nil || len(r.Retry) != 0 || len(r.Rejected) != 1 || r.Rejected[0].Index != 42 || !strings.Contains(r.Rejected[0].Reason, refusal.Message) &&
				!strings.Contains(r.Rejected[0].Reason, "MESSAGE_TOO_LARGE") {
				t.Fatalf("%+v, %v", r, err)
			}
			all := counts(t, consume(t, c.ListenAddrs(), DefaultTopic))
			all[42]++
			once(t, all, 100)
			// A batch with nothing else is no error either: the receiver is fine.
			if r, err := s.Send(context.Background(), events[42:43]); err != nil || len(r.Rejected) != 1 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestTopicMissing(t *testing.T) {
	c := newCluster(t, kfake.AllowAutoTopicCreation())
	s := newSender(t, c, func(o *Options) { o.Topic = "elsewhere" })
	if _, err := s.Send(context.Background(), numberedBatch(0, 3)); !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "elsewhere") || !strings.Contains(err.Error(), "create_topics") {
		t.Fatal(err)
	}
	if s.session != nil {
		t.Error("the session goes on after an error")
	}
	s = newSender(t, c, func(o *Options) { o.Topic, o.CreateTopics = "elsewhere", true })
	deliver(t, s, numberedBatch(0, 3))
	once(t, counts(t, consume(t, c.ListenAddrs(), "elsewhere")), 3)
}

// Brokers tell addresses that can't be reached from here: a classic.
func TestAdvertised(t *testing.T) {
	c := newCluster(t)
	seed := c.ListenAddrs()[0]
	refused := &net.OpError{Op: "dial", Err: errors.New("no route to host")}
	s := newSender(t, c, func(o *Options) {
		o.Brokers, o.Timeout = []string{seed}, 500*time.Millisecond
		o.Endpoint.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != seed {
				return nil, refused
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	})
	// The broker that can be reached takes what it leads: the rest is alone then.
	events := numberedBatch(0, 10)
	for range 2 {
		r, err := s.Send(context.Background(), events)
		if err != nil {
			if !errors.Is(err, refused) || !strings.Contains(err.Error(), "advertised.listeners") || len(r.Retry) != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		events = events[:0:0]
		for _, i := range r.Retry {
			events = append(events, numbered(i))
		}
	}
	t.Errorf("%d events are left, and no error", len(events))
}
