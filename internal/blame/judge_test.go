package blame

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	ms     = int64(1e6)
	client = proto.Originator
	server = proto.Responder
)

// at marks a moment, in milliseconds, with the packet of that number.
func at(t int64) clock.Mark { return clock.Mark{Time: t * ms, Packet: uint64(t), Peer: -1} }

// healthy returns an exchange that nobody is to blame for. The tap is 2 ms from the client and 8 ms from the server and back. It connects from
// 1,000 to 1,010, asks at 1,010, has the answer's first byte at 1,030 and its last at 1,040; packets are numbered by milliseconds.
func healthy() *exchange.Exchange {
	x := &exchange.Exchange{
		Flow:     &proto.Flow{Proto: packet.ProtoTCP, Port: [2]uint16{40000, 80}},
		Protocol: "http", Family: exchange.HTTP, HasRequest: true, HasResponse: true,
	}
	x.Flow.Addr[client], x.Flow.Addr[server] = packet.Addr(netip.MustParseAddr("10.0.0.7").As16()), packet.Addr(netip.MustParseAddr("10.0.0.2").As16())
	x.Request.Raw, x.Request.Method, x.Request.Target = []byte("GET/a"), proto.Span{Len: 3}, proto.Span{Off: 3, Len: 2}
	x.Request.End, x.Response.End = proto.Whole, proto.Whole
	x.Response.Kind, x.Response.Dir, x.Response.Status = proto.Response, server, 200
	x.Request.Length, x.Response.Length = -1, -1
	f := &x.Conn
	f.SYN, f.SYNACK, f.Ready, f.SYNs, f.SYNACKs, f.LastSYN, f.LastSYNACK = 1000*ms, 1008*ms, 1010*ms, 1, 1, 1000*ms, 1008*ms
	f.Half[client] = proto.HalfFacts{Packets: 9, RTTSamples: 3, MinRTT: 8 * ms, RTT: 8 * ms, MSS: 1460, Window: 64000, Acked: 100}
	f.Half[server] = proto.HalfFacts{Packets: 9, RTTSamples: 3, MinRTT: 2 * ms, RTT: 2 * ms, MSS: 1460, Window: 64000}
	x.Acked = proto.Acked{Time: 1018 * ms, Packet: 1018}
	times(x, 1010, 1010, 1030, 1040)
	return x
}

// times sets when the request began and ended, and the response, in milliseconds.
func times(x *exchange.Exchange, first, sent, answer, last int64) {
	x.Request.First, x.Request.Last, x.Response.First, x.Response.Last = at(first), at(sent), at(answer), at(last)
	x.Request.Last.Offset, x.Response.First.Offset = 99, 0
	x.Request.Last.Peer = 0
	x.Start, x.FirstPacket = x.Request.First, uint64(first)
	x.Completed = at(last)
	if x.Acked.Time > 0 {
		x.Acked.Time = min(sent+8, answer) * ms
	}
}

// unanswered takes the response away: it ended at a time.
func unanswered(x *exchange.Exchange, why proto.CloseReason, by proto.Direction, end int64) {
	x.HasResponse, x.Response = false, proto.Message{}
	x.Conn.Half[client].AllAcked, x.Acked = proto.Acked{Time: x.Acked.Time}, proto.Acked{}
	x.Conn.Why, x.Conn.By, x.Conn.Closed, x.Completed, x.Grade = why, by, at(end), at(end), exchange.Aborted
}

// cut ends the response too early.
func cut(x *exchange.Exchange, why proto.CloseReason, by proto.Direction) {
	x.Response.End, x.Response.Close, x.Grade = proto.Cut, why, exchange.Aborted
	x.Response.BodyBytes, x.Response.Length = 1000, 5000
	x.Conn.Why, x.Conn.By, x.Conn.Closed = why, by, x.Completed
}

// refusedFlow returns the record of a connection that came to nothing.
func refusedFlow(why proto.CloseReason, by proto.Direction, syns uint16, end int64) *exchange.Exchange {
	x := healthy()
	x.HasRequest, x.HasResponse, x.Family, x.Stream, x.Period = false, false, exchange.Other, true, &exchange.Period{Final: true}
	x.Conn = proto.Facts{SYN: 1000 * ms, SYNs: syns, Why: why, By: by, Closed: at(end)}
	x.Conn.Half[client].Packets = uint64(syns)
	x.Start, x.Completed, x.Grade = at(1000), at(end), exchange.Unanswered
	if why == proto.Reset {
		x.Conn.Half[server].Packets, x.Grade = 1, exchange.Aborted
	}
	return x
}

func episode(of proto.Direction, kind proto.Hindrance, from, to int64) proto.Episode {
	return proto.Episode{Of: of, Kind: kind, From: from * ms, To: to * ms, Held: (to - from) * ms, Count: 1, First: uint64(from), Last: uint64(to), Bytes: 1448}
}

func beyond(e proto.Episode) proto.Episode {
	e.Beyond, e.How = true, proto.Timeout
	return e
}

func status(n int) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) { x.Response.Status = n }
}

func failing(family exchange.Family, protocol, name, code string) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) {
		x.Family, x.Protocol, x.Response.Status = family, protocol, 0
		x.Response.Say(proto.FactError, []byte(code))
		x.Response.Say(name, []byte(code))
	}
}

// full is a host on which every accept queue is full.
type full struct{}

func (full) Overflowed(to netip.AddrPort, at int64) bool {
	return to == netip.MustParseAddrPort("10.0.0.2:80") && at == 1000*ms
}

// cases have at least one for each rule: who is to blame, for what, how much time, and what is said of it.
var cases = []struct {
	name   string
	of     func() *exchange.Exchange
	change func(x *exchange.Exchange)
	host   Host
	who    exchange.Who
	what   exchange.Situation
	time   int64 // ms
	why    string
}{
	{name: "healthy", who: exchange.Nobody},
	{name: "a server that took 90 ms", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1108, 1110) }, who: exchange.Nobody},
	{name: "slow application", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1418, 1420) },
		who: exchange.ByServer, what: exchange.SlowApplication, time: 402,
		why: "server: 400 ms of 420 ms between packet 1010 (request complete, ACKed in 8.00 ms) and packet 1418 (first byte)"},
	{name: "the same, acknowledged by the answer", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1418, 1420); x.Acked = proto.Acked{} },
		who: exchange.ByServer, what: exchange.SlowApplication, time: 402,
		why: "server: 400 ms of 420 ms between packet 1010 (request complete) and packet 1418 (first byte)"},
	{name: "acknowledged too late to tell", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1418, 1420); x.Acked.Time = 1400 * ms },
		who: exchange.Unclear, what: exchange.SlowApplication, time: 402,
		why: "unclear: the request was acknowledged late, after 390 ms: it may have been on the way for so long"},
	{name: "the answer trickles", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1030, 1430) },
		who: exchange.ByServer, what: exchange.SlowApplication, time: 412,
		why: "server: 400 ms of 430 ms to make the rest of the response, packets 1030 to 1430"},
	{name: "leave to send the body", change: func(x *exchange.Exchange) {
		times(x, 1010, 1330, 1340, 1350)
		x.Request.Raw = append(x.Request.Raw, "expect100-continue"...)
		x.Request.Fields = []proto.Field{{Name: proto.Span{Off: 5, Len: 6}, Value: proto.Span{Off: 11, Len: 12}}}
		x.Interim = []exchange.Interim{{Status: 100, At: at(1310)}}
	}, who: exchange.ByServer, what: exchange.SlowApplication, time: 304,
		why: "server: 304 ms of 350 ms before it let the body come (100 Continue), from packet 1010"},
	{name: "slow sender", change: func(x *exchange.Exchange) { times(x, 1010, 1310, 1330, 1340) },
		who: exchange.ByClient, what: exchange.SlowSender, time: 300,
		why: "client: 300 ms of 340 ms to make the rest of the request, packets 1010 to 1310"},
	{name: "slow reader", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1430)
		x.Episodes = []proto.Episode{episode(server, proto.WindowFull, 1040, 1420)}
		x.During[client].ZeroWindows = 2
	}, who: exchange.ByClient, what: exchange.SlowReader, time: 380,
		why: "client: the client's receive window was closed twice, 380 ms of 430 ms, packets 1040 to 1420"},
	{name: "slow reader of an upload", change: func(x *exchange.Exchange) {
		times(x, 1010, 1430, 1440, 1450)
		x.Episodes = []proto.Episode{episode(client, proto.WindowFull, 1040, 1420)}
	}, who: exchange.ByServer, what: exchange.SlowReader, time: 380,
		why: "server: the server's receive window of 1.41 KiB was full, 380 ms of 450 ms, packets 1040 to 1420"},
	{name: "small window", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1430)
		e := episode(server, proto.WindowFull, 1040, 1420)
		e.Count = 38
		x.Episodes = []proto.Episode{e}
	}, who: exchange.ByClient, what: exchange.SmallWindow, time: 380,
		why: "client: the client's receive window of 1.41 KiB was full, 380 ms of 430 ms, packets 1040 to 1420"},
	{name: "small window of an upload", change: func(x *exchange.Exchange) {
		times(x, 1010, 1430, 1440, 1450)
		e := episode(client, proto.WindowFull, 1040, 1420)
		e.Count = 38
		x.Episodes = []proto.Episode{e}
	}, who: exchange.ByServer, what: exchange.SmallWindow, time: 380},
	{name: "loss behind the tap", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1330)
		x.Episodes = []proto.Episode{beyond(episode(server, proto.Recovery, 1040, 1300))}
	}, who: exchange.ByClientNetwork, what: exchange.LossClientSide, time: 260,
		why: "client-network: 260 ms of 330 ms until what was lost between the tap and the client came again (retransmission timeout), packets 1040 to 1300"},
	{name: "loss before the tap", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1330)
		x.Episodes = []proto.Episode{episode(server, proto.Recovery, 1040, 1300)}
	}, who: exchange.ByServerNetwork, what: exchange.LossServerSide, time: 260,
		why: "server-network: 260 ms of 330 ms until what was lost between the server and the tap came again (sent again), packets 1040 to 1300"},
	{name: "a loss of a tenth of the time doesn't matter", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1450, 1500)
		x.Episodes = []proto.Episode{beyond(episode(server, proto.Recovery, 1460, 1499))}
	}, who: exchange.ByServer, what: exchange.SlowApplication, time: 443},
	{name: "the request was lost", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1240, 1250)
		x.Acked.Time = 1229 * ms
		x.Episodes = []proto.Episode{beyond(episode(client, proto.Recovery, 1010, 1220))}
	}, who: exchange.ByServerNetwork, what: exchange.LossServerSide, time: 210},
	{name: "black hole to the client", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1930)
		x.Episodes = []proto.Episode{beyond(episode(server, proto.BlackHole, 1040, 1900))}
	}, who: exchange.ByClientNetwork, what: exchange.BlackHole, time: 860,
		why: "client-network: 860 ms of 930 ms until the server sent smaller segments: full-size ones of 1.41 KiB never came through, packets 1040 to 1900"},
	{name: "black hole to the server", change: func(x *exchange.Exchange) {
		times(x, 1010, 1910, 1930, 1930)
		x.Episodes = []proto.Episode{beyond(episode(client, proto.BlackHole, 1040, 1900))}
		x.Conn.Errors, x.Conn.Error = 1, proto.ICMPError{At: at(1050), Type: 3, Code: 4, MTU: 1280}
	}, who: exchange.ByServerNetwork, what: exchange.BlackHole, time: 860},
	{name: "black hole without an end", change: func(x *exchange.Exchange) {
		x.Episodes = []proto.Episode{beyond(episode(client, proto.BlackHole, 1040, 3000))}
		unanswered(x, proto.Reset, client, 3000)
	}, who: exchange.ByServerNetwork, what: exchange.BlackHole, time: 1960},
	{name: "SYN lost", change: func(x *exchange.Exchange) {
		x.Conn.SYN, x.Conn.SYNs, x.Conn.LastSYN = 0+1, 2, 1000*ms
	}, who: exchange.ByServerNetwork, what: exchange.SYNLost, time: 1000,
		why: "server-network: SYN sent twice: 1.00 s of 1.04 s until one was answered"},
	{name: "SYN+ACK lost before the tap", change: func(x *exchange.Exchange) { x.Conn.SYN, x.Conn.LastSYN = 1, 1 },
		who: exchange.ByServerNetwork, what: exchange.SYNLost, time: 1000,
		why: "server-network: the SYN was answered 1.00 s later than a round trip takes (8.00 ms): an answer before was lost"},
	{name: "SYN+ACK lost behind the tap", change: func(x *exchange.Exchange) {
		x.Conn.SYN, x.Conn.LastSYN, x.Conn.SYNACK, x.Conn.SYNACKs = 1, 1, 8*ms, 2
	}, who: exchange.ByClientNetwork, what: exchange.SYNLost, time: 1000},
	{name: "accept queue, by the host", host: full{}, change: func(x *exchange.Exchange) {
		times(x, 2010, 2010, 2030, 2040)
		x.Conn.SYNs, x.Conn.LastSYN, x.Conn.SYNACK, x.Conn.Ready = 2, 2000*ms, 2008*ms, 2010*ms
	}, who: exchange.ByServer, what: exchange.AcceptQueueFull, time: 1000},
	{name: "accept queue, by the SYN+ACK", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 2040, 2050)
		x.Acked.Time = 2029 * ms
		x.Conn.Unaccepted = 1
		x.Episodes = []proto.Episode{beyond(episode(client, proto.Recovery, 1010, 2020))}
	}, who: exchange.ByServer, what: exchange.AcceptQueueFull, time: 1010},
	{name: "accept queue, the tap beside the server", change: func(x *exchange.Exchange) {
		times(x, 2010, 2010, 2030, 2040)
		x.Conn.SYNs, x.Conn.LastSYN, x.Conn.SYNACK, x.Conn.Ready = 2, 2000*ms, 2000*ms+9000, 2010*ms
		x.Conn.Half[client].MinRTT = 8000
	}, who: exchange.ByServer, what: exchange.AcceptQueueFull, time: 1000},
	{name: "delayed acknowledgement", change: func(x *exchange.Exchange) {
		times(x, 1010, 1055, 1070, 1072)
		x.Episodes = []proto.Episode{episode(client, proto.DelayedAck, 1012, 1054)}
	}, who: exchange.ByProtocol, what: exchange.DelayedAckStall, time: 42,
		why: "protocol: a small segment of the client waited for an acknowledgement that the server delayed: once, 42.0 ms of 72.0 ms, packets 1012 to 1054"},
	{name: "flow control of the client", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1430)
		x.Response.Stalled, x.Response.Stalls = 350*ms, 3
	}, who: exchange.ByClient, what: exchange.FlowControlStall, time: 350,
		why: "client: the client's HTTP/2 flow-control window was closed, 3 times, 350 ms of 430 ms"},
	{name: "flow control of the server", change: func(x *exchange.Exchange) {
		times(x, 1010, 1430, 1440, 1450)
		x.Request.Stalled, x.Request.Stalls = 350*ms, 1
	}, who: exchange.ByServer, what: exchange.FlowControlStall, time: 350},
	{name: "head of line", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1320, 1330)
		x.Request.Stream, x.During[server].Bytes, x.Response.Size = 3, 1<<20, 100
		x.Episodes = []proto.Episode{beyond(episode(server, proto.Recovery, 1015, 1318))}
	}, who: exchange.ByProtocol, what: exchange.HeadOfLine, time: 310},
	{name: "head of line at a narrow link", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1320, 1330)
		x.Request.Stream, x.During[server].Bytes, x.Response.Size = 3, 1<<20, 100
		x.Episodes = []proto.Episode{episode(server, proto.CongestionWindow, 1015, 1300)}
	}, who: exchange.ByProtocol, what: exchange.HeadOfLine, time: 293},
	{name: "pipelined", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1318, 1320)
		x.Index, x.Response.First.Offset = 1, 500
	}, who: exchange.ByProtocol, what: exchange.PipelinedBehind, time: 300,
		why: "protocol: 500 B of answers before it were outstanding when it was sent in packet 1010; 300 ms of 310 ms until its first byte, packet 1318"},
	{name: "slow TLS of the server", change: tlsTurns(3*ms, 320*ms), who: exchange.ByServer, what: exchange.SlowTLS, time: 312,
		why: "server: 312 ms of 330 ms of the TLS handshake, from packet 1011"},
	{name: "slow TLS of the client", change: tlsTurns(310*ms, 10*ms), who: exchange.ByClient, what: exchange.SlowTLS, time: 308},
	{name: "slow TLS of the server's network", change: tlsRoundTrips(server), who: exchange.ByServerNetwork, what: exchange.SlowTLS, time: 746,
		why: "server-network: 446 ms of 460 ms of the TLS handshake in round trips, from packet 1153"},
	{name: "slow TLS of the client's network", change: tlsRoundTrips(client), who: exchange.ByClientNetwork, what: exchange.SlowTLS, time: 596},
	{name: "slow path to the server", change: func(x *exchange.Exchange) {
		times(x, 1310, 1310, 1620, 1621)
		x.Conn.SYNACK, x.Conn.Ready, x.Conn.Half[client].MinRTT, x.Acked = 1300*ms, 1302*ms, 300*ms, proto.Acked{}
	}, who: exchange.ByServerNetwork, what: exchange.SlowPath, time: 600,
		why: "server-network: 600 ms of 613 ms on the way between the tap and the server (round trip 300 ms)"},
	{name: "slow path to the client", change: func(x *exchange.Exchange) {
		times(x, 1310, 1310, 1330, 1331)
		x.Conn.Ready, x.Conn.Half[server].MinRTT = 1310*ms, 300*ms
	}, who: exchange.ByClientNetwork, what: exchange.SlowPath, time: 302},
	{name: "a path whose round trip may be the server's", change: func(x *exchange.Exchange) {
		times(x, 1310, 1310, 1620, 1621)
		x.Index, x.Conn.SYN, x.Conn.SYNACK, x.Conn.Half[client].MinRTT, x.Acked = 3, 0, 0, 310*ms, proto.Acked{}
	}, who: exchange.Unclear, what: exchange.SlowPath, time: 310, why: "unclear: how far the tap is from the server is only known to be 310 ms at most"},
	{name: "a late handshake", change: func(x *exchange.Exchange) { x.Conn.SYN, x.Conn.LastSYN = 800*ms, 800*ms },
		who: exchange.Unclear, what: exchange.SlowPath, time: 216, why: "unclear: the server's part of the TCP handshake took 200 ms longer than a round trip (8.00 ms)"},
	{name: "the congestion window", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1030, 1430)
		e := episode(server, proto.CongestionWindow, 1030, 1430)
		e.Count = 100
		x.Episodes = []proto.Episode{e}
	}, who: exchange.ByServerNetwork, what: exchange.SlowPath, time: 416},
	{name: "a redirect", change: func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Raw = 302, []byte("location/b")
		x.Response.Fields = []proto.Field{{Name: proto.Span{Len: 8}, Value: proto.Span{Off: 8, Len: 2}}}
	}, who: exchange.ByServer, what: exchange.Redirected, time: 40, why: "server: status 302 sends the client elsewhere after 40.0 ms, packet 1030"},
	{name: "a redirect after something was done", change: func(x *exchange.Exchange) {
		x.Request.Raw, x.Request.Method, x.Request.Target = []byte("POST/a"), proto.Span{Len: 4}, proto.Span{Off: 4, Len: 2}
		x.Response.Status, x.Response.Raw = 303, []byte("location/b")
		x.Response.Fields = []proto.Field{{Name: proto.Span{Len: 8}, Value: proto.Span{Off: 8, Len: 2}}}
	}, who: exchange.Nobody},
	{name: "two parties alike", change: func(x *exchange.Exchange) {
		times(x, 1010, 1310, 1608, 1610)
	}, who: exchange.ByClient, what: exchange.SlowSender, time: 300},
	{name: "bytes are missing", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1418, 1420)
		x.MissingBytes = 9
		x.Grade = exchange.Gap
	},
		who: exchange.ByServer, what: exchange.SlowApplication, time: 402},
	{name: "no round trip is known", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1418, 1420)
		x.Conn.SYN, x.Conn.SYNACK, x.Conn.Ready, x.Acked, x.Conn.Half[client].RTTSamples, x.Index = 0, 0, 0, proto.Acked{}, 0, 4
	}, who: exchange.ByServer, what: exchange.SlowApplication, time: 410},
	{name: "a stall below a tenth of the time", change: func(x *exchange.Exchange) {
		times(x, 1010, 1126, 1220, 1222)
		x.Episodes = []proto.Episode{episode(client, proto.DelayedAck, 1012, 1033)}
	}, who: exchange.Nobody},
	{name: "bytes before the first answer aren't one", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1418, 1420)
		x.Response.First.Offset = 500
	}, who: exchange.ByServer, what: exchange.SlowApplication, time: 402},
	{name: "recorded at the server", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1418, 1420)
		x.Tap = &exchange.Tap{Recorded: "server"}
		x.Conn, x.Acked = proto.Facts{}, proto.Acked{}
	}, who: exchange.ByServer, what: exchange.SlowApplication, time: 408},
	{name: "recorded at the server, and slow to write", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1020, 1420)
		x.Tap = &exchange.Tap{Recorded: "server"}
		x.Conn, x.Acked = proto.Facts{}, proto.Acked{}
	}, who: exchange.Unclear, time: 400, why: "unclear: recorded at the server, not on the wire: what the network took, and the client, isn't known"},
	{name: "made of exchanges", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1418, 1420)
		x.Tap = &exchange.Tap{Recorded: "exchanges"}
	}},
	{name: "slow lookup", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 1310, 1310)
		x.Family, x.Protocol, x.Flow.Proto = exchange.Names, "dns", packet.ProtoUDP
		failing(exchange.Names, "dns", "rcode", "NOERROR")(x)
	}, who: exchange.ByDNS, what: exchange.SlowDNS, time: 300},
	{name: "no lookup", change: func(x *exchange.Exchange) {
		x.Family, x.Protocol, x.Flow.Proto, x.Retries = exchange.Names, "dns", packet.ProtoUDP, 2
		unanswered(x, proto.TimedOut, 0, 6010)
		x.Grade = exchange.Unanswered
	}, who: exchange.ByDNS, what: exchange.Unreachable, time: 5000, why: "dns: asked 3 times, and no answer in 5.00 s"},
	{name: "SERVFAIL", change: failing(exchange.Names, "dns", "rcode", "SERVFAIL"), who: exchange.ByDNS, what: exchange.ServerError, why: "dns: error SERVFAIL, packet 1030"},
	{name: "NXDOMAIN", change: failing(exchange.Names, "dns", "rcode", "NXDOMAIN"), who: exchange.ByClient, what: exchange.ClientError},

	{name: "refused", of: func() *exchange.Exchange { return refusedFlow(proto.Reset, server, 1, 1002) },
		who: exchange.ByServer, what: exchange.ConnectionRefused, why: "server: the SYN was answered with a reset after 2.00 ms, packet 1002"},
	{name: "silence", of: func() *exchange.Exchange { return refusedFlow(proto.TimedOut, 0, 4, 8000) },
		who: exchange.ByServerNetwork, what: exchange.Unreachable, time: 7000, why: "server-network: SYN sent 4 times, and no answer in 7.00 s"},
	{name: "silence of a full queue", host: full{}, of: func() *exchange.Exchange { return refusedFlow(proto.TimedOut, 0, 4, 8000) },
		who: exchange.ByServer, what: exchange.AcceptQueueFull, time: 7000},
	{name: "a router's error", of: func() *exchange.Exchange {
		x := refusedFlow(proto.Reset, client, 1, 1002)
		x.Conn.Half[server].Packets = 0
		x.Conn.Errors, x.Conn.Error = 1, proto.ICMPError{At: at(1002), From: packet.Addr(netip.MustParseAddr("10.9.9.9").As16()), Type: 3, Code: 1}
		return x
	}, who: exchange.ByServerNetwork, what: exchange.Unreachable, time: 2},
	{name: "nobody listens, says the host", of: func() *exchange.Exchange {
		x := refusedFlow(proto.Reset, client, 1, 1002)
		x.Conn.Half[server].Packets = 0
		x.Conn.Errors, x.Conn.Error = 1, proto.ICMPError{At: at(1002), From: x.Flow.Addr[server], Type: 3, Code: 3}
		return x
	}, who: exchange.ByServer, what: exchange.ConnectionRefused, time: 2},
	{name: "left a silent connection", of: func() *exchange.Exchange {
		x := refusedFlow(proto.Finished, client, 1, 6010)
		x.Conn.SYNACK, x.Conn.Ready, x.Conn.Half[server].Packets, x.Grade = 1008*ms, 1010*ms, 2, exchange.Aborted
		return x
	}, who: exchange.ByClient, what: exchange.ClientGaveUp, time: 5000},
	{name: "handshake failed", change: tlsFailure(0, 1<<62), who: exchange.Unclear, what: exchange.TLSFailed},
	{name: "handshake failed by an old certificate", change: tlsFailure(0, 5), who: exchange.ByServer, what: exchange.TLSFailed, why: "server: TLS: the client refused the certificate"},
	{name: "race, closed before", change: func(x *exchange.Exchange) {
		x.Conn.Half[server].Ended = 1005 * ms
		unanswered(x, proto.Reset, server, 1019)
	}, who: exchange.ByProtocol, what: exchange.KeepAliveRace, why: "protocol: the server had closed the connection 5.00 ms before packet 1010 (request)"},
	{name: "race, closed meanwhile", change: func(x *exchange.Exchange) {
		x.Conn.Half[server].Ended = 1014 * ms
		unanswered(x, proto.Reset, server, 1019)
	}, who: exchange.ByProtocol, what: exchange.KeepAliveRace},
	{name: "race, closed without having had it", change: func(x *exchange.Exchange) {
		x.Conn.Half[server].Ended, x.Conn.Half[client].Acked = 1030*ms, 0
		unanswered(x, proto.Reset, server, 1039)
	}, who: exchange.ByProtocol, what: exchange.KeepAliveRace,
		why: "protocol: the server closed the connection 20.0 ms after packet 1010 (request), of which it acknowledged nothing"},
	{name: "refused stream", change: func(x *exchange.Exchange) {
		unanswered(x, proto.Open, 0, 1019)
		x.Abort = &proto.Abort{By: server, Name: "REFUSED_STREAM", At: at(1019)}
	}, who: exchange.ByProtocol, what: exchange.KeepAliveRace},
	{name: "closed without an answer", change: func(x *exchange.Exchange) {
		x.Conn.Half[server].Ended = 1200 * ms
		unanswered(x, proto.Finished, server, 1200)
	}, who: exchange.ByServer, what: exchange.ResetMidResponse, why: "server: the server closed the connection in packet 1200, 190 ms after packet 1010 (request)"},
	{name: "reset in the answer", change: func(x *exchange.Exchange) { cut(x, proto.Reset, server) },
		who: exchange.ByServer, what: exchange.ResetMidResponse, why: "server: the server reset the connection in packet 1040, 30.0 ms after packet 1010 (request)"},
	{name: "stream given up by the server", change: func(x *exchange.Exchange) {
		cut(x, proto.StreamReset, server)
		x.Abort = &proto.Abort{By: server, Name: "INTERNAL_ERROR", At: at(1040)}
	}, who: exchange.ByServer, what: exchange.ResetMidResponse},
	{name: "stream given up by the client", change: func(x *exchange.Exchange) {
		unanswered(x, proto.Open, 0, 1400)
		x.Abort = &proto.Abort{By: client, Name: "CANCEL", At: at(1400)}
	}, who: exchange.ByClient, what: exchange.ClientGaveUp, time: 390},
	{name: "the client gave up soon", change: func(x *exchange.Exchange) { unanswered(x, proto.Finished, client, 1400) },
		who: exchange.ByClient, what: exchange.ClientGaveUp, time: 390, why: "client: the client left in packet 1400, after 390 ms without an answer"},
	{name: "the client gave up late", change: func(x *exchange.Exchange) { unanswered(x, proto.Finished, client, 3010) },
		who: exchange.ByServer, what: exchange.ClientGaveUp, time: 2000},
	{name: "late, and the request may not have come", change: func(x *exchange.Exchange) {
		x.Conn.Half[client].Acked = 0
		unanswered(x, proto.Finished, client, 3010)
	}, who: exchange.Unclear, what: exchange.ClientGaveUp, time: 2000, why: "unclear: the request wasn't acknowledged"},
	{name: "left before an answer that came later", change: func(x *exchange.Exchange) {
		times(x, 1010, 1010, 3010, 3020)
		x.Anomalies.Set(proto.ClosedBeforeAnswer)
		x.Conn.Half[client].Ended = 1310 * ms
	}, who: exchange.ByClient, what: exchange.ClientGaveUp, time: 300},
	{name: "a client that says at once that it sends no more", change: func(x *exchange.Exchange) {
		x.Anomalies.Set(proto.ClosedBeforeAnswer)
		x.Conn.Half[client].Ended = 1011 * ms
	}, who: exchange.Nobody},
	{name: "download given up", change: func(x *exchange.Exchange) { cut(x, proto.Reset, client) }, who: exchange.ByClient, what: exchange.ClientGaveUp, time: 30},
	{name: "early response", change: func(x *exchange.Exchange) {
		times(x, 1010, 1060, 1030, 1031)
		early413(x)
		x.Conn.Half[server].Ended = 1040 * ms
	}, who: exchange.ByServer, what: exchange.EarlyResponse, why: "server: status 413 after 33.0 KiB of 11.9 MiB of the request, packet 1030"},
	{name: "early response and an abrupt reset", change: func(x *exchange.Exchange) { times(x, 1010, 1060, 1030, 1031); early413(x) },
		who: exchange.ByServer, what: exchange.EarlyResponse},
	{name: "the client stopped in the middle", change: func(x *exchange.Exchange) {
		x.Request.End, x.Request.BodyBytes, x.Request.Length, x.Conn.Half[server].Ended = proto.Cut, 500, 5000, 2010*ms
		unanswered(x, proto.Finished, server, 2010)
	}, who: exchange.ByClient, what: exchange.ServerTimeout, time: 1000,
		why: "client: after packet 1010, 500 B of 4.88 KiB of the request, the client sent nothing for 1.00 s; then the server closed, packet 2010"},
	{name: "closed in the middle of a request under way", change: func(x *exchange.Exchange) {
		x.Request.End, x.Conn.Half[server].Ended = proto.Cut, 1050*ms
		unanswered(x, proto.Finished, server, 1050)
	}, who: exchange.ByServer, what: exchange.ResetMidResponse},
	{name: "408", change: status(408), who: exchange.ByClient, what: exchange.ServerTimeout},
	{name: "504", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 3010, 3010); x.Response.Status = 504 },
		who: exchange.ByUpstream, what: exchange.ServerTimeout, time: 2000, why: "upstream: status 504, packet 3010"},
	{name: "502", change: status(502), who: exchange.ByUpstream, what: exchange.FailedHop, why: "upstream: status 502, packet 1030"},
	{name: "503", change: status(503), who: exchange.ByServer, what: exchange.ServerError},
	{name: "404", change: status(404), who: exchange.ByClient, what: exchange.ClientError},
	{name: "a slow 500 is a failure first", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 1418, 1420); x.Response.Status = 500 },
		who: exchange.ByServer, what: exchange.ServerError},
	{name: "deadlock", change: failing(exchange.Database, "postgresql", "sqlstate", "40P01"), who: exchange.ByServer, what: exchange.ServerError, why: "server: error 40P01, packet 1030"},
	{name: "syntax", change: failing(exchange.Database, "mysql", "sqlstate", "1064"), who: exchange.ByClient, what: exchange.ClientError},
	{name: "moved", change: failing(exchange.Database, "redis", "x", "MOVED"), who: exchange.Nobody},

	{name: "one side alone", change: func(x *exchange.Exchange) { x.Grade = exchange.OneSided }},
	{name: "encrypted", change: func(x *exchange.Exchange) { x.Grade = exchange.Undecryptable }},
	{name: "a flow that goes on", of: func() *exchange.Exchange {
		x := refusedFlow(proto.Open, 0, 1, 9000)
		x.Grade = exchange.Complete
		return x
	}},
	{name: "one way", change: func(x *exchange.Exchange) { x.HasResponse, x.Request.OneWay = false, true }},
	{name: "a message", change: func(x *exchange.Exchange) { x.Message = &exchange.SessionMessage{} }},
	{name: "a stream takes its time", change: func(x *exchange.Exchange) { times(x, 1010, 1010, 5030, 9000); x.Stream = true }, who: exchange.Nobody},
	{name: "a stream that fails", change: func(x *exchange.Exchange) { x.Stream = true; x.Response.Status = 500 }, who: exchange.ByServer, what: exchange.ServerError},
}

func tlsTurns(ofClient, ofServer int64) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) {
		x.TLS = &proto.TLS{Client: client, Hello: at(1011), Finished: 1341 * ms, TurnTime: [2]int64{ofClient, ofServer}, Turns: [2]int{1, 1}, Established: true}
		times(x, 1342, 1342, 1352, 1353)
	}
}

// tlsRoundTrips makes three round trips of 150 ms of a handshake, with an end that is so far from the tap.
func tlsRoundTrips(end proto.Direction) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) {
		f := &x.Conn
		x.TLS = &proto.TLS{Client: client, Hello: at(1153), Finished: 1613 * ms, Established: true}
		x.TLS.TurnTime[end], x.TLS.Turns[end] = 455*ms, 3
		x.TLS.TurnTime[end.Other()], x.TLS.Turns[end.Other()] = 5*ms, 1
		x.Acked = proto.Acked{}
		f.SYNACK, f.Ready = 1150*ms, 1152*ms
		if end == client {
			f.SYNACK = 1002 * ms
		}
		f.Half[end.Other()].MinRTT, f.Half[end].MinRTT = 150*ms, 2*ms
		times(x, 1614, 1614, 1775, 1776)
	}
}

func tlsFailure(from, to int64) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) {
		x.TLS = &proto.TLS{Client: client, Hello: at(1011), Failure: "the client refused the certificate", ServerChain: []*proto.Certificate{{NotBefore: from, NotAfter: to}}}
		x.HasRequest, x.HasResponse, x.Family, x.Grade, x.Stream = false, false, exchange.Secure, exchange.Aborted, true
	}
}

func early413(x *exchange.Exchange) {
	x.Anomalies.Set(proto.EarlyResponse)
	x.Response.Status, x.Request.End, x.Request.Close, x.Grade = 413, proto.Cut, proto.Reset, exchange.Aborted
	x.Request.BodyBytes, x.Request.Length = 33<<10, 12_478_000
	x.Conn.Why, x.Conn.By, x.Conn.Closed = proto.Reset, server, at(1060)
}

func TestJudge(t *testing.T) {
	seen := map[exchange.Situation]bool{}
	for _, c := range cases {
		x := healthy()
		if c.of != nil {
			x = c.of()
		}
		if c.change != nil {
			c.change(x)
		}
		measure.Time(x)
		(&Court{Host: c.host}).Judge(x)
		b := &x.Blame
		seen[b.Situation] = true
		if b.Who != c.who || b.Situation != c.what {
			t.Errorf("%s: %s/%s (%v), want %s/%s: %q", c.name, b.Who, b.Situation, b.Confidence, c.who, c.what, x.Proofs())
			continue
		}
		if got := (b.Time + ms/2) / ms; got != c.time {
			t.Errorf("%s: took %d ms, want %d", c.name, got, c.time)
		}
		if why := x.Why(); c.why != "" && why != c.why {
			t.Errorf("%s: %q, want %q", c.name, why, c.why)
		}
		check(t, c.name, x)
	}
	ofTrees := []exchange.Situation{exchange.NoSituation, exchange.SlowUpstream, exchange.PoolWait, exchange.Retried}
	for s := range exchange.NumSituations {
		if !seen[s] && !slices.Contains(ofTrees, s) {
			t.Errorf("no case for %s", s)
		}
	}
}

// check checks what must hold of every verdict.
func check(t *testing.T, name string, x *exchange.Exchange) {
	t.Helper()
	b := &x.Blame
	switch {
	case b.Confidence < 0 || b.Confidence > 1:
		t.Errorf("%s: a confidence of %v", name, b.Confidence)
	case b.Time < 0:
		t.Errorf("%s: a time of %d", name, b.Time)
	case !b.Failed && b.Who > exchange.Nobody && b.Time > max(x.Timing.Busy(), x.Timing.Receive):
		t.Errorf("%s: %d ns of %d", name, b.Time, x.Timing.Busy())
	case int(b.N) > exchange.MaxEvidence:
		t.Errorf("%s: %d facts", name, b.N)
	case b.Who <= exchange.Nobody && (b.N > 0 || b.Situation != exchange.NoSituation || b.Time > 0):
		t.Errorf("%s: nobody is to blame, and yet %+v", name, *b)
	case b.Who > exchange.Nobody && b.Who != exchange.Unclear && b.Confidence < MinConfidence:
		t.Errorf("%s: %s is blamed with a confidence of %v", name, b.Who, b.Confidence)
	case b.Who > exchange.Nobody && b.N == 0:
		t.Errorf("%s: %s is blamed without a fact", name, b.Who)
	}
	for i := range int(b.N) {
		if s := b.Evidence[i].Sentence; s == exchange.NoSentence || s >= exchange.NumSentences {
			t.Errorf("%s: sentence %d", name, s)
		}
	}
	proofs := x.Proofs()
	if len(proofs) != int(b.N) {
		t.Errorf("%s: %d texts for %d facts", name, len(proofs), b.N)
	}
	for i, text := range append(proofs, x.Why()) {
		if strings.ContainsAny(text, "{}") || text == "" && i < int(b.N) {
			t.Errorf("%s: a text %q", name, text)
		}
	}
}

// TestEarlyResponseTells: how many bytes the server took, and what the client will see.
func TestEarlyResponseTells(t *testing.T) {
	for _, c := range []struct {
		fin  int64
		want string
	}{
		{1040 * ms, "its next write fails with EPIPE"},
		{0, "ECONNRESET"},
		{1060 * ms, "ECONNRESET"}, // the reset was the end
	} {
		x := healthy()
		times(x, 1010, 1060, 1030, 1031)
		early413(x)
		x.Conn.Half[server].Ended = c.fin
		measure.Time(x)
		new(Court).Judge(x)
		if proofs := strings.Join(x.Proofs(), "; "); !strings.Contains(proofs, c.want) || !strings.Contains(proofs, "33.0 KiB of 11.9 MiB") ||
			!strings.Contains(proofs, "went on sending for 30.0 ms") {
			t.Errorf("FIN at %d: %s", c.fin, proofs)
		}
	}
}

// TestConfidence: what is in doubt makes a verdict less sure, and nothing else does.
func TestConfidence(t *testing.T) {
	slow := func(x *exchange.Exchange) { times(x, 1010, 1010, 1418, 1420) }
	for _, c := range []struct {
		name   string
		change func(x *exchange.Exchange)
		want   float64
	}{
		{"plain", func(x *exchange.Exchange) {}, 0.95},
		{"missing bytes", func(x *exchange.Exchange) { x.MissingBytes = 1 }, 0.95 * 0.7},
		{"joined in the middle", func(x *exchange.Exchange) { x.Flow.Midstream, x.Conn.SYN, x.Index = true, 0, 1 }, 0.95 * 0.9},
		{"no round trip", func(x *exchange.Exchange) {
			x.Conn.SYN, x.Index, x.Acked, x.Conn.Half[client].RTTSamples = 0, 1, proto.Acked{}, 0
		}, 0.95 * 0.6},
		{"another party with nearly as much", func(x *exchange.Exchange) { times(x, 1010, 1390, 1798, 1800) }, 0.95 * 0.8},
		{"another party with less", func(x *exchange.Exchange) { times(x, 1010, 1310, 1718, 1720) }, 0.95},
		{"a second fact that is in doubt", func(x *exchange.Exchange) {
			x.TLS = &proto.TLS{Client: client, Hello: at(1011), Finished: 1141 * ms, Established: true}
			times(x, 1142, 1142, 1550, 1551)
			x.Conn.SYNs = 2 // which leaves the split of the handshake open
		}, 0.95},
	} {
		x := healthy()
		slow(x)
		c.change(x)
		measure.Time(x)
		new(Court).Judge(x)
		if b := &x.Blame; b.Situation != exchange.SlowApplication || math.Abs(b.Confidence-c.want) > 1e-9 {
			t.Errorf("%s: %s with %v, want %v: %q", c.name, b.Situation, b.Confidence, c.want, x.Proofs())
		}
	}
}

// TestEveryCauseIsTaken: without special conditions, some rule takes each cause wherever it can be, so that no time goes unexplained.
func TestEveryCauseIsTaken(t *testing.T) {
	for row := range measure.Rows {
		for cause := range measure.Causes {
			taken := false
			for _, r := range delays {
				for _, k := range r.takes {
					taken = taken || r.needs == 0 && k.cause == cause && k.in&(1<<row) != 0
				}
			}
			if !taken {
				t.Errorf("row %d: nobody takes cause %d", row, cause)
			}
		}
	}
}

// TestMoreFacts: a party that took time in two ways is blamed for both, and told of both.
func TestMoreFacts(t *testing.T) {
	x := healthy()
	tlsTurns(3*ms, 320*ms)(x)
	times(x, 1342, 1342, 1752, 1753)
	measure.Time(x)
	new(Court).Judge(x)
	proofs := x.Proofs()
	if x.Blame.Situation != exchange.SlowApplication || (x.Blame.Time+ms/2)/ms != 402+312+1 || len(proofs) != 2 || !strings.Contains(proofs[1], "TLS handshake") {
		t.Errorf("%s: %d ms, %q", x.Blame.Situation, x.Blame.Time/ms, proofs)
	}
}

// FuzzJudge: whatever an exchange is like, a verdict is within its bounds, says something, and is the same again.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(1), uint64(0))
	f.Add(uint64(7), uint64(1<<63|12345))
	f.Fuzz(func(t *testing.T, seed, what uint64) {
		x := random(seed, what)
		measure.Time(x)
		new(Court).Judge(x)
		check(t, "random", x)
		before := x.Blame
		new(Court).Judge(x)
		if before.Evidence != x.Blame.Evidence || before.Who != x.Blame.Who || before.Confidence != x.Blame.Confidence {
			t.Errorf("%+v, and then %+v", before, x.Blame)
		}
	})
}

// random changes a healthy exchange at random.
func random(seed, what uint64) *exchange.Exchange {
	r := rand.New(rand.NewPCG(seed, what))
	x := healthy()
	moment := func() int64 { return r.Int64N(4000) }
	times(x, moment(), moment(), moment(), moment())
	has := func(bit int) bool { return what>>bit&1 == 1 }
	x.Completed = at(moment())
	x.HasRequest, x.HasResponse = !has(0), !has(1)
	x.Grade = exchange.Grade(r.IntN(exchange.Grades))
	x.Index = uint32(what >> 2 & 3)
	x.Stream = has(4)
	x.Response.Status = []int{200, 200, 302, 404, 408, 500, 502, 504}[what>>5&7]
	x.Request.End, x.Response.End = proto.End(r.IntN(5)), proto.End(r.IntN(5))
	x.Request.Close, x.Response.Close = proto.CloseReason(r.IntN(8)), proto.CloseReason(r.IntN(8))
	x.Anomalies = proto.Anomalies(r.Uint64() & r.Uint64())
	x.Response.First.Offset, x.Request.Last.Peer = r.Int64N(100), r.Int64N(100)-1
	f := &x.Conn
	f.Why, f.By, f.Closed = proto.CloseReason(r.IntN(7)), proto.Direction(r.IntN(2)), at(moment())
	f.SYN, f.SYNACK, f.Ready, f.LastSYN, f.LastSYNACK = moment()*ms, moment()*ms, moment()*ms, moment()*ms, moment()*ms
	f.SYNs, f.SYNACKs, f.Unaccepted = uint16(r.IntN(4)), uint16(r.IntN(4)), uint16(r.IntN(8)/7)
	for d := range f.Half {
		f.Half[d] = proto.HalfFacts{
			Packets: uint64(r.IntN(5)), RTTSamples: uint32(r.IntN(3)), MinRTT: r.Int64N(3e8), RTT: r.Int64N(3e8), Ended: r.Int64N(2) * moment() * ms, Acked: r.Int64N(200),
			AllAcked: proto.Acked{Time: moment() * ms}, Window: r.Uint32N(9),
		}
		x.During[d] = exchange.Counts{Bytes: r.Uint64N(1e6), ZeroWindows: r.Uint32N(3), Retransmits: r.Uint32N(3)}
	}
	if has(10) {
		x.Conn.Errors, x.Conn.Error = 1, proto.ICMPError{At: at(moment()), Type: uint8(r.IntN(14)), Code: uint8(r.IntN(5)), V6: has(11), MTU: 1280}
	}
	if has(12) {
		x.Abort = &proto.Abort{By: proto.Direction(r.IntN(2)), Name: "CANCEL", GoAway: has(13), At: at(moment())}
	}
	if has(14) {
		x.TLS = &proto.TLS{Hello: at(moment()), Finished: moment() * ms, TurnTime: [2]int64{r.Int64N(1e9), r.Int64N(1e9)}, Turns: [2]int{1, 2}, Established: has(15)}
	}
	if has(16) {
		x.Request.Stream = 3
	}
	if has(17) {
		x.Family, x.Protocol = exchange.Names, "dns"
	}
	if has(18) {
		x.Period, x.HasRequest, x.HasResponse = &exchange.Period{}, false, false
	}
	x.Request.Stalled, x.Response.Stalled = r.Int64N(2)*r.Int64N(1e9), r.Int64N(2)*r.Int64N(1e9)
	for range r.IntN(9) {
		x.Episodes = append(x.Episodes, proto.Episode{
			Of: proto.Direction(r.IntN(2)), Kind: proto.Hindrance(r.IntN(int(proto.NumHindrances))), How: proto.Repair(r.IntN(5)), Beyond: r.IntN(2) == 0,
			From: moment() * ms, To: moment() * ms, Held: r.Int64N(3e9), Count: r.Uint32N(50), Bytes: r.Int64N(1e5),
		})
	}
	return x
}

// TestAllocatesNothing: verdicts are numbers.
func TestAllocatesNothing(t *testing.T) {
	slow, loss := healthy(), healthy()
	times(slow, 1010, 1010, 1418, 1420)
	times(loss, 1010, 1010, 1030, 1330)
	loss.Episodes = []proto.Episode{beyond(episode(server, proto.Recovery, 1040, 1300))}
	reset := healthy()
	cut(reset, proto.Reset, server)
	for _, x := range []*exchange.Exchange{healthy(), slow, loss, reset} {
		measure.Time(x)
		var c Court
		if n := testing.AllocsPerRun(100, func() { c.Judge(x) }); n != 0 {
			t.Errorf("%s: %v allocations", x.Blame.Situation, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	slow := healthy()
	times(slow, 1010, 1010, 1418, 1420)
	fast := healthy()
	times(fast, 1010, 1010, 1012, 1013)
	fast.Index = 1
	loss := healthy()
	times(loss, 1010, 1010, 1030, 1330)
	for i := range int64(proto.MaxEpisodes) {
		loss.Episodes = append(loss.Episodes, beyond(episode(server, proto.Recovery, 1040+i*8, 1046+i*8)))
	}
	for _, c := range []struct {
		name string
		x    *exchange.Exchange
	}{{"fast", fast}, {"slow", slow}, {"episodes", loss}} {
		b.Run("time/"+c.name, func(b *testing.B) {
			for range b.N {
				measure.Time(c.x)
			}
		})
		b.Run("judge/"+c.name, func(b *testing.B) {
			var court Court
			for range b.N {
				court.Judge(c.x)
			}
		})
	}
}
