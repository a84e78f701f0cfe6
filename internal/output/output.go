// Package output is the contract of what shows finished exchanges: one package an output below it.
package output

import (
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Output shows finished exchanges. Calls come from one goroutine, in the order of completion.
type Output interface {
	// Exchange shows one exchange. x is borrowed until return.
	Exchange(x *exchange.Exchange) error
	// Flush writes what is buffered. It is called when the input is idle, and at the end of each batch
	// when live.
	Flush() error
	// Close writes what remains. It doesn't close the writer beneath.
	Close() error
}

// Waiter is an Output that also shows requests that still wait for their answer.
type Waiter interface {
	// Waiting shows an exchange that has no answer yet, and for how long it has been waiting. x is
	// borrowed until return; it is shown again by Exchange once it is complete.
	Waiting(x *exchange.Exchange, waited time.Duration) error
}

// Headline is an Output that shows nothing of a message but method, target, host and status, so that
// nothing else needs redaction for it.
type Headline interface {
	// Headline does nothing; it marks the output.
	Headline()
}
