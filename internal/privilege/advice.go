package privilege

import (
	"strings"
)

// situation is what advice depends on.
type situation struct {
	program string // the path of the program's file, or empty
	root    bool
	// kubernetes implies container. In a userNamespace not all users of the system are mapped.
	container, kubernetes, userNamespace bool
	// noNewPrivileges: a program's file can't grant any.
	noNewPrivileges bool
}

// advise says in one sentence what doing needs, and how to get it.
func (s situation) advise(doing string, need, missing []string) string {
	if len(missing) == 0 {
		text := doing + " was refused, although " + list(need) + " is there: "
		if s.userNamespace {
			return text + "this user namespace doesn't own the network; run outside of it, or with a network of its own: unshare -rn"
		}
		return text + "a security policy of this system forbids it (seccomp, SELinux or AppArmor)"
	}

	short := make([]string, len(missing))
	for i, name := range missing {
		short[i] = strings.TrimPrefix(name, "CAP_")
	}
	text := doing + " needs " + list(missing)
	switch {
	case s.kubernetes:
		text += ": in the container's spec, set securityContext.capabilities.add: [" + strings.Join(short, ", ") + "]"
		if !s.root {
			text += " and securityContext.runAsUser: 0" // what is added is root's only
		}
	case s.container:
		text += ": start the container with"
		for _, name := range short {
			text += " --cap-add " + name
		}
		if !s.root {
			text += " --user 0"
		}
	case s.root && s.userNamespace:
		text += ", which this namespace's root hasn't got: run as root outside of it"
	case s.root:
		text += ", which was taken from this root: grant it where the process is started (in a systemd unit: CapabilityBoundingSet=)"
	case s.noNewPrivileges:
		text += ": run as root (setcap doesn't help here, where no_new_privs is set)"
	case s.program == "":
		text += ": run as root"
	default:
		text += ": run as root, or once: sudo setcap " + strings.ToLower(strings.Join(missing, ",")) + "+ep " + quote(s.program)
	}
	return text
}

// list joins names as people do.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// quote makes a word for a shell of a file's name.
func quote(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,=:@%"
	if path != "" && strings.Trim(path, plain) == "" {
		return path
	}
	safe := true
	for _, r := range path {
		safe = safe && r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f)
	}
	if !safe { // not to be shown on a terminal as it is
		return "culprit"
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// contained reports whether the control groups of the first process look like those of a container.
func contained(cgroup string) bool {
	for _, mark := range []string{"/docker", "/kubepods", "/libpod", "/lxc", "containerd", "crio"} {
		if strings.Contains(cgroup, mark) {
			return true
		}
	}
	return false
}
