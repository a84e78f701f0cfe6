package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	lumber "github.com/elastic/go-lumber/server/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/beats"
	bulk "github.com/culprit-http/culprit/internal/output/elastic"
	"github.com/culprit-http/culprit/internal/output/kafka"
	"github.com/culprit-http/culprit/internal/output/logstash"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/otlp"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
)

// sending is how an output delivers.
type sending struct {
	encoder ship.Encoder
	sender  func() (ship.Sender, error)
}

// kind is an output and a receiver for it.
type kind struct {
	deliver func(target string) (sending, error)
	// receive starts a receiver, and returns where it is.
	receive func() (target string, err error)
}

var kinds = map[string]kind{
	"elastic": {func(target string) (s sending, err error) {
		urls, _, err := endpoint.ParseURLs(target, elastic.Schemes(), 0)
		if err != nil {
			return s, err
		}
		out, err := bulk.New(bulk.Options{Cluster: elastic.Options{URLs: urls}, NoSetup: true})
		return sending{newDocuments(), func() (ship.Sender, error) { return out.Sender(), nil }}, err
	}, func() (string, error) { return serve(takeBulk) }},
	"logstash": {func(target string) (s sending, err error) {
		sender, err := logstash.New(target, logstash.Options{})
		return sending{newDocuments(), sender}, err
	}, takeLines},
	"beats": {func(target string) (s sending, err error) {
		sender, err := beats.New(target, beats.Options{})
		return sending{newDocuments(), sender}, err
	}, takeBeats},
	"kafka": {func(target string) (s sending, err error) {
		brokers, _, _, err := kafka.ParseBrokers(target)
		return sending{newDocuments(), func() (ship.Sender, error) { return kafka.New(kafka.Options{Brokers: brokers, CreateTopics: true}) }}, err
	}, func() (string, error) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
		if err != nil {
			return "", err
		}
		return c.ListenAddrs()[0], nil
	}},
	"otlp": {func(target string) (s sending, err error) {
		o := otlp.Options{}
		sender, err := otlp.New(target, o)
		return sending{otlp.NewEncoder(&o), sender}, err
	}, func() (string, error) {
		return serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/x-protobuf")
		})
	}},
}

// documents encodes JSON documents.
type documents struct{ ndjson.Encoder }

func newDocuments() *documents { return &documents{ndjson.NewEncoder()} }

// Exchange implements ship.Encoder.
func (d *documents) Exchange(dst []byte, x *exchange.Exchange) []byte { return d.Append(dst, x) }

// Rollup implements ship.Encoder.
func (d *documents) Rollup(dst []byte, r *rollup.Row) []byte { return rollup.AppendJSON(dst, r) }

// serve answers HTTP on loopback.
func serve(h http.HandlerFunc) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(l, h)
	return "http://" + l.Addr().String(), nil
}

var readers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// takeBulk answers that every document of a _bulk request was created.
func takeBulk(w http.ResponseWriter, r *http.Request) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z := readers.Get().(*gzip.Reader)
		defer readers.Put(z)
		if err := z.Reset(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in = z
	}
	lines := 0
	buf := make([]byte, 256<<10)
	for {
		n, err := in.Read(buf)
		lines += bytes.Count(buf[:n], []byte("\n"))
		if err != nil {
			break
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	b := bufio.NewWriter(w)
	defer b.Flush()
	b.WriteString(`{"errors":false,"items":[`)
	for i := range lines / 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"create":{"status":` + strconv.Itoa(http.StatusCreated) + `}}`)
	}
	b.WriteString("]}")
}

// takeLines reads whatever comes.
func takeLines() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	return "tcp://" + l.Addr().String(), nil
}

// takeBeats acknowledges all batches.
func takeBeats() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s, err := lumber.NewWithListener(l, lumber.JSONDecoder(func(b []byte, to any) error { return nil }))
	if err != nil {
		return "", err
	}
	go func() {
		for batch := range s.ReceiveChan() {
			batch.ACK()
		}
	}()
	return "tcp://" + l.Addr().String(), nil
}
