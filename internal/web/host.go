package web

import (
	"context"
	"math"
)

// HostSource knows how the machine was doing. Its method is called by several goroutines.
type HostSource interface {
	// Host answers with curves of as many numbers as the query has buckets, NaN where nothing is known.
	Host(ctx context.Context, q HostQuery) (*HostAnswer, error)
}

// HostQuery asks for curves over time. Start is that of the first bucket, in nanoseconds since 1970, Interval the width of each, in
// nanoseconds.
type HostQuery struct {
	Start, Interval int64
	Buckets         int
}

// HostAnswer is how the machine was doing.
type HostAnswer struct {
	// On: it is measured now.
	On bool
	// Problem says why something isn't measured now; empty: nothing is wrong.
	Problem string
	// Interfaces are those that the network curves sum up, nil for all but the loopback.
	Interfaces []string
	// From is when what was looked at begins, in nanoseconds since 1970: what is older was too much. 0: all was.
	From int64
	// Samples are those that the curves are made of. Lost ones couldn't be stored in this run, Damaged files not be read.
	Samples, Damaged int
	Lost             uint64
	// Pruned: of very many processes, some that used little may be missing.
	Pruned bool
	// Processors and MemoryTotal, in bytes, are as of the last sample; 0: not known.
	Processors  int
	MemoryTotal int64
	Curves      []HostCurve
	// Processes are the busiest of those that own captured traffic.
	Processes []HostProcess
}

// HostCurve is one number over time.
type HostCurve struct {
	Name, Unit, Label string
	// Mean is that of each bucket; Highest or Lowest is the peak, of which a curve has one.
	Mean, Highest, Lowest []float64
}

// HostProcess is what a process used over time: CPU and its peaks in processors, RSS in bytes.
type HostProcess struct {
	PID int32
	// Start is when it was started, in nanoseconds since 1970.
	Start                int64
	Name                 string
	CPU, CPUHighest, RSS []float64
}

type hostCurve struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit"`
	Label  string   `json:"label"`
	Values []number `json:"values"`
	Max    []number `json:"max,omitempty"`
	Min    []number `json:"min,omitempty"`
}

type hostProcess struct {
	PID    int32    `json:"pid"`
	Start  stamp    `json:"start"`
	Name   text     `json:"name"`
	CPU    []number `json:"cpu"`
	CPUMax []number `json:"cpu_max"`
	RSS    []number `json:"rss"`
}

// host answers with curves of the machine, in the buckets that a histogram of the same time has.
func (s *Server) host(c *call) error {
	q, err := c.scope(s.options.QueryTimeout)
	if err != nil {
		return err
	}
	b, err := s.span(c.Context(), &c.params, &q)
	if err != nil {
		return err
	}
	h := &HostAnswer{}
	if s.options.Host != nil {
		ctx, cancel := context.WithTimeout(c.Context(), s.options.QueryTimeout)
		defer cancel()
		if h, err = s.options.Host.Host(ctx, HostQuery{Start: b.start, Interval: b.interval, Buckets: b.count}); err != nil {
			return err
		}
	}
	answer := struct {
		On          bool          `json:"on"`
		Problem     text          `json:"problem"`
		Start       stamp         `json:"start"`
		Interval    int64         `json:"interval"`
		Buckets     int           `json:"buckets"`
		LookedFrom  *stamp        `json:"looked_from"`
		Samples     int           `json:"samples"`
		Lost        uint64        `json:"lost"`
		Damaged     int           `json:"damaged"`
		Processors  int           `json:"processors"`
		MemoryTotal int64         `json:"memory_total"`
		Interfaces  []text        `json:"interfaces"`
		Series      []hostCurve   `json:"series"`
		Processes   []hostProcess `json:"processes"`
		Pruned      bool          `json:"processes_pruned"`
	}{
		h.On, text(h.Problem), stamp(b.start), b.interval, b.count, nil, h.Samples, h.Lost, h.Damaged, h.Processors, h.MemoryTotal,
		make([]text, len(h.Interfaces)), make([]hostCurve, len(h.Curves)), make([]hostProcess, len(h.Processes)), h.Pruned,
	}
	if h.From != 0 {
		from := stamp(h.From)
		answer.LookedFrom = &from
	}
	for i, name := range h.Interfaces {
		answer.Interfaces[i] = text(name)
	}
	for i := range h.Curves {
		x := &h.Curves[i]
		answer.Series[i] = hostCurve{x.Name, x.Unit, x.Label, digits(x.Mean), digits(x.Highest), digits(x.Lowest)}
	}
	for i := range h.Processes {
		p := &h.Processes[i]
		answer.Processes[i] = hostProcess{p.PID, stamp(p.Start), text(p.Name), digits(p.CPU), digits(p.CPUHighest), digits(p.RSS)}
	}
	return c.json(&answer)
}

// digits leaves as many digits as a chart can show: an answer has many numbers.
func digits(all []float64) []number {
	if all == nil {
		return nil
	}
	out := make([]number, len(all))
	for i, v := range all {
		out[i] = number(math.Round(v*1e4) / 1e4)
	}
	return out
}
