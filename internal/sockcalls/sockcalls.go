// Package sockcalls tells what programs do with their sockets, from the system calls that they make: whom they connect to, what they send and
// receive, what fails and how, and when they close. It follows descriptors through dup, fork and exec, and sockets by their numbers (inodes).
//
//	ptrace --Enter, Exit--> Tracker --Event--> Sink
//	                           `-- /proc/PID/fd, pidfd_getfd(2): which socket a descriptor is, and what the kernel knows of it
//
// What isn't seen: calls by io_uring, which the Sink is told of once a process, and 32-bit programs on a 64-bit kernel.
package sockcalls

import (
	"net/netip"
	"time"
)

// Kind is what a socket speaks.
type Kind uint8

// The kinds of sockets.
const (
	Other Kind = iota
	TCP
	UDP
	Unix
)

var kindNames = [...]string{"other", "tcp", "udp", "unix"}

func (k Kind) String() string { return kindNames[k] }

// Socket is a socket of a program.
type Socket struct {
	// Inode is its number, ID counts the sockets in the order in which they were seen, from 1.
	Inode uint64
	ID    int
	Kind  Kind
	// Local and Peer are its ends, as far as they are known; Path is where the other end of a unix socket listens.
	Local, Peer netip.AddrPort
	Path        string
	// Accepted: the program didn't open the connection.
	Accepted bool
	// Known: the connection was there before the program was followed.
	Known bool
	// Value is the sink's to use.
	Value any

	connecting bool
	connected  bool
	closed     bool
}

// What is the kind of an Event.
type What uint8

// What may happen to a socket.
const (
	// Connecting: the program asks for a connection, or names the peer of a UDP socket.
	Connecting What = iota
	// Connected: there is a connection. Failed says that there is none.
	Connected
	// Accepted: a connection was accepted.
	Accepted
	// Sent and Received: bytes went to the socket, or came from it. Of a UDP socket each is one datagram.
	Sent
	Received
	// Ended: the peer has ended what it sends, and the program has read that.
	Ended
	// Shut: the program ends what it sends (shutdown).
	Shut
	// Closed: the program, and all others that had it, have closed the socket.
	Closed
	// Failed: a call failed. Errno says how.
	Failed
	// Unseen: the process makes calls that can't be seen.
	Unseen
)

// Event is something that happened to a socket. It is borrowed until return.
type Event struct {
	What   What
	Socket *Socket
	// PID and TID are the process and the thread.
	PID, TID int
	// Call is the name of the system call, Began and Ended are when it was made and when it returned.
	Call         string
	Began, Ended time.Time
	// Data are bytes, of which there were Length: fewer bytes than that could be read of the program's memory, or none, where the kernel moved
	// them from a file.
	Data   []byte
	Length int
	// Peer is where a datagram went, or came from.
	Peer netip.AddrPort
	// Errno is what failed.
	Errno int
	// Info is what the kernel knew of the connection, of Closed and Failed; nil when it couldn't be asked.
	Info *Info
}

// Info is what the kernel knows of a TCP connection (tcp(7), linux/tcp.h). Durations are in microseconds as there.
type Info struct {
	State uint8
	// RTT and RTTVar are smoothed, MinRTT is the smallest seen.
	RTT, RTTVar, MinRTT time.Duration
	// Retransmits counts segments that were sent again, Lost those that are taken for lost.
	Retransmits, Lost uint32
	// Sent, Acked and Received count bytes.
	Sent, Acked, Received uint64
	// Busy is how long there was something to send; WindowLimited how long of that the peer's window was full, and BufferLimited how long
	// the program's own buffer was too small.
	Busy, WindowLimited, BufferLimited time.Duration
	// Unsent and NotAcked are bytes and segments that wait.
	Unsent   uint32
	NotAcked uint32
}

// Sink takes events, in the order in which they happened, from one goroutine.
type Sink interface {
	Event(e *Event)
}

// Logger, if a Sink is one, is told of each call as a line of strace(1).
type Logger interface {
	// Line takes a call as text. Result is what follows the equals sign.
	Line(pid int, at time.Time, call, result string)
}
