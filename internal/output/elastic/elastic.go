// Package elastic delivers exchanges and rollups to Elasticsearch and OpenSearch by _bulk requests. A document's id is the
// event's, and it is created, never replaced: what is sent again is known already, and stored once. Indices are named by the
// event's own day, so that an event that is sent again meets itself.
package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

// Options say where exchanges go and how.
type Options struct {
	// Cluster says how the cluster is reached. Its Connections should be no fewer than the senders.
	Cluster elastic.Options
	// Index is the prefix of the indices' names; empty: elastic.DefaultIndex.
	Index string
	// NoSetup leaves out what is done before the first batch: to make the index templates and the lifecycle policy where they
	// are missing, or older.
	NoSetup bool
	// Keep is after how many days the lifecycle policy deletes an index; 0: there is none.
	Keep int
}

const (
	// maxAnswer is how much is read of the answer to a batch. It has less than 100 bytes an event, but for refused ones.
	maxAnswer = 32 << 20
	// setUpAgain is how long after the cluster couldn't be reached the templates are looked for again: it may be another one.
	setUpAgain = time.Minute
)

// Output makes the senders of one receiver, which share connections and the set-up.
type Output struct {
	options Options
	client  *elastic.Client

	mu sync.Mutex
	// ready: the templates were there, or needn't be. checked is when that was last seen.
	ready   bool
	checked time.Time
}

// New returns an Output. It connects with the first batch.
func New(o Options) (*Output, error) {
	if o.Index == "" {
		o.Index = elastic.DefaultIndex
	}
	if err := elastic.CheckIndex(o.Index); err != nil {
		return nil, err
	}
	if o.Keep < 0 {
		return nil, fmt.Errorf("keep_days: %d: want a number of days, or 0 for all days", o.Keep)
	}
	plain := o.Cluster.NoCompression
	o.Cluster.NoCompression = true // batches are compressed as they are made
	client, err := elastic.New(o.Cluster)
	if err != nil {
		return nil, err
	}
	o.Cluster.NoCompression = plain
	return &Output{options: o, client: client, ready: o.NoSetup}, nil
}

// setUp makes templates and lifecycle unless that was done.
func (o *Output) setUp(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ready {
		return nil
	}
	if _, err := o.client.Setup(ctx, elastic.Setup{Index: o.options.Index, Keep: o.options.Keep}); err != nil {
		if refused := (*elastic.Error)(nil); errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
			return fmt.Errorf("preparing the cluster: %w (where somebody else does that, say setup: false)", err)
		}
		return err
	}
	o.ready, o.checked = true, time.Now()
	return nil
}

// lost notes that the cluster couldn't be reached: what comes up may be a new one, without templates.
func (o *Output) lost() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.options.NoSetup && time.Since(o.checked) > setUpAgain {
		o.ready = false
	}
}

// Sender returns a sender for one worker.
func (o *Output) Sender() *Sender {
	return &Sender{
		out: o,
		indices: [...]indexName{
			ship.Exchange: {prefix: o.options.Index + "-" + elastic.Exchanges + "-"},
			ship.Rollup:   {prefix: o.options.Index + "-" + elastic.Rollups + "-"},
		},
	}
}

// Sender implements ship.Sender.
type Sender struct {
	out     *Output
	indices [2]indexName
	body    bytes.Buffer
	gzip    *gzip.Writer
	// chunk is what is gathered for the compressor.
	chunk []byte
	// sent are the places, in the batch, of the events that are in the request.
	sent []int
}

// indexName makes the names of the indices of days, of which one is asked for many times.
type indexName struct {
	prefix string
	day    int64 // days since 1970
	name   string
}

const dayLength = int64(24 * time.Hour)

// of returns the name for a time in nanoseconds since 1970.
func (n *indexName) of(t int64) string {
	day := t / dayLength
	if t < 0 {
		day = 0 // a clock that was never set
	}
	if n.name == "" || day != n.day {
		n.day, n.name = day, n.prefix+time.Unix(0, day*dayLength).UTC().Format("2006.01.02")
	}
	return n.name
}

// chunkSize is how much the compressor gets at once.
const chunkSize = 64 << 10

// query asks for nothing of an item but what became of it.
func query() url.Values {
	return url.Values{"filter_path": {"errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason,items.*.error.caused_by.caused_by.reason"}}
}

// Send implements ship.Sender.
func (s *Sender) Send(ctx context.Context, events []ship.Event) (ship.Result, error) {
	var r ship.Result
	if err := s.out.setUp(ctx); err != nil {
		return r, later(err)
	}
	if err := s.encode(events, &r); err != nil {
		return ship.Result{}, err
	}
	if len(s.sent) == 0 {
		return r, nil
	}
	answer, err := s.out.client.Do(ctx, &elastic.Request{
		Method: http.MethodPost, Path: "/_bulk", Query: query(), ContentType: "application/x-ndjson",
		Body: s.body.Bytes(), Gzip: !s.out.options.Cluster.NoCompression, Limit: maxAnswer,
	})
	if err != nil {
		s.body = bytes.Buffer{} // a connection that is being given up may still read from it
		refused := (*elastic.Error)(nil)
		switch {
		case errors.Is(err, elastic.ErrLongAnswer):
			return ship.Result{}, fmt.Errorf("%w: %w", ship.ErrTooLarge, err)
		case !errors.As(err, &refused):
			s.out.lost()
		case refused.Status == http.StatusRequestEntityTooLarge:
			return ship.Result{}, fmt.Errorf("%w: %w", ship.ErrTooLarge, err)
		}
		return ship.Result{}, later(err)
	}
	return s.settle(r, answer)
}

// Close implements ship.Sender.
func (s *Sender) Close() error {
	s.out.client.Close()
	return nil
}

// later adds when to try again, where the cluster has said so.
func later(err error) error {
	if refused := (*elastic.Error)(nil); errors.As(err, &refused) && refused.RetryAfter > 0 {
		return &ship.LaterError{After: refused.RetryAfter, Err: err}
	}
	return err
}

// encode makes the body of a request.
func (s *Sender) encode(events []ship.Event, r *ship.Result) error {
	s.body.Reset()
	s.chunk, s.sent = s.chunk[:0], s.sent[:0]
	packed := !s.out.options.Cluster.NoCompression
	if packed {
		if s.gzip == nil {
			var err error
			if s.gzip, err = gzip.NewWriterLevel(&s.body, gzip.BestSpeed); err != nil {
				return err
			}
		} else {
			s.gzip.Reset(&s.body)
		}
	}
	flush := func() error {
		defer func() { s.chunk = s.chunk[:0] }()
		if !packed {
			s.body.Write(s.chunk) // never fails
			return nil
		}
		_, err := s.gzip.Write(s.chunk)
		return err
	}
	for i := range events {
		e := &events[i]
		// A line end would end the document, and what follows would be taken for something else.
		if int(e.Kind) >= len(s.indices) || len(e.Body) < 2 || e.Body[0] != '{' || bytes.IndexByte(e.Body, '\n') >= 0 {
			r.Rejected = append(r.Rejected, ship.Rejection{Index: i, Reason: "it isn't a JSON document on one line"})
			continue
		}
		s.sent = append(s.sent, i)
		s.appendEvent(e)
		if len(s.chunk) >= chunkSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil || !packed {
		return err
	}
	return s.gzip.Close()
}

// appendEvent appends what to do and the document.
func (s *Sender) appendEvent(e *ship.Event) {
	b := append(s.chunk, `{"create":{"_index":"`...)
	b = append(b, s.indices[e.Kind].of(e.Time)...)
	b = append(b, `","_id":"`...)
	b = exchange.AppendID(b, e.ID)
	b = append(b, "\"}}\n"...)
	document := fit(e.Body)
	if e.Weight > 1 {
		// Aggregations count the document so many times.
		b = append(b, `{"_doc_count":`...)
		b = strconv.AppendUint(b, uint64(e.Weight), 10)
		if document = document[1:]; document[0] != '}' {
			b = append(b, ',')
		}
	}
	b = append(b, document...)
	s.chunk = append(b, '\n')
}

// item is what a cluster says of one document.
type item struct {
	Status int
	Error  *struct {
		Type, Reason string
		CausedBy     *struct {
			Reason   string
			CausedBy *struct{ Reason string } `json:"caused_by"`
		} `json:"caused_by"`
	}
}

// reason says what is wrong with an item, for people.
func (i *item) reason() (kind, text string) {
	if i.Error == nil {
		return "", fmt.Sprintf("status %d", i.Status)
	}
	text = i.Error.Reason
	if c := i.Error.CausedBy; c != nil && c.Reason != "" {
		text += ": " + c.Reason
		if c := c.CausedBy; c != nil && c.Reason != "" {
			text += ": " + c.Reason
		}
	}
	return i.Error.Type, text
}

var (
	noErrors   = []byte(`"errors":false`)
	statusMark = []byte(`"status":`)
)

// settle reads what became of the events.
func (s *Sender) settle(r ship.Result, answer []byte) (ship.Result, error) {
	if bytes.Contains(answer[:min(len(answer), 64)], noErrors) && bytes.Count(answer, statusMark) == len(s.sent) {
		return r, nil
	}
	var all struct{ Items []map[string]item }
	if err := json.Unmarshal(answer, &all); err != nil {
		return ship.Result{}, fmt.Errorf("the answer isn't that of _bulk: %w", err)
	}
	if len(all.Items) != len(s.sent) {
		return ship.Result{}, fmt.Errorf("the answer tells of %d documents, and %d were sent: is this a cluster of Elasticsearch or OpenSearch?", len(all.Items), len(s.sent))
	}
	var refused []ship.Rejection
	var blocked error // why the first that isn't a document's fault wasn't taken
	for k, actions := range all.Items {
		for _, it := range actions { // there is one
			kind, reason := it.reason()
			switch verdictOf(it.Status, kind) {
			case stored:
			case known:
				r.Known++
			case notNow:
				r.Retry = append(r.Retry, s.sent[k])
				if blocked == nil && (it.Status != http.StatusTooManyRequests || elastic.OfIndex(kind)) {
					blocked = explain(&it, kind, reason)
				}
			case unfit:
				refused = append(refused, ship.Rejection{Index: s.sent[k], Reason: elastic.Explain(kind, reason)})
			}
		}
	}
	r.Rejected = merge(r.Rejected, refused)
	// When nothing came through, why is of more use than that it didn't.
	if blocked != nil && len(r.Retry) == len(s.sent) {
		return ship.Result{Rejected: r.Rejected}, blocked
	}
	return r, nil
}

// explain says why documents weren't taken which aren't at fault.
func explain(it *item, kind, reason string) error {
	text := fmt.Sprintf("documents aren't taken: %d %s", it.Status, elastic.Explain(kind, reason))
	if advice := elastic.Advice(it.Status, kind, reason); advice != "" {
		text += ": " + advice
	}
	return errors.New(text)
}

// merge joins rejections in the order of their indices.
func merge(a, b []ship.Rejection) []ship.Rejection {
	if len(a) == 0 {
		return b
	}
	all := make([]ship.Rejection, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Index < b[0].Index {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// verdict is what became of a document.
type verdict uint8

const (
	stored verdict = iota
	known
	notNow
	unfit
)

// verdictOf reads the status of a document.
func verdictOf(status int, kind string) verdict {
	switch {
	case status >= 200 && status < 300:
		return stored
	case status == http.StatusConflict:
		return known
	case status == http.StatusBadRequest && !elastic.OfIndex(kind):
		return unfit
	}
	// The cluster, the index or the user is at fault: once that is mended, the document is taken.
	return notNow
}
