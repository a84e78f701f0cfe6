package host

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The real /proc: what must be there on any Linux is, within its bounds.
func TestProc(t *testing.T) {
	files, boot, err := Open("/proc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if boot < 1_000_000_000 {
		t.Errorf("started at %d", boot)
	}
	s := NewSampler(files, []string{"lo"}, nil)
	s.Sample(began)
	for used := time.Duration(0); used < 50*time.Millisecond; { // some ticks
		start := time.Now()
		for range 1000 {
			_ = strings.Repeat("x", 1000)
		}
		used += time.Since(start)
	}
	got, ok := s.Sample(after(1))
	if !ok {
		t.Fatal("no sample")
	}
	for i, v := range got.Values {
		c := &Columns[i]
		if math.IsNaN(v) {
			if !strings.HasPrefix(c.Name, "pressure") {
				t.Errorf("%s isn't measured", c.Name)
			}
			continue
		}
		if v < 0 || c.Unit == Part && v > 1 {
			t.Errorf("%s is %v", c.Name, v)
		}
	}
	if got.Values[CPUBusy] == 0 || got.Values[MemoryAvailable] > got.Values[MemoryTotal] || got.Values[Processors] < 1 {
		t.Errorf("%v", got.Values)
	}
}

func TestReadProcess(t *testing.T) {
	read := ReadProcess("/proc")
	s, ok := read(int32(os.Getpid()))
	if !ok || s.PID != int32(os.Getpid()) || s.Start == 0 || s.RSS < 1<<20 || s.Name == "" {
		t.Errorf("%+v", s)
	}
	child := exec.Command(os.Args[0], "-test.run=^$")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	if s, ok := read(int32(child.Process.Pid)); ok {
		t.Errorf("it has ended: %+v", s)
	}
}

// A system without some of the files measures the rest, and says what is missing; without /proc/stat there is nothing.
func TestOpenPartOfProc(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "/proc must be mounted") {
		t.Errorf("got %v", err)
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "cpu 1 2 3\nbtime 1234\n")
	write("pressure/cpu", "") // there, and nothing in it
	write("net/dev", "eth0: 1 1 1\n")
	within := 0
	f, boot, err := Open(dir, func(f func() error) error {
		within++
		return f()
	})
	if err != nil || boot != 1234 || within != 1 || f.Stat == nil || f.Network == nil || f.PressureCPU != nil || f.Memory != nil {
		t.Fatalf("%+v at %d, %d times within: %v", f, boot, within, err)
	}
	if got := strings.Join(f.Missing, ", "); got != "memory, load, pressure on processors, pressure on memory, pressure on disks" {
		t.Errorf("missing: %s", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("it is open still")
	}
}
