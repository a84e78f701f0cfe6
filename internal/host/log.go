package host

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

const (
	// maxLine bounds a line of a log, and maxLog a log, in bytes: an hour with 16 processes each second has some 13 MB.
	maxLine = 64 << 10
	maxLog  = 64 << 20
)

// The fields of a line beside those of Columns.
const (
	timeField      = "@timestamp"
	processesField = "processes"
)

// processLine is a process in a line of a log.
type processLine struct {
	PID   int32     `json:"process.pid"`
	Start time.Time `json:"process.start"`
	Name  string    `json:"process.name"`
	CPU   float64   `json:"system.process.cpu.total.pct"`
	RSS   int64     `json:"system.process.memory.rss.bytes"`
}

// appendLine appends a sample as one line of JSON.
func appendLine(b []byte, s *Sample) ([]byte, error) {
	b = append(b, `{"`+timeField+`":"`...)
	b = time.Unix(0, s.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	for i, v := range s.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		b = append(b, `,"`+Columns[i].Field+`":`...)
		b = strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	if len(s.Processes) > 0 {
		lines := make([]processLine, len(s.Processes))
		for i, p := range s.Processes {
			lines[i] = processLine{p.PID, time.Unix(0, p.Start).UTC(), p.Name, p.CPU, p.RSS}
		}
		text, err := json.Marshal(lines)
		if err != nil {
			return b, err
		}
		b = append(b, `,"`+processesField+`":`...)
		b = append(b, text...)
	}
	return append(b, "}\n"...), nil
}

// parseLine reads a line.
func parseLine(b []byte) (Sample, bool) {
	var fields map[string]json.RawMessage
	if len(b) > maxLine || json.Unmarshal(b, &fields) != nil {
		return Sample{}, false
	}
	var at time.Time
	if json.Unmarshal(fields[timeField], &at) != nil || !storable(at) {
		return Sample{}, false
	}
	s := unknown(at.UnixNano())
	for i := range Columns {
		v, err := strconv.ParseFloat(string(fields[Columns[i].Field]), 64)
		if err == nil && !math.IsInf(v, 0) {
			s.Values[i] = v
		}
	}
	var lines []processLine
	if text, ok := fields[processesField]; ok && (json.Unmarshal(text, &lines) != nil || len(lines) > MaxProcesses) {
		return Sample{}, false
	}
	for _, l := range lines {
		s.Processes = append(s.Processes, Process{l.PID, l.Start.UnixNano(), clip(l.Name), l.CPU, l.RSS})
	}
	return s, true
}

// storable reports whether a time fits into nanoseconds since 1970.
func storable(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2262 }

func clip(name string) string { return name[:min(len(name), 4*maxName)] }

// parseLog reads the samples of a log. whole is the length of what is intact: behind it the end is torn. damaged counts the
// lines before that which couldn't be read, or whose time goes back.
func parseLog(b []byte) (samples []Sample, whole int64, damaged int) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		s, ok := parseLine(b[:end])
		switch {
		case !ok, len(samples) > 0 && s.Time <= samples[len(samples)-1].Time, len(samples) == maxSamples:
			damaged++
		default:
			samples = append(samples, s)
		}
		whole += int64(end) + 1
		b = b[end+1:]
	}
	return samples, whole, damaged
}
