package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// Open opens what is measured in a procfs, such as /proc, and says when the machine was started, in seconds since 1970. The files
// can be read again later without the right to open them. The network is that of the namespace in which within, which may be
// nil, calls what it is given. Without /proc/stat there is an error.
func Open(proc string, within func(f func() error) error) (f *Files, boot int64, err error) {
	if within == nil {
		within = func(f func() error) error { return f() }
	}
	f = &Files{}
	open := func(what string, names ...string) (file io.ReaderAt, err error) {
		var opened *os.File
		for _, name := range names {
			if opened, err = os.Open(filepath.Join(proc, name)); err == nil {
				break
			}
		}
		if err == nil {
			f.closers = append(f.closers, opened)
			// A kernel may have the files of pressure, and measure none.
			if _, err = opened.ReadAt(make([]byte, 1), 0); err == nil {
				return opened, nil
			}
		}
		f.Missing = append(f.Missing, what)
		return nil, err
	}
	if f.Stat, err = open("processors", "stat"); err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("measuring the host: %w; /proc must be mounted", err)
	}
	f.Memory, _ = open("memory", "meminfo")
	f.Load, _ = open("load", "loadavg")
	f.PressureCPU, _ = open("pressure on processors", "pressure/cpu")
	f.PressureMemory, _ = open("pressure on memory", "pressure/memory")
	f.PressureIO, _ = open("pressure on disks", "pressure/io")
	if err := within(func() error {
		// That of this thread: the namespace is entered by one alone.
		f.Network, err = open("network", "thread-self/net/dev", "net/dev")
		return nil
	}); err != nil {
		f.Missing = append(f.Missing, "network")
	}
	b := make([]byte, MaxFile)
	n, err := f.Stat.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.Close()
		return nil, 0, fmt.Errorf("measuring the host: %w", err)
	}
	_, _, boot = parseStat(b[:n])
	return f, boot, nil
}

// maxStat is what is read of /proc/PID/stat, in bytes: it has 52 numbers and a name.
const maxStat = 2 << 10

// ReadProcess returns what reads of processes in a procfs, such as /proc.
func ReadProcess(proc string) func(pid int32) (Stat, bool) {
	page := uint64(os.Getpagesize())
	return func(pid int32) (Stat, bool) {
		f, err := os.Open(filepath.Join(proc, strconv.Itoa(int(pid)), "stat"))
		if err != nil {
			return Stat{}, false
		}
		defer f.Close()
		var b [maxStat]byte
		n, err := f.ReadAt(b[:], 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return Stat{}, false
		}
		s, ok := parseProcess(b[:n], page)
		s.PID = pid
		return s, ok
	}
}
