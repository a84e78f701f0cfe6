//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	serverAddress, clientAddress = "10.73.0.1", "10.73.0.2"
	loopback                     = "127.0.0.1"
)

// network is where the load meets the server. This process, and what it starts, is on the server's side.
type network struct {
	about   string
	address string // of the server
	// name is the interface to capture on; each packet counts once there, or on the loopback, where
	// it is sent and received, twice.
	name   string
	client *os.File // the namespace of the load, nil if it is this one
}

// newNetwork makes the network "veth" or "lo" in the network namespace of this process, which is new.
func newNetwork(on string) (*network, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("making the mounts private: %w", err)
	}
	// Only with a /proc of this process namespace do process ids mean what programs think that they mean.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mounting /proc: %w (in a container, run this as its root)", err)
	}
	if err := ip(nil, "link set lo up"); err != nil {
		return nil, err
	}
	if on == "lo" {
		return &network{about: "lo", address: loopback, name: "lo"}, nil
	}
	n := &network{about: "a veth pair", address: serverAddress, name: "eth0"}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		n.client, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	// Of the pair one end is made there at once: the third file of ip is the namespace.
	for _, args := range []string{
		"link add eth0 type veth peer name eth0 netns /proc/self/fd/3",
		"address add " + serverAddress + "/24 dev eth0",
		"link set eth0 up",
	} {
		if err := ip(n.client, args); err != nil {
			return nil, err
		}
	}
	return n, n.asClient(func() error {
		// Where each request has a connection of its own, they need many ports.
		_ = os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65535"), 0)
		for _, args := range []string{"address add " + clientAddress + "/24 dev eth0", "link set eth0 up"} {
			if err := ip(nil, args); err != nil {
				return err
			}
		}
		return nil
	})
}

// ip runs ip(8) in the namespace of the thread.
func ip(file *os.File, args string) error {
	cmd := exec.Command("ip", strings.Fields(args)...)
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", args, err, out)
	}
	return nil
}

// asClient calls f on a thread in the namespace of the load.
func (n *network) asClient(f func() error) error {
	return onThread(func() error {
		if n.client != nil {
			if err := unix.Setns(int(n.client.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("entering the network namespace of the load: %w", err)
			}
		}
		return f()
	})
}

// onThread calls f on a thread that ends afterwards: what f does to its namespaces stays there.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

// packets returns how many packets have passed the interface.
func (n *network) packets() (uint64, error) {
	b, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	received, sent, err := interfacePackets(b, n.name)
	if err != nil {
		return 0, fmt.Errorf("/proc/net/dev: %w", err)
	}
	if n.name == "lo" {
		return received, nil
	}
	return received + sent, nil
}

// interfacePackets finds the counters of packets of an interface in the text of /proc/net/dev.
func interfacePackets(b []byte, name string) (received, sent uint64, err error) {
	for line := range bytes.Lines(b) {
		before, after, _ := strings.Cut(string(line), ":")
		fields := strings.Fields(after)
		if strings.TrimSpace(before) != name || len(fields) < 10 {
			continue
		}
		if received, err = strconv.ParseUint(fields[1], 10, 64); err != nil {
			return 0, 0, err
		}
		sent, err = strconv.ParseUint(fields[9], 10, 64)
		return received, sent, err
	}
	return 0, 0, fmt.Errorf("no interface %s", name)
}
