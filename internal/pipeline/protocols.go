package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/dns"
	"github.com/culprit-http/culprit/internal/proto/fastcgi"
	"github.com/culprit-http/culprit/internal/proto/http1"
	"github.com/culprit-http/culprit/internal/proto/http2"
	"github.com/culprit-http/culprit/internal/proto/memcached"
	"github.com/culprit-http/culprit/internal/proto/mongodb"
	"github.com/culprit-http/culprit/internal/proto/mysql"
	"github.com/culprit-http/culprit/internal/proto/postgres"
	"github.com/culprit-http/culprit/internal/proto/proxyprotocol"
	"github.com/culprit-http/culprit/internal/proto/redis"
	"github.com/culprit-http/culprit/internal/proto/socks"
	"github.com/culprit-http/culprit/internal/proto/uwsgi"
	"github.com/culprit-http/culprit/internal/proto/websocket"
	"github.com/culprit-http/culprit/internal/tls"
)

// protocols are all protocols with a parser but TLS, which has one for each shard, in the order in which detection asks them.
var protocols = []proto.Protocol{
	http1.Protocol,
	http2.Protocol,
	websocket.Protocol,
	proxyprotocol.Protocol,
	fastcgi.Protocol,
	uwsgi.Protocol,
	socks.Protocol,
	postgres.Protocol,
	mysql.Protocol,
	memcached.Protocol,
	mongodb.Protocol,
	redis.Protocol,
	dns.DNS,
	dns.MDNS,
	dns.LLMNR,
}

// Parsed reports whether a protocol has a parser, by its name.
func Parsed(name string) bool {
	return name == "tls" || slices.ContainsFunc(protocols, func(p proto.Protocol) bool { return p.Name == name })
}

// CheckHints returns an error for a hint that names no protocol.
func CheckHints(hints map[uint16]string) error {
	var names []string
	carrier := tls.NewEngine(nil, tls.Limits{}, nil).Protocol()
	for _, list := range [...][]proto.Protocol{protocols, {carrier}, detect.Recognised} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	for port, name := range hints {
		if !slices.Contains(names, name) {
			return fmt.Errorf("port %d: no protocol is called %q; there are %s", port, name, strings.Join(names, ", "))
		}
	}
	return nil
}
