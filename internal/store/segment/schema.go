// Package segment is a part of a store on disk: a Parquet file of exchanges, sorted by start and id, whose columns are
// named as the fields in docs/fields.md. Whatever reads Parquet can read it.
//
//	file      = { row group } footer
//	row group = at most MaxRows exchanges; each column with statistics, some with a bloom filter
//
// How a field becomes a column:
//
//	numbers, durations (ns), truths  INT64, BOOLEAN
//	times                            TIMESTAMP(NANOS, UTC)
//	texts, addresses                 STRING
//	lists                            LIST<STRING>
//	headers                          MAP<STRING, LIST<STRING>>, names in lower case
package segment

import (
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
)

const (
	// MaxRows is the largest number of exchanges of a row group.
	MaxRows = 128 << 10
	// pageRows bounds a page in rows, textRows one of texts that are rarely the same, and pageSize both in bytes of text:
	// smaller ones are faster to find one exchange in, larger ones compress better.
	pageRows = 8 << 10
	textRows = 32 << 10
	pageSize = 1 << 20
	// maxDictionary is the largest dictionary of a column, in bytes; what exceeds it is stored plainly.
	maxDictionary = 4 << 20
	// bloomBits are the bits for each value in bloom filters: one in fifty look-ups is in vain.
	bloomBits = 8
)

// repeated are the columns of numbers that have few different values.
var repeated = []string{
	"server.port", "url.port", "http.response.status_code", "client.as.number", "server.as.number", "source.process.pid",
	"destination.process.pid", "process.pid", "culprit.missing_bytes", "culprit.http.connection_index", "culprit.net.handshake.syns",
	"culprit.net.client.packets", "culprit.net.client.retransmits", "culprit.net.client.out_of_order", "culprit.net.client.duplicate_acks",
	"culprit.net.client.zero_windows", "culprit.net.client.mss", "culprit.net.server.packets", "culprit.net.server.retransmits",
	"culprit.net.server.out_of_order", "culprit.net.server.duplicate_acks", "culprit.net.server.zero_windows", "culprit.net.server.mss",
	"http.request.body.bytes", "culprit.stored.net", "tls.server.not_before", "tls.server.not_after", "culprit.tls.server.days_left",
	"culprit.tls.lost_records", "culprit.grpc.status_code", "culprit.websocket.close_code", "culprit.messages.client.count",
	"culprit.messages.client.compressed", "culprit.messages.server.compressed",
}

// singled are the columns of unique texts that every list of exchanges shows: their pages are small.
var singled = []string{"event.id", "url.path"}

// bounded are the columns of texts that have statistics: the id, by which an exchange is found, and those with so few
// values that a whole file may lack one.
var bounded = []string{
	"event.id", "event.outcome", "network.type", "network.transport", "network.protocol", "http.request.method", "http.version", "url.domain", "url.scheme",
	"server.ip", "service.name", "culprit.grade", "culprit.route", "culprit.device", "observer.hostname", "observer.ingress.interface.name", "tls.version",
	"tls.cipher", "tls.next_protocol", "tls.client.server_name", "tls.client.ja3", "culprit.tls.client.ja4", "culprit.tls.reason", "tls.server.subject",
	"culprit.grpc.service", "culprit.grpc.status", "culprit.operation.system", "error.code",
}

// layout is how columns stand in files.
type layout struct {
	schema *parquet.Schema
	// leaves are the numbers of the leaf columns of each of record.Columns: two of Headers, the names' and the values'.
	leaves   [][2]int
	formulas *formulas
}

func newLayout() *layout {
	group := parquet.Group{}
	f := newFormulas()
	z := newCodecs()
	for i := range record.Columns {
		c := record.Columns[i]
		if f.derived(i) {
			c.Name, c.Required = correction(c.Name), false
		}
		group[c.Name] = z.node(&c)
	}
	l := &layout{schema: parquet.NewSchema("exchange", group), formulas: f}
	l.leaves = leaves(l.schema, f)
	return l
}

// leaves finds the columns in a file's schema, which may lack some: -1.
func leaves(s *parquet.Schema, f *formulas) (all [][2]int) {
	find := func(path ...string) int {
		if leaf, ok := s.Lookup(path...); ok {
			return leaf.ColumnIndex
		}
		return -1
	}
	for i := range record.Columns {
		c := &record.Columns[i]
		switch c.Form {
		case record.Lists:
			all = append(all, [2]int{find(c.Name, "list", "element"), -1})
		case record.Headers:
			all = append(all, [2]int{find(c.Name, "key_value", "key"), find(c.Name, "key_value", "value", "list", "element")})
		default:
			name := c.Name
			if f.derived(i) {
				name = correction(name)
			}
			all = append(all, [2]int{find(name), -1})
		}
	}
	return all
}

// codecs are shared by all columns of a file: each keeps what compresses, which is large.
type codecs struct{ fast, better *zstd.Codec }

func newCodecs() codecs {
	return codecs{&zstd.Codec{Level: zstd.SpeedDefault}, &zstd.Codec{Level: zstd.SpeedBetterCompression}}
}

func (z codecs) node(c *record.Column) parquet.Node {
	switch c.Form {
	case record.Lists:
		return parquet.List(z.dictionary(parquet.String()))
	case record.Headers:
		return parquet.Map(z.dictionary(parquet.String()), parquet.List(z.headerValues()))
	}
	var n parquet.Node
	switch {
	case c.Kind == exchange.Time && slices.Contains(repeated, c.Name):
		n = z.dictionary(parquet.Timestamp(parquet.Nanosecond))
	case c.Kind == exchange.Time:
		n = parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked)
	case c.Kind == exchange.Bool:
		n = parquet.Leaf(parquet.BooleanType)
	case c.Kind == exchange.Float:
		n = parquet.Leaf(parquet.DoubleType)
	case c.Form == record.Texts && c.Unique:
		n = z.plain(parquet.String())
	case c.Form == record.Texts:
		n = z.dictionary(parquet.String())
	case slices.Contains(repeated, c.Name):
		n = z.dictionary(parquet.Leaf(parquet.Int64Type))
	default:
		n = parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	}
	if !c.Required {
		n = parquet.Optional(n)
	}
	return n
}

func (z codecs) dictionary(n parquet.Node) parquet.Node {
	return z.compressed(n, &parquet.RLEDictionary)
}
func (z codecs) plain(n parquet.Node) parquet.Node {
	return z.compressed(n, &parquet.DeltaLengthByteArray)
}

func (z codecs) compressed(n parquet.Node, e encoding.Encoding) parquet.Node {
	return parquet.Compressed(parquet.Encoded(n, e), z.fast)
}

// headerValues are two fifths of a file: they are worth the time. Lengths between the texts, as PLAIN has them, let
// the same values in the same order be one match.
func (z codecs) headerValues() parquet.Node {
	return parquet.Compressed(parquet.Encoded(parquet.String(), &parquet.Plain), z.better)
}

// blooms are the bloom filters that are written.
func blooms() (all []parquet.BloomFilterColumn) {
	for i := range record.Columns {
		c := &record.Columns[i]
		switch {
		case !c.Bloom:
		case c.Form == record.Lists:
			all = append(all, parquet.SplitBlockFilter(bloomBits, c.Name, "list", "element"))
		default:
			all = append(all, parquet.SplitBlockFilter(bloomBits, c.Name))
		}
	}
	return all
}
