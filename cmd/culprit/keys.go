package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// keylogVariable names the key log in the environment, as for the programs that write it.
const keylogVariable = "SSLKEYLOGFILE"

// openKeys opens the key logs and private keys. It comes before privileges are dropped. Key logs that are whole are read to
// their end, so that what is decrypted doesn't depend on time; live, they are read as far as there is something, and more
// reads what comes, as the pipeline wants it. more is nil when there is nothing to follow; it may call warn. The caller closes it.
func openKeys(c *config.Capture, live bool, warn func(format string, args ...any)) (_ *keylog.Store, more *keylog.Follower, err error) {
	s := keylog.NewStore(keylog.Options{})
	for _, name := range c.TLSKeys {
		if err := readRSA(s, name, warn); err != nil {
			return nil, nil, &statusError{exitFailed, fmt.Errorf("--tls-key %w", err)}
		}
	}
	names, err := keylogs(c)
	if err != nil {
		return nil, nil, usage(err)
	}
	given := len(c.Keylogs) > 0
	f := keylog.NewFollower(s, warn)
	for _, name := range names {
		switch there, err := openKeylog(s, f, name, live, warn); {
		case err != nil && !given:
			warn("%s names a key log that can't be read: %v", keylogVariable, err)
		case err != nil:
			f.Close()
			return nil, nil, &statusError{exitFailed, fmt.Errorf("--keylog %w", err)}
		case !there && live && given:
			warn("the key log %s isn't there yet, and is waited for", name)
		case !there && given:
			return nil, nil, &statusError{exitFailed, fmt.Errorf("--keylog %s: there is no such file; programs make it at their first TLS connection (docs/keys.md)", name)}
		}
	}
	if n := s.Stats().Dropped; n > 0 {
		warn("the key logs have more than %d sessions: the first %d are forgotten", s.Stats().Sessions, n)
	}
	s.Publish()
	if !live || len(names) == 0 {
		return s, nil, nil
	}
	s.SetMayGrow(true)
	return s, f, nil
}

// keylogs returns the names of the key logs.
func keylogs(c *config.Capture) ([]string, error) { return c.KeyFiles(os.Getenv(keylogVariable)) }

// openKeylog reads a key log, or what it has until now. there: it exists.
func openKeylog(s *keylog.Store, f *keylog.Follower, name string, live bool, warn func(format string, args ...any)) (there bool, err error) {
	if live {
		there, err = f.Open(name)
		return there, unreadable(name, err)
	}
	in, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, unreadable(name, err)
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.IsDir() {
		return true, fmt.Errorf("%s is a folder: name the key log in it", name)
	}
	problem, err := s.Read(in)
	if problem.Malformed > 0 {
		warn("%s", problem.Text(name))
	}
	return true, unreadable(name, err)
}

// unreadable says what to do about a file that can't be read. A nil error stays.
func unreadable(name string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%s can't be read by uid %d: run culprit as its owner, or as root", name, os.Geteuid())
}

// maxKeyFile is the largest size of a file with private keys, in bytes.
const maxKeyFile = 1 << 20

// readRSA reads the private keys of a file.
func readRSA(s *keylog.Store, name string, warn func(format string, args ...any)) error {
	in, err := os.Open(name)
	if err != nil {
		return unreadable(name, err)
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder: name the file in it", name)
	case info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0:
		warn("anybody on this machine may read the private key in %s: take that away with chmod 600", name)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKeyFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxKeyFile {
		return fmt.Errorf("%s has more than %d bytes: want a private key in PEM", name, maxKeyFile)
	}
	keys, err := keylog.ParseRSA(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, k := range keys {
		s.AddRSA(k)
	}
	return nil
}

// keyFolders are the folders of key logs that aren't there yet: when they come, they are opened, by whoever the process is
// then.
func keyFolders(c *config.Capture) (all []string) {
	names, err := keylogs(c)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if path, err := filepath.Abs(filepath.Dir(name)); err == nil && !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

// checkWithKeys refuses --with-keys where it would do nothing. The keys are open by now. mayCarry: the input may have some in it.
func checkWithKeys(c *config.Trace, orders []order, s *keylog.Store, mayCarry bool) error {
	switch {
	case !c.WithKeys:
		return nil
	case !slices.ContainsFunc(orders, func(o order) bool { return o.Name == recording }):
		return usage(errors.New("--with-keys is for recordings: it needs -o pcapng=FILE"))
	case !mayCarry && (s == nil || s.Empty()):
		return usage(fmt.Errorf("--with-keys: there are no keys to write: name a key log with --keylog FILE, or set %s (docs/keys.md)", keylogVariable))
	}
	return nil
}
