// Package rollup counts all exchanges by minute and series, whatever sampling leaves of them, so that counts and percentiles
// stay right. Its rows are shipped beside the exchanges.
//
//	exchange --Add--> Counter --Row, when its minute is over--> outputs
//
// Fields is the table of a row's document; AppendJSON makes the document.
package rollup

import (
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// Interval is the length of the time that a row is for, in nanoseconds.
const Interval = int64(time.Minute)

// Series is what exchanges are told apart by. Its texts are UTF-8 without control characters, see Text. How many there are
// is bounded: see Options.
type Series struct {
	// Observer and Tap are where the exchanges were seen.
	Observer, Tap string
	// Service is the name of the service that answered, by the configuration; empty: not known. Domain is the
	// virtual host, or the database; Route the route, or the template of the statement; Method the method, the kind of the statement,
	// or the type of the records asked for.
	Service, Domain, Route, Method string
	// StatusClass is 1 to 5, and 0 without a response, or with a status that belongs to no class.
	StatusClass uint8
	// Protocol is the application protocol, such as "http".
	Protocol string
	// Other: the series stands for all those of its service for which there was no room. Domain, Route and Method are empty.
	Other bool
}

// Bounds are the durations, in nanoseconds, up to which rows count exactly.
var Bounds = [...]int64{5e6, 10e6, 25e6, 50e6, 100e6, 250e6, 500e6, 1e9, 2500e6, 5e9, 10e9}

// boundNames are the names of Bounds in the document.
var boundNames = [len(Bounds)]string{"5ms", "10ms", "25ms", "50ms", "100ms", "250ms", "500ms", "1s", "2500ms", "5s", "10s"}

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
	// Within[i] is how many of the durations are at most Bounds[i].
	Within [len(Bounds)]int64
}
