package keytap

import (
	"bytes"
	"crypto/tls"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/ptrace"
)

// goClient is a program that makes connections at once, and has no key log.
const goClient = `package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
)

func main() {
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			c, err := tls.Dial("tcp", os.Args[1], &tls.Config{InsecureSkipVerify: true})
			if err == nil {
				_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
			}
			if err == nil {
				_, err = io.ReadAll(c)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		})
	}
	all.Wait()
}
`

// buildGo builds a program of Go.
func buildGo(t *testing.T, source string, env, flags []string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", program}, flags...), "main.go")...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GO111MODULE=off", "CGO_ENABLED=0", "GOFLAGS="), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// stripSections takes the section headers away, as sstrip does.
func stripSections(t *testing.T, program string) {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[0x28:0x30]) // e_shoff
	clear(b[0x3a:0x40]) // e_shentsize, e_shnum, e_shstrndx
	if err := os.WriteFile(program, b, 0o700); err != nil {
		t.Fatal(err)
	}
}

// watch sets breakpoints in what is run.
type watch struct {
	tap    *Tap
	tracer *ptrace.Tracer
	errs   []error
	why    []string
	// at is a call at whose end Why is asked.
	at uint64
}

func (w *watch) Start(*ptrace.Process) {}
func (w *watch) Exec(p *ptrace.Process) {
	if err := w.tap.Exec(w.tracer, p); err != nil {
		w.errs = append(w.errs, err)
	}
}
func (w *watch) Enter(*ptrace.Thread, *ptrace.Call) bool { return w.at != 0 }
func (w *watch) Exit(th *ptrace.Thread, c *ptrace.Call) {
	if why := w.tap.Why(th.Process.ID); !slices.Contains(w.why, why) {
		w.why = append(w.why, why)
	}
}
func (w *watch) Signal(*ptrace.Thread, int)    {}
func (w *watch) End(*ptrace.Process, int, int) {}

// trace runs a program to its end.
func (w *watch) trace(t *testing.T, env []string, args ...string) (status int) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	calls := []uint64{1 << 15} // none that is
	if w.at != 0 {
		calls[0] = w.at
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		w.tracer = ptrace.New(calls, w)
		_, err := w.tracer.Start(&ptrace.Command{Path: args[0], Args: args, Env: env, Files: [3]*os.File{null, null, os.Stderr}})
		if err == nil {
			status, _, err = w.tracer.Run()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, err := range w.errs {
		t.Error(err)
	}
	return status
}

// layouts are the ways in which programs of Go are built.
var layouts = []struct {
	name       string
	env, flags []string
	cgo, bare  bool
}{
	{name: "with symbols"},
	{name: "stripped", flags: []string{"-ldflags=-s -w"}},
	{name: "position-independent, stripped", flags: []string{"-buildmode=pie", "-ldflags=-s -w"}},
	{name: "with C, stripped", env: []string{"CGO_ENABLED=1"}, flags: []string{"-ldflags=-s -w -linkmode=external"}, cgo: true},
	{name: "with C, position-independent, stripped", env: []string{"CGO_ENABLED=1"}, flags: []string{"-buildmode=pie", "-ldflags=-s -w -linkmode=external"}, cgo: true},
	{name: "without sections", flags: []string{"-ldflags=-s -w"}, bare: true},
	{name: "position-independent, without sections", flags: []string{"-buildmode=pie", "-ldflags=-s -w"}, bare: true},
}

// TestGoPrograms holds the keys that breakpoints give against those that the server has, of many handshakes at once.
func TestGoPrograms(t *testing.T) {
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			if l.cgo {
				programPath(t, "gcc")
			}
			source := goClient
			if l.cgo {
				source = strings.Replace(source, "import (", "import \"C\"\nimport (", 1)
			}
			program := buildGo(t, source, l.env, l.flags)
			if l.bare {
				stripSections(t, program)
			}
			version := uint16(tls.VersionTLS13)
			if i == 0 {
				version = tls.VersionTLS12
			}
			s := newServer(t, version)
			x := prepare(t, environment(), Options{})
			w := &watch{tap: x.Tap}
			if status := w.trace(t, x.env, program, s.host+":"+s.port); status != 0 {
				t.Errorf("the program ended with %d", status)
			}
			s.check(t, x.store, 20)
		})
	}
}

// TestGoFunctions holds the addresses that are found without symbols against the symbols.
func TestGoFunctions(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, mode := range []string{"exe", "pie"} {
			if arch+mode == "arm64pie" && os.Getenv("CULPRIT_SOAK") == "" {
				continue // the whole library is compiled again for it
			}
			t.Run(arch+" "+mode, func(t *testing.T) {
				program := buildGo(t, goClient, []string{"GOARCH=" + arch}, []string{"-buildmode=" + mode})
				f, err := elf.Open(program)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				symbols, err := f.Symbols()
				if err != nil {
					t.Fatal(err)
				}
				var want uint64
				for _, s := range symbols {
					if s.Name == "crypto/tls.(*Config).writeKeyLog" {
						want = s.Value
					}
				}
				check := func() {
					t.Helper()
					r, err := os.Open(program)
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					got, entry, err := goFunctions(r)
					if err != nil || len(got) != 1 || got[0] != want || entry != f.Entry {
						t.Errorf("got %#x, entry %#x, %v, want %#x, %#x", got, entry, err, want, f.Entry)
					}
				}
				check()
				stripSections(t, program)
				check()
			})
		}
	}
}

// TestNoGoFunctions: programs without such a function say so, each for its own reason.
func TestNoGoFunctions(t *testing.T) {
	without := buildGo(t, "package main\nfunc main() { println() }\n", nil, nil)
	// A method of the same ending which nobody calls but in line, and its record is of another.
	inlined := buildGo(t, `package main

type Config struct{ n int }

func (c *Config) writeKeyLog() { c.n++ }

var c = &Config{}

func main() {
	c.writeKeyLog()
	println(c.n)
}
`, nil, nil)
	for program, want := range map[string]error{"/bin/sh": errNotGo, without: errNoTLS, inlined: errInlined, os.DevNull: errNotGo} {
		f, err := os.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, _, err := goFunctions(f); !errors.Is(err, want) {
			t.Errorf("%s: got %#x, %v, want %v", program, got, err, want)
		}
	}
}

// TestKeyLine: arguments that no such function has make no line.
func TestKeyLine(t *testing.T) {
	memory := map[uint64]string{0x1000: "CLIENT_RANDOM", 0x2000: strings.Repeat("\x01", 32), 0x3000: strings.Repeat("\x02", 48)}
	read := func(address uint64, b []byte) bool {
		s, ok := memory[address]
		copy(b, s)
		return ok && len(b) <= len(s)
	}
	good := [9]uint64{7, 0x1000, 13, 0x2000, 32, 32, 0x3000, 48, 48}
	want := "CLIENT_RANDOM " + strings.Repeat("01", 32) + " " + strings.Repeat("02", 48) + "\n"
	if line, ok := keyLine(good, read); !ok || string(line) != want {
		t.Errorf("got %q, %v, want %q", line, ok, want)
	}
	for i, bad := range map[int][]uint64{1: {0, 0x2001}, 2: {0, 65, 1 << 63, 14}, 3: {0}, 4: {0, 31, 33, 1 << 40}, 6: {0, 0x4000}, 7: {0, 65, 1 << 62, 49}} {
		for _, v := range bad {
			a := good
			a[i] = v
			if line, ok := keyLine(a, read); ok {
				t.Errorf("argument %d is %#x: got %q", i, v, line)
			}
		}
	}
}

// FuzzGoFunctions: no file makes it panic or take long, and what it finds is code of the program.
func FuzzGoFunctions(f *testing.F) {
	for _, machine := range machines {
		f.Add(sampleGo(machine, false))
		f.Add(sampleGo(machine, true))
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := goFunctions(bytes.NewReader(b))
		if err != nil {
			if len(got) != 0 {
				t.Errorf("%#x and %v", got, err)
			}
			return
		}
		if len(got) == 0 || len(got) > maxFunctions {
			t.Fatalf("%d functions", len(got))
		}
		e, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range got {
			if !executable(e, a) {
				t.Errorf("%#x isn't code", a)
			}
		}
	})
}

// sampleGo makes the smallest program that looks like one of Go: a segment of code, one with the table, one with the moduledata. A
// position-independent one has its moduledata in relocations.
func sampleGo(machine elf.Machine, position bool) []byte {
	const base, tableAt, dataAt, relaAt, dynAt, size = 0x400000, 0x1000, 0x2000, 0x2400, 0x2800, 0x3000
	const name = "crypto/tls" + logFunction
	b := make([]byte, size)
	put := func(at int, values ...uint64) {
		for i, v := range values {
			binary.LittleEndian.PutUint64(b[at+8*i:], v)
		}
	}
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], uint16(elf.ET_EXEC))
	if position {
		binary.LittleEndian.PutUint16(b[16:], uint16(elf.ET_DYN))
	}
	binary.LittleEndian.PutUint16(b[18:], uint16(machine))
	binary.LittleEndian.PutUint32(b[20:], 1)
	put(24, base+0x200, 64) // e_entry, e_phoff
	for i, v := range []uint16{64, 56, 4, 64} {
		binary.LittleEndian.PutUint16(b[52+2*i:], v)
	}
	segment := func(i int, kind elf.ProgType, flags elf.ProgFlag, at, n uint64) {
		h := 64 + 56*i
		binary.LittleEndian.PutUint32(b[h:], uint32(kind))
		binary.LittleEndian.PutUint32(b[h+4:], uint32(flags))
		put(h+8, at, base+at, base+at, n, n, 0x1000)
	}
	segment(0, elf.PT_LOAD, elf.PF_R|elf.PF_X, 0, 0x1000)
	segment(1, elf.PT_LOAD, elf.PF_R, tableAt, 0x1000)
	segment(2, elf.PT_LOAD, elf.PF_R|elf.PF_W, dataAt, 0x1000)
	segment(3, elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, dynAt, 0x40)

	binary.LittleEndian.PutUint32(b[tableAt:], magic120)
	b[tableAt+6], b[tableAt+7] = 1, 8
	put(tableAt+8, 1, 0, 0, 0x80, 0x100, 0x100, 0x100, 0x200)
	copy(b[tableAt+0x80+1:], name)
	for i, v := range []uint32{0x20, 0x10, 0x40, 0, 0x20, 1} { // functab: the function, the end; the record
		binary.LittleEndian.PutUint32(b[tableAt+0x200+4*i:], v)
	}
	words := [][2]uint64{{0, base + tableAt}, {moduleNames, base + tableAt + 0x80}, {moduleMin, base + 0x220}, {moduleText, base + 0x200}}
	relative := uint64(elf.R_X86_64_RELATIVE)
	if machine == elf.EM_AARCH64 {
		relative = uint64(elf.R_AARCH64_RELATIVE)
	}
	for i, w := range words {
		if position {
			put(relaAt+24*i, base+dataAt+w[0], relative, w[1])
		} else {
			put(dataAt+int(w[0]), w[1])
		}
	}
	put(dynAt, uint64(elf.DT_RELA), base+relaAt, uint64(elf.DT_RELASZ), uint64(24*len(words)))
	return b
}

func TestSampleGo(t *testing.T) {
	for _, machine := range machines {
		for _, position := range []bool{false, true} {
			got, _, err := goFunctions(bytes.NewReader(sampleGo(machine, position)))
			if err != nil || len(got) != 1 || got[0] != 0x400220 {
				t.Errorf("%s, position-independent %v: got %#x, %v", machine, position, got, err)
			}
			b := sampleGo(machine, position)
			clear(b[64+32 : 64+40]) // the code's segment has nothing in the file
			if got, _, err := goFunctions(bytes.NewReader(b)); !errors.Is(err, errGoText) {
				t.Errorf("%s, position-independent %v, without code: got %#x, %v", machine, position, got, err)
			}
		}
	}
}
