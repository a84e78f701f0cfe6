package keeper

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
)

// Messages keep their bounds on the socket, and are sent whole. Numbers are little-endian.
//
//	hello    greeting, and what is agreed        worker to keeper, once, before the keeper runs
//	request  id (4), length of the name (1), name, request
//	reply    id (4), status (1), files (1), errno (2), reply or text of the error
//
// A reply with id 0, which no request has, says that the keeper is ready.
const (
	greeting    = "culprit keeper\n"
	requestHead = 5
	replyHead   = 8
	readyID     = 0
)

// What a reply's status says.
const (
	statusDone   = 0
	statusFailed = 1
)

var errMessage = errors.New("a message between the two processes was malformed")

type request struct {
	id      uint32
	service string
	payload []byte
}

func (r *request) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.id)
	b = append(b, byte(len(r.service)))
	b = append(b, r.service...)
	return append(b, r.payload...)
}

// parse takes a request apart. The payload is b's.
func (r *request) parse(b []byte) error {
	if len(b) < requestHead {
		return errMessage
	}
	n := int(b[4])
	if n == 0 || n > maxName || len(b)-requestHead < n {
		return errMessage
	}
	r.id = binary.LittleEndian.Uint32(b)
	r.service = string(b[requestHead:][:n])
	r.payload = b[requestHead+n:]
	if r.id == readyID || len(r.payload) > MaxRequest {
		return errMessage
	}
	return nil
}

type reply struct {
	id      uint32
	files   int
	err     *Error
	payload []byte
}

func (r *reply) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.id)
	if r.err == nil {
		b = append(b, statusDone, byte(r.files), 0, 0)
		return append(b, r.payload...)
	}
	b = append(b, statusFailed, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(r.err.Errno)) // errnos are below 4096
	text := r.err.Text
	if len(text) > MaxReply {
		text = strings.ToValidUTF8(text[:MaxReply], "")
	}
	return append(b, text...)
}

// parse takes a reply apart. The payload is b's.
func (r *reply) parse(b []byte) error {
	if len(b) < replyHead {
		return errMessage
	}
	*r = reply{id: binary.LittleEndian.Uint32(b), files: int(b[5])}
	errno := syscall.Errno(binary.LittleEndian.Uint16(b[6:]))
	switch rest := b[replyHead:]; {
	case b[4] == statusDone && r.files <= MaxFiles && errno == 0:
		r.payload = rest
	case b[4] == statusFailed && r.files == 0:
		r.err = &Error{Text: string(rest), Errno: errno}
	default:
		return errMessage
	}
	return nil
}
