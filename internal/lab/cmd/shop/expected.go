//go:build linux

package main

import (
	"encoding/json"
	"os"
	"strconv"
	"time"
)

// tally is what a server says that it has done. Statuses are counted by their number; none is for requests that
// weren't answered. Routes are the server's own names for them; Agents counts User-Agent headers.
type tally struct {
	Requests int            `json:"requests"`
	Status   map[string]int `json:"status"`
	Routes   map[string]int `json:"routes,omitempty"`
	Agents   map[string]int `json:"agents,omitempty"`
	// Slow are answered ones that took longer than slow, by route; without streams.
	Slow map[string]int `json:"slow,omitempty"`
}

const none = "none"

// slow is what nothing takes about as long as: a request takes much less, or more.
const slow = 500 * time.Millisecond

func newTally() tally {
	return tally{Status: map[string]int{}, Routes: map[string]int{}, Agents: map[string]int{}, Slow: map[string]int{}}
}

func (t *tally) add(status int) {
	t.Requests++
	if status <= 0 {
		t.Status[none]++
		return
	}
	t.Status[strconv.Itoa(status)]++
}

// expected is the truth about the capture, from those who took part.
type expected struct {
	// Edge is nginx, by its access log; LB is HAProxy, by its log. Apps are the app servers.
	Edge tally   `json:"edge"`
	LB   tally   `json:"lb"`
	Apps []tally `json:"apps"`
	// Retransmitted is how many TCP segments the kernel of the proxies' host sent again.
	Retransmitted int `json:"retransmitted"`
}

func (e *expected) write(path string) error {
	b, err := json.MarshalIndent(e, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
