package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/http1"
	"github.com/culprit-http/culprit/internal/proto/http2"
	"github.com/culprit-http/culprit/internal/proto/socks"
	"github.com/culprit-http/culprit/internal/proto/websocket"
	"github.com/culprit-http/culprit/internal/tls"
)

// protocols are all protocols with a parser but TLS, which has one for each shard, in the order in which detection asks them.
var protocols = []proto.Protocol{
	http1.Protocol,
	http2.Protocol,
	websocket.Protocol,
	socks.Protocol,
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
