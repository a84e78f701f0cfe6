package exchange

import "github.com/culprit-http/culprit/internal/proto"

// Causes says which part of a phase whom it is due to, in nanoseconds. The four add up to the phase. The networks are those on either side
// of the tap. Only what is Known may be read.
type Causes struct {
	Client, ClientNetwork, ServerNetwork, Server int64
	Known                                        bool
}

// Sum returns what the parts add up to.
func (c *Causes) Sum() int64 { return c.Client + c.ClientNetwork + c.ServerNetwork + c.Server }

// cause makes the field of a part of a phase.
func cause(name string, p Phase, of func(c *Causes) int64, party string) Field {
	return Field{Name: name, Type: "long", Unit: "ns", Kind: Duration, Source: fromTiming,
		Meaning: "part of " + p.String() + " that is due to " + party + "; absent when none is",
		Get: func(x *Exchange, v *Value) {
			if c := &x.Timing.Causes[p]; c.Known {
				if n := of(c); n > 0 {
					v.duration(n)
				}
			}
		}}
}

func byClient(c *Causes) int64        { return c.Client }
func byClientNetwork(c *Causes) int64 { return c.ClientNetwork }
func byServerNetwork(c *Causes) int64 { return c.ServerNetwork }
func byServer(c *Causes) int64        { return c.Server }

// Phase is one of the parts of an exchange's time that are split by cause.
type Phase uint8

// The phases.
const (
	PhaseConnect Phase = iota
	PhaseSend
	PhaseWait
	PhaseReceive
	Phases
)

var phaseNames = [Phases]string{"connect", "send", "wait", "receive"}

func (p Phase) String() string { return phaseNames[p] }

// Who is a party that may be to blame.
type Who uint8

// The parties. Unjudged is the zero value: nobody has asked. Nobody: nothing was slow and nothing failed. Unclear: the evidence doesn't carry.
const (
	Unjudged Who = iota
	Nobody
	ByClient
	ByClientNetwork
	ByServerNetwork
	ByServer
	ByUpstream
	ByProxy
	ByDNS
	ByProtocol
	Unclear
	NumWho
)

var whoNames = [NumWho]string{"", "none", "client", "client-network", "server-network", "server", "upstream", "proxy", "dns", "protocol", "unclear"}

func (w Who) String() string { return whoNames[w] }

// Situation is what happened, as one of the rules of docs/blame.md recognises it.
type Situation uint8

// The situations.
const (
	NoSituation Situation = iota
	SlowApplication
	SlowUpstream
	SlowReader
	SlowSender
	LossClientSide
	LossServerSide
	SlowPath
	SYNLost
	AcceptQueueFull
	ConnectionRefused
	Unreachable
	ResetMidResponse
	KeepAliveRace
	EarlyResponse
	DelayedAckStall
	SmallWindow
	SlowTLS
	SlowDNS
	FlowControlStall
	HeadOfLine
	PipelinedBehind
	PoolWait
	ServerTimeout
	ClientGaveUp
	Retried
	Redirected
	BlackHole
	FailedHop
	ServerError
	ClientError
	TLSFailed
	NumSituations
)

// Situations are the situations by name, as the fields and --where know them, with what they mean.
var Situations = [NumSituations]struct{ Name, Meaning string }{
	SlowApplication:   {"slow-application", "the server had the whole request and took its time"},
	SlowUpstream:      {"slow-upstream", "the server waited for another one"},
	SlowReader:        {"slow-reader", "the receiver's window was closed: its application didn't read"},
	SlowSender:        {"slow-sender", "the sender's application trickled the body"},
	LossClientSide:    {"loss-client-side", "segments were lost between the client and the tap"},
	LossServerSide:    {"loss-server-side", "segments were lost between the tap and the server"},
	SlowPath:          {"slow-path", "the path's round trip or rate took the time"},
	SYNLost:           {"syn-lost", "a SYN or its answer was lost, or the accept queue was full"},
	AcceptQueueFull:   {"accept-queue-full", "the server's accept queue was full"},
	ConnectionRefused: {"connection-refused", "the server refused the connection"},
	Unreachable:       {"unreachable", "no answer to any SYN, or an ICMP error"},
	ResetMidResponse:  {"reset-mid-response", "the connection was reset or closed before the response was whole"},
	KeepAliveRace:     {"keep-alive-race", "the request was sent on a connection that the server was closing"},
	EarlyResponse:     {"early-response", "the server answered before the request was whole, and closed"},
	DelayedAckStall:   {"delayed-ack", "a small segment waited for an acknowledgement that the other side delayed"},
	SmallWindow:       {"small-window", "the receive window is too small for the path's round trip"},
	SlowTLS:           {"slow-tls", "the TLS handshake took the time"},
	SlowDNS:           {"slow-dns", "the name was looked up for long before the connection"},
	FlowControlStall:  {"flow-control", "a window of HTTP/2 was closed"},
	HeadOfLine:        {"head-of-line", "the answer waited for other streams of its connection"},
	PipelinedBehind:   {"pipelined", "the request waited behind another one on its connection"},
	PoolWait:          {"pool-wait", "the proxy took its time before it asked the upstream"},
	ServerTimeout:     {"server-timeout", "the server or a proxy gave up waiting"},
	ClientGaveUp:      {"client-gave-up", "the client closed before the answer came"},
	Retried:           {"retried", "it was sent again after a failure"},
	Redirected:        {"redirected", "it was one of a chain of redirects"},
	BlackHole:         {"mtu-black-hole", "full-size segments don't come through, small ones do"},
	FailedHop:         {"failed-hop", "a hop further on failed"},
	ServerError:       {"server-error", "the server answered with an error"},
	ClientError:       {"client-error", "the server refused what the client sent"},
	TLSFailed:         {"tls-failed", "the TLS handshake failed"},
}

func (s Situation) String() string { return Situations[s].Name }

// Blame is the verdict on an exchange: who made it slow or fail, how much of its time that took, how sure that is, and why. The texts are made
// when they are wanted; see internal/blame.
type Blame struct {
	Who       Who
	Situation Situation
	// Time is what the party took, in nanoseconds, of the exchange's total; of a failure, how long it was waited for, 0 where it came at once.
	Time int64
	// Confidence is from 0 to 1.
	Confidence float64
	// Failed: it is about a failure rather than about time.
	Failed bool
	// Upstream is the address of the upstream or the resolver that is meant.
	Upstream string
	// Evidence are the facts, the strongest first, N of them.
	Evidence [MaxEvidence]Evidence
	N        uint8
	// Why and Facts are the texts of an exchange that comes from a store; empty: they are made of Situation and Evidence.
	Why   string
	Facts []string
}

// MaxEvidence is how many facts a verdict has at most.
const MaxEvidence = 4

// Evidence is a fact, by a rule's sentence and the numbers in it.
type Evidence struct {
	// Sentence says what Time, Number and the packets mean: a row of the table in evidence.go.
	Sentence uint8
	// Of is whose doing it is.
	Of proto.Direction
	// Time is in nanoseconds.
	Time, Number int64
	// First and Last are packets, 0 where there is none.
	First, Last uint64
}

// HopMethod is how an exchange was linked to the one that caused it.
type HopMethod uint8

// The methods, the surest first. Root: it has no parent among what was seen.
const (
	NotLinked HopMethod = iota
	Root
	ByID
	ByProxyHeader
	ByProcess
	ByContent
	ByTiming
	NumHopMethods
)

var hopMethodNames = [NumHopMethods]string{"", "root", "id", "header", "process", "content", "timing"}

func (m HopMethod) String() string { return hopMethodNames[m] }

// Hop is an exchange's place in the tree of those that one request caused.
type Hop struct {
	Method HopMethod
	// Parent is the id of the exchange that caused it, zero at a root. Trace is that of the root, and Depth how many are between.
	Parent, Trace [IDSize]byte
	Depth         int
	Confidence    float64
}
