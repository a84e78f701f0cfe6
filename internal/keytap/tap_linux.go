package keytap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// Options say where keys go.
type Options struct {
	// Store gets them. It must be told by the caller that it may grow.
	Store *keylog.Store
	// Shim is the file of the shim, "" to look for it: beside the program, within it, or in its source, which a C compiler compiles.
	Shim string
	// Notify is told what the user should know, from any goroutine; nil: nobody is.
	Notify func(format string, args ...any)
}

// Tap collects the keys of the programs that are run. Its methods may be called from any goroutine, but for those that take a tracer.
type Tap struct {
	store  *keylog.Store
	dir    string
	pipes  []*pipe
	tee    *tee
	reader sync.WaitGroup
	closed sync.Once

	// keysPath and shimPath are the pipes' names, "" without an environment.
	keysPath, shimPath string
	// shim is the file of the shim, or noShim says why there is none.
	shim   string
	noShim error

	mu       sync.Mutex
	programs map[identity]*program
}

// New returns a tap without an environment: for programs that run already.
func New(store *keylog.Store) *Tap {
	return &Tap{store: store, noShim: errors.New("the program ran already"), programs: map[identity]*program{}}
}

// Prepare returns a tap, and the environment that programs are to be run with instead of env. The tap is to be closed when they have ended, or
// they would find no pipe to write to. An error says that there can be no pipes; programs may be run with env then, and New.
func Prepare(env []string, o Options) (_ *Tap, _ []string, err error) {
	if o.Notify == nil {
		o.Notify = func(string, ...any) {}
	}
	t := New(o.Store)
	if t.dir, err = privateFolder(env); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = t.Close()
		}
	}()
	add := func(lines []byte) { t.store.Add(lines) }
	both := add
	// The empty value is that of no key log.
	if path := value(env, keylogVariable); path != "" {
		t.tee = &tee{path: path, notify: o.Notify}
		both = func(lines []byte) {
			add(lines)
			t.tee.write(lines)
		}
	}
	t.keysPath, t.shimPath = filepath.Join(t.dir, "keys"), filepath.Join(t.dir, "shim")
	for path, add := range map[string]func([]byte){t.keysPath: both, t.shimPath: add} {
		p, err := newPipe(path, add)
		if err != nil {
			return nil, nil, err
		}
		t.pipes = append(t.pipes, p)
	}
	for _, p := range t.pipes {
		t.reader.Go(p.follow)
	}

	env = with(env, keylogVariable, t.keysPath)
	quiet := filepath.Join(t.dir, "quiet.cjs")
	if err := os.WriteFile(quiet, []byte(quietNode), 0o600); err != nil {
		return nil, nil, err
	}
	options, own := nodeOptions(value(env, nodeVariable), t.keysPath, quiet)
	if own {
		o.Notify("%s has a key log of its own: what node writes there isn't known here", nodeVariable)
	}
	env = with(env, nodeVariable, options)
	if t.shim, t.noShim = findShim(t.dir, o.Shim, env); t.noShim == nil {
		env = with(env, shimVariable, t.shimPath)
		env = with(env, preloadVariable, preload(value(env, preloadVariable), t.shim))
	}
	return t, env, nil
}

// privateFolder makes a folder that is the user's alone, where a shared object can be loaded from if there is such a place.
func privateFolder(env []string) (string, error) {
	var reserve string
	var all []error
	for _, parent := range []string{os.TempDir(), value(env, "XDG_RUNTIME_DIR"), "/tmp", "/dev/shm", "/var/tmp"} {
		if parent == "" {
			continue
		}
		dir, err := filepath.EvalSymlinks(parent) // as /proc has it
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err == nil {
			dir, err = os.MkdirTemp(dir, "culprit-keys-")
		}
		if err != nil {
			all = append(all, err)
			continue
		}
		if loadable(dir) {
			if reserve != "" {
				_ = os.Remove(reserve)
			}
			return dir, nil
		}
		if reserve != "" {
			_ = os.Remove(dir)
			continue
		}
		reserve = dir
	}
	if reserve != "" {
		return reserve, nil
	}
	return "", fmt.Errorf("no folder for key logs could be made; set TMPDIR to one that can be written to: %w", errors.Join(all...))
}

// noExec is ST_NOEXEC of statfs(2).
const noExec = 8

// loadable reports whether a shared object in a folder can be loaded by LD_PRELOAD.
func loadable(dir string) bool {
	var fs unix.Statfs_t
	return preloadable(dir) && (unix.Statfs(dir, &fs) != nil || fs.Flags&noExec == 0)
}

// Sync reads the lines that programs have written until now.
func (t *Tap) Sync() {
	for _, p := range t.pipes {
		p.sync()
	}
}

// Close takes the last lines, and removes what Prepare has made. It may be called more than once.
func (t *Tap) Close() (err error) {
	t.closed.Do(func() {
		t.Sync()
		for _, p := range t.pipes {
			_ = p.file.Close()
		}
		t.reader.Wait()
		if t.tee != nil {
			err = t.tee.close()
		}
		if t.dir != "" {
			err = errors.Join(err, os.RemoveAll(t.dir))
		}
	})
	return err
}
