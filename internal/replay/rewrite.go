package replay

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rewrite says how requests are changed before they are sent.
type Rewrite struct {
	// KeepHost: Host stays as recorded; otherwise it is the target's.
	KeepHost bool
	// Set are header fields that replace all of the same name, or are added. Drop are names of those that are left out.
	Set  []Field
	Drop []string
	// Targets change the request target, one after the other.
	Targets []Substitution
}

// Substitution replaces what a regular expression finds.
type Substitution struct {
	find *regexp.Regexp
	with string
	all  bool
}

// ParseSubstitution reads s|REGEXP|REPLACEMENT|, with any character in place of the bars. A g behind it replaces all that is found, an i ignores case. In the
// replacement, $1 and ${1} are groups.
func ParseSubstitution(text string) (s Substitution, err error) {
	if len(text) < 4 || text[0] != 's' || text[1] >= utf8.RuneSelf || isWord(text[1]) || text[1] == '\\' {
		return s, fmt.Errorf("%q: want s|REGEXP|REPLACEMENT|, as in 's|^/v1/|/v2/|'", text)
	}
	parts := strings.Split(text[2:], text[1:2])
	if len(parts) != 3 {
		return s, fmt.Errorf("%q: want three %c, as in 's%[2]cOLD%[2]cNEW%[2]c'", text, text[1])
	}
	expression := parts[0]
	for _, flag := range parts[2] {
		switch flag {
		case 'g':
			s.all = true
		case 'i':
			expression = "(?i)" + expression
		default:
			return s, fmt.Errorf("%q: behind the last %c there may be g (all) and i (ignore case)", text, text[1])
		}
	}
	if s.find, err = regexp.Compile(expression); err != nil {
		return s, fmt.Errorf("%q: %w", text, err)
	}
	s.with = parts[1]
	return s, nil
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// apply returns the text with what was found replaced.
func (s *Substitution) apply(text string) string {
	if s.all {
		return s.find.ReplaceAllString(text, s.with)
	}
	at := s.find.FindStringSubmatchIndex(text)
	if at == nil {
		return text
	}
	return text[:at[0]] + string(s.find.ExpandString(nil, s.with, text, at)) + text[at[1]:]
}

// ParseField reads a header field, Name: value.
func ParseField(text string) (Field, error) {
	name, value, found := strings.Cut(text, ":")
	f := Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
	if !found || !isToken(f.Name) {
		return f, fmt.Errorf("%q: want Name: value", text)
	}
	if !isValue(f.Value) {
		return f, fmt.Errorf("the value of %s holds a character that no header may have", f.Name)
	}
	return f, nil
}

// isToken reports whether a name is fit for a header field or a method (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isWord(c) && !strings.ContainsRune("!#$%&'*+-.^`|~", rune(c)) || c >= utf8.RuneSelf {
			return false
		}
	}
	return s != ""
}

// isValue reports whether a value is fit for a header field (RFC 9110 §5.5).
func isValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isTarget reports whether a text is fit for a request line.
func isTarget(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Request is a request as it is sent.
type Request struct {
	Method, Target, Authority string
	// Fields are in their order, Host, Content-Length and Transfer-Encoding among them, as HTTP/1.1 has them, trailers behind them.
	Fields []Field
	Body   []byte
	// Chunked: in chunks. HasBody: there is one, possibly empty. HTTP10: as HTTP/1.0.
	Chunked, HasBody, HTTP10 bool
	// Expect: the client waits for 100 (Continue) before it sends the body.
	Expect bool
}

// Get returns the value of the first header field of a name, in any case, and whether there is one.
func (r *Request) Get(name string) (string, bool) { return get(r.Fields, name) }

// connectionFields say something of a connection that isn't made again: of a proxy's, or how it would change to HTTP/2.
var connectionFields = []string{"proxy-connection", "proxy-authorization", "http2-settings", "upgrade"}

// changer puts what earlier answers have given into the texts of a request.
type changer interface {
	text(text string) string
	target(target string) string
	cookies(header string) string
}

// request makes the request of an item, for a target.
func (rw *Rewrite) request(it *Item, to *url.URL, c changer) *Request {
	r := &Request{Method: it.Method, Authority: to.Host, Chunked: it.Chunked && it.Body.State != NoBody, HasBody: it.Body.State != NoBody, HTTP10: it.HTTP10}
	if rw.KeepHost && it.Authority != "" {
		r.Authority = it.Authority
	}
	r.Target = c.target(rw.target(it, to))
	r.Body = it.Body.Bytes
	if text := string(it.Body.Bytes); it.Body.State == Whole && utf8.ValidString(text) {
		if changed := c.text(text); changed != text {
			r.Body = []byte(changed)
		}
	}
	// Where a length belongs although there is no body: a request that might have had one says so (RFC 9110 §8.6).
	_, hadLength := get(it.Fields, "content-length")
	length := fmt.Sprint(len(r.Body))
	var trailers []Field
	placed := map[string]bool{}
	once := func(name, value string) { // at the place of the first
		if lower := strings.ToLower(name); !placed[lower] {
			placed[lower] = true
			r.Fields = append(r.Fields, Field{Name: name, Value: value})
		}
	}
	if it.HTTP2 {
		once("Host", r.Authority) // which was :authority, and first
	}
	crumbs := -1
	for _, f := range it.Fields {
		lower := strings.ToLower(f.Name)
		switch {
		case !isToken(f.Name) || slices.Contains(connectionFields, lower):
		case f.Trailer:
			if r.Chunked {
				trailers = append(trailers, f)
			}
		case lower == "host":
			once(f.Name, r.Authority)
		case lower == "content-length":
			if !r.Chunked {
				once(f.Name, length)
			}
		case lower == "transfer-encoding":
			if r.Chunked {
				once(f.Name, "chunked")
			} else {
				once("Content-Length", length)
			}
		case lower == "content-encoding" && it.Body.State != Coded: // which was undone
		case lower == "connection":
			if value := connection(f.Value); value != "" {
				r.Fields = append(r.Fields, Field{Name: f.Name, Value: value})
			}
		case lower == "cookie":
			value := c.cookies(f.Value)
			if crumbs >= 0 && it.HTTP2 { // one header in HTTP/1.1 (RFC 9113 §8.2.3)
				r.Fields[crumbs].Value += "; " + value
				break
			}
			crumbs = len(r.Fields)
			r.Fields = append(r.Fields, Field{Name: f.Name, Value: value})
		default:
			r.Fields = append(r.Fields, Field{Name: f.Name, Value: c.text(f.Value)})
		}
	}
	if !placed["host"] {
		r.Fields = slices.Insert(r.Fields, 0, Field{Name: "Host", Value: r.Authority})
		placed["host"] = true
	}
	if r.Chunked {
		once("Transfer-Encoding", "chunked")
	} else if r.HasBody || hadLength {
		once("Content-Length", length)
	}
	rw.fields(r)
	r.Fields = append(r.Fields, trailers...)
	if v, ok := r.Get("expect"); ok && r.HasBody && strings.EqualFold(v, "100-continue") {
		r.Expect = true
	}
	return r
}

// connection returns the options of a Connection header that still make sense.
func connection(value string) string {
	var kept []string
	for option := range strings.SplitSeq(value, ",") {
		option = strings.TrimSpace(option)
		if option != "" && !slices.Contains(connectionFields, strings.ToLower(option)) {
			kept = append(kept, option)
		}
	}
	return strings.Join(kept, ", ")
}

// target returns the request target at the place that requests go to.
func (rw *Rewrite) target(it *Item, to *url.URL) string {
	target := it.Target
	for i := range rw.Targets {
		target = rw.Targets[i].apply(target)
	}
	if len(rw.Targets) > 0 && target != it.Target && target != "*" && !strings.HasPrefix(target, "/") {
		target = "/" + target // a request line has a path
	}
	if base := strings.TrimSuffix(to.EscapedPath(), "/"); base != "" && strings.HasPrefix(target, "/") {
		target = base + target
	}
	return target
}

// framing are the fields that follow from the message.
var framing = []string{"content-length", "transfer-encoding"}

// fields sets and drops header fields.
func (rw *Rewrite) fields(r *Request) {
	r.Fields = slices.DeleteFunc(r.Fields, func(f Field) bool { return rw.drops(f.Name) })
	for _, set := range rw.Set {
		at := slices.IndexFunc(r.Fields, func(f Field) bool { return strings.EqualFold(f.Name, set.Name) })
		if strings.EqualFold(set.Name, "host") {
			r.Authority = set.Value
		}
		if at < 0 {
			r.Fields = append(r.Fields, set)
			continue
		}
		r.Fields[at].Value = set.Value
		rest := slices.DeleteFunc(r.Fields[at+1:], func(f Field) bool { return strings.EqualFold(f.Name, set.Name) })
		r.Fields = r.Fields[:at+1+len(rest)]
	}
}

func (rw *Rewrite) drops(name string) bool {
	return slices.ContainsFunc(rw.Drop, func(d string) bool { return strings.EqualFold(d, name) }) && !slices.Contains(framing, strings.ToLower(name))
}

// replaces reports whether the recorded values of a header field aren't sent.
func (rw *Rewrite) replaces(name string) bool {
	return rw.drops(name) || slices.ContainsFunc(rw.Set, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}
