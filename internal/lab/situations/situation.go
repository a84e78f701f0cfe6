//go:build linux

// Package situations produces what makes HTTP slow or fail, for real, between programs and kernels in network namespaces, and records it at
// several taps together with the truth: which exchange was made slow by what. The truth comes from how an exchange was made, such as
// the time that its server was told to sleep or the segment that a link was told to lose. It knows nothing of who judges the recordings:
// that is package judge.
//
// # The site
//
//	client ==near== middle ==far== server
//	10.1.0.1   10.1.0.254  10.2.0.254   10.2.0.2
//
// Both links are lab.Link, and take 5 and 2 ms one way, unless a situation says otherwise. The middle is a router, or the host of a proxy.
// The taps are client, front and back (the middle's two interfaces) and server. What is lost on the near link is lost on the server's
// side of the client's tap, and on the client's side of the others.
package situations

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tap is a place where packets were recorded.
type Tap string

// The taps.
const (
	Client Tap = "client"
	Front  Tap = "front"
	Back   Tap = "back"
	Server Tap = "server"
)

// Verdict is something that may be said of an exchange: who is to blame, and for what. An empty What means anything.
type Verdict struct{ Who, What string }

// Expected is what is right to say at a tap.
type Expected struct {
	// Right are the right verdicts: most often one. None: exchanges aren't judged at this tap.
	Right []Verdict
	// Undecidable: what this tap sees doesn't tell. Saying that it is unclear is then as right, and doesn't count as a miss.
	Undecidable bool
}

// Kind is a kind of exchange: all of a kind were made alike, and what is right to say of them is the same.
type Kind struct {
	Name string
	// Expected are the right verdicts by tap, as text: see parse.
	Expected map[Tap]string
}

// At returns what is expected at a tap.
func (k *Kind) At(t Tap) Expected {
	e, err := parse(k.Expected[t])
	if err != nil {
		panic(fmt.Sprintf("%s at %s: %v", k.Name, t, err)) // the table is a part of the program
	}
	return e
}

// parse reads the verdicts of a tap: WHO/WHAT or WHO, more than one separated by |. A ? before them says that the tap can't decide.
func parse(s string) (e Expected, err error) {
	if s == "" {
		return e, nil
	}
	s, e.Undecidable = strings.CutPrefix(s, "?")
	for v := range strings.SplitSeq(s, "|") {
		who, what, _ := strings.Cut(v, "/")
		if who == "" {
			return e, errors.New("a verdict on nobody")
		}
		e.Right = append(e.Right, Verdict{who, what})
	}
	return e, nil
}

// Situation is a row of the table: how to make it, and what is right to say of it.
type Situation struct {
	Name string
	// What says what is done, in a line.
	What string
	// Pair: two causes at once, of which the larger is to be named.
	Pair  bool
	Kinds []Kind
	// make makes about n exchanges.
	make func(s *site, n int) error
	// conditions are those of the links, nil: the usual ones.
	conditions func() Conditions
	// lasts is for how long before its end a disturbance of the machine matters to an exchange, 0: usually.
	lasts time.Duration
}

// Kind returns a kind by its name, nil if there is none.
func (s *Situation) Kind(name string) *Kind {
	for i := range s.Kinds {
		if s.Kinds[i].Name == name {
			return &s.Kinds[i]
		}
	}
	return nil
}

// everywhere expects the same at all taps of a connection from the client to the server.
func everywhere(verdict string) map[Tap]string {
	return map[Tap]string{Client: verdict, Front: verdict, Server: verdict}
}

// at expects something else at each tap of a connection from the client to the server.
func at(client, front, server string) map[Tap]string {
	return map[Tap]string{Client: client, Front: front, Server: server}
}

// proxied expects of the exchanges that a proxy in the middle serves, and of those that it makes.
func proxied(client, front, behind string) map[Tap]string {
	return map[Tap]string{Client: client, Front: front, Back: behind, Server: behind}
}
