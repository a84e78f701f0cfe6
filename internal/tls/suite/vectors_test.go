package suite

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC8448 opens the client's record of application data in the simple handshake of RFC 8448 §3.
func TestRFC8448(t *testing.T) {
	secret := unhex(t, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
	fragment := unhex(t, "a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4")
	want := make([]byte, 50)
	for i := range want {
		want[i] = byte(i)
	}
	o, err := Lookup(0x1301).TLS13(secret)
	if err != nil {
		t.Fatal(err)
	}
	plain, typ, err := o.Open(nil, 0, 23, 0x0303, fragment)
	if err != nil || typ != 23 || !bytes.Equal(plain, want) {
		t.Errorf("type %d, %x, error %v", typ, plain, err)
	}
}

// TestPRF compares with the vector that the TLS working group's list gave for the PRF of TLS 1.2 with SHA-256.
func TestPRF(t *testing.T) {
	s := Lookup(0x009C)
	got := s.prf(0x0303, 100, unhex(t, "9bbe436ba940f017b17652849a71db35"), "test label", unhex(t, "a0ba9f936cda311827a6f796ffd5198c"))
	want := unhex(t, "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66")
	if !bytes.Equal(got, want) {
		t.Errorf("%x", got)
	}
}
