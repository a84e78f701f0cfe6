package process

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
)

const (
	// maxCommandLine is what is read of a command line, in bytes, and maxArgs how many arguments are kept.
	maxCommandLine = 4096
	maxArgs        = 256
	// maxGroups is what is read of /proc/PID/cgroup, in bytes.
	maxGroups = 16 << 10
	// maxName and maxPath bound a command name and the path of a program, in bytes.
	maxName = 64
	maxPath = 4096
	// maxUsers bounds the names of users.
	maxUsers = 1 << 16
)

// parseParent returns the parent's process id from the contents of /proc/PID/stat (proc_pid_stat(5)). The command name in
// it may hold anything, parentheses too.
func parseParent(b []byte) (pid int32, ok bool) {
	const parent = 1 // counted behind the command name
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, false
	}
	fields := bytes.Fields(b[i+1:])
	if len(fields) <= parent {
		return 0, false
	}
	n, err := strconv.ParseInt(string(fields[parent]), 10, 32)
	return int32(n), err == nil && n >= 0
}

// parseArgs splits the contents of /proc/PID/cmdline. A process that has overwritten it with a title leaves many empty
// arguments at the end, which are left out. The last one is incomplete when the text was cut.
func parseArgs(b []byte) []string {
	b = bytes.TrimRight(b[:min(len(b), maxCommandLine)], "\x00")
	if len(b) == 0 {
		return nil
	}
	return strings.SplitN(string(b), "\x00", maxArgs+1)[:min(maxArgs, bytes.Count(b, []byte{0})+1)]
}

// parseCapabilities reads the effective capabilities from the contents of /proc/PID/status, as a bit set.
func parseCapabilities(b []byte) (set uint64, ok bool) {
	for line := range bytes.Lines(b) {
		if v, found := bytes.CutPrefix(line, []byte("CapEff:")); found {
			set, err := strconv.ParseUint(string(bytes.TrimSpace(v)), 16, 64)
			return set, err == nil
		}
	}
	return 0, false
}

// readUsers reads names of users from the format of /etc/passwd; the first name of a uid counts.
func readUsers(r io.Reader) map[uint32]string {
	all := map[uint32]string{}
	for s := bufio.NewScanner(r); s.Scan() && len(all) < maxUsers; {
		f := strings.SplitN(s.Text(), ":", 4)
		if len(f) < 4 || f[0] == "" || f[0][0] == '#' || f[0][0] == '+' || f[0][0] == '-' {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if _, known := all[uint32(uid)]; err == nil && !known {
			all[uint32(uid)] = strings.Clone(f[0][:min(len(f[0]), maxName)])
		}
	}
	return all
}

// parseSocketLink returns the inode in the target of a descriptor's link, "socket:[123]"; 0 for what isn't a socket.
func parseSocketLink(b []byte) uint64 {
	b, ok := bytes.CutPrefix(b, []byte("socket:["))
	if !ok || len(b) < 2 || b[len(b)-1] != ']' {
		return 0
	}
	return parseNumber(b[:len(b)-1])
}

// parseNumber reads a decimal number without sign, below 2^63; 0 for anything else.
func parseNumber(b []byte) (n uint64) {
	if len(b) == 0 || len(b) > 18 {
		return 0
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
