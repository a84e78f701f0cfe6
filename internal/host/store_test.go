package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/faultfs"
)

const folder = "/st/host"

func memory() *faultfs.FS { return faultfs.New(rand.New(rand.NewPCG(1, 2))) }

func openAt(t testing.TB, f disk.FS, dir string, o Options) *Store {
	t.Helper()
	o.FS = f
	s, err := OpenStore(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// busy makes the nth sample: a busy second every hundred, one process that works and one that sleeps.
func busy(n int) Sample {
	s := unknown(began.Add(time.Duration(n) * time.Second).UnixNano())
	for i := range s.Values {
		s.Values[i] = float64(i * 1000)
	}
	s.Values[CPUBusy] = 0.25
	if n%100 == 50 {
		s.Values[CPUBusy] = 1
	}
	s.Values[MemoryAvailable] = float64(1<<30 + n)
	s.Values[PressureIO] = math.NaN()
	s.Processes = []Process{{42, began.UnixNano(), "nginx", 0.5, 1 << 20}, {43, began.UnixNano() + 5, `<b>"ä\n`, 0, 4096}}
	return s
}

func fill(t testing.TB, s *Store, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		x := busy(n)
		if err := s.Append(&x); err != nil {
			t.Fatalf("sample %d: %v", n, err)
		}
	}
}

// names are the kinds of files that there are.
func names(t *testing.T, f disk.FS) string {
	t.Helper()
	all, err := f.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range all {
		kind, _, _ := strings.Cut(e.Name(), "-")
		kinds = append(kinds, kind+filepath.Ext(e.Name()))
	}
	return strings.Join(kinds, " ")
}

func ask(t testing.TB, s *Store, q Query) *Answer {
	t.Helper()
	a, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func curve(t testing.TB, a *Answer, name string) *Curve {
	t.Helper()
	for i := range a.Curves {
		if a.Curves[i].Name == name {
			return &a.Curves[i]
		}
	}
	t.Fatalf("no curve %s", name)
	return nil
}

// What a line of a log tells is what a sample was.
func TestLine(t *testing.T) {
	want := busy(7)
	b, err := appendLine(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := parseLine(bytes.TrimSuffix(b, []byte("\n")))
	if !ok || !equal(&got, &want) {
		t.Errorf("got %+v\nof %s", got, b)
	}
	for _, text := range []string{
		"", "{", "[]", "null", "{}", `{"@timestamp":"yesterday"}`, `{"@timestamp":"1960-01-01T00:00:00Z"}`, `{"@timestamp":"2400-01-01T00:00:00Z"}`,
		`{"@timestamp":"2026-01-01T00:00:00Z","processes":{}}`, `{"@timestamp":"2026-01-01T00:00:00Z","processes":[` + strings.Repeat("{},", MaxProcesses) + `{}]}`,
		`{"@timestamp":"2026-01-01T00:00:00Z","x":"` + strings.Repeat("x", maxLine) + `"}`,
	} {
		if s, ok := parseLine([]byte(text)); ok {
			t.Errorf("%.80s: %+v", text, s)
		}
	}
	odd, ok := parseLine([]byte(`{"@timestamp":"2026-01-01T00:00:00Z","host.cpu.usage":"1","system.load.1":1e999,"system.cpu.cores":2}`))
	if !ok || !math.IsNaN(odd.Values[CPUBusy]) || !math.IsNaN(odd.Values[Load]) || odd.Values[Processors] != 2 {
		t.Errorf("%+v", odd)
	}
}

func equal(a, b *Sample) bool {
	for i := range a.Values {
		if a.Values[i] != b.Values[i] && !(math.IsNaN(a.Values[i]) && math.IsNaN(b.Values[i])) {
			return false
		}
	}
	return a.Time == b.Time && slices.Equal(a.Processes, b.Processes)
}

// The answer is the same wherever the samples are: in a log, after a restart, in tables.
func TestStore(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 0, 3000)
	if got := names(t, f); got != "log.ndjson" {
		t.Errorf("there are %s", got)
	}
	q := Query{Start: began.UnixNano(), Interval: 60e9, Buckets: 60}
	want := ask(t, s, q)
	c := curve(t, want, "cpu.busy")
	if want.Samples != 3000 || c.Mean[0] != (59*0.25+1)/60 || c.Peaks[0] != 1 || c.Mean[1] != 0.25 || c.Peaks[1] != 0.25 || !math.IsNaN(c.Mean[50]) || !math.IsNaN(c.Peaks[59]) {
		t.Errorf("%d samples; mean %v, peaks %v", want.Samples, c.Mean, c.Peaks)
	}
	if low := curve(t, want, "memory.available"); low.Peaks[1] != 1<<30+60 {
		t.Errorf("the least memory is %v", low.Peaks[1])
	}
	if want.Processors != int(busy(0).Values[Processors]) || want.MemoryTotal != int64(busy(0).Values[MemoryTotal]) {
		t.Errorf("%d processors, %d bytes", want.Processors, want.MemoryTotal)
	}
	for _, c := range want.Curves {
		if c.Name == "pressure.io" || c.Peak == Constant {
			t.Errorf("%s is no curve", c.Name)
		}
	}
	if len(want.Processes) != 2 || want.Processes[0].Name != "nginx" || want.Processes[0].CPU[0] != 0.5 || want.Processes[0].RSS[3] != 1<<20 || want.Processes[1].CPUPeaks[0] != 0 {
		t.Errorf("processes %+v", want.Processes)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, f, folder, Options{})
	same(t, "after a restart", ask(t, s, q), want)
	if c := s.Counters(); c.Bytes == 0 || c.Damaged != 0 {
		t.Errorf("%+v", c)
	}
	fill(t, s, 3000, 3001)
	if got := names(t, f); got != "log.ndjson" {
		t.Errorf("a restart begins another: %s", got)
	}
	fill(t, s, 3001, 3700) // another hour
	if got := names(t, f); got != "log.ndjson machine.parquet processes.parquet" {
		t.Errorf("there are %s", got)
	}
	want = ask(t, s, q)
	if want.Samples != 3600 {
		t.Errorf("%d samples", want.Samples)
	}
	s.Close()
	s = openAt(t, f, folder, Options{})
	same(t, "of tables after a restart", ask(t, s, q), want)
	if err := s.Clean(after(2 * 3600).UnixNano()); err != nil { // the hour of the log is over
		t.Fatal(err)
	}
	if got := names(t, f); got != "machine.parquet machine.parquet processes.parquet processes.parquet" {
		t.Errorf("there are %s", got)
	}
	same(t, "of tables alone", ask(t, s, q), want)
	all := ask(t, s, Query{Start: began.UnixNano(), Interval: 100e9, Buckets: 40})
	if all.Samples != 3700 {
		t.Errorf("%d samples in all", all.Samples)
	}
}

// same compares answers.
func same(t *testing.T, when string, got, want *Answer) {
	t.Helper()
	text := func(a *Answer) string { return fmt.Sprintf("%+v %v", a.Processes, flat(a)) }
	if text(got) != text(want) {
		t.Errorf("%s:\n%.2000s\nwant\n%.2000s", when, text(got), text(want))
	}
}

func flat(a *Answer) (all []any) {
	for _, c := range a.Curves {
		all = append(all, c.Name, c.Mean, c.Peaks)
	}
	return append(all, a.Samples, a.Processors, a.MemoryTotal)
}

// Where buckets are narrower than samples, one fills all that it covers.
func TestNarrowBuckets(t *testing.T) {
	s := openAt(t, memory(), folder, Options{})
	fill(t, s, 49, 52)
	a := ask(t, s, Query{Start: after(48.5).UnixNano(), Interval: 250e6, Buckets: 12})
	c := curve(t, a, "cpu.busy")
	// Samples end at 49, 50 and 51 s; the one at 50 s is busy.
	want := []float64{.25, .25, .625, 1, 1, 1, .625, .25, .25, .25, .25, math.NaN()}
	if fmt.Sprint(c.Mean) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", c.Mean, want)
	}
	if p := a.Processes[0]; p.CPU[2] != .5 || p.CPU[3] != .5 || !math.IsNaN(p.CPU[11]) {
		t.Errorf("got %v", p.CPU)
	}
}

// A process that is there for a moment doesn't count for the whole bucket, and one that comes after another with its
// number is another.
func TestProcessCurves(t *testing.T) {
	s := openAt(t, memory(), folder, Options{})
	for n := range 120 {
		x := busy(n)
		x.Processes = nil
		if n < 6 {
			x.Processes = []Process{{7, 100e9, "cgi", 1, 10}}
		}
		if n >= 100 {
			x.Processes = []Process{{7, 190e9 + int64(n), "other", 0.5, 20}} // its start moves a little
		}
		if err := s.Append(&x); err != nil {
			t.Fatal(err)
		}
	}
	a := ask(t, s, Query{Start: began.UnixNano(), Interval: 60e9, Buckets: 3})
	if len(a.Processes) != 2 || a.Processes[0].Name != "other" || a.Processes[1].Name != "cgi" {
		t.Fatalf("%+v", a.Processes)
	}
	if p := a.Processes[1]; p.CPU[0] != 0.1 || p.CPUPeaks[0] != 1 || !math.IsNaN(p.CPU[1]) {
		t.Errorf("%+v", p)
	}
	if p := a.Processes[0]; math.Abs(p.CPU[1]-20*0.5/60) > 1e-9 || p.RSS[1] != 20 {
		t.Errorf("%+v", p)
	}
}

// Of very many processes, those that used most are kept.
func TestManyProcesses(t *testing.T) {
	d := newFold(Query{Start: 1, Interval: 1e9, Buckets: 2000})
	n := 0
	for b := range 2000 {
		for range 600 {
			n++
			p := Process{PID: int32(n), Start: int64(n) * 10e9, CPU: 0.01}
			if n%50_000 == 0 {
				p.CPU = float64(n)
			}
			d.process(b, b+1, &p)
		}
	}
	a := d.result()
	if len(a.Processes) != MaxProcesses || a.Processes[0].PID != 1_200_000 || a.Processes[15].PID != 450_000 || !a.Pruned || d.entries > maxEntries {
		t.Errorf("%d processes, %d entries", len(a.Processes), d.entries)
	}
}

// A torn end is cut off; a damaged line in the middle, and one whose time goes back, are left out.
func TestTornLog(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 0, 10)
	s.Close()
	name := filepath.Join(folder, logName(began.UnixNano()))
	whole := f.ReadFile(name)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for what, c := range map[string]struct {
		content []byte
		samples int
		damaged uint64
	}{
		"torn":           {whole[:len(whole)-5], 9, 1},
		"torn to zeros":  {append(bytes.Clone(whole), make([]byte, 100)...), 10, 1},
		"a bad line":     {bytes.Replace(whole, []byte(`{"@timestamp":"2026-01-15T10:00:03`), []byte(`{"@timestamp!"2026-01-15T10:00:03`), 1), 9, 1},
		"the first line": {whole[5:], 9, 1},
		"goes back":      {bytes.Join([][]byte{whole, lines[2]}, nil), 10, 1},
		"nothing":        {[]byte("\n\n"), 0, 2},
		"empty":          {nil, 0, 0},
	} {
		t.Run(what, func(t *testing.T) {
			f := memory()
			if err := disk.MkdirAll(f, folder); err != nil {
				t.Fatal(err)
			}
			f.WriteFile(name, c.content)
			s := openAt(t, f, folder, Options{})
			q := Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 20}
			if a := ask(t, s, q); a.Samples != c.samples || s.Counters().Damaged != c.damaged {
				t.Errorf("%d samples, %d damaged", a.Samples, s.Counters().Damaged)
			}
			fill(t, s, 10, 12) // it goes on
			s.Close()
			s = openAt(t, f, folder, Options{})
			if a := ask(t, s, q); a.Samples != c.samples+2 || s.Counters().Damaged != 0 {
				t.Errorf("then %d samples, %d damaged", a.Samples, s.Counters().Damaged)
			}
		})
	}
}

// Whenever the power goes, no sample that is there is wrong or there twice, those of tables stay, and it goes on.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(40) {
		f := faultfs.New(rand.New(rand.NewPCG(seed, 1)))
		s := openAt(t, f, folder, Options{})
		fill(t, s, 3590, 3595)
		f.CrashAfter(int(seed) + 2)
		for n := 3595; n < 3610; n++ { // over an hour's end
			x := busy(n)
			if s.Append(&x) != nil {
				break
			}
		}
		f.Crash()
		s = openAt(t, f, folder, Options{})
		q := Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 3700}
		a := ask(t, s, q)
		if a.Damaged != 0 {
			t.Errorf("seed %d: %d damaged tables", seed, a.Damaged)
		}
		for _, c := range a.Curves {
			if c.Name != "memory.available" {
				continue
			}
			for n, v := range c.Mean {
				if !math.IsNaN(v) && v != busy(n).Values[MemoryAvailable] {
					t.Errorf("seed %d: sample %d is %v", seed, n, v)
				}
			}
			if n := len(slices.DeleteFunc(slices.Clone(c.Mean), math.IsNaN)); n != a.Samples {
				t.Errorf("seed %d: %d samples in %d seconds", seed, a.Samples, n)
			}
		}
		fill(t, s, 3620, 3625)
		if b := ask(t, s, q); b.Samples != a.Samples+5 {
			t.Errorf("seed %d: it doesn't go on: %d and %d", seed, a.Samples, b.Samples)
		}
		if err := s.Clean(after(3 * 3600).UnixNano()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if b := ask(t, s, q); b.Samples != a.Samples+5 {
			t.Errorf("seed %d: as tables %d", seed, b.Samples)
		}
	}
}

// A crash between a table and the removal of its log: the samples are there once.
func TestLogBesideTable(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 0, 10)
	s.Close()
	name := filepath.Join(folder, logName(began.UnixNano()))
	b := f.ReadFile(name)
	s = openAt(t, f, folder, Options{})
	if err := s.Clean(after(3600).UnixNano()); err != nil {
		t.Fatal(err)
	}
	f.WriteFile(name, b)
	s = openAt(t, f, folder, Options{})
	if a := ask(t, s, Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 20}); a.Samples != 10 {
		t.Errorf("%d samples", a.Samples)
	}
	if got := names(t, f); got != "machine.parquet processes.parquet" {
		t.Errorf("there are %s", got)
	}
}

// A clock that is set back, or far ahead, loses nothing.
func TestClockThatJumps(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 100, 110)
	fill(t, s, 50, 60)
	fill(t, s, 4000, 4010)
	fill(t, s, 60, 70)
	fill(t, s, 40, 50) // into a log that is read again
	q := Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 5000}
	if a := ask(t, s, q); a.Samples != 50 {
		t.Errorf("%d samples", a.Samples)
	}
	s.Close()
	s = openAt(t, f, folder, Options{})
	if err := s.Clean(after(9000).UnixNano()); err != nil {
		t.Error(err)
	}
	if a := ask(t, s, q); a.Samples != 50 {
		t.Errorf("%d samples after a restart", a.Samples)
	}
	for _, at := range []int64{-1, math.MinInt64, math.MaxInt64} {
		x := unknown(at)
		if err := s.Append(&x); err == nil {
			t.Errorf("%d was stored", at)
		}
	}
}

func TestRetention(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{Retain: 2 * time.Hour})
	for h := range 5 {
		fill(t, s, h*3600, h*3600+20)
	}
	if err := s.Clean(after(5 * 3600).UnixNano()); err != nil { // all are tables, and only those since 3 h stay
		t.Fatal(err)
	}
	q := Query{Start: began.UnixNano(), Interval: 3600e9, Buckets: 6}
	c := curve(t, ask(t, s, q), "load")
	for h := range 5 {
		if math.IsNaN(c.Mean[h]) != (h < 3) {
			t.Errorf("hour %d: %v", h, c.Mean[h])
		}
	}
	if n := s.Counters(); n.Deleted != 3 || n.Stored != 100 {
		t.Errorf("%+v", n)
	}
	kept := s.Counters().Bytes
	s.Close()
	s = openAt(t, f, folder, Options{MaxBytes: kept - 1}) // the older of the two goes
	if err := s.Clean(after(5 * 3600).UnixNano()); err != nil {
		t.Fatal(err)
	}
	c = curve(t, ask(t, s, q), "load")
	if !math.IsNaN(c.Mean[3]) || math.IsNaN(c.Mean[4]) || s.Counters().Bytes >= kept {
		t.Errorf("%v, %d bytes", c.Mean, s.Counters().Bytes)
	}
}

// A full disk loses samples, which is counted, and it goes on when there is room, without a half line between.
func TestFullDisk(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 0, 10)
	f.SetCapacity(f.Used() + minFree/2)
	x := busy(10)
	if err := s.Append(&x); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	f.SetCapacity(0)
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Write {
			return &faultfs.Fault{Err: syscall.ENOSPC, Done: 100}
		}
		return nil
	})
	if err := s.Append(&x); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	f.Inject(nil)
	fill(t, s, 11, 20)
	if c := s.Counters(); c.Lost != 2 || c.Stored != 19 {
		t.Errorf("%+v", c)
	}
	s.Close()
	s = openAt(t, f, folder, Options{})
	if a := ask(t, s, Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 30}); a.Samples != 19 || s.Counters().Damaged != 0 {
		t.Errorf("%d samples, %+v", a.Samples, s.Counters())
	}
}

// A table that couldn't be made is made later, and its samples are there meanwhile.
func TestTableThatFails(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	fill(t, s, 3590, 3600)
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Rename {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	fill(t, s, 3600, 3610)
	q := Query{Start: after(3500).UnixNano(), Interval: 1e9, Buckets: 200}
	if got, a := names(t, f), ask(t, s, q); got != "log.ndjson log.ndjson" || a.Samples != 20 {
		t.Errorf("%s, %d samples", got, a.Samples)
	}
	if err := s.Clean(after(3610).UnixNano()); err == nil {
		t.Error("it failed, and isn't told")
	}
	f.Inject(nil)
	if err := s.Clean(after(3610).UnixNano()); err != nil {
		t.Error(err)
	}
	if got, a := names(t, f), ask(t, s, q); got != "log.ndjson machine.parquet processes.parquet" || a.Samples != 20 {
		t.Errorf("%s, %d samples", got, a.Samples)
	}
}

// Damaged tables are told, and the others answer.
func TestDamagedTables(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	for h := range 3 {
		fill(t, s, h*3600, h*3600+50)
	}
	s.Clean(after(4 * 3600).UnixNano())
	q := Query{Start: began.UnixNano(), Interval: 3600e9, Buckets: 4}
	name := filepath.Join(folder, machinePrefix+stampOf(began.UnixNano())+"-"+stampOf(after(49).UnixNano())+tableSuffix)
	whole := f.ReadFile(name)
	if whole == nil {
		t.Fatalf("no %s", name)
	}
	for what, b := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": {}, "zeros": make([]byte, len(whole)), "text": []byte(strings.Repeat("PAR1", 100))} {
		f.WriteFile(name, b)
		if a := ask(t, s, q); a.Damaged != 1 || a.Samples != 100 {
			t.Errorf("%s: %d damaged, %d samples", what, a.Damaged, a.Samples)
		}
	}
	dice := rand.New(rand.NewPCG(3, 4))
	for range 300 { // whatever is damaged, nothing panics
		b := bytes.Clone(whole)
		for range 1 + dice.IntN(4) {
			b[dice.IntN(len(b))] = byte(dice.IntN(256))
		}
		f.WriteFile(name, b)
		if a := ask(t, s, q); a.Samples < 100 {
			t.Errorf("%d samples", a.Samples)
		}
	}
}

// Other files stay, and an unfinished one goes.
func TestOtherFiles(t *testing.T) {
	f := memory()
	if err := disk.MkdirAll(f, folder); err != nil {
		t.Fatal(err)
	}
	stay := []string{"README", "log-x.ndjson", "machine-20260115T100000.000000000Z.parquet", "machine-20260115T100001.000000000Z-20260115T100000.000000000Z.parquet", "x.new"}
	for _, name := range append(stay, "machine-20260115T100000.000000000Z-20260115T100001.000000000Z.parquet.new") {
		f.WriteFile(filepath.Join(folder, name), []byte("x"))
	}
	s := openAt(t, f, folder, Options{Retain: time.Second, MaxBytes: 1})
	fill(t, s, 0, 2)
	s.Clean(after(9000).UnixNano())
	var got []string
	all, _ := f.ReadDir(folder)
	for _, e := range all {
		got = append(got, e.Name())
	}
	slices.Sort(stay)
	if !reflect.DeepEqual(got, stay) {
		t.Errorf("there are %v", got)
	}
}

// Questions are answered while samples are stored and become tables.
func TestQueryWhileStoring(t *testing.T) {
	s := openAt(t, memory(), folder, Options{})
	done := make(chan int)
	go func() {
		least := 0
		for least < 60 {
			a, err := s.Query(context.Background(), Query{Start: began.UnixNano(), Interval: 3600e9, Buckets: 9})
			if err != nil || a.Samples < least || a.Damaged > 0 {
				t.Errorf("%+v after %d samples: %v", a, least, err)
				break
			}
			least = a.Samples
		}
		done <- least
	}()
	for h := range 3 {
		fill(t, s, h*3600, h*3600+20)
	}
	if got := <-done; got != 60 {
		t.Errorf("%d samples", got)
	}
}

// A question about more than there is time for reads the newest files, and says from when on. What is in memory counts beside.
func TestLongQuestions(t *testing.T) {
	f := memory()
	s := openAt(t, f, folder, Options{})
	const hours = maxFiles + 3
	for h := range hours {
		x := busy(h * 3600)
		x.Processes = nil // which would take longer
		if err := s.Append(&x); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name           string
		first, buckets int // in hours
		samples, from  int // in hours, -1: all was looked at
	}{
		{"all", 0, hours, maxFiles + 1, 2},
		{"the oldest", 0, maxFiles, maxFiles, -1},
		{"one more", -5, maxFiles + 6, maxFiles, 1},
		{"the newest", 2, hours, maxFiles + 1, -1},
	} {
		q := Query{Start: after(float64(c.first)*3600 - 2).UnixNano(), Interval: 3600e9, Buckets: c.buckets}
		a := ask(t, s, q)
		from := int64(0)
		if c.from >= 0 {
			from = after(float64(c.from) * 3600).UnixNano()
		}
		if a.Samples != c.samples || a.From != from || a.Pruned {
			t.Errorf("%s: %d samples from %d, want %d from %d", c.name, a.Samples, a.From, c.samples, from)
		}
		for b, mean := range curve(t, a, "cpu.busy").Mean {
			h := c.first + b
			if math.IsNaN(mean) != (h < max(c.from, 0) || h >= hours) {
				t.Errorf("%s: %v at hour %d", c.name, mean, h)
			}
		}
	}
	if f := s.files[0]; f.log || f.machine == 0 {
		t.Error("no tables")
	}
}

// What answers yields first, and isn't the goroutine that asked.
func TestQueryYields(t *testing.T) {
	asking, yielded := goroutine(), []string{}
	s := openAt(t, memory(), folder, Options{Yield: func() { yielded = append(yielded, goroutine()) }})
	fill(t, s, 0, 10)
	if a := ask(t, s, Query{Start: began.UnixNano(), Interval: 60e9, Buckets: 1}); a.Samples != 10 || len(yielded) != 1 || yielded[0] == asking {
		t.Errorf("%d samples; %s asked, and %s yielded", a.Samples, asking, yielded)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Clean(after(3600).UnixNano())
	if _, err := s.Query(ctx, Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// goroutine is the number of the goroutine that calls it.
func goroutine() string {
	b := make([]byte, 64)
	number, _, _ := bytes.Cut(b[:runtime.Stack(b, false)], []byte(" ["))
	return string(number)
}

// A question that nobody waits for any more ends.
func TestQueryEnds(t *testing.T) {
	s := openAt(t, memory(), folder, Options{})
	fill(t, s, 0, 10)
	s.Clean(after(3600).UnixNano())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Query(ctx, Query{Start: began.UnixNano(), Interval: 1e9, Buckets: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
