//go:build linux

package peers

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

func certificates(t *testing.T) tlspeers.Certificates {
	t.Helper()
	c, err := tlspeers.MakeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// anySuite makes openssl take every cipher suite that was built in.
const anySuite = "ALL:eNULL:@SECLEVEL=0"

// anyServer are the options of a server that takes whatever its client wants.
func anyServer(c tlspeers.Certificates, more ...string) []string {
	return append([]string{"-cert", c.Cert("rsa"), "-key", c.Key("rsa"), "-dcert", c.Cert("ecdsa"), "-dkey", c.Key("ecdsa"), "-cipher", anySuite,
		"-ciphersuites", strings.Join(suites13, ":"), "-client_renegotiation"}, more...)
}

func startServer(t *testing.T, options ...string) *tlspeers.Server {
	t.Helper()
	program(t, "openssl")
	s, err := tlspeers.StartServer(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// suites13 are those of TLS 1.3 (RFC 8446 §B.4).
var suites13 = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}

// suite is a cipher suite by openssl's and by IANA's name.
type suite struct{ openssl, iana string }

// suites returns those of openssl that a version can use, but for those that need more than certificates.
func suites(t *testing.T, version string) (all []suite, left []string) {
	t.Helper()
	out, err := tlspeers.Output("", nil, "openssl", "ciphers", "-s", version, "-stdname", anySuite)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		// TLS_RSA_WITH_AES_128_CBC_SHA - AES128-SHA SSLv3 Kx=RSA Au=RSA Enc=AES(128) Mac=SHA1
		f := strings.Fields(line)
		switch {
		case len(f) < 4 || strings.HasPrefix(f[2], "TLS_"): // of TLS 1.3
		case slices.Contains(f, "Au=DSS"):
			left = append(left, f[2])
		default:
			all = append(all, suite{f[2], f[0]})
		}
	}
	return all, left
}

// unsupported reports whether culprit doesn't read a cipher suite, which says so: nobody uses these.
func unsupported(iana string) bool {
	return strings.Contains(iana, "_CAMELLIA_") || strings.Contains(iana, "_ARIA_")
}

// segments are the lengths of segments that a test uses in turn: records come whole, many in one, and in pieces.
func segments(i int) int {
	lengths := []int{tlspeers.DefaultSegment, 100, 60000, 7}
	return lengths[i%len(lengths)]
}

// dialogue is one connection of s_client.
type dialogue struct {
	options []string
	// early is the target of a request in the first flight; then comes the first request of said. Commands are given
	// before the request of the same index.
	early    string
	asks     []ask
	commands map[int]string
	// lateEarly: the early data are rejected, so that the request must come again.
	rejected bool
}

type ask struct {
	target string
	body   int // bytes; -1: none
}

// usual are the requests of most connections: none fits into one record, or fills whole ones.
func usual(name string) []ask {
	return []ask{{"/" + name + "/first?size=20000", -1}, {"/" + name + "/second?size=333", 20001}, {"/" + name + "/third?size=0", 1}}
}

// hold has dialogues with a server, one after the other, and returns the recording, and what was said.
func hold(t *testing.T, address string, segment int, log string, dialogues ...dialogue) (pcap []byte, said [][]tlspeers.Said) {
	t.Helper()
	w, err := tlspeers.NewWire(address, segment)
	if err != nil {
		t.Fatal(err)
	}
	for i := range dialogues {
		d := &dialogues[i]
		options := d.options
		if d.early != "" {
			file := filepath.Join(t.TempDir(), "early")
			if err := tlspeers.Early(file, d.early, nil); err != nil {
				t.Fatal(err)
			}
			options = append(slices.Clone(options), "-early_data", file)
		}
		c, err := tlspeers.StartClient(w.Address(), append(slices.Clone(options), "-keylogfile", log)...)
		if err != nil {
			t.Fatal(err)
		}
		if d.early != "" && !d.rejected {
			if err := c.ReceiveEarly(d.early, nil); err != nil {
				t.Error(err)
			}
		}
		for j, a := range d.asks {
			if letter := d.commands[j]; letter != "" {
				if err := c.Command(letter); err != nil {
					t.Error(err)
				}
			}
			var body []byte
			if a.body >= 0 {
				path, _, _ := strings.Cut(a.target, "?")
				body = tlspeers.Digits(path, a.body)
			}
			if err := c.Ask(a.target, body); err != nil {
				t.Error(err)
				break
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		said = append(said, c.All)
	}
	pcap, err = w.Stop()
	if err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	return pcap, said
}

func readKeys(t *testing.T, log string) []byte {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTLSSuites has openssl's client ask its server with every cipher suite that the two share, in TLS 1.0 to 1.2: in a
// session of its own, and in one that is taken up again by a ticket and by its id.
func TestTLSSuites(t *testing.T) {
	c := certificates(t)
	tickets, ids := startServer(t, anyServer(c)...), startServer(t, anyServer(c, "-no_ticket")...)
	n := 0
	for _, version := range []struct{ option, name string }{{"-tls1", "1.0"}, {"-tls1_1", "1.1"}, {"-tls1_2", "1.2"}} {
		all, left := suites(t, version.option)
		t.Logf("TLS %s: %d suites; left out, since they need certificates of DSA: %s", version.name, len(all), strings.Join(left, " "))
		for i, s := range all {
			if testing.Short() && i%4 != 0 {
				continue
			}
			server, resumption := tickets, "ticket"
			if n++; n%2 == 0 {
				server, resumption = ids, "id"
			}
			t.Run(version.name+"/"+s.openssl, func(t *testing.T) {
				dir := t.TempDir()
				log, session := filepath.Join(dir, "keys"), filepath.Join(dir, "session")
				options := []string{version.option, "-cipher", s.openssl + ":@SECLEVEL=0"}
				pcap, said := hold(t, server.Address, segments(n), log,
					dialogue{options: append(slices.Clone(options), "-sess_out", session), asks: usual(s.openssl)},
					dialogue{options: append(slices.Clone(options), "-sess_in", session), asks: usual(s.openssl)})
				whole := facts{version: version.name, suite: s.iana, undecryptable: unsupported(s.iana), serverCertHidden: strings.Contains(s.iana, "_anon_")}
				again := whole
				again.resumption = resumption
				if whole.undecryptable {
					said = [][]tlspeers.Said{nil, nil}
				}
				check(t, pcap, readKeys(t, log), []conversation{{whole, said[0]}, {again, said[1]}})
			})
		}
	}
}

// TestTLS13 does the same in TLS 1.3, with early data and updates of keys.
func TestTLS13(t *testing.T) {
	c := certificates(t)
	s := startServer(t, anyServer(c, "-early_data")...)
	for i, name := range suites13 {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log, session := filepath.Join(dir, "keys"), filepath.Join(dir, "session")
			options := []string{"-tls1_3", "-ciphersuites", name}
			updates := map[int]string{1: tlspeers.UpdateKeys, 2: tlspeers.UpdateAllKeys}
			out, in := append(slices.Clone(options), "-sess_out", session), append(slices.Clone(options), "-sess_in", session)
			pcap, said := hold(t, s.Address, segments(i), log,
				dialogue{options: out, asks: usual("whole"), commands: updates},
				dialogue{options: append(slices.Clone(in), "-sess_out", session), asks: usual("again"), commands: updates},
				dialogue{options: append(slices.Clone(in), "-sess_out", session), early: "/early/get?size=3000", asks: usual("early"), commands: updates},
				// A ticket is good for one time.
				dialogue{options: in, early: "/early/again?size=3000", asks: usual("once"), commands: updates},
				dialogue{options: in, early: "/early/rejected?size=3000", rejected: true, asks: usual("rejected"), commands: updates})
			f := facts{version: "1.3", suite: name, updates: 3}
			psk, accepted, rejected := f, f, f
			psk.resumption = "psk"
			accepted.resumption, accepted.earlyData = "psk", "accepted"
			rejected.earlyData = "rejected"
			check(t, pcap, readKeys(t, log), []conversation{{f, said[0]}, {psk, said[1]}, {accepted, said[2]}, {accepted, said[3]}, {rejected, said[4]}})
		})
	}
}

// TestTLSVariants are handshakes and records that differ from the usual ones.
func TestTLSVariants(t *testing.T) {
	c := certificates(t)
	const gcm12, gcm13 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"
	twelve, thirteen := facts{version: "1.2", suite: gcm12}, facts{version: "1.3", suite: gcm13}
	with := func(f facts, change func(f *facts)) facts { change(&f); return f }
	cbc := func(iana string) facts { return facts{version: "1.2", suite: iana} }
	for i, v := range []struct {
		name           string
		server, client []string
		commands       map[int]string
		want           facts
	}{
		{"retry", []string{"-groups", "P-384"}, []string{"-groups", "X25519:P-384"}, nil, with(thirteen, func(f *facts) { f.retry = true })},
		{"P-521", nil, []string{"-groups", "P-521"}, nil, thirteen},
		{"X448", nil, []string{"-groups", "X448"}, nil, thirteen},
		{"ffdhe2048", []string{"-groups", "ffdhe2048"}, []string{"-groups", "ffdhe2048"}, nil, thirteen},
		{"client certificate 1.2", []string{"-Verify", "1", "-CAfile", c.Cert("ca")}, []string{"-tls1_2", "-cert", c.Cert("client"), "-key", c.Key("client")}, nil,
			with(twelve, func(f *facts) { f.clientCert = "a customer" })},
		{"client certificate 1.3", []string{"-Verify", "1", "-CAfile", c.Cert("ca")}, []string{"-cert", c.Cert("client"), "-key", c.Key("client")}, nil,
			with(thirteen, func(f *facts) { f.clientCert = "a customer" })},
		{"no encrypt-then-mac SHA1", nil, []string{"-tls1_2", "-no_etm", "-cipher", "AES128-SHA:@SECLEVEL=0"}, nil, cbc("TLS_RSA_WITH_AES_128_CBC_SHA")},
		{"no encrypt-then-mac SHA256", nil, []string{"-tls1_2", "-no_etm", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"}, nil, cbc("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256")},
		{"no encrypt-then-mac SHA384", nil, []string{"-tls1_2", "-no_etm", "-cipher", "ECDHE-RSA-AES256-SHA384:@SECLEVEL=0"}, nil, cbc("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384")},
		{"small records 1.2", []string{"-max_send_frag", "512"}, []string{"-tls1_2", "-max_send_frag", "512"}, nil, twelve},
		{"small records 1.3", []string{"-max_send_frag", "512"}, []string{"-max_send_frag", "512"}, nil, thirteen},
		{"maximum fragment length", nil, []string{"-tls1_2", "-maxfraglen", "512"}, nil, twelve},
		{"split records", []string{"-split_send_frag", "600"}, []string{"-tls1_2", "-split_send_frag", "600"}, nil, twelve},
		{"padded records", []string{"-record_padding", "1000"}, []string{"-record_padding", "333"}, nil, thirteen},
		{"no tickets", []string{"-num_tickets", "0"}, nil, nil, thirteen},
		{"many tickets", []string{"-num_tickets", "20"}, nil, nil, thirteen},
		{"renegotiation", nil, []string{"-tls1_2"}, map[int]string{1: tlspeers.Renegotiate, 2: tlspeers.Renegotiate},
			with(twelve, func(f *facts) { f.renegotiations = 2 })},
		{"renegotiation with CBC", nil, []string{"-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"}, map[int]string{2: tlspeers.Renegotiate},
			with(cbc("TLS_RSA_WITH_AES_128_CBC_SHA"), func(f *facts) { f.renegotiations = 1 })},
		{"ALPN", []string{"-alpn", "http/1.1"}, []string{"-alpn", "h2,http/1.1"}, nil, with(thirteen, func(f *facts) { f.alpn = "http/1.1" })},
		{"no middlebox", []string{"-no_middlebox"}, []string{"-no_middlebox"}, nil, thirteen},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, anyServer(c, v.server...)...)
			log := filepath.Join(t.TempDir(), "keys")
			pcap, said := hold(t, s.Address, segments(i), log, dialogue{options: v.client, asks: usual("x"), commands: v.commands})
			check(t, pcap, readKeys(t, log), []conversation{{v.want, said[0]}})
		})
	}
}

// TestTLSServerKeys uses the key log of the server.
func TestTLSServerKeys(t *testing.T) {
	c := certificates(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "server")
	s := startServer(t, anyServer(c, "-keylogfile", log)...)
	pcap, said := hold(t, s.Address, tlspeers.DefaultSegment, filepath.Join(dir, "client"),
		dialogue{options: []string{"-tls1_2"}, asks: usual("a")}, dialogue{options: []string{"-tls1_3"}, asks: usual("b")})
	check(t, pcap, readKeys(t, log), []conversation{
		{facts{version: "1.2", suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, said[0]},
		{facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384"}, said[1]},
	})
}

// TestTLSLostSegment leaves out a segment in the middle of a body: it costs what was in it, and no more.
func TestTLSLostSegment(t *testing.T) {
	c := certificates(t)
	s := startServer(t, anyServer(c)...)
	for _, v := range [][]string{{"-tls1_3"}, {"-tls1_2"}, {"-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"}} {
		t.Run(strings.Join(v, " "), func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "keys")
			asks := []ask{{"/a?size=10", -1}, {"/b?size=200000", -1}, {"/c?size=1000", -1}, {"/d?size=100000", -1}}
			pcap, said := hold(t, s.Address, tlspeers.DefaultSegment, log, dialogue{options: v, asks: asks})
			// The first of at least 50 full segments that follow one another is the long body's.
			full, dropped := 0, false
			cut := without(pcap, func(_ int, packet []byte) bool {
				if len(packet) == 40+tlspeers.DefaultSegment {
					full++
				}
				if full == 60 && !dropped {
					dropped = true
					return true
				}
				return false
			})
			have := observe(t, cut, readKeys(t, log))
			if len(have) != 1 {
				t.Fatalf("%d connections", len(have))
			}
			t.Log(describe(have[0]))
			for i, w := range said[0] {
				j := slices.IndexFunc(have[0], func(h seen) bool { return h.Target == w.Target })
				if j < 0 {
					t.Errorf("%s is missing", w.Target)
					continue
				}
				h := &have[0][j]
				if i != 1 {
					same(t, w.Target, h.Said.Response, w.Response)
					if h.grade != "complete" {
						t.Errorf("%s: %s %s", w.Target, h.grade, h.reason)
					}
				} else if h.grade != "gap" || h.Status != 200 {
					t.Errorf("%s: %d %s %s", w.Target, h.Status, h.grade, h.reason)
				}
			}
			if len(have[0]) != len(said[0]) {
				t.Errorf("%d exchanges instead of %d", len(have[0]), len(said[0]))
			}
		})
	}
}

// TestTLSWithoutKeys has no keys, or too few of them, or not the beginning.
func TestTLSWithoutKeys(t *testing.T) {
	c := certificates(t)
	s := startServer(t, anyServer(c)...)
	log := filepath.Join(t.TempDir(), "keys")
	for _, v := range []struct {
		name, option, reason string
		facts
		keys func(log []byte) []byte
		drop func(i int) bool
	}{
		{"none", "-tls1_2", "no keys were given", facts{version: "1.2", suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, func([]byte) []byte { return nil }, nil},
		{"none", "-tls1_3", "no keys were given", facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", serverCertHidden: true}, func([]byte) []byte { return nil }, nil},
		{"others'", "-tls1_3", "no key for this client random", facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", serverCertHidden: true}, func([]byte) []byte { return otherKeys() }, nil},
		{"only the handshake's", "-tls1_3", "no key for this client random", facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384"}, func(log []byte) []byte { return lines(log, "HANDSHAKE") }, nil},
		{"from the middle", "-tls1_3", "the capture began after the handshake", facts{}, func(log []byte) []byte { return log }, func(i int) bool { return i < 6 }},
	} {
		t.Run(v.name+v.option, func(t *testing.T) {
			pcap, _ := hold(t, s.Address, tlspeers.DefaultSegment, log, dialogue{options: []string{v.option}, asks: usual("x")})
			if v.drop != nil {
				pcap = without(pcap, func(i int, _ []byte) bool { return v.drop(i) })
			}
			have := observe(t, pcap, v.keys(readKeys(t, log)))
			if len(have) != 1 || len(have[0]) != 1 {
				t.Fatalf("%d connections: %v", len(have), have)
			}
			t.Log(describe(have[0]))
			x := &have[0][0]
			if x.grade != "undecryptable" || x.tls == nil || !strings.Contains(x.reason, v.reason) && !strings.Contains(x.tls.Reason, v.reason) {
				t.Errorf("grade %s, reason %q", x.grade, x.reason)
			}
			if v.version != "" {
				v.undecryptable = true
				compareFacts(t, 0, have[0], &v.facts)
			}
		})
	}
}

// otherKeys is a line of a key log, of a session that nobody has.
func otherKeys() []byte {
	return []byte("CLIENT_RANDOM " + strings.Repeat("ab", 32) + " " + strings.Repeat("cd", 48) + "\n")
}

// lines returns those of a key log that hold a word.
func lines(log []byte, word string) (out []byte) {
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(word)) {
			out = append(out, line...)
		}
	}
	return out
}

// TestTLSAlert is a client that doesn't trust the server.
func TestTLSAlert(t *testing.T) {
	c := certificates(t)
	s := startServer(t, anyServer(c)...)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			w, err := tlspeers.NewWire(s.Address, tlspeers.DefaultSegment)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tlspeers.Output(dir, nil, "openssl", "s_client", "-connect", w.Address(), "-servername", tlspeers.ServerName, version, "-verify_return_error", "-keylogfile", "keys")
			if err == nil {
				t.Error("openssl trusts everybody")
			}
			pcap, err := w.Stop()
			if err != nil {
				t.Error(err)
			}
			have := observe(t, pcap, readKeys(t, filepath.Join(dir, "keys")))
			if len(have) != 1 || len(have[0]) != 1 || have[0][0].tls == nil {
				t.Fatalf("%v", have)
			}
			t.Log(describe(have[0]))
			if a := have[0][0].tls.Fatal(); a == nil || a.Name != "unknown_ca" || a.Dir != have[0][0].tls.Client {
				t.Errorf("%+v", have[0][0].tls.Alerts)
			}
			if f := have[0][0].tls; f.ServerName != tlspeers.ServerName || f.Established {
				t.Errorf("%+v", f)
			}
		})
	}
}

// noExtendedMasterSecret is a configuration of openssl.
const noExtendedMasterSecret = `
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = usual
[usual]
Options = -ExtendedMasterSecret
`

// TestTLSNoExtendedMasterSecret makes the master secret of the two randoms, as before RFC 7627. Key logs hold the master
// secret itself, so it matters to none but those who have the server's private key.
func TestTLSNoExtendedMasterSecret(t *testing.T) {
	c := certificates(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "openssl.cnf")
	if err := os.WriteFile(config, []byte(noExtendedMasterSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OPENSSL_CONF", config)
	s := startServer(t, anyServer(c)...)
	log := filepath.Join(dir, "keys")
	pcap, said := hold(t, s.Address, tlspeers.DefaultSegment, log, dialogue{options: []string{"-tls1_2", "-cipher", "AES256-SHA256:@SECLEVEL=0"}, asks: usual("a")})
	if bytes.Contains(pcap, []byte{0, 0x17, 0, 0}) { // the extension, empty
		t.Skip("this openssl can't do without the extended master secret")
	}
	check(t, pcap, readKeys(t, log), []conversation{{facts{version: "1.2", suite: "TLS_RSA_WITH_AES_256_CBC_SHA256"}, said[0]}})
}

// TestTLSPrivateKey has the server's private key, and no key log: that is enough where the key exchange is RSA's, with an
// extended master secret (RFC 7627) and without. It isn't for sessions that are taken up again, whose secret is in none of
// their packets.
func TestTLSPrivateKey(t *testing.T) {
	c := certificates(t)
	pem, err := os.ReadFile(c.Key("rsa"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := keylog.ParseRSA(pem)
	if err != nil || len(private) != 1 {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "openssl.cnf")
	if err := os.WriteFile(plain, []byte(noExtendedMasterSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name, config string
		options      []string
		facts
	}{
		{"1.0", "", []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}, facts{version: "1.0", suite: "TLS_RSA_WITH_AES_128_CBC_SHA"}},
		{"1.2", "", []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, facts{version: "1.2", suite: "TLS_RSA_WITH_AES_128_GCM_SHA256"}},
		{"1.2, CCM", "", []string{"-tls1_2", "-cipher", "AES256-CCM8"}, facts{version: "1.2", suite: "TLS_RSA_WITH_AES_256_CCM_8"}},
		{"1.2 without extended master secret", plain, []string{"-tls1_2", "-cipher", "AES256-SHA256"}, facts{version: "1.2", suite: "TLS_RSA_WITH_AES_256_CBC_SHA256"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			if v.config != "" {
				t.Setenv("OPENSSL_CONF", v.config)
			}
			s := startServer(t, anyServer(c)...)
			dir := t.TempDir()
			session := filepath.Join(dir, "session")
			pcap, said := hold(t, s.Address, tlspeers.DefaultSegment, filepath.Join(dir, "keys"),
				dialogue{options: append(slices.Clone(v.options), "-sess_out", session), asks: usual("a")},
				dialogue{options: append(slices.Clone(v.options), "-sess_in", session), asks: usual("b")})
			keys := store(t, nil)
			keys.AddRSA(private[0])
			keys.Publish()
			again := v.facts
			again.resumption, again.undecryptable = "ticket", true
			compareAll(t, observeWith(t, pcap, keys), []conversation{{v.facts, said[0]}, {again, nil}})
			if t.Failed() {
				keep(t, pcap, pem)
			}
		})
	}
}
