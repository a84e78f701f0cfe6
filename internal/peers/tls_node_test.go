//go:build linux

package peers

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/lab/tlspeers"
)

// scripts is where the scripts for Node are, with the packages from npm that they use.
func scripts(t *testing.T, packages ...string) string {
	t.Helper()
	program(t, "node")
	dir, err := filepath.Abs(filepath.Join("testdata", "node"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", p)); err != nil {
			t.Skipf("the package %s isn't there: make deps gets it from npm", p)
		}
	}
	return dir
}

// node records what a script's client says with its server, and returns that with the keys and what the client tells, a
// line each. The client's arguments follow the address; the server's the port.
func node(t *testing.T, dir, script string, segment int, server, client []string) (pcap, keys []byte, told [][]byte) {
	t.Helper()
	at := address(t)
	_, port, _ := strings.Cut(at, ":")
	p, err := tlspeers.Start(dir, nil, "node", append([]string{script, "server", port}, server...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	log := filepath.Join(t.TempDir(), "keys")
	pcap = record(t, at, segment, func(address string) {
		out, err := tlspeers.Output(dir, nil, "node", append([]string{"--tls-keylog=" + log, script, "client", address}, client...)...)
		if err != nil {
			t.Fatalf("%v\nthe server: %s", err, p.Stderr())
		}
		told = bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	})
	keys, _ = os.ReadFile(log) // none without TLS
	return pcap, keys, told
}

func decode[T any](t *testing.T, told [][]byte) (all []T) {
	t.Helper()
	for _, line := range told {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// TestTLSNode has Node ask Node.
func TestTLSNode(t *testing.T) {
	dir := scripts(t)
	c := certificates(t)
	session := func(alpn string) facts { return facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: alpn} }
	for _, v := range []struct {
		protocol string
		server   []string
		segment  int
		facts
	}{
		{"h1", []string{c.Cert("ecdsa"), c.Key("ecdsa")}, tlspeers.DefaultSegment, session("")},
		{"h2", []string{c.Cert("ecdsa"), c.Key("ecdsa")}, 600, session("h2")},
		{"h2c", nil, tlspeers.DefaultSegment, facts{}},
	} {
		t.Run(v.protocol, func(t *testing.T) {
			t.Parallel()
			pcap, keys, told := node(t, dir, "http.mjs", v.segment, v.server, []string{v.protocol, c.Cert("ca")})
			said := decode[tlspeers.Said](t, told)
			have := check(t, pcap, keys, []conversation{{v.facts, said}})
			for _, connection := range have {
				for _, x := range connection {
					if strings.HasSuffix(x.Target, "size=0") {
						continue // without a body there are no chunks, and no trailers
					}
					if !strings.Contains(x.trailers, "x-sum: 7") {
						t.Errorf("%s %s: trailers %q", x.Method, x.Target, x.trailers)
					}
					if v.protocol != "h1" && (len(x.interim) != 1 || x.interim[0] != 103) {
						t.Errorf("%s %s: interim responses %v", x.Method, x.Target, x.interim)
					}
				}
			}
		})
	}
}

// TestTLSWebSocket has the package ws talk with itself.
func TestTLSWebSocket(t *testing.T) {
	dir := scripts(t, "ws")
	c := certificates(t)
	type message struct {
		Kind           string
		Sent, Received []byte
		Code           int
		Reason         string
	}
	for _, how := range []string{"plain", "compressed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			pcap, keys, told := node(t, dir, "websocket.mjs", 500, []string{c.Cert("rsa"), c.Key("rsa"), how}, []string{c.Cert("ca"), how})
			messages := decode[message](t, told)
			have := observe(t, pcap, keys)
			// The exchange that begins it, and that of what is said then.
			if len(have) != 1 || len(have[0]) != 2 || have[0][0].protocol != "http" || have[0][1].protocol != "websocket" {
				t.Fatalf("%v", have)
			}
			t.Log(describe(have[0]))
			defer func() {
				if t.Failed() {
					keep(t, pcap, keys)
				}
			}()
			for _, x := range have[0] {
				if x.Method != "GET" || x.Target != "/chat" || x.Status != 101 || x.grade != "complete" || x.stream != 0 {
					t.Errorf("%s %s %d %s %s, stream %d", x.Method, x.Target, x.Status, x.grade, x.reason, x.stream)
				}
			}
			x := &have[0][1]
			end := messages[len(messages)-1]
			if x.closing.Code != end.Code || x.closing.Reason != end.Reason || x.closing.By == x.tls.Client {
				t.Errorf("closed: %+v, want %+v", x.closing, end)
			}
			// All but the last line are messages that were echoed; and the client said bye.
			n := int64(len(messages) - 1)
			if up, down := x.parts[0].Count, x.parts[1].Count; up != n+1 || down != n {
				t.Errorf("%d and %d messages, want %d and %d", up, down, n+1, n)
			}
			if packed := x.parts[1].Compressed > 0; packed != (how == "compressed") {
				t.Errorf("%d compressed messages", x.parts[1].Compressed)
			}
		})
	}
}

// TestTLSGRPC has the package @grpc/grpc-js talk with itself, compressed with gzip.
func TestTLSGRPC(t *testing.T) {
	dir := scripts(t, "@grpc/grpc-js")
	c := certificates(t)
	type call struct {
		Name           string
		Sent, Received int64
		Code           int
		Details        string
	}
	pcap, keys, told := node(t, dir, "grpc.mjs", 700, []string{c.Cert("rsa"), c.Key("rsa")}, []string{c.Cert("ca")})
	calls := decode[call](t, told)
	have := observe(t, pcap, keys)
	if len(have) != 1 {
		t.Fatalf("%v", have)
	}
	t.Log(describe(have[0]))
	defer func() {
		if t.Failed() {
			keep(t, pcap, keys)
		}
	}()
	if len(have[0]) != len(calls) {
		t.Errorf("%d exchanges, want %d", len(have[0]), len(calls))
	}
	left := have[0]
	for _, want := range calls {
		found := false
		for i, x := range left {
			if !strings.EqualFold(x.Target, "/shop.Orders/"+want.Name) || x.parts[0].Count != want.Sent || x.parts[1].Count != want.Received {
				continue
			}
			name := map[int]string{0: "OK", 14: "UNAVAILABLE"}[want.Code]
			if x.Status != 200 || x.grpc != name || x.grade != "complete" {
				t.Errorf("%s: %d, %s instead of %s, %s %s", want.Name, x.Status, x.grpc, name, x.grade, x.reason)
			}
			left = append(left[:i:i], left[i+1:]...)
			found = true
			break
		}
		if !found {
			t.Errorf("culprit hasn't seen %+v", want)
		}
	}
	for _, x := range left {
		t.Errorf("culprit has seen %s: %d and %d messages", x.Target, x.parts[0].Count, x.parts[1].Count)
	}
}
