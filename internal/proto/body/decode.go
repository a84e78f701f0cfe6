// Package body takes message bodies apart: it undoes content codings (RFC 9110 §8.4) and describes
// the parts of multipart bodies (RFC 2046 §5.1).
//
// Bodies are hostile, and those of a capture are often only the beginning of what was sent: whatever
// comes before the fault is decoded, and the Result says what the fault was.
package body

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// MaxLayers is how many content codings are undone, one inside the other. Servers that are in order
// apply one; more than that are a mistake, or an attack by nested compression.
const MaxLayers = 4

// MaxOutput is the largest max of Decode that is honoured, in bytes.
const MaxOutput = 1 << 30

// keepBuffer is the largest buffer, in bytes, that a Decoder keeps from one body to the next.
const keepBuffer = 1 << 20

// layerSlack is how many bytes the output of an inner layer may exceed max: data that doesn't
// compress grows by the overhead of its coding.
const layerSlack = 4 << 10

// maxName is how many bytes of the name of an unknown coding are kept.
const maxName = 32

// Result says how the decoding of a body went. Several may hold at once: a gzip body with a wrong
// checksum is Complete and Bad.
type Result struct {
	// Decoded is the length of the body after decoding, in bytes; -1 when it isn't known, because
	// the body isn't Complete or couldn't be decoded.
	Decoded int64
	// Complete: the end of the coded data was reached. When it is false, and nothing else is set,
	// the body given was only the beginning of one.
	Complete bool
	// Limited: decoding stopped at a limit: max, MaxLayers, or the window of the coding.
	Limited bool
	// Bad: the data isn't what the coding says, or its checksum is wrong.
	Bad bool
	// Trailing: bytes that belong to no coding follow the coded data. They were left out.
	Trailing bool
	// Undecoded names the coding at which decoding stopped because it isn't supported, or because
	// the data has nothing of it. The output is then still so coded.
	Undecoded string
}

// Decoder undoes content codings. It keeps the state of its decompressors, and its buffers, from one
// body to the next. The zero value is ready. A Decoder isn't safe for concurrent use, and starts no
// goroutine.
type Decoder struct {
	in  bytes.Reader
	buf [2][]byte

	flate  io.ReadCloser
	brotli *brotli.Reader
	zstd   *zstd.Decoder
}

// Decode undoes the content codings of a body: codings are the values of Content-Encoding, as sent,
// joined by commas; the last one was applied last and is undone first. src is the body, or the
// beginning of one: a body with a hole ends at the hole. out has max bytes at most, and is borrowed
// from the Decoder, or from src, until the next call.
func (d *Decoder) Decode(codings, src []byte, max int) (out []byte, r Result) {
	max = min(max, MaxOutput)
	layers, n, r := layersOf(codings)

	out = src
	for i, c := range layers[:n] {
		if len(out) == 0 {
			// HEAD, 304, and servers that name a coding for nothing.
			break
		}
		limit := max
		if i < n-1 {
			limit += layerSlack
		}
		decoded, s := c.undo(d, d.buf[i&1][:0], out, limit)
		d.buf[i&1] = decoded
		r.Complete = r.Complete && s.complete
		r.Limited = r.Limited || s.limited
		r.Bad = r.Bad || s.bad
		r.Trailing = r.Trailing || s.trailing
		if len(decoded) == 0 && (s.bad || s.limited && max > 0) {
			r.Undecoded = c.name
			break
		}
		out = decoded
	}
	if len(out) > max {
		out, r.Limited = out[:max], true
	}
	d.in.Reset(nil)
	for i := range d.buf {
		if cap(d.buf[i]) > keepBuffer {
			d.buf[i] = nil
		}
	}
	r.Complete = r.Complete && !r.Limited && r.Undecoded == ""
	r.Decoded = -1
	if r.Complete {
		r.Decoded = int64(len(out))
	}
	return out, r
}

// layersOf returns the n codings that are to be undone, the first one first, as the values of Content-Encoding name them. The result says
// at which one it ends, if it does.
func layersOf(codings []byte) (layers [MaxLayers]*coding, n int, r Result) {
	r = Result{Complete: true}
	for rest := codings; rest != nil && r.Undecoded == "" && !r.Limited; {
		// From the last name to the first. Empty elements of a list mean nothing (RFC 9110 §5.6.1).
		var name []byte
		if comma := bytes.LastIndexByte(rest, ','); comma >= 0 {
			rest, name = rest[:comma], rest[comma+1:]
		} else {
			rest, name = nil, rest
		}
		name = bytes.Trim(name, " \t")
		c := find(name)
		switch {
		case len(name) == 0 || c != nil && c.undo == nil:
		case c == nil:
			r.Undecoded = printName(name)
		case n == MaxLayers:
			r.Undecoded, r.Limited = printName(name), true
		default:
			layers[n] = c
			n++
		}
	}
	return layers, n, r
}

// status says how the decoding of one layer ended.
type status struct{ complete, limited, bad, trailing bool }

// coding is a content coding. undo appends what src stands for to dst, max bytes at most; nil: there
// is nothing to undo.
type coding struct {
	name string
	undo func(d *Decoder, dst, src []byte, max int) ([]byte, status)
	// open returns a reader of what src stands for, for Stream.
	open func(src *bufio.Reader) (io.Reader, error)
}

// codings are the codings of the IANA registry that servers use, and the old names that browsers
// accept for them. compress (LZW) is left out: no browser has it.
var codings = [...]coding{
	{"gzip", (*Decoder).gunzip, openGzip},
	{"x-gzip", (*Decoder).gunzip, openGzip},
	{"deflate", (*Decoder).inflate, openDeflate},
	{"x-deflate", (*Decoder).inflate, openDeflate},
	{"br", (*Decoder).unbrotli, openBrotli},
	{"zstd", (*Decoder).unzstd, openZstd},
	{"identity", nil, nil},
}

func find(name []byte) *coding {
	for i := range codings {
		if len(name) == len(codings[i].name) && strings.EqualFold(string(name), codings[i].name) {
			return &codings[i]
		}
	}
	return nil
}

// printName makes a name that the sender chose fit to be shown.
func printName(b []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r > '~':
			return '?'
		case 'A' <= r && r <= 'Z':
			return r | 0x20
		}
		return r
	}, string(b[:min(len(b), maxName)]))
}

// maxIdle is how often in a row a decompressor may return nothing and no error.
const maxIdle = 100

// drain appends what r gives to dst until an error, or until dst holds more than max bytes; these
// are cut to max and limited is set.
func drain(dst []byte, r io.Reader, max int) (out []byte, limited bool, err error) {
	for idle := 0; idle < maxIdle; idle++ {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(len(dst)+4096, max-len(dst)+1))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > max {
			return dst[:max], true, nil
		}
		if err != nil {
			return dst, false, err
		}
		if n > 0 {
			idle = -1
		}
	}
	return dst, false, errIdle
}
