package process

import (
	"strings"
	"testing"
)

func TestParseGroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	inner := strings.Repeat("fedcba9876543210", 4)
	const uid = "b7e0bf9a-6e1e-4b4e-9d0f-0c9a3f1d2e3f"
	uidSlice := strings.ReplaceAll(uid, "-", "_")
	const static = "b7e0bf9a6e1e4b4e9d0f0c9a3f1d2e3f"
	for _, c := range []struct {
		name, text string
		want       Group
	}{
		{"root", "0::/\n", Group{}},
		{"empty", "", Group{}},
		{"service", "0::/system.slice/nginx.service\n", Group{Unit: "nginx.service"}},
		{"service with a template", "0::/system.slice/system-getty.slice/getty@tty1.service\n", Group{Unit: "getty@tty1.service"}},
		{"delegated", "0::/system.slice/php-fpm.service/workers/a\n", Group{Unit: "php-fpm.service"}},
		{"session", "0::/user.slice/user-1000.slice/session-3.scope\n", Group{Unit: "session-3.scope"}},
		{"user service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/dev.service\n", Group{Unit: "dev.service"}},
		{"pid 1", "0::/init.scope\n", Group{}},
		{"v1 service", "12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n", Group{Unit: "ssh.service"}},
		{"no newline", "0::/system.slice/nginx.service", Group{Unit: "nginx.service"}},

		{"docker, v2, systemd", "0::/system.slice/docker-" + id + ".scope\n", Group{Container: id}},
		{"docker, v2, cgroupfs", "0::/docker/" + id + "\n", Group{Container: id}},
		{"docker, v1", "11:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n", Group{Container: id}},
		{"docker, hybrid", "4:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n0::/system.slice/containerd.service\n", Group{Container: id}},
		{"docker, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id + ".scope\n", Group{Container: id, Unit: "user@1000.service"}},
		{"docker, below", "0::/docker/" + id + "/init\n", Group{Container: id}},
		{"docker in docker", "0::/docker/" + id + "/docker/" + inner + "\n", Group{Container: inner}},
		{"from another namespace", "0::/../docker-" + id + ".scope\n", Group{Container: id}},
		{"nerdctl", "0::/default/" + id + "\n", Group{Container: id}},
		{"nerdctl, systemd", "0::/system.slice/nerdctl-" + id + ".scope\n", Group{Container: id}},

		{"podman, root", "0::/machine.slice/libpod-" + id + ".scope/container\n", Group{Container: id}},
		{"podman, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container\n",
			Group{Container: id, Unit: "user@1000.service"}},
		{"podman, unit", "0::/system.slice/web.service/libpod-payload-" + id + "\n", Group{Container: id, Unit: "web.service"}},
		{"podman, cgroupfs", "0::/libpod_parent/libpod-" + id + "\n", Group{Container: id}},
		{"podman's monitor", "0::/machine.slice/libpod-conmon-" + id + ".scope\n", Group{Unit: "libpod-conmon-" + id + ".scope"}},

		{"containerd, v2, systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidSlice + ".slice/cri-containerd-" + id + ".scope\n",
			Group{Container: id, Pod: uid}},
		{"containerd, guaranteed", "0::/kubepods.slice/kubepods-pod" + uidSlice + ".slice/cri-containerd-" + id + ".scope\n", Group{Container: id, Pod: uid}},
		{"containerd, v1, cgroupfs", "9:cpu,cpuacct:/kubepods/besteffort/pod" + uid + "/" + id + "\n", Group{Container: id, Pod: uid}},
		{"containerd, colons", "0::/system.slice/containerd.service/kubepods-besteffort-pod" + uidSlice + ".slice:cri-containerd:" + id + "\n",
			Group{Container: id, Pod: uid}},
		{"static pod", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + static + ".slice/cri-containerd-" + id + ".scope\n",
			Group{Container: id, Pod: static}},
		{"cri-dockerd", "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uidSlice + ".slice/docker-" + id + ".scope\n",
			Group{Container: id, Pod: uid}},
		{"cri-o", "0::/kubepods.slice/kubepods-pod" + uidSlice + ".slice/crio-" + id + ".scope/container\n", Group{Container: id, Pod: uid}},
		{"cri-o's monitor", "0::/kubepods.slice/kubepods-pod" + uidSlice + ".slice/crio-conmon-" + id + ".scope\n", Group{Pod: uid}},
		{"kind", "0::/docker/" + id + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + uidSlice +
			".slice/cri-containerd-" + inner + ".scope\n", Group{Container: inner, Pod: uid}},

		{"ECS", "4:memory:/ecs/0123456789abcdef0123456789abcdef/" + id + "\n", Group{Container: id}},
		{"Fargate", "4:memory:/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2677612423\n",
			Group{Container: "0123456789abcdef0123456789abcdef-2677612423"}},
		{"nspawn", "0::/machine.slice/systemd-nspawn@web.service/payload\n", Group{Container: "web"}},
		{"nspawn, unit within", "0::/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service\n", Group{Container: "web", Unit: "nginx.service"}},
		{"machine", `0::/machine.slice/machine-my\x2dbox.scope` + "\n", Group{Container: "my-box"}},
		{"virtual machine", `0::/machine.slice/machine-qemu\x2d1\x2dvm.scope` + "\n", Group{}},
		{"LXC", "0::/lxc.payload.web/system.slice/nginx.service\n", Group{Container: "web", Unit: "nginx.service"}},
		{"LXC, v1", "3:cpu:/lxc/web\n", Group{Container: "web"}},
		{"LXC's monitor", "0::/lxc.monitor.web\n", Group{}},

		{"63 digits", "0::/docker/" + id[1:] + "\n", Group{}},
		{"upper case", "0::/docker/" + strings.ToUpper(id) + "\n", Group{}},
		{"a pod's name without Kubernetes", "0::/pod" + uid + "\n", Group{}},
		{"a service named like a pod", "0::/system.slice/podman.service\n", Group{Unit: "podman.service"}},
		{"not a group file", "hello\n::\n:\n", Group{}},
	} {
		if got := ParseGroup(c.text); got != c.want {
			t.Errorf("%s: %q\n got %+v\nwant %+v", c.name, c.text, got, c.want)
		}
	}
}
