package suite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"

	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"golang.org/x/crypto/chacha20poly1305"
)

// Cipher is how a suite encrypts records.
type Cipher uint8

// The ciphers of IANA's registry. Export is for keys of 40 bits.
const (
	None Cipher = iota
	Null
	IntegrityOnly
	RC4
	RC4Export
	RC2Export
	DES
	DESExport
	TripleDES
	IDEA
	SEED
	AES128CBC
	AES256CBC
	AES128GCM
	AES256GCM
	AES128CCM
	AES256CCM
	AES128CCM8
	AES256CCM8
	ChaCha20
	Camellia128CBC
	Camellia256CBC
	Camellia128GCM
	Camellia256GCM
	ARIA128CBC
	ARIA256CBC
	ARIA128GCM
	ARIA256GCM
	SM4GCM
	SM4CCM
	AEGIS128L
	AEGIS256
	GOST28147
	KuznyechikCTR
	KuznyechikMGM
	MagmaCTR
	MagmaMGM
	numCiphers
)

func (c Cipher) String() string { return ciphers[c].name }

// spec is what the table tells of a cipher. Those with a name alone can't be decrypted: Go has no implementation that
// is kept well, or, as with export ciphers, nobody uses them.
type spec struct {
	name string
	// key is the length of keys. One of aead, block (for CBC) and stream says how they are used.
	key    int
	aead   func(key []byte) (cipher.AEAD, error)
	block  func(key []byte) (cipher.Block, error)
	stream bool
	// explicit is how many bytes of an AEAD's nonce a record of TLS 1.2 carries; the rest of the 12 are derived with the
	// keys, and come first. With none, the number of the record is mixed in, as always in TLS 1.3.
	explicit int
}

// nonceSize is the length of the nonce of all AEADs in TLS.
const nonceSize = 12

// ciphers describes each Cipher, by its number.
var ciphers = [numCiphers]spec{
	None:           {name: "none"},
	Null:           {name: "NULL", stream: true},
	IntegrityOnly:  {name: "NULL"},
	RC4:            {name: "RC4_128", key: 16, stream: true},
	RC4Export:      {name: "RC4_40"},
	RC2Export:      {name: "RC2_CBC_40"},
	DES:            {name: "DES_CBC", key: 8, block: des.NewCipher},
	DESExport:      {name: "DES40_CBC"},
	TripleDES:      {name: "3DES_EDE_CBC", key: 24, block: des.NewTripleDESCipher},
	IDEA:           {name: "IDEA_CBC"},
	SEED:           {name: "SEED_CBC"},
	AES128CBC:      {name: "AES_128_CBC", key: 16, block: aes.NewCipher},
	AES256CBC:      {name: "AES_256_CBC", key: 32, block: aes.NewCipher},
	AES128GCM:      {name: "AES_128_GCM", key: 16, aead: newGCM, explicit: 8},
	AES256GCM:      {name: "AES_256_GCM", key: 32, aead: newGCM, explicit: 8},
	AES128CCM:      {name: "AES_128_CCM", key: 16, aead: newCCM, explicit: 8},
	AES256CCM:      {name: "AES_256_CCM", key: 32, aead: newCCM, explicit: 8},
	AES128CCM8:     {name: "AES_128_CCM_8", key: 16, aead: newCCM8, explicit: 8},
	AES256CCM8:     {name: "AES_256_CCM_8", key: 32, aead: newCCM8, explicit: 8},
	ChaCha20:       {name: "CHACHA20_POLY1305", key: chacha20poly1305.KeySize, aead: chacha20poly1305.New},
	Camellia128CBC: {name: "CAMELLIA_128_CBC"},
	Camellia256CBC: {name: "CAMELLIA_256_CBC"},
	Camellia128GCM: {name: "CAMELLIA_128_GCM"},
	Camellia256GCM: {name: "CAMELLIA_256_GCM"},
	ARIA128CBC:     {name: "ARIA_128_CBC"},
	ARIA256CBC:     {name: "ARIA_256_CBC"},
	ARIA128GCM:     {name: "ARIA_128_GCM"},
	ARIA256GCM:     {name: "ARIA_256_GCM"},
	SM4GCM:         {name: "SM4_GCM"},
	SM4CCM:         {name: "SM4_CCM"},
	AEGIS128L:      {name: "AEGIS_128L"},
	AEGIS256:       {name: "AEGIS_256"},
	GOST28147:      {name: "28147_CNT"},
	KuznyechikCTR:  {name: "KUZNYECHIK_CTR"},
	KuznyechikMGM:  {name: "KUZNYECHIK_MGM"},
	MagmaCTR:       {name: "MAGMA_CTR"},
	MagmaMGM:       {name: "MAGMA_MGM"},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func newCCM(key []byte) (cipher.AEAD, error)  { return ccmOf(key, 16) }
func newCCM8(key []byte) (cipher.AEAD, error) { return ccmOf(key, 8) }

func ccmOf(key []byte, tag int) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return ccm.NewCCM(b, tag, nonceSize)
}
