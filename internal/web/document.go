package web

import (
	"bytes"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
)

// documents makes the JSON of exchanges. It isn't safe for concurrent use.
type documents struct {
	encoder ndjson.Encoder
	prune   *pruner
	full    []byte
	pruned  []byte
	safe    bytes.Buffer
}

// newDocuments returns what makes documents of these fields; nil: of all.
func newDocuments(fields []*exchange.Field) *documents {
	return &documents{encoder: ndjson.NewEncoder(), prune: newPruner(fields)}
}

// of returns the document of an exchange, borrowed until the next call.
func (d *documents) of(x *exchange.Exchange) []byte {
	d.full = d.encoder.Append(d.full[:0], x)
	if d.prune == nil {
		return d.full
	}
	d.pruned = d.prune.append(d.pruned[:0], d.full)
	return d.pruned
}

// safeOf returns the document with <, > and & escaped.
func (d *documents) safeOf(x *exchange.Exchange) []byte { return htmlSafe(&d.safe, d.of(x)) }

// pruner takes the fields out of documents that weren't asked for.
type pruner struct {
	// members are those of an object that stay: nil, and all below them stay.
	members map[string]*pruner
}

// newPruner returns what leaves these fields; nil, for all of them, when there are none.
func newPruner(fields []*exchange.Field) *pruner {
	if len(fields) == 0 {
		return nil
	}
	root := &pruner{members: map[string]*pruner{}}
	for _, f := range fields {
		at := root
		parts := strings.Split(f.Name, ".")
		for _, part := range parts[:len(parts)-1] {
			below := at.members[part]
			if below == nil {
				below = &pruner{members: map[string]*pruner{}}
				at.members[part] = below
			}
			at = below
		}
		at.members[parts[len(parts)-1]] = nil
	}
	return root
}

// append appends what stays of a document as the encoder makes them: one value of JSON without spaces.
func (p *pruner) append(dst, doc []byte) []byte {
	dst, _ = p.object(append(dst, '{'), doc)
	return append(dst, '}')
}

// object appends the members that stay, and returns the length of the object.
func (p *pruner) object(dst, doc []byte) ([]byte, int) {
	i, first := 1, true
	for i < len(doc) && doc[i] != '}' {
		if doc[i] == ',' {
			i++
		}
		name := doc[i : i+valueLen(doc[i:])]
		if i += len(name) + 1; i >= len(doc) || len(name) == 0 {
			break // no document; nothing of it is to be trusted
		}
		below, stays := p.members[string(bytes.Trim(name, `"`))]
		before := len(dst)
		if stays && !first {
			dst = append(dst, ',')
		}
		if stays {
			dst = append(append(dst, name...), ':')
		}
		switch {
		case stays && below != nil && doc[i] == '{':
			var n int
			from := len(dst)
			dst, n = below.object(append(dst, '{'), doc[i:])
			if dst = append(dst, '}'); len(dst) == from+2 { // nothing of it stays
				dst, stays = dst[:before], false
			}
			i += n
		default:
			n := valueLen(doc[i:])
			if stays {
				dst = append(dst, doc[i:i+n]...)
			}
			i += n
		}
		first = first && !stays
	}
	return dst, min(i+1, len(doc))
}

// valueLen returns the length of the value that a document goes on with.
func valueLen(doc []byte) int {
	depth := 0
	for i := 0; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			for i++; i < len(doc) && doc[i] != '"'; i++ {
				if doc[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(doc))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1 + depth // of an object's last member, the bracket isn't part
			}
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(doc)
}
