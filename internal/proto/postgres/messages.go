package postgres

import (
	"bytes"
	"encoding/binary"
)

var order = binary.BigEndian

// kind describes a type of message: the shortest and the longest body that it can have.
type kind struct {
	known    bool
	min, max int64
	// answers: it may be the first of an answer.
	answers bool
	// answer is the type of what answers it, unless that is an error, 0 when there may be several.
	answer byte
}

const (
	// maxBody is the longest message that a server takes, or sends.
	maxBody = 0x3fffffff - 4
	// maxSmall is the longest body of the types that PostgreSQL itself bounds.
	maxSmall = 30000
)

// clientKinds and serverKinds are the messages of each side, by type.
var (
	clientKinds = [256]kind{
		'B': {known: true, min: 8, max: maxBody, answer: '2'},  // Bind
		'C': {known: true, min: 2, max: maxSmall, answer: '3'}, // Close
		'D': {known: true, min: 2, max: maxSmall},              // Describe
		'E': {known: true, min: 5, max: maxSmall},              // Execute
		'F': {known: true, min: 10, max: maxBody},              // FunctionCall
		'H': {known: true},                                     // Flush
		'P': {known: true, min: 4, max: maxBody, answer: '1'},  // Parse
		'Q': {known: true, min: 1, max: maxBody},               // Query
		'S': {known: true},                                     // Sync
		'X': {known: true},                                     // Terminate
		'c': {known: true},                                     // CopyDone
		'd': {known: true, max: maxBody},                       // CopyData
		'f': {known: true, min: 1, max: maxSmall},              // CopyFail
		'p': {known: true, max: 65535},                         // PasswordMessage, SASL and GSS responses
	}
	serverKinds = [256]kind{
		'1': {known: true, answers: true},                           // ParseComplete
		'2': {known: true, answers: true},                           // BindComplete
		'3': {known: true, answers: true},                           // CloseComplete
		'A': {known: true, min: 6, max: maxSmall},                   // NotificationResponse
		'C': {known: true, min: 1, max: maxSmall, answers: true},    // CommandComplete
		'D': {known: true, min: 2, max: maxBody, answers: true},     // DataRow
		'E': {known: true, min: 1, max: maxBody, answers: true},     // ErrorResponse
		'G': {known: true, min: 3, max: maxSmall, answers: true},    // CopyInResponse
		'H': {known: true, min: 3, max: maxSmall, answers: true},    // CopyOutResponse
		'I': {known: true, answers: true},                           // EmptyQueryResponse
		'K': {known: true, min: 8, max: 260},                        // BackendKeyData
		'N': {known: true, min: 1, max: maxBody},                    // NoticeResponse
		'R': {known: true, min: 4, max: maxSmall, answers: true},    // Authentication
		'S': {known: true, min: 2, max: maxSmall},                   // ParameterStatus
		'T': {known: true, min: 2, max: maxBody, answers: true},     // RowDescription
		'V': {known: true, min: 4, max: maxBody, answers: true},     // FunctionCallResponse
		'W': {known: true, min: 3, max: maxSmall, answers: true},    // CopyBothResponse
		'Z': {known: true, min: 1, max: 1, answers: true},           // ReadyForQuery
		'c': {known: true},                                          // CopyDone
		'd': {known: true, max: maxBody},                            // CopyData
		'n': {known: true, answers: true},                           // NoData
		's': {known: true, answers: true},                           // PortalSuspended
		't': {known: true, min: 2, max: 4*65535 + 2, answers: true}, // ParameterDescription
		'v': {known: true, min: 8, max: maxSmall, answers: true},    // NegotiateProtocolVersion
	}
)

// sane reports whether a side may send a message of a type with so long a body.
func sane(client bool, typ byte, length int64) bool {
	k := &serverKinds[typ]
	if client {
		k = &clientKinds[typ]
	}
	return k.known && length >= k.min && length <= k.max
}

// word cuts a text that ends with a zero byte off b. ok: there was one.
func word(b []byte) (text, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// number16 cuts a 16-bit number off b; -1 when there is none.
func number16(b []byte) (n int, rest []byte) {
	if len(b) < 2 {
		return -1, nil
	}
	return int(order.Uint16(b)), b[2:]
}

// whole reports whether b is the whole body of a message of a side, as far as it can be checked: what a text that happens to look
// like a header isn't.
func whole(client bool, typ byte, b []byte) bool {
	switch {
	case client && typ == 'Q':
		return bytes.IndexByte(b, 0) == len(b)-1
	case client && typ == 'P':
		return wholeParse(b)
	case client && typ == 'B':
		return wholeBind(b)
	case client && (typ == 'D' || typ == 'C'):
		return (b[0] == 'S' || b[0] == 'P') && bytes.IndexByte(b, 0) == len(b)-1
	case client && typ == 'E':
		return bytes.IndexByte(b, 0) == len(b)-5
	case client:
		return true
	case typ == 'T':
		return wholeColumns(b)
	case typ == 'D':
		return wholeRow(b)
	case typ == 'C':
		return bytes.IndexByte(b, 0) == len(b)-1 && 'A' <= b[0] && b[0] <= 'Z'
	case typ == 'E' || typ == 'N':
		return b[len(b)-1] == 0
	case typ == 'Z':
		return state(b[0]) != ""
	case typ == 't':
		return len(b) == 2+4*int(order.Uint16(b))
	}
	return true
}

func wholeParse(b []byte) bool {
	_, b, _ = word(b)
	_, b, ok := word(b)
	n, b := number16(b)
	return ok && n >= 0 && len(b) == 4*n
}

func wholeBind(b []byte) bool {
	_, b, _ = word(b)
	_, b, ok := word(b)
	n, b := number16(b)
	if !ok || n < 0 || len(b) < 2*n {
		return false
	}
	n, b = number16(b[2*n:])
	for ; n > 0; n-- {
		if _, b, _, ok = value(b); !ok {
			return false
		}
	}
	if n < 0 {
		return false
	}
	n, b = number16(b)
	return n >= 0 && len(b) == 2*n
}

func wholeRow(b []byte) bool {
	n, b := number16(b)
	ok := true
	for ; n > 0 && ok; n-- {
		_, b, _, ok = value(b)
	}
	return ok && n == 0 && len(b) == 0
}

func wholeColumns(b []byte) bool {
	const fixed = 18
	n, b := number16(b)
	for ; n > 0; n-- {
		_, rest, ok := word(b)
		if !ok || len(rest) < fixed || order.Uint16(rest[fixed-2:]) > 1 {
			return false
		}
		b = rest[fixed:]
	}
	return len(b) == 0
}

// value cuts a value off b: its length and its bytes. null: it is NULL. ok: all of it was there.
func value(b []byte) (v, rest []byte, null, ok bool) {
	if len(b) < 4 {
		return nil, nil, false, false
	}
	n := int32(order.Uint32(b))
	b = b[4:]
	switch {
	case n == -1:
		return nil, b, true, true
	case n < 0:
		return nil, nil, false, false
	case int(n) > len(b):
		return b, nil, false, false
	}
	return b[:n], b[n:], false, true
}

// state names the state of the transaction, empty when there is no such.
func state(c byte) string {
	switch c {
	case 'I':
		return "idle"
	case 'T':
		return "open"
	case 'E':
		return "failed"
	}
	return ""
}
