package process

import (
	"strconv"
	"strings"
)

// Group is what the control group of a process tells of it.
type Group struct {
	// Container is the id that the container runtime gave, or the name of a machine of systemd-nspawn or LXC.
	Container string
	// Pod is the uid of the Kubernetes pod.
	Pod string
	// Unit is the systemd unit: the innermost service or scope that isn't itself the container.
	Unit string
}

// maxGroupName bounds what is kept of one name, in bytes.
const maxGroupName = 256

// containerPrefixes stand before the id of a container in the name of its control group, with the systemd driver. The
// monitors of Podman and CRI-O (libpod-conmon-, crio-conmon-) aren't in the container, and don't match: what follows
// the prefix must be the id.
var containerPrefixes = [...]string{
	"", // cgroupfs driver: Docker, containerd, CRI-O, ECS
	"docker-", "cri-containerd-", "containerd-", "nerdctl-", "crio-", "cri-o-", "libpod-payload-", "libpod-", "podman-", "buildkit-",
}

// machinePrefixes stand before the name of a container that has no id, and machineSuffixes after it.
var machinePrefixes = [...]struct{ prefix, suffix string }{
	{"systemd-nspawn@", ".service"},
	{"machine-", ".scope"}, // systemd-machined; machine-qemu- are virtual machines
	{"lxc.payload.", ""},
}

// ParseGroup reads the contents of /proc/PID/cgroup: the line of cgroup v2, and those of the controllers of v1. It
// doesn't matter where the path begins, as long as it has the container's own part; in a control group namespace it
// may not.
func ParseGroup(text string) (g Group) {
	// With both versions mounted either may know more. v2 comes first, then systemd's own hierarchy.
	var paths [3][]string
	for line := range strings.Lines(text) {
		number, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case number == "0" && controllers == "":
			paths[0] = append(paths[0], path)
		case controllers == "name=systemd":
			paths[1] = append(paths[1], path)
		default:
			paths[2] = append(paths[2], path)
		}
	}
	for _, list := range paths {
		for _, path := range list {
			p := parseGroupPath(path)
			if p.Container != "" && g.Container == "" {
				return p
			}
			if g == (Group{}) {
				g = p
			}
		}
	}
	return g
}

func parseGroupPath(path string) (g Group) {
	parts := strings.Split(path, "/")
	kube := false
	for i, part := range parts {
		if strings.Contains(part, "kubepods") {
			kube = true
		}
		if kube {
			if uid := podUID(part); uid != "" {
				g.Pod = uid
			}
		}
		// A runtime that is told systemd paths without systemd joins slice, prefix and id by colons.
		last := part[strings.LastIndexByte(part, ':')+1:]
		switch id := containerID(last); {
		case id != "":
			g.Container = id
		case i > 0 && parts[i-1] == "lxc" && part != "" || i > 0 && parts[i-1] == "lxc.payload" && part != "":
			g.Container = part
		case i > 1 && parts[i-2] == "ecs" && fargateID(part, parts[i-1]):
			g.Container = part
		case machineName(part) != "":
			g.Container = machineName(part)
		case strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") && part != "init.scope" && !strings.HasPrefix(part, "machine-"):
			g.Unit = part
		}
	}
	if g.Pod != "" { // the unit would be the runtime's
		g.Unit = ""
	}
	g.Container, g.Unit = bound(g.Container), bound(g.Unit)
	return g
}

func bound(s string) string { return s[:min(len(s), maxGroupName)] }

// containerID returns the 64 hexadecimal digits of a container's control group, "" for other groups.
func containerID(part string) string {
	part = strings.TrimSuffix(part, ".scope")
	for _, prefix := range containerPrefixes {
		if id, ok := strings.CutPrefix(part, prefix); ok && len(id) == 64 && isHex(id) {
			return id
		}
	}
	return ""
}

// fargateID recognises TASK-NUMBER below /ecs/TASK.
func fargateID(part, task string) bool {
	number, ok := strings.CutPrefix(part, task+"-")
	if _, err := strconv.ParseUint(number, 10, 64); !ok || err != nil {
		return false
	}
	return len(task) == 32 && isHex(task)
}

func machineName(part string) string {
	for _, m := range machinePrefixes {
		name, ok := strings.CutPrefix(part, m.prefix)
		if name, cut := strings.CutSuffix(name, m.suffix); ok && cut && name != "" && !strings.HasPrefix(name, "qemu") {
			return unescapeUnit(name)
		}
	}
	return ""
}

// unescapeUnit undoes systemd's \xNN.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		if strings.HasPrefix(s, `\x`) && len(s) >= 4 {
			if c, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

// podUID returns the uid in podUID or kubepods-QOS-podUID.slice: a UUID, whose dashes are underscores with the systemd
// driver; or 32 hexadecimal digits, of a static pod.
func podUID(part string) string {
	if slice, _, ok := strings.Cut(part, ":"); ok {
		part = slice
	}
	part = strings.TrimSuffix(part, ".slice")
	i := strings.LastIndex(part, "pod")
	if i < 0 || i > 0 && part[i-1] != '-' {
		return ""
	}
	uid := strings.ReplaceAll(part[i+len("pod"):], "_", "-")
	switch digits := strings.ReplaceAll(uid, "-", ""); {
	case len(digits) != 32 || !isHex(digits):
		return ""
	case len(uid) == 32:
		return uid
	case len(uid) == 36 && uid[8] == '-' && uid[13] == '-' && uid[18] == '-' && uid[23] == '-':
		return uid
	}
	return ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
