package pcapfilter

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/bpf"
)

// The grammar, in the language's own terms. Qualifiers that are left out are taken over from the
// primitive before: "tcp dst port 80 or 443".
//
//	expression = operand { ("and" | "or") operand }          left to right, one precedence
//	operand    = "not" operand | "(" expression ")" | relation | term | value
//	term       = [protocol] [side] [kind] values | protocol | [protocol] primitive [number]
//	values     = operand of nothing but values: "port (80 or 443)"
//	relation   = arithmetic relop arithmetic
type parser struct {
	expr   string
	tokens []token // ends with a tokEnd
	i      int
	depth  int
}

// qualifier is what a primitive hands on to the next. It hands on nothing when kind is noKind.
type qualifier struct {
	qualified
	kind kind
}

func parse(expr string) (node, error) {
	p := parser{expr: expr}
	if len(expr) > MaxLength {
		return nil, p.errorf(0, "the expression is longer than %d bytes", MaxLength)
	}
	s := scanner{expr: expr}
	for {
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		p.tokens = append(p.tokens, t)
		if t.kind == tokEnd {
			break
		}
	}
	if len(p.tokens) == 1 {
		return nil, nil
	}
	root, _, err := p.expression(qualifier{}, true)
	if err == nil && p.peek().kind != tokEnd {
		err = p.unexpected(`expected "and" or "or"`)
	}
	if err != nil {
		return nil, err
	}
	return root, nil
}

func (p *parser) errorf(pos int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Expr: p.expr, Pos: pos, Message: fmt.Sprintf(format, args...)}
}

// unexpected reports that the next token isn't what the grammar wants.
func (p *parser) unexpected(want string) *SyntaxError {
	t := p.peek()
	switch {
	case t.kind == tokEnd:
		return p.errorf(t.pos, "%s, but the expression ends", want)
	case t.text == ")":
		return p.errorf(t.pos, "%s, not %q", want, t.text)
	case t.kind == tokWord && !known(t.text):
		if hint, ok := refused[t.text]; ok {
			return p.refuse(&t, hint)
		}
		if c := closest(t.text); c != "" {
			return p.errorf(t.pos, "%s, not %q (did you mean %q?)", want, t.text, c)
		}
	}
	return p.errorf(t.pos, "%s, not %q", want, t.text)
}

func (p *parser) refuse(t *token, hint string) *SyntaxError {
	if hint == "" {
		return p.errorf(t.pos, "%q isn't supported", t.text)
	}
	return p.errorf(t.pos, "%q isn't supported: %s", t.text, hint)
}

// known reports whether the word is part of the language as it is supported.
func known(word string) bool {
	_, isProtocol := protocols[word]
	_, isQualifier := qualifiers[word]
	_, isPrimitive := primitives[word]
	return isProtocol || isQualifier || isPrimitive || word == "and" || word == "or" || word == "not" || word == "mask" || isLen(word)
}

func isLen(word string) bool { return word == "len" || word == "length" }

func (p *parser) peek() token { return p.tokens[p.i] }

// at returns the token n places ahead, or the end.
func (p *parser) at(n int) token { return p.tokens[min(p.i+n, len(p.tokens)-1)] }

// accept takes the next token if it is the given keyword or symbol.
func (p *parser) accept(text string) bool {
	t := p.peek()
	if t.text != text || t.kind != tokWord && t.kind != tokSymbol {
		return false
	}
	p.i++
	return true
}

// descend counts one more level of nesting. The caller ascends when it has parsed what is inside.
func (p *parser) descend() *SyntaxError {
	if p.depth++; p.depth > MaxDepth {
		return p.errorf(p.peek().pos, "nested more than %d levels deep", MaxDepth)
	}
	return nil
}

func (p *parser) ascend() { p.depth-- }

// expression parses operands and the words between them. q is what the context hands on; where terms
// is false only values may stand.
func (p *parser) expression(q qualifier, terms bool) (node, qualifier, *SyntaxError) {
	a, q, err := p.operand(q, terms)
	for err == nil {
		or := p.accept("or")
		if !or && !p.accept("and") {
			return a, q, nil
		}
		var b node
		if b, q, err = p.operand(q, terms); err == nil {
			a = &logical{or, a, b}
		}
	}
	return nil, q, err
}

func (p *parser) operand(q qualifier, terms bool) (node, qualifier, *SyntaxError) {
	t := p.peek()
	switch {
	case t.kind == tokWord && t.text == "not":
		if err := p.descend(); err != nil {
			return nil, q, err
		}
		defer p.ascend()
		p.i++
		x, q, err := p.operand(q, terms)
		return &negation{x}, q, err
	case terms && p.isArithmetic():
		n, err := p.relation()
		return n, qualifier{}, err
	case p.accept("("):
		if err := p.descend(); err != nil {
			return nil, q, err
		}
		defer p.ascend()
		// What is qualified inside the parentheses isn't handed on.
		x, _, err := p.expression(q, terms)
		if err == nil && !p.accept(")") {
			err = p.unexpected(`expected "and", "or" or ")"`)
		}
		return x, q, err
	case t.kind == tokWord && known(t.text) && terms:
		return p.term()
	case t.kind == tokEnd || t.kind == tokSymbol:
		return nil, q, p.unexpected(missing(q, terms))
	case t.kind == tokWord && known(t.text):
		return nil, q, p.errorf(t.pos, "%s, and %q is a word of the language%s", missing(q, terms), t.text, p.escapeHint(q))
	}
	n, err := p.value(q)
	return n, q, err
}

// missing says what may stand where something else does.
func missing(q qualifier, terms bool) string {
	if terms {
		return "expected a condition"
	}
	switch q.kind {
	case port:
		return "expected a port"
	case portRange:
		return "expected a range of ports such as 8000-8080"
	case proto:
		return "expected a protocol"
	}
	return "expected an address"
}

func (p *parser) escapeHint(q qualifier) string {
	name := p.peek().text
	if _, isName := ipNames[name]; q.kind == proto && (isName || etherNames[name] != 0) {
		return fmt.Sprintf(`: write "proto \%s", or just %q`, name, name)
	}
	return ""
}

// term parses a primitive with its own qualifiers.
func (p *parser) term() (node, qualifier, *SyntaxError) {
	start := p.peek()
	var q qualifier
	if proto, ok := protocols[start.text]; ok {
		q.proto = proto
		p.i++
	}
	t := p.peek()
	if t.kind == tokWord {
		if what, ok := primitives[t.text]; ok && (q.proto == anyProto || what == broadcast || what == multicast) {
			p.i++
			n, err := p.primitive(&t, what, q.proto)
			return n, qualifier{}, err
		}
		if hint, ok := refused[t.text]; ok {
			return nil, q, p.refuse(&t, hint)
		}
	}
	sided := p.side(&q)
	t = p.peek()
	if k := qualifiers[t.text]; t.kind == tokWord && k != noKind {
		p.i++
		q.kind = k
	} else if !sided {
		switch q.proto {
		case anyProto:
			return nil, q, p.unexpected("expected a condition")
		case link:
			return nil, q, p.unexpected(`expected "host", "src", "dst", "proto", "broadcast", "multicast" or "[" after ` + start.text)
		}
		return &protocolTest{q.proto}, qualifier{}, nil
	} else {
		q.kind = host
	}
	if err := p.checkQualifiers(&start, q); err != nil {
		return nil, q, err
	}
	return p.operand(q, false)
}

// side parses "src", "dst" and their combinations, and reports whether there was one.
func (p *parser) side(q *qualifier) bool {
	side := func(n int) direction {
		switch t := p.at(n); {
		case t.kind == tokWord && t.text == "src":
			return source
		case t.kind == tokWord && t.text == "dst":
			return destination
		}
		return eitherSide
	}
	first := side(0)
	if first == eitherSide {
		return false
	}
	join := p.at(1)
	second := side(2)
	switch {
	case join.kind != tokWord || second == eitherSide || second == first || join.text != "and" && join.text != "or":
		q.dir = first
		p.i++
		return true
	case join.text == "and":
		q.dir = bothSides
	}
	p.i += 3
	return true
}

// qualifierRules says which protocols each kind can be restricted to, besides none.
var qualifierRules = map[kind][]protocol{
	host:      {link, ip, ip6, arp, rarp},
	network:   {ip, ip6, arp, rarp},
	port:      {tcp, udp, sctp},
	portRange: {tcp, udp, sctp},
	proto:     {link, ip, ip6},
}

func (p *parser) checkQualifiers(at *token, q qualifier) *SyntaxError {
	name := kindNames[q.kind]
	if q.kind == proto && q.dir != eitherSide {
		return p.errorf(at.pos, `"proto" has no direction`)
	}
	if q.proto == anyProto {
		return nil
	}
	var allowed []string
	for _, a := range qualifierRules[q.kind] {
		if a == q.proto {
			return nil
		}
		allowed = append(allowed, protocolTable[a].name)
	}
	hint := fmt.Sprintf(`did you mean "%s and %s ..."?`, at.text, name)
	if q.proto == link {
		hint = "it can be qualified by " + strings.Join(allowed, ", ")
	}
	return p.errorf(at.pos, "%q can't qualify %q: %s", at.text, name, hint)
}

// primitive parses what follows the word at: a number, or nothing.
func (p *parser) primitive(at *token, what primitive, q protocol) (node, *SyntaxError) {
	info := &primitiveTable[what]
	n := &primitiveTest{what: what, proto: q}
	switch {
	case what == broadcast && q == link, what == multicast && q == link:
		n.proto = anyProto // the same thing
	case what == broadcast && q != anyProto:
		return nil, p.errorf(at.pos, "only Ethernet broadcasts are supported: the netmask that would tell those of IP isn't known")
	case what == multicast && q != anyProto && q != ip && q != ip6:
		return nil, p.errorf(at.pos, `"multicast" can be qualified by ether, ip, ip6`)
	}
	if !info.take {
		return n, nil
	}
	pos := p.peek().pos
	number, ok, err := p.number()
	switch {
	case err != nil:
		return nil, err
	case !ok && info.need:
		return nil, p.unexpected(fmt.Sprintf("expected a number after %q", info.name))
	case number > info.max:
		return nil, p.errorf(pos, "%s %d is more than the largest, %d", info.name, number, info.max)
	}
	n.has, n.number = ok, number
	return n, nil
}

// number parses a number that may stand in parentheses.
func (p *parser) number() (n uint32, ok bool, err *SyntaxError) {
	open := 0
	for p.at(open).text == "(" {
		open++
	}
	t := p.at(open)
	if t.kind != tokNumber || open > MaxDepth {
		return 0, false, nil
	}
	p.i += open + 1
	for ; open > 0; open-- {
		if !p.accept(")") {
			return 0, false, p.unexpected(`expected ")"`)
		}
	}
	return t.number, true, nil
}

// value parses a value that the qualifiers in q apply to.
func (p *parser) value(q qualifier) (node, *SyntaxError) {
	t := p.peek()
	if hint, ok := refused[t.text]; ok && t.kind == tokWord {
		return nil, p.refuse(&t, hint)
	}
	if q.kind == noKind {
		return nil, p.unqualified(&t)
	}
	p.i++
	switch q.kind {
	case port, portRange:
		return p.portValue(q, &t)
	case proto:
		return p.protoValue(q, &t)
	}
	if (q.proto == link) != (t.kind == tokMAC) && t.kind != tokWord && t.kind != tokEscaped {
		if q.proto == link {
			return nil, p.errorf(t.pos, `"ether host" needs an Ethernet address such as 00:11:22:aa:bb:cc`)
		}
		return nil, p.errorf(t.pos, `an Ethernet address needs "ether host", "ether src" or "ether dst"`)
	}
	switch t.kind {
	case tokMAC:
		return &macTest{q.qualified, t.mac}, nil
	case tokNumber, tokDotted:
		return p.address(q, &t)
	case tokIP6:
		return p.address6(q, &t)
	}
	return nil, p.errorf(t.pos, "%q is a name, and names aren't looked up: give the address", t.text)
}

// unqualified says what to write before a value that stands alone.
func (p *parser) unqualified(t *token) *SyntaxError {
	switch t.kind {
	case tokNumber:
		return p.errorf(t.pos, `"%s" alone says too little: "port %s"?`, t.text, t.text)
	case tokDotted, tokIP6:
		return p.errorf(t.pos, `"%s" alone says too little: "host %s"?`, t.text, t.text)
	case tokMAC:
		return p.errorf(t.pos, `"%s" alone says too little: "ether host %s"?`, t.text, t.text)
	}
	if before, _, ok := strings.Cut(t.text, "-"); ok && (isLen(before) || strings.Trim(before, "0123456789") == "") {
		return p.errorf(t.pos, `%q is one word to tcpdump: put spaces around the "-"`, t.text)
	}
	if n, ok := portNames[t.text]; ok {
		return p.errorf(t.pos, `%q alone says too little: "port %s" (%d)?`, t.text, t.text, n)
	}
	if c := closest(t.text); c != "" {
		return p.errorf(t.pos, "%q isn't known (did you mean %q?)", t.text, c)
	}
	return p.errorf(t.pos, "%q isn't known", t.text)
}

// address parses the rest of an IPv4 address or network.
func (p *parser) address(q qualifier, t *token) (node, *SyntaxError) {
	if q.proto == ip6 {
		return nil, p.errorf(t.pos, `"ip6" needs an IPv6 address`)
	}
	n := &addressTest{qualified: q.qualified, mask: ^uint32(0)}
	if t.kind == tokNumber {
		n.addr = t.number
		// "net 10" is 10.0.0.0/8. A host is a number of 32 bits.
		for q.kind == network && n.addr != 0 && n.addr>>24 == 0 {
			n.addr <<= 8
			n.mask <<= 8
		}
	} else {
		addr, bits, ok := t.dotted()
		if !ok {
			return nil, p.errorf(t.pos, "not an IPv4 address: it has four numbers of at most 255, without leading zeros")
		}
		n.addr = addr
		n.mask <<= 32 - bits // a short address is the network of all that begin with it
	}
	slash := p.accept("/")
	switch {
	case !slash && !p.accept("mask"):
		return n, nil
	case q.kind != network:
		return nil, p.errorf(t.pos, `an address with a mask needs "net"`)
	case t.kind == tokNumber:
		return nil, p.errorf(t.pos, "write the network with its dots: %s.0.0.0", t.text)
	case slash:
		length := p.peek()
		if length.kind != tokNumber || length.number > 32 {
			return nil, p.unexpected("expected a prefix length of at most 32")
		}
		n.mask = ^uint32(0) << (32 - length.number)
	default:
		mask := p.peek()
		m, bits, ok := mask.dotted()
		if mask.kind != tokDotted || !ok || bits != 32 {
			return nil, p.unexpected("expected a mask such as 255.255.0.0")
		}
		n.mask = m
	}
	p.i++
	if n.addr&^n.mask != 0 {
		return nil, p.errorf(t.pos, "%s has bits set that the mask leaves out", t.text)
	}
	return n, nil
}

// address6 parses the rest of an IPv6 address or network.
func (p *parser) address6(q qualifier, t *token) (node, *SyntaxError) {
	if q.proto != anyProto && q.proto != ip6 {
		return nil, p.errorf(t.pos, `%q needs an IPv4 address`, protocolTable[q.proto].name)
	}
	length := token{number: 128}
	if p.accept("/") {
		length = p.peek()
		if length.kind != tokNumber || length.number > 128 {
			return nil, p.unexpected("expected a prefix length of at most 128")
		}
		if q.kind != network {
			return nil, p.errorf(t.pos, `an address with a prefix length needs "net"`)
		}
		p.i++
	}
	prefix := netip.PrefixFrom(t.addr, int(length.number))
	if prefix != prefix.Masked() {
		return nil, p.errorf(t.pos, "%s has bits set beyond its prefix", t.text)
	}
	return &address6Test{q.qualified, prefix}, nil
}

// portNumber returns the port that a text names, in numbers or by its name.
func (p *parser) portNumber(pos int, text string) (uint16, *SyntaxError) {
	if n, ok := portNames[text]; ok {
		return uint16(n), nil
	}
	s := scanner{expr: text}
	t, err := s.next()
	switch {
	case err != nil || t.kind != tokNumber || s.pos != len(text):
		return 0, p.errorf(pos, "%q isn't a port that is known by name: give its number", text)
	case t.number > 65535:
		return 0, p.errorf(pos, "%s is more than the largest port, 65535", text)
	}
	return uint16(t.number), nil
}

func (p *parser) portValue(q qualifier, t *token) (node, *SyntaxError) {
	n := &portTest{qualified: q.qualified}
	if t.kind != tokNumber && t.kind != tokWord && t.kind != tokEscaped {
		return nil, p.errorf(t.pos, "expected a port, not an address")
	}
	var err *SyntaxError
	if _, isName := portNames[t.text]; q.kind == portRange && !isName {
		if low, high, ok := strings.Cut(t.text, "-"); ok {
			if n.low, err = p.portNumber(t.pos, low); err == nil {
				n.high, err = p.portNumber(t.pos, high)
			}
			if n.high < n.low {
				n.low, n.high = n.high, n.low
			}
			return n, err
		}
	}
	if low, high, ok := strings.Cut(t.text, "-"); ok && portNames[t.text] == 0 && low != "" && high != "" && strings.Trim(low+high, "0123456789") == "" {
		return nil, p.errorf(t.pos, `a range needs "portrange %s"`, t.text)
	}
	n.low, err = p.portNumber(t.pos, t.text)
	n.high = n.low
	return n, err
}

func (p *parser) protoValue(q qualifier, t *token) (node, *SyntaxError) {
	n := &numberTest{proto: q.proto, number: t.number}
	names, most, of := ipNames, uint32(255), "an IP protocol"
	if q.proto == link {
		names, most, of = etherNames, 1<<16-1, "an EtherType"
	}
	if t.kind != tokNumber {
		number, ok := names[t.text]
		if !ok {
			return nil, p.errorf(t.pos, "%q isn't %s that is known by name: give its number", t.text, of)
		}
		n.number = number
	}
	switch {
	case n.number > most:
		return nil, p.errorf(t.pos, "%s is more than the largest number of %s, %d", t.text, of, most)
	case q.proto == link && n.number <= maxLength8023, q.proto == link && (n.number == 0x809b || n.number == 0x80f3):
		return nil, p.errorf(t.pos, "protocols over LLC and SNAP aren't supported")
	}
	return n, nil
}

// operator is an arithmetic operator.
type operator struct {
	symbol string
	level  int // a higher one binds tighter
	alu    bpf.ALUOp
}

const (
	// looseLevel is that of % and ^. In tcpdump's grammar they have no precedence: what "a % b * c"
	// means there is an accident, so beside other operators they need parentheses here.
	looseLevel = 0
	unaryLevel = 6
)

var operators = [...]operator{
	{"%", looseLevel, bpf.ALUOpMod}, {"^", looseLevel, bpf.ALUOpXor},
	{"|", 1, bpf.ALUOpOr}, {"&", 2, bpf.ALUOpAnd},
	{"<<", 3, bpf.ALUOpShiftLeft}, {">>", 3, bpf.ALUOpShiftRight},
	{"+", 4, bpf.ALUOpAdd}, {"-", 4, bpf.ALUOpSub},
	{"*", 5, bpf.ALUOpMul}, {"/", 5, bpf.ALUOpDiv},
}

// operator returns the operator that the next token is, or nil.
func (t *token) operator() *operator {
	if t.kind == tokSymbol {
		for i := range operators {
			if operators[i].symbol == t.text {
				return &operators[i]
			}
		}
	}
	return nil
}

func (t *token) isRelation() bool {
	return t.kind == tokSymbol && strings.Contains(" = != < > <= >= ", " "+t.text+" ")
}

// isArithmetic reports whether a relation begins here. A number or a parenthesis begins one only if an
// operator follows: after "port 80 or", 443 is a port.
func (p *parser) isArithmetic() bool {
	t := p.peek()
	n := 1
	switch t.kind {
	case tokWord:
		_, isProtocol := protocols[t.text]
		return isLen(t.text) || isProtocol && p.at(1).text == "["
	case tokNumber:
	case tokSymbol:
		if t.text != "(" {
			return t.text == "-"
		}
		for open := 1; open > 0 && p.at(n).kind != tokEnd; n++ {
			switch p.at(n).text {
			case "(":
				open++
			case ")":
				open--
			}
		}
	default:
		return false
	}
	t = p.at(n)
	return t.operator() != nil || t.isRelation()
}

func (p *parser) relation() (node, *SyntaxError) {
	a, err := p.arithmetic(looseLevel)
	if err != nil {
		return nil, err
	}
	op := p.peek()
	if !op.isRelation() {
		return nil, p.unexpected("expected a comparison such as = or >")
	}
	p.i++
	b, err := p.arithmetic(looseLevel)
	if err != nil {
		return nil, err
	}
	return &relation{op.text, a, b}, nil
}

// arithmetic parses operators of at least the given level.
func (p *parser) arithmetic(level int) (value, *SyntaxError) {
	first := p.peek()
	a, err := p.unary()
	for alone := first.text != "-"; err == nil; alone = false {
		t := p.peek()
		op := t.operator()
		if op == nil || op.level < level && op.level != looseLevel {
			return a, nil
		}
		p.i++
		var b value
		if op.level != looseLevel {
			b, err = p.arithmetic(op.level + 1)
		} else if b, err = p.unary(); err == nil {
			if next := p.peek(); !alone || level != looseLevel || next.operator() != nil {
				return nil, p.errorf(t.pos, "%q has no precedence: put it and its operands in parentheses", t.text)
			}
		}
		if err == nil {
			a, err = p.operation(&t, op, a, b)
		}
	}
	return nil, err
}

// operation makes an operation of its operands, computed if both are constants.
func (p *parser) operation(at *token, op *operator, a, b value) (value, *SyntaxError) {
	right, ok := b.(*constant)
	if !ok {
		return &operation{op, a, b}, nil
	}
	switch op.alu {
	case bpf.ALUOpDiv, bpf.ALUOpMod:
		if right.n == 0 {
			return nil, p.errorf(at.pos, "division by zero")
		}
	case bpf.ALUOpShiftLeft, bpf.ALUOpShiftRight:
		if right.n > 31 {
			return nil, p.errorf(at.pos, "shift by more than 31 bits")
		}
	}
	if left, ok := a.(*constant); ok {
		return &constant{op.apply(left.n, right.n)}, nil
	}
	return &operation{op, a, b}, nil
}

// apply computes a op b. The caller has refused division by zero.
func (o *operator) apply(a, b uint32) uint32 {
	switch o.alu {
	case bpf.ALUOpAdd:
		return a + b
	case bpf.ALUOpSub:
		return a - b
	case bpf.ALUOpMul:
		return a * b
	case bpf.ALUOpDiv:
		return a / b
	case bpf.ALUOpMod:
		return a % b
	case bpf.ALUOpAnd:
		return a & b
	case bpf.ALUOpOr:
		return a | b
	case bpf.ALUOpXor:
		return a ^ b
	case bpf.ALUOpShiftLeft:
		return a << b
	}
	return a >> b
}

func (p *parser) unary() (value, *SyntaxError) {
	if err := p.descend(); err != nil {
		return nil, err
	}
	defer p.ascend()
	t := p.peek()
	switch {
	case p.accept("-"):
		x, err := p.unary()
		if c, ok := x.(*constant); ok {
			return &constant{-c.n}, err
		}
		return &negative{x}, err
	case p.accept("("):
		v, err := p.arithmetic(looseLevel)
		if err == nil && !p.accept(")") {
			err = p.unexpected(`expected ")"`)
		}
		return v, err
	case t.kind == tokNumber:
		p.i++
		return &constant{t.number}, nil
	case t.kind == tokWord && isLen(t.text):
		p.i++
		return &packetLength{}, nil
	}
	if proto, ok := protocols[t.text]; ok && t.kind == tokWord && p.at(1).text == "[" {
		if !protocolTable[proto].bytes {
			return nil, p.errorf(t.pos, "the bytes of %s can't be tested: write ip[...] or ip6[...] with the offset from there", t.text)
		}
		p.i += 2
		return p.load(&t, proto)
	}
	return nil, p.unexpected("expected a number, len, or bytes such as tcp[13]")
}

// maxOffset is the largest constant index. Beyond it lie no packets, but the offsets at which kernels
// keep their extensions.
const maxOffset = 1<<24 - 1

func (p *parser) load(at *token, proto protocol) (value, *SyntaxError) {
	v := &load{proto: proto, size: 1}
	var err *SyntaxError
	if v.index, err = p.arithmetic(looseLevel); err != nil {
		return nil, err
	}
	if c, ok := v.index.(*constant); ok && c.n > maxOffset {
		return nil, p.errorf(at.pos, "the offset %d is beyond any packet", c.n)
	}
	if p.accept(":") {
		size := p.peek()
		if size.kind != tokNumber || size.number != 1 && size.number != 2 && size.number != 4 {
			return nil, p.unexpected("expected a size of 1, 2 or 4 bytes")
		}
		p.i++
		v.size = int(size.number)
	}
	if !p.accept("]") {
		return nil, p.unexpected(`expected "]"`)
	}
	return v, nil
}
