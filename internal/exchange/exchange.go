// Package exchange is the model of what culprit shows, one request and what came back for it, and
// the engine that pairs requests with responses for every protocol.
package exchange

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// Grade says how much of an exchange was seen.
type Grade uint8

// The grades.
const (
	// Complete: every byte of the request and of its response was seen.
	Complete Grade = iota
	// Gap: bytes are missing within it, or around it so that it can't be known what it answers.
	Gap
	// Midstream: it began before the capture.
	Midstream
	// OneSided: the other direction was never captured.
	OneSided
	// Unanswered: the request got no response.
	Unanswered
	// Aborted: the connection ended in the middle of the exchange.
	Aborted
	// Undecryptable: it was encrypted and no key fits.
	Undecryptable
	numGrades
)

// Grades is the number of grades, for tables of counters.
const Grades = int(numGrades)

var gradeNames = [numGrades]string{"complete", "gap", "midstream", "onesided", "unanswered", "aborted", "undecryptable"}

func (g Grade) String() string { return gradeNames[g] }

// Tap names the place where an exchange was seen.
type Tap struct {
	// Name is the user's or the interface's name, possibly empty.
	Name string
	// Label is Name, or the base name of the file when there is no name; for people only.
	Label string
	// Observer is the name of the host that captured, empty for files.
	Observer string
	// Recorded says what recorded it, where that wasn't on the wire: then the facts of the network and of the handshake aren't known. It is
	// one of capture.Tap's.
	Recorded string
}

// Interim is an interim response (HTTP 1xx) on the way to the answer.
type Interim struct {
	Status int
	At     clock.Mark
}

// Timing says where the time of an exchange went. All are nanoseconds; -1 means unknown or not
// applicable. See the table in docs/timing.md.
type Timing struct {
	// Idle, Connect and TLS are known for the first exchange of a connection only: from the connection
	// being ready to the first request byte; from the first SYN to the handshake's ACK; from
	// ClientHello to Finished.
	Idle, Connect, TLS int64
	// Send runs from the first to the last request byte, but at most to the first byte of the final
	// response; Wait from there to that byte; Receive from that byte to the last of the response.
	Send, Wait, Receive int64
	// Overlap is how long the request went on after the response had begun.
	Overlap int64
	// Duration is Send + Wait + Receive; Total adds Idle, Connect and TLS.
	Duration, Total int64
	// Handshake says who took the time of TLS.
	Handshake Split
	// Causes say whom the phases are due to.
	Causes [Phases]Causes
}

// Split says who took a time, in nanoseconds; -1 means unknown.
type Split struct{ Client, Server, Network int64 }

// Counts are the network events that happened while an exchange was under way, for one sender.
type Counts struct {
	Packets, Bytes                                            uint64
	Retransmits, OutOfOrder, DupAcks, ZeroWindows, Duplicates uint32
	Overlaps                                                  uint32
}

// Body is what was kept of a message's body.
type Body struct {
	// Bytes is the beginning of the body, transfer-decoded and content-decoded.
	Bytes []byte
	// Cut: the body is longer than what was kept.
	Cut bool
	// DecodedBytes is the body's length after content-decoding, -1 when it isn't known: the body wasn't
	// wanted, not all of it was kept, or it couldn't be decoded.
	DecodedBytes int64
	// Undecoded names the coding that couldn't be undone; Bytes are then as sent.
	Undecoded string
	// Parts describes the parts of a multipart body.
	Parts []Part

	// raw is the beginning of the body before content-decoding; holed: bytes behind it are missing.
	raw   []byte
	holed bool
}

// Part describes one part of a multipart body.
type Part = body.Part

// Operation is what a request asks for beyond its method and path.
type Operation struct {
	// System is graphql or jsonrpc, Kind query, mutation or subscription, call or notification. Names are those of the
	// operations, more than one in a batch.
	System, Kind string
	Names        []string
}

// Statement is what is known of the text of a database's statement or command.
type Statement struct {
	// Template is the statement with its literals replaced by ?, and lists of them by one, so that the same statement with other
	// values has the same template. Operation is its kind, such as SELECT or GET; Collection the table, the collection or the
	// pattern of the key that it is about first.
	Template, Operation, Collection string
}

// Closing is the first close frame of a session.
type Closing struct {
	Seen   bool
	By     proto.Direction
	Code   int
	Reason string
}

// Period is a part of a flow's time. What was sent in it is in Exchange.During: bytes are those of the transport's payload,
// retransmissions included.
type Period struct {
	// Number is the place of the record among those of its flow, from 0. Final: the flow is over.
	Number int
	Final  bool
	// Since is when the flow began, in nanoseconds since 1970.
	Since int64
}

// SessionMessage is one message of a session, such as a WebSocket.
type SessionMessage struct {
	Dir proto.Direction
	// Kind is text, binary, ping, pong or close; Index counts those of the session in this direction, from 0.
	Kind  string
	Index int64
}

// Exchange is one request and its response, or what was seen of the two.
//
// Exchanges are pooled: an output must not keep one, nor anything it points to, after its call
// returned.
type Exchange struct {
	// Flow is the connection, Tap where it was seen; Client is the direction of the requests.
	Flow   *proto.Flow
	Tap    *Tap
	Client proto.Direction
	// Protocol is the application protocol's name, such as "http", and Family what kind it is; see FamilyOf.
	Protocol string
	Family   Family
	// Number counts the exchanges in the order of output, from 1. Index counts those of the
	// connection, from 0.
	Number uint64
	Index  uint32

	// Request and Response are valid iff HasRequest and HasResponse.
	HasRequest, HasResponse   bool
	Request, Response         proto.Message
	RequestBody, ResponseBody Body
	Interim                   []Interim
	Grade                     Grade
	// Reason says in a few words why the grade isn't complete; empty when it is.
	Reason string
	// MissingBytes is how many bytes weren't captured, where that is known.
	MissingBytes int64
	Anomalies    proto.Anomalies
	// TLS is the session that carried it, nil when it came in plain text.
	TLS *proto.TLS
	// Abort says who gave up its stream, and why; nil when nobody did.
	Abort *proto.Abort
	// Operation is what the request asks for beyond its method and path, such as a GraphQL operation.
	Operation Operation
	// Statement is what is known of the statement of a database.
	Statement Statement
	// Proxied is what a proxy said of the connection that it passed on, nil when none did.
	Proxied *proto.Proxied
	// Retries counts how often the request was sent again since no answer came.
	Retries int
	// Period is what the record of a flow counts; nil in all others.
	Period *Period
	// Closing is how a session was closed.
	Closing Closing
	// Message is the message that the exchange is about, where each of a session is shown by itself; nil otherwise.
	Message *SessionMessage
	// Stream marks exchanges whose length says nothing of the server's speed: event streams, tunnels,
	// upgrades.
	Stream bool

	// Start is the first byte of the exchange; Completed is what completed it: its last byte, or the
	// event that ended it.
	Start, Completed clock.Mark
	// FirstPacket and LastPacket are the packets of its first and last byte.
	FirstPacket, LastPacket uint64
	Timing                  Timing

	// Conn is a copy of the connection's facts when the exchange ended; During are the events that
	// happened in each direction between its start and its end.
	Conn   proto.Facts
	During [2]Counts
	// Episodes are the times in which the connection was held up that touch the exchange, handshake included. Acked says when the request
	// had been acknowledged as a whole before its response began; zero: it wasn't.
	Episodes []proto.Episode
	Acked    proto.Acked

	// Blame is the verdict on it, and Hop its place among those that others caused.
	Blame Blame
	Hop   Hop

	// Process are the local processes at the ends, by direction; nil where an end isn't local, or its owner
	// isn't known.
	Process [2]*Process

	// Enriched is what is known beyond the packets. Secrets are the fingerprints of what redaction hid, each
	// once.
	Enriched Enriched
	Secrets  []string

	// Weight is how many exchanges this one stands for, where only a share of them is kept; 0: sampling didn't look at it.
	Weight uint32

	// KnownID is the id of an exchange that comes from a store; nil: ID makes it.
	KnownID *[IDSize]byte

	// What the engine needs until the exchange is finished. underWay are the parser's request and response while they are.
	pairer       pairing
	underWay     [2]*proto.Message
	before       [2]Counts
	lostResponse bool
	// lost marks directions in which messages of its stream may have gone unseen.
	lost [2]bool
	// expected is where in the response stream its response begins, if the client waits for answers.
	expected int64
	// left is when the client closed its side before an answer had begun, 0: it didn't.
	left int64
	// charged is what the exchange takes of the memory budget.
	charged int
	// since is when it began to wait for its answer; in is the engine's queue that it is in; shown: it was
	// shown as waiting.
	since      int64
	in         *queue
	prev, next *Exchange
	shown      bool
	// peek is how much of the beginnings of the bodies is wanted even if no bodies are, by the kind of their message.
	peek [2]int
	// sort tells exchanges apart that begin with the same byte of a connection; see ID.
	sort byte
	// path is that of its layer.
	path uint64
	// grpc is isCall or isNoCall once the exchange is finished.
	grpc uint8
}

// pairing is what an exchange belongs to while it is under way.
type pairing interface {
	// giveUp finishes an exchange whose answer may still come.
	giveUp(x *Exchange, at clock.Mark)
	// losses marks the directions in which messages of the exchange may have gone unseen.
	losses(x *Exchange) [2]bool
	link() *Link
	secured() *proto.TLS
}

// Server returns the direction of the responses.
func (x *Exchange) Server() proto.Direction { return x.Client.Other() }
