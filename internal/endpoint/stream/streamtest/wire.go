package streamtest

import (
	"io"
	"net"
	"sync"
)

// Wire passes connections on to a server, and breaks them.
type Wire struct {
	// To is the server's address.
	To string
	// Cut says, for each connection, after how many bytes to the server and back it is reset; negative: never. A connection for
	// which both are 0 isn't passed on at all. Calls come one at a time.
	Cut func() (there, back int64)

	listener net.Listener
	running  sync.WaitGroup
	lock     sync.Mutex
	open     map[net.Conn]bool
	closed   bool
}

// Start listens on a port of the loopback interface, and returns the address.
func (w *Wire) Start() (address string, err error) {
	w.open = map[net.Conn]bool{}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return "", err
	}
	w.running.Go(func() {
		for {
			c, err := w.listener.Accept()
			if err != nil {
				return
			}
			there, back := w.Cut()
			w.running.Go(func() { w.pass(c, there, back) })
		}
	})
	return w.listener.Addr().String(), nil
}

// Close ends everything.
func (w *Wire) Close() {
	w.listener.Close()
	w.lock.Lock()
	w.closed = true
	for c := range w.open {
		c.Close()
	}
	w.lock.Unlock()
	w.running.Wait()
}

// keep makes Close close a connection.
func (w *Wire) keep(c net.Conn) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.closed {
		c.Close()
	}
	w.open[c] = true
}

func (w *Wire) pass(client net.Conn, there, back int64) {
	w.keep(client)
	defer reset(client)
	if there == 0 && back == 0 {
		return
	}
	server, err := net.Dial("tcp", w.To)
	if err != nil {
		return
	}
	w.keep(server)
	defer reset(server)
	ended := make(chan struct{}, 2)
	w.running.Go(func() { copyUpTo(server, client, there, ended) })
	w.running.Go(func() { copyUpTo(client, server, back, ended) })
	<-ended
}

func copyUpTo(dst io.Writer, src io.Reader, n int64, ended chan<- struct{}) {
	if n >= 0 {
		src = io.LimitReader(src, n)
	}
	io.Copy(dst, src)
	ended <- struct{}{}
}

// reset ends a connection with a reset where there is TCP below, as when a process dies that hadn't read everything.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
