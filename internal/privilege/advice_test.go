package privilege

import "testing"

func TestAdvise(t *testing.T) {
	raw := []string{"CAP_NET_RAW"}
	ordinary := situation{program: "/usr/local/bin/culprit"}
	for _, c := range []struct {
		s             situation
		need, missing []string
		want          string
	}{
		{ordinary, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: run as root, or once: sudo setcap cap_net_raw+ep /usr/local/bin/culprit"},
		{ordinary, nil, []string{"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_NET_RAW"},
			"capturing on eth0 needs CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_NET_RAW: run as root, or once: " +
				"sudo setcap cap_sys_ptrace,cap_dac_read_search,cap_net_raw+ep /usr/local/bin/culprit"},
		{situation{program: "/home/a b/it's"}, raw, raw,
			`capturing on eth0 needs CAP_NET_RAW: run as root, or once: sudo setcap cap_net_raw+ep '/home/a b/it'\''s'`},
		{situation{program: "/tmp/\x1b[31m"}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: run as root, or once: sudo setcap cap_net_raw+ep culprit"},
		{situation{}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: run as root"},
		{situation{program: "/culprit", noNewPrivileges: true}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: run as root (setcap doesn't help here, where no_new_privs is set)"},
		{situation{program: "/culprit", root: true}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW, which was taken from this root: " +
				"grant it where the process is started (in a systemd unit: CapabilityBoundingSet=)"},
		{situation{root: true, userNamespace: true}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW, which this namespace's root hasn't got: run as root outside of it"},
		{situation{root: true, container: true}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: start the container with --cap-add NET_RAW"},
		{situation{container: true}, raw, []string{"CAP_NET_RAW", "CAP_SYS_PTRACE"},
			"capturing on eth0 needs CAP_NET_RAW and CAP_SYS_PTRACE: start the container with --cap-add NET_RAW --cap-add SYS_PTRACE --user 0"},
		{situation{root: true, container: true, kubernetes: true}, raw, []string{"CAP_NET_RAW", "CAP_SYS_PTRACE"},
			"capturing on eth0 needs CAP_NET_RAW and CAP_SYS_PTRACE: " +
				"in the container's spec, set securityContext.capabilities.add: [NET_RAW, SYS_PTRACE]"},
		{situation{container: true, kubernetes: true}, raw, raw,
			"capturing on eth0 needs CAP_NET_RAW: " +
				"in the container's spec, set securityContext.capabilities.add: [NET_RAW] and securityContext.runAsUser: 0"},
		{situation{root: true, userNamespace: true}, raw, nil,
			"capturing on eth0 was refused, although CAP_NET_RAW is there: this user namespace doesn't own the network; " +
				"run outside of it, or with a network of its own: unshare -rn"},
		{ordinary, raw, nil,
			"capturing on eth0 was refused, although CAP_NET_RAW is there: " +
				"a security policy of this system forbids it (seccomp, SELinux or AppArmor)"},
	} {
		if got := c.s.advise("capturing on eth0", c.need, c.missing); got != c.want {
			t.Errorf("%+v, %v:\n got %s\nwant %s", c.s, c.missing, got, c.want)
		}
	}
}

func TestContained(t *testing.T) {
	for cgroup, want := range map[string]bool{
		"0::/init.scope\n": false,
		"0::/\n":           false,
		"12:pids:/docker/3f1c0e\n11:cpu:/docker/3f1c0e\n":                                    true,
		"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-3f.scope\n":              true,
		"0::/machine.slice/libpod-3f1c0e.scope\n":                                            true,
		"0::/system.slice/docker-3f1c0e.scope\n":                                             true,
		"0::/system.slice/ssh.service\n":                                                     false,
		"1:name=systemd:/lxc/web\n":                                                          true,
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Web.scope": false,
	} {
		if got := contained(cgroup); got != want {
			t.Errorf("%q: %v, want %v", cgroup, got, want)
		}
	}
}
