package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

const (
	// recordRetries is how often the client repeats what brokers refuse for the time being, about 15 s in all. After that
	// their reason is worth more than another try, and later tries are the shipper's.
	recordRetries = 6
	// metadataMinAge is how soon the client asks again who leads a partition, after it moved.
	metadataMinAge = time.Second
	// maxAnswerBytes bounds an answer of a broker. The largest lists brokers and partitions.
	maxAnswerBytes = 16 << 20
)

// Sender produces records to one cluster. It implements ship.Sender.
type Sender struct {
	options Options
	client  []kgo.Opt
	dialer  *dialer
	// session is the client that is connected; nil: none is.
	session *kgo.Client

	contentType []byte
	// What follows is used again by each Send.
	records []kgo.Record
	headers []kgo.RecordHeader
	ids     []byte
	errs    []error
}

var _ ship.Sender = (*Sender)(nil)

// New returns a sender. Nothing is connected yet.
func New(o Options) (*Sender, error) {
	o = o.withDefaults()
	if err := checkBrokers(o.Brokers); err != nil {
		return nil, err
	}
	if o.MaxMessageBytes < minMessageBytes || o.MaxMessageBytes > maxMessageBytes {
		return nil, fmt.Errorf("max_message_bytes: %d: want %d to %d", o.MaxMessageBytes, minMessageBytes, maxMessageBytes)
	}
	codec, err := o.codec()
	if err != nil {
		return nil, err
	}
	proofs, err := o.mechanisms()
	if err != nil {
		return nil, err
	}
	s := &Sender{options: o, dialer: &dialer{}, contentType: []byte(ContentType)}
	s.dialer.endpoint = &s.options.Endpoint
	if o.Encrypt {
		if s.dialer.tls, err = o.Endpoint.TLS.Config(); err != nil {
			return nil, err
		}
	} else if o.Endpoint.TLS != (endpoint.TLS{}) {
		return nil, errors.New("ca, cert, key, server_name and insecure are for TLS: want tls://HOST")
	}
	s.client = []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.Dialer(s.dialer.dial),
		kgo.SASL(proofs...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codec, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessageBytes)),
		kgo.BrokerMaxReadBytes(maxAnswerBytes),
		kgo.FetchMaxBytes(maxAnswerBytes),
		kgo.ProduceRequestTimeout(o.Timeout),
		kgo.RetryTimeout(o.Timeout),
		kgo.RecordRetries(recordRetries),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.DisableClientMetrics(),
	}
	if o.CreateTopics {
		s.client = append(s.client, kgo.AllowAutoTopicCreation())
	}
	if err := kgo.ValidateOpts(s.client...); err != nil {
		return nil, err
	}
	return s, nil
}

// Send implements ship.Sender.
func (s *Sender) Send(ctx context.Context, events []ship.Event) (ship.Result, error) {
	if len(events) == 0 {
		return ship.Result{}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	s.encode(events)
	s.errs = append(s.errs[:0], make([]error, len(events))...)
	all := make([]int, len(events))
	for i := range all {
		all[i] = i
	}
	// A broker that refuses a batch doesn't say for which of its records. So what was refused is sent again in halves, down
	// to records that are refused alone. Batches are the client's, by partition: a record that is the only one
	// to be refused was alone.
	for groups := [][]int{all}; len(groups) > 0; {
		group := groups[len(groups)-1]
		groups = groups[:len(groups)-1]
		s.produce(bounded, group)
		var refused []int
		for _, i := range group {
			if refusalOf(s.errs[i]) != nil {
				refused = append(refused, i)
			}
		}
		if half := len(refused) / 2; half > 0 {
			groups = append(groups, refused[half:], refused[:half])
		}
	}
	result, failed := s.result(events)
	if failed == nil {
		return result, nil
	}
	// The next Send connects anew, and hears at once if that can't be done.
	s.end()
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("kafka: %w", err)
	}
	return result, s.explain(failed)
}

// result is what became of the events, by errs. The error, if nothing was delivered, is the most telling of them.
func (s *Sender) result(events []ship.Event) (r ship.Result, failed error) {
	for i, err := range s.errs {
		switch refusal := refusalOf(err); {
		case err == nil:
		case refusal != nil:
			r.Rejected = append(r.Rejected, ship.Rejection{Index: i, Reason: refusal.reason(&s.options, &events[i])})
		default:
			r.Retry = append(r.Retry, i)
			if failed == nil || isVague(failed) {
				failed = err
			}
		}
	}
	if failed == nil || len(r.Retry)+len(r.Rejected) < len(events) {
		return r, nil
	}
	r.Retry = nil
	return r, failed
}

// encode makes records of events.
func (s *Sender) encode(events []ship.Event) {
	s.records, s.headers, s.ids = s.records[:0], s.headers[:0], s.ids[:0]
	for i := range events {
		s.ids = exchange.AppendID(s.ids, events[i].ID)
	}
	idSize := len(s.ids) / len(events)
	for i := range events {
		s.headers = append(s.headers,
			kgo.RecordHeader{Key: HeaderID, Value: s.ids[i*idSize : (i+1)*idSize]},
			kgo.RecordHeader{Key: HeaderContentType, Value: s.contentType})
	}
	for i := range events {
		e := &events[i]
		r := kgo.Record{Value: e.Body, Headers: s.headers[2*i : 2*i+2 : 2*i+2], Timestamp: time.Unix(0, e.Time), Topic: s.options.Topic}
		if e.Kind == ship.Rollup {
			r.Topic = s.options.RollupTopic
		}
		if len(e.Key) > 0 {
			r.Key = e.Key
		}
		s.records = append(s.records, r)
	}
}

// produce sends records and sets their errs. When it returns, the client has let go of all of them.
func (s *Sender) produce(ctx context.Context, group []int) {
	err := s.connect(ctx)
	if err != nil {
		for _, i := range group {
			s.errs[i] = err
		}
		return
	}
	done, left := make(chan struct{}), len(group)
	for _, i := range group {
		s.session.Produce(ctx, &s.records[i], func(_ *kgo.Record, err error) {
			// The client calls from one goroutine at a time.
			s.errs[i] = err
			if left--; left == 0 {
				close(done)
			}
		})
	}
	select {
	case <-done:
	case <-ctx.Done():
		// The client gives up what is on the wire only when it is closed: while it waits, it can still tell a repetition
		// from a new record.
		s.end()
		<-done
	}
}

// connect makes sure that there is a session, so that a cluster that can't be reached, or refuses us, says so at once.
func (s *Sender) connect(ctx context.Context) error {
	if err := ctx.Err(); err != nil || s.session != nil {
		return err
	}
	s.dialer.reset()
	client, err := kgo.NewClient(s.client...)
	if err != nil {
		return err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return err
	}
	s.session = client
	return nil
}

// end closes the session, if there is one. All that it still has to send fails.
func (s *Sender) end() {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
}

// Close implements ship.Sender.
func (s *Sender) Close() error {
	s.end()
	return nil
}
