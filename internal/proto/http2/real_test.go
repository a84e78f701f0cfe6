package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// tap carries connections from a listener to a server, and gives what passes to a parser.
type tap struct {
	sync.Mutex
	p    proto.Parser
	w    *witness
	held int
	at   clock.Mark
	sent [2]int64
	done sync.WaitGroup
}

// carry passes on what one end sends, after the parser has seen it.
func (x *tap) carry(d proto.Direction, from, to net.Conn) {
	defer x.done.Done()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			x.Lock()
			x.at.Time += 1e6
			x.at.Offset = x.sent[d]
			x.sent[d] += int64(n)
			x.p.Data(d, buf[:n], x.at)
			x.Unlock()
			to.Write(buf[:n])
		}
		if err != nil {
			x.Lock()
			x.p.Close(d, x.at, proto.Finished)
			x.Unlock()
			to.Close()
			return
		}
	}
}

// Go's own client and server, 40 requests at a time: each is seen as it was made, and as it was answered.
func TestRealPeers(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Got", fmt.Sprint(len(in), r.Trailer.Get("X-Sum")))
		switch {
		case strings.HasPrefix(r.URL.Path, "/large"):
			w.Write(bytes.Repeat([]byte("0123456789"), 100_000))
		case strings.HasPrefix(r.URL.Path, "/trailers"):
			w.Header().Set("Trailer", "X-End")
			io.WriteString(w, "body")
			w.Header().Set("X-End", r.URL.Path)
		case strings.HasPrefix(r.URL.Path, "/hints"):
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
		case strings.HasPrefix(r.URL.Path, "/hang"):
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols}
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(behind)
	defer server.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &tap{w: newWitness()}
	x.p = newParser(x.w, &x.held)
	x.done.Add(2)
	go func() {
		client, err := front.Accept()
		if err != nil {
			return
		}
		front.Close() // all go over one connection
		conn, err := net.Dial("tcp", behind.Addr().String())
		if err != nil {
			client.Close()
			return
		}
		go x.carry(0, client, conn)
		x.carry(1, conn, client)
	}()
	transport := &http.Transport{Protocols: protocols}
	client := &http.Client{Transport: transport}
	base := "http://" + front.Addr().String()
	type answer struct {
		status int
		fields []string
		size   int64
	}
	var got sync.Map
	ask := func(path string, body io.Reader) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "POST", base+path, body)
		r.Trailer = http.Header{"X-Sum": {"42"}}
		resp, err := client.Do(r)
		if err != nil {
			t.Error(path, err)
			return
		}
		if strings.HasPrefix(path, "/hang") {
			cancel()
		}
		n, _ := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		a := answer{status: resp.StatusCode, size: n, fields: []string{fmt.Sprintf(":status: %d", resp.StatusCode)}}
		for name, values := range resp.Header {
			a.fields = append(a.fields, strings.ToLower(name)+": "+values[0])
		}
		for name, values := range resp.Trailer {
			a.fields = append(a.fields, strings.ToLower(name)+": "+values[0])
		}
		got.Store(path, a)
	}
	ask("/first", strings.NewReader("x"))
	var all sync.WaitGroup
	for i := range 40 {
		path := fmt.Sprintf("/%s/%d", []string{"large", "trailers", "hints", "hang", "missing"}[i%5], i)
		all.Add(1)
		go func() {
			defer all.Done()
			ask(path, strings.NewReader(strings.Repeat("x", 1000*i+1)))
		}()
	}
	all.Wait()
	transport.CloseIdleConnections()
	x.done.Wait()

	x.Lock()
	defer x.Unlock()
	seen, cut := 0, 0
	for l, fields := range x.w.fields {
		if l.d != 0 {
			continue
		}
		path := ""
		for _, f := range fields {
			if strings.HasPrefix(f, ":path: ") {
				path = f[len(":path: "):]
			}
		}
		v, ok := got.Load(path)
		if !ok {
			t.Errorf("nobody asked for %s", path)
			continue
		}
		seen++
		a, m := v.(answer), x.w.ends[lane{1, l.stream}]
		if strings.HasPrefix(path, "/hang") {
			if m.End == proto.Cut && m.Close == proto.StreamReset {
				cut++
			}
			continue
		}
		request := x.w.ends[l]
		if !slices.Contains(x.w.fields[lane{1, l.stream}], fmt.Sprintf("x-got: %d42", request.BodyBytes)) {
			t.Errorf("%s: a request of %d bytes; the server says %q", path, request.BodyBytes, x.w.fields[lane{1, l.stream}])
		}
		if m.Status != a.status || m.BodyBytes != a.size || m.End != proto.Whole || m.Anomalies != 0 {
			t.Errorf("%s: status %d, %d bytes, %+v; the client got %d, %d", path, m.Status, m.BodyBytes, m, a.status, a.size)
		}
		for _, f := range a.fields {
			if !slices.Contains(x.w.fields[lane{1, l.stream}], f) {
				t.Errorf("%s: %q isn't in %q", path, f, x.w.fields[lane{1, l.stream}])
			}
		}
	}
	if seen != 41 || cut != 8 || x.w.aborts < 8 || x.w.lost != 0 || x.held != 0 {
		t.Errorf("%d exchanges, %d cut, %d given up, lost %d times, %d bytes held", seen, cut, x.w.aborts, x.w.lost, x.held)
	}
}
