package pipeline_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
)

// The invariants of pairing, whatever a tap misses of a connection on which each request has a name that its
// response repeats:
//
//   - No exchange has a request and a response of different names.
//   - None is called complete that isn't.
//   - Where the client waits for each answer, an exchange whose packets were all captured is complete. (Where
//     it doesn't, this holds up to the first loss: from there on nothing tells which response is whose.)
//
// What can't be known, isn't asked: a client that pipelines, but wasn't seen to before the first loss,
// looks like one that waits; so the packets of its first requests are spared. And the response to a HEAD that
// was lost looks as if a body followed; so there is no HEAD.

// conversation is a keep-alive connection as the tap saw it.
type conversation struct {
	records []capture.Record
	// names are the exchanges in order; spared is the number of those whose packets must be captured.
	names  []string
	spared int
}

// converse makes a conversation. loss is the probability that the network loses a packet, before or after the
// tap.
func converse(t testing.TB, r *rand.Rand, pipelined bool, loss float64) conversation {
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Seed: r.Uint64(), Nano: true})
	path := synth.Path{Client: 200 * time.Microsecond, Server: 300 * time.Microsecond, Loss: loss}
	c := s.Dial(0, netip.MustParseAddrPort("10.0.0.7:51022"), netip.MustParseAddrPort("10.0.0.2:80"), path)
	var v conversation
	for n := 2 + r.IntN(20); len(v.names) < n; {
		burst := 1
		if pipelined {
			burst = 1 + r.IntN(5)
			if len(v.names) == 0 {
				burst, v.spared = 2, 2
			}
		}
		requests, responses := 0, 0
		var answers [][]byte
		for range burst {
			name := strconv.Itoa(len(v.names))
			v.names = append(v.names, name)
			request, response := message(r, name)
			requests += len(request)
			responses += len(response)
			answers = append(answers, response)
			c.Send(synth.Client, request)
		}
		c.Recv(synth.Client, responses)
		c.Recv(synth.Server, requests)
		for _, a := range answers {
			c.Wait(synth.Server, time.Duration(r.IntN(3))*time.Millisecond)
			c.Send(synth.Server, a)
		}
		c.Wait(synth.Client, time.Duration(r.IntN(100))*time.Millisecond)
	}
	if r.IntN(2) == 0 {
		c.Close(synth.Client)
		c.RecvEnd(synth.Server)
		c.Close(synth.Server)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	v.records = records(t, out.Bytes())
	return v
}

// message makes a request and its response of a random kind.
func message(r *rand.Rand, name string) (request, response []byte) {
	text := bytes.Repeat([]byte("lorem ipsum\n"), r.IntN(2)*r.IntN(400))
	head := "HTTP/1.1 200 OK\r\nX-Name: " + name + "\r\n"
	switch r.IntN(5) {
	case 0:
		up := strings.Repeat("u", 1+r.IntN(4000))
		request = fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", name, len(up), up)
		return request, fmt.Appendf(nil, "HTTP/1.1 204 No Content\r\nX-Name: %s\r\n\r\n", name)
	case 1:
		request = fmt.Appendf(nil, "PUT /%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", name, len(text)+1, append(text, '.'))
		return request, fmt.Appendf(nil, "%sContent-Length: 2\r\n\r\nok", head)
	case 2:
		response = fmt.Appendf(nil, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-End: 1\r\n\r\n", head, len(text)+1, append(text, '.'))
	case 3:
		response = fmt.Appendf(nil, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n%sContent-Length: %d\r\n\r\n%s", head, len(text), text)
	default:
		response = fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", head, len(text), text)
	}
	return fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: a\r\nX-Pad: %s\r\n\r\n", name, strings.Repeat("p", r.IntN(2)*r.IntN(2000))), response
}

// outcome is what became of one name.
type outcome struct {
	grade       exchange.Grade
	first, last uint64
}

// pairs runs a capture, and returns what became of each name. It fails for a wrong pair.
func pairs(t testing.TB, src []capture.Record) map[string]outcome {
	t.Helper()
	got := map[string]outcome{}
	run(t, config(), src, &received{each: func(x *exchange.Exchange) error {
		name := ""
		if x.HasRequest {
			name = strings.TrimPrefix(string(x.Request.Bytes(x.Request.Target)), "/")
		}
		if x.HasResponse {
			answered := string(x.Response.Field("x-name"))
			if x.HasRequest && x.Response.End == proto.Whole && answered != name {
				t.Errorf("request %q has the response to %q", name, answered)
			}
		}
		if x.Grade == exchange.Complete && !(x.HasRequest && x.HasResponse) {
			t.Errorf("%q is complete without both", name)
		}
		if x.HasRequest {
			got[name] = outcome{x.Grade, x.Request.First.Packet, x.Response.Last.Packet}
		}
		return nil
	}})
	return got
}

// drop removes packets, as a tap that can't keep up: single ones or several in a row, not before the record
// from.
func drop(r *rand.Rand, src []capture.Record, from int, p float64) (kept []capture.Record, gone map[uint64]bool) {
	gone = map[uint64]bool{}
	run := 0
	for i := range src {
		if run == 0 && i >= from && r.Float64() < p {
			run = 1 + r.IntN(2)*r.IntN(6)
		}
		if run > 0 {
			run--
			gone[src[i].Number] = true
			continue
		}
		kept = append(kept, src[i])
	}
	return kept, gone
}

// lossyCapture checks one conversation.
func lossyCapture(t testing.TB, seed uint64, pipelined bool, loss, missed float64) (whole, lost int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	v := converse(t, r, pipelined, loss)
	full := pairs(t, v.records)
	for _, name := range v.names {
		if full[name].grade != exchange.Complete {
			t.Errorf("%s is %v although nothing is missing", name, full[name].grade)
		}
	}
	from := 3 // the handshake
	if v.spared > 0 {
		from = int(full[v.names[v.spared-1]].last)
	}
	kept, gone := drop(r, v.records, from, missed)
	got := pairs(t, kept)
	first := uint64(len(v.records) + 1)
	for n := range gone {
		first = min(first, n)
	}
	last := uint64(0) // packet of all responses up to this one
	for _, name := range v.names {
		last = max(last, full[name].last)
		intact := last < first || !pipelined
		for n := full[name].first; n <= full[name].last && intact; n++ {
			intact = !gone[n]
		}
		if !intact {
			lost++
			continue
		}
		whole++
		if got[name].grade != exchange.Complete {
			t.Errorf("%s is %v although its packets %d to %d are there", name, got[name].grade, full[name].first, full[name].last)
		}
	}
	return whole, lost
}

func TestLossyCaptures(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 150
	}
	for _, c := range []struct {
		name         string
		pipelined    bool
		loss, missed float64
	}{
		{"waiting", false, 0, 0.05},
		{"waiting, badly captured", false, 0, 0.3},
		{"waiting, bad network", false, 0.03, 0.05},
		{"pipelined", true, 0, 0.05},
		{"pipelined, badly captured", true, 0, 0.3},
		{"pipelined, bad network", true, 0.03, 0.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			whole, lost := 0, 0
			for seed := range seeds {
				w, l := lossyCapture(t, seed, c.pipelined, c.loss, c.missed)
				whole, lost = whole+w, lost+l
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			t.Logf("%d exchanges whole, %d not", whole, lost)
			if whole == 0 || lost == 0 {
				t.Error("the captures aren't what the test is for")
			}
		})
	}
}

// FuzzLossyCapture drops packets as the fuzzer says.
func FuzzLossyCapture(f *testing.F) {
	f.Add(uint64(1), false, []byte{0, 0, 1, 0, 0, 0, 1})
	f.Add(uint64(2), true, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, seed uint64, pipelined bool, plan []byte) {
		v := converse(t, rand.New(rand.NewPCG(seed, 2)), pipelined, 0)
		from := 3
		if v.spared > 0 {
			from = int(pairs(t, v.records)[v.names[v.spared-1]].last)
		}
		var kept []capture.Record
		for i, r := range v.records {
			if i < from || i-from >= len(plan) || plan[i-from]&1 == 0 {
				kept = append(kept, r)
			}
		}
		pairs(t, kept)
	})
}
