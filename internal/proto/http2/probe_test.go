package http2

import (
	"math/rand/v2"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

func TestProbe(t *testing.T) {
	server := "\x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x0a\x0a\x00\x00\x00\x01"
	for _, c := range []struct {
		name, b string
		match   proto.Match
		role    proto.Role
	}{
		{"preface", preface, proto.Yes, proto.Client},
		{"preface and more", preface + "\x00\x00\x00", proto.Yes, proto.Client},
		{"HTTP/1", "PRI / HTTP/1.1\r\n", proto.No, proto.Server},
		{"settings", server, proto.Yes, proto.Server},
		{"no settings", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", proto.Yes, proto.Server},
		{"an acknowledgement", "\x00\x00\x00\x04\x01\x00\x00\x00\x00", proto.No, proto.Server},
		{"zeros", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", proto.No, proto.Server},
		{"another length", "\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00", proto.No, proto.Server},
		{"an unlikely setting", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x77\x00\x00\x00\x00", proto.No, proto.Server},
	} {
		if m, r := Probe([]byte(c.b)); m != c.match || m == proto.Yes && r != c.role {
			t.Errorf("%s: %d by %d, want %d by %d", c.name, m, r, c.match, c.role)
		}
	}
	for text, need := range map[string]int{preface: len(preface), server: len(server) - 4} {
		for i := range need {
			if m, _ := Probe([]byte(text[:i])); m != proto.NeedMore {
				t.Errorf("the first %d bytes of %q: %d", i, text, m)
			}
		}
	}
}

func TestResume(t *testing.T) {
	frame := func(k kind, flags byte, stream byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), byte(k), flags, 0, 0, 0, stream}) + payload
	}
	request := frame(headers, endStream|endHeaders, 9, "\x82\x86\xbe\xbf")
	response := frame(headers, endHeaders, 9, "\x88\xbe\xbf")
	for _, c := range []struct {
		name, b string
		match   proto.Match
		role    proto.Role
	}{
		{"a request", request, proto.Yes, proto.Client},
		{"a response and its body", response + frame(data, endStream, 9, "hello"), proto.Yes, proto.Server},
		{"a response and the beginning of its body", response + "\x00\x40\x00\x00\x00\x00\x00\x00\x09hello", proto.Yes, proto.Server},
		{"a preface", preface + frame(settings, 0, 0, ""), proto.Yes, proto.Client},
		{"settings acknowledged", frame(settings, ack, 0, ""), proto.No, proto.AnyRole},
		{"a window, then a request", frame(windowUpdate, 0, 0, "\x00\x00\x10\x00") + request, proto.Yes, proto.Client},
		{"a window", frame(windowUpdate, 0, 0, "\x00\x00\x10\x00"), proto.No, proto.AnyRole},
		{"a body", frame(data, 0, 9, "hello"), proto.No, proto.AnyRole},
		{"bodies", frame(data, 0, 9, "hello") + frame(data, 0, 9, "hello"), proto.No, proto.AnyRole},
		{"the beginning of a request", request[:len(request)-1], proto.No, proto.AnyRole},
		{"a request and junk", request + "GET / HTTP/1.1\r\n", proto.No, proto.AnyRole},
		{"zeros", string(make([]byte, 1000)), proto.No, proto.AnyRole},
		{"HTTP/1", "HTTP/1.1 200 OK\r\n\r\n", proto.No, proto.AnyRole},
	} {
		if m, r := Resume([]byte(c.b)); m != c.match || r != c.role {
			t.Errorf("%s: %d by %d, want %d by %d", c.name, m, r, c.match, c.role)
		}
	}
	// Where a connection is known to be HTTP/2, it needn't be known who sends what.
	if m, _ := convince([]byte(frame(settings, ack, 0, ""))); m != proto.Yes {
		t.Error("an acknowledgement doesn't convince")
	}
	if m, _ := convince([]byte(frame(data, 0, 9, "hello") + frame(data, 0, 9, "hello"))); m != proto.No {
		t.Error("bodies convince")
	}
	// What isn't HTTP/2 isn't taken for it: bytes at random, and small numbers, which look most like it.
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 200)
	for range 200_000 {
		small := r.IntN(2) == 0
		for i := range b {
			b[i] = byte(r.Uint32())
			if small && i%4 != 3 {
				b[i] = 0
			} else if small {
				b[i] &= 0x1f
			}
		}
		if m, _ := Resume(b); m == proto.Yes {
			t.Fatalf("% x is taken for HTTP/2", b)
		}
	}
}
