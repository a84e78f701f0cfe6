package handshake

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// message is a handshake message with its type.
type message struct {
	kind byte
	body []byte
}

// plain returns the handshake messages in the records that a side's stream begins with, up to the first record that
// is encrypted or something else.
func plain(stream []byte) (messages []message) {
	const handshakeRecord = 22
	var b []byte
	for len(stream) >= 5 && stream[0] == handshakeRecord && stream[1] == 3 {
		n := int(binary.BigEndian.Uint16(stream[3:]))
		if len(stream) < 5+n {
			break
		}
		b = append(b, stream[5:5+n]...)
		stream = stream[5+n:]
	}
	for len(b) >= 4 {
		n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if len(b) < 4+n {
			break
		}
		messages = append(messages, message{b[0], b[4 : 4+n]})
		b = b[4+n:]
	}
	return messages
}

// first returns the body of the first message of a type.
func first(t *testing.T, messages []message, kind byte) []byte {
	t.Helper()
	for _, m := range messages {
		if m.kind == kind {
			return m.body
		}
	}
	t.Fatalf("no message of type %d", kind)
	return nil
}

// extension is an extension to build hellos of.
type extension struct {
	id   uint16
	data []byte
}

// clientHello builds a ClientHello.
func clientHello(version uint16, suites []uint16, extensions ...extension) []byte {
	var b cryptobyte.Builder
	b.AddUint16(version)
	b.AddBytes(bytes.Repeat([]byte{7}, 32))
	b.AddUint8(0)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { add16(b, suites) })
	b.AddUint16(0x0100)
	if extensions != nil {
		addExtensions(&b, extensions)
	}
	return b.BytesOrPanic()
}

// serverHello builds a ServerHello.
func serverHello(version uint16, random [32]byte, suite uint16, extensions ...extension) []byte {
	var b cryptobyte.Builder
	b.AddUint16(version)
	b.AddBytes(random[:])
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("session")) })
	b.AddUint16(suite)
	b.AddUint8(0)
	if extensions != nil {
		addExtensions(&b, extensions)
	}
	return b.BytesOrPanic()
}

func addExtensions(b *cryptobyte.Builder, extensions []extension) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, e := range extensions {
			b.AddUint16(e.id)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.data) })
		}
	})
}

func add16(b *cryptobyte.Builder, list []uint16) {
	for _, v := range list {
		b.AddUint16(v)
	}
}

// list16 is the content of an extension that is a list of numbers.
func list16(list ...uint16) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { add16(b, list) })
	return b.BytesOrPanic()
}

// list8 is the same with a length of one byte.
func list8(list ...uint16) []byte { return list16(list...)[1:] }

// protocols is the content of an ALPN extension.
func protocols(names ...string) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, name := range names {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		}
	})
	return b.BytesOrPanic()
}

// hostName is the content of a server_name extension.
func hostName(name string) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(0)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
	})
	return b.BytesOrPanic()
}
