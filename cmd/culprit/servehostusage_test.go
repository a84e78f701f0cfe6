package main

import (
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culprit-http/culprit/internal/host"
)

// slowKeeper tells of a process that always uses one processor, a while after it is asked.
type slowKeeper struct {
	delay func(call int) time.Duration // from 1

	mu                 sync.Mutex
	calls, under, most int
}

func (k *slowKeeper) ask(pids []int32) ([]host.Stat, error) {
	k.mu.Lock()
	k.calls++
	k.under++
	k.most = max(k.most, k.under)
	delay := k.delay(k.calls)
	k.mu.Unlock()
	read := time.Now()
	time.Sleep(delay) // of the clock of a bubble
	if delay < useWithin {
		read = time.Now() // otherwise it is the answer that is late
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.under--
	at := time.Duration(read.UnixNano())
	var all []host.Stat
	for _, pid := range pids {
		all = append(all, host.Stat{PID: pid, At: at, Start: 1, Used: uint64(at / (10 * time.Millisecond)), Name: "php-fpm"})
	}
	return all, nil
}

// measuring are host metrics that ask a keeper.
func measuring(t *testing.T, k *slowKeeper, warn func(string)) *hostMetrics {
	t.Helper()
	h := &hostMetrics{ended: make(chan struct{}), done: make(chan struct{})}
	h.usage = usageCalls{ask: k.ask, ended: h.ended}
	h.owners = host.NewOwners(0, h.usage.of)
	h.owners.Note(42)
	h.sampler = host.NewSampler(&host.Files{}, nil, h.owners)
	var err error
	if h.store, err = host.OpenStore(t.TempDir(), host.Options{}); err != nil {
		t.Fatal(err)
	}
	go h.measure(warn)
	return h
}

// A keeper that answers late, or not at all, takes no sample of the machine, is asked one question at a time, and makes no
// process use more or less than it does.
func TestHostMetricsOfSlowKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &slowKeeper{delay: func(call int) time.Duration {
			return map[int]time.Duration{4: 800 * time.Millisecond, 6: 2500 * time.Millisecond, 8: 20 * time.Second}[call]
		}}
		var told []string
		began := time.Now()
		h := measuring(t, k, func(problem string) { told = append(told, problem) })
		const seconds = 40
		problems := map[int]bool{}
		for n := range seconds {
			time.Sleep(time.Second)
			h.mu.Lock()
			problems[n+1] = h.problem != ""
			h.mu.Unlock()
		}
		time.Sleep(time.Second / 2) // behind a sample
		if err := h.end(); err != nil {
			t.Fatal(err)
		}
		a, err := h.store.Query(t.Context(), host.Query{Start: began.UnixNano(), Interval: int64(time.Second), Buckets: seconds + 1})
		if err != nil {
			t.Fatal(err)
		}
		if a.Samples != seconds || len(a.Processes) != 1 {
			t.Fatalf("%d samples, want %d; processes %+v", a.Samples, seconds, a.Processes)
		}
		var without []int
		for second, cpu := range a.Processes[0].CPU {
			switch {
			case math.IsNaN(cpu):
				without = append(without, second)
			case cpu != 1:
				t.Errorf("it uses %v of a processor in second %d", cpu, second)
			}
		}
		// The sixth call is of second 5, and answered in 7; the eighth is of second 9, and answered in 29, when it doesn't count any more,
		// and nothing is known of ten seconds.
		want := []int{0, 5, 6}
		for second := 9; second <= 29; second++ {
			want = append(want, second)
		}
		if !slices.Equal(without, want) {
			t.Errorf("nothing is known of it in %v, want %v", without, want)
		}
		if k.most != 1 {
			t.Errorf("%d questions at a time", k.most)
		}
		if len(told) != 1 || problems[8] || !problems[20] || problems[seconds] {
			t.Errorf("told %q, problems %v", told, problems)
		}
	})
}

// The end doesn't wait for an answer.
func TestHostMetricsEndWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &slowKeeper{delay: func(int) time.Duration { return time.Hour }}
		h := measuring(t, k, func(problem string) { t.Error(problem) })
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		at := time.Now()
		if err := h.end(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(at); waited != 0 || k.calls != 1 {
			t.Errorf("it waited for %v, after %d questions", waited, k.calls)
		}
		time.Sleep(time.Hour) // until the keeper has returned
	})
}
