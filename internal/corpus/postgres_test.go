package corpus

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// pgRequest and pgResponse are what Suricata tells of a transaction, as far as it is compared.
type (
	pgRequest struct {
		Message string
		Query   string `json:"simple_query"`
		Startup *struct {
			User     string
			Optional []map[string]string `json:"optional_parameters"`
		} `json:"startup_parameters"`
		Process uint32 `json:"process_id"`
	}
	pgResponse struct {
		Message, Code string
		Fields        int64  `json:"field_count"`
		Rows          int64  `json:"data_rows"`
		Size          int64  `json:"data_size"`
		Tag           string `json:"command_completed"`
	}
)

// suricataPostgres writes what Suricata tells of a connection down as pgLine does. A login takes several of its transactions.
func suricataPostgres(t *testing.T, table []map[string]string) (lines []string) {
	login := map[string]int{}
	for _, r := range table {
		ends := r["client"] + " " + r["server"] + " "
		var q pgRequest
		var a pgResponse
		for _, c := range []struct {
			text string
			to   any
		}{{r["request"], &q}, {r["response"], &a}} {
			if c.text == "False" || c.text == "-" {
				continue // rows of a COPY, or nothing
			}
			if err := json.Unmarshal([]byte(c.text), c.to); err != nil {
				t.Fatalf("%s: %v", c.text, err)
			}
		}
		outcome := ""
		switch {
		case a.Code != "":
			outcome = " error " + a.Code
		case strings.Contains(r["response"], `"authentication_ok"`):
			outcome = " ok"
		}
		switch {
		case q.Startup != nil:
			database := q.Startup.User
			for _, p := range q.Startup.Optional {
				if p["database"] != "" {
					database = p["database"]
				}
			}
			login[ends] = len(lines)
			lines = append(lines, fmt.Sprintf("%sLOGIN %s %s%s", ends, q.Startup.User, database, outcome))
		case q.Query != "":
			lines = append(lines, fmt.Sprintf("%sQUERY %s: %d fields, %d rows of %d bytes, %s%s", ends, q.Query, a.Fields, a.Rows, a.Size, a.Tag, outcome))
		case q.Message == "cancel_request":
			lines = append(lines, fmt.Sprintf("%sCANCEL %d", ends, q.Process))
		case q.Message == "termination_message":
			lines = append(lines, ends+"TERMINATE")
		case q.Message == "" && outcome != "":
			lines[login[ends]] += outcome
		}
	}
	return lines
}

// zeekPostgres does the same for Zeek, which counts no fields and no bytes.
func zeekPostgres(table []map[string]string) (lines []string) {
	for _, r := range table {
		ends := r["client"] + " " + r["server"] + " "
		outcome := map[string]string{"T": " ok"}[r["success"]]
		if _, code, ok := strings.Cut(r["backend_arg"], ",Code="); ok && r["success"] == "F" {
			code, _, _ = strings.Cut(code, ",")
			outcome = " error " + code
		}
		rows := r["rows"]
		if rows == "-" {
			rows = "0"
		}
		switch r["frontend"] {
		case "startup":
			lines = append(lines, fmt.Sprintf("%sLOGIN %s %s%s", ends, r["user"], r["database"], outcome))
		case "simple_query":
			lines = append(lines, fmt.Sprintf("%sQUERY %s: %s rows%s", ends, unescape(r["frontend_arg"]), rows, outcome))
		case "terminate":
			lines = append(lines, ends+"TERMINATE")
		}
	}
	return lines
}

// pgLine writes an exchange down.
func pgLine(x *exchange.Exchange, zeek bool) string {
	ends := x.Flow.End(x.Client) + " " + x.Flow.End(x.Server()) + " "
	q, a := &x.Request, &x.Response
	if a.OneWay {
		return fmt.Sprintf("%s%s %s", ends, a.Bytes(a.Method), a.Bytes(a.Target))
	}
	outcome := ""
	if code := a.FactText(proto.FactError); code != nil {
		outcome = " error " + string(code)
	} else if x.Grade == exchange.Complete {
		outcome = " ok"
	}
	switch method := string(q.Bytes(q.Method)); method {
	case "LOGIN":
		return fmt.Sprintf("%sLOGIN %s %s%s", ends, q.FactText("user"), q.FactText("database"), outcome)
	case "CANCEL":
		return fmt.Sprintf("%sCANCEL %s", ends, q.Bytes(q.Target))
	case "TERMINATE":
		return ends + "TERMINATE"
	}
	if zeek {
		return fmt.Sprintf("%sQUERY %s: %d rows%s", ends, q.Bytes(q.Target), a.Parts.Count, outcome)
	}
	fields := int64(0)
	if f := a.Fact("columns"); f != nil {
		fields = f.Number
	}
	// Suricata counts the values alone, not what tells their lengths and their number.
	size := a.Parts.Bytes - a.Parts.Count*(2+4*fields)
	return fmt.Sprintf("%sQUERY %s: %d fields, %d rows of %d bytes, %s%s", ends, q.Bytes(q.Target), fields, a.Parts.Count, size,
		a.FactText("command_tag"), strings.TrimSuffix(outcome, " ok"))
}

// pgUntold is what an oracle doesn't tell, and why. tshark shows the same messages.
var pgUntold = map[string]struct {
	why   string
	lines []string
}{
	"ndpi.pgsql": {"Suricata 7 doesn't know the extended protocol", []string{
		"127.0.0.1:45930 127.0.0.1:5432 QUERY begin: 0 fields, 0 rows of 0 bytes, BEGIN",
		"127.0.0.1:45930 127.0.0.1:5432 QUERY select revision from mailstore for update: 1 fields, 1 rows of 4 bytes, SELECT",
		"127.0.0.1:45930 127.0.0.1:5432 QUERY commit: 0 fields, 0 rows of 0 bytes, COMMIT",
		"127.0.0.1:45930 127.0.0.1:5432 QUERY " + mailstoreUsers + ": 10 fields, 0 rows of 0 bytes, SELECT",
		"127.0.0.1:45930 127.0.0.1:5432 QUERY " + mailstoreUsers + ": 10 fields, 0 rows of 0 bytes, SELECT",
		"127.0.0.1:45931 127.0.0.1:5432 QUERY select * from mailboxes: 6 fields, 0 rows of 0 bytes, SELECT",
		"127.0.0.1:45931 127.0.0.1:5432 QUERY select id,name from flag_names where id>0: 2 fields, 0 rows of 0 bytes, SELECT",
	}},
	"packetbeat.pgsql_extended_query": {"Suricata 7 doesn't know the extended protocol", []string{
		"192.168.10.175:54077 192.168.100.216:5432 QUERY SET extra_float_digits = 3: 0 fields, 0 rows of 0 bytes, SET",
		"192.168.10.175:54077 192.168.100.216:5432 QUERY SELECT * from test where id = $1: 2 fields, 1 rows of 21 bytes, SELECT 1",
	}},
	"suricata-verify.pgsql.pgsql-5524.input": {"Suricata 7 doesn't know the extended protocol", []string{
		"127.0.0.1:57829 127.0.0.1:5432 QUERY DROP TABLE test_a CASCADE : 0 fields, 0 rows of 0 bytes,  error 42P01",
		"127.0.0.1:57829 127.0.0.1:5432 QUERY create table test_a (imagename name,image oid,id int4): 0 fields, 0 rows of 0 bytes, CREATE TABLE",
		"127.0.0.1:57829 127.0.0.1:5432 QUERY DROP TABLE test_c CASCADE : 0 fields, 0 rows of 0 bytes,  error 42P01",
		"127.0.0.1:57829 127.0.0.1:5432 QUERY create table test_c (source text,cost money,imageid int4): 0 fields, 0 rows of 0 bytes, CREATE TABLE",
		"127.0.0.1:57829 127.0.0.1:5432 TERMINATE",
	}},
	"suricata-verify.pgsql.pgsql-copy-data-out.input": {"Suricata 7 doesn't know COPY, and has a transaction for each of its messages", []string{
		"10.16.1.11:47808 10.16.1.10:5432 QUERY COPY (SELECT * FROM rules WHERE source = 'tgreen/hunting' LIMIT 5) TO STDOUT: " +
			"0 fields, 5 rows of 2769 bytes, COPY 5",
		"10.16.1.11:47808 10.16.1.10:5432 TERMINATE",
	}},
	"suricata-verify.pgsql.pgsql-query-keyword-01.input": {"Suricata 7 has no transaction for a notification", []string{
		"10.16.1.11:53442 10.16.1.10:5432 NOTIFY rules",
	}},
}

// mailstoreUsers is a statement of ndpi.pgsql.
const mailstoreUsers = "select u.id, u.address, u.inbox, n.name as parentspace, u.login, u.id, u.secret, a.name, a.localpart, a.domain " +
	"from users u, addresses a, namespaces n where u.login=$1 and u.id=a.id and n.id=u.parentspace"

// TestPostgres compares exchanges with PostgreSQL with what Suricata and Zeek tell of them.
func TestPostgres(t *testing.T) {
	root := shared(t, "corpus")
	compared := 0
	told := 0
	for _, e := range readIndex(t, root) {
		table := readTable(t, filepath.Join(root, "expected", e.name+".postgresql.tsv"))
		if table == nil {
			continue
		}
		compared++
		_, zeek := table[0]["frontend"]
		var want, have []string
		if zeek {
			want = zeekPostgres(table)
		} else {
			want = suricataPostgres(t, table)
		}
		if u, ok := pgUntold[e.name]; ok {
			told++
			want = append(slices.DeleteFunc(want, func(line string) bool {
				return strings.HasSuffix(line, " TO STDOUT: 0 fields, 0 rows of 0 bytes, ")
			}), u.lines...)
		}
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			if x.Protocol == "postgresql" {
				have = append(have, pgLine(x, zeek))
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		slices.Sort(want)
		slices.Sort(have)
		if got, wanted := strings.Join(have, "\n"), strings.Join(want, "\n"); got != wanted {
			t.Errorf("%s: got\n%s\nthe oracle has\n%s", e.name, got, wanted)
		}
	}
	t.Logf("%d captures", compared)
	if compared == 0 {
		t.Error("the corpus lists no transactions of PostgreSQL")
	}
	if told != len(pgUntold) {
		t.Errorf("%d of %d captures of which an oracle doesn't tell all are there", told, len(pgUntold))
	}
}
