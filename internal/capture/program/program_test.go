package program

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/sockcalls"
)

// TestEvents: what a program sends and receives comes as packets, with the times of its calls, and what couldn't be read as a hole.
func TestEvents(t *testing.T) {
	s := New("run")
	socket := &sockcalls.Socket{Kind: sockcalls.TCP, Local: netip.MustParseAddrPort("192.0.2.1:40000"), Peer: netip.MustParseAddrPort("192.0.2.2:80")}
	began := time.Unix(1_700_000_000, 0)
	for i, e := range []sockcalls.Event{
		{What: sockcalls.Connecting}, {What: sockcalls.Connected},
		{What: sockcalls.Sent, Data: []byte("question"), Length: 8},
		{What: sockcalls.Received, Data: []byte("answer"), Length: 106},
		{What: sockcalls.Closed},
	} {
		e.Socket, e.Began, e.Ended = socket, began.Add(time.Duration(i)*time.Second), began.Add(time.Duration(i)*time.Second+time.Millisecond)
		s.Event(&e)
	}
	s.End()
	var question, answer int64
	var r capture.Record
	n := 0
	for {
		err := s.Next(&r)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		switch {
		case bytes.HasSuffix(r.Data, []byte("question")):
			question = r.Time
		case bytes.HasSuffix(r.Data, []byte("answer")):
			answer = r.Time
		}
	}
	// SYN, SYN+ACK, ACK; two of data; an acknowledgement of the hole; FIN, ACK.
	if n != 8 || s.Taps()[0].Received != 8 || s.Taps()[0].Recorded != capture.RecordedByProgram {
		t.Errorf("got %d packets, tap %+v", n, s.Taps()[0])
	}
	if question != began.Add(2*time.Second).UnixNano() || answer != began.Add(3*time.Second+time.Millisecond).UnixNano() {
		t.Errorf("the question left at %d, the answer came at %d", question, answer)
	}
}
