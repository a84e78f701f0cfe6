//go:build linux

package peers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// maxBody is how much of each body is kept for the comparison: all of it.
const maxBody = 32 << 20

// soak makes tests longer: more sizes of segments, larger bodies, and tshark's opinion on each recording.
func soak() bool { return os.Getenv("CULPRIT_SOAK") != "" }

// facts are what a test knows of a TLS session.
type facts struct {
	version                              string
	suite, alpn, resumption, earlyData   string
	retry                                bool
	updates, renegotiations              int
	serverName, serverCert, clientCert   string
	serverCertHidden, undecryptable, any bool
}

// conversation is one connection: what its TLS session was, and what was said in it, in any order.
type conversation struct {
	facts
	said []tlspeers.Said
}

// seen is what the tests want to know of an exchange.
type seen struct {
	tlspeers.Said
	protocol, grade, reason string
	anomalies               proto.Anomalies
	tls                     *proto.TLS
	stream                  uint64
	pushed                  bool
	trailers, headers       string
	interim                 []int
	parts                   [2]proto.Parts
	closing                 exchange.Closing
	grpc                    string
	abort                   *proto.Abort
	hasRequest, hasResponse bool
	start                   int64
	client                  string
}

// receiver takes exchanges by connection.
type receiver map[string][]seen

func (receiver) Idle() error { return nil }

func (r receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		s := seen{
			protocol: x.Protocol, grade: x.Grade.String(), reason: x.Reason, anomalies: x.Anomalies, tls: x.TLS, stream: x.StreamID(),
			hasRequest: x.HasRequest, hasResponse: x.HasResponse, start: x.Start.Time, client: x.Flow.End(x.Client), closing: x.Closing, abort: x.Abort,
		}
		if x.HasRequest {
			q := &x.Request
			s.Method, s.Target, s.Said.Request = string(q.Bytes(q.Method)), string(q.Bytes(q.Target)), bytes.Clone(x.RequestBody.Bytes)
			s.pushed, s.parts[0] = q.Pushed, q.Parts
		}
		if x.HasResponse {
			p := &x.Response
			s.Status, s.Said.Response, s.parts[1] = p.Status, bytes.Clone(x.ResponseBody.Bytes), p.Parts
			for _, f := range p.Fields {
				line := string(p.Bytes(f.Name)) + ": " + string(p.Bytes(f.Value)) + "\n"
				if f.Flags&proto.Trailer != 0 {
					s.trailers += line
				} else {
					s.headers += line
				}
			}
		}
		if code, ok := x.GRPCStatus(); ok {
			s.grpc = exchange.GRPCStatusName(code)
		}
		for _, i := range x.Interim {
			s.interim = append(s.interim, i.Status)
		}
		r[s.client] = append(r[s.client], s)
	}
	return nil
}

// observe runs the pipeline over a recording, and returns the exchanges of each connection, the connections in the order
// of their first exchange.
func observe(t *testing.T, pcap, keys []byte) [][]seen {
	t.Helper()
	return observeWith(t, pcap, store(t, keys))
}

// store returns a store of the keys of a key log.
func store(t *testing.T, log []byte) *keylog.Store {
	t.Helper()
	s := keylog.NewStore(keylog.Options{})
	s.Add(log)
	s.Publish()
	return s
}

func observeWith(t *testing.T, pcap []byte, keys *keylog.Store) [][]seen {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peers.pcap")
	if err := os.WriteFile(path, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	all := receiver{}
	_, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1,
		Memory:  16 << 30, // each flow gets a share of it, and whole bodies are kept
		Keys:    keys,
		Packet:  packet.DefaultLimits(),
		TCP:     tcp.DefaultLimits,
		Parser:  proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{
			MaxWaiting: 1000, MaxBody: maxBody, ExchangeTimeout: 5 * time.Minute,
		},
	}, all)
	if err != nil {
		t.Error(err)
	}
	var connections [][]seen
	for _, c := range all {
		slices.SortStableFunc(c, func(a, b seen) int { return cmp.Compare(a.start, b.start) })
		connections = append(connections, c)
	}
	slices.SortFunc(connections, func(a, b []seen) int { return cmp.Compare(a[0].start, b[0].start) })
	return connections
}

// check runs the pipeline over a recording, and compares what comes out with what was said.
func check(t *testing.T, pcap, keys []byte, want []conversation) [][]seen {
	t.Helper()
	have := observe(t, pcap, keys)
	compareAll(t, have, want)
	if t.Failed() {
		keep(t, pcap, keys)
	} else if soak() {
		secondOpinion(t, pcap, keys, want)
	}
	return have
}

// keep leaves a recording where it can be looked at, if the environment says where.
func keep(t *testing.T, pcap, keys []byte) {
	t.Helper()
	dir := os.Getenv("CULPRIT_KEEP")
	if dir == "" {
		t.Log("CULPRIT_KEEP=DIR keeps the recordings of tests that fail")
		return
	}
	path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_"))
	if err := os.WriteFile(path+".pcap", pcap, 0o600); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path+".keys", keys, 0o600); err != nil {
		t.Error(err)
	}
	t.Logf("kept as %s.pcap and .keys", path)
}

func compareAll(t *testing.T, have [][]seen, want []conversation) {
	t.Helper()
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(want):
			t.Errorf("connection %d: culprit invented it: %s", i, describe(have[i]))
		case i >= len(have):
			t.Errorf("connection %d: culprit hasn't seen it", i)
		default:
			t.Logf("connection %d: %s", i, describe(have[i]))
			compareSaid(t, i, have[i], want[i].said)
			compareFacts(t, i, have[i], &want[i].facts)
		}
	}
}

// describe shows a connection in a line an exchange.
func describe(all []seen) string {
	var b strings.Builder
	for i := range all {
		s := &all[i]
		fmt.Fprintf(&b, "\n    %s %s %s -> %d (%d, %d bytes) %s %s %v", s.protocol, s.Method, clip(s.Target), s.Status, len(s.Said.Request), len(s.Said.Response), s.grade, s.reason, s.anomalies)
		if i == 0 && s.tls != nil {
			f := s.tls
			fmt.Fprintf(&b, "\n        TLS %04x %s %s sni %s alpn %s resumption %s early %s decrypted %v %s lost %d", f.Version, f.SuiteName, f.GroupName, f.ServerName, f.ALPN, f.Resumption, f.EarlyData, f.Decrypted, f.Reason, f.LostRecords)
		}
	}
	return b.String()
}

func clip(s string) string { return s[:min(len(s), 100)] }

// compareSaid compares what was said on one connection with what culprit has seen.
func compareSaid(t *testing.T, connection int, have []seen, said []tlspeers.Said) {
	t.Helper()
	have = slices.Clone(have)
	for i := range said {
		w := &said[i]
		name := fmt.Sprintf("connection %d: %s %s", connection, w.Method, clip(w.Target))
		j := slices.IndexFunc(have, func(s seen) bool { return s.Method == w.Method && s.Target == w.Target })
		if j < 0 {
			t.Errorf("%s: culprit hasn't seen it", name)
			continue
		}
		h := have[j]
		have = slices.Delete(have, j, j+1)
		if h.Status != w.Status || h.grade != exchange.Complete.String() || h.anomalies != 0 {
			t.Errorf("%s: status %d, want %d; %s %s %v", name, h.Status, w.Status, h.grade, h.reason, h.anomalies)
		}
		same(t, name+": request body", h.Said.Request, w.Request)
		same(t, name+": response body", h.Said.Response, w.Response)
	}
	for i := range have {
		if have[i].hasRequest || have[i].hasResponse {
			t.Errorf("connection %d: culprit invented %s %s %d", connection, have[i].Method, have[i].Target, have[i].Status)
		}
	}
}

// same says where two bodies differ.
func same(t *testing.T, name string, have, want []byte) {
	t.Helper()
	if bytes.Equal(have, want) {
		return
	}
	at := 0
	for at < min(len(have), len(want)) && have[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes instead of %d, which differ from byte %d on", name, len(have), len(want), at)
}

// compareFacts compares a connection's TLS session with what is known of it.
func compareFacts(t *testing.T, connection int, have []seen, want *facts) {
	t.Helper()
	if want.any {
		return
	}
	last := have[len(have)-1].tls
	if want.version == "" {
		if last != nil {
			t.Errorf("connection %d: a TLS session in plain text", connection)
		}
		return
	}
	if last == nil {
		t.Errorf("connection %d: no TLS session", connection)
		return
	}
	common := func(chain []*proto.Certificate) string {
		if len(chain) == 0 {
			return ""
		}
		return chain[0].CommonName
	}
	got := facts{
		version: exchange.TLSVersion(last.Version), suite: last.SuiteName, alpn: last.ALPN, resumption: last.Resumption, earlyData: last.EarlyData,
		retry: last.Retry, updates: last.KeyUpdates, renegotiations: last.Renegotiations, serverName: last.ServerName,
		serverCert: common(last.ServerChain), clientCert: common(last.ClientChain), undecryptable: !last.Decrypted,
	}
	if w := *want; true {
		w.serverCertHidden = false
		if w.serverCert == "" && w.resumption == "" && !want.serverCertHidden {
			w.serverCert = tlspeers.ServerName
		}
		if w.serverName == "" {
			w.serverName = tlspeers.ServerName
		}
		if got != w {
			t.Errorf("connection %d: the session is\n%+v, want\n%+v", connection, got, w)
		}
	}
	if !last.Established || last.LostRecords != 0 || last.Decrypted == (last.Reason != "") {
		t.Errorf("connection %d: established %v, %d records lost, decrypted %v, reason %q", connection, last.Established, last.LostRecords, last.Decrypted, last.Reason)
	}
}

// secondOpinion asks tshark how many responses there are.
func secondOpinion(t *testing.T, pcap, keys []byte, want []conversation) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		return
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "peers.pcap"), filepath.Join(dir, "keys")
	if os.WriteFile(file, pcap, 0o600) != nil || os.WriteFile(log, keys, 0o600) != nil {
		t.Fatal("no room")
	}
	out, err := exec.Command(tshark, "-r", file, "-o", "tls.keylog_file:"+log, "-Y", "http.response.code >= 200 or http2.headers.status", "-T", "fields",
		"-e", "http.response.code", "-e", "http2.headers.status").Output()
	if err != nil {
		t.Error(err)
	}
	wanted := 0
	for i := range want {
		wanted += len(want[i].said)
	}
	if n := len(strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == '\t' || r == ',' })); n != wanted {
		t.Logf("tshark sees %d responses, the peers %d", n, wanted)
	}
}

// without returns a pcap file of nanoseconds without the packets that drop names, counted from 0.
func without(pcap []byte, drop func(i int, packet []byte) bool) []byte {
	out := slices.Clone(pcap[:24])
	i := 0
	for rest := pcap[24:]; len(rest) >= 16; i++ {
		n := 16 + int(binary.LittleEndian.Uint32(rest[8:]))
		if !drop(i, rest[16:n]) {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return out
}
