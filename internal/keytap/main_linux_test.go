package keytap

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/ptrace"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

func TestMain(m *testing.M) {
	if ptrace.Launching(os.Args) {
		os.Exit(ptrace.Launch(os.Args))
	}
	os.Exit(m.Run())
}

// patience is after how long a program that doesn't end is given up.
const patience = 30 * time.Second

// python isn't a script that runs another one.
const python = "/usr/bin/python3"

// program finds a program.
func programPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s isn't installed: make deps says how to get it", name)
	}
	return path
}

// lines is what a server writes its key log to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// server is one whose sessions' secrets are known.
type server struct {
	*httptest.Server
	host, port string
	keys       lines
	// ca is the file of its certificate.
	ca string
}

func newServer(t *testing.T, version uint16) *server {
	t.Helper()
	s := &server{ca: filepath.Join(t.TempDir(), "ca.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintln(w, "hello")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients may leave
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, KeyLogWriter: &s.keys, MinVersion: version, MaxVersion: version,
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	if s.host, s.port, err = net.SplitHostPort(s.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return s
}

// check compares what a store has with what the server knows of its sessions: each line of n sessions.
func (s *server) check(t *testing.T, store *keylog.Store, n int) {
	t.Helper()
	s.Close()
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	sessions := map[string]int{}
	for line := range strings.Lines(s.keys.text.String()) {
		random := strings.Fields(line)[1]
		sessions[random]++
		var by [32]byte
		if _, err := hex.Decode(by[:], []byte(random)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(store.Lines(&by)), line) {
			t.Errorf("the server has\n%sand the store\n%s", line, store.Lines(&by))
		}
		if !store.Complete(&by) {
			t.Errorf("the session of %s can't be opened", line)
		}
	}
	want := 4
	if s.TLS.MaxVersion == tls.VersionTLS12 {
		want = 1
	}
	for random, lines := range sessions {
		if lines != want {
			t.Errorf("the server has %d lines of %s, want %d", lines, random, want)
		}
	}
	if len(sessions) != n {
		t.Errorf("the server had %d sessions, want %d", len(sessions), n)
	}
	if bad := store.Stats().Malformed; bad > 0 {
		t.Errorf("%d lines are malformed", bad)
	}
}

// expand puts a server's place into a command.
func (s *server) expand(args []string) (all []string) {
	r := strings.NewReplacer("HOST", s.host, "PORT", s.port, "URL", s.URL, "CAFILE", s.ca)
	for _, a := range args {
		all = append(all, r.Replace(a))
	}
	return all
}

// tapped is a tap with the environment that programs get.
type tapped struct {
	*Tap
	store *keylog.Store
	env   []string
	said  []string
}

// prepare makes a tap in a temporary folder of its own, and looks that nothing is left there.
func prepare(t *testing.T, env []string, o Options) *tapped {
	t.Helper()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	return prepareIn(t, temporary, env, o)
}

func prepareIn(t *testing.T, temporary string, env []string, o Options) *tapped {
	t.Helper()
	x := &tapped{store: keylog.NewStore(keylog.Options{})}
	o.Store = x.store
	var mu sync.Mutex
	o.Notify = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		x.said = append(x.said, fmt.Sprintf(format, args...))
	}
	var err error
	if x.Tap, x.env, err = Prepare(env, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary folder: %v, %v", left, err)
		}
	})
	return x
}

// environment is that of the test without what would make a difference.
func environment(more ...string) (env []string) {
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case keylogVariable, nodeVariable, preloadVariable, shimVariable, shimPathVariable, "NODE_EXTRA_CA_CERTS", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY":
			continue
		}
		env = append(env, e)
	}
	return append(env, more...)
}

// run runs a program to its end, with an empty standard input.
func run(t *testing.T, env []string, input string, args ...string) (output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.WaitDelay = env, strings.NewReader(input), time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}
