package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// bulkBytes is from how many bytes on documents are sent, and deleteSize how many are deleted at once.
const (
	bulkBytes  = 4 << 20
	deleteSize = 5000
)

// Append implements store.Store: it waits until the exchanges can be found. It is made for copying a store and for tests;
// package output/elastic is how agents deliver. Documents hold all of an exchange, and count once, whatever the exchange's
// weight.
func (s *Store) Append(b *record.Batch) (stored int, err error) {
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		return 0, err
	}
	e, err := NewEncoder()
	if err != nil {
		return 0, err
	}
	r := s.begin(context.Background(), &store.Scope{})
	var maker record.Maker
	var body []byte
	flush := func(refresh string) error {
		r.spent = 0 // each part has its own time
		n, err := r.create(body, refresh)
		stored += n
		body = body[:0]
		return err
	}
	parts := 0
	err = d.Each(b.Bytes(), func(row *record.Row) error {
		x := maker.Exchange(row)
		body = fmt.Appendf(body, `{"create":{"_index":%q,"_id":%q}}`+"\n", s.index(x.Start.Time), row.ID())
		if body, err = e.Append(body, x); err != nil {
			return err
		}
		if body = append(body, '\n'); len(body) >= bulkBytes {
			parts++
			return flush("")
		}
		return nil
	})
	if err == nil && len(body) > 0 {
		err = flush("?refresh=true")
	}
	if err == nil && parts > 0 {
		err = r.do(http.MethodPost, "/"+r.prefix+"*/_refresh", nil, nil)
	}
	return stored, err
}

// bulkItem is what became of one document.
type bulkItem struct {
	Status int `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

func (i *bulkItem) err() error {
	return fmt.Errorf("the cluster refuses a document: %d %s", i.Status, elastic.Explain(i.Error.Type, i.Error.Reason))
}

func (r *run) bulk(body []byte, refresh string) ([]bulkItem, error) {
	var answer struct {
		Items []map[string]bulkItem `json:"items"`
	}
	if err := r.do(http.MethodPost, "/_bulk"+refresh, body, &answer); err != nil {
		return nil, err
	}
	var items []bulkItem
	for _, item := range answer.Items {
		for _, i := range item {
			items = append(items, i)
		}
	}
	return items, nil
}

func (r *run) create(body []byte, refresh string) (stored int, err error) {
	items, err := r.bulk(body, refresh)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.appended = true
	for _, i := range items {
		switch {
		case i.Status == http.StatusConflict:
			r.duplicates++
		case i.Status >= 300:
			err = errors.Join(err, i.err())
		default:
			stored++
		}
	}
	return stored, err
}

// day is an index.
type day struct {
	name string
	// from is the begin of the day.
	from  int64
	bytes int64
	count int64
}

// days returns the indices in the order of their days.
func (r *run) days() ([]day, error) {
	var all []struct {
		Index string `json:"index"`
		Bytes string `json:"store.size"`
		Count string `json:"docs.count"`
	}
	if err := r.do(http.MethodGet, "/_cat/indices/"+r.prefix+"*?format=json&bytes=b&h=index,store.size,docs.count", nil, &all); err != nil {
		return nil, err
	}
	var days []day
	for _, i := range all {
		at, err := time.Parse(dayForm, strings.TrimPrefix(i.Index, r.prefix))
		if err != nil {
			continue
		}
		d := day{name: i.Index, from: at.UnixNano()}
		d.bytes, _ = strconv.ParseInt(i.Bytes, 10, 64)
		d.count, _ = strconv.ParseInt(i.Count, 10, 64)
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b day) int { return strings.Compare(a.name, b.name) })
	return days, nil
}

// Status implements store.Reader. Segments are the indices, Exchanges documents; sizes include replicas, may be some
// seconds old, and are 0 for a user who may not ask for them.
func (s *Store) Status(ctx context.Context) (*store.Status, error) {
	r := s.begin(ctx, &store.Scope{})
	days, err := r.days()
	if err != nil && statusOf(err) != http.StatusForbidden { // to ask for sizes takes a privilege that nothing else does
		return nil, err
	}
	status := &store.Status{Segments: len(days)}
	for _, d := range days {
		status.Bytes += d.bytes
	}
	f, err := r.search(object{"size": 0, "track_total_hits": true})
	if err != nil {
		return nil, err
	}
	status.Exchanges = f.Hits.Total.Value
	if status.First, status.Last, err = r.span(everything()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Expired, status.Duplicates = s.expired, s.duplicates
	return status, nil
}

const dayLength = int64(24 * time.Hour)

// Delete implements store.Store: by size and, where all of a day is too old, by age, it deletes indices of days; else
// documents. Lifecycle policies of the cluster do it without culprit.
func (s *Store) Delete(ctx context.Context, q store.Retention) (deleted store.Deleted, err error) {
	r := s.begin(ctx, &store.Scope{})
	defer func() {
		s.mu.Lock()
		s.expired += deleted.Exchanges
		s.mu.Unlock()
	}()
	days, err := r.days()
	if err != nil {
		return deleted, err
	}
	total := int64(0)
	for _, d := range days {
		total += d.bytes
	}
	for _, d := range days {
		old := q.Before > 0 && d.from < q.Before-dayLength
		large := q.MaxBytes > 0 && total >= q.MaxBytes
		if !old && !large {
			continue
		}
		if err := r.do(http.MethodDelete, "/"+d.name, nil, nil); err != nil && statusOf(err) != http.StatusNotFound {
			return deleted, err
		}
		total -= d.bytes
		deleted.Exchanges += d.count
		deleted.Bytes += d.bytes
	}
	if q.Before > 0 {
		n, err := r.deleteBefore(q.Before)
		deleted.Exchanges += n
		return deleted, err
	}
	return deleted, nil
}

// deleteBefore deletes documents of before a time. _delete_by_query isn't in every distribution.
func (r *run) deleteBefore(before int64) (deleted int64, err error) {
	query := object{"range": object{"@timestamp": object{"lt": timeText(before)}}}
	for {
		var f struct {
			Hits struct {
				Hits []struct {
					Index string `json:"_index"`
					ID    string `json:"_id"`
				} `json:"hits"`
			} `json:"hits"`
		}
		body := object{"size": deleteSize, "_source": false, "query": query, "track_total_hits": false}
		if err := r.do(http.MethodPost, "/"+r.prefix+"*/_search"+failing, body, &f); err != nil {
			return deleted, err
		}
		if len(f.Hits.Hits) == 0 {
			return deleted, nil
		}
		var b bytes.Buffer
		line := json.NewEncoder(&b)
		for _, h := range f.Hits.Hits {
			if err := line.Encode(object{"delete": object{"_index": h.Index, "_id": h.ID}}); err != nil {
				return deleted, err
			}
		}
		items, err := r.bulk(b.Bytes(), "?refresh=true")
		if err != nil {
			return deleted, err
		}
		gone := 0
		for _, i := range items {
			if i.Status < 300 {
				gone++
			} else if i.Status != http.StatusNotFound {
				err = i.err()
			}
		}
		deleted += int64(gone)
		if err != nil || gone == 0 {
			return deleted, err
		}
	}
}
