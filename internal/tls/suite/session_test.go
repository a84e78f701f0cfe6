package suite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
)

// recording keeps the bytes of a connection, as they were sent.
type recording struct {
	mu   sync.Mutex
	sent [2]bytes.Buffer // client, server
}

func (r *recording) add(side int, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[side].Write(b)
}

func (r *recording) bytes(side int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.sent[side].Bytes())
}

// recorded is the client's end of a connection that is recorded.
type recorded struct {
	net.Conn
	to *recording
}

func (c recorded) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.to.add(0, b[:n])
	return n, err
}

func (c recorded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.to.add(1, b[:n])
	return n, err
}

// keyLog reads a key log of one connection: secrets by their labels.
func keyLog(t *testing.T, text string) map[string][]byte {
	t.Helper()
	keys := make(map[string][]byte)
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) != 3 || strings.HasPrefix(f[0], "#") {
			continue
		}
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		keys[f[0]] = secret
	}
	return keys
}

// rec is a record of a recorded connection.
type rec struct {
	typ      byte
	version  uint16
	fragment []byte
}

func split(b []byte) (recs []rec) {
	for len(b) >= 5 {
		n := int(binary.BigEndian.Uint16(b[3:]))
		if len(b) < 5+n {
			return recs
		}
		recs = append(recs, rec{b[0], binary.BigEndian.Uint16(b[1:]), b[5 : 5+n]})
		b = b[5+n:]
	}
	return recs
}

const (
	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// session is a recorded connection that is read with its secrets.
type session struct {
	t             *testing.T
	keys          map[string][]byte
	recs          [2][]rec
	randoms       [2][]byte
	suite         *Suite
	version       uint16
	etm, extended bool

	// What was read, by side: application data, and the types of handshake messages under protection.
	data     [2]bytes.Buffer
	messages [2][]byte
	opened   int
}

func newSession(t *testing.T, r *recording, keys map[string][]byte) *session {
	t.Helper()
	s := &session{t: t, keys: keys, recs: [2][]rec{split(r.bytes(0)), split(r.bytes(1))}}
	if len(s.recs[0]) == 0 || len(s.recs[1]) == 0 || s.recs[1][0].typ != typeHandshake {
		t.Fatalf("no handshake: %d and %d records", len(s.recs[0]), len(s.recs[1]))
	}
	s.randoms[0] = s.recs[0][0].fragment[6:38]
	hello := s.recs[1][0].fragment
	hello = hello[4 : 4+int(hello[1])<<16+int(hello[2])<<8+int(hello[3])]
	s.version = binary.BigEndian.Uint16(hello)
	s.randoms[1] = hello[2:34]
	rest := hello[35+int(hello[34]):]
	id := binary.BigEndian.Uint16(rest)
	if s.suite = Lookup(id); s.suite == nil {
		t.Fatalf("no suite 0x%04X", id)
	}
	if rest = rest[3:]; len(rest) > 2 {
		for ext := rest[2:]; len(ext) >= 4; {
			n := int(binary.BigEndian.Uint16(ext[2:]))
			switch binary.BigEndian.Uint16(ext) {
			case 22:
				s.etm = true
			case 23:
				s.extended = true
			case 43:
				s.version = binary.BigEndian.Uint16(ext[4:])
			}
			ext = ext[4+n:]
		}
	}
	return s
}

// read opens all that is protected.
func (s *session) read() {
	s.t.Helper()
	if s.version == 0x0304 {
		s.read13(0, "CLIENT")
		s.read13(1, "SERVER")
	} else {
		client, server, err := s.suite.TLS12(s.version, s.keys["CLIENT_RANDOM"], s.randoms[0], s.randoms[1], s.etm)
		if err != nil {
			s.t.Fatal(err)
		}
		s.read12(0, client)
		s.read12(1, server)
	}
	if s.opened < 4 {
		s.t.Errorf("only %d records were opened", s.opened)
	}
}

func (s *session) read12(side int, o Opener) {
	s.t.Helper()
	protected, seq := false, uint64(0)
	for _, r := range s.recs[side] {
		if protected {
			s.open(side, o, seq, r)
			seq++
		}
		protected = protected || r.typ == typeCCS
	}
	if !protected {
		s.t.Error("no ChangeCipherSpec")
	}
}

func (s *session) read13(side int, name string) {
	s.t.Helper()
	use := func(secret []byte) Opener {
		o, err := s.suite.TLS13(secret)
		if err != nil {
			s.t.Fatal(err)
		}
		return o
	}
	secret := s.keys[name+"_HANDSHAKE_TRAFFIC_SECRET"]
	o, seq := use(secret), uint64(0)
	var handshake []byte
	for _, r := range s.recs[side] {
		if r.typ != typeData {
			continue
		}
		typ, plain := s.open(side, o, seq, r)
		seq++
		if typ != typeHandshake {
			continue
		}
		for handshake = append(handshake, plain...); len(handshake) >= 4; {
			n := 4 + int(handshake[1])<<16 + int(handshake[2])<<8 + int(handshake[3])
			if len(handshake) < n {
				break
			}
			s.messages[side] = append(s.messages[side], handshake[0])
			switch handshake[0] {
			case 20: // Finished
				secret = s.keys[name+"_TRAFFIC_SECRET_0"]
				o, seq = use(secret), 0
			case 24: // KeyUpdate
				secret = s.suite.Next(secret)
				o, seq = use(secret), 0
			}
			handshake = handshake[n:]
		}
	}
}

// open opens a record, first altered and under another number, which must fail and leave no trace. The records take turns
// in being opened in place and behind what dst holds.
func (s *session) open(side int, o Opener, seq uint64, r rec) (byte, []byte) {
	s.t.Helper()
	fail := func(what string, seq uint64, typ byte, version uint16, fragment []byte) {
		s.t.Helper()
		dst := []byte("before")
		if plain, _, err := o.Open(dst, seq, typ, version, fragment); err == nil || string(plain) != "before" {
			s.t.Errorf("%s, record %d of side %d, %s: opened to %d bytes, error %v", s.suite.Name, seq, side, what, len(plain), err)
		}
	}
	for _, at := range []int{0, len(r.fragment) / 2, len(r.fragment) - 1} {
		for _, bit := range []byte{1, 0x80} {
			altered := bytes.Clone(r.fragment)
			altered[at] ^= bit
			fail("altered", seq, r.typ, r.version, altered)
		}
	}
	fail("cut", seq, r.typ, r.version, r.fragment[:len(r.fragment)-1])
	fail("longer", seq, r.typ, r.version, append(bytes.Clone(r.fragment), 0))
	fail("another number", seq+1, r.typ, r.version, r.fragment)
	fail("another type", seq, r.typ^1, r.version, r.fragment)
	fail("another version", seq, r.typ, r.version^0x10, r.fragment)

	fragment, dst := bytes.Clone(r.fragment), []byte("before")
	if seq%2 == 1 {
		dst = fragment[:0]
	}
	held := len(dst)
	plain, typ, err := o.Open(dst, seq, r.typ, r.version, fragment)
	if err != nil {
		s.t.Fatalf("%s, record %d of side %d: %v", s.suite.Name, seq, side, err)
	}
	if string(plain[:held]) != "before"[:held] {
		s.t.Fatalf("what dst held is %q", plain[:held])
	}
	if held > 0 && !bytes.Equal(fragment, r.fragment) {
		s.t.Error("the fragment was changed, though dst was elsewhere")
	}
	plain = plain[held:]
	if n, exact := o.Plain(len(fragment)); len(plain) > n || exact && len(plain) != n {
		s.t.Errorf("%s: a fragment of %d bytes holds %d: Plain says %d, %t", s.suite.Name, len(fragment), len(plain), n, exact)
	}
	if typ == typeData {
		s.data[side].Write(plain)
	}
	s.opened++
	return typ, plain
}
