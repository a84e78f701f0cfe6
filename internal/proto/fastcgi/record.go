package fastcgi

import "github.com/culprit-http/culprit/internal/proto"

// kind is the type of a record (FastCGI §8).
type kind uint8

const (
	beginRequest kind = iota + 1
	abortRequest
	endRequest
	params
	stdin
	stdout
	stderr
	data
	getValues
	getValuesResult
	unknownType
	numKinds
)

const (
	recordHeader = 8
	// bodySize is the length of what BEGIN_REQUEST and END_REQUEST carry.
	bodySize = 8
	// version is the only one that there is.
	version = 1
)

// rules say who sends a kind of record, and the least that it carries. managing: it is of the connection, whose id is 0, and not of
// a request.
var rules = [numKinds]struct {
	by       proto.Role
	least    int
	managing bool
}{
	beginRequest:    {by: proto.Client, least: bodySize},
	abortRequest:    {by: proto.Client},
	endRequest:      {by: proto.Server, least: bodySize},
	params:          {by: proto.Client},
	stdin:           {by: proto.Client},
	stdout:          {by: proto.Server},
	stderr:          {by: proto.Server},
	data:            {by: proto.Client},
	getValues:       {by: proto.Client, managing: true},
	getValuesResult: {by: proto.Server, managing: true},
	unknownType:     {by: proto.Server, managing: true},
}

// record is the header of a record (FastCGI §3.3): version, type, id of the request, lengths of content and padding, reserved.
type record struct {
	version, reserved byte
	kind              kind
	id                uint16
	length, padding   int
}

func parseRecord(b []byte) record {
	_ = b[recordHeader-1]
	return record{
		version: b[0], kind: kind(b[1]), id: uint16(b[2])<<8 | uint16(b[3]),
		length: int(b[4])<<8 | int(b[5]), padding: int(b[6]), reserved: b[7],
	}
}

// size is the length of the whole record.
func (r *record) size() int { return recordHeader + r.length + r.padding }

// allowed reports whether one of that role may send the record.
func (r *record) allowed(by proto.Role) bool {
	return r.kind >= beginRequest && r.kind < numKinds && rules[r.kind].by == by && r.length >= rules[r.kind].least &&
		rules[r.kind].managing == (r.id == 0)
}

// plausible reports whether it is a record that is really sent.
func (r *record) plausible(by proto.Role) bool {
	return r.version == version && r.reserved == 0 && r.allowed(by) && (rules[r.kind].least == 0 || r.length == bodySize)
}

// role is what an application is asked to be (FastCGI §6).
type role uint16

const (
	responder role = iota + 1
	authorizer
	filter
)

// roleNames are the names of the roles that aren't the usual one.
var roleNames = map[role]string{authorizer: "authorizer", filter: "filter"}

// statuses are the names of the ways in which an application ends a request (FastCGI §5.5); the first, 0, is the ordinary one.
var statuses = [...]string{"REQUEST_COMPLETE", "CANT_MPX_CONN", "OVERLOADED", "UNKNOWN_ROLE"}

// statusName returns the name of a protocol status.
func statusName(n byte) string {
	if int(n) < len(statuses) {
		return statuses[n]
	}
	return "?"
}

// nameValue takes a pair of name and value (FastCGI §3.4) off b. It reports whether there was one.
func nameValue(b []byte) (name, value, rest []byte, ok bool) {
	n, b, ok := length(b)
	if !ok {
		return nil, nil, nil, false
	}
	v, b, ok := length(b)
	if !ok || n > len(b) || v > len(b)-n {
		return nil, nil, nil, false
	}
	return b[:n], b[n : n+v], b[n+v:], true
}

// length takes a length off b: a byte, or four with the highest bit set.
func length(b []byte) (n int, rest []byte, ok bool) {
	switch {
	case len(b) > 0 && b[0] < 0x80:
		return int(b[0]), b[1:], true
	case len(b) >= 4:
		return int(b[0]&0x7f)<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3]), b[4:], true
	}
	return 0, nil, false
}
