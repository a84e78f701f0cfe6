//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// pgServer is a running PostgreSQL, which logs every statement as JSON.
type pgServer struct {
	dir, bin, host, port string
	process              *tlspeers.Process
}

const (
	pgUser, pgPassword = "admin", "a password"
	pgDatabase         = "postgres"
)

func startPostgres(t *testing.T) *pgServer {
	t.Helper()
	s := &pgServer{dir: t.TempDir()}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // where Debian has them, outside of PATH
	if len(found) == 0 {
		t.Skip("PostgreSQL isn't installed: make deps says how to get it")
	}
	s.bin = found[len(found)-1]
	if os.Getuid() == 0 {
		t.Skip("PostgreSQL doesn't run as root, and this system gives the tests no user namespace")
	}
	c, err := tlspeers.MakeCertificates(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(secret, []byte(pgPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(s.dir, "data")
	if _, err := tlspeers.Output(s.dir, nil, filepath.Join(s.bin, "initdb"), "-D", data, "-U", pgUser, "-A", "scram-sha-256", "--pwfile", secret,
		"--no-sync", "--no-locale", "-E", "UTF8"); err != nil {
		if strings.Contains(err.Error(), "could not look up effective user ID") {
			t.Skipf("initdb wants the user %d to have a name", os.Getuid())
		}
		t.Fatal(err)
	}
	s.host, s.port, _ = net.SplitHostPort(address(t))
	var args []string
	for _, setting := range []string{
		"listen_addresses=" + s.host, "port=" + s.port, "unix_socket_directories=", "fsync=off", "ssl=on",
		"ssl_cert_file=" + c.Cert("ecdsa"), "ssl_key_file=" + c.Key("ecdsa"),
		"log_destination=jsonlog", "logging_collector=on", "log_directory=" + s.dir, "log_filename=log", "log_statement=all",
		"log_connections=on", "log_disconnections=on", "log_parameter_max_length=-1", "wal_level=logical",
	} {
		args = append(args, "-c", setting)
	}
	s.process, err = tlspeers.Start(s.dir, nil, filepath.Join(s.bin, "postgres"), append(args, "-D", data)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = tlspeers.Output(s.dir, nil, filepath.Join(s.bin, "pg_ctl"), "stop", "-D", data, "-m", "immediate")
		s.process.Kill()
	})
	if err := tlspeers.Await(net.JoinHostPort(s.host, s.port)); err != nil {
		t.Fatalf("postgres: %v: %s", err, s.process.Stderr())
	}
	for deadline := time.Now().Add(patience); ; {
		conn, err := pgx.ConnectConfig(context.Background(), s.config(t, pgx.QueryExecModeSimpleProtocol))
		if err == nil {
			conn.Close(context.Background())
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// tapMany starts tcpdump as startTap does, with room for many packets: in immediate mode each takes a slot as large as the largest.
func tapMany(t *testing.T) *tap {
	t.Helper()
	p := &tap{
		cmd:      exec.Command(program(t, "tcpdump"), "-i", "lo", "-U", "-B", "65536", "-Z", "root", "-w", "-", "ip"),
		captured: make(chan []byte, 1),
		marked:   make(chan struct{}),
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	said := bufio.NewScanner(stderr)
	for said.Scan() {
		if strings.Contains(said.Text(), "listening on") {
			go io.Copy(io.Discard, stderr) // so that it never waits to be heard
			go p.read(stdout)
			return p
		}
	}
	t.Skip("tcpdump can't capture here")
	return nil
}

// config returns how pgx talks to the server, in plaintext.
func (s *pgServer) config(t *testing.T, mode pgx.QueryExecMode) *pgx.ConnConfig {
	t.Helper()
	c, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s password='%s' dbname=%s sslmode=disable", s.host, s.port, pgUser, pgPassword, pgDatabase))
	if err != nil {
		t.Fatal(err)
	}
	c.DefaultQueryExecMode = mode
	return c
}

// run has a program of PostgreSQL's talk to the server.
func (s *pgServer) run(t *testing.T, name, stdin string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(stdin), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PGHOST="+s.host, "PGPORT="+s.port, "PGUSER="+pgUser, "PGPASSWORD="+pgPassword, "PGDATABASE="+pgDatabase,
		"PGSSLMODE=disable", "PGGSSENCMODE=disable", "HOME="+s.dir)
	out, err := tlspeers.Output(s.dir, env, filepath.Join(s.bin, name), append(args, "-f", file)...)
	if err != nil && stdin != pgFailing {
		t.Fatal(err)
	}
	return string(out)
}

// pgFailing is a script that fails, as it is to.
const pgFailing = "select 1;\nselect nothing;\n"

// pgRan is a statement: as the server's log has it, or culprit.
type pgRan struct {
	text, parameters, code string
}

func (r pgRan) String() string {
	return fmt.Sprintf("%s %s %s", strings.Join(strings.Fields(r.text), " "), r.code, r.parameters)
}

// entry is what is read of an entry of the server's log.
type pgEntry struct {
	Port      int `json:"remote_port"`
	PID       int
	Severity  string `json:"error_severity"`
	State     string `json:"state_code"`
	Message   string
	Detail    string
	Statement string
}

// log returns what the server's log says that it ran, by the port of the client. It waits until the sessions have ended.
func (s *pgServer) log(t *testing.T) map[int][]pgRan {
	t.Helper()
	all := map[int][]pgRan{}
	text, err := os.ReadFile(filepath.Join(s.dir, "log.json"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e pgEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		list := all[e.Port]
		kind, statement, found := strings.Cut(e.Message, ": ")
		switch {
		case e.Severity == "LOG" && found && (kind == "statement" || strings.HasPrefix(kind, "execute ")):
			r := pgRan{text: statement}
			if p, ok := strings.CutPrefix(e.Detail, "parameters: "); ok {
				r.parameters = p
			}
			list = append(list, r)
		case e.Severity == "ERROR":
			if n := len(list); n > 0 && list[n-1].text == e.Statement && list[n-1].code == "" {
				list[n-1].code = e.State
			} else {
				list = append(list, pgRan{text: e.Statement, code: e.State, parameters: untold})
			}
		}
		all[e.Port] = list
	}
	return all
}

// pgAsked is an exchange as the tests compare it.
type pgAsked struct {
	pgRan
	method, prepared, session, tag, grade, reason string
	target, body                                  string
	protocol                                      string
	secure, oneWay, aborted, hasResponse, blocks  bool
	rows, bytes, sent, affected                   int64
	anomalies                                     proto.Anomalies
	start                                         int64
	stream                                        uint64
}

// pgAsks takes exchanges by the port of the client.
type pgAsks map[int][]*pgAsked

func (pgAsks) Idle() error { return nil }

func (r pgAsks) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		q, p := &x.Request, &x.Response
		a := &pgAsked{
			protocol: x.Protocol, grade: x.Grade.String(), reason: x.Reason, anomalies: x.Anomalies, start: x.Start.Time, stream: x.StreamID(),
			secure: x.TLS != nil, aborted: x.Abort != nil, hasResponse: x.HasResponse, body: string(x.ResponseBody.Bytes),
		}
		if x.HasRequest {
			a.blocks = q.Blocks
			a.anomalies |= q.Anomalies
			a.method, a.target, a.prepared, a.sent = string(q.Bytes(q.Method)), string(q.Bytes(q.Target)), string(q.FactText("prepared")), q.BodyBytes
			a.text = a.target
			var parameters []string
			for i := range q.Facts {
				if f := &q.Facts[i]; f.Name == "parameter" {
					v := string(q.Bytes(f.Value))
					v = strings.TrimSuffix(v, "Z") // of a time in text, which the server writes in its own way
					if v != "NULL" {
						v = "'" + strings.ReplaceAll(v, "'", "''") + "'"
					}
					parameters = append(parameters, fmt.Sprintf("$%d = %s", len(parameters)+1, v))
				}
			}
			a.parameters = strings.Join(parameters, ", ")
		} else {
			a.method, a.target, a.oneWay = string(p.Bytes(p.Method)), string(p.Bytes(p.Target)), p.OneWay
		}
		if x.HasResponse {
			a.anomalies |= p.Anomalies
			a.code, a.tag, a.session = string(p.FactText(proto.FactError)), string(p.FactText("command_tag")), string(p.FactText("session"))
			a.rows, a.bytes = p.Parts.Count, p.Parts.Bytes
			if f := p.Fact("affected_rows"); f != nil {
				a.affected = f.Number
			}
		}
		port := int(x.Flow.Port[x.Client])
		r[port] = append(r[port], a)
	}
	return nil
}

// pgAskAll runs the pipeline over a capture.
func pgAskAll(t *testing.T, file string, keys []byte) pgAsks {
	t.Helper()
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	log := keylog.NewStore(keylog.Options{})
	log.Add(keys)
	log.Publish()
	all := pgAsks{}
	if _, err := pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 4 << 30, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, Keys: log,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 10000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute},
	}, all); err != nil {
		t.Error(err)
	}
	for _, list := range all {
		slices.SortStableFunc(list, func(a, b *pgAsked) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.stream, b.stream))
		})
	}
	return all
}

// untold stands for parameters that the server doesn't log, since it failed before it ran the statement.
const untold = "?"

// pgUnlogged are the methods of exchanges that run nothing, and aren't in the server's log unless they fail.
var pgUnlogged = []string{"LOGIN", "TERMINATE", "PREPARE", "DESCRIBE", "BIND", "CLOSE", "SYNC", "CANCEL", "NOTIFY"}

// agreeWith compares what culprit saw with the server's log, statement by statement.
func (s *pgServer) agreeWith(t *testing.T, all pgAsks) {
	t.Helper()
	log := s.log(t)
	statements := 0
	for port, list := range all {
		var have []string
		for _, a := range list {
			sql := len(a.text) >= len(a.method) && strings.EqualFold(a.text[:len(a.method)], a.method) // such as PREPARE p AS
			if a.protocol == "postgresql" && !a.aborted && (a.code != "" && a.method != "LOGIN" || sql || !slices.Contains(pgUnlogged, a.method)) {
				have = append(have, a.pgRan.String())
			}
			if a.protocol == "postgresql" && a.grade != "complete" && !a.aborted {
				t.Errorf("port %d: %s %s is %s: %s", port, a.method, a.pgRan, a.grade, a.reason)
			}
			if a.anomalies != 0 {
				a.anomalies.Each(func(o proto.Anomaly) { t.Errorf("port %d: %s %s: %s", port, a.method, a.pgRan, o) })
			}
		}
		var want []string
		for i, r := range log[port] {
			text := r.String()
			if known, ok := strings.CutSuffix(text, untold); ok && i < len(have) && strings.HasPrefix(have[i], known) {
				text = have[i]
			}
			want = append(want, text)
		}
		statements += len(want)
		if !slices.Equal(have, want) {
			i := 0
			for i < min(len(have), len(want)) && have[i] == want[i] {
				i++
			}
			t.Errorf("port %d: %d statements, the server has %d; from the %dth:\nculprit  %s\nserver   %s", port, len(have), len(want), i+1,
				strings.Join(have[i:min(i+5, len(have))], "\n         "), strings.Join(want[i:min(i+5, len(want))], "\n         "))
		}
	}
	t.Logf("%d connections, %d statements", len(all), statements)
	if statements == 0 {
		t.Error("the server has run nothing")
	}
}

// pgMust stops a test where pgx fails.
func pgMust[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pgFails stops a test where pgx doesn't fail as it is to.
func pgFails(t *testing.T, err error, code string) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%v, want the error %s", err, code)
	}
}

const pgGoods = "create table if not exists goods (id int primary key, name text, price numeric(10,2), made timestamp, tag uuid, ok bool)"

// TestPostgresClients has clients talk to the server in all ways that they have. What culprit says is what the server logs.
func TestPostgresClients(t *testing.T) {
	s := startPostgres(t)
	tap := tapMany(t)
	var rows, affected []int64

	// psql: simple queries, several at once, errors, transactions, COPY both ways, large results, cursors.
	s.run(t, "psql", pgGoods+`;
insert into goods select i, 'thing ' || i, i * 1.5, '2026-11-22', null, i % 2 = 0 from generate_series(1, 1000) i;
begin; update goods set ok = not ok where id <= 10; savepoint a;
rollback to savepoint a; commit;
select 1\; select 2 where false\; select 'three';
-- a comment
/* another */ select count(*) from goods;
drop table if exists nothing;
copy (select id, name from goods order by id) to stdout;
create temp table copied (a int, b text);
copy copied from stdin;
1	one
2	two
3	\N
\.
copy copied from stdin with csv;
4,four
\.
select * from generate_series(1, 50000) g, repeat('x', 20);
listen news; notify news, 'hello';
do $$ begin raise notice 'first'; raise warning 'second'; end $$;
select pg_notify('news', 'from a function');
begin; declare c cursor for select * from goods; fetch 5 from c; fetch all from c; close c; commit;
prepare p as select * from goods where id = $1; execute p(7); deallocate p;
`, "-q", "-o", "/dev/null")
	s.run(t, "psql", pgFailing, "-q")
	s.run(t, "pg_dump", "") // which has its own snapshot, and many catalogues to read
	// pgbench: the three protocols, and pipelines.
	for _, mode := range []string{"simple", "extended", "prepared"} {
		s.run(t, "pgbench", "\\set id random(1, 1000)\nbegin;\nselect name from goods where id = :id;\nupdate goods set price = price + 1 where id = :id;\nend;\n",
			"-n", "-M", mode, "-c", "3", "-t", "50")
	}
	for _, mode := range []string{"extended", "prepared"} {
		s.run(t, "pgbench", "\\set id random(1, 1000)\n\\startpipeline\nselect name from goods where id = :id;\nselect 1;\nselect :id + 1;\n\\endpipeline\n",
			"-n", "-M", mode, "-c", "2", "-t", "50")
	}

	// pgx: binary values, a cache of prepared statements, pipelines, errors within them.
	ctx := context.Background()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		c := pgMust(pgx.ConnectConfig(ctx, s.config(t, mode)))(t)
		for i := range 3 {
			id := 2000 + 10*int(mode) + i
			tag := pgMust(c.Exec(ctx, "insert into goods values ($1, $2, $3, $4, $5, $6)", id, "it's", "12.50", time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC),
				"12345678-9abc-def0-1234-56789abcdef0", i%2 == 0))(t)
			affected = append(affected, tag.RowsAffected())
			r := pgMust(c.Query(ctx, "select id, name from goods where id > $1 order by id", id-1))(t)
			n := int64(0)
			for r.Next() {
				n++
			}
			rows = append(rows, n)
		}
		_, err := c.Exec(ctx, "insert into goods values ($1)", 1)
		pgFails(t, err, "23505")
		_, err = c.Exec(ctx, "selec")
		pgFails(t, err, "42601")
		if mode != pgx.QueryExecModeSimpleProtocol {
			b := &pgx.Batch{}
			for i := range 20 {
				b.Queue("select name from goods where id = $1", i)
				if i == 13 {
					b.Queue("select 1 / ($1 - 13)", i)
				}
			}
			pgFails(t, c.SendBatch(ctx, b).Close(), "22012")
		}
		c.Close(ctx)
	}
	file := tap.stop(t)
	all := pgAskAll(t, file, nil)
	s.agreeWith(t, all)
	lossy(t, file, all)

	// What came back, by what pgx says of it.
	var gotRows, gotAffected []int64
	byPort := slices.SortedFunc(func(yield func(int) bool) {
		for port := range all {
			if !yield(port) {
				return
			}
		}
	}, func(a, b int) int { return cmp.Compare(all[a][0].start, all[b][0].start) })
	for _, port := range byPort {
		for _, a := range all[port] {
			switch {
			case strings.HasPrefix(a.text, "select id, name from goods where id >") && a.method == "SELECT":
				gotRows = append(gotRows, a.rows)
			case strings.HasPrefix(a.text, "insert into goods values (") && a.code == "" && a.method == "INSERT":
				gotAffected = append(gotAffected, a.affected)
			}
		}
	}
	if !slices.Equal(gotRows, rows) || !slices.Equal(gotAffected, affected) {
		t.Errorf("rows %v and %v, pgx has %v and %v", gotRows, gotAffected, rows, affected)
	}
	for text, want := range map[string]struct{ rows, sent int64 }{
		"copy (select id, name from goods order by id) to stdout;":    {rows: 1000},
		"copy copied from stdin;":                                     {sent: 17},
		"copy copied from stdin with csv;":                            {sent: 7},
		"select * from generate_series(1, 50000) g, repeat('x', 20);": {rows: 50000},
		"select 1; select 2 where false; select 'three';":             {rows: 2},
		"fetch all from c;":                                           {rows: 995},
	} {
		found := false
		for _, list := range all {
			for _, a := range list {
				if a.text == text {
					found = true
					// psql may send the line with which its input ends, too.
					if a.rows != want.rows || a.sent < want.sent || a.sent > want.sent+int64(len("\\.\n")) {
						t.Errorf("%s: %d rows, %d bytes sent; want %v", text, a.rows, a.sent, want)
					}
				}
			}
		}
		if !found {
			t.Errorf("%s isn't there", text)
		}
	}
}

// lossy loses some of the packets of a capture, and looks what culprit makes of the rest: whatever has an answer has its own.
func lossy(t *testing.T, file string, all pgAsks) {
	t.Helper()
	pcap, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		port  int
		start int64
		text  string
	}
	whole := map[key][]*pgAsked{}
	answered := 0
	for port, list := range all {
		for _, a := range list {
			k := key{port, a.start, a.text}
			whole[k] = append(whole[k], a)
			if a.hasResponse {
				answered++
			}
		}
	}
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 0))
		part := filepath.Join(t.TempDir(), "part.pcap")
		if err := os.WriteFile(part, without(pcap, func(i int, _ []byte) bool { return random.IntN(50) == 0 || seed > 3 && i < 500 }), 0o600); err != nil {
			t.Fatal(err)
		}
		found := 0
		for port, list := range pgAskAll(t, part, nil) {
			for _, a := range list {
				if a.text == unknownText || !a.hasResponse || a.method == "" || a.grade != "complete" {
					continue
				}
				candidates := whole[key{port, a.start, a.text}]
				if !slices.ContainsFunc(candidates, func(w *pgAsked) bool {
					return w.tag == a.tag && w.rows == a.rows && w.code == a.code && w.affected == a.affected &&
						(w.parameters == a.parameters || strings.Contains(a.parameters, `'\x`)) // of types that were told in what is missing
				}) {
					t.Errorf("seed %d, port %d: %s %s, answered by %q %s, %d rows: that isn't in the whole", seed, port, a.method, a.pgRan, a.tag, a.code, a.rows)
				}
				found++
			}
		}
		t.Logf("seed %d: %d of %d answered", seed, found, answered)
		if found < answered/2 {
			t.Errorf("seed %d: only %d of %d exchanges are found", seed, found, answered)
		}
	}
}

// unknownText is the text of a statement that isn't known.
const unknownText = "?"

// TestPostgresSessions holds what isn't a statement against what pgx says: logins and their failures, cancelling, notifications,
// rows copied in both directions, TLS.
func TestPostgresSessions(t *testing.T) {
	s := startPostgres(t)
	ctx := context.Background()
	setup := pgMust(pgx.ConnectConfig(ctx, s.config(t, pgx.QueryExecModeSimpleProtocol)))(t)
	pgMust(setup.Exec(ctx, pgGoods))(t)
	setup.Close(ctx)
	tap := tapMany(t)

	wrong := s.config(t, pgx.QueryExecModeExec)
	wrong.Password = "wrong"
	_, err := pgx.ConnectConfig(ctx, wrong)
	pgFails(t, err, "28P01")
	wrong = s.config(t, pgx.QueryExecModeExec)
	wrong.Database = "nowhere"
	_, err = pgx.ConnectConfig(ctx, wrong)
	pgFails(t, err, "3D000")

	// TLS: the server agrees to it, and what follows is read with the keys.
	keys := &keyLog{}
	secure := s.config(t, pgx.QueryExecModeCacheStatement)
	secure.TLSConfig = &tls.Config{InsecureSkipVerify: true, KeyLogWriter: keys} //nolint:gosec // the test's own server
	c := pgMust(pgx.ConnectConfig(ctx, secure))(t)
	securePID := c.PgConn().PID()
	var number int
	if err := c.QueryRow(ctx, "select $1::int + 1", 41).Scan(&number); err != nil || number != 42 {
		t.Fatalf("%d, %v", number, err)
	}
	c.Close(ctx)

	// Cancelling, by a connection of its own.
	c = pgMust(pgx.ConnectConfig(ctx, s.config(t, pgx.QueryExecModeExec)))(t)
	pid := c.PgConn().PID()
	sleep := c.PgConn().Exec(ctx, "select pg_sleep(60)")
	other := pgMust(pgx.ConnectConfig(ctx, s.config(t, pgx.QueryExecModeExec)))(t)
	for asleep, deadline := false, time.Now().Add(patience); !asleep; {
		if err := other.QueryRow(ctx, "select wait_event = 'PgSleep' from pg_stat_activity where pid = "+strconv.Itoa(int(pid))).Scan(&asleep); err != nil {
			asleep = false // it waits for nothing yet
		}
		if time.Now().After(deadline) {
			t.Fatal("the server doesn't sleep")
		}
	}
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = sleep.ReadAll()
	pgFails(t, err, "57014")

	// COPY both ways: binary in, text out.
	copied := pgMust(c.CopyFrom(ctx, pgx.Identifier{"goods"}, []string{"id", "name"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
		return []any{i, strings.Repeat("n", i%100)}, nil
	})))(t)
	counter := &pgLines{}
	pgMust(c.PgConn().CopyTo(ctx, counter, "copy goods to stdout"))(t)
	_, err = c.PgConn().CopyFrom(ctx, strings.NewReader("1\tx\n2\ty\n"), "copy goods (id, name) from stdin")
	pgFails(t, err, "23505")
	_, err = c.PgConn().CopyFrom(ctx, io.MultiReader(strings.NewReader("9999\tx\n"), pgFailingReader{}), "copy goods (id, name) from stdin")
	pgFails(t, err, "57014")

	// Notifications.
	pgMust(c.Exec(ctx, "listen news"))(t)
	pgMust(other.Exec(ctx, "notify news, 'from afar'"))(t)
	if n := pgMust(c.WaitForNotification(ctx))(t); n.Payload != "from afar" {
		t.Fatalf("notified of %q", n.Payload)
	}
	// The server ends a session.
	listener := c.PgConn().Conn().LocalAddr().(*net.TCPAddr).Port
	pgMust(other.Exec(ctx, "select pg_terminate_backend("+strconv.Itoa(int(pid))+")"))(t)
	_, err = c.WaitForNotification(ctx)
	pgFails(t, err, "57P01")
	// Logical replication: what changes goes on until it is told to end.
	slot := []string{"-d", pgDatabase, "--slot", "peers", "-P", "test_decoding"}
	s.run(t, "pg_recvlogical", "", append(slot, "--create-slot")...)
	pgMust(other.Exec(ctx, "update goods set ok = true where id < 50"))(t)
	var end string
	if err := other.QueryRow(ctx, "select pg_current_wal_lsn()::text").Scan(&end); err != nil {
		t.Fatal(err)
	}
	pgMust(other.Exec(ctx, "insert into goods values (-1)"))(t) // or there would be nothing at the end
	s.run(t, "pg_recvlogical", "", append(slot, "--start", "--no-loop", "-E", end)...)
	other.Close(ctx)

	file := tap.stop(t)
	all := pgAskAll(t, file, keys.bytes())
	counts := map[string]int{}
	for port, list := range all {
		for _, a := range list {
			if a.protocol != "postgresql" {
				continue
			}
			counts[a.method+" "+a.code]++
			switch {
			case a.method == "LOGIN" && a.secure:
				if a.session != strconv.Itoa(int(securePID)) {
					t.Errorf("the session over TLS is %s, pgx has %d", a.session, securePID)
				}
			case a.method == "LOGIN" && port == listener:
				if a.session != strconv.Itoa(int(pid)) {
					t.Errorf("the session is %s, pgx has %d", a.session, pid)
				}
			case a.method == "CANCEL":
				if a.target != strconv.Itoa(int(pid)) {
					t.Errorf("%s is cancelled, pgx has %d", a.target, pid)
				}
			case a.text == "select $1::int + 1" && a.method == "SELECT":
				if a.parameters != "$1 = '41'" || a.body != "42\n" || !a.secure {
					t.Errorf("over TLS: %+v", a)
				}
			case a.method == "COPY" && strings.HasSuffix(a.text, "binary;"):
				if a.affected != copied {
					t.Errorf("%d rows copied, pgx has %d", a.affected, copied)
				}
			case a.method == "COPY" && strings.HasSuffix(a.text, "stdout"):
				if a.rows != counter.lines || a.bytes != counter.bytes {
					t.Errorf("%d rows of %d bytes copied, pgx has %d of %d", a.rows, a.bytes, counter.lines, counter.bytes)
				}
			case a.method == "NOTIFY" && a.oneWay:
				if a.target != "news" || a.body != "from afar" || port != listener {
					t.Errorf("notified of %q at %s", a.body, a.target)
				}
			case a.method == "START_REPLICATION":
				if !a.blocks || a.rows < 50 { // with a keep-alive here and there
					t.Errorf("%d changes of %d bytes replicated, blocks %v: %s, %s", a.rows, a.bytes, a.blocks, a.grade, a.reason)
				}
			case a.method == "ERROR" && (!a.oneWay || port != listener):
				t.Errorf("an error that nobody pgAsked for: %+v", a)
			}
		}
	}
	for what, want := range map[string]int{
		"LOGIN 28P01": 1, "LOGIN 3D000": 1, "LOGIN ": 5, "CANCEL ": 1, "SELECT 57014": 1, "COPY ": 2, "COPY 23505": 1, "COPY 57014": 1,
		"NOTIFY ": 2, "ERROR 57P01": 1, "START_REPLICATION ": 1,
	} {
		if counts[what] != want {
			t.Errorf("%s: %d times, want %d; all are %v", what, counts[what], want, counts)
		}
	}
}

// pgLines counts what is written to it.
type pgLines struct{ lines, bytes int64 }

func (c *pgLines) Write(b []byte) (int, error) {
	c.lines += int64(bytes.Count(b, []byte("\n")))
	c.bytes += int64(len(b))
	return len(b), nil
}

// pgFailingReader fails, so that what is copied from it is given up.
type pgFailingReader struct{}

func (pgFailingReader) Read([]byte) (int, error) { return 0, errors.New("changed my mind") }
