package http1

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// chunkLine takes bytes of the line that stands between chunks, or of a trailer line (RFC 9112 §7.1).
// It returns how many it took.
func (p *Parser) chunkLine(s *side, b []byte, at clock.Mark) int {
	m := &s.msg
	n := bytes.IndexByte(b, '\n') + 1
	line, complete := b[:n], n > 0
	if !complete {
		line = b
	}
	limit := maxChunkLine
	if s.state == stateTrailer {
		limit = p.limits.MaxHead
	}
	if len(s.buf) > 0 || !complete || s.state == stateTrailer {
		if len(s.buf)+len(line) > limit {
			m.Anomalies.Set(tooLong[s.state])
			p.end(s, proto.Broken)
			p.lose(s, at)
			return len(b)
		}
		p.keep(s, line, at)
	}
	m.Size += int64(len(line))
	reach(m, at, len(line))
	if !complete {
		return len(b)
	}
	if s.state == stateTrailer {
		p.trailerLine(s)
		return n
	}
	if len(s.buf) > 0 {
		line = s.buf
	}
	ok := p.betweenChunks(s, line)
	if !ok {
		p.end(s, proto.Broken)
		p.lose(s, at)
		return len(b)
	}
	if s.state != stateTrailer {
		p.release(s)
	}
	return n
}

// tooLong is the anomaly of a line that exceeds its limit.
var tooLong = [...]proto.Anomaly{
	stateChunkSize: proto.BadChunkSize, stateChunkEnd: proto.BadChunkEnd, stateTrailer: proto.BadTrailer,
}

// betweenChunks takes the whole line at the end of a chunk, or with the size of the next.
func (p *Parser) betweenChunks(s *side, line []byte) bool {
	m := &s.msg
	if s.state == stateChunkEnd {
		if len(trimEOL(line)) > 0 {
			m.Anomalies.Set(proto.BadChunkEnd)
			return false
		}
		s.state = stateChunkSize
		return true
	}
	text := trimEOL(line)
	size, digits := int64(0), 0
	for digits < len(text) {
		v := hexValue[text[digits]]
		if v < 0 {
			break
		}
		if size >= 1<<55 {
			m.Anomalies.Set(proto.BadChunkSize)
			return false
		}
		size = size<<4 | int64(v)
		digits++
	}
	rest := bytes.TrimLeft(text[digits:], " \t")
	if digits == 0 || len(rest) > 0 && rest[0] != ';' {
		m.Anomalies.Set(proto.BadChunkSize)
		return false
	}
	if len(rest) > 0 {
		m.Anomalies.Set(proto.ChunkExtension)
	}
	if len(line)-len(text) == 1 {
		m.Anomalies.Set(proto.LineEndLF)
	}
	if size == 0 {
		s.state = stateTrailer
		m.Raw, m.Fields = nil, m.Fields[:0] // of the head; the trailers come now
		p.release(s)
		return true
	}
	m.Chunks++
	s.remain = size
	s.state = stateChunkData
	return true
}

// trailerLine looks whether the last collected line is the empty one that ends the message.
func (p *Parser) trailerLine(s *side) {
	b := s.buf
	begin := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	if len(trimEOL(b[begin:])) > 0 {
		return
	}
	m := &s.msg
	m.Raw, m.Fields = b[:begin], m.Fields[:0]
	if begin > 0 {
		p.parseTrailers(m)
	}
	p.end(s, proto.Whole)
}

// trimEOL removes the line end.
func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

var hexValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range 10 {
		t['0'+i] = int8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = int8(10+i), int8(10+i)
	}
	return t
}()
