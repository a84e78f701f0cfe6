package elastic

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const (
	// maxTerm is the longest term that the products index, in bytes. The name of a header and a value are one term, and a document
	// in which one is longer is refused whole.
	maxTerm = 32766
	// maxHeaderTerm is what is left of longer ones: the products add the path of the field.
	maxHeaderTerm = 30_000
)

var nul = []byte(`\u0000`)

// fit returns a document that is taken, whatever its headers are: where names and values are too long, they end earlier, with
// an ellipsis; a NUL in a name, which divides names from values in terms, becomes \x00. Others are returned as they are.
func fit(document []byte) []byte {
	if len(document) <= maxTerm && !bytes.Contains(document, nul) {
		return document
	}
	var d struct {
		HTTP struct {
			Request, Response struct{ Headers json.RawMessage }
		}
	}
	if json.Unmarshal(document, &d) != nil {
		return document // the receiver says what is wrong with it
	}
	for _, was := range []json.RawMessage{d.HTTP.Request.Headers, d.HTTP.Response.Headers} {
		if is := fitHeaders(was); is != nil {
			document = bytes.Replace(document, was, is, 1)
		}
	}
	return document
}

// fitHeaders returns an object of headers that is taken; nil: it is already.
func fitHeaders(object json.RawMessage) []byte {
	var headers map[string][]string
	if len(object) == 0 || json.Unmarshal(object, &headers) != nil {
		return nil
	}
	fits := map[string][]string{}
	changed := false
	for name, values := range headers {
		short := shorten(strings.ReplaceAll(name, "\x00", `\x00`), maxHeaderTerm/2)
		changed = changed || short != name
		for _, v := range values {
			if len(name)+len(v) > maxHeaderTerm {
				v = shorten(v, maxHeaderTerm-len(short))
				changed = true
			}
			fits[short] = append(fits[short], v)
		}
	}
	if !changed {
		return nil
	}
	text, err := json.Marshal(fits)
	if err != nil {
		return nil
	}
	return text
}

// shorten cuts a text to about that many bytes.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	limit -= len(ellipsis)
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + ellipsis
}
