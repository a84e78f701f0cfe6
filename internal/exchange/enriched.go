package exchange

import "github.com/culprit-http/culprit/internal/proto"

// Enriched is what is known of an exchange beyond what the packets say: from tables, from the configuration and
// from look-ups. What it points to is shared by many exchanges and never changes. Pairs are indexed by
// direction.
type Enriched struct {
	// Route is the path with its variable parts replaced, such as /users/{id}.
	Route string
	// UserAgent is what the User-Agent header tells; nil when there is none.
	UserAgent *UserAgent
	// Place is where the addresses are; nil when that isn't known.
	Place [2]*Place
	// Domain are the names of the addresses, Service the names of the services there.
	Domain, Service [2]string
}

// UserAgent is what a User-Agent header tells; what it doesn't tell is empty.
type UserAgent struct {
	// Name is the program, a browser, a bot or a library, and OS its operating system.
	Name, Version, OS, OSVersion string
	// Device is the model, Kind is desktop, mobile, tablet or bot.
	Device, Kind string
}

// Place is where an address is, and who announces it; what isn't known is empty.
type Place struct {
	// Country is the ISO 3166-1 code. Region and City are names.
	Country, Region, City string
	// Location is "latitude,longitude", in degrees.
	Location       string
	ASNumber       uint32
	ASOrganization string
}

// requestIDs are the headers that carry an id of the request; the first counts.
var requestIDs = [...]string{"x-request-id", "x-correlation-id"}

// RequestID returns the id that a request carries, nil when it carries none.
func RequestID(m *proto.Message) []byte {
	for _, name := range requestIDs {
		if id := m.Field(name); len(id) > 0 {
			return id
		}
	}
	return nil
}

// TraceID returns the id of the trace that a request belongs to, in hexadecimal: of traceparent (W3C Trace
// Context §3.2), or else of b3 or X-B3-TraceId; nil when it carries none that is well-formed.
func TraceID(m *proto.Message) []byte {
	// version "-" trace-id "-" parent-id "-" flags
	if b := m.Field("traceparent"); len(b) >= 55 && b[2] == '-' && b[35] == '-' && isTraceID(b[3:35]) {
		return b[3:35]
	}
	b := m.Field("b3")
	for i, c := range b {
		if c == '-' {
			b = b[:i]
			break
		}
	}
	if !isTraceID(b) {
		b = m.Field("x-b3-traceid")
	}
	if isTraceID(b) {
		return b
	}
	return nil
}

// isTraceID reports whether b is 64 or 128 bits in hexadecimal, not all of them zero.
func isTraceID(b []byte) bool {
	if len(b) != 16 && len(b) != 32 {
		return false
	}
	zero := true
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
		zero = zero && c == '0'
	}
	return !zero
}
