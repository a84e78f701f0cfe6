package process

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxListeners bounds the listening sockets of one port, and maxAddresses the addresses of a namespace.
	maxListeners = 1024
	maxAddresses = 1 << 16
)

// Diag asks the kernel about the sockets of one network namespace. It needs no privilege. Its methods may be called
// from any goroutine; those that ask about sockets wait for each other.
type Diag struct {
	diag, route *netlink
	req         [nlmsgHeader + inetRequestSize]byte
}

// OpenSockets opens what NewDiag needs in a network namespace, nil for the own one: so that a privileged process can
// open it, and another one use it. A foreign namespace needs CAP_SYS_ADMIN.
func OpenSockets(ns *os.File) (files []*os.File, err error) {
	open := func() error {
		for _, family := range []int{unix.NETLINK_SOCK_DIAG, unix.NETLINK_ROUTE} {
			f, err := openNetlink(family)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		return nil
	}
	if ns == nil {
		err = open()
	} else {
		err = Enter(ns, open)
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, fmt.Errorf("asking the kernel about sockets: %w", err)
	}
	return files, nil
}

// NewDiag takes over the files of OpenSockets, also when it fails.
func NewDiag(files []*os.File) (d *Diag, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			err = fmt.Errorf("asking the kernel about sockets: %w", err)
		}
	}()
	if len(files) != 2 {
		return nil, fmt.Errorf("%d netlink sockets instead of 2", len(files))
	}
	d = new(Diag)
	if d.diag, err = newNetlink(files[0], unix.NETLINK_SOCK_DIAG); err != nil {
		return nil, err
	}
	if d.route, err = newNetlink(files[1], unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	// A kernel without tcp_diag says of every socket that there is none. Only a dump tells.
	if err := d.inet(familyInet, unix.IPPROTO_TCP, 0, 0, func(*inetSocket) {}); err != nil {
		return nil, err
	}
	return d, nil
}

// OpenDiag opens a Diag for a network namespace, nil for the own one.
func OpenDiag(ns *os.File) (*Diag, error) {
	files, err := OpenSockets(ns)
	if err != nil {
		return nil, err
	}
	return NewDiag(files)
}

// Close ends it.
func (d *Diag) Close() error { return errors.Join(d.diag.close(), d.route.close()) }

// Find looks up the socket of a connection by its ends, as this host has it: local is the end whose socket is
// wanted. protocol is TCP's or UDP's number; iface is the index of the interface that has the local address, so that
// sockets that are bound to it are found, or 0. That there is no socket is no error: State is 0 then.
func (d *Diag) Find(protocol uint8, local, remote netip.AddrPort, iface uint32) (Found, error) {
	src, dst := local.Addr().Unmap(), remote.Addr().Unmap()
	family := uint8(familyInet6)
	if src.Is4() {
		family = familyInet
	}
	if src.Is4() != dst.Is4() || !src.IsValid() || !dst.IsValid() {
		return Found{}, nil
	}
	sport, dport := local.Port(), remote.Port()
	if protocol == unix.IPPROTO_UDP {
		// udp_diag takes source and destination as a packet to the socket has them, unlike tcp_diag.
		src, dst, sport, dport = dst, src, dport, sport
	}
	d.diag.mu.Lock()
	defer d.diag.mu.Unlock()
	inetRequest(d.req[:], family, protocol, 1<<32-1, sport, dport, src, dst, iface)
	b, err := d.diag.one(d.req[:], sockDiagByFamily)
	if err != nil {
		if err == unix.ENOENT || err == unix.ESTALE { // ESTALE: it ended between being found and being told
			return Found{}, nil
		}
		return Found{}, fmt.Errorf("looking up the socket %v to %v: %w", local, remote, err)
	}
	s, ok := parseInet(b)
	if !ok {
		return Found{}, fmt.Errorf("looking up the socket %v to %v: %w", local, remote, errTruncated)
	}
	return Found{State: s.state, Inode: uint64(s.inode), UID: s.uid, Cookie: s.cookie}, nil
}

// Listeners returns the sockets that accept connections to a port, or for UDP take datagrams for it from anybody.
func (d *Diag) Listeners(protocol uint8, port uint16) (all []Listener, err error) {
	states := uint32(1 << Listen)
	if protocol == unix.IPPROTO_UDP {
		states = 1 << Unconnected
	}
	for _, family := range []uint8{familyInet, familyInet6} {
		err := d.inet(family, protocol, states, port, func(s *inetSocket) {
			if s.local.Port() == port && len(all) < maxListeners {
				all = append(all, Listener{Local: s.local, Interface: s.iface, V6Only: s.v6only, Inode: uint64(s.inode), UID: s.uid})
			}
		})
		if err != nil {
			return nil, fmt.Errorf("listing the sockets that listen on port %d: %w", port, err)
		}
	}
	return all, nil
}

// full calls each for the TCP listeners whose accept queue is full: a connection more is dropped.
func (d *Diag) full(each func(netip.AddrPort)) error {
	for _, family := range []uint8{familyInet, familyInet6} {
		err := d.inet(family, unix.IPPROTO_TCP, 1<<Listen, 0, func(s *inetSocket) {
			if s.recv > s.send {
				each(s.local)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenNetstat opens the counters of a network namespace, nil for the own one; see NewAcceptQueues.
func OpenNetstat(ns *os.File) (f *os.File, err error) {
	open := func() (err error) {
		f, err = os.Open("/proc/thread-self/net/netstat")
		return err
	}
	if ns == nil {
		err = open()
	} else {
		err = Enter(ns, open)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the kernel's counters: %w", err)
	}
	return f, nil
}

// Addresses returns the addresses of the namespace, each with the index of an interface that has it.
func (d *Diag) Addresses() (map[netip.Addr]uint32, error) {
	all := map[netip.Addr]uint32{}
	req := make([]byte, nlmsgHeader+addrMessageSize)
	err := d.route.dump(req, rtmGetAddr, func(b []byte) {
		if a, iface, ok := parseAddress(b); ok && len(all) < maxAddresses {
			if _, known := all[a]; !known {
				all[a] = iface
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of this host: %w", err)
	}
	return all, nil
}

// inet dumps the sockets of a family in some states; port limits it to one local port, 0 to none.
func (d *Diag) inet(family, protocol uint8, states uint32, port uint16, each func(*inetSocket)) error {
	req := make([]byte, nlmsgHeader+inetRequestSize)
	inetRequest(req, family, protocol, states, port, 0, netip.Addr{}, netip.Addr{}, 0)
	return d.diag.dump(req, sockDiagByFamily, func(b []byte) {
		if s, ok := parseInet(b); ok {
			each(&s)
		}
	})
}

// unix dumps all unix sockets of the namespace.
func (d *Diag) unix(each func(*unixSocket)) error {
	req := make([]byte, nlmsgHeader+unixRequestSize)
	unixRequest(req)
	return d.diag.dump(req, sockDiagByFamily, func(b []byte) {
		if s, ok := parseUnix(b); ok {
			each(&s)
		}
	})
}
