package main

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/web"
)

// maxProcStatus is how much is read of /proc/self/status, in bytes.
const maxProcStatus = 8 << 10

// selfStatus tells of this process. The file is open from the start: later it may be out of reach.
type selfStatus struct{ file *os.File }

func openSelfStatus() (s selfStatus) {
	s.file, _ = os.Open("/proc/self/status") // without it, less is known
	return s
}

func (s selfStatus) close() { s.file.Close() }

// read fills in what the system tells.
func (s selfStatus) read(p *web.Process) {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		cpu := used.Utime.Nano() + used.Stime.Nano()
		p.CPU = &cpu
	}
	if s.file == nil {
		return
	}
	text := make([]byte, maxProcStatus)
	n, _ := s.file.ReadAt(text, 0) // io.EOF, or nothing was read
	for line := range bytes.Lines(text[:n]) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		number, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
		if err != nil {
			continue
		}
		kib := number << 10
		threads := int(number)
		switch string(name) {
		case "VmRSS":
			p.RSS = &kib
		case "VmHWM":
			p.PeakRSS = &kib
		case "Threads":
			p.Threads = &threads
		}
	}
}
