package host

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// table of processes that a test changes.
type processes map[int32]Stat

func (p processes) read(pid int32) (Stat, bool) {
	s, ok := p[pid]
	s.PID = pid
	return s, ok
}

// link are Owners that ask a Seen by messages, as they do across processes.
type link struct {
	*Owners
	seen *Seen
	now  time.Duration // of Seen
}

func linked(p processes) (l *link, o *Owners, seen *Seen) {
	l = &link{}
	l.seen = NewSeen(p.read, func() time.Duration { return l.now })
	l.Owners = NewOwners(1_700_000_000, Ask(l.seen.Serve))
	return l, l.Owners, l.seen
}

// after asks so many seconds after the last time.
func (l *link) after(seconds float64) []Process {
	l.now += time.Duration(seconds * 1e9)
	return l.sample()
}

func own(o *Owners, s *Seen, pids ...int) {
	for _, pid := range pids {
		s.See(pid)
		o.Note(pid)
	}
}

func TestOwners(t *testing.T) {
	p := processes{10: {Start: 500, Used: 100, RSS: 4096, Name: "nginx"}, 20: {Start: 600, Used: 0, RSS: 8192, Name: "php"}, 30: {Start: 1, Name: "other"}}
	l, o, seen := linked(p)
	if got := l.after(1); got != nil {
		t.Errorf("nobody owns anything, but: %v", got)
	}
	own(o, seen, 10, 20)
	own(o, seen, 10, 0, -5, 1<<40) // again, and nobody
	if got := l.after(1); got != nil {
		t.Errorf("seen once, there is nothing to compare with: %v", got)
	}
	p[10], p[20] = Stat{Start: 500, Used: 150, RSS: 5000, Name: "nginx"}, Stat{Start: 600, Used: 400, RSS: 8192, Name: "php"}
	want := []Process{
		{20, 1_700_000_006e9, "php", 2, 8192},
		{10, 1_700_000_005e9, "nginx", 0.25, 5000},
	}
	if got := l.after(2); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	p[10] = Stat{Start: 500, Used: 900, Name: "nginx"}
	if got := l.after(10.1); got != nil {
		t.Errorf("after a pause: %v", got)
	}
	p[10] = Stat{Start: 500, Used: 899, Name: "nginx"} // which goes back
	if got := l.after(1); len(got) != 2 || got[0].CPU != 0 || got[1].CPU != 0 {
		t.Errorf("got %+v", got)
	}
}

// Another process with the same number isn't taken for the one that ended, and isn't told of until it owns something.
func TestReusedNumber(t *testing.T) {
	p := processes{10: {Start: 500, Used: 100, Name: "nginx"}}
	l, o, seen := linked(p)
	own(o, seen, 10)
	l.after(1)
	p[10] = Stat{Start: 900, Used: 5000, Name: "backup"}
	for range 2 {
		if got := l.after(1); got != nil {
			t.Errorf("it was never seen to own anything: %+v", got)
		}
	}
	own(o, seen, 10)
	l.after(1)
	p[10] = Stat{Start: 900, Used: 5100, Name: "backup"}
	if got := l.after(1); len(got) != 1 || got[0].Name != "backup" || got[0].CPU != 1 {
		t.Errorf("now it was: %+v", got)
	}
}

// The number is reused by another owner between two samples: what it used isn't the difference to the other's.
func TestReusedNumberOfAnOwner(t *testing.T) {
	p := processes{10: {Start: 500, Used: 100, Name: "a"}}
	at := time.Duration(0)
	o := NewOwners(0, func(pids []int32) (all []Stat, err error) {
		at += time.Second
		for _, pid := range pids {
			if s, ok := p.read(pid); ok {
				s.At = at
				all = append(all, s)
			}
		}
		return all, nil
	})
	o.Note(10)
	o.sample()
	p[10] = Stat{Start: 900, Used: 5000, Name: "b"}
	o.Note(10)
	if got := o.sample(); got != nil {
		t.Errorf("got %+v", got)
	}
	p[10] = Stat{Start: 900, Used: 5050, Name: "b"}
	if got := o.sample(); len(got) != 1 || got[0].CPU != 0.5 {
		t.Errorf("got %+v", got)
	}
	// Now one that nobody noted.
	p[10] = Stat{Start: 1000, Used: 9000, Name: "c"}
	for range 3 {
		if got := o.sample(); got != nil {
			t.Errorf("got %+v", got)
		}
	}
}

func TestOwnersLimits(t *testing.T) {
	p := processes{}
	l, o, seen := linked(p)
	for pid := range int32(200) {
		p[pid+1] = Stat{Start: 1, Name: fmt.Sprint(pid + 1)}
	}
	for pid := 1; pid <= 200; pid++ {
		own(o, seen, pid)
	}
	if len(o.followed) != maxFollowed {
		t.Errorf("%d are followed", len(o.followed))
	}
	l.after(1)
	for pid := range p {
		p[pid] = Stat{Start: 1, Used: uint64(pid), Name: fmt.Sprint(pid)}
	}
	got := l.after(1)
	if len(got) != MaxProcesses || got[0].PID != 200 || got[MaxProcesses-1].PID != 185 {
		t.Errorf("the busiest: %+v", got)
	}
	// The one that was noted longest ago goes.
	l, o, seen = linked(p)
	for pid := 1; pid <= maxFollowed; pid++ {
		own(o, seen, pid)
	}
	l.after(1)
	for pid := 2; pid <= maxFollowed+1; pid++ {
		own(o, seen, pid)
	}
	if o.followed[1] != nil || o.followed[2] == nil || o.followed[maxFollowed+1] == nil {
		t.Error("another one went")
	}
	// And what owns nothing any more.
	for range followedFor + 2 {
		l.after(1)
	}
	if len(o.followed) != 0 {
		t.Errorf("%d are followed still", len(o.followed))
	}
}

func TestOwnersThatEnd(t *testing.T) {
	p := processes{10: {Start: 5}}
	l, o, seen := linked(p)
	own(o, seen, 10)
	l.after(1)
	delete(p, 10)
	l.after(1)
	if len(o.followed) != 0 || len(seen.all) != 0 {
		t.Error("it has ended, and is remembered")
	}
}

// An end of who answers is said, and not asked again.
func TestOwnersWithoutAnswer(t *testing.T) {
	asked := 0
	o := NewOwners(0, func([]int32) ([]Stat, error) {
		asked++
		return nil, errors.New("it has ended")
	})
	o.Note(10)
	for range 3 {
		o.sample()
	}
	if asked != 1 || o.Err() == nil {
		t.Errorf("asked %d times, %v", asked, o.Err())
	}
}

// A process that always uses one processor does so also when answers are late: what was read late isn't divided by the time
// between samples. One that is read again at once uses what it did.
func TestLateAnswers(t *testing.T) {
	p := processes{10: {Start: 5, Name: "php"}}
	l, o, seen := linked(p)
	own(o, seen, 10)
	l.after(0)
	for _, apart := range []float64{1, 1.8, 0.2, 1, 2.5, 0.015, 0.05, 0.435, 1} {
		p[10] = Stat{Start: 5, Used: uint64(math.Round(((l.now.Seconds() + apart) * ticks))), Name: "php"}
		if got := l.after(apart); len(got) != 1 || got[0].CPU != 1 {
			t.Errorf("%v s later: %+v", apart, got)
		}
	}
	l.now = 0 // which it never does
	if got := l.sample(); got != nil {
		t.Errorf("the clock went back: %+v", got)
	}
}

// Without an answer there are no processes, and the question stays as it is until it is answered: what was noted meanwhile
// hasn't ended because nobody asked for it.
func TestOwnersThatWait(t *testing.T) {
	p := processes{10: {Start: 5, Name: "a"}, 20: {Start: 6, Name: "b"}}
	l, o, seen := linked(p)
	ask, late := o.ask, false
	var asked [][]int32
	o.ask = func(pids []int32) ([]Stat, error) {
		asked = append(asked, pids)
		if late {
			return nil, ErrLate
		}
		return ask(pids)
	}
	own(o, seen, 10)
	l.after(1)
	late = true
	for range 2 {
		if got := l.after(1); got != nil {
			t.Errorf("nobody answered: %+v", got)
		}
		own(o, seen, 20)
	}
	late, p[10] = false, Stat{Start: 5, Used: 150, Name: "a"}
	if got := l.after(1); len(got) != 1 || got[0].PID != 10 || got[0].CPU != 0.5 {
		t.Errorf("after 3 s: %+v", got)
	}
	l.after(1)
	if got := l.after(1); len(got) != 2 || o.Err() != nil {
		t.Errorf("%+v: %v", got, o.Err())
	}
	if got, want := fmt.Sprint(asked), "[[10] [10] [10] [10] [10 20] [10 20]]"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// The other side tells of nobody who wasn't seen to own something, and takes no message that isn't one.
func TestSeen(t *testing.T) {
	p := processes{10: {Start: 5, Name: "nginx"}, 20: {Start: 6, Name: "secret"}}
	seen := NewSeen(p.read, func() time.Duration { return 0 })
	seen.See(10)
	got, err := Ask(seen.Serve)([]int32{10, 20, 30})
	if err != nil || len(got) != 1 || got[0].PID != 10 {
		t.Errorf("%+v %v", got, err)
	}
	p[10] = Stat{Start: 7, Name: "another"}
	if got, err := Ask(seen.Serve)([]int32{10}); err != nil || len(got) != 0 {
		t.Errorf("another process with that number: %+v %v", got, err)
	}
	for name, request := range map[string][]byte{
		"empty": nil, "too many": append([]byte{maxFollowed + 1}, make([]byte, 4*(maxFollowed+1))...), "short": {2, 1, 0, 0, 0}, "long": {1, 1, 0, 0, 0, 0},
		"none": {1, 0, 0, 0, 0}, "negative": {1, 255, 255, 255, 255},
	} {
		if reply, err := seen.Serve(request); err == nil {
			t.Errorf("%s: %v", name, reply)
		}
	}
	for pid := 1; pid <= 2*maxSeen; pid++ {
		seen.See(pid)
	}
	if len(seen.all) != maxSeen {
		t.Errorf("%d are remembered", len(seen.all))
	}
}

func TestStatMessages(t *testing.T) {
	long := Stat{PID: 1, At: 9e9, Start: 2, Used: 3, RSS: 4, Name: strings.Repeat("x", 300)}
	b := appendStat(nil, &long)
	all, err := parseStats(b)
	long.Name = long.Name[:255]
	if err != nil || len(all) != 1 || all[0] != long {
		t.Errorf("%+v %v", all, err)
	}
	for n := 1; n < len(b); n++ {
		if _, err := parseStats(b[:n]); err == nil {
			t.Errorf("a part of %d bytes was taken", n)
		}
	}
	var many []byte
	for range maxFollowed + 1 {
		many = appendStat(many, &Stat{PID: 1})
	}
	if _, err := parseStats(many); err == nil {
		t.Error("too many were taken")
	}
}
