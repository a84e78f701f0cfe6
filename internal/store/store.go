// Package store keeps exchanges and answers questions about them. It is the contract between whoever asks, a
// command or the web, and the engines that store: package embedded is the one that needs no set-up. Package
// storetest has the tests that every engine must pass.
package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/store/record"
)

// Reader answers questions. Its methods are safe for concurrent use, and end soon after their context is done.
// An answer is about the exchanges that were stored when the question came.
type Reader interface {
	// Search calls found for each exchange that the question selects, in its order. x is borrowed until found
	// returns; an error of found ends the search and is returned.
	Search(ctx context.Context, q *Search, found func(x *exchange.Exchange) error) (*Page, error)
	// Aggregate counts, sums and sketches by time and group.
	Aggregate(ctx context.Context, q *Aggregate) (*Table, error)
	// Exchange calls found for the exchange of that id, or returns ErrNotFound.
	Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error
	// Status says what is stored.
	Status(ctx context.Context) (*Status, error)
	Close() error
}

// Store stores. There is one writer at a time.
type Store interface {
	Reader
	// Append stores the exchanges of a batch, but for those that it has already, by their ids. It returns how
	// many were new. They can be found at once; Sync, or a second, makes them durable. A full disk gives an
	// error that is ErrFull: nothing of the batch was stored, and a later call may succeed.
	Append(b *record.Batch) (stored int, err error)
	// Sync returns when all that was appended is durable.
	Sync() error
	// Delete forgets what retention doesn't allow to keep. It is applied from time to time by the engine
	// itself, too.
	Delete(ctx context.Context, r Retention) (Deleted, error)
}

// The errors that callers tell apart.
var (
	// ErrNotFound: no exchange has that id.
	ErrNotFound = errors.New("there is no such exchange in the store")
	// ErrFull: there is no room on the disk.
	ErrFull = errors.New("the disk is full")
	// ErrBusy: another process writes the store.
	ErrBusy = errors.New("another process writes this store")
	// ErrCursor: Search.After isn't where a page of this search ended.
	ErrCursor = errors.New("this isn't where a page of this search ended; search from the beginning")
	// ErrLimit: a question needs more time or memory than it may take.
	ErrLimit = errors.New("the question was cut at its limit")
)

// Scope selects the exchanges that a question is about.
type Scope struct {
	// From and To bound the start of exchanges, in nanoseconds since 1970: From <= start < To. Zero: no bound.
	From, To int64
	// Where is the exchange filter; nil: all.
	Where filter.Node
	// Text is looked for, without regard to ASCII case, in each of record.TextColumns: the target, names,
	// addresses, ids, the user agent and the like; empty: all.
	Text string
	// Timeout and Memory bound what the question may take; zero: the engine's default. What is cut at its
	// limit gives an error that is ErrLimit.
	Timeout time.Duration
	Memory  int64
}

// Search selects exchanges and orders them.
type Search struct {
	Scope
	// Fields are those that found exchanges need to have, besides id and start; nil: all. Fewer are faster.
	Fields []*exchange.Field
	// Sort is the field to sort by: a text, number, duration or time; nil: @timestamp. Exchanges that lack it come
	// last, equal ones in the order of their ids, smallest first in either direction. Ascending: smallest first;
	// else largest first.
	Sort      *exchange.Field
	Ascending bool
	// Limit is how many are wanted, from 1 to MaxLimit.
	Limit int
	// After continues behind an earlier page: its Next. Empty: from the beginning.
	After string
}

// MaxLimit is the largest limit of a search.
const MaxLimit = 10_000

// Page says how a search went.
type Page struct {
	// Next continues the search behind the last exchange found; empty: there are no more. A page that isn't full has
	// none.
	Next string
	Cost Cost
}

// Cost is what a question took.
type Cost struct {
	// Rows are those that were looked at, of Stored in all; Skipped are those that statistics ruled out.
	Rows, Skipped, Stored int64
	// Bytes were read from files.
	Bytes int64
	// Elapsed is the time it took.
	Elapsed time.Duration
}

// Aggregate is a question about many exchanges: counts and metrics by time and group.
type Aggregate struct {
	Scope
	// Interval is the width of time buckets, in nanoseconds, aligned to 1970; 0: one bucket for all.
	Interval int64
	// Groups are what exchanges are grouped by; none: one group for all. An exchange that lacks one of them is
	// in the group with an absent key, which comes last, one with several values (a list) once in the group of
	// each.
	Groups []Group
	// Metrics are what to compute for each time bucket and group; the count is always there.
	Metrics []Metric
	// Sketches is what percentiles are told from. A kind that doesn't merge is refused: answers are put together from what
	// several workers found. A remote engine has its own, and refuses all but the default.
	Sketches measure.Kind
	// Order is the metric to order groups by, largest first: an index of Metrics, or -1 for the count. Ties
	// are ordered by key.
	Order int
	// Limit is how many groups are wanted, over all time buckets together, from 1 to MaxGroups; 0: MaxGroups.
	// What the rest amounts to is in Table.Other.
	Limit int
}

// MaxGroups is the largest number of groups of an answer, MaxBuckets that of time buckets. What has more is
// refused with ErrLimit, or cut, as said there.
const (
	MaxGroups  = 10_000
	MaxBuckets = 10_000
)

// Group is what exchanges are grouped by: the values of a field, or a function of them.
type Group struct {
	Field *exchange.Field
	By    By
}

// By is a function of a value to group by.
type By uint8

// The functions of values to group by.
const (
	// ByValue is the value itself.
	ByValue By = iota
	// ByClass is the class of a status: 4xx from 400 to 499, and so on below 0: -1xx from -100 to -1. For Int fields.
	ByClass
	// ByMagnitude is a bucket of about equal width on a logarithmic scale, eight to a power of ten, for the axis of a heat
	// map: its key is the lower bound of the bucket, 10^(k/8) rounded to the nearest integer; buckets with the same key are
	// one; values below 1 are in bucket 0. For Int and Duration fields.
	ByMagnitude
	// ByNetwork is the network of an address: a /24 of IPv4, a /48 of IPv6. For IP fields.
	ByNetwork
)

// Metric is something to compute of the exchanges of a group.
type Metric struct {
	Kind  MetricKind
	Field *exchange.Field
	// Quantiles are the parts, from 0 to 1, of a Percentiles metric.
	Quantiles []float64
}

// Timed reports whether a field is how long an exchange took, or a part of that. Streams, upgrades among them, and exchanges
// of which one side was seen are left out of its percentiles: their length says nothing of a server's speed. What is known of
// the path and of a handshake is of the connection, whatever it carries.
func Timed(f *exchange.Field) bool {
	return f.Kind == exchange.Duration && !strings.HasPrefix(f.Name, "culprit.net.") && !strings.HasPrefix(f.Name, "culprit.tls.")
}

// MetricKind is a kind of metric.
type MetricKind uint8

// The metrics. Of nothing, a sum is 0, and what can't be computed is NaN.
const (
	// Sum, Min, Max and Mean are of a number's or duration's values, where it has one.
	Sum MetricKind = iota
	Min
	Max
	Mean
	// Percentiles are of a number's or duration's values, from a sketch with 1 % relative accuracy. Of
	// event.duration and parts of culprit.timing, streams and one-sided exchanges are left out.
	Percentiles
	// Distinct is how many different values there are: exact up to DistinctExact, and within 2 % above.
	Distinct
	// Rate is the count divided by the seconds of the time bucket, or of the scope, or else of the time between
	// the first and the last exchange that is selected, of whatever group.
	Rate
	// Errors is how many have the outcome failure, ErrorRate their part from 0 to 1.
	Errors
	ErrorRate
)

// DistinctExact is up to how many values Distinct is exact.
const DistinctExact = 100_000

// Table is the answer to an aggregate: a row for each time bucket and group that has exchanges, ordered by group
// and then by time.
type Table struct {
	// Groups are the keys of the groups, in their order, with the totals of each over all time buckets.
	Groups []GroupRow
	// Rows are the time buckets of the groups, when an interval was asked for.
	Rows []BucketRow
	// Other are the totals of all groups that are not in Groups, and OtherGroups how many there are. An exchange
	// that is in two of them counts twice.
	Other       Totals
	OtherGroups int64
	// Total are those of everything selected.
	Total Totals
	Cost  Cost
}

// GroupRow is one group.
type GroupRow struct {
	Keys []Key
	Totals
}

// BucketRow is one time bucket of one group.
type BucketRow struct {
	// Group is the index of the group in Table.Groups, Start the begin of the bucket.
	Group int
	Start int64
	Totals
}

// Key is the value of one group: absent, a text, or a number of the kind.
type Key struct {
	Kind exchange.ValueKind
	Text string
	Int  int64
}

// Totals are the count and the metrics.
type Totals struct {
	Count int64
	// Values are those of the metrics, in their order; a Percentiles metric has several.
	Values [][]float64
}

// Retention says what to keep.
type Retention struct {
	// Before deletes what started before, in nanoseconds since 1970; 0: nothing. MaxBytes deletes the oldest
	// until the store takes less; 0: no bound. Deleting by size may delete more: what is stored together.
	Before   int64
	MaxBytes int64
}

// Deleted says what was deleted.
type Deleted struct{ Exchanges, Bytes int64 }

// Status says what is stored.
type Status struct {
	// Exchanges are stored, from the start of the first to that of the last, in nanoseconds since 1970.
	Exchanges   int64
	First, Last int64
	// Bytes are on disk: Segments files and the log. Tail exchanges are in the log alone.
	Bytes, LogBytes int64
	Segments        int
	Tail            int64
	// Expired exchanges were deleted by retention since the store was opened.
	Expired int64
	// Damaged segments were set aside; Lost exchanges could not be stored, and Duplicates were not stored
	// again.
	Damaged          int
	Lost, Duplicates int64
	// Problem says what is wrong at the moment, for people; empty: nothing.
	Problem string
}
