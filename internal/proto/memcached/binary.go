package memcached

import (
	"encoding/binary"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// The header of the binary protocol: magic, opcode, key length (2), extras length, data type, vbucket or status (2), length of
// extras, key and value (4), opaque (4), cas (8).
const (
	headerSize    = 24
	magicRequest  = 0x80
	magicResponse = 0x81
	// maxErrorText is how much of the text of an error is kept, in bytes.
	maxErrorText = 512
)

// Some opcodes.
const (
	opQuitQ     = 0x17
	opStat      = 0x10
	opListMechs = 0x20
	opAuth      = 0x21
	opStep      = 0x22

	// dontCreate is the time to live of a counter that isn't to be made where there is none.
	dontCreate = 0xffffffff
)

// operation describes an opcode.
type operation struct {
	// name is how the specification calls it, command what the text protocol would call it.
	name, command string
	kind          kinds
	// quiet: the ordinary outcome isn't answered.
	quiet bool
	// extras is how many bytes of extras a request has, and layout says what is in them.
	extras int
	layout layout
}

// layout is what the extras of a request hold.
type layout uint8

const (
	nothing  layout = iota
	flagsExp        // flags (4), time to live (4)
	delta           // delta (8), initial value (8), time to live (4)
	expiry          // time to live (4), which may be left out where it is a delay
	level           // verbosity (4)
)

// operations are those that memcached knows, by opcode.
var operations = map[byte]operation{
	0x00: {"Get", "get", getting, false, 0, nothing},
	0x01: {"Set", "set", storing, false, 8, flagsExp},
	0x02: {"Add", "add", storing, false, 8, flagsExp},
	0x03: {"Replace", "replace", storing, false, 8, flagsExp},
	0x04: {"Delete", "delete", deleting, false, 0, nothing},
	0x05: {"Increment", "incr", counting, false, 20, delta},
	0x06: {"Decrement", "decr", counting, false, 20, delta},
	0x07: {"Quit", "quit", other, false, 0, nothing},
	0x08: {"Flush", "flush_all", other, false, 4, expiry},
	0x09: {"GetQ", "get", getting, true, 0, nothing},
	0x0a: {"NoOp", "noop", other, false, 0, nothing},
	0x0b: {"Version", "version", versions, false, 0, nothing},
	0x0c: {"GetK", "get", getting, false, 0, nothing},
	0x0d: {"GetKQ", "get", getting, true, 0, nothing},
	0x0e: {"Append", "append", storing, false, 0, nothing},
	0x0f: {"Prepend", "prepend", storing, false, 0, nothing},
	0x10: {"Stat", "stats", statistics, false, 0, nothing},
	0x11: {"SetQ", "set", storing, true, 8, flagsExp},
	0x12: {"AddQ", "add", storing, true, 8, flagsExp},
	0x13: {"ReplaceQ", "replace", storing, true, 8, flagsExp},
	0x14: {"DeleteQ", "delete", deleting, true, 0, nothing},
	0x15: {"IncrementQ", "incr", counting, true, 20, delta},
	0x16: {"DecrementQ", "decr", counting, true, 20, delta},
	0x17: {"QuitQ", "quit", other, true, 0, nothing},
	0x18: {"FlushQ", "flush_all", other, true, 4, expiry},
	0x19: {"AppendQ", "append", storing, true, 0, nothing},
	0x1a: {"PrependQ", "prepend", storing, true, 0, nothing},
	0x1b: {"Verbosity", "verbosity", other, false, 4, level},
	0x1c: {"Touch", "touch", touching, false, 4, expiry},
	0x1d: {"GAT", "gat", getting, false, 4, expiry},
	0x1e: {"GATQ", "gat", getting, true, 4, expiry},
	0x20: {"SASL list mechs", "sasl_list", other, false, 0, nothing},
	0x21: {"SASL Auth", "sasl_auth", other, false, 0, nothing},
	0x22: {"SASL Step", "sasl_step", other, false, 0, nothing},
	0x23: {"GATK", "gat", getting, false, 4, expiry},
	0x24: {"GATKQ", "gat", getting, true, 4, expiry},
}

// outcome describes a status of a response.
type outcome struct {
	name string
	// failed: it is an error; otherwise it is one of the things that happen.
	failed bool
}

const (
	statusOK       = 0
	statusNotFound = 1
)

// outcomes are the statuses, by number.
var outcomes = map[uint16]outcome{
	0x00: {"No error", false},
	0x01: {"Key not found", false},
	0x02: {"Key exists", false},
	0x03: {"Value too large", true},
	0x04: {"Invalid arguments", true},
	0x05: {"Item not stored", false},
	0x06: {"Incr/Decr on non-numeric value", true},
	0x07: {"The vbucket belongs to another server", true},
	0x08: {"Authentication error", true},
	0x09: {"Authentication continue", false},
	0x20: {"Authentication error", true},
	0x21: {"Authentication continue", false},
	0x81: {"Unknown command", true},
	0x82: {"Out of memory", true},
	0x83: {"Not supported", true},
	0x84: {"Internal error", true},
	0x85: {"Busy", true},
	0x86: {"Temporary failure", true},
}

// packet is a header, with the extras and the key behind it, and the value where that is read too.
type packet struct {
	magic, opcode    byte
	extras, key      int
	dataType         byte
	status           uint16
	opaque           uint32
	value            int64 // length of the value, negative when the lengths contradict each other
	extraBytes, name []byte
	op               operation
	known            bool
}

// readHeader reads a header of at least headerSize bytes.
func readHeader(b []byte) packet {
	k := packet{
		magic: b[0], opcode: b[1], key: int(binary.BigEndian.Uint16(b[2:])), extras: int(b[4]), dataType: b[5],
		status: binary.BigEndian.Uint16(b[6:]), opaque: binary.BigEndian.Uint32(b[12:]),
	}
	k.value = int64(binary.BigEndian.Uint32(b[8:])) - int64(k.key) - int64(k.extras)
	k.op, k.known = operations[k.opcode]
	return k
}

// inHead is how much of the value belongs to what is read at once: the text of an error, a number.
func (k *packet) inHead() int {
	if k.magic == magicResponse && (k.status != statusOK || k.op.kind == counting) && k.value <= maxErrorText {
		return int(k.value)
	}
	return 0
}

// plausible reports whether a header may be one: unlike most four-and-twenty bytes.
func (k *packet) plausible() bool {
	if !k.known || k.dataType > 1 || k.value < 0 || k.value > maxValue || k.key > maxKey {
		return false
	}
	if k.magic == magicRequest {
		return k.extras == k.op.extras || k.op.layout == expiry && k.extras == 0
	}
	_, ok := outcomes[k.status]
	return k.magic == magicResponse && ok && k.extras <= 4
}

// header takes bytes of a header, with extras and key. It returns how many it took.
func (p *Parser) header(h *half, b []byte, at clock.Mark) int {
	head, first := h.head, h.headAt
	taken := 0
	if len(head) == 0 {
		head, first = b, at
	}
	for _, need := range [...]func(head []byte) int{func([]byte) int { return headerSize }, p.packetSize} {
		n := need(head)
		if n > p.limits.MaxHead {
			h.msg.Anomalies.Set(proto.BadFrame)
			p.lose(h, first)
			return len(b)
		}
		if len(h.head) == 0 && len(b) >= n {
			continue // the common case: all of it lies within b
		}
		if more := min(n-len(h.head), len(b)-taken); more > 0 {
			p.collect(h, b[taken:taken+more], at.After(taken))
			taken += more
			head, first = h.head, h.headAt
		}
		if len(h.head) < n {
			return taken
		}
	}
	n := p.packetSize(head)
	k := readHeader(head)
	want := byte(magicRequest)
	if h.msg.Dir != p.client {
		want = magicResponse
	}
	if k.magic != want || k.value < 0 {
		p.lose(h, first)
		return max(taken, 1)
	}
	if taken == 0 {
		taken = n
	}
	last := at.After(taken - 1)
	k.extraBytes, k.name = head[headerSize:headerSize+k.extras], head[headerSize+k.extras:headerSize+k.extras+k.key]
	rest := head[headerSize+k.extras+k.key : n]
	if want == magicRequest {
		p.request(h, &k, first, last, n)
	} else {
		p.response(h, &k, rest, first, last, n)
	}
	p.release(h)
	return taken
}

// packetSize returns how much of a packet is read at once.
func (p *Parser) packetSize(head []byte) int {
	k := readHeader(head)
	if k.value < 0 {
		return headerSize
	}
	return headerSize + k.extras + k.key + k.inHead()
}

// request takes a request of the binary protocol, without its value.
func (p *Parser) request(h *half, k *packet, first, last clock.Mark, size int) {
	m := p.begin(h, first, last, size)
	m.Stream, m.Again = p.number(), p.again
	if !k.known {
		m.Anomalies.Set(proto.BadFrame)
		k.op = operation{kind: other}
		m.Raw = strconv.AppendUint(append(m.Raw, "0x"...), uint64(k.opcode), 16)
	} else {
		m.Raw = append(m.Raw, k.op.command...)
	}
	m.Method = proto.Span{Len: uint32(len(m.Raw))}
	var exptime, number int64 = -1, -1
	if e := k.extraBytes; len(e) == k.op.extras {
		switch k.op.layout {
		case flagsExp:
			exptime = int64(binary.BigEndian.Uint32(e[4:]))
		case delta:
			number = int64(binary.BigEndian.Uint64(e))
			if exptime = int64(binary.BigEndian.Uint32(e[16:])); exptime == dontCreate {
				exptime = -1
			}
		case expiry:
			exptime = int64(binary.BigEndian.Uint32(e))
		case level:
			number = int64(binary.BigEndian.Uint32(e))
		}
	}
	if k.op.layout == expiry && k.op.kind == getting && exptime >= 0 {
		m.Raw = appendWord(m.Raw, exptime) // as the text protocol has it: gat EXPTIME KEY
	}
	if k.key > 0 {
		m.Raw = append(m.Raw, ' ')
		kept := min(k.key, max(p.limits.MaxStatement-len(m.Raw), 0))
		if kept < k.key {
			m.Anomalies.Set(proto.StatementCut)
		}
		if k.opcode != opAuth && k.opcode != opStep {
			m.Facts = append(m.Facts, proto.Fact{Name: factKey, Value: proto.Span{Off: uint32(len(m.Raw)), Len: uint32(kept)}})
		}
		m.Raw = append(m.Raw, k.name[:kept]...)
	}
	switch k.op.layout {
	case flagsExp:
		if len(k.extraBytes) == k.op.extras {
			m.Raw = appendWord(m.Raw, int64(binary.BigEndian.Uint32(k.extraBytes)))
			m.Raw = appendWord(m.Raw, exptime)
			m.Raw = appendWord(m.Raw, k.value)
		}
	case delta, level:
		if number >= 0 {
			m.Raw = appendWord(m.Raw, number)
		}
	case expiry:
		if k.op.kind != getting && exptime >= 0 {
			m.Raw = appendWord(m.Raw, exptime)
		}
	}
	m.Target = proto.Span{Len: uint32(len(m.Raw))}
	m.Say(factProtocol, []byte("binary"))
	if k.known {
		m.Say(factOpcode, []byte(k.op.name))
	}
	m.Count(factOpaque, int64(k.opaque))
	if k.op.kind == storing {
		m.Count(factValueBytes, k.value)
	}
	if exptime >= 0 {
		m.Count(factExptime, exptime)
	}
	if k.op.quiet {
		m.Count(factNoreply, 1)
	}
	m.OneWay = k.opcode == opQuitQ || p.alone && k.op.quiet && k.op.kind&retrieving == 0
	if !m.OneWay {
		p.ask(request{kind: k.op.kind | binaryOp, keys: min(k.key, 1), quiet: k.op.quiet, tag: k.tag()})
	}
	p.emit(h)
	p.behind(h, k.value)
	if h.remain == 0 {
		p.end(h, proto.Whole)
	}
}

func appendWord(b []byte, n int64) []byte { return strconv.AppendInt(append(b, ' '), n, 10) }

// tag is what a response has in common with its request.
func (k *packet) tag() uint64 { return uint64(k.opcode)<<32 | uint64(k.opaque) | 1<<63 }

// behind waits for a value of n bytes.
func (p *Parser) behind(h *half, n int64) {
	if h.remain, h.tail = n, 0; n > 0 {
		h.state = inValue
	} else {
		h.state = inHead
	}
}

// response takes a response of the binary protocol: without its value, but for what is read at once.
func (p *Parser) response(h *half, k *packet, value []byte, first, last clock.Mark, size int) {
	m := &h.msg
	begins := !h.open
	if begins {
		m = p.begin(h, first, last, size)
		h.answers = p.answered(h, reply{kinds: binaryOp, tag: k.tag(), quiet: k.op.quiet})
	} else {
		// Another packet of statistics.
		if k.opcode != opStat {
			p.lose(h, first)
			return
		}
		m.Size += int64(size)
		m.Last = last
	}
	left := k.value - int64(len(value))
	h.series = k.opcode == opStat && k.status == statusOK && k.key+int(k.value) > 0
	if !h.series || begins && k.opcode != opStat {
		p.outcome(m, k, value)
	}
	if k.status == statusOK {
		p.result(h, k, value, left, first)
	}
	if begins {
		p.emit(h)
	}
	switch {
	case k.status != statusOK:
	case h.series:
		p.render(h, k.name)
		p.render(h, tab)
	case k.op.kind == counting && len(value) == 8:
		p.render(h, strconv.AppendUint(nil, binary.BigEndian.Uint64(value), 10))
		p.render(h, newline)
	case left > 0 && k.key > 0:
		p.render(h, k.name)
		p.render(h, tab)
	}
	p.behind(h, left)
	if left > 0 {
		return
	}
	if h.series {
		p.render(h, newline)
		return
	}
	p.end(h, proto.Whole)
}

// outcome tells how a request went.
func (p *Parser) outcome(m *proto.Message, k *packet, text []byte) {
	o, known := outcomes[k.status]
	if !known {
		o.failed = true
	}
	code := strconv.AppendUint(append(make([]byte, 0, 8), "0x"...), uint64(k.status), 16)
	if o.name == "" {
		o.name = string(code)
	}
	m.Say(factStatus, []byte(o.name))
	if o.failed {
		m.Say(proto.FactError, code)
		if len(text) == 0 {
			text = []byte(o.name)
		}
		m.Say(proto.FactErrorText, text)
	}
	switch {
	case k.status == statusOK && k.op.kind&(looking) != 0:
		m.Count(factHits, 1)
	case k.status == statusNotFound && k.op.kind&(looking) != 0:
		m.Count(factMisses, 1)
	}
}

// result counts what a successful response brings: a value, a number, one of the statistics.
func (p *Parser) result(h *half, k *packet, value []byte, left int64, first clock.Mark) {
	switch {
	case k.op.kind&getting != 0 || k.op.kind == counting || k.op.kind == versions || k.opcode == opListMechs:
		h.part(k.value, first)
		h.msg.BodyBytes += int64(len(value))
	case h.series:
		n := int64(k.key) + left
		h.part(n, first)
		h.msg.BodyBytes += int64(k.key)
	case k.opcode == opStat || k.value > 0: // such as what the server says of an authentication
		h.msg.Framing = proto.Rendered
	}
}
