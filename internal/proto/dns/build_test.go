package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// wire is a message that a test makes.
type wire struct {
	id, flags uint16
	questions []string // "name TYPE", as written in code: www.example A
	sections  [3][]rr
}

// rr is a record of a test.
type rr struct {
	owner string // "@" points to the question
	typ   uint16
	class uint16
	ttl   uint32
	data  string
}

// name makes the wire form of a name.
func name(s string) string {
	if s == "@" {
		return "\xc0\x0c"
	}
	var b strings.Builder
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label != "" {
			b.WriteByte(byte(len(label)))
			b.WriteString(label)
		}
	}
	b.WriteByte(0)
	return b.String()
}

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func u32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func typeOf(s string) int {
	for i, t := range types {
		if t == s {
			return i
		}
	}
	panic("no type " + s)
}

func (r rr) wire() string {
	class := int(r.class)
	if class == 0 {
		class = classIN
	}
	return name(r.owner) + u16(int(r.typ)) + u16(class) + u32(int(r.ttl)) + u16(len(r.data)) + r.data
}

func (w wire) bytes() string {
	s := u16(int(w.id)) + u16(int(w.flags)) + u16(len(w.questions))
	for i := range w.sections {
		s += u16(len(w.sections[i]))
	}
	for _, q := range w.questions {
		n, typ, _ := strings.Cut(q, " ")
		s += name(n) + u16(typeOf(typ)) + u16(classIN)
	}
	for i := range w.sections {
		for _, r := range w.sections[i] {
			s += r.wire()
		}
	}
	return s
}

func ask(id uint16, q string, additional ...rr) string {
	return wire{id: id, flags: flagRD, questions: []string{q}, sections: [3][]rr{2: additional}}.bytes()
}

func answer(id uint16, rcode uint16, q string, records ...rr) string {
	return wire{id: id, flags: flagQR | flagRD | flagRA | rcode, questions: []string{q}, sections: [3][]rr{records}}.bytes()
}

func a(owner, addr string) rr {
	ip := netip.MustParseAddr(addr)
	if ip.Is4() {
		return rr{owner: owner, typ: typeA, ttl: 300, data: string(ip.AsSlice())}
	}
	return rr{owner: owner, typ: typeAAAA, ttl: 300, data: string(ip.AsSlice())}
}

func soa(zone string, serial int) rr {
	return rr{owner: zone, typ: typeSOA, ttl: 3600, data: name("ns."+zone) + name("admin."+zone) + u32(serial) + u32(7200) + u32(900) + u32(86400) + u32(60)}
}

// opt is a record of EDNS with options.
func opt(size uint16, ttl uint32, options string) rr {
	return rr{owner: "", typ: typeOPT, class: size, ttl: ttl, data: options}
}

// framed puts the length before messages, as over TCP.
func framed(messages ...string) (s string) {
	for _, m := range messages {
		s += u16(len(m)) + m
	}
	return s
}

// step is a step of a script: > or <, and bytes.
func step(dir, b string) string {
	var s strings.Builder
	s.WriteString(dir + " ")
	for i := range len(b) {
		fmt.Fprintf(&s, `\x%02x`, b[i])
	}
	s.WriteByte('\n')
	return s.String()
}
