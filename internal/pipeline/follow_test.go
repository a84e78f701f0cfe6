package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// followed is a pipeline.Follower that writes down what it is given.
type followed struct {
	received
	out bytes.Buffer
	// halves are the bytes of each half-stream, holes as [n].
	halves map[string]*bytes.Buffer
	holes  int
	err    error
}

func (f *followed) Chunks(list []follow.Chunk) error {
	for _, c := range list {
		name := c.Flow.End(c.Dir) + " " + c.Flow.End(c.Dir.Other())
		b := f.halves[name]
		if b == nil {
			if f.halves == nil {
				f.halves = map[string]*bytes.Buffer{}
			}
			b = &bytes.Buffer{}
			f.halves[name] = b
		}
		switch {
		case c.Close != proto.Open:
			fmt.Fprintf(&f.out, "%s %v %v over %v\n", name, c.At, c.Close, c.Over)
		case c.Undecrypted != "":
			fmt.Fprintf(b, "[%d %s]", c.Gap, c.Undecrypted)
		case c.Gap != 0:
			f.holes++
			fmt.Fprintf(b, "[%d]", c.Gap)
			fmt.Fprintf(&f.out, "%s %v missing %d\n", name, c.At, c.Gap)
		default:
			b.Write(c.Data)
			fmt.Fprintf(&f.out, "%s %v %v %q\n", name, c.At, c.Inner, c.Data)
		}
	}
	return f.err
}

func (f *followed) Exchanges(done, waiting []*exchange.Exchange) error {
	for _, x := range done {
		fmt.Fprintf(&f.out, "exchange %v\n", x.Start)
	}
	return f.received.Exchanges(done, waiting)
}

func pursue(t testing.TB, c pipeline.Config, src []capture.Record) *followed {
	t.Helper()
	f := &followed{}
	if _, err := pipeline.Run(context.Background(), &memory{records: src}, c, f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *followed) half(from, to string) string {
	if b := f.halves[from+" "+to]; b != nil {
		return b.String()
	}
	return ""
}

const here, there = "10.0.0.7:51022", "10.0.0.2:80"

// TestFollowSameWithAnyNumberOfWorkers: chunks and exchanges come in one order.
func TestFollowSameWithAnyNumberOfWorkers(t *testing.T) {
	captures := map[string][]capture.Record{"conversations": conversations(t, 1, 60)}
	for _, name := range []string{"flows", "lossy", "demo"} {
		captures[name] = scenario(t, name, 1<<20)
	}
	coarse := append([]capture.Record(nil), captures["flows"]...)
	for i := range coarse {
		coarse[i].Time -= coarse[i].Time % 20e6
	}
	captures["coarse clock"] = coarse
	for name, src := range captures {
		for _, mode := range []follow.Mode{follow.Plain, follow.Sent} {
			c := config()
			c.Follow = mode
			want := pursue(t, c, src).out.Bytes()
			if n := bytes.Count(want, []byte("\n")); n < 50 {
				t.Fatalf("%s: only %d lines", name, n)
			}
			for _, c.Workers = range []int{2, 4, 7} {
				if got := pursue(t, c, src).out.Bytes(); !bytes.Equal(got, want) {
					t.Errorf("%s: %d workers give other chunks than one", name, c.Workers)
				}
			}
		}
	}
}

// TestFollowWhole: both half-streams are whole, whatever they are, also after their parser has given up, and exchanges
// are as they are when nobody follows.
func TestFollowWhole(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 4000)
	for _, c := range []struct{ name, ask, answer string }{
		{"HTTP", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 64000\r\n\r\n" + body},
		{"a protocol that is only recognised", "SSH-2.0-a\r\n" + body, "SSH-2.0-b\r\n" + body},
		{"a protocol that nobody knows", "\x01\x02\x03" + body, "\x04" + body},
		{"too little to know", "x", ""},
		{"a tunnel", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhello, here is somebody" + body},
	} {
		src := dialogue(t, func(d *synth.Conn) {
			d.Exchange([]byte(c.ask), time.Millisecond, []byte(c.answer))
			d.Close(synth.Client)
			d.RecvEnd(synth.Server)
			d.Close(synth.Server)
		})
		for _, mode := range []follow.Mode{follow.Plain, follow.Sent} {
			config := config()
			config.Follow = mode
			f := pursue(t, config, src)
			if got := f.half(here, there); got != c.ask {
				t.Errorf("%s: asked %.80q, want %.80q", c.name, got, c.ask)
			}
			if got := f.half(there, here); got != c.answer {
				t.Errorf("%s: answered %.80q, want %.80q", c.name, got, c.answer)
			}
			if n := strings.Count(f.out.String(), "over true"); n != 1 {
				t.Errorf("%s: it is over %d times", c.name, n)
			}
			config.Follow = follow.None
			alone := &received{}
			run(t, config, src, alone)
			if alone.grades != f.grades {
				t.Errorf("%s: exchanges are %v, and %v when nobody follows", c.name, f.grades, alone.grades)
			}
		}
	}
}

// TestFollowHole: what is missing is told where it is missing.
func TestFollowHole(t *testing.T) {
	src := dialogue(t, func(d *synth.Conn) {
		d.Exchange([]byte(get), time.Millisecond, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), bytes.Repeat([]byte("x"), 5000))
		d.Close(synth.Client)
		d.RecvEnd(synth.Server)
		d.Close(synth.Server)
	})
	whole := pursue(t, following(), src).half(there, here)
	for i := range src {
		if len(src[i].Data) > 1400 { // the first full segment
			src = append(src[:i:i], src[i+1:]...)
			break
		}
	}
	got := pursue(t, following(), src).half(there, here)
	head, rest, found := strings.Cut(got, "[")
	length, tail, _ := strings.Cut(rest, "]")
	var n int
	fmt.Sscan(length, &n)
	if !found || n == 0 || head+whole[len(head):len(head)+n]+tail != whole {
		t.Errorf("with a hole: %.100q and %d bytes, of %d", got, len(got), len(whole))
	}
}

func following() pipeline.Config {
	c := config()
	c.Follow = follow.Plain
	return c
}

// TestFollowError: an error ends the run, and nothing more is delivered.
func TestFollowError(t *testing.T) {
	src := conversations(t, 2, 40)
	for _, workers := range []int{1, 3} {
		c := following()
		c.Workers = workers
		f := &followed{err: errors.New("the disk is full")}
		if _, err := pipeline.Run(context.Background(), &memory{records: src}, c, f); !errors.Is(err, f.err) {
			t.Errorf("%d workers: the run ends with %v", workers, err)
		}
		if n := bytes.Count(f.out.Bytes(), []byte("exchange")); n > 0 {
			t.Errorf("%d workers: %d exchanges came after the error", workers, n)
		}
	}
}

// TestFollowAll: several sources share a follower.
func TestFollowAll(t *testing.T) {
	a, b := conversations(t, 1, 10), conversations(t, 2, 10)
	f := &followed{}
	sources := []capture.Source{&memory{records: a}, &memory{records: b}}
	if _, err := pipeline.RunAll(context.Background(), sources, following(), f, func() {}); err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, half := range f.halves {
		got += half.Len()
	}
	want := 0
	for _, src := range [][]capture.Record{a, b} {
		for _, half := range pursue(t, following(), src).halves {
			want += half.Len()
		}
	}
	if got != want || got == 0 {
		t.Errorf("%d bytes of both, %d of each", got, want)
	}
}

// TestFollowTLS: with keys, what is inside is shown, without them, what is missing and why; as sent, records.
func TestFollowTLS(t *testing.T) {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("the captures of others aren't here: set CULPRIT_SHARED")
	}
	files := filepath.Join(shared, "corpus", "files")
	for _, c := range []struct{ name, asked, answered string }{
		{"tls12-aes256gcm", "GET / HTTP", "HTTP/1.0 200 OK"},
		{"tls12-chacha20poly1305", "GET / HTTP", "HTTP/1.0 200"},
	} {
		log, err := os.ReadFile(filepath.Join(files, "keys", "wireshark."+c.name+".keys"))
		if err != nil {
			t.Fatal(err)
		}
		open := func(config pipeline.Config) *followed {
			t.Helper()
			src, err := capture.Open([]capture.Input{{Path: filepath.Join(files, "wireshark", c.name+".pcap")}}, capture.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			f := &followed{}
			if _, err := pipeline.Run(context.Background(), src, config, f); err != nil {
				t.Fatal(err)
			}
			return f
		}
		config := following()
		config.TLS = tls.DefaultLimits()
		without := open(config)
		sent := config
		sent.Follow = follow.Sent
		records := open(sent)
		config.Keys = keylog.NewStore(keylog.Options{})
		config.Keys.Add(log)
		plain := open(config)
		sent.Keys = config.Keys
		again := open(sent)
		asked, answered := 0, 0
		for name, half := range plain.halves {
			switch {
			case strings.HasPrefix(half.String(), c.asked):
				asked++
			case strings.HasPrefix(half.String(), c.answered):
				answered++
			default:
				t.Errorf("%s: %s has %.60q", c.name, name, half)
			}
			if again.halves[name].String() != records.halves[name].String() {
				t.Errorf("%s: what was sent by %s differs when there are keys", c.name, name)
			}
			if got := without.halves[name].String(); !strings.HasSuffix(got, " no keys were given]") {
				t.Errorf("%s: without keys, %s has %.60q", c.name, name, got)
			}
			if b := records.halves[name].Bytes(); len(b) < 5 || b[0] != 0x16 || b[1] != 3 {
				t.Errorf("%s: as sent, %s has %.60q", c.name, name, b)
			}
		}
		if asked == 0 || asked != answered || plain.holes > records.holes {
			t.Errorf("%s: %d half-streams ask, %d answer, and there are %d holes", c.name, asked, answered, plain.holes)
		}
	}
}
