//go:build !linux

package process

import (
	"errors"
	"net/netip"
	"os"

	"github.com/culprit-http/culprit/internal/exchange"
)

// errLinux is what everything returns that asks the kernel.
var errLinux = errors.New("looking up the processes behind sockets needs Linux")

// Snapshot needs Linux.
func Snapshot(Options) ([]Socket, Notes, error) { return nil, Notes{}, errLinux }

// OpenNetNS needs Linux.
func OpenNetNS(string) (*os.File, error) { return nil, errLinux }

// Enter needs Linux.
func Enter(*os.File, func() error) error { return errLinux }

// OpenSockets needs Linux.
func OpenSockets(*os.File) ([]*os.File, error) { return nil, errLinux }

// Diag needs Linux.
type Diag struct{}

// NewDiag needs Linux.
func NewDiag([]*os.File) (*Diag, error) { return nil, errLinux }

// OpenDiag needs Linux.
func OpenDiag(*os.File) (*Diag, error) { return nil, errLinux }

// Close does nothing.
func (*Diag) Close() error { return nil }

// Find needs Linux.
func (*Diag) Find(uint8, netip.AddrPort, netip.AddrPort, uint32) (Found, error) {
	return Found{}, errLinux
}

// Listeners needs Linux.
func (*Diag) Listeners(uint8, uint16) ([]Listener, error) { return nil, errLinux }

// Addresses needs Linux.
func (*Diag) Addresses() (map[netip.Addr]uint32, error) { return nil, errLinux }

func (*Diag) full(func(netip.AddrPort)) error { return errLinux }

// OpenNetstat needs Linux.
func OpenNetstat(*os.File) (*os.File, error) { return nil, errLinux }

// Scanner needs Linux.
type Scanner struct{}

// NewScanner needs Linux.
func NewScanner(string) (*Scanner, error) { return nil, errLinux }

// Owners needs Linux.
func (*Scanner) Owners([]Want) ([]Answer, error) { return nil, errLinux }

// Blind needs Linux.
func (*Scanner) Blind() (Blind, error) { return Blind{}, errLinux }

// Owner needs Linux.
func (*Scanner) Owner(uint64, uint32) (*exchange.Process, error) { return nil, errLinux }

// Counters returns zeros.
func (*Scanner) Counters() OwnerCounters { return OwnerCounters{} }

// Close does nothing.
func (*Scanner) Close() error { return nil }
