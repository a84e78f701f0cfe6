package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// keyLine is a line of a key log for the session whose random is all n.
func keyLine(n byte) string {
	return "CLIENT_RANDOM " + strings.Repeat(fmt.Sprintf("%02x", n), 32) + " " + strings.Repeat("00", 48) + "\n"
}

// sessions returns which of a few sessions a store knows.
func sessions(s *keylog.Store) (all []byte) {
	for n := byte(1); n < 5; n++ {
		var random [32]byte
		for i := range random {
			random[i] = n
		}
		if s.Secrets(&random, s.Publish()) != nil {
			all = append(all, n)
		}
	}
	return all
}

func TestOpenKeys(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pair := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	one, two, bad := file("one", keyLine(1), 0o600), file("two", keyLine(2), 0o644), file("bad", "#\nx\n"+keyLine(3)+"y\n", 0o600)
	private, public, nokey := file("private", pair, 0o600), file("public", pair, 0o644), file("nokey", "hello", 0o600)
	huge := file("huge", strings.Repeat("x", maxKeyFile+1), 0o600)
	missing := filepath.Join(dir, "missing")

	for name, c := range map[string]struct {
		keylogs, keys []string
		environment   string
		live          bool
		want          []byte
		rsa           int
		warns, fails  string
	}{
		"nothing":                   {},
		"two files":                 {keylogs: []string{one, two}, want: []byte{1, 2}},
		"two files, live":           {keylogs: []string{one, two}, live: true, want: []byte{1, 2}},
		"bad lines":                 {keylogs: []string{bad}, want: []byte{3}, warns: "bad: 2 lines are no lines of a key log, and are passed over; the first is line 2"},
		"bad lines, live":           {keylogs: []string{bad}, live: true, want: []byte{3}, warns: "the first is line 2"},
		"the environment":           {environment: two, want: []byte{2}},
		"before the environment":    {keylogs: []string{one}, environment: two, want: []byte{1}},
		"none":                      {keylogs: []string{"none"}, environment: two},
		"missing":                   {keylogs: []string{one, missing}, fails: "--keylog " + missing + ": there is no such file"},
		"missing, live":             {keylogs: []string{one, missing}, live: true, want: []byte{1}, warns: missing + " isn't there yet, and is waited for"},
		"of the environment":        {environment: missing},
		"of the environment, live":  {environment: missing, live: true},
		"a folder":                  {keylogs: []string{dir}, fails: "is a folder"},
		"a folder, live":            {keylogs: []string{dir}, live: true, fails: "is a folder"},
		"the environment's folder":  {environment: dir, warns: "SSLKEYLOGFILE names a key log that can't be read: " + dir + " is a folder"},
		"a private key":             {keys: []string{private}, rsa: 1},
		"one that others may read":  {keys: []string{private, public}, rsa: 2, warns: "anybody on this machine may read the private key in " + public},
		"no private key":            {keys: []string{nokey}, fails: "--tls-key " + nokey + ": there is no private key in PEM"},
		"a key file that is none":   {keys: []string{huge}, fails: "more than 1048576 bytes"},
		"a key file that is absent": {keys: []string{missing}, fails: "--tls-key open " + missing},
		"a folder of keys":          {keys: []string{dir}, fails: "is a folder"},
	} {
		t.Setenv(keylogVariable, c.environment)
		var warned []string
		s, more, err := openKeys(&config.Capture{Keylogs: c.keylogs, TLSKeys: c.keys}, c.live, func(format string, args ...any) {
			warned = append(warned, fmt.Sprintf(format, args...))
		})
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, want %q", name, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		follows := c.live && len(c.keylogs)+len(c.environment) > 0
		if got := sessions(s); !slices.Equal(got, c.want) || len(s.RSAKeys()) != c.rsa || (more != nil) != follows || s.MayGrow() != follows {
			t.Errorf("%s: sessions %v, %d private keys, follows %v, may grow %v", name, got, len(s.RSAKeys()), more != nil, s.MayGrow())
		}
		if (c.warns == "") != (len(warned) == 0) || !strings.Contains(strings.Join(warned, "\n"), c.warns) || len(warned) > 1 {
			t.Errorf("%s: %q, want %q", name, warned, c.warns)
		}
		if more != nil {
			more.Close()
		}
	}
}

// What comes later is read when it is asked for.
func TestKeysThatComeLater(t *testing.T) {
	t.Setenv(keylogVariable, "")
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(keyLine(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, more, err := openKeys(&config.Capture{Keylogs: []string{path}}, true, t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(keyLine(1)+keyLine(2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := sessions(s); !slices.Equal(got, []byte{1}) {
		t.Error(got)
	}
	defer more.Close()
	more.Poll()
	if got := sessions(s); !slices.Equal(got, []byte{1, 2}) {
		t.Error(got)
	}
}

func TestKeyFolders(t *testing.T) {
	t.Setenv(keylogVariable, "")
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := keyFolders(&config.Capture{Keylogs: []string{there, filepath.Join(dir, "a", "missing"), filepath.Join(dir, "a", "too")}})
	if !slices.Equal(got, []string{filepath.Join(dir, "a")}) {
		t.Errorf("%q", got)
	}
}

func TestCheckWithKeys(t *testing.T) {
	some := keylog.NewStore(keylog.Options{})
	some.Add([]byte(keyLine(1)))
	growing := keylog.NewStore(keylog.Options{})
	growing.SetMayGrow(true)
	packets, lines := order{Output: config.Output{Name: recording}}, order{Output: config.Output{Name: "line"}}
	for name, c := range map[string]struct {
		with   bool
		orders []order
		keys   *keylog.Store
		want   string
	}{
		"not asked for":       {false, nil, nil, ""},
		"with a key log":      {true, []order{lines, packets}, some, ""},
		"with one that grows": {true, []order{packets}, growing, ""},
		"no recording":        {true, []order{lines}, some, "needs -o pcapng=FILE"},
		"no keys":             {true, []order{packets}, keylog.NewStore(keylog.Options{}), "there are no keys"},
		"no packets":          {true, []order{packets}, nil, "there are no keys"},
	} {
		err := checkWithKeys(&config.Trace{WithKeys: c.with}, c.orders, c.keys, false)
		var status *statusError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &status) || status.status != exitUsage || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
