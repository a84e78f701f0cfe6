package corpus

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// mysqlOracle is what a tool tells of a transaction: want writes its row down, have writes an exchange down in the same way, empty
// where the tool says nothing of such.
type mysqlOracle struct {
	want func(t *testing.T, r map[string]string) string
	have func(x *exchange.Exchange) string
}

// mysqlOracles are the tools, by the column that only theirs have.
var mysqlOracles = map[string]mysqlOracle{
	"detail":     {packetbeatMySQL, likePacketbeat},
	"query_time": {perconaMySQL, likePercona},
	"success":    {zeekMySQL, likeZeek},
}

// mysqlParts are what is compared of an exchange.
type mysqlParts struct {
	ends, server, method, target, code, message string
	rows, columns, affected, insertID, warnings int64
	answered                                    bool
}

func partsOf(x *exchange.Exchange) mysqlParts {
	q, a := &x.Request, &x.Response
	p := mysqlParts{
		ends: x.Flow.End(x.Client), server: x.Flow.End(x.Server()), method: string(q.Bytes(q.Method)), target: string(q.Bytes(q.Target)),
		code: string(a.FactText(proto.FactError)), message: string(a.FactText(proto.FactErrorText)), rows: a.Parts.Count, answered: x.HasResponse,
	}
	if !x.HasRequest {
		p.method = string(a.Bytes(a.Method))
	}
	for name, n := range map[string]*int64{"columns": &p.columns, "affected_rows": &p.affected, "insert_id": &p.insertID, "warnings": &p.warnings} {
		if f := a.Fact(name); f != nil {
			*n = f.Number
		}
	}
	return p
}

// packetbeatMySQL and likePacketbeat: the statement, its outcome, and what is counted.
func packetbeatMySQL(t *testing.T, r map[string]string) string {
	var detail struct {
		Rows     int64 `json:"num_rows"`
		Columns  int64 `json:"num_fields"`
		Affected int64 `json:"affected_rows"`
		InsertID int64 `json:"insert_id"`
	}
	if err := json.Unmarshal([]byte(r["detail"]), &detail); err != nil {
		t.Fatalf("%s: %v", r["detail"], err)
	}
	return fmt.Sprintf("%s %s %s: %s, %d rows of %d columns, %d affected, insert id %d", r["client"], r["server"], unescape(r["query"]), r["status"],
		detail.Rows, detail.Columns, detail.Affected, detail.InsertID)
}

func likePacketbeat(x *exchange.Exchange) string {
	p := partsOf(x)
	if p.target == "" || !p.answered {
		return ""
	}
	status := "OK"
	if p.code != "" {
		status = "Error"
	}
	return fmt.Sprintf("%s %s %s: %s, %d rows of %d columns, %d affected, insert id %d", p.ends, p.server, p.target, status, p.rows, p.columns, p.affected, p.insertID)
}

// perconaMySQL and likePercona: the command as the slow log has it, and what is counted.
func perconaMySQL(_ *testing.T, r map[string]string) string {
	code := r["error_no"]
	if code == "-" {
		code = ""
	}
	return fmt.Sprintf("%s %s: error %s, %s affected, %s warnings", r["client"], unescape(r["arg"]), code, r["rows_affected"], r["warnings"])
}

var perconaNames = map[string]string{"LOGIN": "administrator command: Connect", "QUIT": "administrator command: Quit"}

func likePercona(x *exchange.Exchange) string {
	p := partsOf(x)
	arg := perconaNames[p.method]
	switch p.method {
	case "LOGIN", "QUIT":
	case "PREPARE":
		arg = "PREPARE " + p.target
	case "CLOSE":
		arg = "DEALLOCATE PREPARE " + string(x.Request.FactText("prepared"))
	default:
		if arg = p.target; x.Request.FactText("prepared") != nil {
			arg = "EXECUTE " + withParameters(&x.Request)
		}
	}
	return fmt.Sprintf("%s %s: error %s, %d affected, %d warnings", p.ends, arg, p.code, p.affected, p.warnings)
}

var bare = regexp.MustCompile(`^(NULL|[0-9.]+)$`)

// withParameters puts the parameters into the text of a statement.
func withParameters(q *proto.Message) string {
	text := string(q.Bytes(q.Target))
	for i := range q.Facts {
		if f := &q.Facts[i]; f.Name == "parameter" {
			value := string(q.Bytes(f.Value))
			if !bare.MatchString(value) {
				value = `"` + value + `"`
			}
			text = strings.Replace(text, "?", value, 1)
		}
	}
	return text
}

// zeekMySQL and likeZeek: the command, whether it succeeded, the rows that it changed, and the error. Zeek counts no rows of a result.
func zeekMySQL(_ *testing.T, r map[string]string) string {
	arg, rows, response := unescape(r["arg"]), r["rows_or_affected"], r["response"]
	if arg == "(empty)" {
		arg = ""
	}
	if rows == "-" {
		rows = "0"
	}
	if response == "-" {
		response = ""
	}
	return fmt.Sprintf("%s %s %s %s: %s, %s affected %s", r["client"], r["server"], r["command"], arg, r["success"], rows, response)
}

var zeekNames = map[string]string{
	"LOGIN": "login", "QUIT": "quit", "PING": "ping", "INIT_DB": "init_db", "FIELD_LIST": "field_list", "STATISTICS": "statistics",
}

func likeZeek(x *exchange.Exchange) string {
	p := partsOf(x)
	command, arg := zeekNames[p.method], p.target
	switch p.method {
	case "LOGIN":
		arg = string(x.Request.FactText("user"))
	case "INIT_DB":
		arg = strings.TrimPrefix(arg, "USE ")
	}
	if command == "" {
		command = "query"
	}
	success := "T"
	switch {
	case p.code != "":
		success = "F"
	case !p.answered:
		success = "-"
	}
	return fmt.Sprintf("%s %s %s %s: %s, %d affected %s", p.ends, p.server, command, arg, success, p.affected, p.message)
}

// mysqlDeviations reads the differences that are known, by capture, each with its reason.
func mysqlDeviations(t *testing.T) map[string][]string {
	t.Helper()
	listed := map[string][]string{}
	for _, r := range readTable(t, filepath.Join("testdata", "mysql.tsv")) {
		line, err := strconv.Unquote(r["line"])
		if err != nil || r["why"] == "" {
			t.Errorf("mysql.tsv: %s: %s: no line, or no reason", r["capture"], r["line"])
		}
		listed[r["capture"]] = append(listed[r["capture"]], line)
	}
	return listed
}

func TestMySQL(t *testing.T) {
	root := shared(t, "corpus")
	known := mysqlDeviations(t)
	compared, transactions := 0, 0
	for _, e := range readIndex(t, root) {
		table := readTable(t, filepath.Join(root, "expected", e.name+".mysql.tsv"))
		if table == nil {
			continue
		}
		var oracle mysqlOracle
		for column, o := range mysqlOracles {
			if _, ok := table[0][column]; ok {
				oracle = o
			}
		}
		var have, lines []string
		for _, r := range table {
			lines = append(lines, oracle.want(t, r))
		}
		if _, err := run(e.file, e.keys, 1, func(x *exchange.Exchange) {
			if x.Protocol != "mysql" {
				return
			}
			if line := oracle.have(x); line != "" {
				have = append(have, line)
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		compared, transactions = compared+1, transactions+len(lines)
		var differences []string
		for _, l := range lines {
			if i := slices.Index(have, l); i >= 0 {
				have = slices.Delete(have, i, i+1)
			} else {
				differences = append(differences, "-"+l)
			}
		}
		for _, l := range have {
			differences = append(differences, "+"+l)
		}
		listed := known[e.name]
		for _, d := range differences {
			if i := slices.Index(listed, d); i >= 0 {
				listed = slices.Delete(listed, i, i+1)
			} else {
				t.Errorf("unlisted\t%s\t%q", e.name, d)
			}
		}
		for _, l := range listed {
			t.Errorf("no longer so\t%s\t%q", e.name, l)
		}
	}
	if compared == 0 {
		t.Fatal("the corpus has no expectations of MySQL")
	}
	t.Logf("%d captures, %d transactions", compared, transactions)
}
