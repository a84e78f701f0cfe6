//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// End is one end of a virtual Ethernet pair: the name of the interface, the namespace that it is in, and its
// addresses, such as 10.1.0.1/24. Without any it sends nothing of its own.
type End struct {
	Namespace *Namespace
	Interface string
	Addresses []string
}

// Veth joins two namespaces, or one with itself, by a virtual Ethernet pair that is up.
func Veth(a, b End) error {
	// Numbers that differ between namespaces, too: the kernel takes a pair with the same number at either end for
	// no pair, and lets a second go by until it believes that it is up.
	index := a.Namespace.lab.links.Add(2)
	if err := a.Namespace.IP(fmt.Sprintf("link add name %s index %d type veth peer name %s index %d netns %s",
		a.Interface, index, b.Interface, index+1, b.Namespace.Name)); err != nil {
		return err
	}
	for _, e := range []End{a, b} {
		if len(e.Addresses) == 0 { // it would greet its neighbours over IPv6 nevertheless
			err := e.Namespace.Sysctl("ipv6/conf/"+e.Interface+"/disable_ipv6", "1")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if err := e.Namespace.Address(e.Interface, e.Addresses...); err != nil {
			return err
		}
		if err := e.Namespace.IP("link set dev " + e.Interface + " up"); err != nil {
			return err
		}
	}
	return errors.Join(a.running(), b.running())
}

// running waits until the interface takes packets, which is a moment after both ends are up.
func (e *End) running() error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for late := time.After(Patience); ; {
		up := false
		if err := e.Namespace.Do(func() error {
			i, err := net.InterfaceByName(e.Interface)
			up = err == nil && i.Flags&net.FlagRunning != 0
			return err
		}); err != nil || up {
			return err
		}
		select {
		case <-poll.C:
		case <-late:
			return fmt.Errorf("%s in network namespace %s isn't running %v after it was brought up", e.Interface, e.Namespace.Name, Patience)
		}
	}
}

// Address gives addresses to an interface.
func (n *Namespace) Address(iface string, addresses ...string) error {
	for _, a := range addresses {
		nodad := ""
		if strings.Contains(a, ":") {
			nodad = " nodad" // usable at once
		}
		if err := n.IP("addr add " + a + " dev " + iface + nodad); err != nil {
			return err
		}
	}
	return nil
}

// Bridge makes a bridge that is up, of interfaces that are there, and gives it addresses.
func (n *Namespace) Bridge(name string, members []string, addresses ...string) error {
	if err := n.IP("link add name " + name + " type bridge"); err != nil {
		return err
	}
	for _, m := range members {
		if err := n.IP("link set dev " + m + " master " + name); err != nil {
			return err
		}
	}
	if err := n.Address(name, addresses...); err != nil {
		return err
	}
	return n.IP("link set dev " + name + " up")
}

// offloads are what Offload turns on and off. The order matters when they go off.
var offloads = []struct {
	name    string
	command uint32
}{
	{"gro", unix.ETHTOOL_SGRO},
	{"gso", unix.ETHTOOL_SGSO},
	{"tso", unix.ETHTOOL_STSO},
	{"tx-checksumming", unix.ETHTOOL_STXCSUM},
}

// Offload turns segmentation, merging and checksums by an interface on or off. Off, every frame is at most as
// long as the MTU, and what is read from a packet socket can be sent by another.
func (n *Namespace) Offload(iface string, on bool) error {
	if len(iface) >= unix.IFNAMSIZ {
		return fmt.Errorf("interface %s: the name is too long", iface)
	}
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("a socket for ethtool: %w", err)
		}
		defer unix.Close(fd)
		for i := range offloads {
			o := offloads[i]
			if on { // checksums first: the others need them
				o = offloads[len(offloads)-1-i]
			}
			if err := ethtool(fd, iface, o.command, on); err != nil {
				return fmt.Errorf("ethtool %s %s %v: %w", iface, o.name, on, err)
			}
		}
		return nil
	})
}

// ethtool is struct ethtool_value, passed by struct ifreq: see <linux/ethtool.h> and netdevice(7).
func ethtool(fd int, iface string, command uint32, on bool) error {
	value := struct{ command, data uint32 }{command: command}
	if on {
		value.data = 1
	}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the union is larger than a pointer
	}
	copy(request.name[:], iface)
	request.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// Packets returns how many packets an interface has received and sent since it was made.
func (n *Namespace) Packets(iface string) (received, sent uint64, err error) {
	err = n.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			name, counters, ok := strings.Cut(line, ":")
			if !ok || strings.TrimSpace(name) != iface {
				continue
			}
			f := strings.Fields(counters)
			if len(f) < 10 {
				return fmt.Errorf("%s: %q isn't understood", filepath.Join("/proc", "net", "dev"), line)
			}
			if received, err = strconv.ParseUint(f[1], 10, 64); err != nil {
				return err
			}
			sent, err = strconv.ParseUint(f[9], 10, 64)
			return err
		}
		return fmt.Errorf("no interface %s in network namespace %s", iface, n.Name)
	})
	return received, sent, err
}

// States of TCP in /proc/net/tcp.
const (
	timeWait = "06"
	listen   = "0A"
)

// Connections returns how many TCP connections of the namespace are under way: neither listening sockets nor
// those that only wait for their time to be over.
func (n *Namespace) Connections() (connections int, err error) {
	err = n.Do(func() error {
		for _, table := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + table)
			if errors.Is(err, os.ErrNotExist) {
				continue // there is no IPv6
			}
			if err != nil {
				return err
			}
			_, rows, _ := strings.Cut(string(b), "\n")
			for row := range strings.Lines(rows) {
				if f := strings.Fields(row); len(f) > 3 && f[3] != timeWait && f[3] != listen {
					connections++
				}
			}
		}
		return nil
	})
	return connections, err
}

// Listening waits until a process of the namespace listens on a TCP port, without connecting to it, for as long
// as p lives.
func (n *Namespace) Listening(port uint16, p *Process) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	suffix := fmt.Sprintf(":%04X", port)
	for late := time.After(Patience); ; {
		there := false
		if err := n.Do(func() error {
			b, err := os.ReadFile("/proc/thread-self/net/tcp")
			for row := range strings.Lines(string(b)) {
				f := strings.Fields(row)
				there = there || len(f) > 3 && f[3] == listen && strings.HasSuffix(f[1], suffix)
			}
			return err
		}); err != nil || there {
			return err
		}
		select {
		case <-poll.C:
		case <-p.Ended():
			return fmt.Errorf("%s ended before it listened on port %d: %v", p.Cmd.Path, port, p.Cmd.ProcessState)
		case <-late:
			return fmt.Errorf("%s doesn't listen on port %d after %v", p.Cmd.Path, port, Patience)
		}
	}
}

// Settle waits until no TCP connection of the namespaces is under way: then no packet of one is.
func Settle(spaces ...*Namespace) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		left := 0
		for _, n := range spaces {
			c, err := n.Connections()
			if err != nil {
				return err
			}
			left += c
		}
		if left == 0 {
			return nil
		}
		select {
		case <-poll.C:
		case <-late.C:
			return fmt.Errorf("%d TCP connections are still under way after %v", left, Patience)
		}
	}
}
