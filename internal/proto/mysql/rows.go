package mysql

// rows counts the rows that lie within b, whose i-th byte of its piece is the first, and whose text nobody wants. It returns how many
// bytes they take.
func (p *Parser) rows(h *half, b []byte, i int, at mark) int {
	m := &h.msg
	if !h.open || p.rowWanted(h) > 0 {
		return 0
	}
	n := 0
	parts := m.Parts
	for n+headerSize < len(b) {
		size := length24(b[n:])
		end := n + headerSize + size
		if size == 0 || size == maxPacket || end > len(b) || b[n+headerSize] >= isEOF {
			break
		}
		parts.Count++
		parts.Bytes += int64(size)
		parts.Largest = max(parts.Largest, int64(size))
		n = end
	}
	if n == 0 {
		return 0
	}
	if parts.First == 0 {
		parts.First = at.at.Time
	}
	m.BodyBytes += parts.Bytes - m.Parts.Bytes
	m.Parts = parts
	m.Last = at.last(i + n)
	return n
}

// rowWanted returns how many bytes of a row are needed for its text, 0 when none is wanted or can be made.
func (p *Parser) rowWanted(h *half) int {
	if !h.open || p.answer.binary && !p.answer.typed {
		return 0
	}
	want := p.sink.WantsBody(&h.msg)
	if want <= 0 {
		return 0
	}
	// The lengths of values take the place of the tabs between them, and up to three bytes of 252 more.
	const share, least = 64, 16
	return want + want/share + least + len(p.answer.kinds)/8
}

// showRow hands out the text of a row: its values with tabs between them, \N for NULL, and a backslash before what would be taken
// for either.
func (p *Parser) showRow(h *half, b []byte) {
	want := p.sink.WantsBody(&h.msg)
	if want <= 0 {
		return
	}
	out := p.shown[:0]
	if p.answer.binary {
		out = p.binaryRow(out, b, want)
	} else {
		out = textRow(out, b, want)
	}
	out = append(out, '\n')
	p.shown = out
	p.settleShown()
	p.sink.Body(&h.msg, out[:min(len(out), want)])
}

// settleShown counts what showing rows takes.
func (p *Parser) settleShown() {
	n := cap(p.shown) + kindSize*cap(p.answer.kinds)
	*p.held += n - p.shownN
	p.shownN = n
}

// freeShown lets go of it.
func (p *Parser) freeShown() {
	p.shown, p.answer.kinds = nil, nil
	p.settleShown()
}

const sqlNull = `\N`

func textRow(out, b []byte, want int) []byte {
	v := values{b: b}
	for i := 0; len(v.b) > 0 && len(out) < want; i++ {
		if i > 0 {
			out = append(out, '\t')
		}
		n, null := v.length()
		if null {
			out = append(out, sqlNull...)
			continue
		}
		out = escaped(out, v.take(min(n, uint64(len(v.b)))), want)
	}
	return out
}

// binaryRow reads a row in the binary form: a byte 0, which columns are NULL, from the third bit on, and the values of the others.
func (p *Parser) binaryRow(out, b []byte, want int) []byte {
	const reserved = 2
	kinds := p.answer.kinds
	v := values{b: b}
	v.byte()
	null := v.take(uint64((len(kinds) + reserved + 7) / 8))
	if v.short {
		return out
	}
	for i, k := range kinds {
		if len(out) >= want {
			break
		}
		if i > 0 {
			out = append(out, '\t')
		}
		if bit := i + reserved; null[bit/8]&(1<<(bit%8)) != 0 {
			out = append(out, sqlNull...)
			continue
		}
		if k.isText() {
			n, _ := v.length()
			out = escaped(out, v.take(min(n, uint64(len(v.b)))), want)
			continue
		}
		from := len(out)
		if out = v.append(out, k, 0); v.short {
			return out[:from]
		}
	}
	return out
}

// isText reports whether a type is sent as a string.
func (k kind) isText() bool {
	switch k.code {
	case typeTiny, typeShort, typeLong, typeFloat, typeDouble, typeNull, typeTimestamp, typeLongLong, typeInt24, typeDate, typeTime,
		typeDatetime, typeYear:
		return false
	}
	return true
}

// escapes are what stands for the bytes that have a meaning in the text of a row.
var escapes = [256]byte{'\t': 't', '\n': 'n', '\\': '\\', 0: '0'}

// escaped adds a value, as much of it as is wanted.
func escaped(out, value []byte, want int) []byte {
	for _, c := range value {
		if len(out) >= want {
			break
		}
		if e := escapes[c]; e != 0 {
			out = append(out, '\\', e)
			continue
		}
		out = append(out, c)
	}
	return out
}
