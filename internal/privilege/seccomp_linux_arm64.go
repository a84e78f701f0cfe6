package privilege

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are those that other architectures call otherwise.
var archCalls = [...]uint32{unix.SYS_FSTATAT, unix.SYS_STATFS, unix.SYS_FADVISE64}

var archWriteCalls = [...]uint32{unix.SYS_RENAMEAT}
