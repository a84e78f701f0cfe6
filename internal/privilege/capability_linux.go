package privilege

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Missing returns the names of those capabilities that the process hasn't got. One that it is permitted but that isn't in
// effect, as when the program's file grants it without that, is put into effect, in all threads.
func Missing(need ...Cap) (names []string) {
	have, err := capabilities()
	if want := setOf(need) & have.permitted; err == nil && want&^have.effective != 0 {
		raised := have
		raised.effective |= want
		if setCapabilities(raised) == nil {
			have = raised
		}
	}
	for _, c := range need {
		if err != nil || !have.effective.has(c) {
			names = append(names, c.String())
		}
	}
	return names
}

// capabilitySets are those of a thread; all threads of the process have the same.
type capabilitySets struct{ effective, permitted, inheritable capSet }

func capabilities() (s capabilitySets, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // the low and the high 32 bits
	if err := unix.Capget(&header, &data[0]); err != nil {
		return s, fmt.Errorf("reading the process's capabilities: %w", err)
	}
	for i, d := range data {
		s.effective |= capSet(d.Effective) << (32 * i)
		s.permitted |= capSet(d.Permitted) << (32 * i)
		s.inheritable |= capSet(d.Inheritable) << (32 * i)
	}
	return s, nil
}

// setCapabilities sets those of all threads.
func setCapabilities(s capabilitySets) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		data[i] = unix.CapUserData{
			Effective:   uint32(s.effective >> (32 * i)),
			Permitted:   uint32(s.permitted >> (32 * i)),
			Inheritable: uint32(s.inheritable >> (32 * i)),
		}
	}
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("setting the process's capabilities: %w", errno)
	}
	return nil
}

// prctl is prctl(2) in all threads.
func prctl(option int, arg2, arg3 uintptr) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, uintptr(option), arg2, arg3, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// dropCapabilities leaves those of keep that the process has, and empties all sets that a program which it runs would
// inherit from.
func dropCapabilities(keep capSet) (Step, error) {
	step := Step{Name: "capabilities", Done: true}
	have, err := capabilities()
	if err != nil {
		return step, err
	}
	// What bounds the sets of programs that are run can be changed with CAP_SETPCAP in effect only.
	if have.effective != have.permitted {
		have.effective = have.permitted
		if err := setCapabilities(have); err != nil {
			return step, err
		}
	}
	bounded := true
	for c := uintptr(0); c < 64; c++ {
		if set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break // it was the last that the kernel knows
		} else if set == 0 {
			continue
		}
		if err := prctl(unix.PR_CAPBSET_DROP, c, 0); errors.Is(err, unix.EPERM) {
			bounded = false
			break
		} else if err != nil {
			return step, fmt.Errorf("taking capability %d out of the bounding set: %w", c, err)
		}
	}
	// Kernels before 4.3 have no ambient set, and say EINVAL.
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return step, fmt.Errorf("emptying the ambient capabilities: %w", err)
	}
	left := keep & have.permitted
	if err := setCapabilities(capabilitySets{effective: left, permitted: left}); err != nil {
		return step, err
	}
	// Believe the kernel only.
	if have, err = capabilities(); err != nil {
		return step, err
	} else if (have.effective|have.permitted|have.inheritable)&^left != 0 {
		return step, fmt.Errorf("the kernel left the capabilities %s, although they were given up", have.permitted)
	}
	step.Text = left.String()
	if !bounded {
		step.Text += " (the bounding set stays: without CAP_SETPCAP it can't be changed)"
	}
	return step, nil
}
