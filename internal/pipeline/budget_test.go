package pipeline_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
)

// The budget holds whatever comes: hostile traffic is made while it is read, so that the heap is the
// pipeline's alone; it is measured while the input pauses, so that there is no garbage of a moment. In the middle
// of the traffic stands an honest exchange, which must be found.

const budget = 64 << 20

// attack is a capture.Source that asks a function for one packet after the other.
type attack struct {
	packets int
	make    func(i int, b []byte) []byte
	i       int
	buf     []byte
	// measured has an entry when the heap was measured in the pause that Next has begun.
	paused   bool
	measured chan uint64
	peak     uint64
}

// measure is called while the input pauses.
func (a *attack) measure() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	a.measured <- m.HeapAlloc
}

func (a *attack) Next(r *capture.Record) error {
	switch {
	case a.paused:
		a.paused = false
		a.peak = max(a.peak, <-a.measured)
	case a.i == a.packets:
		return io.EOF
	case a.i%(a.packets/16) == a.packets/16-1:
		a.paused = true
		return capture.ErrIdle
	}
	switch step := a.i - a.packets/2; step {
	case 0:
		a.buf = segment(a.buf, honest, 1000, 80, 1, 0, flagSYN, nil)
	case 1:
		a.buf = segment(a.buf, honest|server, 1000, 80, 1, 2, flagSYN|flagACK, nil)
	case 2:
		a.buf = segment(a.buf, honest, 1000, 80, 2, 2, flagACK, []byte(get))
	case 3:
		a.buf = segment(a.buf, honest|server, 1000, 80, 2, uint32(2+len(get)), flagACK, []byte(answer))
	default:
		a.buf = a.make(a.i, a.buf)
	}
	// Workers may still read the packet before.
	*r = capture.Record{
		Time: 1_700_000_000_000_000_000 + int64(a.i)*10_000, Number: uint64(a.i + 1),
		Data: append([]byte(nil), a.buf...), WireLen: len(a.buf), Link: 101,
	}
	a.i++
	return nil
}

func (a *attack) Taps() []capture.Tap { return []capture.Tap{{}} }
func (a *attack) Warnings() []string  { return nil }
func (a *attack) Close() error        { return nil }

const (
	flagSYN, flagRST, flagACK = 2, 4, 16
	honest                    = 0xffff00
	server                    = 1 << 24
)

// segment makes a TCP segment in IPv4 between a client, which is named by a number of 24 bits, and the server.
func segment(b []byte, client uint32, clientPort, serverPort uint16, seq, ack uint32, flags byte, data []byte) []byte {
	b = append(b[:0], 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0)
	binary.BigEndian.PutUint16(b[2:], uint16(40+len(data)))
	src, dst := client&0xffffff|10<<24, uint32(192<<24|2)
	srcPort, dstPort := clientPort, serverPort
	if client&server != 0 {
		src, dst, srcPort, dstPort = dst, src, dstPort, srcPort
	}
	b = binary.BigEndian.AppendUint32(b, src)
	b = binary.BigEndian.AppendUint32(b, dst)
	b = binary.BigEndian.AppendUint16(b, srcPort)
	b = binary.BigEndian.AppendUint16(b, dstPort)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, data...)
}

// turn says which connection the ith packet belongs to, of n that take turns, and which of its packets it is.
func turn(i, n int) (client uint32, nth uint32) { return uint32(i % n), uint32(i / n) }

func TestMemoryBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes a while")
	}
	endless := []byte("X-" + strings.Repeat("a", 1200) + ": b\r\n")
	many := []byte("GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 250) + "\r\n")
	pipelined := bytes.Repeat([]byte("GET / HTTP/1.1\r\n\r\n"), 80)
	huge := bytes.Repeat([]byte("GET / HTTP/1.1\r\n\r\n"), 3600)
	var bomb bytes.Buffer
	w, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	_, _ = w.Write(make([]byte, 1<<20)) // a buffer takes everything
	_ = w.Close()
	zipped := append([]byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "+strconv.Itoa(bomb.Len())+"\r\n\r\n"), bomb.Bytes()...)

	large := append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"), make([]byte, 60_000)...)

	for _, c := range []struct {
		name    string
		packets int
		make    func(i int, b []byte) []byte
	}{
		{"SYN flood", 300_000, func(i int, b []byte) []byte {
			return segment(b, uint32(i), 1000, 80, 1, 0, flagSYN, nil)
		}},
		{"connections of one byte", 200_000, func(i int, b []byte) []byte {
			return segment(b, uint32(i), 1000, 80, 1, 1, flagACK, []byte("G"))
		}},
		{"undecided connections", 200_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 50_000)
			return segment(b, client, 1000, 80, 1+nth*240, 1, flagACK|flagSYN*b2(nth == 0), bytes.Repeat([]byte{'?'}, 240))
		}},
		{"endless headers", 200_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 20_000)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			data := endless
			if nth == 1 {
				data = append([]byte("GET / HTTP/1.1\r\n"), endless...)[:len(endless)]
			}
			return segment(b, client, 1000, 80, 2+(nth-1)*uint32(len(endless)), 1, flagACK, data)
		}},
		{"many headers, kept open", 400_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 100_000)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			half := len(many) / 2
			part := [][]byte{many[:half], many[half:], []byte("G")}[min(nth-1, 2)]
			return segment(b, client, 1000, 80, 2+[]uint32{0, uint32(half), uint32(len(many))}[min(nth-1, 2)], 1, flagACK, part)
		}},
		{"pipelining without answers", 12_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 3000)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			return segment(b, client, 1000, 80, 2+(nth-1)*uint32(len(pipelined)), 1, flagACK, pipelined)
		}},
		{"pipelining in huge segments", 500, func(i int, b []byte) []byte {
			client, nth := turn(i, 50)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			return segment(b, client, 1000, 80, 2+(nth-1)*uint32(len(huge)), 1, flagACK, huge)
		}},
		{"holes never filled", 300_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 5000)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			return segment(b, client, 1000, 80, 2+nth*2000, 1, flagACK, endless)
		}},
		{"tiny segments behind a hole", 1_000_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 2000)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			return segment(b, client, 1000, 80, 2+nth*2, 1, flagACK, []byte{'x'})
		}},
		{"fragments", 200_000, func(i int, b []byte) []byte {
			b = segment(b, uint32(i%1000), 1000, 80, 1, 1, flagACK, endless)
			binary.BigEndian.PutUint16(b[4:], uint16(i/8))
			binary.BigEndian.PutUint16(b[6:], 0x2000|uint16(1+i%100*160))
			return b
		}},
		{"decompression bombs", 2_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 100)
			if nth == 0 {
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			}
			return segment(b, client|server, 1000, 80, 2+(nth-1)*uint32(len(zipped)), 1, flagACK, zipped)
		}},
		{"idle after large answers", 9_000, func(i int, b []byte) []byte {
			client, nth := uint32(i/3), i%3
			switch nth {
			case 0:
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			case 1:
				return segment(b, client, 1000, 80, 2, 1, flagACK, []byte(get))
			}
			return segment(b, client|server, 1000, 80, 2, 2+uint32(len(get)), flagACK, large)
		}},
		{"interim responses", 50_000, func(i int, b []byte) []byte {
			client, nth := turn(i, 50)
			switch nth {
			case 0:
				return segment(b, client, 1000, 80, 1, 0, flagSYN, nil)
			case 1:
				return segment(b, client, 1000, 80, 2, 1, flagACK, []byte(get))
			}
			const interim = "HTTP/1.1 102 Processing\r\n\r\n"
			return segment(b, client|server, 1000, 80, 2+(nth-2)*uint32(50*len(interim)), 2+uint32(len(get)), flagACK, []byte(strings.Repeat(interim, 50)))
		}},
	} {
		budgeted(t, c.name, c.packets, c.make, func(*pipeline.Config) {})
	}
}

// budgeted runs hostile traffic, and holds the heap against the budget. It returns the totals of the last run, and the anomalies of
// all exchanges.
func budgeted(t *testing.T, name string, packets int, next func(i int, b []byte) []byte, set func(c *pipeline.Config)) (stats pipeline.Stats, odd proto.Anomalies) {
	t.Helper()
	for _, workers := range []int{1, 2} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		cfg := config()
		cfg.Workers, cfg.Memory, cfg.Exchange.MaxBody = workers, budget, 1<<20
		set(&cfg)
		a := &attack{packets: packets, make: next, measured: make(chan uint64, 1)}
		found := false
		begun := time.Now()
		var err error
		stats, err = pipeline.Run(context.Background(), a, cfg, &received{paused: a.measure, each: func(x *exchange.Exchange) error {
			odd |= x.Anomalies | x.Request.Anomalies | x.Response.Anomalies
			found = found || x.Grade == exchange.Complete && x.Flow.Port[0] == 1000 && string(x.Request.Bytes(x.Request.Target)) == "/a"
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			t.Errorf("%s: the honest exchange wasn't found", name)
		}
		peak := (a.peak - min(a.peak, before.HeapAlloc)) >> 20
		t.Logf("%-28s %d workers: heap at most %3d MiB, evicted %d, %v", name, workers, peak, stats.BudgetEvicted+stats.TCP.Evicted, time.Since(begun).Round(time.Millisecond))
		if peak > budget>>20 {
			t.Errorf("%s: %d MiB of heap, the budget is %d", name, peak, budget>>20)
		}
	}
	return stats, odd
}

func b2(b bool) byte {
	if b {
		return 1
	}
	return 0
}
