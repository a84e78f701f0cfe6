// Package outputtest makes exchanges for the tests of outputs, and compares what they write with
// golden files.
package outputtest

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// start is the time of the first byte of every exchange made here, in nanoseconds since 1970.
var start = time.Date(2024, 5, 6, 10, 42, 7, 118_000_000, time.UTC).UnixNano()

// Exchange makes a complete exchange from the texts of a request and a response: heads and bodies as
// on the wire, with lines ended by \n or \r\n. Either may be empty: it is then missing. It is the
// 17th exchange, and the first of its connection from 10.0.0.7:51022 to 10.0.0.2:8000, with 0.3 ms
// of connect, 0.1 ms of send, 17.2 ms of wait and 0.1 ms of receive.
func Exchange(request, response string) *exchange.Exchange {
	x := &exchange.Exchange{
		Flow:     Flow("10.0.0.7:51022", "10.0.0.2:8000"),
		Tap:      &exchange.Tap{Label: "shop.pcap"},
		Protocol: "http",
		Number:   17,
		Start:    clock.Mark{Time: start, Packet: 81},
	}
	x.Timing = exchange.Timing{Idle: -1, Connect: 300_000, TLS: -1, Send: 100_000, Wait: 17_200_000, Receive: 100_000, Handshake: exchange.UnknownTiming.Handshake}
	x.Timing.Duration = x.Timing.Send + x.Timing.Wait + x.Timing.Receive
	x.Timing.Total = x.Timing.Duration + x.Timing.Connect
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	if x.HasRequest = request != ""; x.HasRequest {
		parse(&x.Request, &x.RequestBody, request)
		x.Request.First = x.Start
		x.Request.Last = clock.Mark{Time: start + x.Timing.Send, Packet: 82}
	}
	if x.HasResponse = response != ""; x.HasResponse {
		x.Response.Kind, x.Response.Dir = proto.Response, proto.Responder
		parse(&x.Response, &x.ResponseBody, response)
		x.Response.First = clock.Mark{Time: start + x.Timing.Send + x.Timing.Wait, Packet: 96}
		x.Response.Last = clock.Mark{Time: start + x.Timing.Duration, Packet: 97}
	}
	x.Completed = clock.Mark{Time: start + x.Timing.Duration, Packet: 97}
	x.FirstPacket, x.LastPacket = 81, 97
	x.Conn.SYN = start - x.Timing.Connect
	x.Conn.SYNACK = start - 100_000
	x.Conn.Ready = start
	return x
}

// Flow makes a connection between two ends such as "10.0.0.7:51022" or "[2001:db8::7]:51022".
func Flow(originator, responder string) *proto.Flow {
	f := &proto.Flow{Proto: packet.ProtoTCP, First: clock.Mark{Time: start - 300_000, Packet: 78}}
	for d, s := range []string{originator, responder} {
		end := netip.MustParseAddrPort(s)
		f.Addr[d], f.Port[d] = end.Addr().As16(), end.Port()
	}
	return f
}

// parse fills m and b from a message's text. It knows what well-formed heads need and no more: the
// tests set the rest by hand.
func parse(m *proto.Message, b *exchange.Body, text string) {
	head, body, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	m.Length = -1
	var raw []byte
	span := func(s string) proto.Span {
		raw = append(raw, s...)
		return proto.Span{Off: uint32(len(raw) - len(s)), Len: uint32(len(s))}
	}
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	a, rest, _ := strings.Cut(lines[0], " ")
	first := span(a)
	span(" ")
	if m.Kind == proto.Request {
		target, version, _ := strings.Cut(rest, " ")
		m.Method, m.Target = first, span(target)
		span(" ")
		m.Proto = span(version)
	} else {
		code, reason, _ := strings.Cut(rest, " ")
		m.Status, _ = strconv.Atoi(code)
		span(code + " ")
		m.Proto, m.Reason = first, span(reason)
	}
	m.Version = 0x0101
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		span("\r\n")
		f := proto.Field{Name: span(name)}
		span(": ")
		f.Value = span(strings.TrimLeft(value, " "))
		m.Fields = append(m.Fields, f)
	}
	span("\r\n\r\n")
	m.Raw = raw
	m.HeadSize = int64(len(raw))
	m.BodyBytes = int64(len(body))
	m.Size = m.HeadSize + m.BodyBytes
	m.End = proto.Whole
	if body != "" {
		m.Framing, m.Length = proto.ByLength, m.BodyBytes
		b.Bytes, b.DecodedBytes = []byte(body), m.BodyBytes
	}
}

// Golden compares got with the file testdata/name, and writes the file first when update is set.
func Golden(t *testing.T, update bool, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run the test with -update, and review the change):\ngot\n%s\nwant\n%s", path, got, want)
	}
}
