package host

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// proc is a made-up procfs: contents by name, which a test changes.
type proc map[string]string

// file is one of its files. What was taken out can't be read any more.
type file struct {
	of   proc
	name string
}

func (f file) ReadAt(b []byte, off int64) (int, error) {
	text, ok := f.of[f.name]
	if !ok {
		return 0, errors.New("no such file")
	}
	return strings.NewReader(text).ReadAt(b, off)
}

func (p proc) files() *Files {
	return &Files{
		Stat: file{p, "stat"}, Memory: file{p, "meminfo"}, Load: file{p, "loadavg"}, Network: file{p, "net"},
		PressureCPU: file{p, "cpu"}, PressureMemory: file{p, "memory"}, PressureIO: file{p, "io"},
	}
}

func quiet() proc {
	return proc{
		"stat":    "cpu  100 10 50 1000 40 3 7 20 5 5\ncpu0 50 5 25 500 20 1 4 10 0 0\ncpu1 50 5 25 500 20 2 3 10 0 0\nintr 5 0\nbtime 1700000000\n",
		"meminfo": "MemTotal:       2048 kB\nMemFree:         100 kB\nMemAvailable:   1024 kB\nSwapTotal:       512 kB\nSwapFree:        500 kB\nHugePages_Total:   0\n",
		"loadavg": "1.25 0.50 0.10 2/300 4711\n",
		"net": "Inter-|   Receive                        |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes ...\n" +
			"    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n  eth0: 5000 50 0 1 0 0 0 0 700 7 0 2 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
		"cpu":    "some avg10=1.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=10\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
		"io":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=10\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
	}
}

var began = time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)

// after is a time so many seconds later.
func after(seconds float64) time.Time { return began.Add(time.Duration(seconds * 1e9)) }

// expect compares some of a sample's values; NaN is one that isn't known.
func expect(t *testing.T, s *Sample, want map[int]float64) {
	t.Helper()
	for column, w := range want {
		if got := s.Values[column]; got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
			t.Errorf("%s is %v, want %v", Columns[column].Name, got, w)
		}
	}
}

func TestSample(t *testing.T) {
	p := quiet()
	s := NewSampler(p.files(), []string{"eth0", "eth1"}, nil)
	if _, ok := s.Sample(began); ok {
		t.Fatal("the first reading is compared with nothing")
	}
	p["stat"] = "cpu  130 20 70 1090 60 5 15 40 9 9\ncpu0 1\ncpu1 1\n" // 30+10 user, 20+2+8 system, 90 idle, 20 iowait, 20 steal: 200
	p["loadavg"] = "3.50 0.50 0.10 2/300 4711\n"
	p["net"] = "lo: 9000 90 0 0 0 0 0 0 9000 90 0 0 0 0 0 0\neth0: 9000 90 0 5 0 0 0 0 900 9 0 4 0 0 0 0\neth1:2001 21 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
	p["cpu"] = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\nfull total=0\n"
	p["memory"] = "some avg10=0.00 total=10\nfull avg10=0.00 total=5\n"
	p["io"] = "some avg10=0.00 avg60=0.00 avg300=0.00 total=9000010\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=200005\n"
	got, ok := s.Sample(after(2))
	if !ok || got.Time != after(2).UnixNano() {
		t.Fatalf("%v at %d", ok, got.Time)
	}
	expect(t, &got, map[int]float64{
		CPUBusy: 0.45, CPUUser: 0.2, CPUSystem: 0.15, CPUIOWait: 0.1, CPUSteal: 0.1, Load: 3.5, Processors: 2,
		MemoryTotal: 2 << 20, MemoryAvailable: 1 << 20, SwapUsed: 12 << 10,
		PressureCPU: 0.25, PressureMemory: 0, PressureMemoryFull: 0, PressureIO: 1, PressureIOFull: 0.1,
		ReceivedBytes: 3000, SentBytes: 100, ReceivedPackets: 30, SentPackets: 1, ReceivedDropped: 2, SentDropped: 1,
	})
}

// Without interfaces, or with any, it is all but the loopback.
func TestNetworkWithoutInterfaces(t *testing.T) {
	for _, interfaces := range [][]string{nil, {"any"}} {
		p := quiet()
		s := NewSampler(p.files(), interfaces, nil)
		s.Sample(began)
		p["net"] = "lo: 9000 90 0 0 0 0 0 0 9000 90 0 0 0 0 0 0\neth0: 6000 50 0 1 0 0 0 0 700 7 0 2 0 0 0 0\neth1: 2 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
		got, _ := s.Sample(after(1))
		expect(t, &got, map[int]float64{ReceivedBytes: 1001})
	}
}

// Counters that go back, files and interfaces that go and come: what isn't known is left out, and nothing is negative.
func TestSampleOfOddities(t *testing.T) {
	none := math.NaN()
	for name, c := range map[string]struct {
		change map[string]string // "" takes a file away
		want   map[int]float64
	}{
		"cpu goes back": {map[string]string{"stat": "cpu  0 10 50 1100 0 3 7 20\ncpu0 1\n"}, map[int]float64{CPUBusy: 0, CPUUser: 0, CPUIOWait: 0}},
		"no time went":  {map[string]string{"stat": quiet()["stat"]}, map[int]float64{CPUBusy: none, CPUUser: none, Processors: 2}},
		"no stat":       {map[string]string{"stat": ""}, map[int]float64{CPUBusy: none, Processors: none}},
		"nonsense": {map[string]string{"stat": "cpu -1 x 99999999999999999999999 \x00\n", "meminfo": "MemTotal: many kB\nMemAvailable: 1 GB\nSwapTotal:\n", "loadavg": "NaN\n"},
			map[int]float64{CPUBusy: none, MemoryTotal: none, MemoryAvailable: none, SwapUsed: none, Load: none}},
		"more swap free than there is": {map[string]string{"meminfo": "SwapTotal: 1 kB\nSwapFree: 2 kB\n"}, map[int]float64{SwapUsed: 0, MemoryTotal: none}},
		"no pressure":                  {map[string]string{"cpu": "", "memory": "", "io": ""}, map[int]float64{PressureCPU: none, PressureMemory: none, PressureIOFull: none}},
		"pressure goes back":           {map[string]string{"cpu": "some total=5\n"}, map[int]float64{PressureCPU: 0}},
		"no full":                      {map[string]string{"io": "some total=500010\n"}, map[int]float64{PressureIO: 0.5, PressureIOFull: none}},
		"an interface anew":            {map[string]string{"net": "eth0: 10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\n"}, map[int]float64{ReceivedBytes: 0, SentBytes: 0}},
		"an interface vanishes":        {map[string]string{"net": "lo: 10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\neth0: 1 2 3\n"}, map[int]float64{ReceivedBytes: none, SentDropped: none}},
		"an empty file":                {map[string]string{"net": "\n", "stat": "\n", "meminfo": "\n"}, map[int]float64{ReceivedBytes: none, CPUBusy: none}},
	} {
		t.Run(name, func(t *testing.T) {
			p := quiet()
			s := NewSampler(p.files(), []string{"eth0"}, nil)
			s.Sample(began)
			for name, text := range c.change {
				if p[name] = text; text == "" {
					delete(p, name)
				}
			}
			got, ok := s.Sample(after(1))
			if !ok {
				t.Fatal("no sample")
			}
			expect(t, &got, c.want)
			for i, v := range got.Values {
				if v < 0 || math.IsInf(v, 0) {
					t.Errorf("%s is %v", Columns[i].Name, v)
				}
			}
		})
	}
}

// Files that aren't there at all.
func TestSampleWithoutFiles(t *testing.T) {
	s := NewSampler(&Files{}, nil, nil)
	s.Sample(began)
	got, ok := s.Sample(after(1))
	if !ok {
		t.Fatal("no sample")
	}
	for i, v := range got.Values {
		if !math.IsNaN(v) {
			t.Errorf("%s is %v", Columns[i].Name, v)
		}
	}
}

// What is too close, or behind a pause, is no sample of a second.
func TestSamplePace(t *testing.T) {
	p := quiet()
	s := NewSampler(p.files(), nil, nil)
	for _, c := range []struct {
		at   float64
		want bool
	}{{0, false}, {1, true}, {1.3, false}, {1.6, true}, {100, false}, {101, true}} {
		if _, ok := s.Sample(after(c.at)); ok != c.want {
			t.Errorf("after %v s: %v", c.at, ok)
		}
	}
}

func TestParseProcess(t *testing.T) {
	line := func(name string) string {
		return "42 (" + name + ") S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 4 0 12345 99999 300 18446744073709551615 1 1 0\n"
	}
	for name, want := range map[string]string{
		"nginx": "nginx", "a) R 1 (b": "a) R 1 (b", "": "", "tab\there": "tab\there", "bad\xff": "bad\uFFFD", strings.Repeat("n", 100): strings.Repeat("n", maxName),
	} {
		s, ok := parseProcess([]byte(line(name)), 4096)
		if !ok || s.Name != want || s.Used != 200 || s.Start != 12345 || s.RSS != 300*4096 {
			t.Errorf("%q: %+v %v", name, s, ok)
		}
	}
	for _, text := range []string{"", "42", "42 (x", "42 (x) S 1 2", ")(", "42 x) ("} {
		if s, ok := parseProcess([]byte(text), 4096); ok {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

// Whatever /proc has, nothing panics, and nothing is negative.
func FuzzParse(f *testing.F) {
	for _, text := range quiet() {
		f.Add([]byte(text))
	}
	f.Add([]byte("1 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := quiet()
		s := NewSampler(p.files(), nil, nil)
		s.Sample(began)
		for name := range p {
			p[name] = string(b)
		}
		got, _ := s.Sample(after(1))
		for i, v := range got.Values {
			if v < 0 || math.IsInf(v, 0) {
				t.Errorf("%s is %v", Columns[i].Name, v)
			}
		}
		if p, ok := parseProcess(b, 4096); ok && len(p.Name) > 3*maxName {
			t.Errorf("a name of %d bytes", len(p.Name))
		}
		if line, err := appendLine(nil, &got); err != nil || bytes.Count(line, []byte{'\n'}) != 1 {
			t.Errorf("%s: %v", line, err)
		}
	})
}
