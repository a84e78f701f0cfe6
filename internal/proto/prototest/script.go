package prototest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

// Step is one thing that happens on a connection, in one direction: a segment, a gap, or the end.
type Step struct {
	Dir proto.Direction
	// Data are the bytes of a segment.
	Data []byte
	// Gap is how many bytes weren't captured, 0 when the step isn't a gap.
	Gap int64
	// Close is why the direction ended, proto.Open when the step doesn't end it.
	Close proto.CloseReason
}

// maxGap is the longest gap of a script, in bytes.
const maxGap = 1 << 20

// Parse reads a script, one step a line:
//
//	> GET / HTTP/1.1\r\n\r\n    a segment of the originator, with the escapes of Go
//	< HTTP/1.1 200 OK\r\n       a segment of the responder
//	>repeat 1000 x              a segment of a thousand x
//	>gap 10                     ten bytes that weren't captured
//	<close fin                  the end of a direction, with the name of a proto.CloseReason
//
// Space before a step and empty lines mean nothing, and so do lines that begin with #.
func Parse(script string) ([]Step, error) {
	var steps []Step
	number := 0
	for line := range strings.Lines(script) {
		number++
		line = strings.TrimLeft(strings.TrimRight(line, "\n"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", number, line, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func parseStep(line string) (s Step, err error) {
	switch line[0] {
	case '>':
		s.Dir = proto.Originator
	case '<':
		s.Dir = proto.Responder
	default:
		return s, fmt.Errorf("a step begins with > or <")
	}
	word, text, _ := strings.Cut(line[1:], " ")
	switch word {
	case "":
		s.Data, err = unquote(text)
	case "repeat":
		count, what, _ := strings.Cut(text, " ")
		var n int
		if n, err = strconv.Atoi(count); err == nil {
			s.Data, err = unquote(what)
			s.Data = bytes.Repeat(s.Data, max(n, 0))
		}
	case "gap":
		s.Gap, err = strconv.ParseInt(text, 10, 64)
		if err == nil && (s.Gap <= 0 || s.Gap > maxGap) {
			err = fmt.Errorf("a gap has 1 to %d bytes", maxGap)
		}
	case "close":
		for why := proto.Finished; why <= proto.CaptureEnded; why++ {
			if why.String() == text {
				s.Close = why
				return s, nil
			}
		}
		err = fmt.Errorf("no such reason")
	default:
		err = fmt.Errorf("a space, repeat, gap or close follows the direction")
	}
	if err == nil && s.Gap == 0 && len(s.Data) == 0 {
		err = fmt.Errorf("no bytes")
	}
	return s, err
}

func unquote(text string) ([]byte, error) {
	var b []byte
	for text != "" {
		r, multibyte, rest, err := strconv.UnquoteChar(text, 0)
		if err != nil {
			return nil, fmt.Errorf("bad escape at %q", text)
		}
		if text = rest; multibyte {
			b = append(b, string(r)...)
		} else {
			b = append(b, byte(r))
		}
	}
	return b, nil
}

// join makes one segment of neighbouring segments of one direction.
func join(steps []Step) []Step {
	var out []Step
	for _, s := range steps {
		if n := len(out); n > 0 && s.isData() && out[n-1].isData() && out[n-1].Dir == s.Dir {
			out[n-1].Data = append(out[n-1].Data[:len(out[n-1].Data):len(out[n-1].Data)], s.Data...)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (s *Step) isData() bool { return s.Gap == 0 && s.Close == proto.Open }

// pieces cuts each segment into segments of n bytes at most.
func pieces(steps []Step, n int) []Step {
	var out []Step
	for _, s := range steps {
		for s.isData() && len(s.Data) > n {
			out = append(out, Step{Dir: s.Dir, Data: s.Data[:n]})
			s.Data = s.Data[n:]
		}
		out = append(out, s)
	}
	return out
}

// cut returns the steps before and after the i-th byte of all segments, counted in their order.
func cut(steps []Step, i int) (before, after []Step) {
	for k, s := range steps {
		if i < len(s.Data) {
			before = append(before, steps[:k]...)
			if i > 0 {
				before = append(before, Step{Dir: s.Dir, Data: s.Data[:i]})
			}
			after = append(after, Step{Dir: s.Dir, Data: s.Data[i:]})
			return before, append(after, steps[k+1:]...)
		}
		i -= len(s.Data)
	}
	return steps, nil
}

// lose makes a gap of the n bytes of its direction that begin at the i-th byte of all segments, or of
// as many as the direction has before its next gap. It says where the gap is in the half-stream, and how long.
func lose(steps []Step, i int, n int64) (out []Step, dir proto.Direction, offset, size int64) {
	before, after := cut(steps, i)
	dir = after[0].Dir
	for _, s := range before {
		if s.Dir == dir {
			offset += int64(len(s.Data)) + s.Gap
		}
	}
	out = append(out, before...)
	at := len(out)
	out = append(out, Step{Dir: dir})
	for _, s := range after {
		if s.Dir == dir && s.Gap > 0 {
			n = size
		}
		if s.Dir == dir && s.isData() {
			k := min(n-size, int64(len(s.Data)))
			s.Data = s.Data[k:]
			size += k
			if len(s.Data) == 0 {
				continue
			}
		}
		out = append(out, s)
	}
	out[at].Gap = size
	return out, dir, offset, size
}

// size returns the number of bytes in all segments.
func size(steps []Step) (n int) {
	for _, s := range steps {
		n += len(s.Data)
	}
	return n
}

func (s Step) String() string { return fmt.Sprintf("{%s %q %d %s}", s.Dir, s.Data, s.Gap, s.Close) }
