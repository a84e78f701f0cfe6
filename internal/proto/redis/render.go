package redis

import (
	"strconv"
)

// emptyTexts are how redis-cli shows what holds nothing.
var emptyTexts = [256]string{'*': "(empty array)", '~': "(empty set)", '%': "(empty hash)", '>': "(empty push)"}

// signs stand behind the number of an item.
var signs = [256]string{'*': ") ", '~': "~ ", '%': "# ", '>': ") "}

const spaces = "                                                                "

// shown reports whether what comes is to be shown.
func (p *Parser) shown() bool {
	r := &p.replies
	return (r.want > 0 || r.decision.active) && !r.silent()
}

// write shows a text.
func (p *Parser) write(text string) {
	if p.shown() {
		p.replies.out = append(p.replies.out[:0], text...)
		p.emit()
	}
}

// emit hands out the text that was made, as much of it as is wanted, or keeps it until the reply is told of.
func (p *Parser) emit() {
	r := &p.replies
	if d := &r.decision; d.active {
		if len(d.early)+len(r.out) <= maxEarly {
			d.early = append(d.early, r.out...)
			return
		}
		text := append([]byte(nil), r.out...)
		p.conclude()
		r.out = append(r.out[:0], text...)
	}
	if n := min(len(r.out), r.want); n > 0 {
		r.want -= n
		p.sink.Body(&r.msg, r.out[:n])
	}
}

// flush hands out what was kept.
func (p *Parser) flush() {
	r := &p.replies
	d := &r.decision
	r.out = append(r.out[:0], d.early...)
	d.early = d.early[:0]
	p.emit()
}

// prefix shows what stands before a value: the line break, the indentation and the number of an item.
func (p *Parser) prefix() {
	r := &p.replies
	if r.depth == 0 || !p.shown() {
		return
	}
	f := &r.stack[r.depth-1]
	out := r.out[:0]
	number := f.index + 1
	if f.kind == '%' {
		if f.index%2 == 1 {
			p.write(" => ")
			return
		}
		number = f.index/2 + 1
	}
	if f.index > 0 {
		out = append(out, '\n')
		out = append(out, spaces[:min(f.indent, len(spaces))]...)
	}
	begin := len(out)
	out = strconv.AppendInt(out, number, 10)
	if width := len(out) - begin; width < f.digits {
		pad := f.digits - width
		out = append(out, spaces[:pad]...)
		copy(out[begin+pad:], out[begin:begin+width])
		copy(out[begin:], spaces[:pad])
	}
	out = append(out, signs[f.kind]...)
	r.out = out
	p.emit()
}

// scalars are how values of one line are shown: what stands before and behind.
var scalars = [256][2]string{'-': {"(error) ", ""}, ':': {"(integer) ", ""}, ',': {"(double) ", ""}}

// scalar takes a value that is one line; kind _ stands for a nil of any form.
func (p *Parser) scalar(kind byte, text []byte) {
	r := &p.replies
	p.opens(true)
	if d := &r.decision; d.active && !r.silent() {
		p.wordBegins(int64(len(text)))
		if kind == '+' || d.word == 0 {
			p.wordBytes(text)
		}
		if !p.wordOver() {
			return
		}
	}
	if !r.silent() && r.told {
		switch kind {
		case ':':
			if n, ok := number(text); ok {
				p.counted(n)
			}
			p.counts(true)
		case '_':
			p.counts(false)
		case '+', '-':
		default:
			p.counts(true)
		}
	}
	if !r.silent() && kind != '_' && !(r.depth == 0 && kind == '-') {
		r.msg.BodyBytes += int64(len(text))
		r.size += int64(len(text))
		if r.depth == 0 && kind != '+' {
			r.msg.Parts.First = r.lineAt.Time
			p.itemOver()
		}
	}
	if !p.shown() {
		return
	}
	out := r.out[:0]
	switch kind {
	case '_':
		out = append(out, "(nil)"...)
	case '#':
		out = append(out, "(false)"...)
		if len(text) == 1 && text[0] == 't' {
			out = append(out[:0], "(true)"...)
		}
	default:
		out = append(append(out, scalars[kind][0]...), text...)
	}
	r.out = out
	p.emit()
}

// quote shows the quote before a string.
func (p *Parser) quote() {
	if r := &p.replies; r.kind == '$' {
		p.write(`"`)
	}
}

// unquote shows the quote behind a string.
func (p *Parser) unquote() {
	if r := &p.replies; r.kind == '$' {
		p.write(`"`)
	}
}

// verbatimPrefix is the length of the format before a verbatim string: txt:
const verbatimPrefix = 4

// stringBytes takes bytes of a string: it shows them, escaped unless they are verbatim.
func (p *Parser) stringBytes(b []byte) {
	r := &p.replies
	p.wordBytes(b)
	if r.entry.effect == greets {
		r.word.n += uint8(copy(r.word.text[r.word.n:], b))
	}
	if r.kind == '!' && r.depth == 0 {
		d := &r.decision
		d.early = append(d.early, b[:min(len(b), maxEarly-len(d.early))]...)
		return
	}
	if !p.shown() {
		return
	}
	out := r.out[:0]
	if r.kind != '$' {
		if past := r.length - r.remain; r.kind == '=' && past < verbatimPrefix {
			b = b[min(int64(len(b)), verbatimPrefix-past):]
		}
		out = append(out, b...)
	} else {
		most := len(b)
		if !r.decision.active {
			most = min(most, r.want)
		}
		for _, c := range b[:most] {
			if c < 0x80 {
				out = appendEscaped(out, c)
			} else {
				out = append(out, c)
			}
		}
	}
	r.out = out
	p.emit()
}
