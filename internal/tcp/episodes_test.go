package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// script plays packets, one a line, and returns the connection's facts. A line is the time in milliseconds, who sends (> the originator, < the
// responder), and any of:
//
//	syn fin rst psh   flags
//	100+1460          payload: relative sequence number and length; others are sent behind all that was
//	@100              the relative sequence number of a packet without payload
//	a100              the relative acknowledgement; else the same as before
//	w500              the window as in the header, else the same as before; at first 1000
//	sack=10-20,30-40  blocks of a selective acknowledgement
//	ts=1,2            timestamps: value and echo
//	end               the capture ends
//
// SYNs offer a maximum segment size of 1460 bytes and a window scale of 0.
func (w *wire) script(text string) *proto.Facts {
	w.t.Helper()
	var next, ack, window [2]int
	window = [2]int{1000, 1000}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		ms, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			w.t.Fatal(line, err)
		}
		w.now = int64(time.Second) + int64(ms*1e6)
		if words[1] == "end" {
			w.table.Close(clock.Mark{Time: w.now, Packet: w.number})
			continue
		}
		d := o
		if words[1] == "<" {
			d = r
		}
		var flags uint8
		seq, size, placed := next[d], 0, false
		var options []byte
		for _, word := range words[2:] {
			var a, b int
			switch {
			case word == "syn":
				flags |= packet.SYN
				options = append(options, 2, 4, 1460>>8, 1460&0xff, 3, 3, 0)
			case word == "fin":
				flags |= packet.FIN
			case word == "rst":
				flags |= packet.RST
			case word == "psh":
				flags |= packet.PSH
			case scan(word, "a%d", &ack[d]), scan(word, "w%d", &window[d]):
			case scan(word, "@%d", &a):
				seq, placed = a, true
			case scan(word, "ts=%d,%d", &a, &b):
				options = append(options, 1, 1, 8, 10)
				options = binary.BigEndian.AppendUint32(options, uint32(a))
				options = binary.BigEndian.AppendUint32(options, uint32(b))
			case strings.HasPrefix(word, "sack="):
				blocks := strings.Split(word[5:], ",")
				options = append(options, 1, 1, 5, byte(2+8*len(blocks)))
				first := uint32(clientISN + 1)
				if d == o {
					first = serverISN + 1
				}
				for _, block := range blocks {
					if !scan(block, "%d-%d", &a, &b) {
						w.t.Fatal(line)
					}
					options = binary.BigEndian.AppendUint32(options, first+uint32(a))
					options = binary.BigEndian.AppendUint32(options, first+uint32(b))
				}
			case scan(word, "%d+%d", &a, &b):
				seq, size, placed = a, b, true
			default:
				w.t.Fatalf("%q in %q", word, line)
			}
		}
		_ = placed
		acks := ack[d]
		if flags&packet.SYN != 0 {
			seq = -1
			if d == o {
				acks = -1
			}
		}
		w.options, w.window = options, uint16(window[d])
		w.now -= int64(time.Millisecond) // send adds it
		w.send(d, flags, seq, acks, strings.Repeat("x", size))
		if size > 0 {
			next[d] = max(next[d], seq+size)
		}
		if flags&packet.FIN != 0 {
			next[d] = max(next[d], seq+size+1)
		}
	}
	return w.facts
}

func scan(word, format string, to ...any) bool {
	n, err := fmt.Sscanf(word+"|", format+"|", to...)
	return err == nil && n == len(to)
}

// told writes episodes down: who sends, what it was, how it was repaired, from and to in milliseconds, what it held up if that is less, and the packets.
func told(f *proto.Facts) string {
	var b strings.Builder
	for i := range f.Episodes {
		e := &f.Episodes[i]
		fmt.Fprintf(&b, "%s %v", arrow(e.Of), e.Kind)
		if e.How != proto.NoRepair {
			fmt.Fprintf(&b, ", %v", e.How)
		}
		switch {
		case e.Beyond:
			b.WriteString(" beyond")
		case e.Placed && e.Kind == proto.CongestionWindow:
			b.WriteString(" before")
		}
		ms := func(t int64) float64 { return float64(t) / 1e6 }
		fmt.Fprintf(&b, " %g-%g", ms(e.From-1e9), ms(e.To-1e9))
		if e.Held != e.To-e.From {
			fmt.Fprintf(&b, " held %g", ms(e.Held))
		}
		if e.Count > 1 {
			fmt.Fprintf(&b, " x%d", e.Count)
		}
		fmt.Fprintf(&b, " #%d-%d\n", e.First, e.Last)
	}
	return strings.TrimSpace(b.String())
}

// atServer is a handshake seen near the server, 40 ms from the client, and a request. atClient is one seen near the client.
const (
	atServer = `
		0  > syn
		0  < syn a0
		40 > a0 w60000
		40 > 0+300 psh
		40 < a300`
	atClient = `
		0  > syn
		40 < syn a0
		40 > a0 w60000
		40 > 0+300 psh
		80 < a300`
)

// train is segments of full size, some microseconds apart.
func train(ms float64, who string, from, n int) string {
	b := strings.Builder{}
	b.WriteByte('\n')
	for i := range n {
		fmt.Fprintf(&b, "%g %s %d+1460\n", ms+float64(i)*0.01, who, from+i*1460)
	}
	return b.String()
}

func TestEpisodes(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"the reader closes its window", atServer + `
			50  < 0+1460
			50  < 1460+1460
			90  > a2920 w0
			390 > a2920 w0
			900 > a2920 w60000
			900.5 < 2920+1460`,
			"< window full 50-900.5 #7-11"},
		{"it is asked for, by a byte before and by one behind", atServer + `
			50  < 0+1460
			90  > a1460 w0
			290 < @1459
			330 > a1460 w0
			690 < 1460+1
			730 > a1460 w0
			900 > a1460 w60000
			900.5 < 1460+1460`,
			"< window full 50-900.5 #6-13"},
		{"it is asked for, and so there was something left to send", atServer + `
			50  < 0+1460
			50  < 1460+700 psh
			90  > a2160 w0
			290 < @2159
			330 > a2160 w0
			900 > a2160 w60000
			901 < 2160+1460`,
			"< window full 50-901 #7-12"},
		{"a short segment fills the window", `
			0  > syn
			0  < syn a0
			40 > a0 w2000
			41 > 0+300 psh
			42 < 0+1460 a300
			42 < 1460+540 psh
			82 > a2000 w0
			500 > a2000 w2000
			500.5 < 2000+1460`,
			"< window full 42-500.5 #6-9"},
		{"the window is closed, but nothing is left to send", atServer + `
			50  < 0+1460
			50  < 1460+700 psh
			90  > a2160 w0
			900 > a2160 w60000
			901 < 2160+1460`,
			""},
		{"the window is closed, and opens long before more is sent", atServer + `
			50  < 0+1460
			90  > a1460 w0
			500 > a1460 w60000
			901 < 1460+1460`,
			"< window full 50-500 #6-8"},
		{"the window is closed until the connection is reset", atServer + `
			50  < 0+1460
			90  > a1460 w0
			800 > rst`,
			"< window full 50-800 #6-8"},
		{"the window is closed until the reader leaves", atServer + `
			50  < 0+1460
			90  > a1460 w0
			800 > fin`,
			"< window full 50-800 #6-8"},
		{"a window below the path's, near the sender", `
			0  > syn
			0  < syn a0
			40 > a0 w2920
			41 > 0+300 psh
			42 < 0+1460 a300
			42 < 1460+1460
			82 > a1460
			82.01 < 2920+1460
			82.1 > a2920
			82.11 < 4380+1460
			122 > a5840
			122.01 < 5840+1460
			122.01 < 7300+1460
			162 > a8760`,
			"< window full 42-122.01 x3 #6-12"},
		{"a window below the path's, near the receiver", `
			0  > syn
			40 < syn a0
			40 > a0 w2920
			41 > 0+300 psh
			81 < 0+1460 a300
			81 < 1460+1460
			81 > a2920
			121 < 2920+1460
			121 < 4380+1460
			121 > a5840
			161 < 5840+1460
			161 < 7300+1460
			161 > a8760
			201 < 8760+1460
			201 < 10220+1460
			201 > a11680`,
			"< window full 81-201 x3 #6-14"},
		{"a window below the path's, near a receiver that acknowledges each segment", `
			0  > syn
			40 < syn a0
			40 > a0 w5840
			41 > 0+300 psh
			81 < 0+1460 a300
			81 > a1460
			82 < 1460+1460
			82 > a2920
			83 < 2920+1460
			83 > a4380
			84 < 4380+1460
			84 > a5840
			121 < 5840+1460
			121 > a7300
			122 < 7300+1460
			122 > a8760
			123 < 8760+1460
			123 > a10220
			124 < 10220+1460
			124 > a11680
			161 < 11680+1460
			161 > a13140`,
			"< congestion window 81-121 x4 #5-13\n< window full 121-161 x4 #13-21"},
		{"the scale of the window isn't known: only a closed one counts", `
			0   < 0+1460 a0
			0   > a1460 w10
			40  < 1460+1460
			80  > a2920
			120 < 2920+1460
			160 > a4380 w0
			900 > a4380 w10
			901 < 4380+1460`,
			"> congestion window 0-120 x2 #1-5\n> window full 120-901 #5-8"},
		{"rounds of slow start", atServer + train(50, "<", 0, 4) + `
			90  > a5840` + "\n" + train(90.1, "<", 5840, 8) + `
			130 > a17520` + "\n" + train(130.1, "<", 17520, 2) + `
			170 > a20440`,
			"< congestion window 50-130.1 x2 #9-20"},
		{"rounds of slow start, near the receiver", atClient + train(90, "<", 0, 4) + `
			90.5  > a5840` + "\n" + train(130, "<", 5840, 8) + `
			130.5  > a17520` + "\n" + train(170, "<", 17520, 2),
			"< congestion window 90-170 x2 #9-20"},
		{"the rhythm of a slow path", atClient + `
			90  < 0+1460
			90  > a1460
			102 < 1460+1460
			102 > a2920
			114 < 2920+1460
			114 > a4380
			126 < 4380+1460 psh
			126 > a5840
			138 < 5840+1000 psh`,
			"< congestion window 90-138 x4 #6-14"},
		{"a narrow link between the sender and the tap", `
			0  > syn ts=1,0
			4  < syn a0 ts=501,1
			14 > a0 w60000 ts=15,501
			14 > 0+300 psh ts=15,501
			18 < a300 ts=505,15
			20 < 0+1460 ts=505,15
			30 > a1460 ts=30,505
			35 < 1460+1460 ts=505,15
			45 > a2920 ts=45,505
			50 < 2920+1460 ts=520,30
			60 > a4380 ts=60,520
			65 < 4380+1460 ts=535,45
			75 > a5840 ts=75,535
			80 < 5840+1460 ts=550,60
			90 > a7300 ts=90,550
			95 < 7300+1460 ts=565,75`,
			"< congestion window before 20-95 x5 #6-16"},
		{"a narrow link between the tap and the receiver", `
			0  > syn ts=1,0
			4  < syn a0 ts=501,1
			14 > a0 w60000 ts=15,501
			14 > 0+300 psh ts=15,501
			20 < 0+1460 a300 ts=505,15
			20 < 1460+1460 ts=505,15
			20 < 2920+1460 ts=505,15
			45 > a1460 ts=45,505
			49 < 4380+1460 ts=535,45
			60 > a2920 ts=60,505
			64 < 5840+1460 ts=550,60
			75 > a4380 ts=75,505
			79 < 7300+1460 ts=565,75`,
			"< congestion window beyond 20-79 x3 #7-13"},
		{"a sender that spaces its segments", atServer + `
			50  < 0+1460
			51.8 < 1460+1460
			53.6 < 2920+1460
			56  < 4380+1460
			58.4 < 5840+1460
			70 < 7300+1460`,
			"< congestion window 50-58.4 x4 #6-10"},
		{"no acknowledgement, and more in the end", atServer + `
			50  < 0+1460 psh
			70  < 1460+1460 psh`,
			""},
		{"the application has nothing to send", atServer + `
			50  < 0+1460 psh
			90  > a1460
			500 < 1460+1460 psh
			540 > a2920
			900 < 2920+1460`,
			""},
		{"the application writes little by little, and does not wait", atServer + `
			50  < 0+100 psh
			70  < 100+100 psh
			90  > a100
			90.1 < 200+100 psh
			110 > a200
			130 < 300+100 psh
			130.1 > a300`,
			""},
		{"the other side's turn", atServer + `
			50  < 0+1460 psh
			90  > 300+300 a1460 psh
			90.5 < 1460+1460 a600 psh`,
			""},
		{"lost beyond the tap, repaired by duplicate acknowledgements", atServer + train(50, "<", 0, 5) + `
			90   > a0
			90.1 > a0
			90.2 > a0
			90.3 < 0+1460
			130  > a7300`,
			"< loss recovery, fast retransmit beyond 50-90.3 #6-14"},
		{"lost beyond the tap, repaired by selective acknowledgement", atServer + train(50, "<", 0, 3) + `
			90   > a0 sack=1460-4380
			90.3 < 0+1460
			130  > a4380`,
			"< loss recovery, fast retransmit beyond 50-90.3 #6-10"},
		{"sent again with more behind it", atServer + `
			50  < 0+500
			270 < 0+900
			310 > a900`,
			"< loss recovery, retransmission timeout beyond 50-270 #6-7"},
		{"repaired by duplicate acknowledgements, far from the sender", `
			0    > syn
			400  < syn a0
			400  > a0
			401  > 0+300 psh
			801  < 0+1460 a300
			802  < 1460+1460
			802  > a1460
			803  < 2920+1460
			804  < 4380+1460
			805  < 5840+1460
			806  > a1460
			807  > a1460
			808  > a1460
			1209 < 1460+1460`,
			"< loss recovery, fast retransmit beyond 802-1209 #6-14"},
		{"one lost before the tap, one beyond", atClient + `
			90  < 0+1460
			91  < 1460+1460
			92  < 4380+1460
			92  > a1460
			92  > a1460
			92  > a1460
			92  > a1460
			132 < 1460+1460
			133 < 2920+1460
			173 > a5840`,
			"< congestion window 90-91 x2 #6-8\n< loss recovery, fast retransmit beyond 91-132 #7-13\n< loss recovery, fast retransmit 132-133 #8-14"},
		{"two losses of one flight", atServer + train(50, "<", 0, 6) + `
			90   > a0 sack=1460-2920
			90.1 > a0 sack=4380-8760,1460-2920
			90.3 < 0+1460
			130  > a2920 sack=4380-8760
			130.1 < 2920+1460
			170  > a8760`,
			"< loss recovery, fast retransmit beyond 50-130.1 x2 #6-16"},
		{"lost before the tap", atClient + `
			90  < 0+1460
			90.1 < 2920+1460
			90.1 > a1460 sack=2920-4380
			90.2 < 4380+1460
			90.2 > a1460 sack=2920-5840
			131 < 1460+1460
			131 > a5840`,
			"< loss recovery, fast retransmit 90.1-131 #7-11"},
		{"lost before the tap, with a receiver that echoes what came first", atClient + `
			90  < 0+1448 ts=500,1
			90.1 < 2896+1448 ts=500,1
			90.1 > a1448 ts=60,500
			131 < 1448+1448 ts=541,60
			131 > a4344 ts=101,500`,
			"< loss recovery, retransmission timeout 90.1-131 #7-9"},
		{"reordered before the tap", atClient + `
			90  < 0+1460
			90.1 < 2920+1460
			90.1 > a1460 sack=2920-4380
			91 < 1460+1460
			91 > a4380`,
			""},
		{"the capture lost it, not the network", atClient + `
			90  < 0+1460
			90.1 < 2920+1460
			90.1 > a4380
			331 < 1460+1460
			331 > a4380`,
			""},
		{"the end was lost before the tap, as a later acknowledgement shows", atClient + `
			100 < @500 a300
			400 < 0+500
			400 > a500`,
			"< loss recovery, retransmission timeout 100-400 #6-7"},
		{"the end was lost before the tap, for ever", atClient + `
			100 < @500 a300
			2000 > fin
			2001 end`,
			"< loss recovery 100-2001 #6-7"},
		{"a request lost twice, with backoff", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh
			270 > 0+300 psh
			710 > 0+300 psh
			750 < a300`,
			"> loss recovery, retransmission timeout beyond 50-710 x2 #4-6"},
		{"lost for ever", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh
			270 > 0+300 psh
			710 > 0+300 psh
			1500 > rst`,
			"> loss recovery, retransmission timeout beyond 50-1500 x2 #4-7"},
		{"a probe of the tail", atServer + train(50, "<", 0, 3) + `
			90   > a2920
			140  < 2920+1460
			180  > a4380`,
			"< loss recovery, tail loss probe beyond 50.02-140 #8-10"},
		{"sent twice, but needed once, as the receiver says", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh
			270 > 0+300 psh
			310 < a300 sack=0-300`,
			"> loss recovery, spurious retransmission beyond 50-270 held 0 #4-5"},
		{"two sent twice, of which one was needed", atServer + train(50, "<", 0, 3) + `
			300 < 0+1460
			340 > a1460
			340.1 < 1460+1460
			380 > a4380 sack=1460-2920`,
			"< loss recovery, retransmission timeout beyond 50-340.1 x2 #6-11"},
		{"something else was sent twice for nothing", atServer + train(50, "<", 0, 3) + `
			300 < 0+1460
			340 > a4380
			600 < 4380+300 psh
			640 > a4680 sack=4380-4680`,
			"< loss recovery, retransmission timeout beyond 50-300 #6-9"},
		{"more is ready after something was sent twice for nothing", atServer + train(50, "<", 0, 3) + `
			90  > a1460
			100 < 1460+1460
			110 > a4380 sack=1460-2920
			110.1 < 4380+1460`,
			"< loss recovery, spurious retransmission beyond 50.01-100 held 0 #7-10\n< congestion window 100-110.1 #10-12"},
		{"sent twice, but needed once, as the timestamps say", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh ts=1000,7
			270 > 0+300 psh ts=1220,7
			310 < a300 ts=9,1000`,
			"> loss recovery, spurious retransmission beyond 50-270 held 0 #4-5"},
		{"sent twice, and the second copy is acknowledged", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh ts=1000,7
			270 > 0+300 psh ts=1220,7
			310 < a300 ts=9,1220`,
			"> loss recovery, retransmission timeout beyond 50-270 #4-5"},
		{"sent twice, and acknowledged sooner than the second copy can be", `
			0  > syn
			40 < syn a0
			40 > a0
			41 > 0+10
			81 < a10
			82 > 10+10
			122 < a20
			130 > 20+300 psh
			350 > 20+300 psh
			351 < a320`,
			"> loss recovery, spurious retransmission beyond 130-350 held 0 #8-9"},
		{"sent twice, and acknowledged sooner than the only sample of the path says", `
			0  > syn
			40 < syn a0
			40 > a0
			50 > 0+300 psh
			270 > 0+300 psh
			271 < a300`,
			"> loss recovery, retransmission timeout beyond 50-270 #4-5"},
		{"it had arrived, and only the sender didn't know", atClient + `
			300 > 0+300 psh`,
			""},
		{"one side of the conversation only", `
			0  > syn
			50 > 0+300 psh
			270 > 0+300 psh
			300 > 300+300 psh
			310 > 300+300 psh`,
			"> loss recovery, retransmission timeout beyond 50-270 #2-3\n> loss recovery beyond 300-310 #4-5"},
		{"a small segment waits for a delayed acknowledgement", atServer + `
			50  < 0+200 psh
			130 > a200
			130.1 < 200+500 psh
			170 > a700`,
			"< delayed acknowledgement 50-130.1 #6-8"},
		{"a small segment comes sooner than it can after the acknowledgement", atClient + `
			90  < 0+200 psh
			131 > a200
			145 < 200+500 psh`,
			""},
		{"a small segment waits after a loss", atServer + `
			50  < 0+200 psh
			270 < 0+200 psh
			310 > a200
			400 < 200+200 psh
			480 > a400
			480.1 < 400+500 psh`,
			"< loss recovery, retransmission timeout beyond 50-270 #6-7\n< delayed acknowledgement 400-480.1 #9-11"},
		{"a small segment waits, near the receiver", atClient + `
			90  < 0+200 psh
			131 > a200
			171 < 200+500 psh`,
			"< delayed acknowledgement 90-171 #6-8"},
		{"a small segment comes by chance after a delayed acknowledgement: its sender doesn't wait", atServer + `
			50  < 0+200 psh
			51  < 200+200 psh
			91  > a400
			100 < 400+200 psh
			180 > a600
			180.1 < 600+500 psh`,
			""},
		{"a small segment comes later than a round trip after the acknowledgement", atServer + `
			50  < 0+200 psh
			130 > a200
			150 < 200+500 psh`,
			""},
		{"an acknowledgement that wasn't delayed", atServer + `
			50  < 0+200 psh
			91 > a200
			91.1 < 200+500 psh`,
			""},
		{"full size doesn't come through", atServer + `
			50  < 0+1460
			50  < 1460+1460
			300 < 0+1460
			800 < 0+1460
			1800 < 0+1460
			1900 < 0+536
			1940 > a536`,
			"< mtu black hole, retransmission timeout beyond 50-1900 x4 #6-11"},
		{"full size doesn't come as far as the tap", atClient + `
			90  < 0+300 psh
			90  > a300
			100 > 300+300 psh
			140 < @5000 a600
			3000 > rst`,
			"< mtu black hole 140-3000 #9-10"},
		{"nothing comes as far as the tap for a moment", atClient + `
			90  < 0+300 psh
			90  > a300
			100 > 300+300 psh
			140 < @5000 a600
			500 > rst`,
			"< loss recovery 140-500 #9-10"},
		{"full size came as far as the tap before", atClient + `
			90  < 0+1460
			90  > a1460
			100 > 300+300 psh
			140 < @5000 a600
			3000 > rst`,
			"< loss recovery 140-3000 #9-10"},
		{"a probe wasn't needed, but what was lost before it is still missing", atServer + train(50, "<", 0, 2) + `
			80  < 2920+300 psh
			130 < 2920+300 psh
			140 > a1460 sack=2920-3220
			141 > a1460 sack=2920-3220,2920-3220
			400 < 1460+1460
			440 > a3220`,
			"< loss recovery, spurious retransmission beyond 80-130 held 0 #8-9\n< loss recovery, retransmission timeout beyond 50.01-400 #7-12"},
		{"full size came through before", atServer + `
			50  < 0+1460
			90  > a1460
			100 < 1460+1460
			300 < 1460+1460
			800 < 1460+1460
			840 > a2920`,
			"< loss recovery, retransmission timeout beyond 100-800 x2 #8-10"},
		{"a small segment that nobody answers isn't a black hole", atServer + `
			50  < 0+300 psh
			300 < 0+300 psh
			800 < 0+300 psh`,
			"< loss recovery, retransmission timeout beyond 50-800 x2 #6-8"},
		{"merged segments", atServer + `
			50  < 0+5840
			90  > a5840
			90.1 < 5840+11680
			130 > a17520
			130.1 < 17520+8000 psh
			170 > a25520
			170.1 < 25520+1460`,
			"< congestion window 50-130.1 x2 #6-10"},
		{"a keep-alive is neither lost nor a probe", atServer + `
			50  < 0+200 psh
			90  > a200
			9000 < @199
			9040 > a200
			9500 < 200+1460`,
			""},
		{"the clock goes back", atServer + train(50, "<", 0, 4) + `
			20  > a5840
			21  < 5840+1460
			22  > a7300
			23  < 0+1460
			24  < 7300+1460
			30  < 7300+1460`,
			"< loss recovery, tail loss probe beyond 24-30 #14-15"},
		{"the clock jumps", atServer + `
			50  < 0+1460
			90  > a1460 w0
			7200000 > a1460 w1000
			7200001 < 1460+1460`,
			""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, DefaultLimits)
			if got := told(w.script(c.script)); got != c.want {
				t.Errorf("episodes\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// What a loss has held up is no window's, though it turns out later that there was one.
func TestEachTimeHasOneCause(t *testing.T) {
	w := newWire(t, DefaultLimits)
	f := w.script(atServer + train(50, "<", 0, 4) + `
		90   > a1460
		90.1 < 5840+1460
		90.1 < 7300+1460
		91   > a1460 sack=2920-4380
		131  > a1460 sack=2920-8760
		131.1 < 1460+1460
		171  > a8760
		171.1 < 8760+1460`)
	const want = "< loss recovery, fast retransmit beyond 50.01-131.1 #7-15\n< congestion window 131.1-171.1 #15-17"
	if got := told(f); got != want {
		t.Errorf("episodes\n%s\nwant\n%s", got, want)
	}
}

func TestCut(t *testing.T) {
	episode := func(of proto.Direction, kind proto.Hindrance, from, to, held int64) proto.Episode {
		const ms = int64(time.Millisecond)
		return proto.Episode{Of: of, Kind: kind, From: 1e9 + from*ms, To: 1e9 + to*ms, Held: held * ms, Count: 1, First: 1, Last: 2}
	}
	c := &Conn{}
	c.facts.Episodes = []proto.Episode{
		episode(r, proto.CongestionWindow, 0, 90, 90),
		episode(r, proto.WindowFull, 60, 120, 30),
		episode(o, proto.WindowFull, 60, 150, 90),
		episode(r, proto.Recovery, 60, 160, 100),
		episode(r, proto.WindowFull, 110, 170, 60),
		episode(r, proto.CongestionWindow, 99, 180, 50),
		episode(r, proto.WindowFull, 80, 200, 60),
	}
	c.open[r][openWindow], c.open[o][openWindow], c.open[r][openLoss] = 7, 3, 4
	c.cut(r, 1e9+100e6)
	const want = `< congestion window 0-90 #1-2
< window full 60-100 held 20 #1-2
< window full 80-100 held 10 #1-2
> window full 60-150 #1-2
< loss recovery 60-160 #1-2`
	got := strings.Split(told(&c.facts), "\n")
	slices.Sort(got[1:3]) // they end together
	if got := strings.Join(got, "\n"); got != want {
		t.Errorf("episodes\n%s\nwant\n%s", got, want)
	}
	if c.open != [2][opens]int8{{openWindow: 4}, {openLoss: 5}} {
		t.Errorf("open %v", c.open)
	}
}

// Whatever happens for however long, the list stays short, the sums stay right, and the latest episodes stay apart.
func TestEpisodesAreJoined(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.script(atServer)
	const n = 1000
	seq, ms := 0, 100.0
	for i := range n {
		w.script(fmt.Sprintf("%g < %d+1460 a300\n%g > a%d w0\n%g > a%d w60000\n%g < %d+500 psh\n%g > a%d",
			ms, seq, ms+40, seq+1460, ms+300, seq+1460, ms+300, seq+1460, ms+340, seq+1960))
		seq, ms = seq+1960, ms+1000-float64(i)/2 // the later, the closer
	}
	held, count := int64(0), uint32(0)
	for i := range w.facts.Episodes {
		held += w.facts.Episodes[i].Held
		count += w.facts.Episodes[i].Count
	}
	holdEpisodes(t, w.facts)
	if len(w.facts.Episodes) != proto.MaxEpisodes || held != n*300e6 || count != n {
		t.Errorf("%d episodes, %d in one, held up %d ms; want %d, %d, %d ms", len(w.facts.Episodes), count, held/1e6, proto.MaxEpisodes, n, n*300)
	}
	for _, e := range w.facts.Episodes[proto.MaxEpisodes-8:] {
		if e.Count != 1 {
			t.Errorf("one of the last episodes was joined: %+v", e)
		}
	}
	if m := w.table.Memory(); m != connSize+cap(w.facts.Episodes)*episodeSize {
		t.Errorf("memory = %d", m)
	}
	w.table.Close(clock.Mark{Time: w.now})
	if w.table.Memory() != 0 {
		t.Errorf("memory = %d in the end", w.table.Memory())
	}
}

// Episodes of a connection aren't those of the next one that has its memory.
func TestEpisodesEndWithTheirConnection(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.script(atServer + `
		50  < 0+1460
		90  > a1460 w0
		900 > a1460 w60000
		901 < 1460+1460
		950 > rst`)
	if len(w.facts.Episodes) == 0 {
		t.Fatal("no episode")
	}
	w.table.Close(clock.Mark{Time: w.now})
	w.data = [2]bytes.Buffer{}
	w.script(atServer)
	if got := told(w.facts); got != "" {
		t.Errorf("episodes of a new connection: %s", got)
	}
	if w.table.Memory() != connSize+cap(w.facts.Episodes)*episodeSize {
		t.Errorf("memory = %d", w.table.Memory())
	}
}

func TestFlightFacts(t *testing.T) {
	w := newWire(t, DefaultLimits)
	f := w.script(atServer)
	if got := f.Half[o].AllAcked; got.Packet != 5 || got.Time != 1e9+40e6 {
		t.Errorf("the request was acknowledged %+v", got)
	}
	w.script(`
		50 < 0+1460 a300
		50 < 1460+1460
		50 < 2920+700 psh
		90 > a1460 w60000
		91 > a3620 w50000
		92 < 3620+10 psh
		93 < 3630+10 psh`)
	h := &f.Half[r]
	if h.AllAcked.Packet != 10 || h.MaxFlight != 3620 || h.Small != 2 || f.Half[o].MaxWindow != 60000 {
		t.Errorf("%+v, window %d; want acknowledged by packet 10, 3620 bytes under way, 2 small segments, window 60000", h, f.Half[o].MaxWindow)
	}
	w.script("100 > a3640\n110 < fin\n150 > a3641")
	if h.AllAcked.Time != 1e9+100e6 {
		t.Errorf("the answer was acknowledged at %d ms, want 100: its end was at 150", (h.AllAcked.Time-1e9)/1e6)
	}
	w.script("200 > a3640 sack=3630-3640 w50000\n201 > a3640 sack=3620-3630,3600-3640")
	if h.DSACKs != 2 {
		t.Errorf("bytes that came twice %d, want 2", h.DSACKs)
	}
	w.script("202 > a3640 sack=3640-3650") // of what comes next
	if h.DSACKs != 2 {
		t.Error("a selective acknowledgement was taken for a duplicate one")
	}
}

func TestHandshakeRepeats(t *testing.T) {
	w := newWire(t, DefaultLimits)
	f := w.script(`
		0    > syn
		1000 > syn
		1040 < syn a0
		1041 > a0
		1041 > 0+300 psh
		1045 < syn a0
		1046 > a300
		1250 > 0+300 psh
		2040 < syn a0`)
	ms := func(t int64) int64 { return (t - 1e9) / 1e6 }
	if ms(f.SYN) != 0 || ms(f.LastSYN) != 1000 || ms(f.SYNACK) != 1040 || ms(f.LastSYNACK) != 2040 || f.SYNs != 2 || f.SYNACKs != 3 {
		t.Errorf("SYN %d to %d, SYN+ACK %d to %d, %d and %d of them", ms(f.SYN), ms(f.LastSYN), ms(f.SYNACK), ms(f.LastSYNACK), f.SYNs, f.SYNACKs)
	}
	if f.Unaccepted != 1 {
		t.Errorf("%d SYN+ACKs after the data, want 1: the first of them may have crossed it", f.Unaccepted)
	}
}

// Packets at random, of a conversation that makes some sense.
func TestEpisodesOfAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := [proto.NumHindrances]int{}
	for range 400 {
		w := newWire(t, DefaultLimits)
		w.noID = true
		w.handshake()
		var top, ack [2]int
		for range 150 {
			d := proto.Direction(random.IntN(2))
			e := d.Other()
			switch random.IntN(8) {
			case 0:
				w.now += random.Int64N(1e9)
			case 1:
				w.now -= random.Int64N(1e7)
			default:
				w.now += random.Int64N(4e6)
			}
			seq, size := top[d], 0
			switch random.IntN(6) {
			case 0, 1, 2:
				size = []int{1, 200, 1460, 1460, 1460, 4380}[random.IntN(6)]
				if random.IntN(5) == 0 {
					seq = max(0, seq-1460*random.IntN(6))
				} else if random.IntN(8) == 0 {
					seq += 1460
				}
				top[d] = max(top[d], seq+size)
			case 3:
				seq += random.IntN(3) - 1
			}
			if random.IntN(3) > 0 {
				ack[d] = min(ack[d]+1460*random.IntN(5), top[e])
			}
			if random.IntN(4) == 0 {
				from := max(0, top[e]-1460*random.IntN(6))
				first := uint32(clientISN + 1)
				if d == o {
					first = serverISN + 1
				}
				w.options = binary.BigEndian.AppendUint32([]byte{1, 1, 5, 10}, first+uint32(from))
				w.options = binary.BigEndian.AppendUint32(w.options, first+uint32(from+1460))
			}
			w.window = []uint16{0, 1000, 3000, 60000}[random.IntN(4)]
			flags := uint8(0)
			switch random.IntN(200) {
			case 0:
				flags = packet.FIN
			case 1:
				flags = packet.RST
			}
			if random.IntN(3) == 0 {
				flags |= packet.PSH
			}
			w.log.Reset()
			w.send(d, flags, seq, ack[d], strings.Repeat("x", size))
			holdEpisodes(t, w.facts)
			for d, open := range w.conn().open {
				for k, at := range open {
					if at < 0 || int(at) > len(w.facts.Episodes) || at > 0 && int(w.facts.Episodes[at-1].Of) != d {
						t.Fatalf("open episode %d of %d: %d among %d", k, d, at, len(w.facts.Episodes))
					}
				}
			}
		}
		for i := range w.facts.Episodes {
			seen[w.facts.Episodes[i].Kind]++
		}
		w.table.Close(clock.Mark{Time: w.now, Packet: w.number})
		holdEpisodes(t, w.facts)
		if w.table.Memory() != 0 {
			t.Fatalf("memory = %d in the end", w.table.Memory())
		}
	}
	if seen[proto.WindowFull] == 0 || seen[proto.Recovery] == 0 || seen[proto.CongestionWindow] == 0 {
		t.Errorf("episodes by kind: %v", seen)
	}
}

// conn returns the only connection.
func (w *wire) conn() *Conn {
	for _, c := range w.table.conns {
		return c
	}
	return &Conn{}
}
