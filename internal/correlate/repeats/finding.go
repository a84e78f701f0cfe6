// Package repeats finds what a service asks over and over to answer one request: the same statement of a database, the
// same call of another service, the same question for a name. N+1 queries are the best known case.
//
// Nothing on the wire says which request a statement is for. What is said here is inferred of addresses, processes and
// time: what a host asked while it was answering one request, and no other, was for that one. Where it was answering
// several, a statement may be for any of them, and a finding says how sure it is. A finding with a confidence of 1 is
// wrong only if the host was answering a request that wasn't seen.
package repeats

import (
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Least is how many repetitions make a finding, where the user doesn't say otherwise.
const Least = 5

// Settle is how long after the end of a request others that were under way with it may still end, so that they count
// when it is told what was for whom. There are no findings for requests that took longer.
const Settle = time.Minute

// Limits of memory and work.
const (
	// MaxParents is how many requests are held, and MaxChildren how many of what may be for them. Further ones are left
	// out, and counted.
	MaxParents  = 20_000
	MaxChildren = 200_000
	// MaxCandidates is how many requests a statement may be for. MaxLooked is how many requests of its host are looked at to
	// find them. Where there are more, it is for none.
	MaxCandidates = 64
	MaxLooked     = 1_024
	// MaxTemplates is how many templates are told apart within one request; further ones are left out.
	MaxTemplates = 256
	// MaxText is how many bytes are kept of a target.
	MaxText = 512
)

// Finding is something that was asked repeatedly to answer one request. Its times are nanoseconds.
type Finding struct {
	// Parent is the id of the request, Start its first byte, in nanoseconds since 1970, and Duration how long it took. Name
	// is its method with its route, or else its path.
	Parent          [exchange.IDSize]byte
	Name            string
	Start, Duration int64
	// Protocol and Template are what was asked: the template of a statement, method, host and route of a call, type and name
	// of a question.
	Protocol, Template string
	// Count is how often it was asked while the request was under way. Sure of these can be for no other request; Expected is
	// how many it is likely to be: each counts the less, the more requests it may be for. Failed is how many failed.
	Count, Sure, Failed int
	Expected            float64
	// Time is what all of them took, each as likely as it is for the request. Busy is the time in which at least one was under
	// way, and Share that of the request's duration, from 0 to 1, times the confidence.
	Time, Busy int64
	Share      float64
	// AtOnce is how many were under way at a time, at most. 1: one after the other, which is N+1.
	AtOnce int
	// First and Last are the ids of the first and the last of them.
	First, Last [exchange.IDSize]byte
	// Confidence, from 0 to 1, is how likely one of them is for the request.
	Confidence float64
}
