package handshake

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/cryptobyte"
)

// full is a ClientHello with every extension that is read.
func full() []byte {
	var identity, shares cryptobyte.Builder
	identity.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("identity")) })
		b.AddUint32(1)
	})
	identity.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, 32)) })
	})
	shares.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(29)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, 32)) })
	})
	return clientHello(0x0303, []uint16{0x1301, 0x1302},
		extension{extServerName, hostName("a.example")},
		extension{extSupportedGroups, list16(29, 23)},
		extension{extPointFormats, []byte{1, 0}},
		extension{extSignatureAlgorithms, list16(0x0403)},
		extension{extALPN, protocols("h2")},
		extension{extEncryptThenMAC, nil},
		extension{extExtendedMaster, nil},
		extension{extSessionTicket, []byte("ticket")},
		extension{extEarlyData, nil},
		extension{extSupportedVersions, list8(0x0304, 0x0303)},
		extension{extKeyShare, shares.BytesOrPanic()},
		extension{extECH, []byte{0}},
		extension{extPreSharedKey, identity.BytesOrPanic()},
	)
}

func TestClientHello(t *testing.T) {
	h, err := ParseClientHello(full())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Malformed) > 0 || len(h.Extensions) != len(clientExtensions) {
		t.Errorf("extensions %d, malformed %d", h.Extensions, h.Malformed)
	}
	if h.ServerName != "a.example" || !slices.Equal(h.Groups, []uint16{29, 23}) || !slices.Equal(h.SignatureSchemes, []uint16{0x0403}) ||
		!slices.Equal(h.ALPN, []string{"h2"}) || !slices.Equal(h.Versions, []uint16{0x0304, 0x0303}) || !slices.Equal(h.KeyShares, []uint16{29}) ||
		string(h.Ticket) != "ticket" || !h.TicketSupport || !h.PSK || !h.EarlyData || !h.ExtendedMaster || !h.EncryptThenMAC || !h.ECH {
		t.Errorf("%+v", h)
	}
}

// TestMalformedExtensions breaks the content of each extension, and finds the others as they were.
func TestMalformedExtensions(t *testing.T) {
	bad := map[uint16][][]byte{
		extServerName:          {{}, {0, 0}, {0, 4, 0, 0, 9, 'a'}, {0, 3, 0, 0, 0}},
		extSupportedGroups:     {{}, {0, 0}, {0, 1, 29}, {0, 2, 0}, {0, 2, 0, 29, 0}},
		extPointFormats:        {{}, {2, 0}},
		extSignatureAlgorithms: {{}, {0, 3, 1, 2, 3}},
		extALPN:                {{}, {0, 0}, {0, 1, 0}, {0, 3, 4, 'h', '2'}},
		extEncryptThenMAC:      {{0}},
		extExtendedMaster:      {{0}},
		extEarlyData:           {{0}},
		extSupportedVersions:   {{}, {0}, {1, 3}, {3, 3, 4, 3}},
		extKeyShare:            {{}, {0, 3, 0, 29, 0}, {0, 4, 0, 29, 0, 0}, {0, 1}},
		extPreSharedKey:        {{}, {0, 0, 0, 0}, {0, 3, 0, 1, 'a', 0, 0}, {0, 7, 0, 1, 'a', 0, 0, 0, 0, 0, 0}, {0, 7, 0, 1, 'a', 0, 0, 0, 0, 0, 3, 1, 'b', 1}},
	}
	for id, contents := range bad {
		for _, content := range contents {
			h, err := ParseClientHello(clientHello(0x0303, []uint16{1}, extension{id, content}, extension{extSessionTicket, nil}))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(h.Malformed, []uint16{id}) || !h.TicketSupport || len(h.Extensions) != 2 {
				t.Errorf("extension %d with %x: malformed are %d of %d", id, content, h.Malformed, h.Extensions)
			}
			h.LegacyVersion, h.Random, h.SessionID, h.Suites, h.Extensions, h.Malformed, h.TicketSupport, h.Ticket = 0, [32]byte{}, nil, nil, nil, nil, false, nil
			if h.ServerName != "" || h.ALPN != nil || h.Groups != nil || h.Versions != nil || h.KeyShares != nil || h.PointFormats != nil ||
				h.SignatureSchemes != nil || h.PSK || h.EarlyData || h.ExtendedMaster || h.EncryptThenMAC || h.hasProtocol {
				t.Errorf("extension %d with %x left a half value: %+v", id, content, h)
			}
		}
	}
	two := slices.Concat([]byte{0, 10, 0, 0, 2}, []byte("a."), []byte{0, 0, 2}, []byte("b."))
	h, err := ParseClientHello(clientHello(0x0303, []uint16{1}, extension{extServerName, two}))
	if err != nil || h.ServerName != "a." {
		t.Errorf("two host names: %+v, error %v", h, err)
	}
	h, err = ParseClientHello(clientHello(0x0303, []uint16{1}, extension{0, hostName("first.example")}, extension{0, hostName("second.example")}))
	if err != nil || h.ServerName != "first.example" || !slices.Equal(h.Malformed, []uint16{0}) {
		t.Errorf("an extension that comes twice: %+v, error %v", h, err)
	}
}

// TestTruncated cuts each message at every length, and adds a byte: both are errors. A hello without extensions is
// whole where they would begin.
func TestTruncated(t *testing.T) {
	server := serverHello(0x0303, [32]byte{1}, 0x1301, extension{extSupportedVersions, []byte{3, 4}}, extension{extKeyShare, []byte{0, 29, 0, 1, 9}})
	sslHello := ssl2Hello(0x0301, []uint32{0x2f, 0x010080}, 16)
	chain13, chain12 := chain(0x0304, []byte("first"), []byte("second")), chain(0x0303, []byte("first"), []byte("second"))
	encrypted := append([]byte{0, 9}, extensionBlock(extension{extALPN, protocols("h2")})[2:]...)
	compressed := compressedChain(1, chain13, len(chain13))
	for _, c := range []struct {
		name  string
		body  []byte
		whole int // a shorter length that is whole too
		parse func(b []byte) error
	}{
		{"ClientHello", full(), 2 + 32 + 1 + 2 + 4 + 2, func(b []byte) error { _, err := ParseClientHello(b); return err }},
		{"SSL 2.0 ClientHello", sslHello, -1, func(b []byte) error { _, err := ParseSSL2Hello(b); return err }},
		{"ServerHello", server, 2 + 32 + 8 + 3, func(b []byte) error { _, err := ParseServerHello(b); return err }},
		{"draft ServerHello", draftHello(), 2 + 32 + 2, func(b []byte) error { _, err := ParseServerHello(b); return err }},
		{"draft HelloRetryRequest", draftRetry(), -1, func(b []byte) error { _, err := ParseDraftHelloRetry(b); return err }},
		{"EncryptedExtensions", encrypted, -1, func(b []byte) error { _, _, err := EncryptedExtensions(b); return err }},
		{"Certificate of 1.3", chain13, -1, func(b []byte) error { _, err := Certificates(0x0304, b); return err }},
		{"Certificate of 1.2", chain12, -1, func(b []byte) error { _, err := Certificates(0x0303, b); return err }},
		{"CompressedCertificate", compressed, -1, func(b []byte) error { _, err := DecompressCertificates(b); return err }},
		{"ClientKeyExchange", []byte{0, 3, 1, 2, 3}, -1, func(b []byte) error { _, err := ClientKeyRSA(0x0303, b); return err }},
		{"KeyUpdate", []byte{1}, -1, func(b []byte) error { _, err := KeyUpdateRequested(b); return err }},
	} {
		if err := c.parse(c.body); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for n := range len(c.body) {
			if err := c.parse(c.body[:n]); (err == nil) != (n == c.whole) {
				t.Errorf("%s cut at %d of %d: error %v", c.name, n, len(c.body), err)
			}
		}
		if c.parse(append(slices.Clone(c.body), 0)) == nil {
			t.Errorf("%s: a byte too many is no error", c.name)
		}
	}
}

// TestSessionID gives the longest session id, and one that is longer.
func TestSessionID(t *testing.T) {
	for _, n := range []int{32, 33} {
		head := append(append([]byte{3, 3}, make([]byte, 32)...), byte(n))
		head = append(head, make([]byte, n)...)
		_, err := ParseClientHello(append(slices.Clone(head), 0, 2, 0, 1, 1, 0))
		if (err == nil) != (n == 32) {
			t.Errorf("ClientHello, %d bytes: error %v", n, err)
		}
		_, err = ParseServerHello(append(head, 0, 1, 0))
		if (err == nil) != (n == 32) {
			t.Errorf("ServerHello, %d bytes: error %v", n, err)
		}
	}
}

func extensionBlock(list ...extension) []byte {
	var b cryptobyte.Builder
	addExtensions(&b, list)
	return b.BytesOrPanic()
}

// draftHello is a ServerHello of TLS 1.3 draft 18, which has no session id.
func draftHello() []byte {
	b := append([]byte{0x7f, 18}, make([]byte, 32)...)
	b = append(b, 0x13, 0x01)
	return append(b, extensionBlock(extension{extDraftKeyShare, []byte{0, 29, 0, 1, 9}})...)
}

func draftRetry() []byte {
	return append([]byte{0x7f, 19, 0x13, 0x02}, extensionBlock(extension{extDraftKeyShare, []byte{0, 24}})...)
}

func TestServerHello(t *testing.T) {
	h, err := ParseServerHello(serverHello(0x0303, helloRetryRandom, 0x1302, extension{extSupportedVersions, []byte{3, 4}}, extension{extKeyShare, []byte{0, 23}}))
	if err != nil || !h.HelloRetry || h.Version != 0x0304 || h.LegacyVersion != 0x0303 || h.Group != 23 || h.Suite != 0x1302 || string(h.SessionID) != "session" {
		t.Errorf("retry: %+v, error %v", h, err)
	}
	h, err = ParseServerHello(serverHello(0x0303, [32]byte{}, 0xc013, extension{extALPN, protocols("h2")}, extension{extEncryptThenMAC, nil},
		extension{extExtendedMaster, nil}, extension{extSessionTicket, nil}))
	if err != nil || h.HelloRetry || h.Version != 0x0303 || h.ALPN != "h2" || !h.EncryptThenMAC || !h.ExtendedMaster || !h.Ticket || h.PSK {
		t.Errorf("1.2: %+v, error %v", h, err)
	}
	h, err = ParseServerHello(serverHello(0x0303, [32]byte{}, 0x1301, extension{extALPN, protocols("h2", "x")}, extension{extPreSharedKey, []byte{0}},
		extension{extKeyShare, []byte{0, 23}}, extension{extSupportedVersions, []byte{3}}))
	if err != nil || !slices.Equal(h.Malformed, []uint16{extALPN, extPreSharedKey, extKeyShare, extSupportedVersions}) || h.ALPN != "" || h.PSK || h.Group != 0 || h.Version != 0x0303 {
		t.Errorf("malformed: %+v, error %v", h, err)
	}
	h, err = ParseServerHello(draftHello())
	if err != nil || h.Version != 0x7f12 || h.Suite != 0x1301 || h.Group != 29 {
		t.Errorf("draft: %+v, error %v", h, err)
	}
	h, err = ParseDraftHelloRetry(draftRetry())
	if err != nil || !h.HelloRetry || h.Suite != 0x1302 || h.Group != 24 {
		t.Errorf("draft retry: %+v, error %v", h, err)
	}
	before := append([]byte{0x7f, 18}, draftRetry()[4:]...)
	h, err = ParseDraftHelloRetry(before)
	if err != nil || h.Suite != 0 || h.Group != 24 {
		t.Errorf("retry of draft 18: %+v, error %v", h, err)
	}
}

func TestHighest(t *testing.T) {
	for _, c := range []struct {
		versions []uint16
		want     uint16
	}{
		{nil, 0x0303},
		{[]uint16{0x7a7a, 0x0304, 0x0303}, 0x0304},
		{[]uint16{0x7f17, 0x0303}, 0x7f17},
		{[]uint16{0x7f17, 0x7f12, 0x0304}, 0x0304},
		{[]uint16{0x0302, 0x0301}, 0x0302},
		{[]uint16{0xdada, 0xfefd}, 0x0303},
	} {
		h := &ClientHello{LegacyVersion: 0x0303, Versions: c.versions}
		if got := h.Highest(); got != c.want {
			t.Errorf("%x: got %x, want %x", c.versions, got, c.want)
		}
	}
}

// ssl2Hello builds a record with a hello of SSL 2.0.
func ssl2Hello(version uint16, suites []uint32, challenge int) []byte {
	b := []byte{0x80, 0, TypeClientHello}
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(3*len(suites)))
	b = append(b, 0, 0, 0, byte(challenge))
	for _, s := range suites {
		b = append(b, byte(s>>16), byte(s>>8), byte(s))
	}
	b = append(b, bytes.Repeat([]byte{5}, challenge)...)
	b[1] = byte(len(b) - 2)
	return b
}

func TestSSL2Hello(t *testing.T) {
	b := ssl2Hello(0x0301, []uint32{0x35, 0x010080, 0xc013}, 16)
	if n, ok := SSL2Length(b[:5]); !ok || n != len(b) {
		t.Errorf("length %d %t of %d", n, ok, len(b))
	}
	h, err := ParseSSL2Hello(b)
	if err != nil {
		t.Fatal(err)
	}
	want := [32]byte{}
	copy(want[16:], bytes.Repeat([]byte{5}, 16))
	if !h.SSL2 || h.Highest() != 0x0301 || h.Random != want || !slices.Equal(h.Suites, []uint16{0x35, 0xc013}) || h.JA3() != "" || h.JA4() != "" {
		t.Errorf("%+v", h)
	}
	b[1]++
	if _, err := ParseSSL2Hello(b); err == nil {
		t.Error("a record of another length than its header says is no error")
	}
	for _, challenge := range []int{15, 33} {
		if _, err := ParseSSL2Hello(ssl2Hello(0x0301, []uint32{1}, challenge)); err == nil {
			t.Errorf("a challenge of %d bytes is no error", challenge)
		}
	}
	for _, b := range []string{"GET / HTTP/1.1", "\x16\x03\x01\x02\x00", "\x80\x2e\x01\x04\x00", "\x80\x08\x01\x03\x01", ""} {
		if _, ok := SSL2Length([]byte(b)); ok {
			t.Errorf("%q is taken for a hello of SSL 2.0", b)
		}
	}
}

// TestSSL2Corpus reads the hello of a real client, whose server chose one of its suites.
func TestSSL2Corpus(t *testing.T) {
	file := filepath.Join(corpus(t), "files/wireshark/rsasnakeoil2.pcap")
	if _, err := os.Stat(file); err != nil {
		t.Fatal("CULPRIT_SHARED lacks a capture: ", err)
	}
	found := 0
	for _, s := range connections(t, file) {
		stream := s.sides[0].Bytes()
		n, ok := SSL2Length(stream)
		if !ok {
			continue
		}
		h, err := ParseSSL2Hello(stream[:n])
		if err != nil {
			t.Fatal(err)
		}
		answer, err := ParseServerHello(first(t, plain(s.sides[1].Bytes()), TypeServerHello))
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !slices.Contains(h.Suites, answer.Suite) || h.Highest() < answer.Version {
			t.Errorf("%+v was answered by %+v", h, answer)
		}
	}
	if found == 0 {
		t.Error("no hello of SSL 2.0 was found")
	}
}

func TestTexts(t *testing.T) {
	long := strings.Repeat("x", 300)
	var names []string
	for range 100 {
		names = append(names, "\xff\n")
	}
	h, err := ParseClientHello(clientHello(0x0303, []uint16{1}, extension{extServerName, hostName(long)}, extension{extALPN, protocols(names...)}))
	if err != nil {
		t.Fatal(err)
	}
	if h.ServerName != long[:MaxServerName]+"…" {
		t.Errorf("the server name is %q", h.ServerName)
	}
	if len(h.ALPN) != MaxALPN || h.ALPN[0] != "\ufffd\n" {
		t.Errorf("ALPN: %d names, the first is %q", len(h.ALPN), h.ALPN[0])
	}
	h, _ = ParseClientHello(clientHello(0x0303, []uint16{1}, extension{extServerName, hostName("caf\xe9.example")}))
	if h.ServerName != "caf\ufffd.example" || !utf8.ValidString(h.ServerName) {
		t.Errorf("the server name is %q", h.ServerName)
	}
}

func TestEncryptedExtensions(t *testing.T) {
	alpn, early, err := EncryptedExtensions(extensionBlock(extension{extALPN, protocols("h2")}, extension{extEarlyData, nil}, extension{99, []byte("?")}))
	if alpn != "h2" || !early || err != nil {
		t.Errorf("got %q, %t, %v", alpn, early, err)
	}
	alpn, early, err = EncryptedExtensions([]byte{0, 0})
	if alpn != "" || early || err != nil {
		t.Errorf("got %q, %t, %v of none", alpn, early, err)
	}
	for _, e := range []extension{{extALPN, protocols("h2", "x")}, {extALPN, []byte{0}}, {extEarlyData, []byte{1}}} {
		if alpn, early, err = EncryptedExtensions(extensionBlock(e)); err == nil || alpn != "" || early {
			t.Errorf("extension %d with %x: got %q, %t, %v", e.id, e.data, alpn, early, err)
		}
	}
}

// chain builds a Certificate message.
func chain(version uint16, certificates ...[]byte) []byte {
	var b cryptobyte.Builder
	if is13(version) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("context")) })
	}
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, der := range certificates {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
			if is13(version) {
				b.AddBytes(extensionBlock(extension{5, []byte("status")}))
			}
		}
	})
	return b.BytesOrPanic()
}

func TestCertificates(t *testing.T) {
	for _, version := range []uint16{0x0300, 0x0303, 0x0304, 0x7f17} {
		got, err := Certificates(version, chain(version, []byte("own"), []byte("issuer")))
		if err != nil || len(got) != 2 || string(got[0]) != "own" || string(got[1]) != "issuer" {
			t.Errorf("%s: got %q, %v", VersionName(version), got, err)
		}
		if got, err = Certificates(version, chain(version)); err != nil || len(got) != 0 {
			t.Errorf("%s: got %q, %v of none", VersionName(version), got, err)
		}
		if _, err = Certificates(version, chain(version, nil)); err == nil {
			t.Errorf("%s: an empty certificate is no error", VersionName(version))
		}
		if got, err = Certificates(version, chain(version, slices.Repeat([][]byte{{1}}, 1000)...)); err != nil || len(got) != MaxChain {
			t.Errorf("%s: got %d of 1000, %v", VersionName(version), len(got), err)
		}
	}
}

// compressedChain builds a CompressedCertificate message.
func compressedChain(algorithm uint16, certificate []byte, length int) []byte {
	var data bytes.Buffer
	switch algorithm {
	case 1:
		w := zlib.NewWriter(&data)
		w.Write(certificate)
		w.Close()
	case 2:
		w := brotli.NewWriter(&data)
		w.Write(certificate)
		w.Close()
	default:
		w, _ := zstd.NewWriter(&data)
		w.Write(certificate)
		w.Close()
	}
	var b cryptobyte.Builder
	b.AddUint16(algorithm)
	b.AddUint24(uint32(length))
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data.Bytes()) })
	return b.BytesOrPanic()
}

func TestDecompressCertificates(t *testing.T) {
	certificate := chain(0x0304, bytes.Repeat([]byte("certificate "), 500))
	for _, algorithm := range []uint16{1, 2, 3} {
		got, err := DecompressCertificates(compressedChain(algorithm, certificate, len(certificate)))
		if err != nil || !bytes.Equal(got, certificate) {
			t.Errorf("algorithm %d: got %d bytes, %v", algorithm, len(got), err)
		}
		for _, wrong := range []int{0, len(certificate) - 1, len(certificate) + 1, MaxCertificateMessage + 1} {
			if _, err := DecompressCertificates(compressedChain(algorithm, certificate, wrong)); err == nil {
				t.Errorf("algorithm %d: %d instead of %d bytes are no error", algorithm, wrong, len(certificate))
			}
		}
		bomb := compressedChain(algorithm, make([]byte, 10<<20), MaxCertificateMessage)
		var err2 error
		if n := allocated(func() { _, err2 = DecompressCertificates(bomb) }); err2 == nil || algorithm == 1 && n > 4*MaxCertificateMessage {
			t.Errorf("algorithm %d: a bomb took %d bytes, error %v", algorithm, n, err2)
		}
	}
	long := make([]byte, MaxCertificateMessage+1)
	if got, err := DecompressCertificates(compressedChain(1, long[1:], len(long)-1)); err != nil || len(got) != MaxCertificateMessage {
		t.Errorf("at the limit: got %d bytes, %v", len(got), err)
	}
	if _, err := DecompressCertificates(compressedChain(1, long, len(long))); err == nil {
		t.Error("a byte above the limit is no error")
	}
	if _, err := DecompressCertificates(compressedChain(4, certificate, len(certificate))); err == nil || !strings.Contains(err.Error(), "algorithm 4") {
		t.Errorf("an unknown algorithm gives %v", err)
	}
}

// TestNamedPrimes computes the primes of RFC 7919 as its appendix A defines them, from the digits of e.
func TestNamedPrimes(t *testing.T) {
	for _, c := range []struct {
		group uint16
		bits  uint
		add   int64
	}{{256, 2048, 560316}, {257, 3072, 2625351}, {258, 4096, 5736041}, {259, 6144, 15705020}, {260, 8192, 10965728}} {
		// e is the sum of 1/n!, here times 2 to the power of scale, with digits to spare.
		const spare = 256
		scale := c.bits - 130 + spare
		e, term := new(big.Int), new(big.Int).Lsh(big.NewInt(1), scale)
		for n := int64(1); term.Sign() > 0; n++ {
			e.Add(e, term)
			term.Quo(term, big.NewInt(n))
		}
		p := new(big.Int).Rsh(e, spare)
		p.Add(p, big.NewInt(c.add)).Lsh(p, 64).Sub(p, big.NewInt(1))
		p.Add(p, new(big.Int).Lsh(big.NewInt(1), c.bits)).Sub(p, new(big.Int).Lsh(big.NewInt(1), c.bits-64))
		if c.bits <= 3072 && !p.ProbablyPrime(1) { // larger ones take seconds
			t.Fatalf("group %d: the number isn't prime", c.group)
		}
		if namedPrimes[sha256.Sum256(p.Bytes())] != c.group {
			t.Errorf("group %d isn't known by its prime", c.group)
		}
		var b cryptobyte.Builder
		for _, v := range [][]byte{p.Bytes(), {2}, p.Bytes(), []byte("signature")} {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
		}
		if got, ok := ServerGroup(b.BytesOrPanic()); !ok || got != c.group {
			t.Errorf("got group %d %t, want %d", got, ok, c.group)
		}
		if got, ok := ServerGroup(append([]byte{0, 1, 'h'}, b.BytesOrPanic()...)); !ok || got != c.group {
			t.Errorf("with a hint: got group %d %t, want %d", got, ok, c.group)
		}
	}
}

func TestServerGroup(t *testing.T) {
	point := []byte{namedCurve, 0, 24, 3, 4, 1, 2}
	for _, c := range []struct {
		name string
		body []byte
		want uint16
	}{
		{"anonymous", point, 24},
		{"signed, TLS 1.1", slices.Concat(point, []byte{0, 2, 1, 1}), 24},
		{"signed, TLS 1.2", slices.Concat(point, []byte{4, 3, 0, 2, 1, 1}), 24},
		{"pre-shared key, no hint", slices.Concat([]byte{0, 0}, point), 24},
		{"pre-shared key, hint", slices.Concat([]byte{0, 2, 'm', 'e'}, point), 24},
		{"pre-shared key, too long", slices.Concat([]byte{0, 0}, point, []byte{0, 0}), 0},
		{"explicit curve", []byte{1, 0, 24, 3, 4, 1, 2}, 0},
		{"cut", point[:6], 0},
		{"too long", slices.Concat(point, []byte{4, 3, 0, 2, 1, 1, 0}), 0},
		{"hint alone", []byte{0, 2, 'm', 'e'}, 0},
		{"unknown prime", []byte{0, 1, 23, 0, 1, 2, 0, 1, 8}, 0},
		{"empty", nil, 0},
	} {
		if got, ok := ServerGroup(c.body); got != c.want || ok != (c.want != 0) {
			t.Errorf("%s: got %d, %t", c.name, got, ok)
		}
	}
}

func TestClientKeyRSA(t *testing.T) {
	if got, err := ClientKeyRSA(0x0300, []byte{0, 2, 1, 1}); err != nil || len(got) != 4 {
		t.Errorf("SSL 3.0: got %x, %v", got, err)
	}
	if got, err := ClientKeyRSA(0x0301, []byte{0, 2, 1, 1}); err != nil || !bytes.Equal(got, []byte{1, 1}) {
		t.Errorf("TLS 1.0: got %x, %v", got, err)
	}
	for _, version := range []uint16{0x0300, 0x0303} {
		if _, err := ClientKeyRSA(version, nil); err == nil {
			t.Errorf("%s: an empty message is no error", VersionName(version))
		}
	}
}

func TestKeyUpdate(t *testing.T) {
	for b, want := range map[string]bool{"\x00": false, "\x01": true} {
		if got, err := KeyUpdateRequested([]byte(b)); got != want || err != nil {
			t.Errorf("%x: got %t, %v", b, got, err)
		}
	}
	for _, b := range []string{"", "\x02", "\x01\x01"} {
		if _, err := KeyUpdateRequested([]byte(b)); err == nil {
			t.Errorf("%x is no error", b)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAllocation gives hellos that are nothing but lists: what they take is bounded by their length.
func TestAllocation(t *testing.T) {
	many := make([]extension, 15000)
	for i := range many {
		many[i] = extension{id: extKeyShare}
	}
	huge := make([]uint16, 30000)
	for name, b := range map[string][]byte{
		"extensions": clientHello(0x0303, huge, many...),
		"ALPN":       clientHello(0x0303, huge, extension{extALPN, protocols(slices.Repeat([]string{"x"}, 30000)...)}),
		"invalid":    clientHello(0x0303, huge, extension{extServerName, hostName(strings.Repeat("\xff", 60000))}),
		"groups":     clientHello(0x0303, huge, extension{extSupportedGroups, list16(huge...)}),
	} {
		var h *ClientHello
		var err error
		n := allocated(func() { h, err = ParseClientHello(b) })
		if err != nil {
			t.Fatal(err)
		}
		if limit := uint64(4*len(b) + 16<<10); n > limit {
			t.Errorf("%s: %d bytes for %d", name, n, len(b))
		}
		if n := allocated(func() { h.JA3(); h.JA4() }); n > uint64(40*len(b)+16<<10) {
			t.Errorf("%s: fingerprints take %d bytes for %d", name, n, len(b))
		}
	}
}

func TestNames(t *testing.T) {
	for v, want := range map[uint16]string{0: "", 2: "SSL 2.0", 0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0304: "TLS 1.3", 0x7f17: "TLS 1.3 draft 23", 0x0305: "0x0305"} {
		if got := VersionName(v); got != want {
			t.Errorf("version %x: got %q, want %q", v, got, want)
		}
	}
	for g, want := range map[uint16]string{0: "", 23: "secp256r1", 29: "x25519", 256: "ffdhe2048", 0x11ec: "X25519MLKEM768", 0x2a2a: "GREASE", 0x7777: "0x7777"} {
		if got := GroupName(g); got != want {
			t.Errorf("group %x: got %q, want %q", g, got, want)
		}
	}
}

func TestAlerts(t *testing.T) {
	for code := range 256 {
		name, meaning := AlertName(uint8(code)), AlertMeaning(uint8(code))
		if name == "" || meaning == "" || strings.ContainsAny(meaning+ExplainAlert(uint8(code), true), "{}\n") {
			t.Errorf("alert %d: %q, %q", code, name, meaning)
		}
	}
	if got := AlertName(48); got != "unknown_ca" {
		t.Errorf("alert 48 is %q", got)
	}
	if got := AlertName(77); got != "alert_77" {
		t.Errorf("alert 77 is %q", got)
	}
	for fromClient, want := range map[bool]string{
		true:  "the client doesn't trust the authority that issued the certificate of the server: ",
		false: "the server doesn't trust the authority that issued the certificate of the client: ",
	} {
		if got := ExplainAlert(48, fromClient); !strings.HasPrefix(got, want) {
			t.Errorf("unknown_ca: %q", got)
		}
	}
}
