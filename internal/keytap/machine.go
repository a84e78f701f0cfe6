package keytap

import "debug/elf"

// machines are the architectures that are known, by Go's names.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
