package privilege

import (
	"fmt"
	"slices"
	"strings"
)

// Cap is a Linux capability: its number in linux/capability.h.
type Cap uint8

// The capabilities that culprit has a use for; docs/privileges.md says which.
const (
	CapDACOverride   Cap = 1
	CapDACReadSearch Cap = 2
	CapNetAdmin      Cap = 12
	CapNetRaw        Cap = 13
	CapSysPtrace     Cap = 19
	CapSysAdmin      Cap = 21
)

var capNames = map[Cap]string{
	CapDACOverride:   "CAP_DAC_OVERRIDE",
	CapDACReadSearch: "CAP_DAC_READ_SEARCH",
	CapNetAdmin:      "CAP_NET_ADMIN",
	CapNetRaw:        "CAP_NET_RAW",
	CapSysPtrace:     "CAP_SYS_PTRACE",
	CapSysAdmin:      "CAP_SYS_ADMIN",
}

// String is the name as the kernel's documentation has it, or CAP_ and the number.
func (c Cap) String() string {
	if name, ok := capNames[c]; ok {
		return name
	}
	return fmt.Sprintf("CAP_%d", uint8(c))
}

// capSet has a bit for each capability.
type capSet uint64

func setOf(caps []Cap) (s capSet) {
	for _, c := range caps {
		s |= 1 << c
	}
	return s
}

func (s capSet) has(c Cap) bool { return s&(1<<c) != 0 }

// String names the members, or says "none".
func (s capSet) String() string {
	var names []string
	for c := range Cap(64) {
		if s.has(c) {
			names = append(names, c.String())
		}
	}
	if names == nil {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
