package firehose

import (
	"encoding/hex"
	"encoding/json"
	"time"
)

// ListSuffix is what the name of the list of connections has behind that of the recording.
const ListSuffix = ".connections.ndjson"

// ManifestSuffix is what the name of the manifest has behind it.
const ManifestSuffix = ".sha256"

// list is the list of the connections of a recording, since a stream has no place for their addresses: a line in JSON when a stream
// begins, and another one, which has all, when it is over. The last line of a UUID holds.
type list struct {
	out  *Output
	file tail
	// failed: a line couldn't be written, which the user was told.
	failed bool
}

func newList(o *Output, f File) *list {
	l := &list{out: o}
	if f != nil {
		l.file = newTail(f, o.o.Digests)
	}
	return l
}

// Line is a line of the list. docs/firehose.md has its fields.
type Line struct {
	UUID       string `json:"uuid"`
	Connection string `json:"connection,omitempty"`
	Nth        uint64 `json:"nth,omitempty"`
	Client     string `json:"client"`
	Server     string `json:"server"`
	Transport  string `json:"transport"`
	Tap        string `json:"tap,omitempty"`
	TLS        bool   `json:"tls"`
	SNI        string `json:"sni,omitempty"`
	Mode       string `json:"mode"`
	Side       string `json:"side"`
	Midstream  bool   `json:"midstream,omitempty"`
	Started    string `json:"started"`
	// The rest is there once the stream is over.
	Ended        string         `json:"ended,omitempty"`
	Why          string         `json:"why,omitempty"`
	Guessed      bool           `json:"guessed,omitempty"`
	Bytes        *Sides[int64]  `json:"bytes,omitempty"`
	Fragments    *Sides[uint64] `json:"fragments,omitempty"`
	Dropped      *uint64        `json:"dropped,omitempty"`
	Holes        *uint64        `json:"holes,omitempty"`
	MissingBytes *int64         `json:"missing_bytes,omitempty"`
	UnknownHoles uint64         `json:"unknown_holes,omitempty"`
	SHA256       *Sides[string] `json:"sha256,omitempty"`
}

// Sides are two values, of the two directions of a stream.
type Sides[T any] struct {
	Request  T `json:"request"`
	Response T `json:"response"`
}

// modes and sides are the names of what is recorded.
func mode(o *Options) string {
	if o.Requests {
		return "request"
	}
	return "connection"
}

func side(o *Options) string {
	if o.Proxy {
		return "proxy"
	}
	return "client"
}

func stamp(at int64) string { return time.Unix(0, at).UTC().Format(time.RFC3339Nano) }

// line returns what is known of a stream when it begins.
func (s *stream) line(o *Options) Line {
	c := s.connection
	l := Line{
		UUID: s.uuid.String(), Client: c.end(c.client).String(), Server: c.end(c.client.Other()).String(), Transport: transports[c.flow.Proto],
		TLS: c.inner, SNI: c.name, Mode: mode(o), Side: side(o), Midstream: c.flow.Midstream, Started: stamp(s.started),
	}
	if c.tap != nil {
		l.Tap = c.tap.Name
	}
	if o.Requests {
		l.Connection, l.Nth = c.uuid.String(), s.number+1
	}
	return l
}

// begin writes the line of a stream that begins.
func (l *list) begin(s *stream, o *Options) error {
	if l.file.file == nil {
		return nil
	}
	return l.write(s.line(o))
}

// end writes the line of a stream that is over.
func (l *list) end(s *stream, o *Options) error {
	if l.file.file == nil {
		return nil
	}
	line := s.line(o)
	a, b := &s.half[request], &s.half[response]
	dropped, holes, missing := a.dropped+b.dropped, a.holes+b.holes, a.missing+b.missing
	line.Ended, line.Why, line.Guessed = stamp(max(s.ended, s.started)), s.why, s.guessed
	line.Bytes = &Sides[int64]{a.bytes, b.bytes}
	line.Fragments = &Sides[uint64]{a.written, b.written}
	line.Dropped, line.Holes, line.MissingBytes, line.UnknownHoles = &dropped, &holes, &missing, a.unknown+b.unknown
	if o.Digests {
		sum := func(h *half) string {
			h.digest(nil)
			return hex.EncodeToString(h.sum.Sum(nil))
		}
		line.SHA256 = &Sides[string]{sum(a), sum(b)}
	}
	return l.write(line)
}

func (l *list) write(line Line) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if err := l.file.write(append(b, '\n')); err != nil {
		if !l.out.o.Live {
			return err
		}
		l.out.stats.LostLines++
		if !l.failed {
			l.failed = true
			l.out.tell("%v: the list of connections lacks lines", err)
		}
	}
	return nil
}

func (l *list) restart() error {
	if l.file.file == nil {
		return nil
	}
	return l.file.restart()
}
