//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
)

// redisBody is how much of each reply is kept.
const redisBody = 1 << 20

// startRedis starts a server on a free address, which it returns.
func startRedis(t *testing.T, options ...string) (address string) {
	t.Helper()
	name := program(t, "redis-server")
	address = redisAddress(t)
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir, "--daemonize", "no"}, options...)
	p, err := tlspeers.Start(dir, nil, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := tlspeers.Await(address); err != nil {
		t.Fatalf("redis-server: %v: %s", err, p.Stderr())
	}
	return address
}

// redisAddress returns a free address whose port leaves room for that of the cluster bus, 10,000 above.
func redisAddress(t *testing.T) string {
	t.Helper()
	for {
		a := address(t)
		_, port, _ := net.SplitHostPort(a)
		if n, _ := strconv.Atoi(port); n < 55000 {
			return a
		}
	}
}

// redisClient is a client that writes down what it said and heard.
type redisClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialRedis(t *testing.T, address string) *redisClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newRedisClient(t, conn)
}

func newRedisClient(t *testing.T, conn net.Conn) *redisClient {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &redisClient{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// send sends bytes.
func (c *redisClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// encodeRedis makes a command of words.
func encodeRedis(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// read reads a reply, and returns what is in it, one value a line: the code of an error, statuses, strings and numbers; nil.
func (c *redisClient) read() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	text := strings.TrimSuffix(line[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch line[0] {
	case '$', '=':
		if n < 0 {
			return "nil"
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			c.t.Fatal(err)
		}
		return string(b[:n])
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		if n < 0 {
			return "nil"
		}
		all := make([]string, n)
		for i := range all {
			all[i] = c.read()
		}
		return strings.Join(all, "\n")
	case '_':
		return "nil"
	case '-':
		code, _, _ := strings.Cut(text, " ")
		return "error " + code
	}
	return text
}

// do sends a command and reads its reply.
func (c *redisClient) do(words ...string) string {
	c.t.Helper()
	c.send(encodeRedis(words...))
	return c.read()
}

func (c *redisClient) close() { c.conn.Close() }

// redisExchange is an exchange as these tests compare it.
type redisExchange struct {
	method, target, database, user, value, grade, reason, redirect string
	client                                                         string
	oneWay, blocks, answered                                       bool
	parts                                                          proto.Parts
	size                                                           int64
	hits, misses                                                   int64
	anomalies                                                      proto.Anomalies
	tls                                                            *proto.TLS
	wait                                                           time.Duration
}

type redisReceiver struct{ all []redisExchange }

func (*redisReceiver) Idle() error { return nil }

func (r *redisReceiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if x.Protocol != "redis" {
			continue
		}
		q, a := &x.Request, &x.Response
		o := redisExchange{grade: x.Grade.String(), reason: x.Reason, anomalies: x.Anomalies, tls: x.TLS, client: x.Flow.End(x.Client), answered: x.HasResponse, wait: time.Duration(x.Timing.Wait)}
		if x.HasRequest {
			o.method, o.target = string(q.Bytes(q.Method)), string(q.Bytes(q.Target))
			o.database, o.user, o.blocks, o.oneWay = string(q.FactText("database")), string(q.FactText("user")), q.Blocks, q.OneWay
		}
		if x.HasResponse {
			o.parts, o.size = a.Parts, a.Size
			o.value = replyValues(string(x.ResponseBody.Bytes))
			o.redirect = string(a.FactText("redirect"))
			if code := a.FactText(proto.FactError); code != nil {
				o.value = "error " + string(code)
			}
			if a.OneWay {
				o.oneWay, o.method, o.target = true, string(a.Bytes(a.Method)), string(a.Bytes(a.Target))
			}
			if f := a.Fact("hits"); f != nil {
				o.hits = f.Number
			}
			if f := a.Fact("misses"); f != nil {
				o.misses = f.Number
			}
		}
		r.all = append(r.all, o)
	}
	return nil
}

var replyNumbers = regexp.MustCompile(`(?m)^ *([0-9]+[)~#] +)+`)

// replyValues makes of a reply as redis-cli shows it what read makes of it.
func replyValues(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(replyNumbers.ReplaceAllString(line, ""), "\n")
		for v := range strings.SplitSeq(line, " => ") {
			v = strings.TrimPrefix(strings.TrimPrefix(v, "(integer) "), "(double) ")
			switch {
			case v == "(nil)":
				v = "nil"
			case strings.HasPrefix(v, "(empty "):
				v = ""
			case strings.HasPrefix(v, "(error) "):
				code, _, _ := strings.Cut(strings.TrimPrefix(v, "(error) "), " ")
				v = "error " + code
			case strings.HasPrefix(v, `"`):
				if u, err := strconv.Unquote(v); err == nil {
					v = u
				}
			}
			all = append(all, v)
		}
	}
	return strings.Join(all, "\n")
}

// observeRedis runs the pipeline over a recording.
func observeRedis(t *testing.T, pcap, keys []byte) []redisExchange {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redis.pcap")
	if err := os.WriteFile(path, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var r redisReceiver
	if _, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 4 << 30, Keys: store(t, keys), Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 64 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: redisBody, ExchangeTimeout: 5 * time.Minute},
	}, &r); err != nil {
		t.Error(err)
	}
	return r.all
}

// redisMonitor is a server's own log of commands.
type redisMonitor struct {
	c    *redisClient
	done chan []string
}

// redisEnd is the last command that a monitor waits for.
const redisEnd = "culprit:end"

func startMonitor(t *testing.T, address string) *redisMonitor {
	m := &redisMonitor{c: dialRedis(t, address), done: make(chan []string, 1)}
	if got := m.c.do("MONITOR"); got != "OK" {
		t.Fatal(got)
	}
	go func() {
		var lines []string
		for {
			line, err := m.c.r.ReadString('\n')
			if err != nil || strings.Contains(line, redisEnd) {
				m.done <- lines
				return
			}
			lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		}
	}()
	return m
}

var (
	monitored  = regexp.MustCompile(`^\+[0-9.]+ \[([0-9]+) ([^\]]+)\] (.*)$`)
	plainRedis = regexp.MustCompile(`"([^"\\ ']+)"`)
)

// stop returns the commands that the server ran: the database and the words, in quotes where they need them.
func (m *redisMonitor) stop(t *testing.T, address string) (all []string) {
	t.Helper()
	c := dialRedis(t, address)
	c.do("ECHO", redisEnd)
	c.close()
	select {
	case lines := <-m.done:
		for _, line := range lines {
			parts := monitored.FindStringSubmatch(line)
			if parts == nil {
				t.Fatalf("MONITOR says %q", line)
			}
			if parts[2] == "lua" {
				continue // what a script does isn't on the wire
			}
			command := plainRedis.ReplaceAllString(parts[3], "$1")
			if !strings.HasPrefix(command, "SELECT ") {
				command = parts[1] + " " + command
			}
			all = append(all, command)
		}
	case <-time.After(patience):
		t.Fatal("MONITOR doesn't tell the last command")
	}
	m.c.close()
	return all
}

// untoldByMonitor are the commands of TestRedisCommands that the server says nothing of: what it doesn't understand, and those of
// administration.
var untoldByMonitor = []string{"NOSUCHCOMMAND x", "GET", "CONFIG SET maxmemory-policy noeviction"}

// run is what the server says that an exchange asked, empty when it says nothing of it.
func (o *redisExchange) run() string {
	if slices.Contains(untoldByMonitor, o.target) {
		return ""
	}
	if o.method == "SELECT" {
		return o.target // which the server tells with the database before it
	}
	return cmp.Or(o.database, "0") + " " + o.target
}

// TestRedisCommands compares what is observed with what the client heard, and with what the server ran (MONITOR).
func TestRedisCommands(t *testing.T) {
	address := startRedis(t)
	for _, segment := range []int{tlspeers.DefaultSegment, 7} {
		t.Run(fmt.Sprint(segment), func(t *testing.T) {
			m := startMonitor(t, address)
			var asked, heard []string
			pcap := record(t, address, segment, func(wire string) {
				c := dialRedis(t, wire)
				defer c.close()
				batch := func(commands ...[]string) {
					var all strings.Builder
					for _, words := range commands {
						all.WriteString(encodeRedis(words...))
						asked = append(asked, strings.ToUpper(words[0]))
					}
					c.send(all.String())
					for range commands {
						heard = append(heard, c.read())
					}
				}
				one := func(words ...string) { batch(words) }
				one("FLUSHALL")
				one("SET", "key", "two words")
				one("set", "quotes", "a\"b'c\\d\n\r\t\a\x01\x7f")
				one("GET", "key")
				one("GET", "none")
				one("SET", "empty", "")
				one("MGET", "key", "none", "empty")
				one("SET", "long", strings.Repeat("0123456789", 20))
				one("INCR", "n")
				one("INCRBYFLOAT", "f", "1.5")
				one("RPUSH", "list", "a", "b", "c")
				one("LRANGE", "list", "0", "-1")
				one("LRANGE", "nothing", "0", "-1")
				one("HSET", "hash", "f", "1", "g", "2")
				one("HGETALL", "hash")
				one("ZADD", "z", "1", "a", "2", "b")
				one("ZRANGE", "z", "0", "-1", "WITHSCORES")
				one("XADD", "stream", "1-1", "f", "v")
				one("XRANGE", "stream", "-", "+")
				one("LPUSH", "key", "x") // WRONGTYPE
				one("NOSUCHCOMMAND", "x")
				one("GET")
				one("EVAL", "return redis.call('get', KEYS[1])", "1", "key")
				one("EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0")
				one("EVAL", "return {1, {2, 'three'}, false}", "0")
				one("SELECT", "3")
				one("SET", "elsewhere", "1")
				one("SELECT", "99")
				one("DBSIZE")
				batch([]string{"SELECT", "0"}, []string{"DBSIZE"})
				batch([]string{"MULTI"}, []string{"SET", "t", "1"}, []string{"GET", "t"}, []string{"EXEC"})
				batch([]string{"MULTI"}, []string{"SET", "t", "2"}, []string{"DISCARD"}, []string{"GET", "t"})
				one("CONFIG", "SET", "maxmemory-policy", "noeviction")
				one("CLIENT", "SETNAME", "tester")
				one("SCAN", "0", "COUNT", "100")
				var deep [][]string
				for i := range 500 {
					deep = append(deep, []string{"SET", fmt.Sprint("k:", i), fmt.Sprint(i)}, []string{"GET", fmt.Sprint("k:", i)})
				}
				batch(deep...)
				c.send("PING\r\nset  inline \"in line\"\r\nECHO 'x y'\r\n")
				asked = append(asked, "PING", "SET", "ECHO")
				heard = append(heard, c.read(), c.read(), c.read())
				one("QUIT")
			})
			ran := m.stop(t, address)
			all := observeRedis(t, pcap, nil)
			if len(all) != len(asked) {
				t.Fatalf("%d exchanges, %d commands", len(all), len(asked))
			}
			var seen []string
			for i := range all {
				o := &all[i]
				// What was broken in lines is compared without.
				if flat := strings.NewReplacer("\n", " "); flat.Replace(o.value) != flat.Replace(heard[i]) {
					t.Errorf("%s: observed %q, the client heard %q", o.target, o.value, heard[i])
				}
				if word, _, _ := strings.Cut(o.method, " "); word != asked[i] {
					t.Errorf("%s instead of %s", o.method, asked[i])
				}
				if o.grade != "complete" || o.anomalies != 0 {
					t.Errorf("%s: %s %s %v", o.target, o.grade, o.reason, o.anomalies)
				}
				if run := o.run(); run != "" {
					seen = append(seen, run)
				}
			}
			// Commands of a transaction are told when they run, and those that were discarded never.
			seen = slices.DeleteFunc(seen, func(s string) bool { return s == "0 SET t 2" || s == "0 DISCARD" })
			ran = slices.DeleteFunc(ran, func(s string) bool { return s == "0 DISCARD" })
			slices.Sort(seen)
			slices.Sort(ran)
			for i := range max(len(seen), len(ran)) {
				if i >= len(seen) || i >= len(ran) || seen[i] != ran[i] {
					t.Fatalf("observed %d\n%q\nthe server ran %d\n%q", len(seen), seen[min(i, len(seen)):min(i+3, len(seen))], len(ran), ran[min(i, len(ran)):min(i+3, len(ran))])
				}
			}
		})
	}
}

// TestRedisCLI has redis-cli and redis-benchmark talk, and compares with the server's counts.
func TestRedisCLI(t *testing.T) {
	program(t, "redis-cli")
	program(t, "redis-benchmark")
	address := startRedis(t)
	const requests = 20000
	pcap := record(t, address, tlspeers.DefaultSegment, func(wire string) {
		_, port, _ := net.SplitHostPort(wire)
		out, err := tlspeers.Output(t.TempDir(), nil, "redis-benchmark", "-p", port, "-n", fmt.Sprint(requests), "-P", "16", "-c", "4", "-t", "set,get", "-r", "1000", "-q")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, version := range []string{"-2", "-3"} {
			if out, err := tlspeers.Output(t.TempDir(), nil, "redis-cli", version, "-p", port, "HGETALL", "none"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	})
	c := dialRedis(t, address)
	stats := c.do("INFO", "commandstats")
	c.close()
	counts := map[string]int{}
	for _, o := range observeRedis(t, pcap, nil) {
		counts[o.method]++
		if o.grade != "complete" || !o.answered || o.method == "SET" && o.value != "OK" || o.method == "GET" && o.hits+o.misses != 1 {
			t.Errorf("%s: %s %s, %q, %d hits, %d misses", o.target, o.grade, o.reason, o.value, o.hits, o.misses)
		}
	}
	for _, method := range []string{"SET", "GET", "HGETALL", "CONFIG GET", "HELLO"} {
		name := strings.ToLower(strings.ReplaceAll(method, " ", "|"))
		var calls int
		if _, after, ok := strings.Cut(stats, "cmdstat_"+name+":calls="); ok {
			fmt.Sscanf(after, "%d", &calls)
		}
		if counts[method] != calls || calls == 0 {
			t.Errorf("%d of %s, the server counts %d", counts[method], method, calls)
		}
	}
}

// TestRedisSubscriptions: messages are exchanges by themselves, in both versions of the protocol.
func TestRedisSubscriptions(t *testing.T) {
	address := startRedis(t)
	for _, version := range []string{"2", "3"} {
		t.Run(version, func(t *testing.T) {
			pcap := record(t, address, tlspeers.DefaultSegment, func(wire string) {
				c, other := dialRedis(t, wire), dialRedis(t, address)
				defer c.close()
				defer other.close()
				c.do("HELLO", version)
				c.send(encodeRedis("SUBSCRIBE", "a", "b"))
				c.read()
				c.read()
				c.do("PSUBSCRIBE", "x*")
				other.do("PUBLISH", "a", "hello")
				other.do("PUBLISH", "xyz", "two words")
				c.read()
				c.read()
				c.send(encodeRedis("PING"))
				c.read()
				c.send(encodeRedis("UNSUBSCRIBE"))
				c.read()
				c.read()
				c.do("PUNSUBSCRIBE")
				c.do("GET", "a")
			})
			var got []string
			for _, o := range observeRedis(t, pcap, nil) {
				got = append(got, fmt.Sprintf("%s %v %d", o.target, o.oneWay, o.parts.Count))
				if o.grade != "complete" || !o.answered || o.anomalies != 0 {
					t.Errorf("%s: %s %s %v", o.target, o.grade, o.reason, o.anomalies)
				}
			}
			pong := 2
			hello := 7
			if version == "3" {
				pong = 0
			} else {
				hello = 14 // fields and values
			}
			want := []string{
				fmt.Sprintf("HELLO %s false %d", version, hello), "SUBSCRIBE a b false 2", "PSUBSCRIBE x* false 1", "a true 1", "xyz true 1",
				fmt.Sprintf("PING false %d", pong), "UNSUBSCRIBE false 2", "PUNSUBSCRIBE false 1", "GET a false 0",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

// TestRedisWaits: a command that waits for another client is told from one that is slow.
func TestRedisWaits(t *testing.T) {
	address := startRedis(t)
	const pause = 50 * time.Millisecond
	pcap := record(t, address, tlspeers.DefaultSegment, func(wire string) {
		c, other := dialRedis(t, wire), dialRedis(t, address)
		defer c.close()
		defer other.close()
		c.send(encodeRedis("BLPOP", "queue", "0"))
		// The server tells when it waits.
		for !strings.Contains(other.do("CLIENT", "LIST"), "cmd=blpop") {
		}
		<-time.After(pause)
		other.do("RPUSH", "queue", "job")
		c.read()
		c.do("BLPOP", "queue", "0.01")
		c.do("XREAD", "BLOCK", "10", "STREAMS", "s", "$")
		c.do("MULTI")
		c.do("BLPOP", "queue", "0")
		c.do("EXEC")
	})
	all := observeRedis(t, pcap, nil)
	if len(all) != 6 {
		t.Fatalf("%d exchanges", len(all))
	}
	for i, o := range all {
		if o.blocks != (i < 3) || o.grade != "complete" {
			t.Errorf("%s: blocks %v, %s %s", o.target, o.blocks, o.grade, o.reason)
		}
	}
	if all[0].value != "queue\njob" || all[0].wait < pause || all[1].value != "nil" {
		t.Errorf("%+v\n%+v", all[0], all[1])
	}
}

// TestRedisSecrets: passwords are nowhere, and failures have their codes.
func TestRedisSecrets(t *testing.T) {
	address := startRedis(t, "--requirepass", "hunter2", "--user", "bob", "on", ">swordfish", "~b:*", "+@read")
	pcap := record(t, address, tlspeers.DefaultSegment, func(wire string) {
		c := dialRedis(t, wire)
		defer c.close()
		c.do("GET", "b:1")
		c.do("AUTH", "hunter3")
		c.do("AUTH", "bob", "swordfish")
		c.do("GET", "b:1")
		c.do("GET", "a:1")
		c.do("SET", "b:1", "x")
		c.do("HELLO", "3", "AUTH", "default", "hunter2", "SETNAME", "x")
		c.do("CONFIG", "SET", "requirepass", "hunter4")
		c.do("ACL", "SETUSER", "eve", "on", ">hunter5")
		c.do("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH", "hunter6")
		c.send("AUTH hunter4\r\n")
		c.read()
	})
	var got []string
	for _, o := range observeRedis(t, pcap, nil) {
		if text := fmt.Sprintf("%+v", o); strings.Contains(text, "hunter") || strings.Contains(text, "swordfish") {
			t.Errorf("a password is shown: %s", text)
		}
		value := o.value
		if o.method == "HELLO" {
			value = ""
		}
		got = append(got, strings.TrimSpace(o.target+" | "+o.user+" | "+value))
	}
	want := []string{
		"GET b:1 |  | error NOAUTH",
		"AUTH …[redacted] | default | error WRONGPASS",
		"AUTH bob …[redacted] | bob | OK",
		"GET b:1 | bob | nil",
		"GET a:1 | bob | error NOPERM",
		"SET b:1 x | bob | error NOPERM",
		"HELLO 3 AUTH default …[redacted] SETNAME x | default |",
		"CONFIG SET requirepass …[redacted] | default | OK",
		"ACL SETUSER eve on >…[redacted] | default | OK",
		"MIGRATE 127.0.0.1 1 nokey 0 10 AUTH …[redacted] | default | NOKEY",
		"AUTH …[redacted] | default | OK",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRedisCluster: nodes send clients to each other.
func TestRedisCluster(t *testing.T) {
	program(t, "redis-cli")
	var nodes, ports []string
	for range 3 {
		a := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		_, port, _ := net.SplitHostPort(a)
		nodes, ports = append(nodes, a), append(ports, port)
	}
	args := append([]string{"--cluster", "create"}, nodes...)
	if out, err := tlspeers.Output(t.TempDir(), nil, "redis-cli", append(args, "--cluster-yes")...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, node := range nodes {
		c := dialRedis(t, node)
		for !strings.Contains(c.do("CLUSTER", "INFO"), "cluster_state:ok") {
		}
		c.close()
	}
	keys := []string{"foo", "bar", "hello", "{foo}2", "x"}
	heard := map[string]string{}
	pcap := record(t, nodes[0], tlspeers.DefaultSegment, func(wire string) {
		c := dialRedis(t, wire)
		defer c.close()
		for _, k := range keys {
			heard[k] = c.do("SET", k, "1")
		}
	})
	moved := 0
	for i, o := range observeRedis(t, pcap, nil) {
		if o.value != heard[keys[i]] {
			t.Errorf("%s: %s, the client heard %s", o.target, o.value, heard[keys[i]])
		}
		if o.value == "error MOVED" {
			moved++
			if !slices.Contains(nodes[1:], o.redirect) {
				t.Errorf("%s: to %q", o.target, o.redirect)
			}
		} else if o.redirect != "" {
			t.Errorf("%s: to %q", o.target, o.redirect)
		}
	}
	if moved == 0 || moved == len(keys) {
		t.Errorf("%d of %d moved: the keys don't lie on different nodes (%v)", moved, len(keys), ports)
	}
}

// TestRedisReplication: a replica's synchronisation is one exchange, and what follows isn't taken for replies.
func TestRedisReplication(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		t.Run("diskless "+diskless, func(t *testing.T) {
			master := startRedis(t, "--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0")
			c := dialRedis(t, master)
			defer c.close()
			c.do("SET", "big", strings.Repeat("\x00\xff", 150_000))
			var synchronised int64
			pcap := record(t, master, tlspeers.DefaultSegment, func(wire string) {
				host, port, _ := net.SplitHostPort(wire)
				replica := dialRedis(t, startRedis(t))
				defer replica.close()
				replica.do("REPLICAOF", host, port)
				for !strings.Contains(replica.do("INFO", "replication"), "master_link_status:up") {
				}
				for range 5 {
					c.do("SET", "after", "1")
				}
				if n := c.do("WAIT", "1", "10000"); n != "1" {
					t.Fatalf("%s replicas have what was written", n)
				}
				synchronised = int64(len(c.do("GET", "big")))
				replica.do("REPLICAOF", "NO", "ONE")
			})
			found := false
			for _, o := range observeRedis(t, pcap, nil) {
				switch o.method {
				case "PSYNC":
					found = true
					if !o.blocks || !strings.HasPrefix(o.value, "FULLRESYNC ") || o.parts.Count != 1 || o.parts.Bytes < synchronised/100 || o.grade != "complete" {
						t.Errorf("%+v", o)
					}
				case "PING", "REPLCONF":
				default:
					t.Errorf("%s isn't what a replica asks", o.target)
				}
			}
			if !found {
				t.Error("no PSYNC")
			}
		})
	}
}

// TestRedisTLS reads Redis within TLS.
func TestRedisTLS(t *testing.T) {
	certs := certificates(t)
	secure := redisAddress(t)
	_, port, _ := net.SplitHostPort(secure)
	startRedis(t, "--tls-port", port, "--tls-cert-file", certs.Cert("ecdsa"), "--tls-key-file", certs.Key("ecdsa"),
		"--tls-ca-cert-file", certs.Cert("ca"), "--tls-auth-clients", "no")
	if err := tlspeers.Await(secure); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(certs.Cert("ca"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var keys bytes.Buffer
	pcap := record(t, secure, tlspeers.DefaultSegment, func(wire string) {
		conn, err := tls.Dial("tcp", wire, &tls.Config{RootCAs: roots, ServerName: tlspeers.ServerName, KeyLogWriter: &keys})
		if err != nil {
			t.Fatal(err)
		}
		c := newRedisClient(t, conn)
		defer c.close()
		c.do("SET", "a", "1")
		c.send(encodeRedis("GET", "a") + encodeRedis("GET", "b"))
		c.read()
		c.read()
	})
	var got []string
	for _, o := range observeRedis(t, pcap, keys.Bytes()) {
		got = append(got, o.target+" "+o.value)
		if o.tls == nil || !o.tls.Decrypted || o.grade != "complete" {
			t.Errorf("%+v", o)
		}
	}
	if want := []string{"SET a 1 OK", "GET a 1", "GET b nil"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestRedisLargeValues: a large value is counted, and not kept.
func TestRedisLargeValues(t *testing.T) {
	address := startRedis(t)
	const size = 40 << 20
	pcap := record(t, address, 60000, func(wire string) {
		c := dialRedis(t, wire)
		defer c.close()
		c.do("SET", "large", strings.Repeat("x", size))
		c.do("GET", "large")
		c.do("GET", "other")
	})
	all := observeRedis(t, pcap, nil)
	if len(all) != 3 {
		t.Fatalf("%d exchanges", len(all))
	}
	set, get := &all[0], &all[1]
	if want := "SET large " + strings.Repeat("x", 256) + fmt.Sprintf("…[%d]", size); set.target != want {
		t.Errorf("%.300s", set.target)
	}
	if get.parts != (proto.Parts{Count: 1, Bytes: size, Largest: size, First: get.parts.First}) || get.size != size+int64(len("$41943040\r\n\r\n")) || len(get.value) >= redisBody+1 {
		t.Errorf("%+v, %d bytes, %d of them kept", get.parts, get.size, len(get.value))
	}
	for _, o := range all {
		if o.grade != "complete" {
			t.Errorf("%.20s: %s %s", o.target, o.grade, o.reason)
		}
	}
}

// TestRedisLosses: whatever is missing of a recording, no reply is taken for that to another command, and no command is made up.
func TestRedisLosses(t *testing.T) {
	address := startRedis(t)
	const commands = 3000
	for _, pipeline := range []int{1, 7, 100} {
		asked := map[string]bool{}
		pcap := record(t, address, 200, func(wire string) {
			c := dialRedis(t, wire)
			defer c.close()
			for i := 0; i < commands; {
				var all strings.Builder
				n := 0
				for ; n < pipeline; n++ {
					word := fmt.Sprint(i)
					if i%5 == 4 {
						word = strings.Repeat(word+" ", 100)
					}
					command := []string{"ECHO", word}
					if i%3 == 2 {
						command = []string{"EVAL", "return {ARGV[1], {1, ARGV[1]}, 'OK'}", "0", word}
					}
					asked[command[0]+word[:min(len(word), 8)]] = true
					all.WriteString(encodeRedis(command...))
					i++
				}
				c.send(all.String())
				for range n {
					c.read()
				}
			}
		})
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, 0))
			const headers = 40
			lose := func(_ int, packet []byte) bool { return len(packet) > headers && random.IntN(40) == 0 }
			paired, whole := 0, 0
			for _, o := range observeRedis(t, without(pcap, lose), nil) {
				if o.target == "" {
					continue // a reply whose command is missing
				}
				words := strings.SplitN(o.target, " ", 2)
				word := strings.Trim(words[len(words)-1], `"`)
				if o.method == "EVAL" {
					word = strings.TrimPrefix(o.target, `EVAL "return {ARGV[1], {1, ARGV[1]}, 'OK'}" 0 `)
					word = strings.Trim(word, `"`)
				}
				if !asked[o.method+word[:min(len(word), 8)]] {
					t.Fatalf("pipelines of %d, seed %d: a command that nobody sent: %s", pipeline, seed, o.target)
				}
				if o.answered {
					paired++
				}
				if !o.answered || o.grade != "complete" {
					continue
				}
				whole++
				number, _, _ := strings.Cut(word, " ")
				value, _, _ := strings.Cut(strings.SplitN(o.value, "\n", 2)[0], " ")
				if value != number {
					t.Fatalf("pipelines of %d, seed %d: %.40s is answered by %.40q", pipeline, seed, o.target, o.value)
				}
			}
			if pipeline == 1 && whole < commands*8/10 {
				t.Errorf("pipelines of %d, seed %d: %d of %d commands are paired, %d whole", pipeline, seed, paired, commands, whole)
			}
			t.Logf("pipelines of %d, seed %d: %d of %d commands are paired, %d whole", pipeline, seed, paired, commands, whole)
		}
	}
}
