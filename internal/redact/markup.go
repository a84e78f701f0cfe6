package redact

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// maxMarkupMinimum: names whose values are secret only when they are longer than this mean too much else in
// markup, such as <code> and <key>, for their elements and attributes to count.
const maxMarkupMinimum = 8

// markup is XML (https://www.w3.org/TR/xml) or HTML, whole or cut anywhere: elements and attributes with secret
// names, and pairs of a name and a value, as fields of forms and settings are.
func (r *Redactor) markup(v []byte) {
	var (
		shortest int    // secret is text that long, by the element around it; 0: none
		within   []byte // name of the secret element in which all text is secret; nil: none
		pending  int    // shortest of the next text, by the <name> or <key> before it
		naming   bool   // the text at hand is a name
	)
	for i := 0; i < len(v); {
		end := next(v, i, len(v), &tagStart)
		after := end
		if bytes.HasPrefix(v[end:], []byte("<![CDATA[")) && end == i {
			i += len("<![CDATA[")
			end = indexFrom(v, i, "]]>")
			after = min(end+len("]]>"), len(v))
		}
		from, to := trimBlank(v, i, end)
		switch least := max(shortest, pending); {
		case from == to:
		case within != nil, least > 0 && to-from >= least:
			r.add(v, from, to)
			pending = 0
		case naming:
			pending = r.parameter(v[from:to])
			r.text(v, from, to, cards)
		default:
			r.embedded(v, from, to)
			pending = 0
		}
		i = after
		if i != end || i == len(v) {
			continue // behind CDATA
		}
		switch t := v[i:]; {
		case bytes.HasPrefix(t, []byte("<![CDATA[")):
		case bytes.HasPrefix(t, []byte("<!--")):
			end := min(indexFrom(v, i+len("<!--"), "-->")+len("-->"), len(v))
			r.text(v, i, end, cards)
			i = end
		case bytes.HasPrefix(t, []byte("</")):
			name, end := tagName(v, i+2)
			if within != nil && bytes.Equal(name, within) {
				within = nil
			}
			shortest, naming = 0, false
			i = min(next(v, end, len(v), &tagEnd)+1, len(v))
		case bytes.HasPrefix(t, []byte("<!")), bytes.HasPrefix(t, []byte("<?")):
			end := min(next(v, i, len(v), &tagEnd)+1, len(v))
			r.text(v, i, end, cards)
			i = end
		default:
			var tag tag
			i = r.tag(v, i, &tag)
			local := localName(tag.name)
			shortest, naming = 0, false
			switch {
			case tag.empty || within != nil:
			case proto.EqualFold(local, "script"), proto.EqualFold(local, "style"):
				i = r.script(v, i, tag.name)
			case proto.EqualFold(local, "name"), proto.EqualFold(local, "key"):
				naming = true
			case tag.named > 0 && isSetting(local):
				shortest = tag.named
			default:
				if shortest = r.parameter(local); shortest > maxMarkupMinimum {
					shortest = 0
				}
				if shortest == 1 {
					within = tag.name
				}
			}
		}
	}
}

// tag is what a start tag says.
type tag struct {
	name []byte
	// named is the length from which the value is secret that goes with a name among the attributes, 0: none.
	named int
	// empty: it has no content.
	empty bool
}

var (
	tagStart    = newDelimiters("<")
	tagEnd      = newDelimiters(">")
	tagNameEnd  = newDelimiters(" \t\r\n/>")
	attrNameEnd = newDelimiters(" \t\r\n=/>")
	attrEnd     = newDelimiters(" \t\r\n>")
)

// tag finds the secrets in the attributes of the start tag at v[i], and returns where its content begins.
func (r *Redactor) tag(v []byte, i int, t *tag) int {
	var start int
	t.name, start = tagName(v, i+1)
	end := attributes(v, start, t, func(name []byte, from, to int) {
		switch value := v[from:to]; {
		case isName(name):
			if n := r.parameter(value); n > 0 {
				t.named = n
			}
		case proto.EqualFold(name, "type") && proto.EqualFold(value, "password"):
			t.named = 1
		}
	})
	attributes(v, start, t, func(name []byte, from, to int) {
		least := 0
		switch {
		case proto.EqualFold(name, "value"), proto.EqualFold(name, "content"):
			least = t.named
		case !isName(name):
			if least = r.parameter(localName(name)); least > maxMarkupMinimum {
				least = 0
			}
		}
		if least > 0 && to-from >= least {
			r.add(v, from, to)
			return
		}
		r.embedded(v, from, to)
	})
	return end
}

// attributes calls do with the name and the value's place of each attribute of a tag, and returns where the
// tag ends.
func attributes(v []byte, i int, t *tag, do func(name []byte, from, to int)) int {
	t.empty = false
	for {
		i = skipBlank(v, i, len(v))
		if i == len(v) {
			return i
		}
		if v[i] == '>' {
			return i + 1
		}
		if v[i] == '/' || v[i] == '=' {
			t.empty = v[i] == '/'
			i++
			continue
		}
		t.empty = false
		start := i
		i = next(v, i, len(v), &attrNameEnd)
		name := v[start:i]
		equals := skipBlank(v, i, len(v))
		if equals == len(v) || v[equals] != '=' {
			continue
		}
		i = skipBlank(v, equals+1, len(v))
		if i < len(v) && (v[i] == '"' || v[i] == '\'') {
			from := i + 1
			to := indexFrom(v, from, string(v[i]))
			do(name, from, to)
			i = min(to+1, len(v))
			continue
		}
		from := i
		i = next(v, i, len(v), &attrEnd)
		do(name, from, i)
	}
}

// script is what stands in a script or a style: JSON, or a program, in which only what looks like a secret is
// one. It returns where the end tag begins.
func (r *Redactor) script(v []byte, i int, name []byte) int {
	end := indexFrom(v, i, "</"+string(name))
	if startsJSON(v[i:end]) {
		r.members(v, i, end)
	} else {
		r.text(v, i, end, cards)
	}
	return end
}

// isName reports whether an attribute tells the name of a value.
func isName(name []byte) bool {
	return proto.EqualFold(name, "name") || proto.EqualFold(name, "key") || proto.EqualFold(name, "id")
}

// settings are elements whose content is the value for the name among their attributes.
var settings = []string{"string", "property", "entry", "param", "parameter", "setting", "item", "field", "attribute", "data", "textarea"}

func isSetting(name []byte) bool {
	for _, s := range settings {
		if proto.EqualFold(name, s) {
			return true
		}
	}
	return false
}

// tagName returns the name of a tag at v[i], and where it ends.
func tagName(v []byte, i int) (name []byte, end int) {
	end = next(v, i, len(v), &tagNameEnd)
	return v[i:end], end
}

// localName returns a name without its namespace.
func localName(name []byte) []byte { return name[bytes.LastIndexByte(name, ':')+1:] }

// indexFrom returns where s begins in v[i:], len(v) when it doesn't.
func indexFrom(v []byte, i int, s string) int {
	i = min(i, len(v))
	if n := bytes.Index(v[i:], []byte(s)); n >= 0 {
		return i + n
	}
	return len(v)
}

// trimBlank returns v[from:to] without the white space around it.
func trimBlank(v []byte, from, to int) (int, int) {
	for from < to && v[from] <= ' ' {
		from++
	}
	for to > from && v[to-1] <= ' ' {
		to--
	}
	return from, to
}
