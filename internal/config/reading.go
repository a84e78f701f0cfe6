package config

import (
	"errors"
	"time"
)

// Recordings are recordings to read exchanges of: files (Capture.Inputs), or the exchanges of a store, or both.
type Recordings struct {
	Capture
	// Store is the folder of a store, or a cluster's URL; empty: none. Last, From and To bound the start of its exchanges, as in Query.
	Store    string
	Last     Age
	From, To string
}

// DefaultRecordings returns the defaults.
func DefaultRecordings() Recordings { return Recordings{Capture: DefaultCapture()} }

// Times returns the bounds of the start of the exchanges of the store; see Query.Times.
func (r *Recordings) Times(now time.Time) (from, to int64, err error) {
	q := Query{Last: r.Last, From: r.From, To: r.To}
	return q.Times(now)
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (r *Recordings) Validate() error {
	bounded := r.Last != 0 || r.From != "" || r.To != ""
	switch {
	case len(r.Inputs) == 0 && r.Store == "":
		return errors.New("nothing to read: name a recording with -r FILE, - for standard input, or a store with --store DIR")
	case bounded && r.Store == "":
		return errors.New("--last, --from and --to are for a store: choose from files with --where")
	case r.Last != 0 && (r.From != "" || r.To != ""):
		return errors.New("--last and --from or --to exclude each other")
	case r.Live.On() || r.Follow:
		return errors.New("a recording is read from its begin to its end: it is neither live nor followed")
	}
	return r.Capture.validate()
}
