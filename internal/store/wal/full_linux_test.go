package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/store/disk"
	"golang.org/x/sys/unix"
)

// inNamespaces is set in the environment of a test's second life.
const inNamespaces = "CULPRIT_TEST_NAMESPACES"

// small returns a folder on a file system of some MiB of its own, in a second life of the test; in the first it runs the
// second and returns "".
func small(t *testing.T, size string) string {
	t.Helper()
	if os.Getenv(inNamespaces) != "" {
		dir := t.TempDir()
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Skipf("no mount namespace of one's own here: %v", err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size="+size); err != nil {
			t.Skipf("no tmpfs of one's own here: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		return dir
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespaces+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && cmd.ProcessState == nil:
		t.Skipf("no user namespaces here: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS"):
		t.Errorf("it didn't run: %s", out)
	default:
		t.Logf("%s", out)
	}
	return ""
}

// On a real file system that runs full: nothing that was taken is lost, and it goes on when there is room.
func TestFullFileSystem(t *testing.T) {
	root := small(t, "2m")
	if root == "" {
		return
	}
	dir := filepath.Join(root, "wal")
	l, err := Open(dir, Options{Header: []byte("columns")})
	must(t, err)
	ballast := filepath.Join(root, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	var want []string
	// fill appends until nothing goes any more.
	fill := func() {
		t.Helper()
		refused := 0
		for i := 0; refused < 10; i++ {
			if i > 10_000 {
				t.Fatal("the file system doesn't run full")
			}
			s := fmt.Sprint(len(want), strings.Repeat("x", 100+i*997%20_000))
			switch err := l.Append([]byte(s)); {
			case err == nil:
				want = append(want, s)
			case errors.Is(err, ErrFull):
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	fill()
	first := len(want)
	must(t, l.Sync())
	if free, err := disk.Free(dir); err != nil || free > 64<<10 {
		t.Errorf("%d bytes are free: %v", free, err)
	}
	must(t, os.Remove(ballast))
	fill()
	sealed, err := l.Rotate()
	must(t, err)
	if err := l.Append(make([]byte, 30_000)); !errors.Is(err, ErrFull) {
		t.Errorf("a new file on a full file system: %v", err)
	}
	if len(want) < first+30 {
		t.Errorf("%d records while full, %d after", first, len(want))
	}
	// The process ends here, without Close.
	got, r := []string{}, Report{}
	again, err := Open(dir, Options{})
	must(t, err)
	r, err = again.Replay(func(_ uint64, header, b []byte) error {
		if !bytes.Equal(header, []byte("columns")) {
			t.Errorf("header %q", header)
		}
		got = append(got, string(b))
		return nil
	})
	if err != nil || !slices.Equal(got, want) || r.Torn+r.Damaged > 0 || r.Unsynced != nil {
		t.Errorf("%d of %d records, %+v, %v", len(got), len(want), r, err)
	}
	must(t, again.Remove(sealed))
	must(t, again.Append(make([]byte, 30_000)))
	must(t, again.Close())
	t.Logf("%d records while full, %d after; %+v", first, len(want)-first, l.Stats())
}
