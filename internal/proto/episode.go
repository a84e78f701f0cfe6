package proto

// Hindrance is what holds a half-stream up while it isn't the application that sends.
type Hindrance uint8

// The hindrances.
const (
	// WindowFull: the receiver's window was closed, or full of what was sent: its application reads slowly, or its buffer is small.
	WindowFull Hindrance = iota
	// Recovery: a segment was lost, and what is behind it waited for it to be sent again.
	Recovery
	// CongestionWindow: data was ready, and waited for acknowledgements of what was under way: the path is slow, or the window on it still small.
	CongestionWindow
	// DelayedAck: a small segment waited for the acknowledgement of the one before (RFC 896), which the receiver delayed
	// (RFC 1122 §4.2.3.2).
	DelayedAck
	// BlackHole: full-size segments were sent again and again, and only smaller ones came through (RFC 2923 §2.1).
	BlackHole
	NumHindrances
)

var hindranceNames = [NumHindrances]string{"window full", "loss recovery", "congestion window", "delayed acknowledgement", "mtu black hole"}

func (h Hindrance) String() string { return hindranceNames[h] }

// Repair is how a sender noticed that a segment was lost.
type Repair uint8

// The repairs.
const (
	NoRepair Repair = iota
	// FastRetransmit: by duplicate or selective acknowledgements (RFC 5681 §3.2, RFC 6675, RFC 8985).
	FastRetransmit
	// TailProbe: a probe of the last segment (RFC 8985 §7).
	TailProbe
	// Timeout: the retransmission timer ran out (RFC 6298).
	Timeout
	// Spurious: it wasn't lost, as a duplicate selective acknowledgement says (RFC 2883).
	Spurious
	numRepairs
)

var repairNames = [numRepairs]string{"", "fast retransmit", "tail loss probe", "retransmission timeout", "spurious retransmission"}

func (r Repair) String() string { return repairNames[r] }

// Episode is a time in which something other than its sender's application held a half-stream up.
type Episode struct {
	// Of is the sender of the half-stream.
	Of   Direction
	Kind Hindrance
	// How says how a loss was repaired, and Beyond that it happened between the tap and the receiver, rather than between the
	// sender and the tap. Of a congestion window Beyond says, where it is Placed, that the round trip there is the longer one.
	How            Repair
	Beyond, Placed bool
	// From and To are the times in nanoseconds since 1970, and First and Last the packets that they are known by: the last segment before
	// it and the one that ended it.
	From, To    int64
	First, Last uint64
	// Held is how much of the time it held the half-stream up, in nanoseconds: less than all of it once neighbours were joined.
	// Count is how many there were: pauses, or segments that were sent again.
	Held  int64
	Count uint32
	// Bytes is what was concerned: sent again, or the most that was under way.
	Bytes int64
}

// MaxEpisodes is how many episodes are kept of a connection. Beyond it two neighbours of a kind become one: those whose distance is the
// smallest compared to their age.
const MaxEpisodes = 32

// Acked says when everything that a side had sent was acknowledged.
type Acked struct {
	// Time is in nanoseconds since 1970, 0 if it never was; Packet is the packet that said so.
	Time   int64
	Packet uint64
}
