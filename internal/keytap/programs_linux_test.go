package keytap

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bare makes connections with a context that nobody has given a key log, from as many threads as there are arguments more.
const bare = `
import socket, ssl, sys, threading
def one():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    s = c.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while s.recv(4096): pass
all = [threading.Thread(target=one) for i in range(int(sys.argv[3]))]
for t in all: t.start()
for t in all: t.join()
`

// programs are clients that write key logs when they are asked to, each in its way.
var programs = []struct {
	name, input string
	args        []string
	sessions    int
	// shim: it takes the shim.
	shim bool
}{
	{name: "curl", args: []string{"curl", "-sS", "--cacert", "CAFILE", "URL"}, sessions: 1},
	{name: "wget", args: []string{"wget", "-qO-", "--ca-certificate=CAFILE", "URL"}, sessions: 1},
	{name: "git", args: []string{"sh", "-c", "GIT_SSL_CAINFO=CAFILE git ls-remote URL/r.git; test $? = 128"}, sessions: 1},
	{name: "gnutls-cli", args: []string{"gnutls-cli", "--no-ca-verification", "-p", "PORT", "HOST"}, sessions: 1, input: "GET / HTTP/1.0\r\n\r\n"},
	{name: "openssl", args: []string{"openssl", "s_client", "-quiet", "-ign_eof", "-connect", "HOST:PORT"}, sessions: 1, input: "GET / HTTP/1.0\r\n\r\n", shim: true},
	{name: "python3 with the default context", args: []string{python, "-c", `
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2])).read()`, "URL", "CAFILE"}, sessions: 1},
	{name: "python3 with a bare context", args: []string{python, "-c", bare, "HOST", "PORT", "1"}, sessions: 1, shim: true},
	{name: "python3 with forty threads", args: []string{python, "-c", bare, "HOST", "PORT", "40"}, sessions: 40, shim: true},
	{name: "python3 with a key log of its own, forked", args: []string{python, "-c", `
import os, socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
c.keylog_filename = name = os.environ["OWN_LOG"]
assert c.keylog_filename == name
children = []
for i in range(3):
    child = os.fork()
    if child == 0:
        s = c.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while s.recv(4096): pass
        os._exit(0)
    children.append(child)
for c in children: assert os.waitpid(c, 0)[1] == 0
`, "HOST", "PORT"}, sessions: 3, shim: true},
	{name: "ruby", args: []string{"ruby", "-ropenssl", "-rnet/http", "-e", `
u = URI(ARGV[0]); h = Net::HTTP.new(u.host, u.port); h.use_ssl = true; h.verify_mode = OpenSSL::SSL::VERIFY_NONE; h.get("/")`, "URL"}, sessions: 1, shim: true},
	{name: "perl", args: []string{"perl", "-MIO::Socket::SSL", "-e", `
my $s = IO::Socket::SSL->new(PeerAddr => "HOST:PORT", SSL_verify_mode => 0) or die $SSL_ERROR; print $s "GET / HTTP/1.0\r\n\r\n"; print <$s>;`}, sessions: 1, shim: true},
	{name: "node", args: []string{"node", "-e", `
process.emitWarning("mine"); require("https").get({host: "HOST", port: PORT, rejectUnauthorized: false}, r => r.resume())`}, sessions: 1},
}

// TestPrograms holds what arrives against what the server knows, in both versions of TLS.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			name := p.args[0]
			if strings.HasPrefix(p.name, "git") {
				name = "git"
			}
			programPath(t, name)
			if name == "perl" {
				if out := run(t, environment(), "", "sh", "-c", "perl -MIO::Socket::SSL -e1 2>&1 || true"); out != "" {
					t.Skip("perl has no IO::Socket::SSL: make deps says how to get it")
				}
			}
			for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
				t.Run(name, func(t *testing.T) {
					s := newServer(t, version)
					own := filepath.Join(t.TempDir(), "own.log")
					x := prepare(t, environment("OWN_LOG="+own), Options{})
					if x.noShim != nil && p.shim {
						t.Skip(x.noShim)
					}
					out := run(t, x.env, p.input, s.expand(p.args)...)
					x.Sync()
					s.check(t, x.store, p.sessions)
					if strings.Contains(p.name, "of its own") {
						log, err := os.ReadFile(own)
						if err != nil || strings.Count(string(log), "\nCLIENT_") < p.sessions {
							t.Errorf("its own key log: %v\n%s", err, log)
						}
					}
					if strings.Contains(out, nodeOption) || strings.Contains(out, "ld.so") || p.name == "node" && !strings.Contains(out, "mine") {
						t.Errorf("it says\n%s", out)
					}
				})
			}
		})
	}
}

// TestTree: programs of several kinds, started by one that is traced, all give their keys.
func TestTree(t *testing.T) {
	for _, name := range []string{"curl", "openssl", "node"} {
		programPath(t, name)
	}
	s := newServer(t, tls.VersionTLS13)
	x := prepare(t, environment(), Options{})
	if x.noShim != nil {
		t.Skip(x.noShim)
	}
	script := `
set -e
curl -sS --cacert CAFILE URL
GOPROGRAM HOST:PORT &
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -ign_eof -connect HOST:PORT 2>&1
(cd /; exec node -e 'require("https").get({host: "HOST", port: PORT, rejectUnauthorized: false}, r => r.resume())')
wait $!
`
	script = strings.ReplaceAll(script, "GOPROGRAM", buildGo(t, goClient, nil, nil))
	w := &watch{tap: x.Tap}
	if status := w.trace(t, x.env, append([]string{"/bin/sh", "-c"}, s.expand([]string{script})...)...); status != 0 {
		t.Errorf("it ended with %d", status)
	}
	x.Sync()
	s.check(t, x.store, 23)
}
