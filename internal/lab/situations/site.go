//go:build linux

package situations

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/lab"
)

// The addresses of the site.
const (
	middleFront = "10.1.0.254"
	serverHost  = "10.2.0.2"
	appAddress  = serverHost + ":80"
	edgeAddress = middleFront + ":80"
)

// Conditions are those of the two links, towards the server and back.
type Conditions struct{ NearThere, NearBack, FarThere, FarBack lab.Conditions }

// usual is a path of 14 ms there and back.
func usual() Conditions {
	near, far := lab.Conditions{Delay: 5 * time.Millisecond}, lab.Conditions{Delay: 2 * time.Millisecond}
	return Conditions{near, near, far, far}
}

// site is where a situation is made.
type site struct {
	client, middle, server *lab.Namespace
	near, far              *lab.RunningLink
	// losses are those of the near link and the far link, towards the server and back.
	losses [2][2]*losses
	// work is an empty folder for the files of programs.
	work string
	app  *app
	keys safeBuffer
	// waits are those of the resolver, and of TLS.
	waits waits
	// machine says when exchanges were disturbed.
	machine *disturbances

	mu    sync.Mutex
	truth []Truth
}

// The two links, and the two directions of one, as places in site.losses.
const (
	nearLink, farLink = 0, 1
	there, back       = 0, 1
)

// build makes the network, whose namespaces have names that begin with prefix, and starts the app.
func build(l *lab.Lab, prefix string, c Conditions, work string) (*site, error) {
	s := &site{work: work}
	var cables *lab.Namespace
	for name, n := range map[string]**lab.Namespace{"client": &s.client, "middle": &s.middle, "server": &s.server, "cables": &cables} {
		var err error
		if *n, err = l.Namespace(prefix + "-" + name); err != nil {
			return nil, err
		}
		if err := (*n).Sysctl("ipv4/tcp_no_metrics_save", "1"); err != nil {
			return nil, err
		}
	}
	hosts := []struct{ host, cable lab.End }{
		{lab.End{Namespace: s.client, Interface: "client", Addresses: []string{"10.1.0.1/24"}}, lab.End{Namespace: cables, Interface: "a"}},
		{lab.End{Namespace: s.middle, Interface: "front", Addresses: []string{middleFront + "/24"}}, lab.End{Namespace: cables, Interface: "b"}},
		{lab.End{Namespace: s.middle, Interface: "back", Addresses: []string{"10.2.0.254/24"}}, lab.End{Namespace: cables, Interface: "c"}},
		{lab.End{Namespace: s.server, Interface: "server", Addresses: []string{serverHost + "/24"}}, lab.End{Namespace: cables, Interface: "d"}},
	}
	for _, h := range hosts {
		if err := errors.Join(lab.Veth(h.host, h.cable), h.host.Namespace.Offload(h.host.Interface, false)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(s.middle.Sysctl("ipv4/ip_forward", "1"), s.client.IP("route add default via "+middleFront),
		s.server.IP("route add default via 10.2.0.254")); err != nil {
		return nil, err
	}
	for link := range s.losses {
		for way := range s.losses[link] {
			s.losses[link][way] = &losses{back: way == back, armed: map[uint16]*loss{}}
		}
	}
	var err error
	s.machine = &disturbances{quit: make(chan struct{})}
	for i, link := range []**lab.RunningLink{&s.near, &s.far} {
		k := lab.Link{A: hosts[2*i].cable, B: hosts[2*i+1].cable, Seed: uint64(i), Slack: disturbing, Overdue: s.machine.add}
		if *link, err = k.Run(); err != nil {
			return nil, err
		}
	}
	if err := s.set(c); err != nil {
		return nil, err
	}
	s.app = &app{site: s, open: map[uint16]*appConn{}, taken: map[string]time.Duration{}}
	if err := s.app.serve(appAddress); err != nil {
		return nil, err
	}
	// Neighbours get to know each other before anything is recorded.
	first, err := s.dial(appAddress, dialing{})
	if err != nil {
		return nil, err
	}
	return s, errors.Join(first.Close(), lab.Settle(s.client, s.server))
}

// set changes what the links do. The losses that were told apply under all conditions.
func (s *site) set(c Conditions) error {
	c.NearThere.Lose, c.NearBack.Lose = s.losses[nearLink][there].lose, s.losses[nearLink][back].lose
	c.FarThere.Lose, c.FarBack.Lose = s.losses[farLink][there].lose, s.losses[farLink][back].lose
	return errors.Join(s.near.Set(c.NearThere, c.NearBack), s.far.Set(c.FarThere, c.FarBack))
}

// Truth is what is known of an exchange from how it was made.
type Truth struct {
	// Key names the exchange: its path, then #2 for the second one with that path at a tap, or port:N for a connection by its client's port.
	Key string
	// Kind is that of the situation, or Disturbed or Even; Note says what was done, for people.
	Kind, Note string

	at time.Time
}

// Kinds of exchanges of which nobody knows what was to blame.
const (
	// Disturbed: the machine did something else meanwhile.
	Disturbed = "disturbed"
	// Even: two causes turned out to be of about the same size, or the cause wasn't there as often as it was to be.
	Even = "even"
)

// know adds to the truth, right after the exchange.
func (s *site) know(key, kind, note string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truth = append(s.truth, Truth{key, kind, fmt.Sprintf(note, args...), time.Now()})
}

// each calls f for 0 to n-1, from some goroutines at once, and returns the first error.
func each(n, atOnce int, f func(i int) error) error {
	next := make(chan int)
	errs := make(chan error, atOnce)
	for range atOnce {
		go func() {
			var err error
			for i := range next {
				if err == nil {
					if err = f(i); err != nil {
						err = fmt.Errorf("exchange %d: %w", i, err)
					}
				}
			}
			errs <- err
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	var all []error
	for range atOnce {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// most is how many times as many exchanges as were wanted are made at most, because of disturbances.
const most = 3

// each calls f for 0 to n-1, from some goroutines at once, and then as often again as there were disturbances.
func (s *site) each(n, atOnce int, f func(i int) error) error {
	for done, wanted := 0, n; done < wanted; {
		var disturbed atomic.Int64
		first := done
		if err := each(wanted-done, atOnce, func(i int) error {
			err := f(first + i)
			if s.machine.touch(time.Now()) {
				disturbed.Add(1)
			}
			return err
		}); err != nil {
			return err
		}
		done, wanted = wanted, min(wanted+int(disturbed.Load()), most*n)
	}
	return nil
}

// between returns a time between two, another for each i, the same in each run.
func between(i int, from, to time.Duration) time.Duration {
	const steps, stride = 101, 37
	return from + (to-from)*time.Duration(i*stride%steps)/steps
}

// dialing says how a client connects.
type dialing struct {
	// buffer is the receive buffer in bytes, 0: the system's.
	buffer int
	// nagle leaves Nagle's algorithm on.
	nagle bool
	// timeout is how long to wait for the connection; 0: lab.Patience.
	timeout time.Duration
	// from is the client's port; 0: any.
	from int
}

// clientConn is a client's connection.
type clientConn struct {
	net.Conn
	r    *bufio.Reader
	port uint16
}

// dial connects from the client's host.
func (s *site) dial(address string, o dialing) (*clientConn, error) {
	return dialFrom(s.client, address, o)
}

func dialFrom(n *lab.Namespace, address string, o dialing) (*clientConn, error) {
	d := net.Dialer{Timeout: lab.Patience, KeepAlive: -1}
	if o.timeout > 0 {
		d.Timeout = o.timeout
	}
	if o.from > 0 {
		d.LocalAddr = &net.TCPAddr{Port: o.from}
	}
	d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		if o.buffer > 0 {
			e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, o.buffer) })
			err = errors.Join(err, e)
		}
		return err
	}
	var c net.Conn
	// On a thread of its own: others connect meanwhile.
	err := <-n.Go(func() (err error) { c, err = d.Dial("tcp", address); return err })
	if err != nil {
		return nil, err
	}
	t := c.(*net.TCPConn)
	if o.nagle {
		if err := t.SetNoDelay(false); err != nil {
			return nil, err
		}
	}
	return &clientConn{t, bufio.NewReaderSize(t, 16<<10), uint16(t.LocalAddr().(*net.TCPAddr).Port)}, nil
}

// PortKey names a connection by its client's port.
func PortKey(port int) string { return "port:" + strconv.Itoa(port) }

// folder makes an empty folder for the files of a program.
func (s *site) folder(name string) (string, error) {
	f := filepath.Join(s.work, name)
	return f, os.MkdirAll(f, 0o755)
}

func write(path, content string) error { return os.WriteFile(path, []byte(content), 0o644) }

// listenBacklog listens with room for few connections that nobody has taken yet.
func listenBacklog(n *lab.Namespace, port, backlog int) (l net.Listener, err error) {
	err = n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "listener")
		defer f.Close()
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: port}), unix.Listen(fd, backlog)); err != nil {
			return err
		}
		l, err = net.FileListener(f)
		return err
	})
	return l, err
}

// safeBuffer is written to by several.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
