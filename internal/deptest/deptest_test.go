// Package deptest tests who may know whom: data goes one way through the stages, and each knows the one
// before it and none after it. docs/architecture.md has the map; the tables here are the rules, each with
// its reason. Tests may import what they like.
package deptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/culprit-http/culprit"

// layer says which packages of this module the packages that match a pattern may import.
type layer struct {
	pattern string
	may     []string
	why     string
}

// layers are the rules for imports within the module. The first whose pattern matches a package holds for
// it; each package must have one. Patterns are paths; * is one element, and a final ... any number.
var layers = []layer{
	{"internal/clock", nil,
		"capture time is nobody's conclusion"},
	{"internal/capture", []string{"internal/capture/synthetic", "internal/firehose"},
		"a source delivers packets, or makes them of what else was recorded, and doesn't look into them"},
	{"internal/capture/synthetic", nil,
		"packets are made of bytes and times, whoever has recorded them"},
	{"internal/capture/pcapfilter", []string{"internal/capture"},
		"the capture filter sees packets as they were captured, as in the kernel"},
	{"internal/capture/afpacket", []string{"internal/capture", "internal/capture/pcapfilter"},
		"a ring delivers bytes, like a file"},
	{"internal/ptrace", nil,
		"it tells of system calls, whatever they are for"},
	{"internal/sockcalls", []string{"internal/ptrace"},
		"what calls do to sockets follows from the calls, whoever wants to know"},
	{"internal/capture/program", []string{"internal/capture", "internal/capture/synthetic", "internal/sockcalls"},
		"what a program sends and receives becomes packets, like a file's"},
	{"internal/packet", []string{"internal/capture"},
		"decoding needs records, and nothing of what they carry"},
	{"internal/proto", []string{"internal/clock", "internal/packet"},
		"the contract of the parsers: it knows no protocol"},
	{"internal/proto/body", nil,
		"content codings work on bytes, whoever sends them"},
	{"internal/proto/framed", []string{"internal/proto"},
		"messages within a body are counted alike, whatever carries the body"},
	{"internal/proto/http1", []string{"internal/clock", "internal/proto", "internal/proto/framed"},
		"a protocol knows its contract, and what counts messages within its bodies"},
	{"internal/proto/http2", []string{"internal/clock", "internal/proto", "internal/proto/framed"},
		"a protocol knows its contract, and what counts messages within its bodies"},
	{"internal/proto/cgi", []string{"internal/proto", "internal/proto/framed"},
		"heads of CGI are read alike, whatever carries them, and so are the bodies behind them"},
	{"internal/proto/fastcgi", []string{"internal/clock", "internal/proto", "internal/proto/cgi"},
		"a protocol knows its contract, and what reads the heads that it carries"},
	{"internal/proto/uwsgi", []string{"internal/clock", "internal/proto", "internal/proto/cgi"},
		"a protocol knows its contract, and what reads the heads that it carries"},
	{"internal/proto/mongodb", []string{"internal/clock", "internal/proto", "internal/proto/body"},
		"a protocol knows its contract, and what decompresses"},
	{"internal/proto/*", []string{"internal/clock", "internal/proto"},
		"a protocol knows its contract, and neither the transport, nor detection, nor another protocol"},
	{"internal/detect", []string{"internal/clock", "internal/proto"},
		"detection asks the protocols that it is given: a protocol is added in one list"},
	{"internal/tcp", []string{"internal/clock", "internal/packet", "internal/proto"},
		"the transport knows the contract above it, but never a concrete protocol"},
	{"internal/udp", []string{"internal/clock", "internal/packet", "internal/proto", "internal/tcp"},
		"the transport knows the contract above it, but never a concrete protocol; what becomes of a packet has one set of names"},
	{"internal/sctp", []string{"internal/clock", "internal/packet", "internal/proto"},
		"the transport knows the contract above it, but never a concrete protocol"},
	{"internal/exchange", []string{"internal/clock", "internal/packet", "internal/proto", "internal/proto/body"},
		"pairing is the same for every protocol and transport, and doesn't know who shows its results"},
	{"internal/follow", []string{"internal/clock", "internal/exchange", "internal/proto"},
		"half-streams are copied between the transport and detection, whichever they are, for whoever reads them"},
	{"internal/firehose", nil,
		"the format is bytes, wherever they come from and whatever they carry"},
	{"internal/firehose/demux", []string{"internal/firehose", "internal/output/folder"},
		"files are made of streams, whatever they carry, in a folder that is given"},
	{"internal/tls/suite", nil,
		"opening records is arithmetic on bytes and secrets, wherever they come from"},
	{"internal/tls/handshake", []string{"internal/proto", "internal/proto/body"},
		"messages of the handshake are read alike, whatever records carried them and whoever uses the facts"},
	{"internal/tls/keylog", nil,
		"secrets are kept for whoever asks; it knows no TLS"},
	{"internal/keytap", []string{"internal/ptrace", "internal/tls/keylog"},
		"how programs are made to give their keys has nothing to do with what the keys open"},
	{"internal/tls", []string{"internal/clock", "internal/proto", "internal/tls/handshake", "internal/tls/keylog", "internal/tls/suite"},
		"it carries other protocols and knows none: detection is given to it"},
	{"internal/operation", []string{"internal/exchange", "internal/proto"},
		"what a request asks for follows from the exchange and the beginning of its body"},
	{"internal/preview", []string{"internal/exchange", "internal/output/terminal", "internal/proto", "internal/proto/body"},
		"bodies are laid out alike, whoever shows them"},
	{"internal/measure", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"where the time went follows from the exchange alone"},
	{"internal/blame", []string{"internal/exchange", "internal/measure", "internal/packet", "internal/proto"},
		"verdicts are made of exchanges and of where their time went, and don't know who shows them"},
	{"internal/correlate/hops", []string{"internal/blame", "internal/correlate/hops/timing", "internal/exchange", "internal/measure", "internal/packet", "internal/proto",
		"internal/proto/cgi"},
		"what caused what is found among exchanges, wherever they come from"},
	{"internal/correlate/hops/timing", nil,
		"it knows times and numbers alone, so that it can be scored on anybody's data"},
	{"internal/correlate/hopsbench", []string{"internal/correlate/hops/timing"},
		"it runs the engine that the program uses, and nothing else"},
	{"internal/correlate/routing", []string{"internal/correlate/hops", "internal/exchange", "internal/measure"},
		"the chains of routes are made of trees, wherever they come from"},
	{"internal/correlate/repeats", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"what was asked over and over is found among exchanges, wherever they come from"},
	{"internal/statement", []string{"internal/exchange", "internal/proto"},
		"what is known of a statement's text depends on nothing but the text"},
	{"internal/httpwire", []string{"internal/exchange", "internal/proto"},
		"messages are made of exchanges, wherever these come from"},
	{"internal/har", []string{"internal/clock", "internal/exchange", "internal/packet", "internal/proto"},
		"exchanges are made of archives, whoever wrote those and whoever wants these"},
	{"internal/compare", []string{"internal/exchange", "internal/proto"},
		"recordings are compared exchange by exchange, wherever they come from"},
	{"internal/correlate/pageload", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"which exchanges make a page follows from the exchanges alone"},
	{"internal/rollup", []string{"internal/exchange", "internal/measure", "internal/proto"},
		"what is counted of exchanges follows from them, whoever ships it"},
	{"internal/endpoint", nil,
		"how a receiver is reached has nothing to do with what it gets"},
	{"internal/ship", []string{"internal/exchange", "internal/output", "internal/rollup"},
		"delivery knows events, and neither how receivers talk nor where queues are kept"},
	{"internal/ship/spool", []string{"internal/ship", "internal/store/disk"},
		"frames are opaque to what keeps them"},
	{"internal/elastic", []string{"internal/endpoint", "internal/exchange", "internal/rollup"},
		"a cluster is talked to by those who ship and by those who ask, which don't know each other"},
	{"internal/store/remote", []string{"internal/elastic", "internal/exchange", "internal/filter", "internal/measure", "internal/output/ndjson", "internal/packet", "internal/proto", "internal/store",
		"internal/store/query", "internal/store/record", "internal/store/vector"},
		"the engine translates questions, a cluster answers them, and what it can't say exactly is decided as the other engine does"},
	{"internal/output/elastic", []string{"internal/elastic", "internal/endpoint", "internal/exchange", "internal/rollup", "internal/ship"},
		"a sender gets events with their bodies, whatever they are made of"},
	{"internal/endpoint/stream", []string{"internal/endpoint"},
		"how a server is connected to has nothing to do with what it gets"},
	{"internal/endpoint/stream/streamtest", nil,
		"it makes certificates and broken wires for tests"},
	{"internal/output/logstash", []string{"internal/endpoint", "internal/endpoint/stream", "internal/ship"},
		"a sender gets events with their bodies, whatever they are made of"},
	{"internal/output/beats", []string{"internal/endpoint", "internal/endpoint/stream", "internal/exchange", "internal/ship"},
		"a sender gets events with their bodies; their ids have a text form"},
	{"internal/output/kafka", []string{"internal/endpoint", "internal/exchange", "internal/ship"},
		"a sender gets events with their bodies; their ids have a text form"},
	{"internal/output/otlp", []string{"internal/endpoint", "internal/exchange", "internal/measure", "internal/output", "internal/packet", "internal/proto", "internal/rollup", "internal/ship"},
		"it makes spans of exchanges and metrics of rows, and sends them"},
	{"internal/output/metrics", []string{"internal/exchange", "internal/output", "internal/proto", "internal/rollup", "internal/ship"},
		"it counts what passes, and shows the counters of those who ship"},
	{"internal/output/parquet", []string{"internal/exchange", "internal/output", "internal/store/record", "internal/store/segment", "internal/store/vector"},
		"its files are those of the store"},
	{"internal/sample", []string{"internal/exchange", "internal/filter"},
		"which exchanges are kept follows from each alone"},
	{"deploy/...", []string{"deploy", "internal/exchange", "internal/rollup"},
		"dashboards are made of the names of fields"},
	{"internal/lab/tlspeers", []string{"internal/lab", "internal/synth"},
		"it runs TLS programs of others and records them, and would prove nothing with the code that reads the recordings"},
	{"internal/lab/cluster", nil,
		"it starts clusters of others, and would prove nothing with the code that asks them"},
	{"internal/filter", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"the exchange filter sees what outputs see"},
	{"internal/redact", []string{"internal/exchange", "internal/proto", "internal/statement"},
		"redaction changes exchanges before any output sees them"},
	{"internal/enrich", []string{"internal/exchange", "internal/measure", "internal/packet", "internal/proto"},
		"what isn't in the packets is looked up for exchanges that are finished"},
	{"internal/store/disk", nil,
		"files and folders know nothing of what is kept in them"},
	{"internal/store/faultfs", []string{"internal/store/disk"},
		"it stands in for a disk"},
	{"internal/store/disktest", nil,
		"it makes file systems for tests"},
	{"internal/store/wal", []string{"internal/store/disk"},
		"records are opaque to the log"},
	{"internal/store/record", []string{"internal/clock", "internal/exchange", "internal/packet", "internal/proto"},
		"rows are made of exchanges, and exchanges of rows"},
	{"internal/store", []string{"internal/exchange", "internal/filter", "internal/measure", "internal/store/record"},
		"what a store is asked doesn't depend on the engine"},
	{"internal/store/vector", []string{"internal/store/record"},
		"columns are made of rows, wherever they are kept"},
	{"internal/store/segment", []string{"internal/exchange", "internal/store/record", "internal/store/vector"},
		"a file has columns, and doesn't know who asks for them"},
	{"internal/store/query", []string{"internal/exchange", "internal/filter", "internal/measure", "internal/packet", "internal/proto", "internal/store", "internal/store/record",
		"internal/store/vector"},
		"questions are answered of columns, wherever they come from"},
	{"internal/store/embedded", []string{"internal/exchange", "internal/store", "internal/store/disk", "internal/store/query", "internal/store/record",
		"internal/store/segment", "internal/store/vector", "internal/store/wal"},
		"the engine joins log, segments and queries"},
	{"internal/store/packets", []string{"internal/capture", "internal/exchange", "internal/output/pcapng", "internal/packet", "internal/proto"},
		"it keeps packets, and finds them by exchanges"},
	{"internal/store/storetest", []string{"internal/clock", "internal/exchange", "internal/filter", "internal/output/ndjson", "internal/packet", "internal/proto", "internal/store", "internal/store/record"},
		"it asks engines and compares their answers"},
	{"internal/web", []string{"internal/correlate/hops", "internal/correlate/pageload", "internal/correlate/repeats", "internal/correlate/routing", "internal/exchange", "internal/filter", "internal/measure", "internal/output/har", "internal/output/ndjson", "internal/preview", "internal/store"},
		"it asks a store, shows what outputs show, and knows no engine"},
	{"internal/web/ui", nil,
		"built files, whoever serves them"},
	{"internal/own", []string{"internal/packet"},
		"which connections are our own is asked of the system, and compared with packets"},
	{"internal/process", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"who owns a socket is asked of the kernel, for connections that others found"},
	{"internal/host", []string{"internal/store/disk"},
		"how the machine does has nothing to do with what is captured on it"},
	{"internal/keeper", nil,
		"messages between two processes, whatever they say"},
	{"internal/privilege", nil,
		"what a process may do has nothing to do with what it does"},
	{"internal/pipeline", []string{"internal/blame", "internal/capture", "internal/clock", "internal/detect", "internal/exchange", "internal/follow", "internal/measure",
		"internal/operation", "internal/packet", "internal/proto/...", "internal/sctp", "internal/statement", "internal/tcp", "internal/tls", "internal/tls/keylog", "internal/udp"},
		"it joins the stages, and hands exchanges to whoever asked"},
	{"internal/output/folder", nil,
		"files are made alike, whatever is in them"},
	{"internal/output/outputtest", []string{"internal/clock", "internal/exchange", "internal/packet", "internal/proto"},
		"it makes exchanges for the tests of outputs"},
	{"internal/output/conversations", []string{"internal/capture", "internal/capture/synthetic", "internal/exchange", "internal/firehose", "internal/httpwire", "internal/output/pcapng"},
		"it makes recordings of exchanges, in the formats of those who record"},
	{"internal/output/pcapng", []string{"internal/capture", "internal/clock", "internal/exchange", "internal/output/terminal", "internal/packet",
		"internal/proto"},
		"it writes packets, and chooses them by exchanges"},
	{"internal/output/stream", []string{"internal/exchange", "internal/follow", "internal/output/terminal", "internal/proto"},
		"it shows half-streams, wherever they come from"},
	{"internal/output/objects", []string{"internal/exchange", "internal/follow", "internal/output/folder", "internal/proto", "internal/proto/body"},
		"what messages carry is kept as it was sent, decoded, wherever half-streams come from"},
	{"internal/output/files", []string{"internal/capture", "internal/exchange", "internal/follow", "internal/output/folder", "internal/output/pcapng", "internal/packet",
		"internal/proto"},
		"it keeps half-streams, wherever they come from, and the packets of each connection"},
	{"internal/output/firehose", []string{"internal/exchange", "internal/firehose", "internal/follow", "internal/packet", "internal/proto"},
		"it keeps half-streams, wherever they come from, in a format that it doesn't know how to read"},
	{"internal/output/console", []string{"internal/exchange", "internal/output", "internal/output/terminal", "internal/preview", "internal/proto"},
		"an output shows exchanges, wherever they come from, and bodies as they are laid out for people"},
	{"internal/output", []string{"internal/exchange", "internal/packet", "internal/proto"},
		"what outputs have in common follows from exchanges"},
	{"internal/output/...", []string{"internal/exchange", "internal/output", "internal/output/terminal", "internal/proto"},
		"an output shows exchanges, wherever they come from, and knows no other output"},
	{"internal/config", nil,
		"configuration is plain data"},
	{"internal/synth", nil,
		"made-up captures would prove nothing if they were made with the code that reads them"},
	{"internal/synth/cmd/synth", []string{"internal/synth"},
		"the command only calls the generator"},
	{"cmd/culprit", []string{"deploy", "internal/blame", "internal/capture", "internal/capture/afpacket", "internal/capture/pcapfilter", "internal/clock", "internal/config",
		"internal/correlate/hops", "internal/correlate/routing",
		"internal/elastic", "internal/endpoint", "internal/enrich", "internal/exchange", "internal/filter", "internal/firehose", "internal/firehose/demux", "internal/follow", "internal/host", "internal/keeper", "internal/measure", "internal/output/...", "internal/own", "internal/packet", "internal/pipeline", "internal/privilege",
		"internal/process", "internal/proto", "internal/redact", "internal/replay", "internal/rollup", "internal/har", "internal/compare", "internal/sample", "internal/ship", "internal/ship/spool", "internal/store", "internal/store/disk", "internal/store/embedded", "internal/store/packets", "internal/store/record", "internal/store/remote", "internal/store/segment", "internal/store/vector", "internal/tcp", "internal/tls", "internal/tls/keylog", "internal/udp", "internal/preview", "internal/web", "internal/web/ui"},
		"the program wires the stages; what only tests and measurements need stays out of it"},
	{"bench/...", []string{"bench/...", "internal/..."},
		"measurements may look at everything"},
	{"internal/corpus", nil, "it has tests only"},
	{"internal/deptest", nil, "it has tests only"},
	{"internal/peers", nil, "it has tests only"},
	{"internal/lab", nil,
		"it makes networks and traffic, and would prove nothing with the code that it tests"},
	{"internal/lab/cmd/shop", []string{"internal/lab"},
		"who makes the sample capture knows nothing of who reads it"},
	{"internal/lab/situations", []string{"internal/lab"},
		"who makes the situations knows nothing of who judges them"},
	{"internal/lab/situations/judge", []string{"internal/lab/situations"},
		"it compares what the program says with the truth, and knows nothing of how that came about"},
	{"internal/lab/stack", []string{"internal/lab"},
		"who makes the stack knows nothing of who links it"},
	{"internal/lab/cmd/situations", []string{"internal/lab", "internal/lab/situations", "internal/lab/situations/judge", "internal/lab/stack"},
		"the command records, and holds what the program says against the truth"},
	{"internal/replay", []string{"internal/clock", "internal/compare", "internal/exchange", "internal/follow", "internal/measure", "internal/packet", "internal/proto", "internal/proto/body"},
		"exchanges are sent again and compared alike, whatever recording they come from and whoever shows what came of it"},
	{"internal/live", nil, "it has tests only"},
	{"internal/delivery", nil, "it has tests only"},
}

// ban says which packages from outside may be imported by some packages only.
type ban struct {
	imports []string
	only    []string
	why     string
}

var bans = []ban{
	{[]string{"os", "os/exec", "syscall", "golang.org/x/sys/...", "golang.org/x/term"},
		[]string{"cmd/...", "bench/...", "internal/tls/keylog", "internal/keytap", "internal/lab/tlspeers", "internal/capture", "internal/capture/program", "internal/capture/afpacket", "internal/enrich", "internal/host", "internal/keeper", "internal/own", "internal/privilege", "internal/process", "internal/sockcalls", "internal/ptrace", "internal/redact", "internal/store/disk", "internal/store/disktest", "internal/store/faultfs",
			"internal/store/packets", "internal/synth/cmd/...", "internal/output/folder", "internal/output/outputtest", "internal/output/logstash", "internal/lab/...", "internal/correlate/hopsbench", "deploy/make"},
		"only packet sources, stores, the redaction key and main packages touch the operating system"},
	{[]string{"os/signal", "flag", "github.com/spf13/..."},
		[]string{"cmd/...", "bench/...", "internal/correlate/hopsbench", "internal/keeper", "internal/lab/cmd/...", "internal/synth/cmd/..."},
		"flags and signals belong to main packages; the rest is told what to do"},
	{[]string{"log", "log/slog"}, nil,
		"errors are returned with context, never logged and forgotten"},
	{[]string{"math/rand", "math/rand/v2"}, []string{"bench/...", "internal/correlate/hops/timing", "internal/measure", "internal/ship", "internal/synth", "internal/lab/..."},
		"the same capture gives the same output, so seeds are constants; pauses between attempts may differ"},
	{[]string{"C"}, nil,
		"the binary is static"},
	{[]string{"testing"}, []string{"internal/lab/cluster", "internal/output/outputtest", "internal/proto/prototest", "internal/store/disktest", "internal/store/storetest"},
		"test code stays out of the program"},
}

// habit is something that only some packages may do in their code.
type habit struct {
	name string
	is   func(ast.Node) bool
	only []string
	why  string
}

var habits = []habit{
	{"reads the clock", readsClock, []string{"cmd/...", "bench/...", "internal/correlate/hopsbench", "internal/lab/...", "internal/capture/program", "internal/ptrace", "internal/sockcalls", "internal/capture/afpacket", "internal/elastic", "internal/output/beats", "internal/output/elastic", "internal/output/kafka", "internal/output/logstash", "internal/output/otlp", "internal/output/pcapng", "internal/process", "internal/replay", "internal/ship", "internal/store/embedded", "internal/store/remote", "internal/web"},
		"everything runs on capture time, so that a capture gives the same output on any day"},
	{"has an init function", isInit, nil,
		"nothing happens by being imported"},
	{"starts a goroutine", func(n ast.Node) bool { _, ok := n.(*ast.GoStmt); return ok },
		[]string{"cmd/...", "bench/...", "internal/lab/...", "internal/capture", "internal/capture/afpacket", "internal/enrich", "internal/keeper", "internal/keytap", "internal/endpoint/stream/streamtest", "internal/output/logstash", "internal/output/parquet", "internal/output/pcapng", "internal/pipeline", "internal/process", "internal/replay", "internal/ship", "internal/ship/spool", "internal/store/embedded",
			"internal/store/packets", "internal/store/query", "internal/store/storetest"},
		"parsers, pairing and outputs are called from one goroutine, and start none"},
}

func readsClock(n ast.Node) bool {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, s.Sel.Name)
}

func isInit(n ast.Node) bool {
	f, ok := n.(*ast.FuncDecl)
	return ok && f.Recv == nil && f.Name.Name == "init"
}

// matches reports whether a path fits one of the patterns.
func matches(p string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
			return p == tree || strings.HasPrefix(p, tree+"/")
		}
		ok, err := path.Match(pattern, p)
		return ok && err == nil
	})
}

// pkg is a package, as go list tells.
type pkg struct {
	ImportPath, Dir  string
	GoFiles, Imports []string
}

// packages lists those of the module.
func packages(t *testing.T) (all []pkg) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"/...")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	for d := json.NewDecoder(&stdout); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module+"/")
		all = append(all, p)
	}
}

// violations returns what the imports of a package break.
func (p *pkg) violations() (all []string) {
	i := slices.IndexFunc(layers, func(l layer) bool { return matches(p.ImportPath, l.pattern) })
	if i < 0 {
		return []string{p.ImportPath + " has no rule: say in the table layers what it may import, and why"}
	}
	l := &layers[i]
	for _, full := range p.Imports {
		if inner, ok := strings.CutPrefix(full, module+"/"); ok {
			if !matches(inner, l.may...) {
				all = append(all, fmt.Sprintf("%s imports %s: %s", p.ImportPath, inner, l.why))
			}
			continue
		}
		for _, b := range bans {
			if matches(full, b.imports...) && !matches(p.ImportPath, b.only...) {
				all = append(all, fmt.Sprintf("%s imports %s: %s", p.ImportPath, full, b.why))
			}
		}
	}
	return all
}

// badHabits returns what the code of a file breaks.
func badHabits(importPath string, files *token.FileSet, f *ast.File) (all []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		for _, h := range habits {
			if n != nil && h.is(n) && !matches(importPath, h.only...) {
				all = append(all, fmt.Sprintf("%s %s: %s", files.Position(n.Pos()), h.name, h.why))
			}
		}
		return true
	})
	return all
}

func TestImports(t *testing.T) {
	all := packages(t)
	for i := range all {
		for _, v := range all[i].violations() {
			t.Error(v)
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d packages found", len(all))
	}
}

func TestHabits(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range badHabits(p.ImportPath, files, f) {
				t.Error(v)
			}
		}
	}
}

// Rules that match nothing are left over from packages that are gone.
func TestEveryRuleIsUsed(t *testing.T) {
	all := packages(t)
	used := func(pattern string) bool {
		return slices.ContainsFunc(all, func(p pkg) bool { return matches(p.ImportPath, pattern) })
	}
	for _, l := range layers {
		for _, pattern := range append([]string{l.pattern}, l.may...) {
			if !used(pattern) {
				t.Errorf("no package matches %s", pattern)
			}
		}
	}
	for _, b := range bans {
		for _, pattern := range b.only {
			if !used(pattern) {
				t.Errorf("no package matches %s", pattern)
			}
		}
	}
	for _, h := range habits {
		for _, pattern := range h.only {
			if !used(pattern) {
				t.Errorf("no package matches %s", pattern)
			}
		}
	}
}

// The rules catch what they are there for.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/proto/http1", module + "/internal/proto", true},
		{"internal/proto/http1", module + "/internal/proto/socks", false},
		{"internal/proto/http1", module + "/internal/exchange", false},
		{"internal/proto/new", module + "/internal/proto", true},
		{"internal/proto/new", "os", false},
		{"internal/tcp", module + "/internal/proto/http1", false},
		{"internal/detect", module + "/internal/proto/http1", false},
		{"internal/exchange", module + "/internal/tcp", false},
		{"internal/exchange", module + "/internal/output", false},
		{"internal/output/line", module + "/internal/pipeline", false},
		{"internal/output/line", module + "/internal/capture", false},
		{"internal/output/line", module + "/internal/output/har", false},
		{"internal/output/line", "os", false},
		{"internal/capture", "os", true},
		{"internal/capture", "golang.org/x/sys/unix", true},
		{"internal/packet", "golang.org/x/sys/unix", false},
		{"internal/config", "github.com/spf13/pflag", false},
		{"cmd/culprit", module + "/internal/synth", false},
		{"cmd/culprit", module + "/internal/proto/http1", false},
		{"cmd/culprit", "log", false},
		{"cmd/culprit", "testing", false},
		{"bench", module + "/internal/synth", true},
		{"internal/unheard-of", "fmt", false},
	} {
		p := pkg{ImportPath: c.from, Imports: []string{c.to}}
		if v := p.violations(); (len(v) == 0) != c.allowed {
			t.Errorf("%s imports %s: allowed should be %v, got %q", c.from, c.to, c.allowed, v)
		}
	}

	for _, c := range []struct {
		path, code string
		allowed    bool
	}{
		{"internal/tcp", "func f() { _ = time.Now() }", false},
		{"internal/tcp", "var clock = time.Now", false},
		{"cmd/culprit", "func f() { _ = time.Since(t) }", true},
		{"cmd/culprit", "func init() {}", false},
		{"cmd/culprit", "func (x T) init() {}", true},
		{"internal/proto/http1", "func f() { go g() }", false},
		{"internal/pipeline", "func f() { go g() }", true},
	} {
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, "x.go", "package x\n"+c.code, 0)
		if err != nil {
			t.Fatal(strconv.Quote(c.code), err)
		}
		if v := badHabits(c.path, files, f); (len(v) == 0) != c.allowed {
			t.Errorf("%s: %s: allowed should be %v, got %q", c.path, c.code, c.allowed, v)
		}
	}
}
