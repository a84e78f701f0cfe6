// Package conversations writes exchanges as if the connections that they came over had been recorded: as packets, or as the fragments of a
// firehose stream. The messages are HTTP/1.1 (httpwire), each exchange has a connection of its own, and what isn't known of addresses and
// ports is made up; times are those of the exchange.
//
// Exchanges come in the order in which they were completed, and overlap: what is made of them waits in memory to be put in the order of time,
// as far as MaxHeld reaches.
package conversations

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/synthetic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/httpwire"
	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// MaxHeld is how many bytes wait to be put in order.
const MaxHeld = 64 << 20

const (
	// What is made up, of the networks for documentation (RFC 5737): the addresses that aren't known, and the ports of clients.
	firstPort = 10_000
	ports     = 50_000
	// buffered is how much is written at once, in bytes.
	buffered = 64 << 10
	// pieceCost is what a piece takes beside its bytes, in bytes.
	pieceCost = 64
	// tlsPort is where no plain text is expected.
	tlsPort = 443
)

// Stats counts what was written.
type Stats struct {
	// Exchanges were written. Incomplete are those of which something is missing that was sent, such as a body that wasn't kept.
	Exchanges, Incomplete uint64
	// Left were left out, since they aren't HTTP, or nothing of a request is known.
	Left uint64
	// Late pieces stand behind later ones, as too much waited.
	Late uint64
}

// Output writes exchanges. It implements output.Output.
type Output struct {
	w      io.Writer
	format format
	buf    []byte
	queue  queue
	held   int
	serial uint64
	last   int64
	stats  Stats
	words  []byte
}

// format is how a conversation is written.
type format interface {
	// begin appends what a file begins with.
	begin(dst []byte) []byte
	// conversation makes pieces of what was said.
	conversation(x *exchange.Exchange, ends [2]netip.AddrPort, said []said, add func(time int64, b []byte))
	// failed returns why not all could be written.
	failed() error
}

// said is what one side says at a time; without bytes, it ends there.
type said struct {
	side synthetic.Side
	time int64
	data []byte
}

// piece is a part of a file that belongs to a time.
type piece struct {
	time   int64
	serial uint64
	data   []byte
}

// queue is a heap of pieces by time.
type queue []piece

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return q[i].time < q[j].time || q[i].time == q[j].time && q[i].serial < q[j].serial
}

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(piece)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = piece{}
	*q = (*q)[:last]
	return p
}

// NewPackets returns an Output that writes a pcapng file of synthetic packets. application names the program in it.
func NewPackets(w io.Writer, application string) *Output {
	return newOutput(w, &packets{application: application})
}

// NewFirehose returns an Output that writes a firehose stream, with a UUID for each exchange, and to list whose addresses they are, a JSON object
// a line.
func NewFirehose(w, list io.Writer) *Output { return newOutput(w, &fragments{list: list}) }

func newOutput(w io.Writer, f format) *Output { return &Output{w: w, format: f, buf: f.begin(nil)} }

// Stats returns what was written until now.
func (o *Output) Stats() Stats { return o.stats }

// Exchange implements output.Output.
func (o *Output) Exchange(x *exchange.Exchange) error {
	request, err := httpwire.AppendRequest(o.words[:0], x)
	var missing, second *httpwire.Missing
	if err != nil && !errors.As(err, &missing) {
		o.stats.Left++
		return nil
	}
	all, err := httpwire.AppendResponse(request, x)
	answered := err == nil || errors.As(err, &second)
	o.words = all[:0]
	response := all[len(request):]
	o.stats.Exchanges++
	if missing != nil || second != nil {
		o.stats.Incomplete++
	}
	said := sayings(x, request, response, answered)
	o.format.conversation(x, o.ends(x), said, func(time int64, b []byte) {
		o.serial++
		o.held += len(b) + pieceCost
		heap.Push(&o.queue, piece{time, o.serial, slices.Clone(b)})
	})
	for o.held > MaxHeld {
		if err := o.pop(); err != nil {
			return err
		}
	}
	return nil
}

// sayings says what is said when, in order: of each message, the head at its begin and the body, or the head's end, at its end.
func sayings(x *exchange.Exchange, request, response []byte, answered bool) []said {
	var list []said
	add := func(side synthetic.Side, message []byte, from, to int64) int64 {
		to = max(from, to)
		head := len(message)
		if to > from {
			if head = headEnd(message); head == len(message) {
				head -= len("\r\n") // there is no body: the empty line ends it
			}
		}
		list = append(list, said{side, from, message[:head]})
		if head < len(message) {
			list = append(list, said{side, to, message[head:]})
		}
		return to
	}
	begin := x.Request.First.Time
	end := add(synthetic.Client, request, begin, x.Request.Last.Time)
	if answered {
		end = max(end, add(synthetic.Server, response, max(begin, x.Response.First.Time), x.Response.Last.Time))
	} else {
		end = max(end, x.Completed.Time)
	}
	slices.SortStableFunc(list, func(a, b said) int {
		switch {
		case a.time < b.time:
			return -1
		case a.time > b.time:
			return 1
		}
		return 0
	})
	return append(list, said{side: synthetic.Server, time: end}, said{side: synthetic.Client, time: end})
}

// headEnd returns where the body of a message begins.
func headEnd(message []byte) int {
	for i := 3; i < len(message); i++ {
		if message[i] == '\n' && message[i-1] == '\r' && message[i-2] == '\n' && message[i-3] == '\r' {
			return i + 1
		}
	}
	return len(message)
}

// ends are the addresses of an exchange, as far as they are known. The client's port is made up, so that none has two connections at once; and
// so is the server's where what is plain now was encrypted.
func (o *Output) ends(x *exchange.Exchange) [2]netip.AddrPort {
	n := o.stats.Exchanges - 1
	client := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + n/ports%254)})
	server, port := netip.AddrFrom4([4]byte{198, 51, 100, 1}), uint16(80)
	if f := x.Flow; f != nil {
		if a := f.Addr[x.Client].Netip(); !a.IsUnspecified() {
			client = a
		}
		if a := f.Addr[x.Server()].Netip(); !a.IsUnspecified() {
			server = a
		}
		if p := f.Port[x.Server()]; p != 0 && p != tlsPort {
			port = p
		}
	}
	return [2]netip.AddrPort{netip.AddrPortFrom(client, uint16(firstPort+n%ports)), netip.AddrPortFrom(server, port)}
}

// pop writes the first piece.
func (o *Output) pop() error {
	p := heap.Pop(&o.queue).(piece)
	o.held -= len(p.data) + pieceCost
	if p.time < o.last {
		o.stats.Late++
	}
	o.last = max(o.last, p.time)
	o.buf = append(o.buf, p.data...)
	if len(o.buf) < buffered {
		return nil
	}
	return o.write()
}

func (o *Output) write() error {
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	if err == nil {
		err = o.format.failed()
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// Flush implements output.Output. What waits to be put in order goes on waiting.
func (o *Output) Flush() error { return o.write() }

// Close writes what remains.
func (o *Output) Close() error {
	for len(o.queue) > 0 {
		if err := o.pop(); err != nil {
			return err
		}
	}
	return o.write()
}

// packets writes packets.
type packets struct {
	application string
	batch       synthetic.Batch
	block       []byte
}

func (p *packets) failed() error { return nil }

func (p *packets) begin(dst []byte) []byte {
	dst = pcapng.AppendSection(dst, pcapng.Section{Application: p.application, Comment: capture.RecordedComment(capture.RecordedAsExchanges)})
	return pcapng.AppendInterface(dst, &capture.Tap{Recorded: capture.RecordedAsExchanges}, synthetic.LinkType)
}

func (p *packets) conversation(x *exchange.Exchange, ends [2]netip.AddrPort, list []said, add func(time int64, b []byte)) {
	var c synthetic.Conn
	b := &p.batch
	b.Reset()
	c.Open(b, ends[0], ends[1], list[0].time)
	for _, s := range list {
		if s.data == nil {
			c.End(b, s.side, s.time)
		} else {
			c.Data(b, s.side, s.time, s.data)
		}
	}
	for _, made := range b.Packets {
		p.block = pcapng.AppendPacket(p.block[:0], &pcapng.Packet{Time: made.Time, Data: b.Bytes[made.From:made.To], Wire: made.To - made.From})
		add(made.Time, p.block)
	}
}

// fragments writes fragments.
type fragments struct {
	list io.Writer
	out  []byte
	nth  uint32
	err  error
}

func (f *fragments) begin(dst []byte) []byte { return dst }

func (f *fragments) failed() error { return f.err }

func (f *fragments) conversation(x *exchange.Exchange, ends [2]netip.AddrPort, list []said, add func(time int64, b []byte)) {
	uuid := firehose.UUID(x.ID(observer(x)))
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // of the form of a random one (RFC 9562 §5.4)
	f.nth++
	binary.BigEndian.PutUint32(uuid[12:], binary.BigEndian.Uint32(uuid[12:])^f.nth) // ids from elsewhere may be the same
	if _, err := fmt.Fprintf(f.list, "{\"uuid\":%q,\"client\":%q,\"server\":%q,\"tls\":%t}\n", uuid, ends[0], ends[1], x.TLS != nil); f.err == nil {
		f.err = err
	}
	counts := [2]uint64{}
	for _, s := range list {
		dir := firehose.Request
		if s.side == synthetic.Server {
			dir = firehose.Response
		}
		frag := firehose.Fragment{UUID: uuid, Dir: dir, Time: s.time / 1000}
		for data := s.data; len(data) > 0; {
			n := min(len(data), firehose.MaxData)
			frag.Count, frag.Data = counts[s.side], data[:n]
			counts[s.side]++
			f.out = frag.Append(f.out[:0])
			add(s.time, f.out)
			data = data[n:]
		}
		if s.data == nil && counts[s.side] > 0 {
			frag.End, frag.Count = true, counts[s.side]
			f.out = frag.Append(f.out[:0])
			add(s.time, f.out)
		}
	}
}

func observer(x *exchange.Exchange) string {
	if x.Tap == nil {
		return ""
	}
	return x.Tap.Observer
}
