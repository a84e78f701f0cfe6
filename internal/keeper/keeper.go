// Package keeper splits a program in two, so that the part that reads what strangers wrote has no privileges: next to the
// process that the user started, the worker, runs a small second one, the keeper. It is the same program, started by the worker
// while that still has its privileges, and keeps those that a few named services need. The worker gives all of its own up
// (package privilege) and asks the keeper.
//
//	worker                                   keeper
//	Start(agreed)  ---- runs ---------->     Inherited() = agreed
//	               <--- ready -----------    Serve(services)
//	privilege.Drop
//	reads packets
//	Call("open", 2) --- request -------->    services["open"](2)
//	               <--- reply, files ----
//	ends           ---- end of file ---->    ends
//
// The worker, and not the keeper, is the process that the user, the shell or the service manager knows: so signals, job control
// and the exit status are as with any program, and nothing has to be passed on. The keeper is in a session of its own, where the
// terminal's signals don't reach it, and ends when the worker does, however that ends, since then its socket closes.
//
// What is agreed is sent before anything of strangers' is read. After that the keeper takes the worker for hostile: a request
// names a service, and its handler takes from the request nothing but indexes into what was agreed, checked. A message that no
// worker of ours sends ends the keeper.
package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// The limits of the exchange of messages between worker and keeper.
const (
	// MaxMessage is the most that a message has, with its head, in bytes; also what is agreed.
	MaxMessage = 64 << 10
	// MaxFiles is the most files that come with a reply.
	MaxFiles = 16
	// MaxPending is how many requests a service has in hand at a time. Further calls wait in the worker.
	MaxPending = 16
	// maxName bounds the name of a service, in bytes.
	maxName = 32
)

// MaxRequest and MaxReply are the most that a request, and a reply, may hold, in bytes.
const (
	MaxRequest = MaxMessage - requestHead - maxName
	MaxReply   = MaxMessage - replyHead
)

// Handler answers a request of the worker's, which is hostile: every byte of req is to be checked. Handlers are called from
// several goroutines, also several times at once. req is theirs. The files are closed when they have been sent, also those beside
// an error; an error is sent as its text and, if it has one, its errno.
type Handler func(req []byte) (reply []byte, files []*os.File, err error)

// Services are what a keeper does, by name. Names have 1 to 32 bytes.
type Services map[string]Handler

// ErrEnded is the error of Call when there is no keeper any more.
var ErrEnded = errors.New("the process that kept the privileges has ended")

// Error is an error of a handler's, as it comes to the worker.
type Error struct {
	// Text is what the handler's error said.
	Text string
	// Errno is the system's error within it, or 0.
	Errno syscall.Errno
}

func (e *Error) Error() string { return e.Text }

// Unwrap makes errors.Is see the system's error.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Conn is a connection to the services: those of a keeper, or, after Local, of this process. Its methods may be called from
// several goroutines.
type Conn struct {
	services Services // of a local one
	*link             // to the keeper
	pending  pending
}

// Local is a Conn without a keeper, for when there are no privileges to be kept or no second process can be had. The handlers
// then run in this process, with the privileges that it has.
func Local(s Services) *Conn { return &Conn{services: s} }

// Call asks a service, and waits for the answer. The files are the caller's. An error of the handler's is an *Error; when the
// keeper has ended, the error is ErrEnded.
func (c *Conn) Call(service string, req []byte) (reply []byte, files []*os.File, err error) {
	if len(service) == 0 || len(service) > maxName || len(req) > MaxRequest {
		return nil, nil, fmt.Errorf("a request of %d bytes to service %q: at most %d bytes and a name of at most %d", len(req), service, MaxRequest, maxName)
	}
	slots := c.pending.of(service)
	slots <- struct{}{}
	defer func() { <-slots }()
	if c.link != nil {
		return c.link.call(service, req)
	}
	return c.services.answer(service, req)
}

// Close ends the keeper, and waits until it is gone, or for a second. The handlers of a local one go on until they return.
func (c *Conn) Close() error {
	if c.link != nil {
		return c.link.close()
	}
	return nil
}

// Ended is closed when the keeper has ended. That of a local one is nil, and never ready.
func (c *Conn) Ended() <-chan struct{} {
	if c.link != nil {
		return c.link.ended
	}
	return nil
}

// Separate reports whether there is a keeper: a second process, with privileges of its own.
func (c *Conn) Separate() bool { return c.link != nil }

// answer calls a handler, and holds what it returns to what can be sent. With an error there are no files.
func (s Services) answer(service string, req []byte) ([]byte, []*os.File, error) {
	handle, ok := s[service]
	if !ok {
		return nil, nil, &Error{Text: fmt.Sprintf("there is no service %q", service)}
	}
	reply, files, err := handle(req)
	if err == nil {
		switch {
		case len(reply) > MaxReply:
			err = &Error{Text: fmt.Sprintf("service %s answered with %d bytes; %d can be sent", service, len(reply), MaxReply)}
		case len(files) > MaxFiles:
			err = &Error{Text: fmt.Sprintf("service %s answered with %d files; %d can be sent", service, len(files), MaxFiles)}
		}
	}
	if err == nil {
		return reply, files, nil
	}
	closeAll(files)
	sent := &Error{}
	if !errors.As(err, &sent) {
		sent.Text = err.Error()
		errors.As(err, &sent.Errno)
	}
	return nil, nil, sent
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// pending bounds the requests that each service has in hand. Only services that are asked for by the program's own code get an
// entry, and so there are few.
type pending struct {
	mu    sync.Mutex
	slots map[string]chan struct{}
}

func (p *pending) of(service string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.slots[service]
	if !ok {
		if p.slots == nil {
			p.slots = make(map[string]chan struct{})
		}
		s = make(chan struct{}, MaxPending)
		p.slots[service] = s
	}
	return s
}
