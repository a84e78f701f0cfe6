//go:build !linux

package afpacket

import (
	"errors"
	"net/netip"
	"os"

	"github.com/culprit-http/culprit/internal/capture"
)

var errSystem = errors.New("live capture needs Linux; here, capture with tcpdump -w FILE and read it with -r FILE")

// Open returns an error: there are no packet sockets.
func Open(Spec) (*Socket, error) { return nil, errSystem }

// OpenHandshakes returns an error: there are no packet sockets.
func OpenHandshakes(Spec) (*os.File, error) { return nil, errSystem }

// ReadHandshakes returns at once: there are no packet sockets.
func ReadHandshakes(*os.File, <-chan struct{}, func(from, to netip.AddrPort)) {}

// New returns an error: there are no packet sockets.
func New([]Tap, Options) (capture.Live, error) { return nil, errSystem }
