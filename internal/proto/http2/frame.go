package http2

import "encoding/binary"

// frameHeader is the length of a frame's header (RFC 9113 §4.1).
const frameHeader = 9

// kind is the type of a frame.
type kind uint8

// The types of frames (RFC 9113 §6, and those of extensions that have a rule).
const (
	data           kind = 0
	headers        kind = 1
	priority       kind = 2
	rstStream      kind = 3
	settings       kind = 4
	pushPromise    kind = 5
	ping           kind = 6
	goAway         kind = 7
	windowUpdate   kind = 8
	continuation   kind = 9
	altSvc         kind = 10
	origin         kind = 12
	priorityUpdate kind = 16
)

// The flags of frames. ack and endStream share a bit.
const (
	endStream   = 0x01
	ack         = 0x01
	endHeaders  = 0x04
	padded      = 0x08
	hasPriority = 0x20
)

// frame is the header of a frame.
type frame struct {
	length   int
	kind     kind
	flags    uint8
	reserved bool
	stream   uint32
}

// parseFrame reads the header that b begins with.
func parseFrame(b []byte) frame {
	_ = b[frameHeader-1]
	id := binary.BigEndian.Uint32(b[5:])
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   kind(b[3]), flags: b[4], reserved: id>>31 != 0, stream: id & maxStream,
	}
}

const maxStream = 1<<31 - 1

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// on says on which streams a kind of frame may be.
type on uint8

const (
	onStream on = iota
	onConnection
	onEither
)

// rule is what the specification says of the header of a kind of frame.
type rule struct {
	// defined: the kind has a rule.
	defined bool
	// flags are those that have a meaning.
	flags uint8
	on    on
	// min is the shortest payload; the length is exactly that when exact is set, and a multiple of step where there is one.
	min   int
	exact bool
	step  int
	// keep is how many bytes of the payload are looked at; the rest is skipped. Header blocks have a limit of their own.
	keep int
}

// maxSettings is how many bytes of a SETTINGS frame are looked at.
const maxSettings = 6 * 64

// rules are the rules by kind. What isn't here is an extension, and skipped.
var rules = [priorityUpdate + 1]rule{
	data:           {defined: true, flags: endStream | padded},
	headers:        {defined: true, flags: endStream | endHeaders | padded | hasPriority},
	priority:       {defined: true, min: 5, exact: true},
	rstStream:      {defined: true, min: 4, exact: true, keep: 4},
	settings:       {defined: true, flags: ack, on: onConnection, step: 6, keep: maxSettings},
	pushPromise:    {defined: true, flags: endHeaders | padded, min: 4},
	ping:           {defined: true, flags: ack, on: onConnection, min: 8, exact: true},
	goAway:         {defined: true, on: onConnection, min: 8, keep: 8},
	windowUpdate:   {defined: true, on: onEither, min: 4, exact: true, keep: 4},
	continuation:   {defined: true, flags: endHeaders},
	altSvc:         {defined: true, on: onEither, min: 2},
	origin:         {defined: true, on: onConnection},
	priorityUpdate: {defined: true, on: onConnection, min: 4},
}

// allowed reports whether the length of a frame, and the stream that it is on, are as its kind has them.
func (f *frame) allowed() bool {
	if f.kind >= kind(len(rules)) || !rules[f.kind].defined {
		return true
	}
	r := &rules[f.kind]
	switch {
	case f.length < r.min, r.exact && f.length != r.min, r.step > 0 && f.length%r.step != 0,
		r.on == onStream && f.stream == 0, r.on == onConnection && f.stream != 0:
		return false
	}
	return true
}

// errorNames are the names of error codes (RFC 9113 §7).
var errorNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// errorName names an error code.
func errorName(code uint32) string {
	if code < uint32(len(errorNames)) {
		return errorNames[code]
	}
	return "UNKNOWN"
}
