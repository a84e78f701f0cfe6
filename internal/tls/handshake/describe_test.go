package handshake

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/proto"
)

// issue signs a template with a key of its own.
func issue(t *testing.T, template *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(1)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ecKeyOf(t *testing.T, curve elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDescribe(t *testing.T) {
	link, _ := url.Parse("spiffe://a.example/b")
	from, to := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), time.Date(2052, 1, 1, 0, 0, 0, 0, time.UTC)
	der := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(0x0abcdef),
		Subject: pkix.Name{CommonName: "www.example.com", Organization: []string{`Wile, Inc. "E"`}, Country: []string{"DE"},
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@b.example"}}},
		NotBefore: from, NotAfter: to,
		DNSNames: []string{"www.example.com", "*.example.com"}, EmailAddresses: []string{"a@b.example"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1).To4(), net.ParseIP("2001:db8::1")}, URIs: []*url.URL{link},
	}, ecKeyOf(t, elliptic.P256()))
	want := proto.Certificate{
		Subject:    `emailAddress=a@b.example,CN=www.example.com,O=Wile\, Inc. \"E\",C=DE`,
		CommonName: "www.example.com",
		Names:      []string{"www.example.com", "*.example.com", "a@b.example", "10.0.0.1", "2001:db8::1", "spiffe://a.example/b"},
		NotBefore:  from.UnixNano(), NotAfter: to.UnixNano(),
		Serial: "ABCDEF", SHA256: fmt.Sprintf("%X", sha256.Sum256(der)), Key: "EC P-256", Signature: "ECDSA-SHA256",
	}
	want.Issuer, want.IssuerName = want.Subject, want.CommonName
	got := Describe(der)
	if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v\nwant\n%+v", *got, want)
	}
}

func TestKeysAndSignatures(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key             crypto.Signer
		algorithm       x509.SignatureAlgorithm
		name, signature string
	}{
		{rsaKey, x509.SHA256WithRSA, "RSA 2048", "SHA256-RSA"},
		{rsaKey, x509.SHA384WithRSA, "RSA 2048", "SHA384-RSA"},
		{rsaKey, x509.SHA256WithRSAPSS, "RSA 2048", "SHA256-RSAPSS"},
		{rsaKey, x509.SHA512WithRSAPSS, "RSA 2048", "SHA512-RSAPSS"},
		{ecKeyOf(t, elliptic.P384()), x509.ECDSAWithSHA384, "EC P-384", "ECDSA-SHA384"},
		{ecKeyOf(t, elliptic.P521()), x509.ECDSAWithSHA512, "EC P-521", "ECDSA-SHA512"},
		{edKey, x509.PureEd25519, "Ed25519", "Ed25519"},
	} {
		got := Describe(issue(t, &x509.Certificate{SignatureAlgorithm: c.algorithm}, c.key))
		if got.Key != c.name || got.Signature != c.signature || got.Malformed {
			t.Errorf("%v: got %q, %q", c.algorithm, got.Key, got.Signature)
		}
		if got.Subject != "" || got.CommonName != "" || got.Names != nil {
			t.Errorf("%v: an empty name gives %q, %q, %q", c.algorithm, got.Subject, got.CommonName, got.Names)
		}
	}
}

// TestOpenSSLCertificates describes certificates that crypto/x509 doesn't make, some of which it refuses to parse.
func TestOpenSSLCertificates(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl isn't installed: its certificates can't be tried")
	}
	for _, c := range []struct {
		arguments            []string
		key, signature, name string
		serial               string
		refused              bool
	}{
		{[]string{"-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-subj", "/CN=a"}, "RSA-PSS 2048", "SHA256-RSAPSS", "a", "", false},
		{[]string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1", "-subj", "/O=b"}, "EC brainpoolP256r1", "ECDSA-SHA256", "b", "", true},
		{[]string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-subj", "/OU=c"}, "EC secp256k1", "ECDSA-SHA256", "c", "", true},
		{[]string{"-newkey", "ed448", "-subj", "/CN=d"}, "Ed448", "Ed448", "d", "", false},
		{[]string{"-newkey", "ed25519", "-subj", "/CN=e", "-set_serial", "-258"}, "Ed25519", "Ed25519", "e", "-0102", true},
		{[]string{"-newkey", "ed25519", "-subj", "/CN=f", "-set_serial", "0"}, "Ed25519", "Ed25519", "f", "00", false},
		{[]string{"-newkey", "ed25519", "-utf8", "-subj", "/CN=gü/O=x", "-nameopt", "utf8"}, "Ed25519", "Ed25519", "gü", "", false},
		{[]string{"-newkey", "ed25519", "-subj", "/CN=h", "-addext", "subjectAltName=DNS:h.example,URI:http://[bad/%zz"}, "Ed25519", "Ed25519", "h", "", true},
	} {
		out := filepath.Join(t.TempDir(), "certificate")
		args := append([]string{"req", "-x509", "-nodes", "-days", "10", "-keyout", os.DevNull, "-outform", "DER", "-out", out}, c.arguments...)
		if text, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Errorf("openssl %s: %v\n%s", c.arguments, err, text)
			continue
		}
		der, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x509.ParseCertificate(der)
		if c.refused && err == nil {
			t.Logf("%s: crypto/x509 takes it by now", c.arguments)
		}
		got := Describe(der)
		if got.Malformed || got.Key != c.key || got.Signature != c.signature || got.CommonName != c.name || c.serial != "" && got.Serial != c.serial {
			t.Errorf("%s: got %+v", c.arguments, *got)
		}
		if got.NotAfter-got.NotBefore != int64(10*24*time.Hour) {
			t.Errorf("%s: valid from %d to %d", c.arguments, got.NotBefore, got.NotAfter)
		}
		if c.name == "h" && !slices.Equal(got.Names, []string{"h.example", "http://[bad/%zz"}) {
			t.Errorf("names %q", got.Names)
		}
	}
}

func TestDescribeLimits(t *testing.T) {
	key := ecKeyOf(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(1), 150),
		Subject:      pkix.Name{CommonName: strings.Repeat("n", 10000)},
		NotBefore:    time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	for i := range 10000 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("n%d.example", i))
		template.Subject.OrganizationalUnit = append(template.Subject.OrganizationalUnit, fmt.Sprint(i))
	}
	c := Describe(issue(t, template, key))
	if len(c.Names) != MaxNames || c.Names[99] != "n99.example" {
		t.Errorf("%d names, the last is %q", len(c.Names), c.Names[len(c.Names)-1])
	}
	if !strings.HasPrefix(c.Subject, "CN="+strings.Repeat("n", MaxAttributeValue)+"…,OU=") || !strings.HasSuffix(c.Subject, ",…") || strings.Count(c.Subject, "OU=") > MaxAttributes {
		t.Errorf("the subject is %q", c.Subject)
	}
	if c.NotBefore != earliest || c.NotAfter != math.MaxInt64 {
		t.Errorf("valid from %d to %d", c.NotBefore, c.NotAfter)
	}
	template.DNSNames = slices.Repeat([]string{strings.Repeat("x", 250)}, 99)
	c = Describe(issue(t, template, key))
	if n := len(strings.Join(c.Names, "")); n > MaxNamesBytes || n < MaxNamesBytes-250 {
		t.Errorf("names of %d bytes", n)
	}
	if len(c.Serial) != 38 {
		t.Errorf("the serial number is %q", c.Serial)
	}
}

// TestBrokenCertificates cuts a certificate at every length and changes each of its bytes: the fingerprint is always
// told, texts stay UTF-8.
func TestBrokenCertificates(t *testing.T) {
	der := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ünicode.example"}, DNSNames: []string{"a.example"}}, ecKeyOf(t, elliptic.P256()))
	for n := range len(der) {
		if c := Describe(der[:n]); !c.Malformed || len(c.SHA256) != 64 || c.Subject != "" {
			t.Fatalf("cut at %d: %+v", n, *c)
		}
	}
	for i := range der {
		b := bytes.Clone(der)
		b[i] ^= 0xff
		checkTexts(t, Describe(b))
	}
}

func checkTexts(t *testing.T, c *proto.Certificate) {
	t.Helper()
	if len(c.SHA256) != 64 {
		t.Errorf("fingerprint %q", c.SHA256)
	}
	if c.Malformed && (c.Subject != "" || c.Serial != "" || c.Names != nil) {
		t.Errorf("malformed, but %+v", *c)
	}
	for _, s := range append([]string{c.Subject, c.Issuer, c.CommonName, c.IssuerName, c.Serial, c.Key, c.Signature}, c.Names...) {
		if !utf8.ValidString(s) || len(s) > 40<<10 {
			t.Errorf("a text of %d bytes: %.300q", len(s), s)
		}
	}
	if len(c.Names) > MaxNames {
		t.Errorf("%d names", len(c.Names))
	}
}

func TestDistinguishedName(t *testing.T) {
	type value struct {
		tag   int
		bytes string
	}
	build := func(values ...value) []byte {
		var rdns []asn1.RawValue
		for _, v := range values {
			der, err := asn1.Marshal(struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: v.tag, Bytes: []byte(v.bytes)}})
			if err != nil {
				t.Fatal(err)
			}
			rdns = append(rdns, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: der})
		}
		der, err := asn1.Marshal(rdns)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, c := range []struct {
		value      value
		text, name string
	}{
		{value{12, "plain"}, "CN=plain", "plain"},
		{value{19, "*&@"}, "CN=*&@", "*&@"},
		{value{20, "M\xfcller"}, "CN=Müller", "Müller"},
		{value{20, "Müller"}, "CN=Müller", "Müller"},
		{value{30, "\x00M\x00\xfc"}, "CN=Mü", "Mü"},
		{value{28, "\x00\x00\x00M\x00\x01\xf6\x00"}, "CN=M😀", "M😀"},
		{value{12, "bad\xff"}, "CN=bad\ufffd", "bad\ufffd"},
		{value{12, " a#"}, `CN=\ a#`, " a#"},
		{value{12, "#a "}, `CN=\#a\ `, "#a "},
		{value{12, `a,b+c"d\e<f>g;h`}, `CN=a\,b\+c\"d\\e\<f\>g\;h`, `a,b+c"d\e<f>g;h`},
		{value{12, "line\nend\x1b["}, "CN=line\nend\x1b[", "line\nend\x1b["},
		{value{2, "\x05"}, "CN=#020105", ""},
	} {
		if text, name := distinguishedName(build(c.value)); text != c.text || name != c.name {
			t.Errorf("%+v: got %q, %q", c.value, text, name)
		}
	}
	if text, name := distinguishedName(build(value{12, "first"}, value{12, "second"})); text != "CN=second,CN=first" || name != "second" {
		t.Errorf("got %q, %q", text, name)
	}
	if text, name := distinguishedName([]byte{1, 2, 3}); text != "" || name != "" {
		t.Errorf("got %q, %q of nonsense", text, name)
	}
}

// TestCorpusCertificates compares the certificates of others' captures with what crypto/x509 says of them.
func TestCorpusCertificates(t *testing.T) {
	root := corpus(t)
	index, err := os.ReadFile(filepath.Join(root, "INDEX.tsv"))
	if err != nil {
		t.Fatal("CULPRIT_SHARED holds no corpus: ", err)
	}
	compared := 0
	for line := range strings.Lines(string(index)) {
		columns := strings.Split(line, "\t")
		if !strings.Contains(columns[3], "tls") {
			continue
		}
		for _, s := range connections(t, filepath.Join(root, columns[1])) {
			for i := range s.sides {
				version := uint16(0)
				for _, m := range firstPlain(s.sides[i].Bytes()) {
					if h, err := ParseServerHello(m.body); m.kind == TypeServerHello && err == nil {
						version = h.Version
					}
					if m.kind == TypeServerKeyExchange {
						if g, ok := ServerGroup(m.body); ok && !strings.HasPrefix(GroupName(g), "sec") && GroupName(g) != "x25519" {
							t.Errorf("%s: group %s", columns[0], GroupName(g))
						}
					}
					if m.kind != TypeCertificate {
						continue
					}
					chain, err := Certificates(version, m.body)
					if err != nil {
						t.Errorf("%s: %v", columns[0], err)
					}
					for _, der := range chain {
						compared++
						compareCertificate(t, columns[0], der)
					}
				}
			}
		}
	}
	t.Log(compared, "certificates were compared")
	if compared < 40 {
		t.Errorf("only %d certificates were compared", compared)
	}
}

func compareCertificate(t *testing.T, capture string, der []byte) {
	t.Helper()
	got := Describe(der)
	checkTexts(t, got)
	want, err := x509.ParseCertificate(der)
	if err != nil {
		t.Logf("%s: %v; we have %+v", capture, err, *got)
		return
	}
	if got.Malformed || got.CommonName != want.Subject.CommonName && want.Subject.CommonName != "" || got.NotBefore != want.NotBefore.UnixNano() ||
		got.NotAfter != want.NotAfter.UnixNano() || got.Signature != want.SignatureAlgorithm.String() {
		t.Errorf("%s: got %+v", capture, *got)
	}
	if serial, ok := new(big.Int).SetString(got.Serial, 16); !ok || serial.Cmp(want.SerialNumber) != 0 {
		t.Errorf("%s: serial number %s, want %x", capture, got.Serial, want.SerialNumber)
	}
	var names []string
	names = append(append(names, want.DNSNames...), want.EmailAddresses...)
	for _, a := range want.IPAddresses {
		names = append(names, a.String())
	}
	for _, u := range want.URIs {
		names = append(names, u.String())
	}
	for _, n := range got.Names {
		if !slices.Contains(names, n) {
			t.Errorf("%s: name %q isn't among %q", capture, n, names)
		}
	}
	if len(got.Names) != min(len(names), MaxNames) {
		t.Errorf("%s: %d names, want %d", capture, len(got.Names), len(names))
	}
	var rdn pkix.RDNSequence
	if _, err := asn1.Unmarshal(want.RawSubject, &rdn); err != nil {
		t.Fatal(err)
	}
	// Package pkix writes types that it doesn't know in hexadecimal, and two in another case.
	if text := rdn.String(); !strings.Contains(text, "#") && !strings.EqualFold(text, got.Subject) {
		t.Errorf("%s: subject %q, want %q", capture, got.Subject, text)
	}
}
