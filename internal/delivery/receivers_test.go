//go:build linux

package delivery

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	lumber "github.com/elastic/go-lumber/server/v2"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// The environment of a process that receives.
const (
	receiverVariable = "CULPRIT_TEST_RECEIVER"
	addressVariable  = "CULPRIT_TEST_ADDRESS"
	fileVariable     = "CULPRIT_TEST_FILE"
)

// book has the ids of what was received: in a file, before anything is acknowledged.
type book struct {
	mu    sync.Mutex
	file  *os.File
	known map[string]bool
}

// openBook opens the file, and reads what is in it.
func openBook(path string) (*book, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	b := &book{file: f, known: map[string]bool{}}
	for in := bufio.NewScanner(f); in.Scan(); {
		b.known[in.Text()] = true
	}
	return b, nil
}

// add notes ids, and reports for each whether it was known.
func (b *book) add(ids []string) (known []bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		known = append(known, b.known[id])
		b.known[id] = true
	}
	_, err = b.file.WriteString(strings.Join(ids, "\n") + "\n")
	return known, err
}

// keep is add for those that store an id once.
func (b *book) keep(ids []string) (known []bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, id := range ids {
		known = append(known, b.known[id])
		if !b.known[id] {
			text.WriteString(id + "\n")
		}
		b.known[id] = true
	}
	_, err = b.file.WriteString(text.String())
	return known, err
}

// receive is a receiver until standard input ends, or somebody kills it.
func receive(name string) error {
	log.SetOutput(io.Discard) // go-lumber tells of each connection
	b, err := openBook(os.Getenv(fileVariable))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv(addressVariable))
	if err != nil {
		return err
	}
	switch name {
	case "elastic":
		go http.Serve(l, http.HandlerFunc(b.bulk))
	case "otlp":
		go http.Serve(l, http.HandlerFunc(b.spans))
	case "beats":
		s, err := lumber.NewWithListener(l, lumber.JSONDecoder(func(text []byte, to any) error {
			*to.(*any) = bytes.Clone(text)
			return nil
		}))
		if err != nil {
			return err
		}
		go func() {
			for batch := range s.ReceiveChan() {
				var ids []string
				for _, e := range batch.Events {
					for id := range idsOf(e.([]byte)) {
						ids = append(ids, id)
					}
				}
				if _, err := b.add(ids); err == nil {
					batch.ACK()
				}
			}
		}()
	default:
		return fmt.Errorf("there is no receiver %q", name)
	}
	fmt.Println(l.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// body returns the body of a request, unpacked.
func body(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// bulk answers as Elasticsearch does, strictly: a document has an action before it, an index of its own day, and an id that is
// its own.
func (b *book) bulk(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	if r.URL.Path != "/_bulk" {
		if r.URL.Path == "/" {
			io.WriteString(w, `{"version":{"number":"8.19.0"},"tagline":"You Know, for Search"}`)
			return
		}
		io.WriteString(w, `{"acknowledged":true}`)
		return
	}
	text, err := body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	var ids []string
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Create struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			}
		}
		var document struct {
			Timestamp string `json:"@timestamp"`
			Event     struct{ ID string }
		}
		if json.Unmarshal(lines[i], &action) != nil || json.Unmarshal(lines[i+1], &document) != nil || action.Create.ID != document.Event.ID || len(document.Timestamp) < 10 ||
			!strings.HasSuffix(action.Create.Index, strings.ReplaceAll(document.Timestamp[:10], "-", ".")) {
			http.Error(w, `{"error":{"type":"illegal_argument_exception","reason":"`+fmt.Sprint(i)+`"},"status":400}`, http.StatusBadRequest)
			return
		}
		ids = append(ids, action.Create.ID)
	}
	known, err := b.keep(ids)
	if err != nil || len(lines)%2 != 0 {
		http.Error(w, `{"error":{"type":"x","reason":"y"},"status":500}`, http.StatusInternalServerError)
		return
	}
	var items []string
	errors := false
	for _, k := range known {
		if k {
			errors = true
			items = append(items, `{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"document already exists"}}}`)
		} else {
			items = append(items, `{"create":{"status":201}}`)
		}
	}
	fmt.Fprintf(w, `{"errors":%v,"items":[%s]}`, errors, strings.Join(items, ","))
}

// spans answers as a collector does.
func (b *book) spans(w http.ResponseWriter, r *http.Request) {
	text, err := body(r)
	var request traces.TracesData // which an ExportTraceServiceRequest looks like
	if err == nil {
		err = proto.Unmarshal(text, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var ids []string
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				for _, a := range span.Attributes {
					if a.Key == "event.id" {
						ids = append(ids, a.Value.GetStringValue())
					}
				}
			}
		}
	}
	if _, err := b.add(ids); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}
