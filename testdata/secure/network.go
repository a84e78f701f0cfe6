//go:build linux

package main

import (
	"context"
	"errors"
	"net"

	"github.com/culprit-http/culprit/internal/lab"
)

// Addresses, for documentation all of them (RFC 5737). Each client is one program.
const (
	browser = "192.0.2.11"
	mobile  = "192.0.2.12"
	worker  = "192.0.2.13"
	stall   = "192.0.2.14" // a terminal at the till that logs no keys
	audit   = "192.0.2.15"

	shopAddress   = "198.51.100.10"
	apiAddress    = "198.51.100.20"
	legacyAddress = "198.51.100.30"
)

// network is two hosts, the clients' and the servers', with a cable between them.
type network struct{ clients, servers *lab.Namespace }

func build(l *lab.Lab) (*network, error) {
	spaces := map[string]*lab.Namespace{}
	for _, name := range []string{"clients", "cable", "servers"} {
		n, err := l.Namespace(name)
		if err != nil {
			return nil, err
		}
		spaces[name] = n
	}
	n := &network{clients: spaces["clients"], servers: spaces["servers"]}
	cable := spaces["cable"]
	a, b := lab.End{Namespace: cable, Interface: "a"}, lab.End{Namespace: cable, Interface: "b"}
	err := errors.Join(
		lab.Veth(lab.End{Namespace: n.clients, Interface: "lan", Addresses: []string{browser + "/24", mobile + "/24", worker + "/24", stall + "/24", audit + "/24"}}, a),
		lab.Veth(lab.End{Namespace: n.servers, Interface: "shop", Addresses: []string{shopAddress + "/24", apiAddress + "/24", legacyAddress + "/24"}}, b))
	if err != nil {
		return nil, err
	}
	err = errors.Join(n.clients.Offload("lan", false), n.servers.Offload("shop", false),
		n.clients.IP("route add 198.51.100.0/24 dev lan"), n.servers.IP("route add 192.0.2.0/24 dev shop"))
	if err != nil {
		return nil, err
	}
	_, err = lab.Link{A: a, B: b, Delay: delay}.Run()
	return n, err
}

// dial connects from one of the clients' addresses.
func (n *network) dial(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		err = n.clients.Do(func() error {
			c, err = d.DialContext(ctx, "tcp4", address)
			return err
		})
		return c, err
	}
}
