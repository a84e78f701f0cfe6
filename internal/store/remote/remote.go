// Package remote answers the questions of a store from an Elasticsearch or OpenSearch cluster that agents filled: the indices
// PREFIX-exchanges-DAY, whose documents are those that package ndjson makes, each under the exchange's id.
//
// A question becomes the cluster's own queries and aggregations, which select what the question means, exactly. Where the
// cluster's language can't say that, a filter becomes two queries, one that selects at least what it means and one that
// selects at most that, and the documents between them are fetched and looked at here (selection). What the cluster can't
// compute is computed here, of what is fetched (fold). Both are bounded: what is beyond the bounds is refused, never answered
// somehow.
package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// Options say which indices are read, and bound what questions may take.
type Options struct {
	// Index is what the names of the indices begin with; empty: elastic.DefaultIndex.
	Index string
	// Timeout bounds a question, and Memory what the cluster's answer to one request of it may have in bytes, unless
	// the question says otherwise; 0: DefaultTimeout and DefaultMemory.
	Timeout time.Duration
	Memory  int64
	// Fetched bounds how many documents one question fetches to look at them here; 0: DefaultFetched.
	Fetched int
	// Now tells the time.
	Now func() time.Time
}

// The defaults of Options.
const (
	DefaultTimeout = 30 * time.Second
	DefaultMemory  = 256 << 20
	// DefaultFetched is at most how many ids Elasticsearch takes in one query (index.max_terms_count).
	DefaultFetched = 65_536
)

// Store is a store in a cluster. It implements store.Store.
type Store struct {
	client  *elastic.Client
	options Options
	prefix  string // of the names of the indices

	mu         sync.Mutex
	layout     *layout
	appended   bool // an index may be new, so that the layout is to be read again
	duplicates int64
	expired    int64
}

var _ store.Store = (*Store)(nil)

// Open returns the store of a cluster, which is asked whether it can be read.
func Open(ctx context.Context, c *elastic.Client, o Options) (*Store, error) {
	if o.Index == "" {
		o.Index = elastic.DefaultIndex
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Fetched == 0 {
		o.Fetched = DefaultFetched
	}
	if o.Now == nil {
		return nil, errors.New("Options.Now is needed")
	}
	if err := elastic.CheckIndex(o.Index); err != nil {
		return nil, err
	}
	s := &Store{client: c, options: o, prefix: o.Index + "-" + elastic.Exchanges + "-"}
	r := s.begin(ctx, &store.Scope{})
	if _, err := r.fields(); err != nil {
		return nil, err
	}
	return s, nil
}

// index returns the name of the index of the day, in UTC, of a time in nanoseconds since 1970.
func (s *Store) index(ns int64) string {
	return s.prefix + time.Unix(0, ns).UTC().Format(dayForm)
}

const dayForm = "2006.01.02"

// Close implements store.Reader. The client is the caller's.
func (s *Store) Close() error { return nil }

// Sync implements store.Store: what the cluster acknowledged, it has.
func (s *Store) Sync() error { return nil }

// idText is the text form of an id.
func idText(id [exchange.IDSize]byte) string { return string(exchange.AppendID(nil, id)) }
