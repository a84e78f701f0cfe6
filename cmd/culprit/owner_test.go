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
