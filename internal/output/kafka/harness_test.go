package kafka

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

// patience is when a test that waits gives up.
const patience = time.Minute

// newCluster starts three brokers with both topics.
func newCluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(6, DefaultTopic), kfake.SeedTopics(2, DefaultRollupTopic)}, options...)
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// newSender returns one for a cluster.
func newSender(t *testing.T, c *kfake.Cluster, set func(*Options)) *Sender {
	t.Helper()
	o := Options{Brokers: c.ListenAddrs(), Timeout: patience}
	if set != nil {
		set(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// numbered returns the event with a number. Its key is one of ten.
func numbered(n int) (e ship.Event) {
	e.ID = numberedID(n)
	e.Time = int64(1_700_000_000_000+n) * int64(time.Millisecond)
	e.Weight = 1
	e.Key = fmt.Appendf(nil, "1:key-%d", n%10)
	e.Body = fmt.Appendf(nil, `{"n":%d}`, n)
	return e
}

func numberedID(n int) (id [exchange.IDSize]byte) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// numberedBatch returns the events from a number on.
func numberedBatch(from, count int) (all []ship.Event) {
	for n := from; n < from+count; n++ {
		all = append(all, numbered(n))
	}
	return all
}

// number returns that of a record, by its header.
func number(t *testing.T, r *kgo.Record) int {
	t.Helper()
	for _, h := range r.Headers {
		if h.Key == HeaderID {
			id, ok := exchange.ParseID(string(h.Value))
			if n := int(binary.BigEndian.Uint64(id[8:])); ok && numberedID(n) == id {
				return n
			}
		}
	}
	t.Fatalf("a record without id: %v", r.Headers)
	return 0
}

// consume returns all records of a topic, partition by partition, in their order.
func consume(t *testing.T, brokers []string, topic string, options ...kgo.Opt) (all []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	known, err := metadata.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	ends := kmsg.NewPtrListOffsetsRequest()
	asked := kmsg.ListOffsetsRequestTopic{Topic: topic}
	for _, p := range known.Topics[0].Partitions {
		q := kmsg.NewListOffsetsRequestTopicPartition()
		q.Partition, q.Timestamp = p.Partition, -1
		asked.Partitions = append(asked.Partitions, q)
	}
	ends.Topics = append(ends.Topics, asked)
	answer, err := ends.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	left, start := 0, map[int32]kgo.Offset{}
	for _, p := range answer.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Fatalf("partition %d: error %d", p.Partition, p.ErrorCode)
		}
		left += int(p.Offset)
		start[p.Partition] = kgo.NewOffset().AtStart()
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: start})
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records := fetches.Records()
		left -= len(records)
		all = append(all, records...)
	}
	slices.SortStableFunc(all, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return all
}

// counts returns how often each number was consumed.
func counts(t *testing.T, records []*kgo.Record) map[int]int {
	t.Helper()
	all := map[int]int{}
	for _, r := range records {
		all[number(t, r)]++
	}
	return all
}

// deliver sends one batch, which has to succeed as a whole.
func deliver(t *testing.T, s *Sender, events []ship.Event) {
	t.Helper()
	if r, err := s.Send(context.Background(), events); err != nil || len(r.Retry) > 0 || len(r.Rejected) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// once fails unless each of the numbers below count was consumed exactly once.
func once(t *testing.T, all map[int]int, count int) {
	t.Helper()
	for n := range count {
		if all[n] != 1 {
			t.Errorf("event %d was consumed %d times", n, all[n])
		}
	}
	if len(all) != count {
		t.Errorf("%d events were consumed, want %d", len(all), count)
	}
}

// ports returns those of a cluster.
func ports(t *testing.T, c *kfake.Cluster) (all []int) {
	t.Helper()
	for _, address := range c.ListenAddrs() {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, port)
	}
	return all
}
