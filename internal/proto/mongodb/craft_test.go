package mongodb

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// d is a document: names and values in turn.
type d []any

// a is an array.
type a []any

// raw is a value as it is sent, with its type before it.
type raw struct {
	kind  byte
	value string
}

func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func le64(n int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// bson makes a document.
func bson(doc d) string {
	s := ""
	for i := 0; i < len(doc); i += 2 {
		kind, value := bsonValue(doc[i+1])
		s += string([]byte{kind}) + doc[i].(string) + "\x00" + value
	}
	return le32(len(s)+5) + s + "\x00"
}

func bsonValue(v any) (kind byte, value string) {
	switch v := v.(type) {
	case string:
		return typeString, le32(len(v)+1) + v + "\x00"
	case int:
		return typeInt32, le32(v)
	case int64:
		return typeInt64, le64(v)
	case float64:
		return typeDouble, le64(int64(math.Float64bits(v)))
	case bool:
		if v {
			return typeBool, "\x01"
		}
		return typeBool, "\x00"
	case nil:
		return typeNull, ""
	case []byte:
		return typeBinary, le32(len(v)) + "\x00" + string(v)
	case d:
		return typeDocument, bson(v)
	case a:
		var doc d
		for i, e := range v {
			doc = append(doc, fmt.Sprint(i), e)
		}
		return typeArray, bson(doc)
	case raw:
		return v.kind, v.value
	}
	panic(fmt.Sprintf("%T", v))
}

// packet makes a message.
func packet(id, responseTo, opcode int, content string) string {
	return le32(headerSize+len(content)) + le32(id) + le32(responseTo) + le32(opcode) + content
}

// ask and answer make OP_MSG.
func ask(id int, doc d) string { return packet(id, 0, opMsg, le32(0)+"\x00"+bson(doc)) }
func reply(id, to int, doc d) string {
	return packet(id, to, opMsg, le32(0)+"\x00"+bson(doc))
}

// sequence makes a document sequence.
func sequence(name string, docs ...d) string {
	s := name + "\x00"
	for _, doc := range docs {
		s += bson(doc)
	}
	return "\x01" + le32(len(s)+4) + s
}

// compressed makes a message compressed.
func compressed(by int, plain string) string {
	head := readHeader([]byte(plain))
	data := plain[headerSize:]
	size := len(data)
	var out strings.Builder
	switch by {
	case 1:
		data = string(snappy.Encode(nil, []byte(data)))
	case 2:
		w := zlib.NewWriter(&out)
		_, _ = w.Write([]byte(data))
		_ = w.Close()
		data = out.String()
	case 3:
		w, _ := zstd.NewWriter(&out)
		_, _ = w.Write([]byte(data))
		_ = w.Close()
		data = out.String()
	}
	return packet(int(head.id), int(head.responseTo), opCompressed, le32(int(head.opcode))+le32(size)+string([]byte{byte(by)})+data)
}

// up and down make steps of a script.
func up(s ...string) string   { return scripted(">", s) }
func down(s ...string) string { return scripted("<", s) }

func scripted(sign string, s []string) string {
	var b strings.Builder
	b.WriteString(sign + " ")
	for _, c := range []byte(strings.Join(s, "")) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String() + "\n"
}
