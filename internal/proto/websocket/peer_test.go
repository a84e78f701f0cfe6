package websocket

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/culprit-http/culprit/internal/proto"
)

// patience is how long peers may take, in case they hang.
const patience = time.Minute

// tape is what a relay has seen of a connection, in order.
type tape struct {
	mu     sync.Mutex
	pieces []piece
}

type piece struct {
	dir proto.Direction
	b   []byte
}

// relay listens for one connection, and passes on and records what comes over it. wait waits for its end.
func relay(t *testing.T, to string) (addr string, recorded *tape, wait func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded = new(tape)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		defer l.Close()
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		var both sync.WaitGroup
		both.Go(func() { recorded.pass(proto.Originator, server, client) })
		both.Go(func() { recorded.pass(proto.Responder, client, server) })
		both.Wait()
	}()
	return l.Addr().String(), recorded, func() { l.Close(); done.Wait() }
}

// pass passes on one direction.
func (r *tape) pass(d proto.Direction, to, from net.Conn) {
	defer to.(*net.TCPConn).CloseWrite()
	b := make([]byte, 2000)
	for {
		n, err := from.Read(b)
		if n > 0 {
			r.mu.Lock()
			r.pieces = append(r.pieces, piece{d, bytes.Clone(b[:n])})
			r.mu.Unlock()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *tape) play(t *testing.T) *transcript {
	k := newTranscript(t)
	for _, p := range r.pieces {
		k.data(p.dir, p.b)
	}
	k.close()
	return k
}

// echo is a server that sends back each message.
func echo(t *testing.T, mode websocket.CompressionMode) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, InsecureSkipVerify: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, b); err != nil {
				t.Error(err)
				return
			}
		}
	}))
}

// TestPeers has the messages that a client and a server of a library exchange, with pings in their midst.
func TestPeers(t *testing.T) {
	for _, v := range []struct {
		name string
		mode websocket.CompressionMode
	}{
		{"no compression", websocket.CompressionDisabled},
		{"context takeover", websocket.CompressionContextTakeover},
		{"no context takeover", websocket.CompressionNoContextTakeover},
	} {
		t.Run(v.name, func(t *testing.T) {
			server := echo(t, v.mode)
			defer server.Close()
			addr, recorded, wait := relay(t, server.Listener.Addr().String())
			texts := converse(t, "ws://"+addr, v.mode)
			wait()
			k := recorded.play(t)
			compressed := v.mode != websocket.CompressionDisabled
			judge(t, k, texts, [2]bool{compressed, compressed})
			for d := range k.of {
				kind := []string{"ping", "pong"}[d]
				var n, cut int
				for _, s := range k.of[d] {
					if s.kind == kind && len(s.body) > 0 {
						n++
					}
					if s.m.Chunks > 2 {
						cut++
					}
				}
				if n != len(texts) {
					t.Errorf("%d %ss in %d messages", n, kind, len(texts))
				}
				if d == int(proto.Originator) && cut == 0 {
					t.Error("no message came in pieces")
				}
				closes := k.of[d][len(k.of[d])-1]
				if closes.kind != "close" || closes.status != int(websocket.StatusNormalClosure) || closes.reason != "that's all" {
					t.Errorf("the last message is %s %d %q", closes.kind, closes.status, closes.reason)
				}
			}
		})
	}
}

// converse has a client send messages, each in three pieces with a ping between, and wait for each to come back.
func converse(t *testing.T, url string, mode websocket.CompressionMode) (texts [][]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{CompressionMode: mode})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	back := make(chan []byte, 1)
	go func() {
		defer close(back)
		for {
			_, b, err := c.Read(ctx)
			if err != nil {
				return
			}
			back <- b
		}
	}()
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 60 {
		text := words(r, []int{0, 3, 300, 1000, 40_000, 130_000}[i%6]+r.IntN(200))
		texts = append(texts, text)
		w, err := c.Writer(ctx, []websocket.MessageType{websocket.MessageText, websocket.MessageBinary}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		third := len(text) / 3
		for n, part := range [][]byte{text[:third], text[third : 2*third], text[2*third:]} {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				if err := c.Ping(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if b, ok := <-back; !ok || !bytes.Equal(b, text) {
			t.Fatalf("message %d of %d bytes came back as %d", i, len(text), len(b))
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "that's all"); err != nil {
		t.Error(err)
	}
	return texts
}

// judge compares the data messages of both directions with what was sent.
func judge(t *testing.T, k *transcript, texts [][]byte, compressed [2]bool) {
	t.Helper()
	if k.lost > 0 {
		t.Errorf("lost %d times", k.lost)
	}
	for d := range k.of {
		var got [][]byte
		squeezed := int64(0)
		for i, s := range k.of[d] {
			if s.m.Anomalies != 0 || s.m.End != proto.Whole {
				t.Errorf("message %d of the %s, %s, ended %v with anomalies %b", i, proto.Direction(d), s.kind, s.m.End, s.m.Anomalies)
			}
			if s.m.Stream == 0 {
				got = append(got, s.body)
				squeezed += s.m.Parts.Compressed
				if s.m.BodyBytes != int64(len(s.body)) || s.m.Parts.Largest != s.m.Parts.Bytes || s.m.Parts.Compressed == 0 && s.m.Parts.Bytes != s.m.BodyBytes {
					t.Errorf("message %d of the %s: %d bytes came, %+v", i, proto.Direction(d), len(s.body), s.m)
				}
			}
		}
		if !slices.EqualFunc(got, texts, bytes.Equal) {
			t.Errorf("%d messages of the %s aren't the %d that were sent", len(got), proto.Direction(d), len(texts))
		}
		if compressed[d] != (squeezed > 0) {
			t.Errorf("%d of %d messages of the %s are compressed", squeezed, len(got), proto.Direction(d))
		}
	}
}

// TestNode has the WebSocket of another implementation as the client.
func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node isn't installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := exec.CommandContext(ctx, node, "--experimental-websocket", "-e", "if (!globalThis.WebSocket) process.exit(1)").Run(); err != nil {
		t.Skip("this node has no WebSocket")
	}
	server := echo(t, websocket.CompressionContextTakeover)
	defer server.Close()
	addr, recorded, wait := relay(t, server.Listener.Addr().String())
	const script = `
		const texts = [], ws = new WebSocket(process.argv[1])
		for (let i = 0; i < 50; i++) texts.push(("message " + i + " äöü ").repeat(i * 20))
		let n = 0
		ws.onopen = () => ws.send(texts[0])
		ws.onmessage = e => {
			if (e.data !== texts[n]) { console.error("message", n, "came back wrong"); process.exit(1) }
			if (++n < texts.length) ws.send(texts[n])
			else ws.close(4000, "bye")
		}
		ws.onclose = () => process.exit(n === texts.length ? 0 : 1)
	`
	out, err := exec.CommandContext(ctx, node, "--experimental-websocket", "-e", script, "ws://"+addr).CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	wait()
	var texts [][]byte
	for i := range 50 {
		texts = append(texts, []byte(strings.Repeat(fmt.Sprintf("message %d äöü ", i), i*20)))
	}
	k := recorded.play(t)
	// It reads compressed messages, and sends none.
	judge(t, k, texts, [2]bool{false, strings.Contains(string(k.prior.Field("sec-websocket-extensions")), "permessage-deflate")})
	if last := k.of[0][len(k.of[0])-1]; last.kind != "close" || last.status != 4000 || last.reason != "bye" {
		t.Errorf("the last message is %s %d %q", last.kind, last.status, last.reason)
	}
}
