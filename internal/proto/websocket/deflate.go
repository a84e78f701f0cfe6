package websocket

import (
	"compress/flate"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// maxWindow is how far back a compressed message may refer, in bytes (RFC 1951).
	maxWindow = 1 << 15
	// inflaterSize is about what a decompressor takes: its window and its tables, in bytes.
	inflaterSize = 48 << 10
	// maxFinal is how many blocks of a message may say that they are the last (RFC 7692 §7.2.3.5): one for each flush of the
	// sender. Each costs a copy of the window.
	maxFinal = 16
)

// ending is what a sender takes from the end of a compressed message (RFC 7692 §7.2.1), and an empty last block.
const ending = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// parameters are what was agreed on for the messages of one side (RFC 7692 §7.1).
type parameters struct {
	// takeover: a message may refer to those before it.
	takeover bool
	// window is how far back.
	window int
}

// extensions are what was agreed on in the handshake.
type extensions struct {
	// deflate: permessage-deflate is in use, or may be. foreign: so is one that isn't known here.
	deflate, foreign bool
	client, server   parameters
}

// negotiated reads the extensions that a response agreed to (RFC 6455 §9.1). What isn't known is as it is by default.
func negotiated(response *proto.Message) extensions {
	full := parameters{takeover: true, window: maxWindow}
	x := extensions{client: full, server: full}
	known := response != nil
	if !known {
		response = new(proto.Message)
	}
	for i := range response.Fields {
		f := &response.Fields[i]
		switch {
		case f.Flags&proto.Obscure != 0:
			known = false
		case proto.EqualFold(response.Bytes(f.Name), "sec-websocket-extensions"):
			for one := range strings.SplitSeq(string(response.Bytes(f.Value)), ",") {
				x.add(one)
			}
		}
	}
	for _, a := range [...]proto.Anomaly{
		proto.TooManyFields, proto.HeadTooLarge, proto.HeaderTableUnknown, proto.HeaderBlockTooLarge, proto.BadHeaderBlock,
	} {
		known = known && !response.Anomalies.Has(a)
	}
	x.deflate, x.foreign = x.deflate || !known, x.foreign || !known
	return x
}

// add adds one extension with its parameters.
func (x *extensions) add(text string) {
	name, rest, more := strings.Cut(text, ";")
	switch name = strings.ToLower(strings.Trim(name, " \t")); {
	case name == "":
		return
	case name != "permessage-deflate":
		x.foreign = true
		return
	}
	x.deflate = true
	for more {
		var param string
		param, rest, more = strings.Cut(rest, ";")
		name, value, _ := strings.Cut(param, "=")
		switch strings.ToLower(strings.Trim(name, " \t")) {
		case "client_no_context_takeover":
			x.client.takeover = false
		case "server_no_context_takeover":
			x.server.takeover = false
		case "client_max_window_bits":
			x.client.window = windowSize(value)
		case "server_max_window_bits":
			x.server.window = windowSize(value)
		}
	}
}

// windowSize returns the size of a window of so many bits. Senders that use zlib make 9 of 8 bits.
func windowSize(bits string) int {
	n, err := strconv.Atoi(strings.Trim(bits, "\" \t"))
	if err != nil || n < 8 || n > 15 {
		return maxWindow
	}
	return 1 << max(n, 9)
}

// window is what the compressed messages of a direction may refer to.
type window struct {
	parameters
	// last are the last bytes of the messages so far, as far as they are known without a hole.
	last []byte
	// holed: there are others before them.
	holed bool
}

func newWindow(p parameters) window { return window{parameters: p} }

// forget notes that what came last isn't known.
func (w *window) forget() {
	w.last, w.holed = w.last[:0], w.takeover
}

// add adds bytes of a message.
func (w *window) add(b []byte) {
	if len(b) >= w.window {
		b, w.last = b[len(b)-w.window:], w.last[:0]
	}
	if over := len(w.last) + len(b) - w.window; over > 0 {
		w.last = w.last[:copy(w.last, w.last[over:])]
	}
	w.last = append(w.last, b...)
	w.holed = w.holed && len(w.last) < w.window
}

// collect keeps bytes of a compressed message, if somebody wants it.
func (p *Parser) collect(s *side, b []byte) {
	if !s.wanted || s.partial {
		return
	}
	if room := p.limits.MaxMessage - len(s.payload); len(b) > room {
		b, s.partial = b[:max(room, 0)], true
	}
	n := len(s.payload)
	*p.held -= cap(s.payload)
	s.payload = append(s.payload, b...)
	*p.held += cap(s.payload)
	s.frame.unmask(s.payload[n:], s.payload[n:], s.pos)
}

// inflate inflates the data message, which has come to its end, whole or not, and gives it to the sink. It reports whether it
// gave all of it.
func (p *Parser) inflate(s *side, whole bool) bool {
	m := &s.data
	if !s.wanted {
		s.window.forget()
		return false
	}
	n, end := p.inflateInto(s, whole)
	if m.MissingBytes == 0 {
		m.BodyBytes = n
	}
	switch {
	case end == inflatedLimit:
		m.Anomalies.Set(proto.DecompressionLimit)
	case end == inflatedBad && whole && !s.window.holed:
		m.Anomalies.Set(proto.BadContentCoding)
	case end == inflatedBad && whole:
		m.Anomalies.Set(proto.CompressionContextLost)
	}
	if end != inflatedAll || !whole {
		s.window.forget()
	}
	if !s.window.takeover {
		s.window.last = s.window.last[:0]
	}
	s.payload = s.payload[:0]
	if cap(s.payload) > keepPayload {
		p.drop(&s.payload)
	}
	return end == inflatedAll && whole
}

// inflated says how inflating a message ended.
type inflated uint8

const (
	inflatedAll inflated = iota
	inflatedLimit
	inflatedBad
)

// inflateInto inflates what was collected of a message and gives it to the sink. It returns how many bytes it made.
func (p *Parser) inflateInto(s *side, whole bool) (total int64, end inflated) {
	if whole {
		*p.held -= cap(s.payload)
		s.payload = append(s.payload, ending...)
		*p.held += cap(s.payload)
	}
	p.compressed.Reset(s.payload)
	defer p.compressed.Reset(nil)
	p.needScratch()
	for range maxFinal {
		if err := p.needInflater(s.window.last); err != nil {
			return total, inflatedBad
		}
		for err := error(nil); err == nil; {
			var n int
			n, err = p.inflater.Read(p.scratch)
			b := p.scratch[:n]
			limited := total+int64(n) > int64(p.limits.MaxMessage)
			if limited {
				b = b[:int64(p.limits.MaxMessage)-total]
			}
			total += int64(len(b))
			p.remember(s, b)
			if want := p.sink.WantsBody(&s.data); want > 0 && len(b) > 0 {
				p.give(s, b[:min(want, len(b))])
			}
			switch {
			case limited:
				return total, inflatedLimit
			case err != nil && !errors.Is(err, io.EOF):
				return total, inflatedBad
			}
		}
		// A block said that it is the last. What the message has behind it are others.
		switch left := p.compressed.Len(); {
		case left == 0 || whole && left == len(ending):
			return total, inflatedAll
		case whole && left < len(ending):
			// The message broke off within a block, which took from the ending.
			return total, inflatedBad
		}
	}
	return total, inflatedBad
}

// needInflater makes the decompressor ready for data that may refer to dict.
func (p *Parser) needInflater(dict []byte) error {
	if p.inflater == nil {
		// The standard library's, though others are faster: its Reset forgets the Huffman tables of the data before, so that
		// malformed data can't be decoded with their remains.
		p.inflater = flate.NewReaderDict(&p.compressed, dict)
		*p.held += inflaterSize
		return nil
	}
	return p.inflater.(flate.Resetter).Reset(&p.compressed, dict)
}

// remember adds to the window.
func (p *Parser) remember(s *side, b []byte) {
	*p.held -= cap(s.window.last)
	s.window.add(b)
	*p.held += cap(s.window.last)
}
