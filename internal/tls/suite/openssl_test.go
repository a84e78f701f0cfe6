package suite

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// openssl runs OpenSSL's test programs against each other, through a relay that records.
type openssl struct {
	t                *testing.T
	path, dir        string
	files            []string // of the server: certificates and keys
	rsa              *rsa.PrivateKey
	settings, strict string // configurations: everything allowed, and besides no extended master secret
}

// patience is how long a peer may take for one step, before the test fails.
const patience = 30 * time.Second

const psk = "0102030405060708"

func newOpenSSL(t *testing.T) *openssl {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs the program openssl")
	}
	o := &openssl{t: t, path: path, dir: t.TempDir()}
	for i, c := range selfSigned(t) {
		der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		o.files = append(o.files,
			o.file(fmt.Sprintf("cert%d.pem", i), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))),
			o.file(fmt.Sprintf("key%d.pem", i), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))))
		if k, ok := c.PrivateKey.(*rsa.PrivateKey); ok {
			o.rsa = k
		}
	}
	config := "openssl_conf = init\n[init]\nssl_conf = modules\n[modules]\nsystem_default = all\n[all]\nMinProtocol = TLSv1\nCipherString = ALL:COMPLEMENTOFALL:@SECLEVEL=0\n"
	o.settings = o.file("all.cnf", config)
	o.strict = o.file("plain.cnf", config+"Options = -ExtendedMasterSecret\n")
	return o
}

func (o *openssl) file(name, text string) string {
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func (o *openssl) command(config string, args ...string) *exec.Cmd {
	cmd := exec.Command(o.path, args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+config)
	return cmd
}

// server starts s_server, which sends each line back, reversed, and returns its address.
func (o *openssl) server(config string, args ...string) string {
	o.t.Helper()
	args = append([]string{"s_server", "-accept", "127.0.0.1:0", "-rev", "-psk", psk, "-record_padding", "300",
		"-cert", o.files[0], "-key", o.files[1], "-dcert", o.files[2], "-dkey", o.files[3],
		"-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-ciphersuites", ciphersuites}, args...)
	cmd := o.command(config, args...)
	out := newScreen()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return out.wait(o.t, regexp.MustCompile(`ACCEPT (127\.0\.0\.1:\d+)\n`))
}

const ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"

// screen is what a program shows, as far as nobody has waited for it.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{} // has room for one
}

func newScreen() *screen { return &screen{news: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.text.Write(b)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

// wait waits until the program shows something, and returns the first group of it.
func (s *screen) wait(t *testing.T, what *regexp.Regexp) string {
	t.Helper()
	for deadline := time.After(patience); ; {
		s.mu.Lock()
		if at := what.FindSubmatchIndex(s.text.Bytes()); at != nil {
			group := string(s.text.Bytes()[at[2]:at[3]])
			s.text.Next(at[1])
			s.mu.Unlock()
			return group
		}
		s.mu.Unlock()
		select {
		case <-s.news:
		case <-deadline:
			t.Fatalf("the program didn't say %q, but %q", what, s.text.String())
		}
	}
}

// relay passes one connection on to a server, and records it.
func relay(t *testing.T, to string) (address string, r *recording, wait func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = new(recording)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ln.Close()
		client, err := ln.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		var both sync.WaitGroup
		pass := func(dst, src net.Conn, side int) {
			// What was recorded is what was passed on, so that no answer is there before it.
			io.Copy(dst, io.TeeReader(src, tap{r, side}))
			dst.(*net.TCPConn).CloseWrite()
		}
		both.Go(func() { pass(server, client, 0) })
		pass(client, server, 1)
		both.Wait()
	}()
	return ln.Addr().String(), r, func() { <-done }
}

type tap struct {
	r    *recording
	side int
}

func (s tap) Write(b []byte) (int, error) {
	s.r.add(s.side, b)
	return len(b), nil
}

// talk has a client send lines to a server that reverses them, with key updates between them if it is TLS 1.3.
func (o *openssl) talk(t *testing.T, config, server string, args ...string) *session {
	t.Helper()
	address, r, wait := relay(t, server)
	log := filepath.Join(t.TempDir(), "keys")
	cmd := o.command(config, append([]string{"s_client", "-connect", address, "-keylogfile", log}, args...)...)
	out := newScreen()
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	say := func(text, answer string) {
		t.Helper()
		if _, err := io.WriteString(in, text+"\n"); err != nil {
			t.Fatal(err)
		}
		out.wait(t, regexp.MustCompile("("+regexp.QuoteMeta(answer)+")\n"))
	}
	tls13 := slices.Contains(args, "-tls1_3")
	var want [2]string
	for i, line := range lines {
		if tls13 && i > 0 {
			// K asks the server for a change of its keys too, k doesn't.
			say([]string{"K", "k"}[i%2], "KEYUPDATE")
		}
		reversed := []byte(line)
		slices.Reverse(reversed)
		say(line, string(reversed))
		want[0] += line + "\n"
		want[1] += string(reversed) + "\n"
	}
	if _, err := io.WriteString(in, "Q\n"); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	wait()
	keys, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, r, keyLog(t, string(keys)))
	s.read()
	for side := range want {
		if got := s.data[side].String(); got != want[side] {
			t.Errorf("side %d sent %q, read %q", side, want[side], got)
		}
	}
	if tls13 {
		for side, least := range []int{2, 1} {
			if n := bytes.Count(s.messages[side], []byte{24}); n < least {
				t.Errorf("%d key updates of side %d", n, side)
			}
		}
	}
	if s.suite.RSA() {
		s.checkMaster(o.rsa)
	}
	return s
}

var lines = [3]string{"x", "second line", strings.Repeat("a longer line ", 60) + "."}

// listed are the suites that the installed OpenSSL has.
type listed struct {
	suite *Suite
	name  string // OpenSSL's
	old   bool   // there before TLS 1.2
}

func (o *openssl) list() (all []listed) {
	o.t.Helper()
	text, err := o.command(o.settings, "ciphers", "-s", "-V", "-stdname", "-psk", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		id, err := strconv.ParseUint(strings.ReplaceAll(strings.ReplaceAll(f[0], "0x", ""), ",", ""), 16, 16)
		if err != nil {
			o.t.Fatalf("%q: %v", line, err)
		}
		s := Lookup(uint16(id))
		if s == nil || s.Name != f[2] {
			o.t.Errorf("0x%04X is %s for OpenSSL, %s here", id, f[2], Name(uint16(id)))
			continue
		}
		all = append(all, listed{s, f[4], f[5] == "SSLv3" || f[5] == "TLSv1"})
	}
	return all
}

// protectsAs reports whether records are protected alike with another suite.
func (s *Suite) protectsAs(other *Suite) bool {
	return s.Cipher == other.Cipher && s.MAC == other.MAC && s.PRF == other.PRF
}

// TestOpenSSLPeers reads what OpenSSL's client and server send each other, with each suite and version that they share.
func TestOpenSSLPeers(t *testing.T) {
	o := newOpenSSL(t)
	server := o.server(o.settings)
	tested := make(map[Cipher]int)
	run := func(name, config string, id uint16, check func(*testing.T, *session), args ...string) {
		t.Run(name, func(t *testing.T) {
			s := o.talk(t, config, server, args...)
			if s.suite.ID != id {
				t.Fatalf("negotiated %s", s.suite.Name)
			}
			if check != nil {
				check(t, s)
			}
			tested[s.suite.Cipher]++
		})
	}
	for _, name := range strings.Split(ciphersuites, ":") {
		i := slices.IndexFunc(suites[:], func(s Suite) bool { return s.Name == name })
		run(name, o.settings, suites[i].ID, nil, "-tls1_3", "-ciphersuites", name)
	}
	var kinds []*Suite
	for _, l := range o.list() {
		if !l.suite.Supported() || l.suite.KeyExchange == "DHE_DSS" {
			continue // the server has no DSA key
		}
		versions := []string{"tls1_2"}
		// How keys are exchanged changes nothing for records: older versions, and no encrypt-then-MAC, are tested with one of each kind.
		first := !slices.ContainsFunc(kinds, l.suite.protectsAs)
		if testing.Short() && !first {
			continue
		}
		kinds = append(kinds, l.suite)
		if l.old && first {
			versions = append(versions, "tls1_1", "tls1")
		}
		for _, version := range versions {
			args := []string{"-" + version, "-cipher", l.name + ":@SECLEVEL=0"}
			if strings.Contains(l.suite.KeyExchange, "PSK") {
				args = append(args, "-psk", psk)
			}
			name := l.suite.Name + "/" + version
			if ciphers[l.suite.Cipher].block == nil {
				run(name, o.settings, l.suite.ID, nil, args...)
				continue
			}
			etm := func(want bool) func(*testing.T, *session) {
				return func(t *testing.T, s *session) {
					if s.etm != want {
						t.Errorf("encrypt-then-MAC: %t", s.etm)
					}
				}
			}
			run(name+"/etm", o.settings, l.suite.ID, etm(true), args...)
			if first {
				run(name+"/mac", o.settings, l.suite.ID, etm(false), append(args, "-no_etm")...)
			}
		}
	}
	for _, c := range []Cipher{AES128GCM, AES256GCM, AES128CCM, AES256CCM, AES128CCM8, AES256CCM8, ChaCha20, AES128CBC, AES256CBC, Null} {
		if tested[c] == 0 {
			t.Errorf("%s wasn't tested", c)
		}
	}
}

// TestPlainMasterSecret is for peers without the extended master secret, and for those with it.
func TestPlainMasterSecret(t *testing.T) {
	o := newOpenSSL(t)
	server := o.server(o.settings)
	for _, version := range []string{"tls1", "tls1_1", "tls1_2"} {
		for config, extended := range map[string]bool{o.strict: false, o.settings: true} {
			t.Run(fmt.Sprintf("%s/%t", version, extended), func(t *testing.T) {
				s := o.talk(t, config, server, "-"+version, "-cipher", "AES128-SHA:@SECLEVEL=0")
				if s.extended != extended || s.suite.ID != tls.TLS_RSA_WITH_AES_128_CBC_SHA {
					t.Errorf("%s, extended: %t", s.suite.Name, s.extended)
				}
			})
		}
	}
}
