// Package host measures the machine each second, beside the traffic: processors, memory, pressure, network, and the
// processes that own what is captured. It keeps the samples in files that other tools read, and answers with curves.
//
//	/proc, opened before privileges go ──► Sampler ──► Sample ──► Store ──► log-*.ndjson, each second
//	processes, asked of the keeper ────────┘                        │          │ an hour later
//	                                                                │          ▼
//	                                               Query ◄──────────┴─── machine-*.parquet, processes-*.parquet
//
// It reads no clock: whoever calls says what time it is. The only goroutines are those that answer questions, where they are
// told to yield.
package host

import (
	"math"
	"time"
)

// Every is the time from one sample to the next.
const Every = time.Second

// Indexes of Columns.
const (
	CPUBusy = iota
	CPUUser
	CPUSystem
	CPUIOWait
	CPUSteal
	Load
	MemoryTotal
	MemoryAvailable
	SwapUsed
	PressureCPU
	PressureMemory
	PressureMemoryFull
	PressureIO
	PressureIOFull
	ReceivedBytes
	SentBytes
	ReceivedPackets
	SentPackets
	ReceivedDropped
	SentDropped
	Processors
	columns
)

// The units of columns.
const (
	Part       = "part" // of all processors, or of the time, from 0 to 1
	Bytes      = "bytes"
	PerSecond  = "1/s"
	BytesPerS  = "bytes/s"
	Dimensions = "1" // a plain number
)

// Peak says what a bucket of time tells beside the mean, so that one bad second doesn't vanish in an hour.
type Peak uint8

// The peaks.
const (
	Highest Peak = iota
	Lowest
	// Constant columns are no curves.
	Constant
)

// Column is one of the numbers of a sample.
type Column struct {
	// Name is the curve's name in answers, Field that of the column in files: the Elastic Common Schema's, or that of
	// Metricbeat, where one means the same.
	Name, Field string
	Unit, Label string
	Peak        Peak
	// Whole: it is a whole number.
	Whole bool
}

// Columns are the numbers of a sample, by index.
var Columns = [columns]Column{
	CPUBusy:            {"cpu.busy", "host.cpu.usage", Part, "CPU busy", Highest, false},
	CPUUser:            {"cpu.user", "system.cpu.user.norm.pct", Part, "CPU in programs", Highest, false},
	CPUSystem:          {"cpu.system", "system.cpu.system.norm.pct", Part, "CPU in the kernel", Highest, false},
	CPUIOWait:          {"cpu.iowait", "system.cpu.iowait.norm.pct", Part, "CPU idle, waiting for disks", Highest, false},
	CPUSteal:           {"cpu.steal", "system.cpu.steal.norm.pct", Part, "CPU taken by the hypervisor", Highest, false},
	Load:               {"load", "system.load.1", Dimensions, "Load, 1 minute", Highest, false},
	MemoryTotal:        {"memory.total", "system.memory.total", Bytes, "Memory", Constant, true},
	MemoryAvailable:    {"memory.available", "system.memory.actual.free", Bytes, "Memory available", Lowest, true},
	SwapUsed:           {"memory.swap", "system.memory.swap.used.bytes", Bytes, "Swap used", Highest, true},
	PressureCPU:        {"pressure.cpu", "linux.pressure.cpu.some.pct", Part, "Pressure: some wait for a CPU", Highest, false},
	PressureMemory:     {"pressure.memory", "linux.pressure.memory.some.pct", Part, "Pressure: some wait for memory", Highest, false},
	PressureMemoryFull: {"pressure.memory.full", "linux.pressure.memory.full.pct", Part, "Pressure: all wait for memory", Highest, false},
	PressureIO:         {"pressure.io", "linux.pressure.io.some.pct", Part, "Pressure: some wait for disks", Highest, false},
	PressureIOFull:     {"pressure.io.full", "linux.pressure.io.full.pct", Part, "Pressure: all wait for disks", Highest, false},
	ReceivedBytes:      {"network.in.bytes", "host.network.ingress.bytes", BytesPerS, "Network in", Highest, true},
	SentBytes:          {"network.out.bytes", "host.network.egress.bytes", BytesPerS, "Network out", Highest, true},
	ReceivedPackets:    {"network.in.packets", "host.network.ingress.packets", PerSecond, "Packets in", Highest, true},
	SentPackets:        {"network.out.packets", "host.network.egress.packets", PerSecond, "Packets out", Highest, true},
	ReceivedDropped:    {"network.in.dropped", "system.network.in.dropped", PerSecond, "Packets in, dropped", Highest, true},
	SentDropped:        {"network.out.dropped", "system.network.out.dropped", PerSecond, "Packets out, dropped", Highest, true},
	Processors:         {"processors", "system.cpu.cores", Dimensions, "Processors", Constant, true},
}

// Sample is the machine in about one second.
type Sample struct {
	// Time is when that second ended, in nanoseconds since 1970.
	Time int64
	// Values are numbers by index of Columns, NaN where it isn't known.
	Values [columns]float64
	// Processes are the busiest of those that own captured traffic, at most MaxProcesses, the busiest first.
	Processes []Process
}

// Process is what one process used in that second.
type Process struct {
	PID int32
	// Start is when it was started, in nanoseconds since 1970: numbers of processes come again.
	Start int64
	Name  string
	// CPU is what it used of one processor: more than 1 when it used several.
	CPU float64
	// RSS is its memory, in bytes.
	RSS int64
}

// unknown returns a sample of which nothing is known.
func unknown(at int64) (s Sample) {
	s.Time = at
	for i := range s.Values {
		s.Values[i] = math.NaN()
	}
	return s
}
