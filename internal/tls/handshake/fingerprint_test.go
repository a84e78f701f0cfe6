package handshake

import (
	"strconv"
	"strings"
	"testing"
)

// ja3Hello builds the hello that has the given JA3 text.
func ja3Hello(t *testing.T, text string) *ClientHello {
	t.Helper()
	fields := strings.Split(text, ",")
	parse := func(s string) (list []uint16) {
		for n := range strings.SplitSeq(s, "-") {
			if v, err := strconv.ParseUint(n, 10, 16); err == nil {
				list = append(list, uint16(v))
			}
		}
		return list
	}
	var extensions []extension
	for _, id := range parse(fields[2]) {
		e := extension{id: id}
		switch id {
		case extServerName:
			e.data = hostName("example.com")
		case extSupportedGroups:
			e.data = list16(append([]uint16{0x1a1a}, parse(fields[3])...)...)
		case extPointFormats:
			formats := parse(fields[4])
			e.data = []byte{byte(len(formats))}
			for _, f := range formats {
				e.data = append(e.data, byte(f))
			}
		}
		extensions = append(extensions, e)
	}
	version, _ := strconv.Atoi(fields[0])
	h, err := ParseClientHello(clientHello(uint16(version), append([]uint16{0xdada}, parse(fields[1])...), extensions...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestJA3 has the examples of the JA3 project's README.
func TestJA3(t *testing.T) {
	for text, want := range map[string]string{
		"769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0": "ada70206e40642a3e4461f35503241d5",
		"769,4-5-10-9-100-98-3-6-19-18-99,,,":                                  "de350869b8c85de67a350c8d186f11e6",
	} {
		if got := ja3Hello(t, text).JA3(); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// The lists of the example in the JA4 specification, with GREASE added.
var (
	ja4Suites     = []uint16{0x6a6a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035}
	ja4Extensions = []uint16{0x8a8a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015}
	ja4Schemes    = []uint16{0x2a2a, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}
)

// ja4Hello builds the hello of that example, without the extensions in without.
func ja4Hello(t *testing.T, alpn []byte, without ...uint16) *ClientHello {
	t.Helper()
	content := map[uint16][]byte{
		0x0000: hostName("example.com"),
		0x0010: alpn,
		0x000d: list16(ja4Schemes...),
		0x002b: list8(0x9a9a, 0x0303, 0x0304),
		0x000a: list16(0x3a3a, 29, 23, 24),
		0x000b: {1, 0},
		0x0033: list16(),
	}
	var list []extension
next:
	for _, id := range ja4Extensions {
		for _, w := range without {
			if id == w {
				continue next
			}
		}
		list = append(list, extension{id, content[id]})
	}
	h, err := ParseClientHello(clientHello(0x0303, ja4Suites, list...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestJA4(t *testing.T) {
	h2 := protocols("h2", "http/1.1")
	for _, c := range []struct {
		name string
		h    *ClientHello
		want string
	}{
		{"the example", ja4Hello(t, h2), "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"no signature algorithms", ja4Hello(t, h2, 0x000d), "t13d1515h2_8daaf6152771_"},
		{"no server name", ja4Hello(t, h2, 0), "t13i1515h2_8daaf6152771_e5627efa2ab1"},
		{"no ALPN", ja4Hello(t, nil, 16), "t13d151500_8daaf6152771_e5627efa2ab1"},
		{"no supported_versions", ja4Hello(t, h2, 0x2b), "t12d1515h2_8daaf6152771_"},
	} {
		if got := c.h.JA4(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestJA4Hashes has the specification's example without signature algorithms, and lists that are empty.
func TestJA4Hashes(t *testing.T) {
	h := ja4Hello(t, protocols("h2"))
	h.SignatureSchemes = nil
	if got, want := h.JA4(), "t13d1516h2_8daaf6152771_6d807ffa2a79"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	bare, err := ParseClientHello(clientHello(0x0301, []uint16{0x0a0a}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := bare.JA4(), "t10i000000_000000000000_000000000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	many := &ClientHello{LegacyVersion: 0x0300}
	for i := range 200 {
		many.Suites = append(many.Suites, uint16(i))
	}
	if got, want := many.JA4(), "ts3i990000_"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestJA4Protocol has the specification's examples of ALPN names that aren't text.
func TestJA4Protocol(t *testing.T) {
	for name, want := range map[string]string{
		"\xab": "ab", "\xab\xcd": "ad", "0\xab": "3b", "01\xab\xcd": "3d", "0\xab\xcd1": "01",
		"h": "hh", "http/1.1": "h1", "-": "2d", "h-": "6d",
	} {
		if got := ja4Hello(t, protocols(name)).JA4()[8:10]; got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	if got := ja4Hello(t, protocols("\x2a\x2a", "h2")).JA4()[8:10]; got != "h2" {
		t.Errorf("GREASE isn't ignored: got %s", got)
	}
}

func TestGREASE(t *testing.T) {
	n := 0
	for v := range 1 << 16 {
		if IsGREASE(uint16(v)) {
			n++
		}
	}
	if n != 16 || !IsGREASE(0x0a0a) || !IsGREASE(0xfafa) || IsGREASE(0x0a1a) {
		t.Errorf("%d values are GREASE, not 16 (RFC 8701 §2)", n)
	}
}
