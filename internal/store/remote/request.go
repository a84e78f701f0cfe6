package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/store"
)

// object is a part of a request.
type object = map[string]any

// run is one question under way.
type run struct {
	*Store
	ctx     context.Context
	begun   time.Time
	timeout time.Duration
	memory  int64

	spent time.Duration // with the cluster
	// moment names what was stored when the question came, as the cluster keeps it; empty: it doesn't.
	moment string
	unpin  func()

	fetched int   // documents that were looked at here
	bytes   int64 // of answers
	rows    int64 // that the cluster looked at or found
}

// begin begins a question.
func (s *Store) begin(ctx context.Context, q *store.Scope) *run {
	r := &run{Store: s, ctx: ctx, begun: s.options.Now(), timeout: s.options.Timeout, memory: s.options.Memory, unpin: func() {}}
	if q.Timeout > 0 {
		r.timeout = q.Timeout
	}
	if q.Memory > 0 {
		r.memory = q.Memory
	}
	return r
}

func (r *run) cost() store.Cost {
	c := store.Cost{Rows: r.rows, Stored: r.rows, Bytes: r.bytes, Elapsed: r.options.Now().Sub(r.begun)}
	r.mu.Lock()
	if r.layout != nil {
		c.Stored = max(c.Stored, r.layout.stored)
	}
	r.mu.Unlock()
	c.Skipped = c.Stored - c.Rows
	return c
}

// limits are the types of errors that say that a question took too much, and what to do.
var limits = map[string]string{
	"circuit_breaking_exception":           "the cluster lacks the memory; ask about less time, or for fewer groups",
	"too_many_buckets_exception":           "the answer has more buckets than the cluster allows (search.max_buckets); ask about less time, or for fewer groups",
	"es_rejected_execution_exception":      "the cluster is busy; ask again later",
	"rejected_execution_exception":         "the cluster is busy; ask again later",
	"too_many_clauses":                     "the filter has more conditions than the cluster allows; make it shorter",
	"too_complex_to_determinize_exception": "a regular expression is too complex for the cluster; make it simpler",
	"task_cancelled_exception":             "the cluster ended the search",
}

// limited makes errors that say that a question took too much store.ErrLimit.
func limited(err error) error {
	refused := (*elastic.Error)(nil)
	switch {
	case errors.Is(err, elastic.ErrLongAnswer):
		return fmt.Errorf("%w: an answer of the cluster takes more memory than a question may; ask for less at once: %w", store.ErrLimit, err)
	case !errors.As(err, &refused):
		return err
	}
	reason, ok := limits[refused.Type]
	if !ok && refused.Status == http.StatusTooManyRequests {
		reason, ok = "the cluster is busy; ask again later", true
	}
	if ok {
		return fmt.Errorf("%w: %s (%v)", store.ErrLimit, reason, err)
	}
	return err
}

func statusOf(err error) int {
	if refused := (*elastic.Error)(nil); errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

// do makes a request, and reads the answer as JSON into to, if that isn't nil.
func (r *run) do(method, path string, body, to any) error {
	var sent []byte
	kind := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		sent, kind = b, "application/x-ndjson"
	default:
		var err error
		if sent, err = json.Marshal(b); err != nil {
			return err
		}
	}
	left := r.timeout - r.spent
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	ctx, cancel := context.WithTimeout(r.ctx, left)
	defer cancel()
	begun := r.options.Now()
	defer func() { r.spent += r.options.Now().Sub(begun) }()
	answer, err := r.client.Do(ctx, &elastic.Request{Method: method, Path: path, ContentType: kind, Body: sent, Limit: r.memory})
	r.bytes += int64(len(answer))
	switch {
	case err == nil:
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: it took longer than %v; ask about less time, or allow more", store.ErrLimit, r.timeout)
	default:
		return limited(err)
	}
	if to == nil {
		return nil
	}
	if err := json.Unmarshal(answer, to); err != nil {
		return fmt.Errorf("the cluster's answer isn't what was expected: %w", err)
	}
	return nil
}

// failing are the parameters of searches: an answer is about all shards, or none. Indices may come and go.
const failing = "?allow_partial_search_results=false&ignore_unavailable=true&allow_no_indices=true"

// hit is a document that was found.
type hit struct {
	ID     string            `json:"_id"`
	Source json.RawMessage   `json:"_source"`
	Fields json.RawMessage   `json:"fields"`
	Sort   []json.RawMessage `json:"sort"`
}

// found is the answer to a search.
type found struct {
	TimedOut bool   `json:"timed_out"`
	Moment   string `json:"pit_id"`
	Hits     struct {
		Total struct {
			Value int64 `json:"value"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
	Aggregations bucket `json:"aggregations"`
}

// A new day's index can't be asked in its first moments. A question then tries again, so often, after so long.
const (
	maxTries = 20
	tryAfter = 100 * time.Millisecond
)

// search asks the indices of all days.
func (r *run) search(body object) (*found, error) {
	path := "/" + r.prefix + "*/_search" + failing
	if r.moment != "" {
		path = "/_search?allow_partial_search_results=false"
		body["pit"] = object{"id": r.moment, "keep_alive": keepMoment}
	}
	var f found
	if err := r.again(func() error { return r.do(http.MethodPost, path, body, &f) }); err != nil {
		return nil, err
	}
	if f.TimedOut {
		return nil, fmt.Errorf("%w: the cluster took too long; ask about less time", store.ErrLimit)
	}
	if f.Moment != "" {
		r.moment = f.Moment
	}
	return &f, nil
}

// again makes a request until the indices can be asked.
func (r *run) again(request func() error) error {
	for try := 1; ; try++ {
		err := request()
		if try == maxTries || statusOf(err) != http.StatusServiceUnavailable {
			return err
		}
		r.spent += tryAfter
		select {
		case <-r.ctx.Done():
		case <-time.After(tryAfter):
		}
	}
}

// keepMoment is how long the cluster keeps what was stored at the begin of a question, from one request to the next.
const keepMoment = "1m"

// moments are how the products are asked to keep what is stored at a moment (a point in time), and to let go of it.
var moments = map[bool]struct{ open, close, id string }{
	false: {"_pit", "/_pit", "id"},
	true:  {"_search/point_in_time", "/_search/point_in_time", "pit_id"},
}

// pin makes all further requests be about what is stored now. A cluster that can't, such as an old one, is asked each time
// about what it has then. The caller calls unpin.
func (r *run) pin() error {
	p, err := r.client.Product(r.ctx)
	if err != nil {
		return err
	}
	way := moments[p.OpenSearch]
	var answer map[string]any
	err = r.again(func() error {
		return r.do(http.MethodPost, "/"+r.prefix+"*/"+way.open+"?keep_alive="+keepMoment+"&ignore_unavailable=true", nil, &answer)
	})
	if status := statusOf(err); status >= 400 && status < 500 && status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
		return nil
	}
	if err != nil {
		return err
	}
	r.moment, _ = answer[way.id].(string)
	r.unpin = func() {
		if r.moment == "" {
			return
		}
		body := object{way.id: r.moment}
		if p.OpenSearch {
			body[way.id] = []string{r.moment}
		}
		r.release(way.close, body)
	}
	return nil
}

// release lets go of what the cluster keeps for a question. It would go by itself, later.
func (r *run) release(path string, body object) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), releaseTimeout)
	defer cancel()
	_ = r.client.JSON(ctx, http.MethodDelete, path, body, nil)
}

// releaseTimeout bounds the time for letting go.
const releaseTimeout = 5 * time.Second

// count returns how many documents a query selects, but at most limit.
func (r *run) count(query object, limit int) (int64, error) {
	f, err := r.search(object{"size": 0, "query": query, "track_total_hits": limit})
	if err != nil {
		return 0, err
	}
	return f.Hits.Total.Value, nil
}
