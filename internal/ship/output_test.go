package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/rollup"
)

// numbers encodes exchanges by their number, and no rollups but those that have errors.
type numbers struct{}

func (numbers) Exchange(dst []byte, x *exchange.Exchange) []byte {
	return strconv.AppendUint(dst, x.Number, 10)
}

func (numbers) Rollup(dst []byte, r *rollup.Row) []byte {
	if r.Errors == 0 {
		return dst
	}
	return append(dst, "rollup"...)
}

// receiver is a Sender whose answers a test makes up. It knows what it has.
type receiver struct {
	answer func(events []Event) (Result, error)

	mu       sync.Mutex
	has      map[string]int // how often
	rejected map[string]int
	sent     int
	closed   int
}

func newReceiver(answer func(events []Event) (Result, error)) *receiver {
	return &receiver{answer: answer, has: map[string]int{}, rejected: map[string]int{}}
}

// Send implements Sender. What the answer says was delivered, it has.
func (r *receiver) Send(ctx context.Context, events []Event) (Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	result, err := r.answer(events)
	gone := map[int]bool{}
	for _, i := range result.Retry {
		gone[i] = true
	}
	for _, x := range result.Rejected {
		gone[x.Index] = true
		r.rejected[string(events[x.Index].Body)]++
	}
	for i := range events {
		if !gone[i] && (err == nil || i < result.Delivered) {
			r.has[string(events[i].Body)]++
		}
	}
	return result, err
}

// Close implements Sender.
func (r *receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}

// one returns an exchange with that number, on a connection of its own.
func one(n int) *exchange.Exchange {
	x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n\n")
	x.Number = uint64(n)
	return x
}

// open returns an output to a receiver.
func open(t *testing.T, o Options, r *receiver) *Output {
	t.Helper()
	o.Name, o.Encoder, o.Sender = "test", numbers{}, func() (Sender, error) { return r, nil }
	if o.Queue == nil {
		o.Queue = Memory(0)
	}
	out, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reconcile checks that every event is accounted for.
func reconcile(t *testing.T, s Stats) {
	t.Helper()
	in := s.Exchanges + s.Rollups + uint64(s.Queue.Recovered)
	out := s.Delivered + s.Rejected + s.Lost + uint64(s.Queue.Dropped+s.Queue.Damaged) + s.Waiting
	if in != out {
		t.Errorf("%d events came, and %d are accounted for: %+v", in, out, s)
	}
}

// TestEverythingArrives: whatever a receiver answers, each event is delivered at least once or refused once, and what is counted
// is what happened.
func TestEverythingArrives(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			pauses := rand.New(rand.NewPCG(seed, 2))
			limit := 1 + random.IntN(400)
			acknowledged := 0
			r := newReceiver(func(events []Event) (result Result, err error) {
				poison := func(i int) bool { n, _ := strconv.Atoi(string(events[i].Body)); return n%97 == 13 }
				switch {
				case len(events) > limit:
					return result, fmt.Errorf("%d are too many: %w", len(events), ErrTooLarge)
				case random.IntN(4) == 0:
					return result, errors.New("broken pipe")
				case random.IntN(8) == 0:
					return result, &LaterError{time.Minute, errors.New("too busy")}
				case random.IntN(4) == 0:
					for result.Delivered < random.IntN(len(events)+1) && !poison(result.Delivered) {
						result.Delivered++
					}
					acknowledged += result.Delivered
					return result, errors.New("reset in the middle")
				}
				busy := random.IntN(2) == 0
				for i := range events {
					switch {
					case poison(i):
						result.Rejected = append(result.Rejected, Rejection{i, "poison"})
					case busy && random.IntN(3) == 0:
						result.Retry = append(result.Retry, i)
					default:
						acknowledged++
					}
				}
				return result, nil
			})
			var aside []string
			var mu sync.Mutex
			out := open(t, Options{Workers: 1 + random.IntN(4), Waits: true, SetAside: func(e *Event, reason string) error {
				mu.Lock()
				defer mu.Unlock()
				aside = append(aside, string(e.Body))
				return nil
			}}, r)
			n := 3000
			for i := range n {
				if err := out.Exchange(one(i)); err != nil {
					t.Fatal(err)
				}
				if pauses.IntN(500) == 0 {
					time.Sleep(time.Second)
				}
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			s := out.Stats()
			reconcile(t, s)
			if s.Exchanges != uint64(n) || s.Waiting != 0 || s.Lost != 0 || int(s.Rejected) != len(aside) || int(s.Delivered) != acknowledged || s.Problem != "" {
				t.Errorf("seed %d: %+v, %d were set aside, %d acknowledged", seed, s, len(aside), acknowledged)
			}
			for i := range n {
				body := strconv.Itoa(i)
				if has, refused := r.has[body], r.rejected[body]; has+refused == 0 || has > 0 && refused > 0 || i%97 == 13 != (refused > 0) {
					t.Errorf("seed %d: event %d came %d times and was refused %d times", seed, i, has, refused)
				}
			}
			if r.closed == 0 {
				t.Error("no sender was closed")
			}
		})
	}
}

// TestOneTooLarge: an event that is too large by itself is refused, and holds nothing up.
func TestOneTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func(events []Event) (Result, error) {
			for i := range events {
				if string(events[i].Body) == "7" {
					return Result{}, ErrTooLarge
				}
			}
			return Result{}, nil
		})
		out := open(t, Options{Workers: 1}, r)
		for i := range 20 {
			out.Exchange(one(i))
		}
		out.Close()
		if s := out.Stats(); s.Delivered != 19 || s.Rejected != 1 || r.has["7"] != 0 || r.has["8"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestRollups: only those are sent that the encoder has something to say of.
func TestRollups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func([]Event) (Result, error) { return Result{Known: 1}, nil })
		out := open(t, Options{Workers: 1}, r)
		out.Rollup(&rollup.Row{})
		out.Rollup(&rollup.Row{Errors: 1})
		out.Close()
		if s := out.Stats(); s.Rollups != 1 || s.Delivered != 1 || s.Known != 1 || s.Exchanges != 0 || r.has["rollup"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestDeadReceiver: with a receiver that is away, a live output drops what is oldest and counts it; End leaves the rest.
func TestDeadReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		var mu sync.Mutex
		r := newReceiver(func([]Event) (Result, error) { return Result{}, errors.New("connection refused") })
		out := open(t, Options{Queue: Memory(1 << 20), BatchBytes: 8 << 10, Say: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, fmt.Sprintf(format, args...))
		}}, r)
		for i := range 100_000 {
			out.Exchange(one(i))
			if i%1000 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Hour)
		s := out.Stats()
		reconcile(t, s)
		if s.Queue.Dropped == 0 || s.Delivered != 0 || s.Waiting == 0 || s.Problem != "connection refused" || time.Since(s.Since) < time.Hour {
			t.Errorf("%+v", s)
		}
		// With pauses of up to half a minute, an hour has some hundred attempts.
		if s.Failed < 100 || s.Failed > 2000 {
			t.Errorf("%d attempts in an hour", s.Failed)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		out.End(ctx)
		s = out.Stats()
		reconcile(t, s)
		if s.Waiting != 0 || s.Delivered != 0 { // a queue in memory ends with the program
			t.Errorf("%+v", s)
		}
		if len(said) != 1 {
			t.Errorf("said %q", said)
		}
	})
}

// TestWaitsForRoom: a file is read no faster than its receiver takes it, so that nothing is dropped; until somebody is in a
// hurry.
func TestWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		r := newReceiver(func([]Event) (Result, error) {
			if away {
				return Result{}, errors.New("away")
			}
			return Result{}, nil
		})
		out := open(t, Options{Queue: Memory(1 << 20), Waits: true}, r)
		n, added := 200_000, make(chan int)
		go func() {
			x := one(0)
			for i := range n {
				x.Number = uint64(i)
				out.Exchange(x)
			}
			close(added)
		}()
		time.Sleep(time.Hour)
		select {
		case <-added:
			t.Fatal("a queue of 1 MiB took everything")
		default:
		}
		r.mu.Lock()
		away = false
		r.mu.Unlock()
		<-added
		out.Close()
		s := out.Stats()
		reconcile(t, s)
		if s.Delivered != uint64(n) || s.Queue.Dropped != 0 || s.Lost != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestHurry: what waits for room stops waiting, and what is lost so is counted.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func([]Event) (Result, error) { return Result{}, errors.New("away") })
		out := open(t, Options{Queue: Memory(1 << 20), Waits: true}, r)
		added := make(chan int)
		go func() {
			x := one(0)
			for range 200_000 {
				out.Exchange(x)
			}
			close(added)
		}()
		time.Sleep(time.Minute)
		out.Hurry()
		<-added
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		out.End(ctx)
		s := out.Stats()
		reconcile(t, s)
		if s.Exchanges != 200_000 || s.Delivered != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestEndWhileWaiting: a run over a file ends when it is told to, also with a receiver that is away and a queue that is full.
func TestEndWhileWaiting(t *testing.T) {
	for _, n := range []int{1500, 200_000} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(func([]Event) (Result, error) { return Result{}, errors.New("away") })
			out := open(t, Options{Queue: Memory(1 << 20), Waits: true}, r)
			added := make(chan int)
			go func() {
				x := one(0)
				for range n {
					out.Exchange(x)
				}
				close(added)
			}()
			time.Sleep(time.Hour)
			ctx, cancel := context.WithCancel(context.Background())
			stop := context.AfterFunc(ctx, out.Hurry)
			defer stop()
			cancel()
			<-added
			out.End(ctx)
			out.Exchange(one(1)) // which comes too late
			s := out.Stats()
			reconcile(t, s)
			if s.Exchanges != uint64(n)+1 || s.Lost == 0 || s.Loss == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// fullQueue is a queue on a disk that has no room for a while.
type fullQueue struct {
	Queue
	until time.Time
}

// Append implements Queue.
func (q *fullQueue) Append(frame []byte, events int) error {
	if time.Now().Before(q.until) {
		return NoRoom("the disk is full")
	}
	return q.Queue.Append(frame, events)
}

// TestFullDisk: of a file nothing is lost, live it is counted.
func TestFullDisk(t *testing.T) {
	for _, waits := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(func([]Event) (Result, error) { return Result{}, nil })
			out := open(t, Options{Queue: &fullQueue{Memory(0), time.Now().Add(time.Hour)}, Waits: waits}, r)
			for i := range 100_000 {
				out.Exchange(one(i))
			}
			time.Sleep(2 * time.Hour)
			out.Close()
			s := out.Stats()
			reconcile(t, s)
			if lost := s.Lost > 0; lost == waits {
				t.Errorf("waits %v: %+v", waits, s)
			}
		})
	}
}

// large encodes exchanges as as many bytes as their number says.
type large struct{ numbers }

func (large) Exchange(dst []byte, x *exchange.Exchange) []byte {
	return append(dst, make([]byte, x.Number)...)
}

// smallFrames is a queue that takes no large frames.
type smallFrames struct{ Queue }

// Append implements Queue.
func (q smallFrames) Append(frame []byte, events int) error {
	if len(frame) > 1<<20 {
		return fmt.Errorf("%d bytes are too many", len(frame))
	}
	return q.Queue.Append(frame, events)
}

// TestLargeEvent: an event that can't be queued takes no others with it.
func TestLargeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func([]Event) (Result, error) { return Result{}, nil })
		o := Options{Name: "test", Encoder: large{}, Queue: smallFrames{Memory(0)}, Sender: func() (Sender, error) { return r, nil }}
		out, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			out.Exchange(one(100))
		}
		out.Exchange(one(2 << 20))
		out.Exchange(one(300 << 10)) // large, but not too much so
		for range 500 {
			out.Exchange(one(100))
		}
		out.Close()
		s := out.Stats()
		reconcile(t, s)
		if s.Lost != 1 || s.Delivered != 1001 || !strings.Contains(s.Loss, "too many") {
			t.Errorf("%+v", s)
		}
	})
}

// contentError is a receiver's error that may be due to what was sent.
type contentError struct{}

func (contentError) Error() string   { return "internal server error" }
func (contentError) OfContent() bool { return true }

// TestPoisonedBatch: an event for which a receiver fails whole batches is found, and refused; but not if nothing else gets
// through either.
func TestPoisonedBatch(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(func(events []Event) (Result, error) {
				for i := range events {
					if b := string(events[i].Body); down || b == "77" || b == "500" {
						return Result{}, contentError{}
					}
				}
				return Result{}, nil
			})
			out := open(t, Options{}, r)
			for i := range 3000 {
				out.Exchange(one(i))
			}
			time.Sleep(24 * time.Hour)
			s := out.Stats()
			reconcile(t, s)
			if !down && (s.Delivered != 2998 || s.Rejected != 2 || r.has["77"] != 0) || down && (s.Rejected > 0 || s.Delivered > 0) {
				t.Errorf("down %v: %+v", down, s)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			out.End(ctx)
		})
	}
}

// TestSmallerBatches: what is too large for a receiver isn't sent to it again and again.
func TestSmallerBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		r := newReceiver(func(events []Event) (Result, error) {
			size := 0
			for i := range events {
				size += len(events[i].Body)
			}
			if size > 1<<20 {
				refused++
				return Result{}, ErrTooLarge
			}
			return Result{}, nil
		})
		o := Options{Name: "test", Encoder: large{}, Queue: Memory(1 << 30), Sender: func() (Sender, error) { return r, nil }, Workers: 1, Waits: true}
		out, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 10_000 {
			out.Exchange(one(10_000))
		}
		out.Close()
		if s := out.Stats(); s.Delivered != 10_000 || refused > 25 || refused == 0 {
			t.Errorf("%d batches were too large: %+v", refused, s)
		}
	})
}

// TestSenderFails: what can't be made is an error at the start.
func TestSenderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		_, err := New(Options{Name: "test", Encoder: numbers{}, Queue: Memory(0), Workers: 3, Sender: func() (Sender, error) {
			if made++; made == 3 {
				return nil, io.ErrUnexpectedEOF
			}
			return newReceiver(nil), nil
		}})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
	})
}

// TestPauses: they grow to their bound, keep to the receiver's wish, and differ.
func TestPauses(t *testing.T) {
	wish := &LaterError{10 * time.Second, errors.New("later")}
	different := map[time.Duration]bool{}
	for failed := range 100 {
		for range 50 {
			if d := pause(failed, errors.New("x")); d <= 0 || d > longestPause {
				t.Errorf("after %d: %v", failed, d)
			} else if failed == 99 {
				different[d] = true
				if d < longestPause/2 {
					t.Errorf("after %d: %v", failed, d)
				}
			}
			if d := pause(failed, fmt.Errorf("x: %w", wish)); d < wish.After || d > 2*wish.After {
				t.Errorf("later: %v", d)
			}
		}
	}
	if len(different) < 25 {
		t.Errorf("%d different pauses", len(different))
	}
}
