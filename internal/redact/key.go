package redact

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// KeySize is the length of a key file in bytes.
const KeySize = 32

// DefaultKeyPath returns where the key of this installation is, in the user's configuration folder.
func DefaultKeyPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no place for the redaction key: %w; set HOME or XDG_CONFIG_HOME", err)
	}
	return filepath.Join(dir, "culprit", "redact.key"), nil
}

// LoadKey reads the key that New wants from a file. The first time it makes the file, with random
// bytes; of several processes that do so at once, one wins, and all return its key.
func LoadKey(path string) ([]byte, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("can't create the redaction key %s: %w", path, err)
	}
	return readKey(path)
}

func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("can't read the redaction key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("can't read the redaction key: %w", err)
	}
	const advice = "remove it, and a new one is made; fingerprints then differ from those before"
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("the redaction key %s isn't a file", path)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("the redaction key %s can be read by others (mode %04o): chmod 600 it; or %s", path, mode.Perm(), advice)
	case info.Size() != KeySize:
		return nil, fmt.Errorf("the redaction key %s has %d bytes instead of %d: %s", path, info.Size(), KeySize, advice)
	}
	key := make([]byte, KeySize)
	if n, err := f.ReadAt(key, 0); n < KeySize {
		return nil, fmt.Errorf("can't read the redaction key: %w", err)
	}
	return key, nil
}

// createKey makes the file whole under another name, and then gives it its own, which fails if it has
// come into being meanwhile.
func createKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".redact-*.key") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, KeySize)
	rand.Read(key) // never fails
	_, err = f.Write(key)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
