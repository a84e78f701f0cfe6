package keylog

import (
	"bytes"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultMaxSessions is how many sessions a Store remembers when Options.MaxSessions is 0. Each takes some 300 bytes.
const DefaultMaxSessions = 200_000

// Options say how much a Store keeps.
type Options struct {
	// MaxSessions is how many sessions are remembered, 0 for DefaultMaxSessions. The secrets that RSA lines give, and what
	// Learn is told, count as sessions of their own.
	MaxSessions int
}

// Secrets are those of a session, as far as they are known: nil, where not. They are borrowed and never change.
type Secrets struct {
	// Master is the master secret (TLS 1.2 and before); the others are those of TLS 1.3 (RFC 8446 §7.1).
	Master                                                                       []byte
	EarlyTraffic, ClientHandshake, ServerHandshake, ClientTraffic, ServerTraffic []byte
}

// Stats count what a Store was told. Lines = useful and repeated ones; blank lines and comments aren't counted.
type Stats struct {
	// Sessions are those that are remembered; Dropped are those that were forgotten because there were too many.
	Sessions, Dropped uint64
	// Lines have secrets, also such as were known. Ignored lines are well-formed and of no use here; Malformed ones aren't
	// those of a key log; Contradictions say something else of a session than a line before, which holds.
	Lines, Ignored, Malformed, Contradictions uint64
}

// Store holds the secrets that were found. It is safe for concurrent use.
type Store struct {
	limit int

	// generation is the one that lookups may ask for; pending: something was added since. changes counts what Lines may see.
	generation atomic.Uint32
	pending    atomic.Bool
	changes    atomic.Uint64
	mayGrow    atomic.Bool
	indirect   atomic.Bool // some keys don't name the session that they are for

	mu      sync.RWMutex
	index   map[key]uint32 // of entries
	entries []entry
	oldest  uint32 // entries is a ring once it is full
	rsa     []*rsa.PrivateKey
	stats   Stats
}

// entry is what is known under a key: secrets, one after the other, each behind a header of secretHeader bytes. It is only
// ever appended to, so that parts of it can be lent.
type entry struct {
	key  key
	data []byte
	// learned is a master secret that a worker has worked out, for Lines alone.
	learned []byte
}

// The header of a secret in an entry: its kind, its length, and the generation that it belongs to.
const secretHeader = 1 + 1 + 4

// NewStore returns an empty Store.
func NewStore(o Options) *Store {
	if o.MaxSessions <= 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	return &Store{limit: o.MaxSessions, index: map[key]uint32{}}
}

// Add reads whole lines of a key log. It returns how many had a secret that wasn't known, and how many are malformed.
func (s *Store) Add(text []byte) (added, bad int) {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		switch s.add(line) {
		case useful:
			added++
		case malformed:
			bad++
		}
	}
	return added, bad
}

// add reads one line.
func (s *Store) add(text []byte) verdict {
	var l line
	v := l.parse(text)
	if v == empty {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch v {
	case malformed:
		s.stats.Malformed++
		return v
	case ignored:
		s.stats.Ignored++
		return v
	}
	s.stats.Lines++
	e := s.entry(l.key)
	for k, secret := range e.secrets() {
		if k == l.kind {
			if !bytes.Equal(secret.text, l.secret[:l.size]) {
				s.stats.Contradictions++
			}
			return known
		}
	}
	e.data = slices.Grow(e.data, secretHeader+l.size)
	e.data = append(e.data, byte(l.kind), byte(l.size))
	e.data = binary.LittleEndian.AppendUint32(e.data, s.generation.Load()+1)
	e.data = append(e.data, l.secret[:l.size]...)
	if l.key.of != master {
		s.indirect.Store(true)
	}
	s.pending.Store(true)
	s.changes.Add(1)
	return useful
}

// entry returns the entry of a key; a new one takes the place of the oldest when there are too many.
func (s *Store) entry(k key) *entry {
	if i, ok := s.index[k]; ok {
		return &s.entries[i]
	}
	i := uint32(len(s.entries))
	if len(s.entries) < s.limit {
		s.entries = append(s.entries, entry{key: k})
	} else {
		i = s.oldest
		s.oldest = (s.oldest + 1) % uint32(s.limit)
		delete(s.index, s.entries[i].key)
		s.entries[i] = entry{key: k}
		s.stats.Dropped++
	}
	s.index[k] = i
	return &s.entries[i]
}

// dated is a secret with the generation that it belongs to.
type dated struct {
	text       []byte
	generation uint32
}

// secrets goes through the secrets of an entry.
func (e *entry) secrets() func(yield func(kind, dated) bool) {
	return func(yield func(kind, dated) bool) {
		for b := e.data; len(b) > 0; {
			n := secretHeader + int(b[1])
			if !yield(kind(b[0]), dated{b[secretHeader:n:n], binary.LittleEndian.Uint32(b[2:])}) {
				return
			}
			b = b[n:]
		}
	}
}

// AddRSA adds a private key, before the run.
func (s *Store) AddRSA(key *rsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rsa = append(s.rsa, key)
	s.indirect.Store(true)
}

// RSAKeys returns the private keys.
func (s *Store) RSAKeys() []*rsa.PrivateKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rsa
}

// Publish lets lookups see what was added until now, and returns the generation to ask for. It is cheap when nothing was
// added.
func (s *Store) Publish() (generation uint32) {
	if !s.pending.Load() {
		return s.generation.Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.Load() {
		s.pending.Store(false)
		s.generation.Add(1)
	}
	return s.generation.Load()
}

// Secrets returns what was known of a session in a generation, nil if nothing was. It makes a new Secrets each time.
func (s *Store) Secrets(random *[32]byte, generation uint32) *Secrets {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[key{of: master, size: randomSize, text: *random}]
	if !ok {
		return nil
	}
	var found *Secrets
	for k, secret := range s.entries[i].secrets() {
		if secret.generation > generation {
			continue
		}
		if found == nil {
			found = &Secrets{}
		}
		*found.of(k) = secret.text
	}
	return found
}

// of returns where a kind of secret stands.
func (s *Secrets) of(k kind) *[]byte {
	return [sessionKinds]*[]byte{
		master: &s.Master, earlyTraffic: &s.EarlyTraffic, clientHandshake: &s.ClientHandshake,
		serverHandshake: &s.ServerHandshake, clientTraffic: &s.ClientTraffic, serverTraffic: &s.ServerTraffic,
	}[k]
}

// Premaster returns the premaster secret that an RSA line gives for an encrypted one, nil if there is none by that
// generation.
func (s *Store) Premaster(encrypted []byte, generation uint32) []byte {
	if len(encrypted) < encryptedSize {
		return nil
	}
	return s.single(premaster, encrypted[:encryptedSize], generation)
}

// SessionMaster returns the master secret that an RSA line gives for a session id, nil if there is none by that generation.
func (s *Store) SessionMaster(id []byte, generation uint32) []byte {
	if len(id) == 0 || len(id) > maxSessionID {
		return nil
	}
	return s.single(sessionMaster, id, generation)
}

func (s *Store) single(of kind, by []byte, generation uint32) []byte {
	k := key{of: of, size: uint8(len(by))}
	copy(k.text[:], by)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i, ok := s.index[k]; ok {
		for _, secret := range s.entries[i].secrets() {
			if secret.generation <= generation {
				return secret.text
			}
		}
	}
	return nil
}

// Learn notes the master secret of a session that was worked out: from a private key, a premaster secret, or a session taken
// up again. Only Lines has it, for those who get a capture without those. secret is copied.
func (s *Store) Learn(random *[32]byte, secret []byte) {
	if len(secret) != masterSize {
		return
	}
	k := key{of: master, size: randomSize, text: *random}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entry(k); e.learned == nil {
		e.learned = slices.Clone(secret)
		s.changes.Add(1)
	}
}

// Lines returns the lines of a key log that decrypt one session, whatever the generation, each with its end; nil if nothing
// is known of it.
func (s *Store) Lines(random *[32]byte) (text []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[key{of: master, size: randomSize, text: *random}]
	if !ok {
		return nil
	}
	e := &s.entries[i]
	var all [sessionKinds][]byte
	all[master] = e.learned
	for k, secret := range e.secrets() {
		all[k] = secret.text
	}
	for k, secret := range all {
		if secret != nil {
			text = append(append(text, labels[k]...), ' ')
			text = append(hex.AppendEncode(text, random[:]), ' ')
			text = append(hex.AppendEncode(text, secret), '\n')
		}
	}
	return text
}

// Complete reports whether all is known of a session that its application data needs.
func (s *Store) Complete(random *[32]byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[key{of: master, size: randomSize, text: *random}]
	if !ok {
		return false
	}
	var there [sessionKinds]bool
	for k := range s.entries[i].secrets() {
		there[k] = true
	}
	return there[master] || s.entries[i].learned != nil ||
		there[clientHandshake] && there[serverHandshake] && there[clientTraffic] && there[serverTraffic]
}

// Changes counts what Lines may say more of than before. It is cheap.
func (s *Store) Changes() uint64 { return s.changes.Load() }

// Empty reports whether there are no keys and none may come.
func (s *Store) Empty() bool {
	if s.MayGrow() {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries) == 0 && len(s.rsa) == 0
}

// MayGrow reports whether keys may come after the packets that need them.
func (s *Store) MayGrow() bool { return s.mayGrow.Load() }

// SetMayGrow says so.
func (s *Store) SetMayGrow(may bool) { s.mayGrow.Store(may) }

// Late reports whether Lines may get to know of a session after its packets came: there may be more keys, or such that are
// worked out of the packets.
func (s *Store) Late() bool { return s.MayGrow() || s.indirect.Load() }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.stats
	t.Sessions = uint64(len(s.entries))
	return t
}

// malformed counts a line that was too long to be looked at.
func (s *Store) malformed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Malformed++
}
