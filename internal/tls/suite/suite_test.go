package suite

import (
	"crypto"
	"crypto/aes"
	"crypto/tls"
	"strings"
	"testing"
)

// TestTable reads each suite's facts out of its name, and compares them with its row.
func TestTable(t *testing.T) {
	hashes := map[string]crypto.Hash{"MD5": crypto.MD5, "SHA": crypto.SHA1, "SHA256": crypto.SHA256, "SHA384": crypto.SHA384, "SHA512": crypto.SHA512}
	for i := range suites {
		s := &suites[i]
		if i > 0 && suites[i-1].ID >= s.ID {
			t.Errorf("0x%04X isn't in order", s.ID)
		}
		if Lookup(s.ID) != s || Name(s.ID) != s.Name {
			t.Errorf("0x%04X isn't found by its number", s.ID)
		}
		if strings.HasSuffix(s.Name, "_SCSV") || s.Name == "TLS_NULL_WITH_NULL_NULL" {
			if s.Supported() || s.Cipher != None {
				t.Errorf("%s has a cipher", s.Name)
			}
			continue
		}
		exchange, rest, old := strings.Cut(strings.TrimPrefix(s.Name, "TLS_"), "_WITH_")
		if !old {
			exchange, rest = "TLS13", strings.TrimPrefix(s.Name, "TLS_")
		}
		// The suites of TLS 1.3 of GOST have names as those before.
		if s.KeyExchange != exchange && !strings.Contains(s.Name, "_MGM_") {
			t.Errorf("%s: key exchange %s", s.Name, s.KeyExchange)
		}
		cut := strings.LastIndexByte(rest, '_')
		cipher, hash := rest[:cut], hashes[rest[cut+1:]]
		switch {
		case s.Cipher == IntegrityOnly:
			cipher = "NULL"
		case strings.HasSuffix(rest, "_CCM"), strings.HasSuffix(rest, "_CCM_8"):
			cipher = rest
		case strings.HasSuffix(rest, "_CBC_40_SHA"), strings.HasSuffix(rest, "_CBC_40_MD5"):
			cipher = strings.Replace(cipher, "DES_CBC_40", "DES40_CBC", 1)
		}
		if strings.TrimSuffix(cipher, "_MGM") != strings.TrimSuffix(s.Cipher.String(), "_MGM") {
			t.Errorf("%s: cipher %s, want %s", s.Name, s.Cipher, cipher)
		}
		known := hash != 0 || cipher == rest // CCM says no hash: SHA-256
		aead := strings.Contains(rest, "GCM") || strings.Contains(rest, "CCM") || strings.Contains(rest, "CHACHA") || strings.Contains(rest, "AEGIS")
		mac, prf := hash, hash
		if aead {
			mac = 0
		}
		if known && hash != crypto.SHA384 && hash != crypto.SHA512 {
			prf = crypto.SHA256
		}
		if s.MAC != mac || s.PRF != prf {
			t.Errorf("%s: MAC %v and PRF %v, want %v and %v", s.Name, s.MAC, s.PRF, mac, prf)
		}
		// What is supported are the ciphers by these parts of names.
		want := false
		for _, part := range []string{"_WITH_NULL_", "_RC4_128_", "_WITH_DES_CBC_SHA", "_WITH_DES_CBC_MD5", "_3DES_EDE_CBC_", "_AES_128_", "_AES_256_", "_CHACHA20_"} {
			want = want || strings.Contains(s.Name, part)
		}
		if !known || strings.Contains(s.Name, "EXPORT") {
			want = false
		}
		if s.Supported() != want {
			t.Errorf("%s: supported %t", s.Name, s.Supported())
		}
		if s.RSA() != strings.HasPrefix(s.Name, "TLS_RSA_WITH_") {
			t.Errorf("%s: RSA %t", s.Name, s.RSA())
		}
	}
	if len(suites) < 350 {
		t.Errorf("%d suites", len(suites))
	}
}

func TestUnknown(t *testing.T) {
	if s := Lookup(0x1234); s != nil {
		t.Errorf("0x1234 is %s", s.Name)
	}
	if n := Name(0x12AB); n != "0x12AB" {
		t.Errorf("0x12AB is named %s", n)
	}
	if n := Name(tls.TLS_AES_128_GCM_SHA256); n != "TLS_AES_128_GCM_SHA256" {
		t.Errorf("0x1301 is named %s", n)
	}
}

// TestRefused asks for keys that can't be had.
func TestRefused(t *testing.T) {
	master, random := make([]byte, 48), make([]byte, 32)
	for _, c := range []struct {
		id             uint16
		version        uint16
		master, random []byte
		says           string
	}{
		{0x002F, 0x02FF, master, random, "TLS_RSA_WITH_AES_128_CBC_SHA isn't for version 0x02FF"},
		{0x003C, 0x0300, master, random, "TLS_RSA_WITH_AES_128_CBC_SHA256 isn't for version 0x0300"},
		{0xC02F, 0x0300, master, random, "isn't for version 0x0300"},
		{0x002F, 0x0304, master, random, "isn't for version 0x0304"},
		{0xC02F, 0x0302, master, random, "isn't for version 0x0302"},
		{0x1301, 0x0303, master, random, "TLS_AES_128_GCM_SHA256 isn't for version 0x0303"},
		{0x0041, 0x0303, master, random, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA isn't supported"},
		{0x00FF, 0x0303, master, random, "isn't supported"},
		{0x002F, 0x0303, master[1:], random, "the master secret has 47 bytes instead of 48"},
		{0x002F, 0x0303, master, random[1:], "the randoms have 31 and 31 bytes instead of 32"},
	} {
		client, server, err := Lookup(c.id).TLS12(c.version, c.master, c.random, c.random, false)
		if err == nil || !strings.Contains(err.Error(), c.says) || client != nil || server != nil {
			t.Errorf("0x%04X, version 0x%04X: error %v, want %q", c.id, c.version, err, c.says)
		}
	}
	for _, c := range []struct {
		id   uint16
		size int
		says string
	}{
		{0x002F, 32, "isn't for TLS 1.3"},
		{0x1307, 32, "isn't supported"},
		{0xC0B4, 32, "isn't supported"},
		{0x1302, 32, "the traffic secret has 32 bytes; those of TLS_AES_256_GCM_SHA384 have 48"},
	} {
		if o, err := Lookup(c.id).TLS13(make([]byte, c.size)); err == nil || !strings.Contains(err.Error(), c.says) || o != nil {
			t.Errorf("0x%04X: error %v, want %q", c.id, err, c.says)
		}
	}
	if Lookup(0x002F).ExtendedMaster(0x0300, master, random) != nil {
		t.Error("SSL 3.0 has an extended master secret")
	}
	gost := Lookup(0xC100)
	if gost.Next(master) != nil || gost.Master(0x0303, master, random, random) != nil || gost.ExtendedMaster(0x0303, master, random) != nil || gost.Transcript(0x0303) != nil {
		t.Error("secrets were derived with an unknown hash")
	}
}

func TestSizes(t *testing.T) {
	if aes.BlockSize != maxBlock || maxIV < maxBlock || maxIV < nonceSize {
		t.Error("IVs are longer than what is cut from the key block")
	}
}
