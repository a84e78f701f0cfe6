package pcapng

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/synth"
)

func none(*exchange.Exchange) bool { return false }

func TestAllPacketsInOrder(t *testing.T) {
	for _, workers := range []int{1, 2} {
		src := scenario(t, "demo", 0)
		var d disk
		r := record(t, source(src), workers, []File{&d}, Options{}, none)
		got, back := read(t, d.data)
		same(t, got, src)
		if c := r.Counters(); c.Written != uint64(len(src)) || r.Err() != nil || r.Lost() != "" {
			t.Errorf("%+v, %v, %q", c, r.Err(), r.Lost())
		}
		if tap := back.Taps()[0]; tap.Name != "eth0" || tap.Dropped != 0 {
			t.Errorf("the tap is %+v", tap)
		}
	}
}

// TestSelectedExchangesAreThereAgain: whichever exchanges are selected, a trace of the recording shows them as
// they were.
func TestSelectedExchangesAreThereAgain(t *testing.T) {
	for _, name := range []string{"demo", "small", "flows", "lossy"} {
		src := scenario(t, name, 2<<20)
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, 1))
			share := []float64{0, 1, 0.5, 0.1, 0.9, 0.02}[seed]
			var want []string
			var d disk
			rec := record(t, source(src), 1+int(seed)%2, []File{&d}, Options{Matched: true}, func(x *exchange.Exchange) bool {
				chosen := r.Float64() < share
				if chosen && x.Grade == exchange.Complete {
					want = append(want, summary(x))
				}
				return chosen
			})
			c := rec.Counters()
			if c.Incomplete != 0 || c.Uncommented != 0 || c.Evicted != 0 {
				t.Errorf("%s, seed %d: %+v", name, seed, c)
			}
			got := exchanges(t, open(t, d.data))
			missing := 0
			for _, x := range want {
				if i := slices.Index(got, x); i >= 0 {
					got = slices.Delete(got, i, i+1)
				} else if missing++; missing < 5 {
					t.Errorf("%s, seed %d: %s isn't there again", name, seed, x)
				}
			}
			if missing > 0 {
				t.Errorf("%s, seed %d: %d of %d are missing", name, seed, missing, len(want))
			}
			if share == 0 && c.Written != 0 {
				t.Errorf("%s: %d packets are written of no exchange", name, c.Written)
			}
			t.Logf("%s, seed %d: %d of %d packets for %d exchanges; more: %d", name, seed, c.Written, c.Received, len(want), len(got))
		}
	}
}

// conversation has two exchanges and an end.
func conversation(c *synth.Conn) {
	c.Exchange(get("/a"), time.Millisecond, answer(200, 3000))
	c.Wait(synth.Client, time.Second)
	c.Exchange(get("/b"), time.Millisecond, answer(404, 10))
	c.Wait(synth.Client, time.Second)
	quit(c)
}

// chosen selects exchanges by their targets.
func chosen(targets ...string) func(x *exchange.Exchange) bool {
	return func(x *exchange.Exchange) bool {
		return slices.Contains(targets, string(x.Request.Bytes(x.Request.Target)))
	}
}

func TestWhichPackets(t *testing.T) {
	// The first segment of the answer is lost before the tap, and comes again behind its last byte. The second half
	// of a request comes before the first.
	holes := dialogue(t, func(c *synth.Conn) {
		c.Lose(synth.Server, 0, false)
		c.Exchange(get("/a"), time.Millisecond, answer(200, 6000))
		c.Wait(synth.Client, time.Second)
		quit(c)
	})
	long := "/d" + strings.Repeat("x", 2000)
	swapped := dialogue(t, func(c *synth.Conn) {
		c.Exchange(get("/a"), time.Millisecond, answer(200, 10))
		c.Wait(synth.Client, time.Second)
		c.Exchange(get(long), time.Millisecond, answer(200, 10))
		quit(c)
	})
	swapped[6], swapped[7] = swapped[7], swapped[6]
	for i := range swapped {
		swapped[i].Number = uint64(i + 1)
	}
	pipelined := dialogue(t, func(c *synth.Conn) {
		c.Send(synth.Client, get("/a"), get("/b"), get("/c"))
		c.Recv(synth.Server, len(get("/a"))*3)
		c.Send(synth.Server, answer(200, 10), answer(200, 20), answer(200, 30))
		c.Recv(synth.Client, len(answer(200, 10))*3+30)
		quit(c)
	})
	streamed := dialogue(t, func(c *synth.Conn) {
		c.Send(synth.Client, get("/a"))
		c.Send(synth.Client, get("/b"))
		c.Recv(synth.Server, len(get("/a"))*2)
		c.Send(synth.Server, answer(200, 10))
		c.Wait(synth.Server, time.Millisecond)
		c.Send(synth.Server, answer(200, 10))
		c.Recv(synth.Client, len(answer(200, 10))*2)
		c.Wait(synth.Client, time.Second)
		quit(c)
	})
	reset := dialogue(t, func(c *synth.Conn) {
		c.Exchange(get("/a"), time.Millisecond, answer(200, 10))
		c.Wait(synth.Client, time.Second)
		c.Send(synth.Client, get("/b"))
		c.Recv(synth.Server, len(get("/b")))
		c.Wait(synth.Server, time.Second)
		c.Reset(synth.Server)
	})
	two := dialogue(t, conversation)
	for _, c := range []struct {
		name     string
		src      []capture.Record
		targets  []string
		want     string
		comments string
	}{
		{"none", two, nil, "[]", "map[]"},
		{"the first, and the acknowledgements behind it", two, []string{"/a"}, "[1 2 3 4 5 6 7 8 9]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 3.01 ms, grade complete]]"},
		{"the second, and the end of the connection", two, []string{"/b"}, "[1 2 3 8 9 10 11 12 13 14 15 16]",
			"map[6:[culprit: exchange 2: GET shop.example/b 404 3.00 ms, grade complete]]"},
		{"both", two, []string{"/a", "/b"}, "[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 3.01 ms, grade complete] 10:[culprit: exchange 2: GET shop.example/b 404 3.00 ms, grade complete]]"},
		{"what was sent again", holes, []string{"/a"}, "[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 7.02 ms, grade complete]]"},
		{"an early segment", swapped, []string{long}, "[1 2 3 6 7 8 9 10 11 12 13]",
			"map[6:[culprit: exchange 2: GET shop.example" + long[:768] + "…" + long[len(long)-256:] + " 200 3.01 ms, grade complete]]"},
		{"pipelined in one packet, first", pipelined, []string{"/a"}, "[1 2 3 4 5 6 7 8 9]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 2.00 ms, grade complete]]"},
		{"pipelined in one packet, last", pipelined, []string{"/c"}, "[1 2 3 4 5 6 7 8 9]",
			"map[4:[culprit: exchange 3: GET shop.example/c 200 2.00 ms, grade complete]]"},
		{"pipelined in one packet, all", pipelined, []string{"/a", "/b", "/c"}, "[1 2 3 4 5 6 7 8 9]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 2.00 ms, grade complete culprit: exchange 2: GET shop.example/b 200 2.00 ms, grade complete culprit: exchange 3: GET shop.example/c 200 2.00 ms, grade complete]]"},
		{"pipelined, first", streamed, []string{"/a"}, "[1 2 3 4 5 6]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 2.00 ms, grade complete]]"},
		{"pipelined, second", streamed, []string{"/b"}, "[1 2 3 5 6 7 8 9 10 11 12]",
			"map[4:[culprit: exchange 2: GET shop.example/b 200 3.00 ms, grade complete]]"},
		{"pipelined, both", streamed, []string{"/a", "/b"}, "[1 2 3 4 5 6 7 8 9 10 11 12]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 2.00 ms, grade complete culprit: exchange 2: GET shop.example/b 200 3.00 ms, grade complete]]"},
		{"hung, then reset", reset, []string{"/b"}, "[1 2 3 6 7 8 9]",
			"map[5:[culprit: exchange 2: GET shop.example/b 1.00 s, grade aborted: reset by the server before an answer]]"},
		{"before a reset", reset, []string{"/a"}, "[1 2 3 4 5 6]",
			"map[4:[culprit: exchange 1: GET shop.example/a 200 3.00 ms, grade complete]]"},
	} {
		for _, workers := range []int{1, 2} {
			var d disk
			record(t, source(c.src), workers, []File{&d}, Options{Matched: true}, chosen(c.targets...))
			got, _ := read(t, d.data)
			if n := fmt.Sprint(numbers(t, got, c.src)); n != c.want {
				t.Errorf("%s, %d workers: packets %s of %d, want %s", c.name, workers, n, len(c.src), c.want)
			}
			if text := fmt.Sprint(comments(t, d.data)); text != c.comments {
				t.Errorf("%s, %d workers: %s, want %s", c.name, workers, text, c.comments)
			}
		}
	}
}

// TestAnyNumberOfWorkers: the same packets are recorded with any number of workers, only their order may differ.
func TestAnyNumberOfWorkers(t *testing.T) {
	src := scenario(t, "lossy", 1<<20)
	var want []int
	for _, workers := range []int{1, 2, 4} {
		var d disk
		record(t, source(src), workers, []File{&d}, Options{Matched: true}, func(x *exchange.Exchange) bool { return x.Number%3 == 0 })
		records, _ := read(t, d.data)
		got := numbers(t, records, src)
		slices.Sort(got)
		if want == nil {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("%d workers record %d packets, one %d: %v", workers, len(got), len(want), got)
		}
	}
}

func TestFragments(t *testing.T) {
	src := dialogue(t, func(c *synth.Conn) {
		c.Exchange(get("/a"), time.Millisecond, answer(200, 10))
		c.Exchange(get("/b"), time.Millisecond, answer(200, 1000))
		quit(c)
	})
	for _, version := range []int{4, 6} {
		var cut []capture.Record
		for _, r := range src {
			parts := [][]byte{r.Data}
			if len(r.Data) > 800 {
				parts = cutUp(r.Data, version)
			}
			for i, b := range parts {
				r.Data, r.WireLen, r.Number = b, len(b), uint64(len(cut)+1)
				r.Time += int64(i)
				cut = append(cut, r)
			}
		}
		// A fragment whose datagram never becomes whole.
		stray := cut[len(cut)-1]
		stray.Data = cutUp(src[6].Data, version)[0]
		stray.Data[14+5]++ // another datagram
		stray.Number, stray.WireLen = stray.Number+1, len(stray.Data)
		cut = append(cut, stray)
		var d disk
		var want []string
		r := record(t, source(cut), 1, []File{&d}, Options{Matched: true}, func(x *exchange.Exchange) bool {
			if string(x.Request.Bytes(x.Request.Target)) != "/b" {
				return false
			}
			want = append(want, summary(x))
			return true
		})
		if got := exchanges(t, open(t, d.data)); len(want) != 1 || !slices.Equal(got, want) {
			t.Errorf("IPv%d: %q is recorded of %q", version, got, want)
		}
		if c := r.Counters(); c.LetGo == 0 || c.Incomplete != 0 {
			t.Errorf("IPv%d: %+v", version, c)
		}
	}
}

func TestFragmentsAreBounded(t *testing.T) {
	r := New([]File{&disk{}}, Options{Matched: true})
	frame := dialogue(t, func(c *synth.Conn) { c.Exchange(get("/a"), 0, answer(200, 1000)) })[4].Data
	part := cutUp(frame, 4)[0]
	rec := capture.Record{Data: part, WireLen: len(part), Link: 1}
	for i := range 3 * maxFragments {
		rec.Number = uint64(i + 1)
		r.Packet(&rec, nil, nil)
		if n := len(r.fragments); n != min(i+1, maxFragments) {
			t.Fatalf("%d fragments are kept of %d", n, i+1)
		}
	}
	rec.Time = fragmentTime + 1
	r.Packet(&rec, nil, nil)
	if n := len(r.fragments); n != 1 {
		t.Errorf("%d fragments are kept after their time", n)
	}
	rec.Data[14+10]++ // a wrong checksum: these may be any bytes
	r.Packet(&rec, nil, nil)
	if n := len(r.fragments); n != 1 {
		t.Errorf("%d fragments, although one has none", n)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
}

// TestFragmentsCountAsTheirPacket: an exchange knows the packet that completed the datagram only.
func TestFragmentsCountAsTheirPacket(t *testing.T) {
	r := New([]File{&disk{}}, Options{Matched: true})
	frame := dialogue(t, func(c *synth.Conn) { c.Exchange(get("/a"), 0, answer(200, 1000)) })[4].Data
	parts := cutUp(frame, 4)
	for i, b := range parts {
		rec := capture.Record{Number: uint64(i + 1), Data: b, WireLen: len(b), Link: 1}
		if i < len(parts)-1 {
			r.Packet(&rec, nil, nil)
			continue
		}
		p := packet.Packet{Proto: packet.ProtoTCP, SrcPort: 1, PayloadLen: 1000}
		key, _ := p.Key()
		r.Packet(&rec, &p, &key)
	}
	n := 0
	for page := r.flows.all[1].packets.first; page != 0; page = r.pages.head(page).next {
		n++
		if got := r.pages.head(page).number; got != uint64(len(parts)) {
			t.Errorf("fragment %d counts as packet %d of %d", n, got, len(parts))
		}
	}
	if n != len(parts) || len(r.fragments) != 0 {
		t.Errorf("%d of %d fragments", n, len(parts))
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
}
