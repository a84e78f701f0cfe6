package process

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Kind is what a socket speaks.
type Kind uint8

// The kinds of sockets.
const (
	TCP Kind = iota + 1
	UDP
	UnixStream
	UnixDatagram
	UnixSeqPacket
)

var kindNames = [...]string{
	TCP: "tcp", UDP: "udp", UnixStream: "unix", UnixDatagram: "unix-dgram", UnixSeqPacket: "unix-seqpacket",
}

// String returns "tcp", "udp", "unix", "unix-dgram" or "unix-seqpacket".
func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// Unix reports whether the socket is a unix socket of any type.
func (k Kind) Unix() bool { return k >= UnixStream && k <= UnixSeqPacket }

// State is the state of a socket, in the kernel's numbers (include/net/tcp_states.h). Sockets that aren't
// TCP's have Established, Listen and Unconnected only.
type State uint8

// The states of sockets.
const (
	Established State = iota + 1
	SynSent
	SynReceived
	FinWait1
	FinWait2
	TimeWait
	Unconnected // TCP: closed
	CloseWait
	LastAck
	Listen
	Closing
	newSynReceived
)

var stateNames = [...]string{
	Established: "established", SynSent: "syn-sent", SynReceived: "syn-received", FinWait1: "fin-wait-1", FinWait2: "fin-wait-2",
	TimeWait: "time-wait", Unconnected: "unconnected", CloseWait: "close-wait", LastAck: "last-ack", Listen: "listen",
	Closing: "closing", newSynReceived: "syn-received",
}

// String returns the name of the state in lower case, such as "established" or "listen".
func (s State) String() string { return nameOf(stateNames[:], int(s)) }

func nameOf(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return fmt.Sprintf("unknown %d", i)
}

// Socket is one socket of a snapshot, and who holds it.
type Socket struct {
	Kind  Kind
	State State

	// Local and Remote are the ends of a TCP or UDP socket; what isn't bound or connected is all zeros.
	// v4-mapped addresses stay IPv6: the socket is.
	Local, Remote netip.AddrPort
	// Interface is the index of the interface that the socket is bound to, 0 for none.
	Interface uint32

	// Path is the name of a unix socket: a path, or "@" and an abstract name. It may hold any bytes. One that
	// has no name of its own, as the client's end of a connection, has none.
	Path string
	// Peer is the inode of the other end of a unix socket, 0 for none. PeerPath and PeerHolders are those of
	// the peer, as far as it was seen: a peer in another network namespace isn't.
	Peer        uint64
	PeerPath    string
	PeerHolders []Holder

	// RecvQueue and SendQueue are the bytes that wait to be read, and to be sent or acknowledged. Of a listening
	// socket they are connections that wait for accept(), and the most that may (the backlog).
	RecvQueue, SendQueue uint32

	// Inode is the socket's number, 0 when no process holds it: not accepted yet, or closed.
	Inode uint64
	// UID owns the socket, User is its name or number. For unix sockets of old kernels that don't tell,
	// User is empty.
	UID  uint32
	User string

	// Holders are the processes that hold the socket, by process id; empty when none does, or none that
	// could be looked into.
	Holders []Holder
}

// Holder is a process that holds a socket.
type Holder struct {
	*exchange.Process
	// FD is the lowest file descriptor by which the process holds it.
	FD int
}

// Options say what a snapshot is of. The zero value takes all kinds and states.
type Options struct {
	// Proc is where procfs is mounted, "/proc" when empty.
	Proc string
	// NetNS is the network namespace to look at, nil for the one of this process; see OpenNetNS.
	NetNS *os.File
	// TCP, UDP and Unix choose kinds of sockets; none of them chooses all.
	TCP, UDP, Unix bool
	// Listening chooses sockets that wait for others: listening ones, and UDP and datagram sockets that are
	// bound and not connected. Established chooses those that talk: all others but time-wait and unbound ones.
	// Neither chooses both.
	Listening, Established bool
	// Ignore is a process that isn't looked into, 0 for none.
	Ignore int
	// Max is the most sockets that are returned, DefaultMaxSockets when 0.
	Max int
}

// DefaultMaxSockets bounds a snapshot.
const DefaultMaxSockets = 200_000

// Notes say what a snapshot doesn't show.
type Notes struct {
	// Blind tells of processes that couldn't be looked into.
	Blind Blind
	// Unowned counts sockets with an inode and no holder that was seen; kernel threads hold some.
	Unowned int
	// Cut counts sockets beyond Options.Max, and Holds the descriptors beyond the limit of holders.
	Cut, Holds int
	// Incomplete names kinds of sockets that the kernel couldn't list, with the reason.
	Incomplete []string
}

// Blind tells what a look into processes couldn't see.
type Blind struct {
	// Processes counts those whose descriptors couldn't be listed, of Seen in all.
	Processes, Seen int
	// Missing are the capabilities that would have helped, such as "CAP_SYS_PTRACE"; none when the system forbids it
	// whatever the capabilities.
	Missing []string
}

// String tells it in one sentence without a full stop, or "" when everything was seen.
func (b Blind) String() string {
	if b.Processes == 0 {
		return ""
	}
	s := fmt.Sprintf("%d of %d processes couldn't be looked into", b.Processes, b.Seen)
	if len(b.Missing) == 0 {
		return s + ": the system forbids it"
	}
	return s + ": that needs " + strings.Join(b.Missing, " and ")
}

// Lines returns the notes for people, one sentence each, without a full stop; none when nothing is missing.
func (n *Notes) Lines() (all []string) {
	if s := n.Blind.String(); s != "" {
		all = append(all, s)
	}
	all = append(all, n.Incomplete...)
	if n.Cut > 0 {
		all = append(all, fmt.Sprintf("%d sockets more aren't shown", n.Cut))
	}
	if n.Holds > 0 {
		all = append(all, fmt.Sprintf("%d file descriptors more weren't looked at", n.Holds))
	}
	return all
}
