package metrics

import (
	"math"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
)

// Own is what culprit itself counts. What stays empty isn't shown, but for plain numbers, which are 0.
type Own struct {
	// Version is that of the program.
	Version string
	// Packets, and their bytes from the link layer on: Received = Analysed + those of Ignored + those of Dropped.
	PacketsReceived, PacketsAnalysed uint64
	BytesReceived, BytesAnalysed     uint64
	Ignored                          []Ignored
	// Dropped are packets that were lost before they were read, by who lost them.
	Dropped []Labelled
	// Connections are by the protocol that they speak, Exchanges by grade; both may have none of some.
	Connections, Exchanges []Labelled
	// MissingBytes are missing from connections.
	MissingBytes uint64
	// Limits are how often limits were hit, by their names.
	Limits []Labelled
	// SampledOut are the exchanges that sampling has left out.
	SampledOut uint64
	// CPU is the time that processors worked for the process.
	CPU time.Duration
	// Memory is the resident memory of the process, MemoryLimit what the analysis may have of it, in bytes. What is 0 isn't known,
	// and not shown.
	Memory, MemoryLimit uint64
	Rollups             rollup.Stats
	Outputs             []ship.Stats
}

// Ignored are packets that weren't analysed, and why.
type Ignored struct {
	Reason         string
	Packets, Bytes uint64
}

// Labelled is a count of what has a label. A label is there once.
type Labelled struct {
	Label string
	N     uint64
}

// single is a metric without labels. A value that is NaN isn't shown.
type single struct {
	name, help string
	kind       prometheus.ValueType
	value      func(o *Own) float64
}

var singles = []single{
	{"culprit_packets_received_total", "Packets that there were, those that were lost included.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.PacketsReceived) }},
	{"culprit_packets_analysed_total", "Packets that were analysed.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.PacketsAnalysed) }},
	{"culprit_bytes_received_total", "Bytes of the packets that were captured or read, from the link layer on.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.BytesReceived) }},
	{"culprit_bytes_analysed_total", "Bytes of the packets that were analysed.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.BytesAnalysed) }},
	{"culprit_missing_bytes_total", "Bytes that are missing from connections.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.MissingBytes) }},
	{"culprit_sampled_out_total", "Exchanges that sampling has left out.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.SampledOut) }},
	{"culprit_memory_bytes", "Resident memory of the process.", prometheus.GaugeValue, func(o *Own) float64 { return known(float64(o.Memory)) }},
	{"culprit_memory_limit_bytes", "What the analysis may have of it.", prometheus.GaugeValue, func(o *Own) float64 { return known(float64(o.MemoryLimit)) }},
	{"process_resident_memory_bytes", "Resident memory of the process, under the name that it has elsewhere.", prometheus.GaugeValue, func(o *Own) float64 { return known(float64(o.Memory)) }},
	{"process_cpu_seconds_total", "Time that processors worked for the process.", prometheus.CounterValue, func(o *Own) float64 { return o.CPU.Seconds() }},
	{"culprit_rollup_rows_total", "Rows of rollups that were handed to the outputs.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.Rollups.Rows) }},
	{"culprit_rollup_others_total", "Exchanges for whose series there was no room in the rollups.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.Rollups.Others) }},
	{"culprit_rollup_early_total", "Minutes of rollups that were handed out early, for lack of memory.", prometheus.CounterValue, func(o *Own) float64 { return float64(o.Rollups.Early) }},
	{"culprit_rollup_memory_bytes", "What the rows of rollups take that aren't over yet.", prometheus.GaugeValue, func(o *Own) float64 { return float64(o.Rollups.Memory) }},
}

// known returns a value that is 0 where it isn't known.
func known(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// family is a metric with a label.
type family struct {
	name, help, label string
	values            func(o *Own) []Labelled
}

var families = []family{
	{"culprit_packets_ignored_total", "Packets that weren't analysed.", "reason", func(o *Own) []Labelled {
		return each(o.Ignored, func(i *Ignored) Labelled { return Labelled{i.Reason, i.Packets} })
	}},
	{"culprit_bytes_ignored_total", "Bytes of the packets that weren't analysed.", "reason", func(o *Own) []Labelled {
		return each(o.Ignored, func(i *Ignored) Labelled { return Labelled{i.Reason, i.Bytes} })
	}},
	{"culprit_packets_dropped_total", "Packets that were lost before they were read.", "by", func(o *Own) []Labelled { return o.Dropped }},
	{"culprit_connections_total", "Connections, by the protocol that they speak, or by what they are.", "protocol", func(o *Own) []Labelled { return o.Connections }},
	{"culprit_exchanges_total", "Exchanges, by how much of them was seen.", "grade", func(o *Own) []Labelled { return o.Exchanges }},
	{"culprit_limits_hit_total", "How often a limit was hit.", "limit", func(o *Own) []Labelled { return o.Limits }},
}

// shipping is a metric of an output.
type shipping struct {
	name, help string
	kind       prometheus.ValueType
	value      func(s *ship.Stats) float64
}

var shippings = []shipping{
	{"culprit_output_exchanges_total", "Exchanges that were given to the output.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Exchanges) }},
	{"culprit_output_rollups_total", "Rows of rollups that were given to the output.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Rollups) }},
	{"culprit_output_recovered_total", "Events that an earlier run had left in the queue.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Queue.Recovered) }},
	{"culprit_output_delivered_total", "Events that the receiver has.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Delivered) }},
	{"culprit_output_known_total", "Delivered events that the receiver had already.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Known) }},
	{"culprit_output_rejected_total", "Events that the receiver refused for good.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Rejected) }},
	{"culprit_output_lost_total", "Events that never got into the queue.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Lost) }},
	{"culprit_output_dropped_total", "Events that gave way to later ones in a full queue, or were in memory at the end.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Queue.Dropped) }},
	{"culprit_output_damaged_total", "Events that couldn't be read back from the queue.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Queue.Damaged) }},
	{"culprit_output_waiting", "Events that are yet to be delivered.", prometheus.GaugeValue, func(s *ship.Stats) float64 { return float64(s.Waiting) }},
	{"culprit_output_batches_total", "Batches that were tried.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Sent) }},
	{"culprit_output_failed_batches_total", "Batches that failed; they are tried again.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Failed) }},
	{"culprit_output_delivered_bytes_total", "Size of the events that were delivered, before compression.", prometheus.CounterValue, func(s *ship.Stats) float64 { return float64(s.Bytes) }},
	{"culprit_output_queue_bytes", "What the queue takes.", prometheus.GaugeValue, func(s *ship.Stats) float64 { return float64(s.Queue.Bytes) }},
	{"culprit_output_queue_limit_bytes", "What it may take.", prometheus.GaugeValue, func(s *ship.Stats) float64 { return float64(s.Queue.Limit) }},
	{"culprit_output_up", "1: the last try of the output was well; 0: something is wrong at the moment.", prometheus.GaugeValue, func(s *ship.Stats) float64 {
		if s.Problem != "" || s.Queue.Problem != "" {
			return 0
		}
		return 1
	}},
}

// label makes a text fit for a label.
func label(s string) string { return rollup.Text([]byte(s), MaxLabel) }

// each turns one slice into another.
func each[T any](all []T, f func(*T) Labelled) []Labelled {
	out := make([]Labelled, len(all))
	for i := range all {
		out[i] = f(&all[i])
	}
	return out
}

// ownCollector shows an Own. It implements prometheus.Collector.
type ownCollector struct {
	own                          func() Own
	singles, families, shippings []*prometheus.Desc
	build                        *prometheus.Desc
}

func newOwnCollector(own func() Own) *ownCollector {
	c := &ownCollector{own: own, build: prometheus.NewDesc("culprit_build_info", "1, with the version of culprit and of Go.", []string{"version", "go_version"}, nil)}
	for i := range singles {
		c.singles = append(c.singles, prometheus.NewDesc(singles[i].name, singles[i].help, nil, nil))
	}
	for i := range families {
		c.families = append(c.families, prometheus.NewDesc(families[i].name, families[i].help, []string{families[i].label}, nil))
	}
	for i := range shippings {
		c.shippings = append(c.shippings, prometheus.NewDesc(shippings[i].name, shippings[i].help, []string{"output"}, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *ownCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.build
	for _, all := range [][]*prometheus.Desc{c.singles, c.families, c.shippings} {
		for _, d := range all {
			to <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c *ownCollector) Collect(to chan<- prometheus.Metric) {
	o := c.own()
	to <- prometheus.MustNewConstMetric(c.build, prometheus.GaugeValue, 1, o.Version, runtime.Version())
	for i, d := range c.singles {
		if v := singles[i].value(&o); !math.IsNaN(v) {
			to <- prometheus.MustNewConstMetric(d, singles[i].kind, v)
		}
	}
	for i, d := range c.families {
		for _, v := range families[i].values(&o) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v.N), label(v.Label))
		}
	}
	names := map[string]int{}
	for k := range o.Outputs {
		s := &o.Outputs[k]
		name := label(s.Name)
		if names[name]++; names[name] > 1 {
			name += "#" + strconv.Itoa(names[name]) // two outputs of a name must not be one
		}
		for i, d := range c.shippings {
			to <- prometheus.MustNewConstMetric(d, shippings[i].kind, shippings[i].value(s), name)
		}
	}
}
