package keytap

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// A Go program has no symbols when it is stripped, but always the table that its runtime looks functions up in, .gopclntab:
//
//	header         magic, and the offsets of the parts below
//	funcnametab    names of functions, each ending with a zero byte; also of functions that are inlined everywhere
//	functab        for each function where it begins, relative to the beginning of Go's code, and where in the same part its record is
//	record         where it begins, again, and where in funcnametab its name is
//
// The header said where Go's code begins until Go 1.25. Since then only the moduledata does, which begins with the address of the header. Where
// the program is position-independent both are relocations, and what is in the file isn't it.
//
// The layout is that of Go 1.18 to 1.26 (runtime/symtab.go, cmd/link/internal/ld/pcln.go).
const (
	magic118 = 0xfffffff0
	magic120 = 0xfffffff1
	// headerWords are the words of the header behind its first 8 bytes.
	headerWords = 8
	headerSize  = 8 + headerWords*8
	// functabEntry is the size of an entry, and recordStart how much of a record is looked at, in bytes.
	functabEntry = 8
	recordStart  = 8
	// moduleNames, moduleMin and moduleText are the offsets in the moduledata of the address of funcnametab, of the first function's, and of Go's code.
	moduleNames = 8
	moduleMin   = 160
	moduleText  = 176
)

const (
	// logFunction ends the name of the function that is called with each secret, in crypto/tls and in what is forked from it.
	logFunction = ".(*Config).writeKeyLog\x00"
	// maxFunctions is how many such functions are looked for in a program.
	maxFunctions = 4
	// maxTable is how large a table may be, and maxData the data that is searched, in bytes.
	maxTable = 512 << 20
	maxData  = 512 << 20
	// maxTrusted is for how much room is made at once, in bytes, because a file says so.
	maxTrusted = 64 << 20
	// maxDynamic is how large the dynamic section may be, in bytes.
	maxDynamic = 1 << 20
	// maxSections is how many sections a program may have.
	maxSections = 4096
)

// What may stand in the way.
var (
	errNotGo     = errors.New("it isn't a Go program")
	errNoTLS     = errors.New("the Go program has no function crypto/tls.(*Config).writeKeyLog: it doesn't use Go's TLS, or its names are obfuscated")
	errInlined   = errors.New("the Go program has crypto/tls.(*Config).writeKeyLog only inlined, where no breakpoint can be set")
	errGoVersion = errors.New("the Go program is older than Go 1.18, or newer than what is known here")
	errGoText    = errors.New("where the Go program's code begins couldn't be found")
)

// goFunctions returns the addresses of the functions that a Go program calls with its TLS secrets, as they are in its file, and the address that
// the program is entered at.
func goFunctions(r io.ReaderAt) (addresses []uint64, entry uint64, err error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNotGo, err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.Machine != elf.EM_X86_64 && f.Machine != elf.EM_AARCH64 || len(f.Sections) > maxSections {
		return nil, 0, fmt.Errorf("%w for amd64 or arm64", errNotGo)
	}
	t, err := findTable(f)
	if err != nil {
		return nil, 0, err
	}
	offsets, err := t.functions(logFunction)
	if err != nil {
		return nil, 0, err
	}
	text, err := t.text(f)
	if err != nil {
		return nil, 0, err
	}
	for _, o := range offsets {
		a := text + uint64(o)
		if !executable(f, a) {
			return nil, 0, errGoText
		}
		addresses = append(addresses, a)
	}
	return addresses, f.Entry, nil
}

// executable reports whether there is code at an address.
func executable(f *elf.File, a uint64) bool {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && a >= p.Vaddr && a-p.Vaddr < p.Filesz {
			return true
		}
	}
	return false
}

// table is the table of a program's functions.
type table struct {
	address uint64
	data    []byte
	// of the header
	count, textStart, names, namesEnd, functab uint64
}

var order = binary.LittleEndian

// findTable finds the table by its section, or, if there are no sections, or the system's linker has put it into another, by its first bytes.
func findTable(f *elf.File) (*table, error) {
	isGo := len(f.Sections) == 0
	for _, s := range f.Sections {
		switch s.Name {
		case ".go.buildinfo", ".note.go.buildid":
			isGo = true
		case ".gopclntab", ".data.rel.ro.gopclntab":
			if s.Type == elf.SHT_NOBITS || s.Size > maxTable {
				return nil, errNotGo
			}
			data, err := read(s, s.Size)
			if err != nil {
				return nil, err
			}
			t, err := newTable(s.Addr, data)
			if err != nil {
				return nil, errGoVersion
			}
			return t, nil
		}
	}
	if !isGo {
		return nil, errNotGo
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Filesz > maxTable {
			continue
		}
		data, err := read(p, p.Filesz)
		if err != nil {
			return nil, err
		}
		for _, magic := range []uint32{magic120, magic118} {
			first := order.AppendUint32(nil, magic)
			for at := 0; ; at += len(first) {
				i := bytes.Index(data[at:], first)
				if i < 0 {
					break
				}
				at += i
				if t, err := newTable(p.Vaddr+uint64(at), data[at:]); err == nil {
					return t, nil
				}
			}
		}
	}
	return nil, errNotGo
}

// read reads n bytes from the beginning, which may be fewer in a file that lies.
func read(r io.ReaderAt, n uint64) ([]byte, error) {
	b := make([]byte, 0, min(n, maxTrusted)+bytes.MinRead)
	into := bytes.NewBuffer(b)
	_, err := into.ReadFrom(io.NewSectionReader(r, 0, int64(n)))
	return into.Bytes(), err
}

// newTable reads the header of a table.
func newTable(address uint64, data []byte) (*table, error) {
	if len(data) < headerSize {
		return nil, errGoVersion
	}
	magic := order.Uint32(data)
	if magic != magic118 && magic != magic120 || data[4] != 0 || data[5] != 0 || data[7] != 8 {
		return nil, errGoVersion
	}
	var w [headerWords]uint64
	for i := range w {
		w[i] = order.Uint64(data[8+8*i:])
	}
	t := &table{address: address, data: data, count: w[0], textStart: w[2], names: w[3], namesEnd: w[4], functab: w[7]}
	size := uint64(len(data))
	if t.names < headerSize || t.names > t.namesEnd || t.namesEnd > size || t.functab < t.namesEnd || t.functab > size ||
		t.count == 0 || t.count > (size-t.functab)/functabEntry {
		return nil, errGoVersion
	}
	return t, nil
}

// functions returns where the functions begin whose names have an ending, relative to the beginning of the code.
func (t *table) functions(ending string) (offsets []uint32, err error) {
	names := t.data[t.names:t.namesEnd]
	wanted := map[uint32]bool{}
	for at := 0; len(wanted) < maxFunctions; {
		i := bytes.Index(names[at:], []byte(ending))
		if i < 0 {
			break
		}
		begin := bytes.LastIndexByte(names[:at+i], 0) + 1
		wanted[uint32(begin)] = true
		at += i + len(ending)
	}
	if len(wanted) == 0 {
		return nil, errNoTLS
	}
	part := t.data[t.functab:]
	for i := range t.count {
		e := part[i*functabEntry:]
		offset, record := order.Uint32(e), uint64(order.Uint32(e[4:]))
		if record > math.MaxUint32-recordStart || record+recordStart > uint64(len(part)) {
			return nil, errGoVersion
		}
		if r := part[record:]; wanted[order.Uint32(r[4:])] {
			if order.Uint32(r) != offset {
				return nil, errGoVersion
			}
			offsets = append(offsets, offset)
		}
	}
	if len(offsets) == 0 {
		return nil, errInlined
	}
	return offsets[:min(len(offsets), maxFunctions)], nil
}

// text returns where Go's code begins.
func (t *table) text(f *elf.File) (uint64, error) {
	if t.textStart != 0 && f.Type == elf.ET_EXEC {
		return t.textStart, nil
	}
	relocated, err := relocations(f)
	if err != nil {
		return 0, err
	}
	first := uint64(order.Uint32(t.data[t.functab:]))
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W == 0 || p.Filesz > maxData {
			continue
		}
		data, err := read(p, p.Filesz)
		if err != nil {
			return 0, err
		}
		for at := uint64(-p.Vaddr % 8); at+moduleText+8 <= uint64(len(data)); at += 8 {
			word := func(offset uint64) uint64 {
				if v, ok := relocated[p.Vaddr+at+offset]; ok {
					return v
				}
				return order.Uint64(data[at+offset:])
			}
			if word(0) != t.address || word(moduleNames) != t.address+t.names {
				continue
			}
			if text := word(moduleText); text != 0 && word(moduleMin) == text+first {
				return text, nil
			}
		}
	}
	return 0, errGoText
}

// relocations returns the words that are relative to where the program is loaded, by their address.
func relocations(f *elf.File) (map[uint64]uint64, error) {
	if f.Type != elf.ET_DYN {
		return nil, nil
	}
	relative := uint64(elf.R_X86_64_RELATIVE)
	if f.Machine == elf.EM_AARCH64 {
		relative = uint64(elf.R_AARCH64_RELATIVE)
	}
	address, size, err := relaTable(f)
	if err != nil || size == 0 {
		return nil, err
	}
	data, err := at(f, address, size)
	if err != nil {
		return nil, err
	}
	const entry = 24 // Elf64_Rela: where, what, addend
	all := make(map[uint64]uint64, len(data)/entry)
	for ; len(data) >= entry; data = data[entry:] {
		if order.Uint64(data[8:])&math.MaxUint32 == relative {
			all[order.Uint64(data)] = order.Uint64(data[16:])
		}
	}
	return all, nil
}

// relaTable returns where the relocations are, by the dynamic section, which is a segment, too.
func relaTable(f *elf.File) (address, size uint64, err error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_DYNAMIC || p.Filesz > maxDynamic {
			continue
		}
		data, err := read(p, p.Filesz)
		if err != nil {
			return 0, 0, err
		}
		for ; len(data) >= 16; data = data[16:] {
			switch tag, v := elf.DynTag(order.Uint64(data)), order.Uint64(data[8:]); tag {
			case elf.DT_RELA:
				address = v
			case elf.DT_RELASZ:
				size = v
			}
		}
	}
	return address, size, nil
}

// at reads what a program has at an address.
func at(f *elf.File, address, size uint64) ([]byte, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && address >= p.Vaddr && address-p.Vaddr < p.Filesz && size <= p.Filesz-(address-p.Vaddr) && size <= maxTable {
			return io.ReadAll(io.NewSectionReader(p, int64(address-p.Vaddr), int64(size)))
		}
	}
	return nil, errGoText
}
