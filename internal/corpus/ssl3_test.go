package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// TestSSL3 reads a capture of SSL 3.0 with each of the two kinds of lines in its key log alone: those that name a session by
// the client's random, and those that name it by the id that the server gives it.
func TestSSL3(t *testing.T) {
	const name = "wireshark.rsasnakeoil2"
	root := shared(t, "corpus")
	entries := readIndex(t, root)
	e := entries[slices.IndexFunc(entries, func(e entry) bool { return e.name == name })]
	want := readExpectation(t, filepath.Join(root, "expected", name+".tsv"))
	if len(want) == 0 {
		t.Fatal("no exchanges are expected")
	}
	log, err := os.ReadFile(e.keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"CLIENT_RANDOM ", "RSA Session-ID:"} {
		keys := filepath.Join(t.TempDir(), "keys")
		var lines string
		for line := range strings.Lines(string(log)) {
			if strings.HasPrefix(line, kind) {
				lines += line
			}
		}
		if err := os.WriteFile(keys, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		var have []row
		if _, err := run(e.file, keys, 1, func(x *exchange.Exchange) {
			if x.TLS == nil || x.TLS.Version != 0x0300 || !x.TLS.Decrypted {
				t.Errorf("%s: TLS %+v", kind, x.TLS)
			}
			have = append(have, ours(x))
		}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		differences, _ := compare(want, have)
		for _, d := range differences {
			t.Errorf("%s: %v", kind, d)
		}
	}
}
