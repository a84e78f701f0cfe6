// Package kafka delivers events to Apache Kafka, and to what speaks its protocol: a record for each event, keyed by
// connection, acknowledged by all replicas that are in sync.
//
// A Sender is a producer of its own. Within one session (one client, with the producer id that brokers gave it)
// the client repeats what was lost on the way, and brokers recognise repetitions by their sequence numbers. A session ends
// when Send fails; nothing stays behind in it. Whether brokers have written what wasn't acknowledged then is unknown, and
// the next session, under another id, sends it again: consumers tell such records by the header HeaderID.
package kafka

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// The headers of a record.
const (
	// HeaderID has the event's id as text. It is the same when an event is sent again.
	HeaderID = "event.id"
	// HeaderContentType has the media type of the value.
	HeaderContentType = "content-type"
)

// ContentType is the media type of all values.
const ContentType = "application/json"

// The defaults of Options.
const (
	// DefaultPort is Kafka's.
	DefaultPort = 9092
	// DefaultTopic and DefaultRollupTopic are where exchanges and rollups go.
	DefaultTopic       = "culprit-exchanges"
	DefaultRollupTopic = "culprit-rollups"
	// DefaultCompression is a key of the table of codecs.
	DefaultCompression = "zstd"
	// DefaultMaxMessageBytes is what Kafka takes unless it is told otherwise, less what a batch needs around a message.
	DefaultMaxMessageBytes = 1_000_012
	// DefaultTimeout bounds a Send.
	DefaultTimeout = 30 * time.Second
	// DefaultClientID is what brokers write to their logs and count quotas by.
	DefaultClientID = "culprit"
)

// The limits of MaxMessageBytes.
const (
	minMessageBytes = 1 << 10
	maxMessageBytes = 64 << 20
)

// Options say which cluster records go to, and how. Fields without value have the defaults above.
type Options struct {
	// Endpoint says how brokers are reached. Of its Auth, User and Password are used.
	Endpoint endpoint.Options
	// Brokers are some of the cluster's, HOST or HOST:PORT; they tell of the others.
	Brokers []string
	// Encrypt uses TLS.
	Encrypt bool
	// SASL is how User and Password are proved: plain, scram-sha-256 or scram-sha-512. Empty: by a SCRAM that brokers
	// offer; over TLS also by plain.
	SASL string
	// Topic and RollupTopic are where exchanges and rollups go.
	Topic, RollupTopic string
	// CreateTopics asks brokers to create topics that aren't there, as their own settings have it. They refuse unless
	// auto.create.topics.enable is set.
	CreateTopics bool
	// Compression of batches: none, gzip, snappy, lz4 or zstd.
	Compression string
	// MaxMessageBytes is the size of the largest batch, before compression, and so of the largest record. Topics need at
	// least as much as max.message.bytes.
	MaxMessageBytes int
	// Timeout bounds a Send.
	Timeout time.Duration
	// ClientID is culprit's name for brokers.
	ClientID string
}

// codecs are the compressions that Kafka knows. The fastest level of zstd makes documents 2 % larger than the usual one,
// for two thirds of its time.
var codecs = map[string]func() kgo.CompressionCodec{
	"none":   kgo.NoCompression,
	"gzip":   kgo.GzipCompression,
	"snappy": kgo.SnappyCompression,
	"lz4":    kgo.Lz4Compression,
	"zstd":   func() kgo.CompressionCodec { return kgo.ZstdCompression().WithLevel(int(zstd.SpeedFastest)) },
}

// mechanisms are the ways to prove a password, those to prefer first.
var mechanisms = []struct {
	name string
	// clear: the password itself is sent.
	clear bool
	make  func(user, password string) sasl.Mechanism
}{
	{"scram-sha-512", false, func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha512Mechanism() }},
	{"scram-sha-256", false, func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha256Mechanism() }},
	{"plain", true, func(u, p string) sasl.Mechanism { return plain.Auth{User: u, Pass: p}.AsMechanism() }},
}

// withDefaults returns the options with what wasn't said.
func (o Options) withDefaults() Options {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&o.Topic, DefaultTopic)
	set(&o.RollupTopic, DefaultRollupTopic)
	set(&o.Compression, DefaultCompression)
	set(&o.ClientID, DefaultClientID)
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return o
}

// mechanisms returns the ways to prove who we are, none without a user.
func (o *Options) mechanisms() ([]sasl.Mechanism, error) {
	auth := &o.Endpoint.Auth
	switch {
	case auth.APIKey != "" || auth.Bearer != "":
		return nil, errors.New("api_key and bearer: Kafka has none; use user and password")
	case auth.User == "" && (auth.Password != "" || o.SASL != ""):
		return nil, errors.New("user: password and sasl need one")
	case auth.User == "":
		return nil, nil
	}
	var all []sasl.Mechanism
	var names []string
	for _, m := range mechanisms {
		names = append(names, m.name)
		if o.SASL == m.name || o.SASL == "" && (!m.clear || o.Encrypt) {
			all = append(all, m.make(auth.User, auth.Password))
		}
	}
	if all == nil {
		return nil, fmt.Errorf("sasl: %q: want one of %s", o.SASL, strings.Join(names, ", "))
	}
	return all, nil
}

// codec returns the compression.
func (o *Options) codec() (kgo.CompressionCodec, error) {
	if codec, ok := codecs[o.Compression]; ok {
		return codec(), nil
	}
	var names []string
	for name := range codecs {
		names = append(names, name)
	}
	slices.Sort(names)
	return kgo.CompressionCodec{}, fmt.Errorf("compression: %q: want one of %s", o.Compression, strings.Join(names, ", "))
}

// schemes of addresses, and whether they stand for TLS.
var schemes = map[string]bool{"tcp": false, "tls": true}

// ParseBrokers reads addresses of brokers with commas between them: HOST or HOST:PORT, the first of them after tcp://
// or tls:// and USER:PASSWORD@, if need be.
func ParseBrokers(text string) (brokers []string, encrypt bool, auth endpoint.Auth, err error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "tcp", text
	}
	encrypt, known := schemes[scheme]
	if !known {
		return nil, false, auth, fmt.Errorf("want brokers such as tls://HOST:%d or HOST:%[1]d", DefaultPort)
	}
	parts := strings.Split(rest, ",")
	for i, part := range parts {
		parts[i] = scheme + "://" + strings.TrimPrefix(strings.TrimSpace(part), scheme+"://")
	}
	urls, auth, err := endpoint.ParseURLs(strings.Join(parts, ","), []string{scheme}, DefaultPort)
	if err != nil {
		return nil, false, endpoint.Auth{}, err
	}
	for _, u := range urls {
		if u.Path != "" {
			return nil, false, endpoint.Auth{}, fmt.Errorf("%q: want no path: the topic is a setting", u)
		}
		brokers = append(brokers, u.Host)
	}
	return brokers, encrypt, auth, nil
}

// checkBrokers reports whether addresses are there and look like ones.
func checkBrokers(brokers []string) error {
	if len(brokers) == 0 {
		return errors.New("brokers: there is none; want HOST:PORT")
	}
	for _, b := range brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil && strings.Contains(err.Error(), "missing port") {
			host, err = b, nil
		}
		if err != nil || host == "" {
			return fmt.Errorf("brokers: %q: want HOST:PORT", b)
		}
	}
	return nil
}
