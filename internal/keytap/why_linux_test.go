package keytap

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhy asks at the beginning of a connection why a program's keys are missing.
func TestWhy(t *testing.T) {
	s := newServer(t, tls.VersionTLS13)
	client := s.expand([]string{"s_client", "-connect", "HOST:PORT"})
	connecting := "package main\nimport (\"net\"; \"os\")\nfunc main() { net.Dial(\"tcp\", os.Args[1]) }\n"
	dir := t.TempDir()
	java := filepath.Join(dir, "Client.java")
	source := `class Client { public static void main(String[] a) throws Exception { new java.net.Socket("` + s.host + `", ` + s.port + `); } }`
	if err := os.WriteFile(java, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	// looked looks a function up as programs do that aren't linked with the library.
	looked := `
import ctypes, socket, sys
l = ctypes.CDLL("libssl.so.3")
socket.create_connection((sys.argv[1], int(sys.argv[2])))`
	for _, c := range []struct {
		name string
		args []string
		// bare: the program gets the environment that it would have without a tap; unshimmed: there is no shim.
		bare, unshimmed bool
		want            string
	}{
		{name: "no environment", args: append([]string{"openssl"}, client...), bare: true, want: "started without the LD_PRELOAD that culprit sets"},
		{name: "cleared environment", args: append([]string{"env", "-i", programPath(t, "openssl")}, client...), want: "started without the LD_PRELOAD that culprit sets"},
		{name: "no shim", args: append([]string{"openssl"}, client...), unshimmed: true, want: "the shim that asks isn't there: the key-log shim that is named: /none: "},
		{name: "looked up", args: []string{python, "-c", looked, s.host, s.port}, want: "looks its functions up by itself"},
		{name: "GnuTLS", args: s.expand([]string{"gnutls-cli", "-p", "PORT", "HOST"}), bare: true, want: "so its GnuTLS writes no key log"},
		{name: "GnuTLS that doesn't heed it", args: s.expand([]string{"gnutls-cli", "-p", "PORT", "HOST"}), want: "this program's GnuTLS doesn't heed SSLKEYLOGFILE"},
		{name: "NSS that doesn't heed it", args: s.expand([]string{"tstclnt", "-D", "-o", "-Q", "-h", "HOST", "-p", "PORT"}), want: "this program's NSS doesn't heed SSLKEYLOGFILE"},
		{name: "node", args: s.expand([]string{"node", "-e", `require("net").connect(PORT, "HOST", () => process.exit())`}), bare: true,
			want: "so its node writes no key log"},
		{name: "Java", args: []string{"java", java}, want: "Java's own TLS writes no key log"},
		{name: "Go without TLS", args: []string{buildGo(t, connecting, nil, nil), s.host + ":" + s.port}, want: "no function crypto/tls.(*Config).writeKeyLog"},
		{name: "Go", args: []string{buildGo(t, goClient, nil, nil), s.host + ":" + s.port}, want: "the Go program's session began before"},
		{name: "unknown", args: s.expand([]string{"bash", "-c", "exec 3<>/dev/tcp/HOST/PORT"}), want: "its TLS library isn't known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.args[0] = programPath(t, c.args[0])
			o := Options{}
			if c.unshimmed {
				o.Shim = "/none"
			}
			x := prepare(t, environment(), o)
			if c.bare {
				x.env = environment()
			}
			w := &watch{tap: x.Tap, at: unix.SYS_CONNECT}
			w.trace(t, x.env, c.args...)
			if !slices.ContainsFunc(w.why, func(why string) bool { return strings.Contains(why, c.want) && !strings.Contains(why, "; or ") }) {
				t.Errorf("got %q, want %q alone", w.why, c.want)
			}
		})
	}
}

// TestLibrary: this process is a Go program; one that has ended is none.
func TestLibrary(t *testing.T) {
	x := New(nil)
	if names, err := x.Library(os.Getpid()); err != nil || !slices.Equal(names, []string{"Go"}) {
		t.Errorf("got %q, %v", names, err)
	}
	if names, err := x.Library(1 << 30); err == nil {
		t.Errorf("got %q", names)
	}
	if why := x.Why(1 << 30); why != "the program has ended, or can't be looked at" {
		t.Errorf("got %q", why)
	}
}

// TestLoaded: shared objects are told apart by their names.
func TestLoaded(t *testing.T) {
	for file, want := range map[string]string{
		"/lib/libssl.so.3": "OpenSSL", "/x/libssl.so.1.1": "OpenSSL", "/x/psycopg2.libs/libssl-5bf6d1c4.so.1.1.1k": "OpenSSL", "/lib/libssl.so.55": "LibreSSL",
		"/lib/libssl3.so": "NSS", "/lib/libgnutls.so.30.34.3": "GnuTLS", "/usr/lib/jvm/lib/server/libjvm.so": "Java", "/lib/libc.so.6": "",
		"/lib/libsslkeys.so": "", "/opt/" + shimFile: "", "/x/libcoreclr.so": ".NET",
	} {
		var got []string
		for _, l := range loaded([]string{"/bin/program", file}) {
			got = append(got, l.name)
		}
		if want == "" && len(got) != 0 || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

// TestLinked: marks are found wherever they are, also across the parts in which a program is read.
func TestLinked(t *testing.T) {
	for _, at := range []int{0, 1000, chunk - 3, chunk + overlap - 3, 2 * chunk, 3*chunk - 1} {
		b := make([]byte, 3*chunk+100)
		copy(b[at:], "/rustls-0.23.10/src/conn.rs")
		found, err := linked(bytes.NewReader(b))
		if err != nil || len(found) != 1 || found[0].name != "rustls" {
			t.Errorf("at %d: got %v, %v", at, found, err)
		}
	}
	if found, err := linked(strings.NewReader("nothing")); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v", found, err)
	}
	for i := range libraries {
		for _, m := range libraries[i].marks {
			if len(m) >= overlap {
				t.Errorf("%s: the mark %q is longer than what is read again", libraries[i].name, m)
			}
		}
		if l := &libraries[i]; (l.way == none) != (l.without != "") || len(l.files)+len(l.marks) == 0 {
			t.Errorf("%s: it has no way, or none to tell it by", l.name)
		}
	}
}
