package main

import (
	"testing"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

func TestOwnedBy(t *testing.T) {
	curl := &exchange.Process{PID: 7, Name: "curl"}
	nginx := &exchange.Process{PID: 9, Name: "nginx", Listening: true}
	workers := &exchange.Process{Name: "nginx", Listening: true}
	somebody := &exchange.Process{Listening: true}
	for _, c := range []struct {
		name            string
		client, server  *exchange.Process
		live            config.Live
		chosen, unknown bool
	}{
		{"the server", curl, nginx, config.Live{Process: "nginx"}, true, false},
		{"the client", curl, nil, config.Live{Process: "curl"}, true, false},
		{"neither", curl, nginx, config.Live{Process: "caddy"}, false, false},
		{"an end that isn't known", curl, nil, config.Live{Process: "nginx"}, false, true},
		{"one of several", nil, workers, config.Live{Process: "nginx"}, true, false},
		{"which of several isn't known", curl, workers, config.Live{PID: 9}, false, true},
		{"listening", nil, nginx, config.Live{Listening: true}, true, false},
		{"listening, whoever it is", nil, somebody, config.Live{Listening: true}, true, false},
		{"listening, whoever it is, but of a name", nil, somebody, config.Live{Listening: true, Process: "nginx"}, false, true},
		{"a client doesn't listen", curl, nil, config.Live{Listening: true, Process: "curl"}, false, true},
		{"nor does it matter who it is", nil, nginx, config.Live{Listening: true, Process: "curl"}, false, false},
	} {
		x := &exchange.Exchange{Client: proto.Originator}
		x.Process[proto.Originator], x.Process[proto.Responder] = c.client, c.server
		if chosen, unknown := ownedBy(x, &c.live); chosen != c.chosen || unknown != c.unknown {
			t.Errorf("%s: chosen %v, unknown %v", c.name, chosen, unknown)
		}
	}
}

// askedFor is a finder that counts how often it is asked.
type askedFor struct {
	finder
	times int
}

func (a *askedFor) Lookup(*proto.Flow) [2]*exchange.Process {
	a.times++
	return [2]*exchange.Process{{PID: a.times}, nil}
}

// The owners of a busy connection are asked for again after a while only, but for its first exchanges.
func TestRecentOwners(t *testing.T) {
	var recent recentOwners
	asked := &askedFor{}
	x := &exchange.Exchange{Flow: &proto.Flow{}}
	for i, c := range []struct {
		index uint32
		at    int64
		want  int // the answer
	}{
		{0, 0, 1}, {1, 1, 2}, {2, 2, 3}, {3, 3, 4}, {4, 4, 4}, {5, 2 + recentFor, 4}, {6, 3 + recentFor, 5}, {7, 4 + recentFor, 5},
	} {
		x.Index, x.Completed.Time = c.index, c.at
		if got := recent.lookup(asked, x)[0].PID; got != c.want {
			t.Errorf("exchange %d: answer %d, want %d", i, got, c.want)
		}
	}
	for range maxRecent + 10 {
		recent.lookup(asked, &exchange.Exchange{Flow: &proto.Flow{}, Index: settledFrom})
	}
	if len(recent) > maxRecent {
		t.Errorf("%d connections are remembered", len(recent))
	}
}
