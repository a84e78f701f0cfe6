//go:build linux

package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// mariaDB is a running MariaDB that logs every command into a table.
type mariaDB struct {
	address      string
	certificates tlspeers.Certificates
}

func startMariaDB(t *testing.T) *mariaDB {
	t.Helper()
	install, server := program(t, "mariadb-install-db"), program(t, "mariadbd")
	s := &mariaDB{address: address(t), certificates: certificates(t)}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	user := ""
	if os.Getuid() == 0 {
		user = "--user=root"
	}
	arguments := func(more ...string) []string {
		return slices.DeleteFunc(append([]string{"--no-defaults", "--datadir=" + data, user}, more...), func(a string) bool { return a == "" })
	}
	if out, err := tlspeers.Output(dir, nil, install, arguments("--auth-root-authentication-method=normal", "--skip-test-db")...); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	c := s.certificates
	p, err := tlspeers.Start(dir, nil, server, arguments("--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "s"), "--general-log=1", "--log-output=TABLE",
		"--local-infile=1", "--max-allowed-packet=64M", "--skip-name-resolve",
		"--ssl-ca="+c.Cert("ca"), "--ssl-cert="+c.Cert("rsa"), "--ssl-key="+c.Key("rsa"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := tlspeers.Await(s.address); err != nil {
		t.Fatalf("mariadbd: %v: %s", err, p.Stderr())
	}
	return s
}

// logged is what the server says that its clients asked, by session: a command and its argument.
func (s *mariaDB) logged(t *testing.T) map[string][]string {
	t.Helper()
	db := open(t, s.address, nil)
	rows, err := db.Query("SELECT thread_id, command_type, argument FROM mysql.general_log ORDER BY event_time")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var id, command, argument string
		if err := rows.Scan(&id, &command, &argument); err != nil {
			t.Fatal(err)
		}
		all[id] = append(all[id], command+" "+argument)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// open connects to a server.
func open(t *testing.T, address string, change func(c *mysql.Config)) *sql.DB {
	t.Helper()
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Logger, c.MaxAllowedPacket = "tcp", address, "root", &mysql.NopLogger{}, 64<<20
	if change != nil {
		change(c)
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

// call is what a client asks: a statement, with parameters if it is to be prepared. file is what LOAD DATA LOCAL sends.
type call struct {
	statement  string
	parameters []any
}

// outcome is what a call gave: to the client, or to culprit.
type outcome struct {
	statement                string
	parameters               []string
	code                     string
	affected, insertID, rows int64
	// text is the rows, with tabs between values.
	text string
}

func (o *outcome) String() string {
	text := o.text
	if len(text) > 200 {
		text = fmt.Sprintf("%s... (%d bytes)", text[:200], len(text))
	}
	return fmt.Sprintf("%.300s %.300q: error %s, %d affected, insert id %d, %d rows\n%s", o.statement, o.parameters, o.code, o.affected, o.insertID, o.rows, text)
}

var returnsRows = regexp.MustCompile(`^(SELECT|SHOW|CALL|WITH)`)

// do makes a call.
func (c call) do(t *testing.T, db *sql.DB) (o outcome) {
	t.Helper()
	o.statement = c.statement
	for _, p := range c.parameters {
		switch p := p.(type) {
		case nil:
			o.parameters = append(o.parameters, "NULL")
		case []byte:
			o.parameters = append(o.parameters, string(p))
		default:
			o.parameters = append(o.parameters, fmt.Sprint(p))
		}
	}
	failed := func(err error) bool {
		var e *mysql.MySQLError
		if errors.As(err, &e) {
			o.code = fmt.Sprint(e.Number)
		} else if err != nil {
			t.Errorf("%s: %v", c.statement, err)
		}
		return err != nil
	}
	if !returnsRows.MatchString(c.statement) {
		r, err := db.Exec(c.statement, c.parameters...)
		if !failed(err) {
			all, err := r.(interface{ RowsAffected() (int64, error) }).RowsAffected()
			failed(err)
			o.affected = all
			o.insertID, err = r.LastInsertId()
			failed(err)
		}
		return o
	}
	rows, err := db.Query(c.statement, c.parameters...)
	if failed(err) {
		return o
	}
	defer rows.Close()
	var text strings.Builder
	for {
		columns, err := rows.Columns()
		failed(err)
		cells, to := make([][]byte, len(columns)), make([]any, len(columns))
		for i := range cells {
			to[i] = &cells[i]
		}
		for rows.Next() {
			failed(rows.Scan(to...))
			o.rows++
			for i, cell := range cells {
				if i > 0 {
					text.WriteByte('\t')
				}
				if cell == nil {
					text.WriteString(`\N`)
				} else {
					text.WriteString(escapeCell.Replace(string(cell)))
				}
			}
			text.WriteByte('\n')
		}
		if !rows.NextResultSet() {
			break
		}
	}
	failed(rows.Err())
	o.text = text.String()
	return o
}

var escapeCell = strings.NewReplacer("\t", `\t`, "\n", `\n`, `\`, `\\`, "\x00", `\0`)

// identity asks for the number of the session, which the log has.
const identity = "SELECT CONNECTION_ID()"

// calls are what every client asks.
func calls() []call {
	big := strings.Repeat("0123456789abcdef", 17<<16) // 17 MiB: more than a packet
	long := strings.Repeat("long ", 20000)
	all := []call{
		{statement: identity},
		{statement: "DROP DATABASE IF EXISTS shop"},
		{statement: "CREATE DATABASE shop"},
		{statement: "USE shop"},
		{statement: "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT UNSIGNED, name VARCHAR(100), price DECIMAL(10,2), r DOUBLE, f FLOAT, day DATE, at DATETIME(6), span TIME(3), data LONGBLOB, tiny TINYINT, y YEAR)"},
		{statement: "INSERT INTO t (n, name) VALUES (1, 'one'), (2, 'two'), (3, NULL)"},
		{"INSERT INTO t (n, name, price, r, f, day, at, span, tiny, y) VALUES (?, ?, ?, ?, 1.5, ?, ?, ?, ?, 2024)", []any{uint64(1<<64 - 1), "it's\tfour\nlines\\", "12.50", 2.25, "2024-02-29", "2024-02-29 12:30:00.000500", "-26:03:04.5", -5}},
		{"SELECT * FROM t WHERE id >= ? ORDER BY id", []any{1}},
		{statement: "SELECT * FROM t ORDER BY id"},
		{"SELECT name FROM t WHERE name = ?", []any{nil}},
		{"SELECT LENGTH(?)", []any{[]byte(long)}},
		{statement: "UPDATE t SET n = n + 1 WHERE id < 3"},
		{statement: "BEGIN"},
		{statement: "DELETE FROM t WHERE id = 3"},
		{statement: "ROLLBACK"},
		{statement: "selekt 1"},
		{statement: "SELECT * FROM nowhere"},
		{statement: "INSERT INTO t (id) VALUES (1)"},
		{"SELECT ? + nothing", []any{1}},
		{statement: "SELECT seq, REPEAT('x', seq MOD 300) FROM seq_1_to_20000"},
		{"SELECT seq, seq * 1.5e0, IF(seq MOD 7, seq, NULL) FROM seq_1_to_5000 WHERE seq <> ?", []any{17}},
		{statement: "SELECT 1; SELECT seq FROM seq_1_to_3; SELECT 'a', NULL"},
		{statement: "SELECT id FROM t WHERE id < 0"},
		{statement: "LOAD DATA LOCAL INFILE 'Reader::numbers' INTO TABLE t (n, name)"},
		{statement: "SELECT '" + big + "'"},
		{statement: "SELECT LENGTH('" + big + "')"},
		{statement: "SHOW STATUS LIKE 'Uptime%'"},
		{statement: "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2, 3; END"},
		{statement: "CALL p()"},
		{statement: "SELECT 1/0"},
	}
	for i := range 300 {
		all = append(all, call{statement: fmt.Sprintf("SELECT n FROM t WHERE id = %d", i%5)})
	}
	return all
}

// numbers is the file that LOAD DATA LOCAL sends, and what it is after.
func numbers() io.Reader {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "%d\tnumber %d\n", i, i)
	}
	return strings.NewReader(b.String())
}

// conversations runs the pipeline over a capture, and returns the exchanges of MySQL in the order of their beginning.
func conversations(t *testing.T, pcap, keys []byte) kept {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mysql.pcap")
	if err := os.WriteFile(file, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	store := keylog.NewStore(keylog.Options{})
	store.Add(keys)
	var all kept
	if _, err := pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 1 << 30, Keys: store, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: maxResult, ExchangeTimeout: 5 * time.Minute},
	}, &all); err != nil {
		t.Error(err)
	}
	return all
}

// maxResult is how much of a result's text is compared, and maxText how much of a statement.
const (
	maxResult = 1 << 20
	maxText   = 64 << 10
)

// kept collects what is compared of the exchanges of MySQL, which are used again afterwards.
type kept []spoken

// spoken is an exchange: its method, its grade, how the server's log has it, and what came of it.
type spoken struct {
	method, grade, entry string
	outcome
}

// Exchanges implements pipeline.Receiver.
func (k *kept) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if x.Protocol == "mysql" {
			*k = append(*k, spoken{string(x.Request.Bytes(x.Request.Method)), x.Grade.String(), entry(x), reported(x)})
		}
	}
	return nil
}

// Idle implements pipeline.Receiver.
func (k *kept) Idle() error { return nil }

func texts(m *proto.Message, name string) (all []string) {
	for i := range m.Facts {
		if f := &m.Facts[i]; f.Name == name {
			all = append(all, string(m.Bytes(f.Value)))
		}
	}
	return all
}

func number(m *proto.Message, name string) int64 {
	if f := m.Fact(name); f != nil {
		return f.Number
	}
	return 0
}

// reported is what culprit makes of an exchange.
func reported(x *exchange.Exchange) outcome {
	return outcome{
		statement: string(x.Request.Bytes(x.Request.Target)), parameters: texts(&x.Request, "parameter"), code: string(x.Response.FactText(proto.FactError)),
		affected: number(&x.Response, "affected_rows"), insertID: number(&x.Response, "insert_id"), rows: x.Response.Parts.Count, text: string(x.ResponseBody.Bytes),
	}
}

// entry is how the server's log has an exchange, empty where it hasn't.
func entry(x *exchange.Exchange) string {
	method, target := string(x.Request.Bytes(x.Request.Method)), string(x.Request.Bytes(x.Request.Target))
	switch method {
	case "LOGIN":
		return "Connect"
	case "PREPARE":
		return "Prepare " + target
	case "CLOSE":
		return "Close stmt "
	case "QUIT":
		return "Quit "
	case "PING":
		return "Ping "
	case "INIT_DB":
		return "Init DB " + strings.TrimPrefix(target, "USE ")
	}
	if x.Request.FactText("prepared") != nil {
		return "Execute " + target
	}
	return "Query " + target
}

func TestMariaDB(t *testing.T) {
	s := startMariaDB(t)
	mysql.RegisterReaderHandler("numbers", numbers)
	ca, err := os.ReadFile(s.certificates.Cert("ca"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	for _, way := range []struct {
		name   string
		change func(c *mysql.Config, keys io.Writer)
	}{
		{"plain", func(*mysql.Config, io.Writer) {}},
		{"with a database", func(c *mysql.Config, _ io.Writer) { c.DBName = "mysql" }},
		{"compressed", func(c *mysql.Config, _ io.Writer) { c.Apply(mysql.EnableCompression(true)) }},
		{"TLS", func(c *mysql.Config, keys io.Writer) {
			c.TLS = &tls.Config{RootCAs: pool, ServerName: tlspeers.ServerName, KeyLogWriter: keys}
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			wire, err := tlspeers.NewWire(s.address, tlspeers.DefaultSegment)
			if err != nil {
				t.Fatal(err)
			}
			var keys bytes.Buffer
			db := open(t, wire.Address(), func(c *mysql.Config) {
				c.MultiStatements = true
				way.change(c, &keys)
			})
			var said []outcome
			for _, c := range calls() {
				said = append(said, c.do(t, db))
			}
			db.Close()
			pcap, err := wire.Stop()
			if err != nil {
				t.Fatal(err)
			}
			all := conversations(t, pcap, keys.Bytes())
			agreeWithClient(t, said, all)
			log := s.logged(t)[strings.TrimSpace(said[0].text)]
			agreeWithLog(t, log, all)
			for from := range 3 {
				mysqlIncomplete(t, said, conversations(t, mysqlWithout(pcap, from), keys.Bytes()))
			}
		})
	}
}

// mysqlWithout leaves packets out of a capture: the beginning of the connection, and some after that.
func mysqlWithout(pcap []byte, from int) []byte {
	const fileHeader, recordHeader, length = 24, 16, 8
	out := slices.Clone(pcap[:fileHeader])
	for i, b := 0, pcap[fileHeader:]; len(b) > 0; i++ {
		n := recordHeader + int(binary.NativeEndian.Uint32(b[length:]))
		if i >= 20*from && (i+from*31)%211 != 100 {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

// mysqlIncomplete checks that what culprit takes for whole, in a capture that isn't, is what the client was told.
func mysqlIncomplete(t *testing.T, said []outcome, all kept) {
	t.Helper()
	whole := 0
	for _, x := range all {
		if x.grade != exchange.Complete.String() || x.method == "PREPARE" || x.method == "CLOSE" || x.method == "LOGIN" || x.statement == "?" || x.statement == "" {
			continue
		}
		if whole++; !slices.ContainsFunc(said, func(o outcome) bool {
			return o.statement[:min(len(o.statement), maxText)] == x.statement && o.code == x.code && o.affected == x.affected && o.rows == x.rows
		}) {
			t.Errorf("not so: %s", &x.outcome)
		}
	}
	t.Logf("%d of %d exchanges are whole", whole, len(all))
}

// agreeWithClient compares what the client was told with what culprit saw.
func agreeWithClient(t *testing.T, said []outcome, all kept) {
	t.Helper()
	i := 0
	for _, x := range all {
		switch x.method {
		case "LOGIN", "PREPARE", "CLOSE", "QUIT", "SEND_LONG_DATA", "PING":
			if x.code == "" {
				continue
			}
		}
		if i == len(said) {
			t.Fatalf("there is more: %s", &x.outcome)
		}
		want, have := said[i], x.outcome
		i++
		if x.method == "PREPARE" {
			want.parameters = nil // it couldn't be prepared, so they were never sent
		}
		for _, o := range []*outcome{&want, &have} {
			o.text, o.statement = o.text[:min(len(o.text), maxResult)], o.statement[:min(len(o.statement), maxText)]
			if len(o.parameters) > 0 && len(o.parameters[0]) > maxText/2 {
				o.parameters = []string{o.parameters[0][:maxText/2]}
			}
		}
		if want.String() != have.String() || want.text != have.text {
			t.Errorf("culprit:\n%s\nthe client:\n%s", &have, &want)
		}
		if x.grade != exchange.Complete.String() {
			t.Errorf("%s: %s", &have, x.grade)
		}
	}
	if i != len(said) {
		t.Errorf("%d exchanges of %d calls", i, len(said))
	}
}

// agreeWithLog compares what the server's log has with what culprit saw. It has no statements that couldn't be prepared, and writes the
// parameters of one into its text.
func agreeWithLog(t *testing.T, log []string, all kept) {
	t.Helper()
	all = slices.DeleteFunc(slices.Clone(all), func(x spoken) bool { return x.method == "PREPARE" && x.code != "" })
	if len(log) != len(all) {
		t.Errorf("%d entries of the log, %d exchanges", len(log), len(all))
		return
	}
	for i, x := range all {
		l := log[i]
		switch {
		case x.method == "LOGIN":
			l, _, _ = strings.Cut(l, " ")
		case strings.HasPrefix(l, "Execute ") && substituted(l, x.entry, x.parameters):
			continue
		}
		if have, want := x.entry, l[:min(len(l), len("Query ")+maxText)]; have != want {
			t.Errorf("culprit:\n%.300s\nthe log:\n%.300s", have, want)
		}
	}
}

var quoteCell = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`)

// substituted reports whether text is a statement with its parameters in the places of its question marks.
func substituted(text, statement string, parameters []string) bool {
	for i, piece := range strings.Split(statement, "?") {
		if i > 0 {
			if i > len(parameters) {
				return false
			}
			p := parameters[i-1]
			bare, ok := strings.CutPrefix(text, p)
			if quoted, is := strings.CutPrefix(text, "'"+quoteCell.Replace(p)); is {
				bare, ok = strings.TrimPrefix(quoted, "'"), true
			}
			if len(p) > maxText/2 {
				return ok // it was cut
			}
			if text = bare; !ok {
				return false
			}
		}
		var ok bool
		if text, ok = strings.CutPrefix(text, piece); !ok {
			return false
		}
	}
	return text == ""
}

func TestMariaDBFailures(t *testing.T) {
	s := startMariaDB(t)
	wire, err := tlspeers.NewWire(s.address, tlspeers.DefaultSegment)
	if err != nil {
		t.Fatal(err)
	}
	stranger := open(t, wire.Address(), func(c *mysql.Config) { c.User, c.Passwd = "stranger", "a secret that isn't shown" })
	if err := stranger.Ping(); err == nil {
		t.Error("a stranger may log in")
	}
	victim := open(t, wire.Address(), nil)
	id := call{statement: identity}.do(t, victim)
	killed := make(chan error, 1)
	go func() {
		_, err := victim.Exec("SELECT SLEEP(60)")
		killed <- err
	}()
	killer := open(t, s.address, nil)
	for asleep := 0; asleep == 0; {
		if err := killer.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'").Scan(&asleep); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := killer.Exec("KILL " + id.text); err != nil {
		t.Fatal(err)
	}
	if err := <-killed; err == nil {
		t.Error("the sleeper wasn't killed")
	}
	victim.Close()
	pcap, err := wire.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range conversations(t, pcap, nil) {
		got = append(got, fmt.Sprintf("%s %s %s %s", x.method, x.statement, x.grade, x.code))
	}
	slices.Sort(got)
	got = slices.Compact(got) // the driver may try twice
	// The server says nothing to whom it kills.
	if want := []string{"LOGIN  complete ", "LOGIN  complete 1045", "SELECT " + identity + " complete ", "SELECT SELECT SLEEP(60) aborted "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMariaDBClient(t *testing.T) {
	client := program(t, "mariadb")
	s := startMariaDB(t)
	for _, options := range [][]string{{"--skip-ssl"}, {"--skip-ssl", "--compress"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			wire, err := tlspeers.NewWire(s.address, tlspeers.DefaultSegment)
			if err != nil {
				t.Fatal(err)
			}
			_, port, err := net.SplitHostPort(wire.Address())
			if err != nil {
				t.Fatal(err)
			}
			const script = identity + "; USE mysql; SELECT seq, REPEAT('abc', 100) FROM seq_1_to_3000; SHOW TABLES; SELECT * FROM nowhere; DO 1;"
			out, err := tlspeers.Output(t.TempDir(), nil, client, append([]string{"--no-defaults", "-h127.0.0.1", "-P" + port, "-uroot", "--batch", "--skip-column-names", "--force", "-e", script}, options...)...)
			if err != nil && len(out) == 0 {
				t.Fatal(err)
			}
			pcap, err := wire.Stop()
			if err != nil {
				t.Fatal(err)
			}
			all := conversations(t, pcap, nil)
			var text strings.Builder
			for _, x := range all {
				if x.statement != "SELECT DATABASE()" { // the client's own
					text.WriteString(x.text)
				}
				if x.grade != exchange.Complete.String() {
					t.Errorf("%s: %s", &x.outcome, x.grade)
				}
			}
			if text.String() != string(out) {
				t.Errorf("culprit has %d bytes of results, the client %d", text.Len(), len(out))
			}
			id, _, _ := strings.Cut(string(out), "\n")
			agreeWithLog(t, s.logged(t)[id], all)
		})
	}
}
