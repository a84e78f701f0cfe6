package pcapng

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/packet"
)

// Keys is what is known of TLS sessions, as a keylog.Store is. It is called from any goroutine. A session has the name that
// its client gave it: the random of its ClientHello.
type Keys interface {
	// Lines returns the lines of a key log that decrypt a session, nil as long as there are none.
	Lines(random *[32]byte) []byte
	// Complete reports whether there will be no more lines.
	Complete(random *[32]byte) bool
	// Changes counts what Lines may say more of than before.
	Changes() uint64
	// Late reports whether Lines may get to know of a session after its packets came.
	Late() bool
}

// session is a TLS session with its lines of a key log.
type session struct {
	random [32]byte
	lines  []byte
}

// The bounds of what is known of sessions: how many wait for their keys and for how long, how many are remembered as given to
// the writer, how many are remembered of a file, and how many a connection has. What is forgotten is written again.
const (
	maxAwaited      = 1024
	maxGiven        = 8192
	maxFileSessions = 100_000
	maxConnSessions = 4
)

// holdFor is how long what is recorded waits for the keys of a session that has just begun, when keys may come late: the
// peers write them when the handshake is under way, and readers want them before it.
const holdFor = time.Second

// secretsShare is one over the share of the memory for packets that secrets may take which wait to be written.
const secretsShare = 8

// secrets is what a recorder knows of the sessions in its packets. Packets carry their secrets through the list of what is to
// be written, so that a file has them before the packets that need them:
//
//	                       known                            batch
//	ClientHello, Exchange --------> with the packet, by page ------> the writer, unless the file has them
//	        |                                ^
//	        | not known, keys may come       | in time: the ClientHello hasn't been written
//	        +-------> awaited ---------------+
//	                     | after holdFor, or memory is short: it is written; what comes then goes with the next packet
type secrets struct {
	keys    Keys
	byPage  map[uint32][]session
	late    []session // for the next packet
	size    int       // bytes of lines in byPage and late
	limit   int
	awaited []awaited // in the order of their packets
	changes uint64
	// given are sessions whose lines were given to the writer, and when.
	given map[[32]byte]given
}

// awaited is a session whose keys aren't known, or not all of them. What is recorded from page on waits; 0: it doesn't.
type awaited struct {
	random [32]byte
	page   uint32
	until  time.Time
}

type given struct{ files, changes uint64 }

func newSecrets(o *Options) secrets {
	return secrets{
		keys: o.Keys, limit: o.Memory / secretsShare,
		byPage: map[uint32][]session{}, given: map[[32]byte]given{},
	}
}

// The layout of a ClientHello in its record (RFC 8446 §4.1.2, §5.1), and the first bytes of an HTTP/2 connection
// (RFC 9113 §3.4).
const (
	recordHeader    = 5
	recordHandshake = 22
	typeClientHello = 1
	helloRandom     = recordHeader + 4 + 2
	randomSize      = 32
	http2Preface    = "PRI * HTTP/2.0\r\n"
)

// clientHello returns the random of the ClientHello that a payload begins with.
func clientHello(b []byte) (random [32]byte, ok bool) {
	if len(b) < helloRandom+randomSize || b[0] != recordHandshake || b[1] != 3 || b[recordHeader] != typeClientHello || b[recordHeader+4] != 3 ||
		binary.BigEndian.Uint16(b[3:]) < helloRandom+randomSize-recordHeader {
		return random, false
	}
	return [32]byte(b[helloRandom:]), true
}

// stateful reports whether a payload begins something that can't be read from its middle: a TLS session, or HTTP/2, whose
// header compression knows what came before.
func stateful(b []byte) bool {
	if _, hello := clientHello(b); hello {
		return true
	}
	return bytes.HasPrefix(b, []byte(http2Preface))
}

// begin notes the session that a packet begins, which is about to be sent.
func (r *Recorder) begin(p *packet.Packet, page uint32) {
	s := &r.secrets
	random, ok := clientHello(p.Payload)
	if !ok {
		return
	}
	r.attach(page, random)
	if s.keys.Complete(&random) || !s.keys.Late() || slices.ContainsFunc(s.awaited, func(a awaited) bool { return a.random == random }) {
		return
	}
	if len(s.awaited) == maxAwaited {
		s.awaited = append(s.awaited[:0], s.awaited[1:]...)
	}
	s.awaited = append(s.awaited, awaited{random, page, time.Now().Add(holdFor)})
}

// now says for which files and keys something was given to the writer.
func (r *Recorder) now() given { return given{r.count.Files, r.secrets.keys.Changes()} }

// mention has the writer write what is known of a session with the newest packet that waits, or the next one, unless that
// was done. What waits before that may belong into another file.
func (r *Recorder) mention(random [32]byte) {
	if r.secrets.given[random] != r.now() {
		r.attach(r.out.last, random)
	}
}

// attach has the writer write what is known of a session before a packet; page 0 is the next one.
func (r *Recorder) attach(page uint32, random [32]byte) {
	s := &r.secrets
	now := r.now()
	lines := s.keys.Lines(&random)
	if len(lines) == 0 {
		return
	}
	if s.size+len(lines) > s.limit {
		if s.given[random] != now {
			r.count.Keyless++
		}
		return
	}
	s.size += len(lines)
	if page == 0 {
		s.late = append(s.late, session{random, lines})
	} else {
		r.pages.head(page).flags |= hasSecrets
		s.byPage[page] = append(s.byPage[page], session{random, lines})
	}
	if len(s.given) >= maxGiven {
		clear(s.given)
	}
	s.given[random] = now
}

// await looks for the keys of sessions that are awaited.
func (r *Recorder) await() {
	s := &r.secrets
	if len(s.awaited) == 0 {
		return
	}
	if r.pages.used > r.pages.limit/2 {
		r.hurry()
	}
	if now := s.keys.Changes(); now != s.changes {
		s.changes = now
		s.awaited = slices.DeleteFunc(s.awaited, func(a awaited) bool {
			if !s.keys.Complete(&a.random) {
				return false
			}
			r.attach(a.page, a.random)
			return true
		})
	}
	// Not all of the keys may be there, but what is there may be all that comes.
	for now := time.Now(); len(s.awaited) > 0 && now.After(s.awaited[0].until); s.awaited = s.awaited[1:] {
		r.attach(s.awaited[0].page, s.awaited[0].random)
	}
}

// hurry has nothing wait for keys any more, and reports whether something did. Keys that come yet go with the next packet.
func (r *Recorder) hurry() (waited bool) {
	for i := range r.secrets.awaited {
		a := &r.secrets.awaited[i]
		waited = waited || a.page != 0
		a.page = 0
	}
	return waited
}

// held returns the first packet that waits for keys, 0 if none does.
func (s *secrets) held() uint32 {
	for i := range s.awaited {
		if page := s.awaited[i].page; page != 0 {
			return page
		}
	}
	return 0
}

// held reports whether all that is to be written waits for keys.
func (r *Recorder) held() bool { return r.out.first != 0 && r.out.first == r.secrets.held() }

// take returns the secrets that go before a packet, which comes next.
func (s *secrets) take(page uint32) (all []session) {
	all, s.late = s.late, nil
	if more, ok := s.byPage[page]; ok {
		all = append(all, more...)
		delete(s.byPage, page)
	}
	for _, x := range all {
		s.size -= len(x.lines)
	}
	return all
}
