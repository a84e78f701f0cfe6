package objects

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// lineBuffer is how much of a line is looked at to tell whether it separates parts, in bytes.
const lineBuffer = 64 << 10

// extract makes files of what is within a body, where that is wanted: the parts of a multipart body, the messages of gRPC. name is the body's
// file; open opens it.
func (k *Keeper) extract(b *carried, r *result, name string, open func() (io.Reader, error)) error {
	if b.m.Kind == proto.Event || !k.options.Parts && !k.options.Messages {
		return nil
	}
	number := len(b.base) + len(bodyMark)
	x := &extraction{keeper: k, of: b, whole: r.complete, stem: name[:number+strings.IndexByte(name[number:], '.')]}
	var split func(src *bufio.Reader) error
	if d := body.Delimiter(b.m.Type); d != nil && k.options.Parts {
		x.kind, split = "-part-", func(src *bufio.Reader) error { return x.parts(src, d) }
	} else if k.options.Messages && framed(b.m.Type) {
		x.kind, split = "-message-", x.messages
	} else {
		return nil
	}
	src, err := open()
	if err != nil {
		return err
	}
	if err := split(bufio.NewReaderSize(src, lineBuffer)); err != nil {
		return err
	}
	r.notes = append(r.notes, x.notes...)
	return nil
}

// framedTypes are the media types of bodies that are messages of gRPC, each behind a prefix. A +suffix may follow.
var framedTypes = [...]string{"application/grpc", "application/grpc-web"}

func framed(mediaType string) bool {
	t, _, _ := strings.Cut(mediaType, ";")
	t, _, _ = strings.Cut(t, "+")
	t = strings.TrimSpace(t)
	for _, f := range framedTypes {
		if strings.EqualFold(t, f) {
			return true
		}
	}
	return false
}

// extraction makes files of what is within a body. Their names are stem, kind, a number and an extension.
type extraction struct {
	keeper     *Keeper
	of         *carried
	stem, kind string
	whole      bool
	n          int
	notes      []note
	// The piece at hand: what of it isn't written, and its file, once it has one.
	buf []byte
	out *output
	// mediaType and hint tell its extension.
	mediaType, hint string
	// unlisted: there are too many.
	unlisted bool
}

// next begins a piece.
func (x *extraction) next(mediaType, hint string) {
	x.n++
	x.buf, x.out, x.mediaType, x.hint = x.buf[:0], nil, mediaType, hint
	k := x.keeper
	if x.unlisted = x.n > k.maxParts || k.stats.Files >= uint64(k.maxFiles); x.unlisted {
		k.stats.Unlisted++
	}
}

// Write takes bytes of the piece.
func (x *extraction) Write(p []byte) (int, error) {
	if x.unlisted {
		return len(p), nil
	}
	if len(x.buf)+len(p) > x.keeper.spillAt {
		if x.out == nil {
			out, err := x.keeper.create(x.name(x.buf))
			if err != nil {
				return 0, err
			}
			x.out = out
		}
		if err := x.keeper.write(x.out, &x.buf); err != nil {
			return 0, err
		}
	}
	if x.out != nil && len(p) >= x.keeper.spillAt {
		return len(p), x.keeper.put(x.out, p)
	}
	x.buf = append(x.buf, p...)
	return len(p), nil
}

func (x *extraction) name(first []byte) string {
	e := x.hint
	if e == "" {
		e = Extension(x.mediaType, first)
	}
	s := append(x.keeper.name[:0], x.stem...)
	s = append(s, x.kind...)
	if x.n < 10 {
		s = append(s, '0')
	}
	s = fmt.Appendf(s, "%d.%s", x.n, e)
	x.keeper.name = s
	return string(s)
}

// done ends the piece. One without a byte has no file.
func (x *extraction) done(complete bool) error {
	if x.unlisted || x.out == nil && len(x.buf) == 0 {
		return nil
	}
	k, r := x.keeper, result{complete: complete}
	if x.out == nil {
		r.name, r.size = x.name(x.buf), int64(len(x.buf))
		if !complete {
			r.name += IncompleteSuffix
		}
		var err error
		if r.digest, err = k.save(r.name, x.buf); err != nil {
			return err
		}
	} else {
		if err := k.write(x.out, &x.buf); err != nil {
			return err
		}
		if err := k.seal(x.out, &r); err != nil {
			return err
		}
		x.out = nil
	}
	return k.done(x.of, &r, true)
}

// note notes that something is wrong with the body.
func (x *extraction) note(why string) { x.notes = append(x.notes, note{0, 0, why}) }

// parts takes a multipart body apart (RFC 2046 §5.1), in lines: what stands before a delimiter belongs to it, with the line end before that.
// It finds the parts that body.Multipart finds, however long they are.
func (x *extraction) parts(src *bufio.Reader, delimiter []byte) error {
	const (
		preamble = iota
		head
		content
	)
	at, start := preamble, true
	var header, end []byte // end is a line end that belongs to the content, unless a delimiter follows
	for {
		line, err := src.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		whole := err == nil
		if over, last := separates(line, delimiter, whole || errors.Is(err, io.EOF)); start && over {
			if at == content {
				if err := x.done(true); err != nil {
					return err
				}
			}
			if last {
				return nil
			}
			at, header, end = head, header[:0], nil
		} else {
			switch at {
			case head:
				if len(header) <= body.MaxPartHead {
					header = append(header, line...)
				}
				if start && whole && len(bytes.TrimRight(line, "\r\n")) == 0 && len(line) <= 2 {
					at, end = content, nil
					p := body.Part{}
					if len(header) <= body.MaxPartHead {
						p = body.DescribePart(header)
					}
					x.next(p.Type, hint(p.Filename))
				}
			case content:
				if _, err := x.Write(end); err != nil {
					return err
				}
				text := line
				if whole {
					text = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
				}
				if _, err := x.Write(text); err != nil {
					return err
				}
				end = append(end[:0], line[len(text):]...)
			}
		}
		start = whole
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if at != content {
		return nil
	}
	if _, err := x.Write(end); err != nil {
		return err
	}
	x.note("the multipart body has no end: the last part may be incomplete")
	return x.done(false)
}

// separates reports whether a line is a delimiter, and the last one. whole: the line isn't only the beginning of one.
func separates(line, delimiter []byte, whole bool) (ok, last bool) {
	rest, ok := bytes.CutPrefix(line, delimiter)
	if !ok {
		return false, false
	}
	if bytes.HasPrefix(rest, []byte("--")) {
		return true, true
	}
	rest = bytes.TrimLeft(rest, " \t\r")
	return whole && (len(rest) == 0 || rest[0] == '\n'), false
}

// The prefix of a message of gRPC: flags, and its length as a big-endian number.
const (
	prefixSize     = 5
	flagCompressed = 0x01
	flagTrailers   = 0x80
)

// messages takes a body of gRPC apart, and decompresses its messages.
func (x *extraction) messages(src *bufio.Reader) error {
	var prefix [prefixSize]byte
	for {
		switch _, err := io.ReadFull(src, prefix[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			x.note("the body ends within the prefix of a message")
			return nil
		case err != nil:
			return err
		}
		flags, size := prefix[0], int64(binary.BigEndian.Uint32(prefix[1:]))
		if flags&flagTrailers != 0 {
			return nil // of gRPC-Web: they are no message
		}
		if flags&^flagCompressed != 0 {
			x.note("the body isn't made of messages of gRPC from some byte on")
			return nil
		}
		if ended, err := x.message(src, flags&flagCompressed != 0, size); err != nil || ended {
			return err
		}
	}
}

// message takes a message. It reports whether the body ended with it, or within.
func (x *extraction) message(src *bufio.Reader, compressed bool, size int64) (ended bool, err error) {
	in := &io.LimitedReader{R: src, N: size}
	coding := strings.TrimSpace(x.of.m.MessageCoding)
	x.next("", "bin")
	complete := true
	switch {
	case !compressed || coding == "" || strings.EqualFold(coding, "identity"):
		_, err = io.Copy(x, in)
	case !body.Known([]byte(coding)):
		x.hint = "bin." + codedExtension(coding)
		_, err = io.Copy(x, in)
	default:
		var d body.Result
		d, err = body.Stream(x, []byte(coding), in, x.keeper.maxDecoded)
		complete = d.Complete && !d.Bad
	}
	if err != nil {
		return true, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return true, err
	}
	if in.N > 0 {
		x.note("the body ends within a message")
		complete = false
	}
	return in.N > 0, x.done(complete)
}
