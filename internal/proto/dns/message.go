package dns

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// The facts of messages; exchange.Facts says which fields show them.
const (
	factID          = "id"
	factOpcode      = "opcode"
	factName        = "name"
	factType        = "type"
	factClass       = "class"
	factRcode       = "rcode"
	factFlag        = "flag"
	factAnswers     = "answers"
	factAuthorities = "authorities"
	factAdditionals = "additionals"
	factOwner       = "answer_name"
	factAnswerType  = "answer_type"
	factTTL         = "answer_ttl"
	factData        = "answer_data"
	factResolved    = "resolved_ip"
	factVersion     = "edns_version"
	factDO          = "edns_do"
	factSize        = "edns_size"
	factSubnet      = "edns_subnet"
)

// variant is what DNS, mDNS and LLMNR do differently.
type variant struct {
	flags []flag
	// topBit: the highest bit of a class isn't part of it, but wants an answer by unicast, or says that older records are to be
	// forgotten (RFC 6762 §5.4, §10.2).
	topBit bool
	// anybody: a question goes to all at once, and whoever knows answers, from an address of its own.
	anybody bool
}

func (v *variant) class(class uint16) uint16 {
	if v.topBit {
		class &^= 1 << 15
	}
	return class
}

// describer makes a message of what was read.
type describer struct {
	variant *variant
	limits  *proto.Limits
	content
	// asked is the text of the question's type.
	asked proto.Span
	// lower is the key of the question, see key.
	lower []byte
}

// say makes a fact of the text that begins at a place of Raw and reaches to its end.
func say(m *proto.Message, name string, from int) proto.Span {
	s := proto.Span{Off: uint32(from), Len: uint32(len(m.Raw) - from)}
	m.Facts = append(m.Facts, proto.Fact{Name: name, Value: s})
	return s
}

// question tells what both messages have: the id, what is to be done, and what is asked for.
func (d *describer) question(m *proto.Message) {
	m.Count(factID, int64(d.id))
	from := len(m.Raw)
	m.Raw = appendOpcode(m.Raw, d.opcode())
	m.Method = say(m, factOpcode, from)
	if d.name > 0 {
		from, ok := len(m.Raw), false
		if m.Raw, _, ok = appendName(m.Raw, d.b, d.name); !ok {
			m.Anomalies.Set(proto.BadFrame)
		}
		m.Target = say(m, factName, from)
		from = len(m.Raw)
		m.Raw = appendType(m.Raw, d.typ)
		d.asked = say(m, factType, from)
		if d.opcode() == opQuery {
			m.Method = d.asked
		}
		from = len(m.Raw)
		m.Raw = appendClass(m.Raw, d.variant.class(d.class))
		say(m, factClass, from)
	}
	m.Anomalies |= d.odd()
}

// odd returns what is odd about the form of the message.
func (d *describer) odd() (a proto.Anomalies) {
	if d.malformed || d.opts > 1 || d.opt.end > 0 && d.b[d.opt.owner] != 0 { // RFC 6891 §6.1.1
		a.Set(proto.BadFrame)
	}
	if d.surplus {
		a.Set(proto.SurplusBytes)
	}
	return a
}

// key returns what tells the question from others with its id: its name without regard to case, which clients vary
// to be told from forgers, its type and its class. It is valid until the next call.
func (d *describer) key(m *proto.Message) []byte {
	d.lower = append(d.lower[:0], m.Bytes(m.Target)...)
	for i, c := range d.lower {
		if 'A' <= c && c <= 'Z' {
			d.lower[i] = c | 0x20
		}
	}
	d.lower = binary.BigEndian.AppendUint16(d.lower, d.typ)
	d.lower = binary.BigEndian.AppendUint16(d.lower, d.variant.class(d.class))
	return append(d.lower, d.opcode())
}

// The options of EDNS that are looked at (RFC 7871, RFC 8914).
const (
	optionSubnet = 8
	optionError  = 15
)

// request tells the rest of a question.
func (d *describer) request(m *proto.Message) {
	m.Kind = proto.Request
	if d.opt.end == 0 {
		return
	}
	m.Count(factSize, int64(d.opt.class))
	if d.opt.ttl&(1<<15) != 0 {
		m.Count(factDO, 1)
	}
	d.options(func(code uint16, value []byte) bool {
		if code == optionSubnet {
			d.subnet(m, value)
		}
		return code != optionSubnet
	})
}

// subnet tells the network that a question is asked for (RFC 7871 §6).
func (d *describer) subnet(m *proto.Message, value []byte) {
	var addr [16]byte
	if len(value) < 4 {
		m.Anomalies.Set(proto.BadValue)
		return
	}
	family, bits, prefix := binary.BigEndian.Uint16(value), int(value[2]), value[4:]
	size := 0
	switch family {
	case 1:
		size = 4
	case 2:
		size = 16
	}
	if len(prefix) > size || bits > 8*size || size == 0 {
		m.Anomalies.Set(proto.BadValue)
		return
	}
	copy(addr[:], prefix)
	a := netip.AddrFrom16(addr)
	if size == 4 {
		a = netip.AddrFrom4([4]byte(addr[:]))
	}
	from := len(m.Raw)
	m.Raw = netip.PrefixFrom(a, bits).AppendTo(m.Raw)
	say(m, factSubnet, from)
}

// response tells the rest of an answer.
func (d *describer) response(m *proto.Message) {
	m.Kind = proto.Response
	rcode := d.rcode()
	from := len(m.Raw)
	m.Raw = appendRcode(m.Raw, rcode)
	code := say(m, factRcode, from)
	if rcode != 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: proto.FactError, Value: code})
	}
	d.reason(m, rcode)
	for i := range d.variant.flags {
		if f := &d.variant.flags[i]; d.flags&f.bit != 0 {
			m.Say(factFlag, []byte(f.name))
		}
	}
	m.Count(factAnswers, int64(d.counts[answers]))
	m.Count(factAuthorities, int64(d.counts[authorities]))
	m.Count(factAdditionals, int64(max(int(d.counts[additionals])-d.opts, 0)))
	if d.opt.end > 0 {
		m.Count(factVersion, int64(d.opt.ttl>>16&0xff))
	}
	if d.opcode() != opUpdate { // whose records there are conditions
		d.answers(m)
	}
	if d.opcode() == opQuery && (rcode == 0 || d.counts[answers] > 0) {
		m.Framing = proto.Rendered
	}
}

// reason tells in words what went wrong, where something did, and what the server says of it (RFC 8914).
func (d *describer) reason(m *proto.Message, rcode uint16) {
	from := len(m.Raw)
	m.Raw = append(m.Raw, meaning(rcode)...)
	d.options(func(code uint16, value []byte) bool {
		if code != optionError || len(value) < 2 {
			return true
		}
		if len(m.Raw) > from {
			m.Raw = append(m.Raw, ": "...)
		}
		if info := int(binary.BigEndian.Uint16(value)); info < len(extended) {
			m.Raw = append(m.Raw, extended[info]...)
		} else {
			m.Raw = strconv.AppendInt(append(m.Raw, "extended error "...), int64(info), 10)
		}
		if text := value[2:]; len(text) > 0 {
			m.Raw = append(m.Raw, " ("...)
			for _, c := range text[:min(len(text), d.limits.MaxStatement)] {
				if c < ' ' || c == 0x7f {
					c = ' '
				}
				m.Raw = append(m.Raw, c)
			}
			m.Raw = append(m.Raw, ')')
		}
		return true
	})
	if len(m.Raw) > from && rcode != 0 {
		say(m, proto.FactErrorText, from)
	}
}

// answers tells the records of the answer, as many as the limits allow.
func (d *describer) answers(m *proto.Message) {
	at, left := d.first, d.limits.MaxStatement
	for i := range d.read {
		r, _ := readRecord(d.b, at)
		at = r.end
		if i == 0 && d.name == 0 && m.OneWay {
			d.subject(m, &r)
		}
		from := len(m.Raw)
		if i >= d.limits.MaxFields || r.end-r.data > left {
			m.Anomalies.Set(proto.TooManyFields)
			return
		}
		d.answer(m, &r)
		left -= len(m.Raw) - from
	}
}

// answer tells one record.
func (d *describer) answer(m *proto.Message, r *record) {
	t := texts{b: d.b}
	if d.name == headerSize && binary.BigEndian.Uint16(d.b[r.owner:]) == 0xc000|headerSize {
		m.Facts = append(m.Facts, proto.Fact{Name: factOwner, Value: m.Target}) // it points to the question, as nearly always
	} else {
		from := len(m.Raw)
		t.dst = m.Raw
		t.name(r.owner)
		m.Raw = t.dst
		say(m, factOwner, from)
	}
	if d.name > 0 && r.typ == d.typ {
		m.Facts = append(m.Facts, proto.Fact{Name: factAnswerType, Value: d.asked})
	} else {
		from := len(m.Raw)
		m.Raw = appendType(m.Raw, r.typ)
		say(m, factAnswerType, from)
	}
	from := len(m.Raw)
	m.Raw = strconv.AppendUint(m.Raw, uint64(r.ttl), 10)
	say(m, factTTL, from)
	from = len(m.Raw)
	t.dst = m.Raw
	t.data(r)
	m.Raw = t.dst
	data := say(m, factData, from)
	if size := r.end - r.data; (r.typ == typeA && size == 4 || r.typ == typeAAAA && size == 16) && d.variant.class(r.class) == classIN {
		m.Facts = append(m.Facts, proto.Fact{Name: factResolved, Value: data})
	}
	if t.malformed {
		m.Anomalies.Set(proto.BadValue)
	}
}

// subject says what an answer is about that nobody asked for: its first record.
func (d *describer) subject(m *proto.Message, r *record) {
	from := len(m.Raw)
	m.Raw, _, _ = appendName(m.Raw, d.b, r.owner)
	m.Target = say(m, factName, from)
	from = len(m.Raw)
	m.Raw = appendType(m.Raw, r.typ)
	typ := say(m, factType, from)
	if d.opcode() == opQuery {
		m.Method = typ
	}
}

// lines appends the answers as lines of a master file, and stops when there are want bytes.
func (d *describer) lines(dst []byte, want int) []byte {
	t := texts{dst: dst, b: d.b, absolute: true}
	at := d.first
	for range d.read {
		if len(t.dst) >= want {
			break
		}
		r, _ := readRecord(d.b, at)
		t.line(&r, d.variant.class(r.class))
		at = r.end
	}
	return t.dst[:min(len(t.dst), want)]
}
