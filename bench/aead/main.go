// Command aead opens records of 16 KiB with AES-GCM and does nothing with them: the floor below which no decryption can come.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"os"
	"strconv"
)

// record is the length of the longest plaintext of a record (RFC 8446 §5.1).
const record = 16 << 10

func main() {
	if len(os.Args) == 3 {
		bits, err := strconv.Atoi(os.Args[1])
		total, err2 := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil && err2 == nil {
			if err := open(bits/8, total); err != nil {
				fmt.Fprintln(os.Stderr, "aead:", err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: aead BITS BYTES")
	os.Exit(2)
}

// open opens as many records as hold total bytes.
func open(key int, total int64) error {
	block, err := aes.NewCipher(make([]byte, key))
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	nonce, head := make([]byte, aead.NonceSize()), make([]byte, 5)
	sealed, plain := aead.Seal(nil, nonce, make([]byte, record), head), make([]byte, 0, record)
	for ; total > 0; total -= record {
		if _, err := aead.Open(plain, nonce, sealed, head); err != nil {
			return err
		}
	}
	return nil
}
