package pipeline

import (
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/operation"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/dns"
)

// peeks returns how much of a message's body has to be looked at, whether bodies are wanted or not.
func peeks(m *proto.Message) int {
	if dns.WantsBody(m) {
		return dns.MaxMessage
	}
	return operation.Wants(m)
}

// prepare finds out what follows from exchanges that are finished, judges them, and puts them in order.
func (w *worker) prepare(done []*exchange.Exchange) {
	for _, x := range done {
		measure.Time(x)
		switch {
		case x.Family == exchange.Database:
			x.Statement = w.statements.Of(x)
		case x.Family == exchange.HTTP && x.HasRequest:
			x.Operation = operation.Of(x, x.Peeked(proto.Request))
			if x.HasResponse && (dns.WantsBody(&x.Request) || dns.WantsBody(&x.Response)) {
				dns.Describe(&x.Request, x.Peeked(proto.Request), &x.Response, x.Peeked(proto.Response), w.limits)
			}
		}
		x.Unpeek(w.maxBody)
		w.court.Judge(x)
	}
	if !slices.IsSortedFunc(done, order) {
		slices.SortStableFunc(done, order)
	}
}
