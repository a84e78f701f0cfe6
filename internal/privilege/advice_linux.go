package privilege

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxProcFile bounds what is read of a file in /proc, in bytes.
const maxProcFile = 64 << 10

// Explain says in one sentence, for people, what of need is missing for doing ("capturing on eth0"), and how to get it here:
// as root, by setcap on this program, in a container or a pod. When nothing is missing, it says what else may have refused it.
func Explain(doing string, need ...Cap) string {
	names := make([]string, len(need))
	for i, c := range need {
		names[i] = c.String()
	}
	return here().advise(doing, names, Missing(need...))
}

// here looks around.
func here() (s situation) {
	if path, err := os.Executable(); err == nil && !strings.HasSuffix(path, " (deleted)") {
		s.program = path
	}
	s.root = os.Geteuid() == 0
	s.kubernetes = os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	s.container = s.kubernetes || exists("/.dockerenv") || exists("/run/.containerenv") || contained(read("/proc/1/cgroup"))
	// Outside of user namespaces, each of the 2^32-1 users is mapped to itself.
	if fields := strings.Fields(read("/proc/self/uid_map")); len(fields) > 0 {
		s.userNamespace = strings.Join(fields, " ") != "0 0 4294967295"
	}
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	s.noNewPrivileges = err == nil && set == 1
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// read returns the beginning of a file, or nothing.
func read(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxProcFile)) // what there is, is what counts
	return string(b)
}
