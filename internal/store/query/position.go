package query

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// idSize is the length of the text form of an id.
const idSize = 26

// maxSortText is how many bytes of a text count when exchanges are sorted by it.
const maxSortText = 4096

// order is what a search sorts by.
type order struct {
	field     *exchange.Field
	ascending bool
	text      bool // it is a column of texts
}

// key is what one exchange is sorted by, but for its id. text is set for columns of texts.
type key struct {
	present bool
	n       int64
	text    string
}

// compare returns a negative number when a comes before b, and 0 when their ids decide.
func (o *order) compare(a, b *key) int {
	switch {
	case a.present != b.present:
		if a.present {
			return -1
		}
		return 1
	case !a.present:
		return 0
	}
	c := cmp.Compare(a.n, b.n)
	if o.text {
		c = strings.Compare(a.text, b.text)
	}
	if !o.ascending {
		c = -c
	}
	return c
}

// position is a place in the order of a search: that of an exchange.
type position struct {
	key
	id [idSize]byte
}

// The form of a cursor, in base64 (RFC 4648 §5):
//
//	cursor = version flags name number id            name: the field's, with its length before it
//	       | version flags name text id              text: with its length before it
const (
	cursorVersion = 1

	cursorAscending = 1 << 0
	cursorPresent   = 1 << 1
	cursorText      = 1 << 2
)

// maxCursor is how long a cursor may be: longer ones are refused unread.
const maxCursor = (maxSortText + 256) * 4 / 3

// cursor returns the text from which position reads it.
func (o *order) cursor(p *position) string {
	flags := byte(0)
	if o.ascending {
		flags |= cursorAscending
	}
	if p.present {
		flags |= cursorPresent
	}
	if o.text {
		flags |= cursorText
	}
	b := []byte{cursorVersion, flags}
	b = binary.AppendUvarint(b, uint64(len(o.field.Name)))
	b = append(b, o.field.Name...)
	if o.text {
		b = binary.AppendUvarint(b, uint64(len(p.text)))
		b = append(b, p.text...)
	} else {
		b = binary.AppendVarint(b, p.n)
	}
	b = append(b, p.id[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// position reads a cursor. It may be anything.
func (o *order) position(cursor string) (*position, error) {
	bad := func(what string) error { return fmt.Errorf("%s: %w", what, store.ErrCursor) }
	if len(cursor) > maxCursor {
		return nil, bad(fmt.Sprintf("the cursor has %d bytes", len(cursor)))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 2 {
		return nil, bad("the cursor is damaged")
	}
	if b[0] != cursorVersion {
		return nil, bad(fmt.Sprintf("the cursor is of version %d", b[0]))
	}
	flags, b := b[1], b[2:]
	damaged := flags&^(cursorAscending|cursorPresent|cursorText) != 0
	text := func() string {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			damaged, b = true, nil
			return ""
		}
		s := string(b[size : size+int(n)])
		b = b[size+int(n):]
		return s
	}
	name := text()
	if damaged {
		return nil, bad("the cursor is damaged")
	}
	if name != o.field.Name || flags&cursorAscending != 0 != o.ascending || flags&cursorText != 0 != o.text {
		return nil, bad("the cursor is of a search with another order")
	}
	p := &position{}
	p.present = flags&cursorPresent != 0
	if o.text {
		p.text = text()
	} else {
		n, size := binary.Varint(b)
		damaged = damaged || size <= 0
		p.n, b = n, b[max(size, 0):]
	}
	if damaged || len(b) != idSize || len(p.text) > maxSortText || !p.present && (p.n != 0 || p.text != "") {
		return nil, bad("the cursor is damaged")
	}
	copy(p.id[:], b)
	if _, ok := exchange.ParseID(string(b)); !ok || !bytes.Equal(bytes.ToUpper(b), b) {
		return nil, bad("the cursor is damaged")
	}
	return p, nil
}
