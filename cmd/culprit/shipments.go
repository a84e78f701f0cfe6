package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	elasticcluster "github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/output/beats"
	"github.com/culprit-http/culprit/internal/output/elastic"
	"github.com/culprit-http/culprit/internal/output/kafka"
	"github.com/culprit-http/culprit/internal/output/logstash"
	"github.com/culprit-http/culprit/internal/output/otlp"
	"github.com/culprit-http/culprit/internal/ship"
)

// The outputs that deliver over the network: their settings, which docs/outputs.md lists.

// The bounds of how long receivers may take.
const (
	leastTimeout = time.Second
	mostTimeout  = time.Hour
)

// made keeps the error of a constructor, as one of the settings.
func made[T any](s *settings) func(made T, err error) T {
	return func(made T, err error) T {
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
		}
		return made
	}
}

type senders = func() (ship.Sender, error)

func shipLogstash(s *settings, dial endpoint.DialFunc) shipment {
	o := logstash.Options{
		Endpoint: s.streamEndpoint(dial),
		Timeout:  s.duration("timeout", logstash.DefaultTimeout, leastTimeout, mostTimeout),
	}
	return shipment{encoder: newDocuments(), content: contentJSON, sender: made[senders](s)(logstash.New(s.target(""), o))}
}

func shipBeats(s *settings, dial endpoint.DialFunc) shipment {
	o := beats.Options{
		Endpoint:    s.streamEndpoint(dial),
		Timeout:     s.duration("timeout", beats.DefaultTimeout, leastTimeout, mostTimeout),
		Patience:    s.duration("patience", beats.DefaultPatience, leastTimeout, mostTimeout),
		Window:      s.number("window", beats.DefaultWindow, 1, beats.MaxWindow),
		Compression: s.number("compression", beats.DefaultCompression, 0, 9),
		Index:       s.text("index", beats.DefaultIndex),
		Version:     version,
	}
	if o.Compression == 0 {
		o.Compression = beats.NoCompression
	}
	return shipment{encoder: newDocuments(), content: contentJSON, sender: made[senders](s)(beats.New(s.target(""), o))}
}

// mostDays is the longest time after which indices are deleted, in days.
const mostDays = 3650

// elasticPort is the port of clusters, unless their URL names one.
const elasticPort = 9200

func shipElastic(s *settings, dial endpoint.DialFunc) shipment {
	urls, auth, err := endpoint.ParseURLs(s.target("http://127.0.0.1:9200"), elasticcluster.Schemes(), elasticPort)
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
	}
	workers := s.number("workers", ship.DefaultWorkers, 1, 64)
	o := elastic.Options{
		Cluster: elasticcluster.Options{
			URLs: urls, Endpoint: s.endpoint(dial, auth), Timeout: s.duration("timeout", elasticcluster.DefaultTimeout, leastTimeout, mostTimeout),
			Connections: workers, NoCompression: s.choice("compression", "gzip", "none") == "none",
		},
		Index: s.text("index", elasticcluster.DefaultIndex), NoSetup: !s.flag("setup", true), Keep: s.number("keep_days", 0, 0, mostDays),
	}
	if o.NoSetup && o.Keep > 0 {
		s.fail("keep_days", "setup: false makes nothing that could delete: leave one of them out")
	}
	s.plainTLS(!slices.ContainsFunc(urls, func(u *url.URL) bool { return u.Scheme == "https" }), "https://")
	if len(s.errs) > 0 {
		return shipment{}
	}
	out := made[*elastic.Output](s)(elastic.New(o))
	return shipment{encoder: newDocuments(), content: contentJSON, sender: func() (ship.Sender, error) { return out.Sender(), nil }}
}

func shipKafka(s *settings, dial endpoint.DialFunc) shipment {
	brokers, encrypt, auth, err := kafka.ParseBrokers(s.target(""))
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
	}
	o := kafka.Options{
		Endpoint: s.endpoint(dial, auth), Brokers: brokers, Encrypt: s.flag("tls", encrypt), SASL: s.text("sasl", ""),
		Topic: s.text("topic", kafka.DefaultTopic), RollupTopic: s.text("rollup_topic", kafka.DefaultRollupTopic),
		CreateTopics: s.flag("create_topics", false), Compression: s.text("compression", kafka.DefaultCompression),
		MaxMessageBytes: int(s.size("max_message_bytes", kafka.DefaultMaxMessageBytes, 1<<10, 64<<20)),
		Timeout:         s.duration("timeout", kafka.DefaultTimeout, leastTimeout, mostTimeout),
		ClientID:        s.text("client_id", kafka.DefaultClientID),
	}
	if first, err := kafka.New(o); err != nil { // which checks the options
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
	} else {
		first.Close()
	}
	return shipment{encoder: newDocuments(), content: contentJSON, sender: func() (ship.Sender, error) { return kafka.New(o) }}
}

func shipOTLP(s *settings, dial endpoint.DialFunc) shipment {
	o := otlp.Options{
		Endpoint: s.endpoint(dial, endpoint.Auth{}), Protocol: s.text("protocol", ""), Compression: s.text("compression", otlp.Gzip),
		Signals: s.list("signals"), Headers: made[map[string]string](s)(otlp.ParseHeaders(s.text("headers", ""))),
		Timeout: s.duration("timeout", otlp.DefaultTimeout, leastTimeout, mostTimeout),
		Service: s.text("service", ""), Version: version,
	}
	target := s.target("http://127.0.0.1:4318")
	s.plainTLS(strings.HasPrefix(target, "http://"), "https://")
	return shipment{encoder: otlp.NewEncoder(&o), content: "OTLP 1", sender: made[senders](s)(otlp.New(target, o))}
}
