// Package record is the form in which exchanges are stored: which columns there are, batches of rows as they
// stand in the log, and the way back from a row to an exchange.
package record

import (
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Form is the form of a column in memory and on disk.
type Form uint8

// The forms.
const (
	Ints Form = iota
	Texts
	Lists
	Headers
)

// Column is one column of a store.
type Column struct {
	// Name is the field's name, and that of the column in files.
	Name string
	// Field is the field whose values the column holds; nil for the columns that only help to make an
	// exchange again (see hidden).
	Field *exchange.Field
	Kind  exchange.ValueKind
	Form  Form
	// Required: every exchange has it.
	Required bool
	// Unique: few rows have the same text, so that a dictionary would only cost.
	Unique bool
	// Bloom: it is searched for single values, which a bloom filter rules out.
	Bloom bool
}

// Constant is a field that has the same value in every exchange, and no column.
type Constant struct {
	Text string
	List []string
}

// constants are the fields that say the same of every exchange.
var constants = map[string]Constant{
	"ecs.version":      {Text: exchange.ECSVersion},
	"event.kind":       {Text: "event"},
	"event.type":       {List: []string{"connection", "protocol"}},
	"event.dataset":    {Text: "culprit.exchange"},
	"observer.type":    {Text: "sensor"},
	"observer.product": {Text: "culprit"},
}

// twins are the fields that say what another one says.
var twins = map[string]string{
	"event.start":       "@timestamp",
	"source.ip":         "client.ip",
	"source.port":       "client.port",
	"source.bytes":      "client.bytes",
	"destination.ip":    "server.ip",
	"destination.port":  "server.port",
	"destination.bytes": "server.bytes",
}

// required are the fields that every exchange has.
var required = []string{
	"@timestamp", "event.id", "event.outcome", "event.end", "network.type", "network.transport", "network.protocol",
	"network.community_id", "client.ip", "client.port", "server.ip", "server.port", "culprit.grade",
	"culprit.packets.first", "culprit.packets.last", "culprit.http.connection_index",
}

// unique are the fields whose texts are rarely the same.
var unique = []string{
	"event.id", "url.path", "http.request.id", "http.request.body.content", "http.response.body.content", "url.query", "url.original", "trace.id",
}

// blooms are the fields that are searched for single values.
var blooms = []string{
	"client.ip", "network.community_id", "http.request.id", "trace.id", "culprit.secrets",
}

// TextColumns are the fields that a search for a text looks at.
var TextColumns = []string{
	"url.original", "url.domain", "culprit.route", "user_agent.original", "client.ip", "server.ip", "client.domain", "server.domain", "service.name",
	"http.request.id", "trace.id", "error.message", "db.query.text", "dns.question.name",
}

// hidden are the columns that no field shows. They hold what is needed to make the exchange again, where it doesn't
// follow from the fields: most are absent from most rows.
var hidden = []Column{
	{Name: "culprit.stored.net", Kind: exchange.Int, Form: Ints},
	// How many packets before its own the first of its connection is.
	{Name: "culprit.stored.connection_age", Kind: exchange.Int, Form: Ints},
	// The ends whose process is known: 1 for the client's, 2 for the server's.
	{Name: "culprit.stored.processes", Kind: exchange.Int, Form: Ints},
	// Arguments, where there is more than one. Container, pod and unit of the client's process, where those of
	// the fields are the server's.
	{Name: "culprit.stored.client.args", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.client.container", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.client.pod", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.client.unit", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.server.args", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.interim_at", Kind: exchange.List, Form: Lists},
	// The levels and numbers of the TLS alerts.
	{Name: "culprit.stored.tls.alerts", Kind: exchange.List, Form: Lists},
	// What the client offered, in records of TLS sessions that aren't the first on their connections.
	{Name: "culprit.stored.tls.suites", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.tls.alpn", Kind: exchange.List, Form: Lists},
	// What each end sent, retransmissions included, in records of TLS sessions.
	{Name: "culprit.stored.client.bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.server.bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.request.names", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.request.trailers", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.request.folded", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.request.protocol", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.request.head_bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.request.missing_bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.request.cut", Kind: exchange.Bool, Form: Ints},
	{Name: "culprit.stored.request.undecoded", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.response.names", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.response.trailers", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.response.folded", Kind: exchange.List, Form: Lists},
	{Name: "culprit.stored.response.protocol", Kind: exchange.Text, Form: Texts},
	{Name: "culprit.stored.response.head_bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.response.missing_bytes", Kind: exchange.Int, Form: Ints},
	{Name: "culprit.stored.response.cut", Kind: exchange.Bool, Form: Ints},
	{Name: "culprit.stored.response.undecoded", Kind: exchange.Text, Form: Texts},
}

// Columns are the columns of a store, and Index finds them.
var (
	Columns = columns()
	index   = indexOf(Columns)
)

// runs are all columns that show fields.
var runs = makeRuns()

func makeRuns() []exchange.Run {
	var names []string
	for i := range Columns {
		if Columns[i].Field == nil {
			break
		}
		names = append(names, Columns[i].Name)
	}
	return exchange.Runs(names)
}

// The columns that the engine itself needs.
var (
	Time = Index("@timestamp")
	ID   = Index("event.id")
	// spoken and whole tell what kind of record it is.
	spoken = Index("network.protocol")
	whole  = Index("flow.final")
)

// messageColumns are the columns that make a message again.
type messageColumns struct {
	headers, content, bytes, body                                         int
	names, trailers, folded, protocol, headBytes, missing, cut, undecoded int
}

// tlsColumns are the columns of a TLS session that need others to be read before.
type tlsColumns struct {
	notAfter, chain, alerts, errorCode, suites, alpn int
	bytes                                            [2]int
}

// cols are the columns that are needed by their names.
var cols = struct {
	net, connectionAge, interimAt int
	outcome, verb, statement      int
	// firstRow is how long after the begin of the request the first row came.
	firstRow               int
	method, target, reason int
	// process are those of the process that the exchange is about, and clientProcess those of the client's, where
	// that is another: container, pod, unit. args are the arguments, by direction.
	processes              int
	process, clientProcess [3]int
	args                   [2]int
	tls                    tlsColumns
	request, response      messageColumns
}{
	Index("culprit.stored.net"), Index("culprit.stored.connection_age"), Index("culprit.stored.interim_at"),
	Index("event.outcome"), Index("db.operation.name"), Index("db.query.text"), Index("culprit.db.first_row"),
	Index("http.request.method"), Index("url.original"), Index("culprit.http.reason"),
	Index("culprit.stored.processes"),
	[3]int{Index("container.id"), Index("kubernetes.pod.uid"), Index("culprit.process.unit")},
	[3]int{Index("culprit.stored.client.container"), Index("culprit.stored.client.pod"), Index("culprit.stored.client.unit")},
	[2]int{proto.Originator: Index("culprit.stored.client.args"), proto.Responder: Index("culprit.stored.server.args")},
	tlsColumns{
		Index("tls.server.not_after"), Index("culprit.tls.server.chain"), Index("culprit.stored.tls.alerts"), Index("error.code"),
		Index("culprit.stored.tls.suites"), Index("culprit.stored.tls.alpn"), [2]int{Index("culprit.stored.client.bytes"), Index("culprit.stored.server.bytes")},
	},
	messageIndex("request", "client"), messageIndex("response", "server"),
}

func messageIndex(message, end string) messageColumns {
	stored, http := "culprit.stored."+message+".", "http."+message+"."
	return messageColumns{
		headers: Index(http + "headers"), content: Index(http + "body.content"), body: Index(http + "body.bytes"),
		bytes: Index(end + ".bytes"),
		names: Index(stored + "names"), trailers: Index(stored + "trailers"), folded: Index(stored + "folded"),
		protocol:  Index(stored + "protocol"),
		headBytes: Index(stored + "head_bytes"), missing: Index(stored + "missing_bytes"), cut: Index(stored + "cut"),
		undecoded: Index(stored + "undecoded"),
	}
}

func columns() (all []Column) {
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		if _, constant := constants[f.Name]; constant || twins[f.Name] != "" {
			continue
		}
		c := Column{
			Name: f.Name, Field: f, Kind: f.Kind, Required: slices.Contains(required, f.Name),
			Unique: slices.Contains(unique, f.Name), Bloom: slices.Contains(blooms, f.Name),
		}
		switch f.Kind {
		case exchange.Text, exchange.IP:
			c.Form = Texts
		case exchange.List:
			c.Form = Lists
		case exchange.Headers:
			c.Form = Headers
		}
		all = append(all, c)
	}
	return append(all, hidden...)
}

func indexOf(columns []Column) map[string]int {
	m := make(map[string]int, len(columns))
	for i := range columns {
		m[columns[i].Name] = i
	}
	return m
}

// Index returns the number of a column by its name, -1 when there is none.
func Index(name string) int {
	if i, ok := index[name]; ok {
		return i
	}
	return -1
}

// Lookup says where the values of a field are: in a column, or, if the number is negative, in a constant.
func Lookup(f *exchange.Field) (col int, constant Constant) {
	name := f.Name
	if twin := twins[name]; twin != "" {
		name = twin
	}
	if c, ok := constants[name]; ok {
		return -1, c
	}
	return Index(name), Constant{}
}
