// Package rollup counts all exchanges by minute and series, whatever sampling leaves of them, so that counts and percentiles
// stay right. Its rows are shipped beside the exchanges.
package rollup

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// Series is what exchanges are told apart by. Its cardinality is bounded: see Options of New.
type Series struct {
	// Observer and Tap are where the exchanges were seen.
	Observer, Tap string
	// Service is the name of the service that answered, by the configuration; empty: not known. Domain is the
	// virtual host, Route the route, Method the method.
	Service, Domain, Route, Method string
	// StatusClass is 1 to 5, and 0 without a response.
	StatusClass uint8
	// Protocol is the application protocol, such as "http".
	Protocol string
}

// Row is what the exchanges of one series that started in one minute amount to. Rows of the same minute and series add
// up: what completes late is in a later row.
type Row struct {
	// ID is the row's id: the same each time the same files are read.
	ID [exchange.IDSize]byte
	// Start is the begin of the minute in nanoseconds since 1970, Interval its length.
	Start, Interval int64
	Series          Series
	// Count exchanges, of which Errors have the outcome failure. Streams and one-sided exchanges count too, but have no
	// durations here.
	Count, Errors int64
	// RequestBytes and ResponseBytes are what client and server sent.
	RequestBytes, ResponseBytes int64
	// Duration is event.duration, Wait culprit.timing.wait, both in nanoseconds.
	Duration, Wait measure.Histogram
}
