package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/culprit-http/culprit/internal/ship"
)

// refusal is an error that will be the same each time that the record is sent.
type refusal struct {
	err *kerr.Error
	// reason says so to people.
	reason func(o *Options, e *ship.Event) string
}

// refusals are all there are. Everything else is tried again.
var refusals = []refusal{
	{kerr.MessageTooLarge, tooLarge},
	{kerr.RecordListTooLarge, tooLarge},
	{kerr.InvalidTimestamp, func(o *Options, e *ship.Event) string {
		return fmt.Sprintf("topic %s takes no record of that time (INVALID_TIMESTAMP): raise its message.timestamp.before.max.ms, and for clocks that are fast message.timestamp.after.max.ms", o.topic(e))
	}},
	{kerr.InvalidRecord, func(o *Options, e *ship.Event) string {
		key := "with"
		if len(e.Key) == 0 {
			key = "without"
		}
		return fmt.Sprintf("topic %s doesn't take the record (INVALID_RECORD), which is one %s key: a compacted topic takes none without; want cleanup.policy=delete", o.topic(e), key)
	}},
}

func tooLarge(o *Options, e *ship.Event) string {
	return fmt.Sprintf("%d bytes are too large (MESSAGE_TOO_LARGE): max_message_bytes is %d here, and max.message.bytes of topic %s may be less", len(e.Body)+len(e.Key), o.MaxMessageBytes, o.topic(e))
}

// topic returns where an event goes.
func (o *Options) topic(e *ship.Event) string {
	if e.Kind == ship.Rollup {
		return o.RollupTopic
	}
	return o.Topic
}

// refusalOf returns the refusal that an error is, or nil.
func refusalOf(err error) *refusal {
	if err == nil {
		return nil
	}
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return &refusals[i]
		}
	}
	return nil
}

// advice is what users can do about errors of a cluster. TOPICS and USER stand for those of the settings.
var advice = []struct {
	err  error
	text string
}{
	{kerr.UnknownTopicOrPartition, "create topics TOPICS, or let brokers do it: create_topics here, auto.create.topics.enable there"},
	{kerr.InvalidTopicException, "names of topics have letters, digits, '.', '_' and '-' only; these are TOPICS"},
	{kerr.TopicAuthorizationFailed, "user USER needs the operations Write and Describe on topics TOPICS, with create_topics also Create"},
	{kerr.ClusterAuthorizationFailed, "user USER needs the operation Write on topics TOPICS; before Kafka 3.0 also IdempotentWrite on the cluster"},
	{kerr.SaslAuthenticationFailed, "check user and password"},
	{kerr.UnsupportedSaslMechanism, "set sasl to what the brokers' sasl.enabled.mechanisms has; plain is only used without being told over TLS"},
	{kerr.NotEnoughReplicas, "fewer replicas are in sync than the topic's min.insync.replicas: are brokers down?"},
	{kerr.NotEnoughReplicasAfterAppend, "fewer replicas are in sync than the topic's min.insync.replicas: are brokers down?"},
	{kerr.UnsupportedVersion, "brokers must be of Kafka 0.11 or newer"},
	{io.EOF, "a broker has closed the connection: check user, password and sasl, and whether its listener wants TLS"},
}

// explain returns an error of a batch, with what the user can do.
func (s *Sender) explain(err error) error {
	if problem := s.dialer.problem(); problem != nil && (isVague(err) || errors.Is(err, errors.Unwrap(problem))) {
		return fmt.Errorf("kafka: can't connect to a broker: %w; an address that isn't one of yours is what the broker itself tells (advertised.listeners), and has to be reachable from here", problem)
	}
	if isVague(err) {
		return fmt.Errorf("kafka: not acknowledged within %s: are brokers overloaded, or is timeout too short? %w", s.options.Timeout, err)
	}
	for _, a := range advice {
		if errors.Is(err, a.err) {
			names := strings.NewReplacer("TOPICS", s.options.Topic+" and "+s.options.RollupTopic, "USER", s.options.Endpoint.Auth.User)
			return fmt.Errorf("kafka: %w; %s", err, names.Replace(a.text))
		}
	}
	return fmt.Errorf("kafka: %w", err)
}

// isVague reports whether an error only says that it took too long, and not why.
func isVague(err error) bool {
	for _, vague := range []error{context.DeadlineExceeded, context.Canceled, kgo.ErrClientClosed, kgo.ErrRecordRetries, kgo.ErrRecordTimeout} {
		if errors.Is(err, vague) {
			return true
		}
	}
	return false
}
