package host

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// cpuTimes are the columns of /proc/stat that add up to all of the time; guests are within user and nice.
const (
	timeUser = iota
	timeNice
	timeSystem
	timeIdle
	timeIOWait
	timeIRQ
	timeSoftIRQ
	timeSteal
	cpuTimes
)

// ticks is what the kernel counts times in: a second has that many, on all Linux architectures that Go knows.
const ticks = 100

// parseStat reads the times of all processors together, in ticks, how many processors there are, and when the machine
// was started, in seconds since 1970. What isn't there is 0.
func parseStat(b []byte) (cpu [cpuTimes]uint64, processors int, boot int64) {
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte{' '})
		switch {
		case string(name) == "cpu":
			i := 0
			for f := range bytes.FieldsSeq(rest) {
				if i == len(cpu) {
					break
				}
				cpu[i] = number(f)
				i++
			}
		case bytes.HasPrefix(name, []byte("cpu")):
			processors++
		case string(name) == "btime":
			boot = int64(number(bytes.TrimSpace(rest)))
		}
	}
	return cpu, processors, boot
}

// parseMeminfo reads the memory of the machine, what of it programs can still have, and the swap in use, in bytes; each with
// whether it is there.
func parseMeminfo(b []byte) (total, available, swap uint64, ok [3]bool) {
	var swapTotal, swapFree uint64
	var hasTotal, hasFree bool
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte{':'})
		value, isNumber := kibibytes(rest)
		if !isNumber {
			continue
		}
		switch string(name) {
		case "MemTotal":
			total, ok[0] = value, true
		case "MemAvailable":
			available, ok[1] = value, true
		case "SwapTotal":
			swapTotal, hasTotal = value, true
		case "SwapFree":
			swapFree, hasFree = value, true
		}
	}
	ok[2] = hasTotal && hasFree
	return total, available, since(swapFree, swapTotal), ok
}

// kibibytes reads "123 kB", in bytes.
func kibibytes(b []byte) (uint64, bool) {
	digits, ok := bytes.CutSuffix(bytes.TrimSpace(b), []byte(" kB"))
	n, err := strconv.ParseUint(string(digits), 10, 50)
	return n << 10, ok && err == nil
}

// parseLoad reads the load of the last minute.
func parseLoad(b []byte) (float64, bool) {
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	return v, err == nil && v >= 0 && v < 1e9
}

// parsePressure reads how long some tasks, and all tasks, have been waiting altogether, in microseconds.
func parsePressure(b []byte) (some, full uint64, hasSome, hasFull bool) {
	for line := range bytes.Lines(b) {
		_, total, ok := bytes.Cut(line, []byte(" total="))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(total)), 10, 64)
		if !ok || err != nil {
			continue
		}
		switch {
		case bytes.HasPrefix(line, []byte("some ")):
			some, hasSome = n, true
		case bytes.HasPrefix(line, []byte("full ")):
			full, hasFull = n, true
		}
	}
	return some, full, hasSome, hasFull
}

// traffic are the counters of an interface.
type traffic struct{ inBytes, inPackets, inDropped, outBytes, outPackets, outDropped uint64 }

// parseNetwork reads the counters of the interfaces that are wanted, by name.
func parseNetwork(b []byte, wanted func(name string) bool) map[string]traffic {
	all := map[string]traffic{}
	for line := range bytes.Lines(b) {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		f := bytes.Fields(rest)
		if name = bytes.TrimSpace(name); !ok || len(f) < 12 || !wanted(string(name)) {
			continue
		}
		all[string(name)] = traffic{
			inBytes: number(f[0]), inPackets: number(f[1]), inDropped: number(f[3]),
			outBytes: number(f[8]), outPackets: number(f[9]), outDropped: number(f[11]),
		}
	}
	return all
}

// Stat is what is known of a process at one moment.
type Stat struct {
	PID int32
	// At is that moment, by a clock of whoever read it that doesn't go back: only differences mean something.
	At time.Duration
	// Start is when it was started, in ticks since the machine was.
	Start uint64
	// Used is the processor time that it has used, in ticks, RSS its memory, in bytes.
	Used, RSS uint64
	// Name is the command name. It is valid UTF-8.
	Name string
}

// maxName bounds the name of a process, in bytes; the kernel has 15, and more for its own threads.
const maxName = 64

// parseProcess reads /proc/PID/stat (proc_pid_stat(5)). The name in it may hold anything, parentheses too. page is the size of
// a page of memory.
func parseProcess(b []byte, page uint64) (s Stat, ok bool) {
	const userTime, systemTime, start, rss = 11, 12, 19, 21 // counted behind the name
	from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if from < 0 || to < from {
		return s, false
	}
	f := bytes.Fields(b[to+1:])
	if len(f) <= rss {
		return s, false
	}
	name := b[from+1 : to]
	s.Name = strings.ToValidUTF8(string(name[:min(len(name), maxName)]), "\uFFFD")
	s.Used = number(f[userTime]) + number(f[systemTime])
	s.Start = number(f[start])
	if s.RSS = number(f[rss]); s.RSS > 1<<40 { // pages: no machine has so many
		s.RSS = 0
	}
	s.RSS *= page
	return s, true
}

// number reads a whole number below 2^62; anything else is 0. The kernel writes nothing else, but containers replace these files.
func number(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b), 10, 62)
	if err != nil {
		return 0
	}
	return n
}

// since is how far a counter has come; 0 when it went back, as that of an interface that was made anew.
func since(before, now uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}
