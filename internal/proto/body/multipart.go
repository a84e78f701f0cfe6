package body

import (
	"bytes"
	"mime"
	"strings"
)

// MaxParts is how many parts of a multipart body are described. What follows them is left out.
const MaxParts = 100

const (
	// maxPartHead is how many bytes the header of a part may have; a longer one isn't looked into.
	maxPartHead = 8 << 10
	// maxText is how many bytes of a part's name, file name or type are kept.
	maxText = 256
	// maxBoundary is the longest boundary, in bytes (RFC 2046 §5.1.1).
	maxBoundary = 70
)

// Part describes one part of a multipart body (RFC 2046 §5.1).
type Part struct {
	// Name and Filename are those of its Content-Disposition (RFC 7578 §4.2), Type its Content-Type
	// without parameters, in lower case; empty where there is none.
	Name, Filename, Type string
	// Bytes is the length of its content, as far as seen.
	Bytes int64
}

// Multipart describes the parts of a body, MaxParts at most; parts within parts aren't looked into.
// It gives nil when contentType isn't multipart with a boundary. body is decoded, and may be only the
// beginning of one: the last part then has the bytes that are there.
func Multipart(contentType, body []byte) []Part {
	delimiter := Delimiter(string(contentType))
	if delimiter == nil {
		return nil
	}
	_, rest, last := cut(body, delimiter)
	var parts []Part
	for rest != nil && !last && len(parts) < MaxParts {
		var content []byte
		content, rest, last = cut(rest, delimiter)
		head, content := partHead(content)
		p := Part{Bytes: int64(len(content))}
		p.read(head)
		parts = append(parts, p)
	}
	return parts
}

// Delimiter returns what a line begins with that separates the parts of a body (RFC 2046 §5.1.1); nil when contentType isn't multipart with a
// boundary.
func Delimiter(contentType string) []byte {
	kind, params := parse(contentType)
	boundary := params["boundary"]
	if !strings.HasPrefix(kind, "multipart/") || boundary == "" || len(boundary) > maxBoundary {
		return nil
	}
	return []byte("--" + boundary)
}

// MaxPartHead is how many bytes the header of a part may have that is looked into.
const MaxPartHead = maxPartHead

// DescribePart returns what the header of a part says, without its length.
func DescribePart(head []byte) (p Part) {
	p.read(head)
	return p
}

// cut splits b at the first line that is the delimiter. The line end before it belongs to the
// delimiter. after is nil when there is none; last says that it is the closing one.
func cut(b, delimiter []byte) (before, after []byte, last bool) {
	for at := 0; ; {
		i := bytes.Index(b[at:], delimiter)
		if i < 0 {
			return b, nil, false
		}
		start := at + i
		at = start + len(delimiter)
		if start > 0 && b[start-1] != '\n' {
			continue
		}
		after = b[at:]
		if after, last = bytes.CutPrefix(after, []byte("--")); !last {
			after = bytes.TrimLeft(after, " \t\r")
			if len(after) > 0 && after[0] != '\n' {
				// A longer boundary that begins with this one.
				continue
			}
			after = bytes.TrimPrefix(after, []byte("\n"))
		}
		return trimLineEnd(b[:start]), after, last
	}
}

func trimLineEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// partHead splits a part into its header and its content. A part that ends within its header has no
// content.
func partHead(b []byte) (head, content []byte) {
	for at := 0; at < len(b); {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		line := trimLineEnd(b[at : at+i+1])
		at += i + 1
		if len(line) == 0 {
			return b[:at], b[at:]
		}
	}
	return b, nil
}

// read takes what it describes from a part's header.
func (p *Part) read(head []byte) {
	if len(head) > maxPartHead {
		return
	}
	for line := range bytes.Lines(unfold(head)) {
		name, value, _ := bytes.Cut(trimLineEnd(line), []byte(":"))
		switch name = bytes.TrimSpace(name); {
		case strings.EqualFold(string(name), "content-disposition"):
			_, params := parse(string(value))
			p.Name, p.Filename = clip(params["name"]), clip(params["filename"])
		case strings.EqualFold(string(name), "content-type"):
			kind, _ := parse(string(value))
			p.Type = clip(kind)
		}
	}
}

// unfold joins the lines of folded values.
func unfold(head []byte) []byte {
	for _, fold := range [...]string{"\r\n ", "\r\n\t", "\n ", "\n\t"} {
		head = bytes.ReplaceAll(head, []byte(fold), []byte(" "))
	}
	return head
}

func clip(s string) string { return strings.Clone(s[:min(len(s), maxText)]) }

// parse takes a media type or disposition apart: its name in lower case, and its parameters. What
// breaks the rules is read as browsers do, by the next semicolon outside quotes.
func parse(s string) (kind string, params map[string]string) {
	if kind, params, err := mime.ParseMediaType(s); err == nil {
		return kind, params
	}
	kind, rest, _ := strings.Cut(s, ";")
	params = make(map[string]string)
	for rest != "" {
		var name, value string
		name, rest, _ = strings.Cut(rest, "=")
		rest = strings.TrimLeft(rest, " \t")
		if strings.HasPrefix(rest, `"`) {
			value, rest, _ = strings.Cut(rest[1:], `"`)
			_, rest, _ = strings.Cut(rest, ";")
		} else {
			value, rest, _ = strings.Cut(rest, ";")
			value = strings.TrimSpace(value)
		}
		name = strings.ToLower(strings.Trim(name, "; \t"))
		if _, seen := params[name]; !seen {
			params[name] = value
		}
	}
	return strings.ToLower(strings.TrimSpace(kind)), params
}
