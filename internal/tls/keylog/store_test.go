package keylog

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func random(n byte) *[32]byte {
	var r [32]byte
	for i := range r {
		r[i] = n
	}
	return &r
}

func hexOf(n byte, size int) string { return strings.Repeat(fmt.Sprintf("%02x", n), size) }

// row is a line of a key log.
func row(label string, session, secret byte, size int) string {
	return label + " " + hexOf(session, 32) + " " + hexOf(secret, size) + "\n"
}

// tls13 are the lines of one session of TLS 1.3.
func tls13(session byte) string {
	return row("CLIENT_HANDSHAKE_TRAFFIC_SECRET", session, 1, 32) + row("SERVER_HANDSHAKE_TRAFFIC_SECRET", session, 2, 32) +
		row("EXPORTER_SECRET", session, 9, 32) + row("CLIENT_TRAFFIC_SECRET_0", session, 3, 32) + row("SERVER_TRAFFIC_SECRET_0", session, 4, 32)
}

func TestLines(t *testing.T) {
	id := hexOf(7, 32)
	for _, c := range []struct {
		text string
		want verdict
	}{
		{"", empty}, {"\r", empty}, {"# CLIENT_RANDOM", empty},
		{row("CLIENT_RANDOM", 7, 1, 48), useful},
		{strings.ToUpper(row("CLIENT_RANDOM", 0xab, 0xcd, 48)), useful},
		{row("CLIENT_EARLY_TRAFFIC_SECRET", 7, 1, 32), useful},
		{row("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 7, 1, 48), useful},
		{row("SERVER_HANDSHAKE_TRAFFIC_SECRET", 7, 1, 48), useful},
		{row("CLIENT_TRAFFIC_SECRET_0", 7, 1, 32), useful},
		{row("SERVER_TRAFFIC_SECRET_0", 7, 1, 32), useful},
		{"RSA " + hexOf(1, 8) + " " + hexOf(2, 48), useful},
		{"RSA Session-ID:" + id + " Master-Key:" + hexOf(2, 48), useful},
		{"RSA Session-ID:07 Master-Key:" + hexOf(2, 48), useful},
		{row("CLIENT_TRAFFIC_SECRET_1", 7, 1, 32), ignored},
		{row("EARLY_EXPORTER_SECRET", 7, 1, 32), ignored},
		{row("EXPORTER_SECRET", 7, 1, 32), ignored},
		{row("ECH_SECRET", 7, 1, 32), ignored},
		{"ECH_CONFIG " + id + " fe0d0041", ignored},
		{"SOMETHING_NEW aB 00", ignored},
		{"SOMETHING_NEW a b", malformed}, {"SOMETHING_NEW 0g 00", malformed}, {"SOMETHING_NEW 00 ", malformed},
		{"CLIENT_TRAFFIC_SECRET_0 " + id + " -", ignored},
		{"CLIENT_RANDOM", malformed},
		{"CLIENT_RANDOM ", malformed},
		{"CLIENT_RANDOM " + id, malformed},
		{"CLIENT_RANDOM " + id + " ", malformed},
		{"client_random " + id + " " + hexOf(1, 48), malformed},
		{" CLIENT_RANDOM " + id + " " + hexOf(1, 48), malformed},
		{row("CLIENT_RANDOM", 7, 1, 47), malformed},
		{row("CLIENT_RANDOM", 7, 1, 49), malformed},
		{row("CLIENT_TRAFFIC_SECRET_0", 7, 1, 33), malformed},
		{"CLIENT_RANDOM " + id + "07 " + hexOf(1, 48), malformed},
		{"CLIENT_RANDOM " + id[1:] + " " + hexOf(1, 48), malformed},
		{"CLIENT_RANDOM " + id + "0 " + hexOf(1, 48), malformed},
		{"CLIENT_RANDOM " + id + " " + hexOf(1, 48) + "0", malformed},
		{"CLIENT_RANDOM " + strings.Repeat("g", 64) + " " + hexOf(1, 48), malformed},
		{"CLIENT_RANDOM " + id + " " + strings.Repeat("g", 96), malformed},
		{"RSA " + hexOf(1, 9) + " " + hexOf(2, 48), malformed},
		{"RSA Session-ID: Master-Key:" + hexOf(2, 48), malformed},
		{"RSA Session-ID:" + hexOf(1, 33) + " Master-Key:" + hexOf(2, 48), malformed},
		{"RSA Session-ID:" + id + " " + hexOf(2, 48), malformed},
		{"GET / HTTP/1.1", malformed},
		{"ECH_CONFIG " + id + " " + strings.Repeat("00", MaxLine), malformed},
	} {
		var l line
		if got := l.parse([]byte(strings.TrimSuffix(c.text, "\n"))); got != c.want {
			t.Errorf("%.100q: %d, want %d", c.text, got, c.want)
		}
	}
}

func TestSecretsOfAllLabels(t *testing.T) {
	s := NewStore(Options{})
	text := row("CLIENT_RANDOM", 7, 1, 48) + row("CLIENT_EARLY_TRAFFIC_SECRET", 7, 2, 32) + row("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 7, 3, 32) +
		row("SERVER_HANDSHAKE_TRAFFIC_SECRET", 7, 4, 32) + row("CLIENT_TRAFFIC_SECRET_0", 7, 5, 48) + row("SERVER_TRAFFIC_SECRET_0", 7, 6, 48)
	if added, bad := s.Add([]byte(text + "bad\n")); added != 6 || bad != 1 {
		t.Error(added, bad)
	}
	if added, bad := s.Add([]byte(text)); added != 0 || bad != 0 {
		t.Error("again:", added, bad)
	}
	got := s.Secrets(random(7), s.Publish())
	for i, secret := range [][]byte{got.Master, got.EarlyTraffic, got.ClientHandshake, got.ServerHandshake, got.ClientTraffic, got.ServerTraffic} {
		if len(secret) < 32 || secret[0] != byte(i+1) || secret[len(secret)-1] != byte(i+1) {
			t.Errorf("%d: %x", i, secret)
		}
	}
	if s.Secrets(random(8), s.Publish()) != nil {
		t.Error("secrets of a session that isn't there")
	}
	if lines := string(s.Lines(random(7))); lines != text {
		t.Errorf("%s\nwant\n%s", lines, text)
	}
	if s.Lines(random(8)) != nil {
		t.Error("lines of a session that isn't there")
	}
	if st := s.Stats(); st != (Stats{Sessions: 1, Lines: 12, Malformed: 1}) {
		t.Errorf("%+v", st)
	}
}

// What is said first of a session holds.
func TestContradictions(t *testing.T) {
	s := NewStore(Options{})
	s.Add([]byte(row("CLIENT_RANDOM", 7, 1, 48) + row("CLIENT_RANDOM", 7, 2, 48)))
	if got := s.Secrets(random(7), s.Publish()); got.Master[0] != 1 || s.Stats().Contradictions != 1 {
		t.Errorf("%x, %+v", got.Master, s.Stats())
	}
}

// A generation never changes, whatever is added later.
func TestGenerations(t *testing.T) {
	s := NewStore(Options{})
	if g := s.Publish(); g != 0 || !s.Empty() {
		t.Error(g, s.Empty())
	}
	lines := strings.SplitAfter(tls13(7), "\n")
	s.Add([]byte(lines[0]))
	if s.Secrets(random(7), 0) != nil {
		t.Error("seen before it was published")
	}
	g1 := s.Publish()
	first := s.Secrets(random(7), g1)
	s.Add([]byte(strings.Join(lines[1:], "")))
	if again := s.Secrets(random(7), g1); again.ServerTraffic != nil || !bytes.Equal(again.ClientHandshake, first.ClientHandshake) {
		t.Errorf("%+v", again)
	}
	g2 := s.Publish()
	if g1 != 1 || g2 != 2 || s.Publish() != g2 {
		t.Error(g1, g2, s.Publish())
	}
	if got := s.Secrets(random(7), g2); got.ServerTraffic == nil || got.ClientHandshake == nil {
		t.Errorf("%+v", got)
	}
	if again := s.Secrets(random(7), g1); again.ServerTraffic != nil || first.ServerTraffic != nil {
		t.Error("an old generation has changed")
	}
	if s.Secrets(random(7), 0) != nil {
		t.Error("the generation before the first has secrets")
	}
	s.Add([]byte(row("CLIENT_RANDOM", 7, 1, 48)[:20] + "\n# nothing\n" + row("EXPORTER_SECRET", 7, 1, 32)))
	if s.Publish() != g2 {
		t.Error("nothing was added, and there is another generation")
	}
}

func TestRSALines(t *testing.T) {
	s := NewStore(Options{})
	if s.Late() {
		t.Error("an empty store is late")
	}
	s.Add([]byte("RSA " + hexOf(1, 8) + " " + hexOf(2, 48) + "\nRSA Session-ID:" + hexOf(3, 16) + " Master-Key:" + hexOf(4, 48) + "\n"))
	encrypted := bytes.Repeat([]byte{1}, 256)
	if s.Premaster(encrypted, 0) != nil || s.SessionMaster(bytes.Repeat([]byte{3}, 16), 0) != nil {
		t.Error("seen before they were published")
	}
	g := s.Publish()
	if got := s.Premaster(encrypted, g); !bytes.Equal(got, bytes.Repeat([]byte{2}, 48)) {
		t.Errorf("%x", got)
	}
	if got := s.SessionMaster(bytes.Repeat([]byte{3}, 16), g); !bytes.Equal(got, bytes.Repeat([]byte{4}, 48)) {
		t.Errorf("%x", got)
	}
	for _, id := range [][]byte{nil, bytes.Repeat([]byte{3}, 15), append(bytes.Repeat([]byte{3}, 16), 0), make([]byte, 33)} {
		if got := s.SessionMaster(id, g); got != nil {
			t.Errorf("%x: %x", id, got)
		}
	}
	if s.Premaster(encrypted[:7], g) != nil || s.Premaster(nil, g) != nil {
		t.Error("a short premaster has a secret")
	}
	// None of them names a session by its random, so none is in the lines of one.
	if s.Lines(&[32]byte{1, 1, 1, 1, 1, 1, 1, 1}) != nil || !s.Late() || s.Empty() {
		t.Error("RSA lines are taken for those of a session")
	}
}

func TestLearn(t *testing.T) {
	s := NewStore(Options{})
	before := s.Changes()
	s.Learn(random(7), bytes.Repeat([]byte{5}, 48))
	s.Learn(random(7), bytes.Repeat([]byte{6}, 48))
	s.Learn(random(8), []byte{1})
	if got := string(s.Lines(random(7))); got != row("CLIENT_RANDOM", 7, 5, 48) {
		t.Errorf("%q", got)
	}
	if s.Secrets(random(7), s.Publish()) != nil {
		t.Error("what was worked out is found again as a key")
	}
	if s.Changes() != before+1 || s.Lines(random(8)) != nil || !s.Complete(random(7)) {
		t.Error(s.Changes(), s.Complete(random(7)))
	}
	// A key log goes first.
	s.Add([]byte(row("CLIENT_RANDOM", 7, 1, 48)))
	if got := string(s.Lines(random(7))); got != row("CLIENT_RANDOM", 7, 1, 48) {
		t.Errorf("%q", got)
	}
}

func TestComplete(t *testing.T) {
	s := NewStore(Options{})
	for i, line := range strings.SplitAfter(strings.TrimSuffix(tls13(7), "\n"), "\n") {
		s.Add([]byte(line))
		if got := s.Complete(random(7)); got != (i == 4) {
			t.Errorf("after line %d: %v", i+1, got)
		}
	}
	s.Add([]byte(row("CLIENT_RANDOM", 8, 1, 48)))
	if !s.Complete(random(8)) || s.Complete(random(9)) {
		t.Error("TLS 1.2")
	}
}

func TestLimit(t *testing.T) {
	s := NewStore(Options{MaxSessions: 3})
	for n := byte(1); n <= 8; n++ {
		s.Add([]byte(row("CLIENT_RANDOM", n, n, 48)))
	}
	g := s.Publish()
	for n := byte(1); n <= 8; n++ {
		if got := s.Secrets(random(n), g); (got != nil) != (n > 5) || got != nil && got.Master[0] != n {
			t.Errorf("session %d: %v", n, got)
		}
	}
	if st := s.Stats(); st.Sessions != 3 || st.Dropped != 5 || len(s.index) != 3 {
		t.Errorf("%+v", st)
	}
}

func TestEmptyAndMayGrow(t *testing.T) {
	s := NewStore(Options{})
	if !s.Empty() || s.MayGrow() || s.Late() {
		t.Error("a new store")
	}
	s.SetMayGrow(true)
	if s.Empty() || !s.MayGrow() || !s.Late() {
		t.Error("one that may grow")
	}
	s.SetMayGrow(false)
	s.Add([]byte(tls13(1)))
	if s.Empty() || s.Late() {
		t.Error("one with keys")
	}
}

// Run with -race: readers, writers and publishers don't disturb each other, and all see the same of a generation.
func TestConcurrent(t *testing.T) {
	s := NewStore(Options{MaxSessions: 1000})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for n := range byte(200) {
				s.Add([]byte(tls13(n)))
				g := s.Publish()
				got := s.Secrets(random(n), g)
				if got == nil || len(got.ServerTraffic) != 32 || got.ServerTraffic[31] != 4 {
					t.Errorf("session %d isn't there in its generation: %+v", n, got)
				}
				s.Lines(random(n))
				s.Learn(random(n), make([]byte, 48))
				s.Stats()
			}
		})
	}
	wait.Wait()
	if st := s.Stats(); st.Sessions != 200 || st.Lines != 4*200*4 {
		t.Errorf("%+v", st)
	}
}

// However a file is read, its lines are the same, and the first malformed one is named.
func TestRead(t *testing.T) {
	text := "# made by a test\r\n\n" + row("CLIENT_RANDOM", 1, 1, 48) + "nonsense\n" + strings.Repeat("A", 3*MaxLine) + "\n" +
		strings.ReplaceAll(tls13(2), "\n", "\r\n") + strings.TrimSuffix(row("CLIENT_RANDOM", 3, 3, 48), "\n")
	for name, read := range map[string]func() (Problem, *Store){
		"whole": func() (Problem, *Store) {
			s := NewStore(Options{})
			p, err := s.Read(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			return p, s
		},
		"byte by byte": func() (Problem, *Store) {
			s := NewStore(Options{})
			p, err := s.Read(iotest.OneByteReader(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			return p, s
		},
		"with its end": func() (Problem, *Store) {
			s := NewStore(Options{})
			p, err := s.Read(iotest.DataErrReader(strings.NewReader(text + "\n")))
			if err != nil {
				t.Fatal(err)
			}
			return p, s
		},
	} {
		p, s := read()
		if p != (Problem{Malformed: 2, First: 4}) || s.Stats() != (Stats{Sessions: 3, Lines: 6, Ignored: 1, Malformed: 2}) {
			t.Errorf("%s: %+v, %+v", name, p, s.Stats())
		}
		for n := byte(1); n <= 3; n++ {
			if !s.Complete(random(n)) {
				t.Errorf("%s: session %d", name, n)
			}
		}
	}
	s := NewStore(Options{})
	if _, err := s.Read(iotest.ErrReader(os.ErrClosed)); err == nil {
		t.Error("an error got lost")
	}
	if got := (Problem{2, 4}).Text("k"); got != "k: 2 lines are no lines of a key log, and are passed over; the first is line 4" {
		t.Error(got)
	}
	if got := (Problem{1, 4}).Text("k"); got != "k: line 4 is no line of a key log, and is passed over" {
		t.Error(got)
	}
}

// The key logs of others have no line that isn't understood.
func TestKeyLogsOfOthers(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: there are no key logs of others")
	}
	files, err := filepath.Glob(filepath.Join(root, "corpus", "files", "keys", "*.keys"))
	if err != nil || len(files) == 0 {
		t.Skipf("no key logs in %s: %v", root, err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStore(Options{})
		p, err := s.Read(f)
		f.Close()
		if err != nil || p.Malformed > 0 || s.Stats().Sessions == 0 {
			t.Errorf("%s: %v, %+v, %+v", name, err, p, s.Stats())
		}
	}
}

// FuzzAdd: whatever a key log has, whole or in pieces, the same is known of it; what Lines writes is read back as it was.
func FuzzAdd(f *testing.F) {
	f.Add([]byte(tls13(1)+row("CLIENT_RANDOM", 2, 2, 48)+"RSA 0101010101010101 "+hexOf(1, 48)+"\n\n#\nx"), uint8(3))
	f.Add([]byte("RSA Session-ID:01 Master-Key:"+hexOf(1, 48)), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		whole, pieces := NewStore(Options{MaxSessions: 2}), NewStore(Options{MaxSessions: 2})
		p, err := whole.Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		feed := feed{store: pieces}
		for b := text; len(b) > 0; {
			n := min(len(b), int(cut)+1)
			feed.write(b[:n])
			b = b[n:]
		}
		feed.end()
		if p != feed.problem || whole.Stats() != pieces.Stats() {
			t.Fatalf("%+v, %+v; in pieces %+v, %+v", p, whole.Stats(), feed.problem, pieces.Stats())
		}
		if len(feed.rest) > MaxLine || whole.Stats().Sessions > 2 {
			t.Fatal("it grows without bound")
		}
		for k := range whole.index {
			lines := whole.Lines(&k.text)
			back := NewStore(Options{})
			if added, bad := back.Add(lines); bad > 0 || added != bytes.Count(lines, []byte("\n")) || !bytes.Equal(back.Lines(&k.text), lines) {
				t.Fatalf("%s of %s", lines, hex.EncodeToString(k.text[:]))
			}
		}
	})
}
