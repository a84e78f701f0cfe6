package keytap

import (
	"bytes"
	"context"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// built holds the source of the shim, the compiler's flags for it, and, if the program was built with it, the shim itself.
//
//go:embed shim/keylog.c shim/flags all:shim/dist
var built embed.FS

const (
	// shimPathVariable names the shim's file.
	shimPathVariable = "CULPRIT_SHIM"
	// compileTime is how long a compiler may take, which takes a tenth of a second.
	compileTime = 10 * time.Second
)

// compilers are tried in this order.
var compilers = []string{"cc", "gcc", "clang", "tcc"}

// findShim returns the shim's file: the one that is named, by an argument or in the environment; the one beside the program; the one within it;
// one that is compiled. The latter two are put into a folder.
func findShim(dir, named string, env []string) (string, error) {
	if named == "" {
		named = value(env, shimPathVariable)
	}
	if named != "" {
		path, err := filepath.Abs(named)
		if err == nil {
			path, err = usable(path, dir)
		}
		if err != nil {
			return "", fmt.Errorf("the key-log shim that is named: %w", err)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		path, err := usable(filepath.Join(filepath.Dir(self), shimFile), dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
	}
	if !loadable(dir) {
		return "", fmt.Errorf("no shared object can be loaded from %s: put %s beside culprit, or set TMPDIR", filepath.Dir(dir), shimFile)
	}
	path := filepath.Join(dir, shimFile)
	if b, err := built.ReadFile("shim/dist/culprit-keylog-" + runtime.GOARCH + ".so"); err == nil {
		return path, os.WriteFile(path, b, 0o500)
	}
	return path, compile(path)
}

// usable returns the path of a shim that can be loaded, a copy in a folder if it couldn't be named.
func usable(path, dir string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if path, err = filepath.EvalSymlinks(path); err != nil { // as /proc has it
		return "", err
	}
	if want := machines[runtime.GOARCH]; f.Machine != want || f.Class != elf.ELFCLASS64 {
		return "", fmt.Errorf("%s is for another architecture (%s, not %s)", path, f.Machine, want)
	}
	if loadable(filepath.Dir(path)) && preloadable(path) {
		return path, nil
	}
	if !loadable(dir) {
		return "", fmt.Errorf("%s can't be loaded: its file system is mounted noexec, or its path has spaces or colons", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, shimFile)
	return path, os.WriteFile(path, b, 0o500)
}

// compile makes the shim of its source.
func compile(path string) error {
	source, err := built.ReadFile("shim/keylog.c")
	if err != nil {
		return err
	}
	flags, err := built.ReadFile("shim/flags")
	if err != nil {
		return err
	}
	for _, name := range compilers {
		cc, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), compileTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, cc, append(strings.Fields(string(flags)), "-x", "c", "-o", path, "-")...)
		cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(path), preloadVariable+"=")
		cmd.Stdin = bytes.NewReader(source)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s couldn't compile the key-log shim: %w\n%s", cc, err, bytes.TrimSpace(out))
		}
		return nil
	}
	return fmt.Errorf("there is no C compiler to make it with, and no %s beside culprit", shimFile)
}
