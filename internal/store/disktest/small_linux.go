package disktest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// secondLife is set in the environment of a test that runs again in namespaces of its own.
const secondLife = "CULPRIT_TEST_NAMESPACES"

// Small returns a folder on a file system of that size, such as 2m, of the test's own. For that the test runs again, in a
// user and a mount namespace; in its first life Small waits for the second, reports as that did, and returns "": the test
// is over then.
func Small(t *testing.T, size string) string {
	t.Helper()
	if os.Getenv(secondLife) != "" {
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
	cmd.Env = append(os.Environ(), secondLife+"=1")
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
