package preview

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// The prefix of a message of gRPC: its flags, and its length as a big-endian number.
const (
	prefixSize     = 5
	flagCompressed = 0x01
	flagTrailers   = 0x80
)

// grpc lists the messages of gRPC and gRPC-Web.
func (w *work) grpc() { w.messages(w.b.Bytes) }

// grpcText lists those of gRPC-Web in its text form: base64 in pieces, each with a padding of its own.
func (w *work) grpcText() {
	text := bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, w.b.Bytes)
	decoded := make([]byte, 0, base64.StdEncoding.DecodedLen(len(text)))
	for len(text) >= 4 {
		n, err := base64.StdEncoding.Decode(decoded[len(decoded):len(decoded)+3], text[:4])
		if err != nil {
			w.note("from byte %d on it isn't base64", len(w.b.Bytes)-len(text))
			break
		}
		decoded, text = decoded[:len(decoded)+n], text[4:]
	}
	w.messages(decoded)
}

// messages lists messages, each behind a prefix.
func (w *work) messages(b []byte) {
	if w.o.Redact == nil {
		w.binary()
		return
	}
	mediaType := string(exchange.MediaType(w.m))
	_, format, _ := strings.Cut(mediaType, "+")
	var descriptor protoreflect.MessageDescriptor
	if format == "" || format == "proto" {
		input, output := w.method(w.x.GRPCMethod())
		if descriptor = input; w.response {
			descriptor = output
		}
		if descriptor == nil && len(b) > prefixSize {
			w.note("without a descriptor of the method, fields have numbers: see --proto")
		}
	}
	number := 0
	for len(b) > 0 && !w.full() {
		if len(b) < prefixSize {
			w.note("ends within the prefix of a message")
			return
		}
		flags, size := b[0], int64(binary.BigEndian.Uint32(b[1:]))
		if flags&^(flagCompressed|flagTrailers) != 0 {
			w.note("the last %s are not framed as messages", bytesOf(int64(len(b))))
			return
		}
		payload := b[prefixSize:]
		payload = payload[:min(int64(len(payload)), size)]
		b = b[prefixSize+len(payload):]
		if flags&flagTrailers != 0 {
			w.line([]byte("trailers: " + bytesOf(size))) // shown as trailer fields, too
			continue
		}
		number++
		w.message(number, format, descriptor, payload, size, flags&flagCompressed != 0)
	}
	if len(b) > 0 {
		w.note("the last %s are left out", bytesOf(int64(len(b))))
	}
}

// message shows one message.
func (w *work) message(number int, format string, descriptor protoreflect.MessageDescriptor, b []byte, size int64, compressed bool) {
	head := "message " + strconv.Itoa(number)
	if descriptor != nil {
		head += ", " + string(descriptor.FullName())
	}
	head += ": " + bytesOf(size)
	cut := int64(len(b)) < size
	if cut {
		head += ", first " + bytesOf(int64(len(b))) + " kept"
	}
	if compressed {
		coding := strings.TrimSpace(strings.ToLower(string(w.m.Field("grpc-encoding"))))
		inflated, limited, ok := w.inflate(coding, b)
		if coding == "" {
			coding = "an unknown coding"
		}
		head += ", in " + coding
		if !ok {
			w.line([]byte(head + ", not decoded"))
			return
		}
		cut = cut || limited
		head += ", inflated to " + bytesOf(int64(len(inflated)))
		if limited {
			head += " and more"
		}
		b = inflated
	}
	w.line([]byte(head))
	text := isText(b, false, cut)
	start := bytes.TrimLeft(b, " \t\r\n")
	switch {
	case len(b) == 0:
	case (format == "" || format == "proto") && (descriptor != nil || isMessage(b) || cut && !text):
		w.layout("  ", w.o.Redact("application/json", w.decode(b, descriptor)))
	case text && (bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("["))):
		w.layout("  ", w.o.Redact("application/json", bytes.Clone(b)))
	case text:
		w.text("  ", w.o.Redact("text/plain", bytes.Clone(b)))
	default:
		w.line([]byte("  neither protobuf nor text"))
	}
}

// inflate undoes the compression of a message, as far as the limit lets it.
func (w *work) inflate(coding string, b []byte) (out []byte, limited, ok bool) {
	limit := MaxInflated - w.inflated
	if limit <= 0 {
		return nil, true, false
	}
	if coding == "snappy" {
		out, limited, ok = unsnappy(b, limit)
	} else {
		var r body.Result
		out, r = w.decoder.Decode([]byte(coding), b, limit)
		limited, ok = r.Limited || !r.Complete, coding != "" && r.Undecoded == "" && len(out) > 0
	}
	w.inflated += len(out)
	return out, limited, ok
}

// unsnappy undoes snappy, in its framing format or as a block.
func unsnappy(b []byte, limit int) (out []byte, limited, ok bool) {
	if bytes.HasPrefix(b, []byte("\xff\x06\x00\x00sNaPpY")) {
		out, err := io.ReadAll(io.LimitReader(snappy.NewReader(bytes.NewReader(b)), int64(limit)))
		return out, err != nil || len(out) == limit, len(out) > 0
	}
	if n, err := snappy.DecodedLen(b); err != nil || n > limit {
		return nil, true, false
	}
	out, err := snappy.Decode(nil, b)
	return out, false, err == nil
}

// protobuf shows a body that is one message of protobuf. Its media type may name it.
func (w *work) protobuf() {
	if w.o.Redact == nil {
		w.binary()
		return
	}
	var descriptor protoreflect.MessageDescriptor
	_, params, _ := mime.ParseMediaType(string(w.m.Field("content-type")))
	for _, name := range []string{"messagetype", "proto"} {
		if descriptor == nil && params[name] != "" {
			descriptor = w.messageType(params[name])
		}
	}
	if descriptor == nil {
		if !w.Cut && !isMessage(w.b.Bytes) {
			w.other()
			return
		}
		w.note("without a descriptor of the message, fields have numbers: see --proto")
	}
	w.layout("", w.o.Redact("application/json", w.decode(w.b.Bytes, descriptor)))
}
