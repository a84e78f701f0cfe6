package timing

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

type rec struct {
	ID    string `json:"id"`
	Tap   string `json:"tap"`
	Dir   string `json:"dir"`
	Peer  string `json:"peer"`
	Op    string `json:"op"`
	Start int64  `json:"start_us"`
	End   int64  `json:"end_us"`
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestDev(t *testing.T) {
	sets := strings.Fields(os.Getenv("SETS"))
	if len(sets) == 0 {
		d, _ := os.ReadDir("/work/shared/hops/bench")
		for _, e := range d {
			sets = append(sets, e.Name())
		}
	}
	delay := time.Duration(-1)
	if d, err := time.ParseDuration(os.Getenv("DELAY")); err == nil {
		delay = d
	}
	for _, s := range sets {
		base := "/work/shared/hops/bench/" + s
		f, _ := os.Open(base + "/events.ndjson.gz")
		g, _ := gzip.NewReader(f)
		d := json.NewDecoder(g)
		num := map[string]uint32{}
		intern := func(s string) uint32 {
			if v, ok := num[s]; ok {
				return v
			}
			num[s] = uint32(len(num) + 1)
			return num[s]
		}
		var evs []Event
		var recs []rec
		id := map[string]uint64{}
		for {
			var r rec
			if d.Decode(&r) != nil {
				break
			}
			recs = append(recs, r)
			id[r.ID] = uint64(len(recs))
			evs = append(evs, Event{ID: uint64(len(recs)), Tap: intern("t" + r.Tap), Peer: intern("p" + r.Peer), Op: intern("o" + r.Op), In: r.Dir == "in", Start: r.Start * 1000, End: r.End * 1000})
		}
		f, _ = os.Open(base + "/truth.tsv.gz")
		g, _ = gzip.NewReader(f)
		sc := bufio.NewScanner(g)
		got := map[uint64]Link{}
		began := cpu()
		l := New(Options{Delay: delay}, func(k Link) { got[k.Child] = k })
		for i, e := range evs {
			l.Add(e)
			if i%16 == 0 {
				l.Advance(e.Start)
			}
		}
		l.Flush()
		took := cpu() - began
		bad, all := map[string]bool{}, map[string]bool{}
		type ts struct{ ok, n int }
		taps := map[string]*ts{}
		xedge, xok := 0, 0
		var cal [11][2]int
		for sc.Scan() {
			p := strings.Split(sc.Text(), "\t")
			k := got[id[p[0]]]
			ok := k.Parent == id[p[1]]
			if !ok && k.Parent != 0 {
				a, b := recs[k.Parent-1], recs[id[p[1]]-1]
				ok = a.Tap == b.Tap && a.Start == b.Start && a.End == b.End
			}
			c := int(k.Confidence * 10)
			cal[c][1]++
			if ok {
				cal[c][0]++
			}
			if p[3] != "core" {
				xedge++
				if ok {
					xok++
				}
				continue
			}
			tp := recs[id[p[0]]-1].Tap
			if !ok && os.Getenv("WRONG") != "" {
				c := recs[id[p[0]]-1]
				fmt.Println(tp, c.Peer, c.Start, c.End, "true", recs[id[p[1]]-1].Start, recs[id[p[1]]-1].End, k.Confidence, k.Parent)
				if k.Parent > 0 {
					fmt.Println("      got", recs[k.Parent-1].Start, recs[k.Parent-1].End)
				}
			}
			if taps[tp] == nil {
				taps[tp] = &ts{}
			}
			taps[tp].n++
			all[p[2]] = true
			if ok {
				taps[tp].ok++
			} else {
				bad[p[2]] = true
			}
		}
		var names []string
		for n := range taps {
			names = append(names, n)
		}
		sort.Strings(names)
		line := fmt.Sprintf("%-13s %6.1f  %5.1f µs/call ", s, 100*(1-float64(len(bad))/float64(len(all))), float64(took.Microseconds())/float64(l.stats.Calls))
		for _, n := range names {
			line += fmt.Sprintf(" %s %.1f", n, 100*float64(taps[n].ok)/float64(taps[n].n))
		}
		if xedge > 0 {
			line += fmt.Sprintf(" extra %.1f", 100*float64(xok)/float64(xedge))
		}
		line += " cal"
		for i := 4; i < 11; i++ {
			line += fmt.Sprintf(" %d:%.0f/%d", i*10, 100*float64(cal[i][0])/float64(max(1, cal[i][1])), cal[i][1])
		}
		fmt.Println(line)
	}
}
