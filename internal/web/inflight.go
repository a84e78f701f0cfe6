package web

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// DefaultInFlight is how many exchanges under way an answer has, unless told, and MaxInFlight how many it may have.
	DefaultInFlight, MaxInFlight = 100, 1000
	// InFlightTimeout is how long the capture may take to say what is under way.
	InFlightTimeout = 5 * time.Second
)

// InFlight is what the capture has under way. Nothing of it changes any more.
type InFlight struct {
	// Running: packets are still read. Now is the time of the capture, in nanoseconds since 1970; 0: no packet came.
	Running bool
	Now     int64
	// Total is how many exchanges are under way, LeftOut how many of them there was no room for.
	Total, LeftOut int
	// Exchanges are redacted, the oldest first.
	Exchanges []UnderWay
}

// UnderWay is one exchange under way.
type UnderWay struct {
	Exchange *exchange.Exchange
	State    exchange.State
}

// inFlight answers with the exchanges that are under way, the oldest first.
func (s *Server) inFlight(c *call) error {
	where, err := c.where()
	if err != nil {
		return err
	}
	fields, err := c.fields("fields")
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultInFlight, 1, MaxInFlight)
	if err != nil {
		return err
	}
	v := &InFlight{}
	if s.options.InFlight != nil {
		ctx, cancel := context.WithTimeout(c.Context(), InFlightTimeout)
		defer cancel()
		if v, err = s.options.InFlight(ctx); errors.Is(err, context.DeadlineExceeded) {
			return problems.busy.of("the capture didn't say within %v what is under way: it waits for the store, or for its input; ask again", InFlightTimeout)
		}
		if err != nil {
			return err
		}
	}
	type entry struct {
		State string `json:"state"`
		// Verb and Subject say in short what the exchange does, of all protocols.
		Verb          text            `json:"verb"`
		Subject       text            `json:"subject"`
		Elapsed       int64           `json:"elapsed"`
		RequestBytes  int64           `json:"request_bytes"`
		ResponseBytes int64           `json:"response_bytes"`
		Exchange      json.RawMessage `json:"exchange"`
	}
	answer := struct {
		Running   bool    `json:"running"`
		Now       *stamp  `json:"now"`
		Total     int     `json:"total"`
		LeftOut   int     `json:"left_out"`
		Exchanges []entry `json:"exchanges"`
	}{Running: v.Running, Total: v.Total, LeftOut: v.LeftOut, Exchanges: []entry{}}
	if v.Now != 0 {
		now := stamp(v.Now)
		answer.Now = &now
	}
	docs := newDocuments(fields)
	for i := range v.Exchanges {
		u := &v.Exchanges[i]
		x := u.Exchange
		switch {
		case where != nil && !where.Match(x):
		case len(answer.Exchanges) == limit:
			answer.LeftOut++
		default:
			answer.Exchanges = append(answer.Exchanges, entry{
				State: u.State.String(), Verb: text(x.Verb()), Subject: text(x.Subject()), Elapsed: max(v.Now-x.Start.Time, 0),
				RequestBytes: x.Request.BodyBytes, ResponseBytes: x.Response.BodyBytes,
				Exchange: append(json.RawMessage(nil), docs.of(x)...),
			})
		}
	}
	return c.json(&answer)
}
