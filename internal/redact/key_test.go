package redact

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadKeyMakesOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "redact.key")
	const processes = 8
	keys := make([][]byte, processes)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := LoadKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, key := range keys {
		if len(key) != KeySize || !bytes.Equal(key, keys[0]) || bytes.Equal(key, make([]byte, KeySize)) {
			t.Fatalf("keys are %x", keys)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"open to others": {func(p string) error { return os.WriteFile(p, make([]byte, KeySize), 0o644) }, "chmod 600"},
		"short":          {func(p string) error { return os.WriteFile(p, make([]byte, 5), 0o600) }, "5 bytes instead of 32"},
		"empty":          {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "0 bytes instead of 32"},
		"folder":         {func(p string) error { return os.Mkdir(p, 0o700) }, "isn't a file"},
		"no folder":      {func(p string) error { return os.WriteFile(filepath.Dir(p)+"/file", nil, 0o600) }, "can't"},
	} {
		path := filepath.Join(t.TempDir(), "redact.key")
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		if name == "no folder" {
			path = filepath.Join(filepath.Dir(path), "file", "redact.key")
		}
		_, err := LoadKey(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: error is %v, want %q in it", name, err, c.want)
		}
	}
}

func TestDefaultKeyPath(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/config")
	t.Setenv("HOME", "/home")
	path, err := DefaultKeyPath()
	if err != nil || !strings.HasSuffix(path, "/culprit/redact.key") {
		t.Errorf("%s, %v", path, err)
	}
}
