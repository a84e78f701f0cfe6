package replay

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Kind is a kind of difference between a recorded answer and the one that came this time.
type Kind uint8

// The kinds of differences.
const (
	// NoAnswer: none came, or not all of it.
	NoAnswer Kind = iota
	// Status: the status code.
	Status
	// HeaderMissing, HeaderExtra, HeaderValue: a header field is gone, is new, has another value.
	HeaderMissing
	HeaderExtra
	HeaderValue
	// JSONType to JSONLength: of a JSON body, the type of a value, the value, a member that is gone, one that is new, the length of an array.
	JSONType
	JSONValue
	JSONMissing
	JSONExtra
	JSONLength
	// BodyBytes: of another body, its bytes; BodyLength: its length, where nothing more is known; BodyKind: one is JSON, and the other isn't.
	BodyBytes
	BodyLength
	BodyKind
	numKinds
)

var kindNames = [numKinds]string{
	"no answer", "status", "header missing", "header extra", "header value", "JSON type", "JSON value", "JSON missing", "JSON extra", "JSON length", "body", "body length",
	"body kind",
}

func (k Kind) String() string { return kindNames[k] }

// Finding is a difference.
type Finding struct {
	Kind Kind
	// Where is the header or the place in the document that differs, with [*] for all elements of arrays; At is the very place.
	Where, At string
	// Recorded and Replayed are what is there, shortened; empty: nothing.
	Recorded, Replayed string
}

// maxShown is how many characters of a value are shown.
const maxShown = 60

// shorten cuts a long text in the middle.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	r := []rune(s)
	return string(r[:maxShown*2/3]) + "…" + string(r[len(r)-maxShown/3+1:])
}

// ignoredHeaders differ from answer to answer, or follow from the connection and from who sends rather than from what is sent. Of bodies, the length is compared as a
// part of them.
var ignoredHeaders = []string{
	"age", "alt-svc", "cf-ray", "connection", "content-length", "date", "etag", "expires", "keep-alive", "last-modified", "nel", "report-to", "server", "server-timing",
	"traceparent", "tracestate", "transfer-encoding", "via", "x-amz-cf-id", "x-amzn-requestid", "x-amzn-trace-id", "x-correlation-id", "x-powered-by",
	"x-request-id", "x-runtime", "x-served-by", "x-timer", "x-trace-id", "x-varnish",
}

// IgnoredHeaders returns the names of header fields that aren't compared unless that is asked for.
func IgnoredHeaders() []string { return slices.Clone(ignoredHeaders) }

// Rules say what is compared.
type Rules struct {
	// IgnoreHeaders are names of header fields that aren't compared either; CompareHeaders of those that are, though they wouldn't be.
	IgnoreHeaders, CompareHeaders []string
	// Ignore are rules json:PATH and text:REGEXP of what isn't compared in bodies.
	Ignore []Ignore
	// Secure: the target speaks https. A redirect to the server itself is the same where its scheme was the connection's, and is.
	Secure bool
}

// Ignore is what isn't compared in bodies: places of JSON documents, or what a regular expression finds in other ones.
type Ignore struct {
	path *Path
	find *regexp.Regexp
}

// ParseIgnore reads a rule: json:PATH or text:REGEXP.
func ParseIgnore(text string) (i Ignore, err error) {
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case found && kind == "json":
		p, err := ParsePath(rest)
		i.path = &p
		return i, err
	case found && kind == "text" && rest != "":
		if i.find, err = regexp.Compile(rest); err != nil {
			return i, fmt.Errorf("%q: %w", text, err)
		}
		return i, nil
	}
	return i, fmt.Errorf("%q: want json:PATH or text:REGEXP, as in json:$.time", text)
}

// comparer compares answers.
type comparer struct {
	secure  bool
	ignored map[string]bool
	paths   []Path
	texts   []*regexp.Regexp
}

func newComparer(r *Rules) *comparer {
	c := &comparer{secure: r.Secure, ignored: map[string]bool{}}
	for _, list := range [...][]string{ignoredHeaders, r.IgnoreHeaders} {
		for _, name := range list {
			c.ignored[strings.ToLower(name)] = true
		}
	}
	for _, name := range r.CompareHeaders {
		delete(c.ignored, strings.ToLower(name))
	}
	for _, i := range r.Ignore {
		if i.path != nil {
			c.paths = append(c.paths, *i.path)
		} else {
			c.texts = append(c.texts, i.find)
		}
	}
	return c
}

// compare returns how an answer differs from that of the recording. sentTo is the authority that the request had this time.
func (c *comparer) compare(it *Item, now *Answer, sentTo string) []Finding {
	was := &it.Answer
	if was.Status != now.Status { // which other headers and another body go with
		return []Finding{{Kind: Status, Recorded: strconv.Itoa(was.Status), Replayed: strconv.Itoa(now.Status)}}
	}
	return append(c.headers(it, now, sentTo), c.bodies(was, now)...)
}

// values returns the values of the header fields that are compared, by their lower-case names, and the names in their order.
func (c *comparer) values(a *Answer) (names []string, values map[string]string) {
	values = map[string]string{}
	for _, f := range a.Fields {
		name := strings.ToLower(f.Name)
		value := f.Value
		if f.Trailer || c.ignored[name] {
			continue
		}
		if name == "set-cookie" { // whose values are new each time
			value, _, _ = strings.Cut(value, "=")
		}
		before, ok := values[name]
		if !ok {
			names = append(names, name)
			values[name] = value
			continue
		}
		values[name] = before + ", " + value
	}
	return names, values
}

// locations are header fields whose values are URLs.
var locations = []string{"location", "content-location"}

func (c *comparer) headers(it *Item, now *Answer, sentTo string) (found []Finding) {
	names, was := c.values(&it.Answer)
	others, is := c.values(now)
	for _, name := range names {
		old := was[name]
		value, ok := is[name]
		switch {
		case !ok:
			found = append(found, Finding{Kind: HeaderMissing, Where: name, At: name, Recorded: shorten(old)})
		case value == old:
		case slices.Contains(locations, name) && sameLocation(old, value, origin{it.Secure, it.Authority}, origin{c.secure, sentTo}):
		default:
			found = append(found, Finding{Kind: HeaderValue, Where: name, At: name, Recorded: shorten(old), Replayed: shorten(value)})
		}
	}
	for _, name := range others {
		if _, ok := was[name]; !ok {
			found = append(found, Finding{Kind: HeaderExtra, Where: name, At: name, Replayed: shorten(is[name])})
		}
	}
	return found
}

// origin is where an answer came from.
type origin struct {
	secure    bool
	authority string
}

// scheme is how an origin is reached.
func (o origin) scheme() string {
	if o.secure {
		return "https"
	}
	return "http"
}

// sameLocation reports whether two URLs lead to the same place, each at the server that gave it.
func sameLocation(a, b string, from, to origin) bool {
	x, err := url.Parse(a)
	y, err2 := url.Parse(b)
	if err != nil || err2 != nil {
		return false
	}
	if x.Host == "" {
		x.Host = from.authority
	}
	if y.Host == "" {
		y.Host = to.authority
	}
	was, is := cmp.Or(x.Scheme, from.scheme()), cmp.Or(y.Scheme, to.scheme())
	if was != is && (was != from.scheme() || is != to.scheme()) {
		return false
	}
	return strings.EqualFold(x.Host, from.authority) && strings.EqualFold(y.Host, to.authority) && x.RequestURI() == y.RequestURI() && x.Fragment == y.Fragment
}

func (c *comparer) bodies(was, now *Answer) []Finding {
	a, b := &was.Body, &now.Body
	switch {
	case a.State == NoBody && b.State == NoBody:
		return nil
	case a.State == NotKept || b.State == NotKept:
		return lengths(a, b)
	case a.State == Cut || b.State == Cut || a.State == Coded || b.State == Coded:
		return c.partial(a, b)
	}
	if was.isJSON() || now.isJSON() {
		x, err := parseJSON(a.Bytes)
		y, err2 := parseJSON(b.Bytes)
		switch {
		case err == nil && err2 == nil:
			d := jsonDiff{ignore: c.paths}
			d.compare(x, y)
			return d.found
		case (err == nil) != (err2 == nil):
			return []Finding{{Kind: BodyKind, Recorded: kindOf(a, err), Replayed: kindOf(b, err2)}}
		}
	}
	return c.plain(a.Bytes, b.Bytes)
}

func kindOf(b *Body, err error) string {
	if err == nil {
		return "JSON"
	}
	return plural(len(b.Bytes)) + " that aren't JSON"
}

func plural(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return strconv.Itoa(n) + " bytes"
}

// isJSON reports whether an answer says that it is JSON.
func (a *Answer) isJSON() bool {
	t, _ := a.Get("content-type")
	t, _, _ = strings.Cut(strings.ToLower(t), ";")
	t = strings.TrimSpace(t)
	return t == "application/json" || strings.HasSuffix(t, "+json") || t == "text/json"
}

// lengths compares what is known where a body wasn't kept. Lengths of other codings aren't the same thing.
func lengths(a, b *Body) []Finding {
	x, y := a.Decoded, b.Decoded
	if x < 0 || y < 0 {
		return nil
	}
	if x == y {
		return nil
	}
	return []Finding{{Kind: BodyLength, Recorded: plural(int(x)), Replayed: plural(int(y))}}
}

// partial compares the beginnings that are there of both.
func (c *comparer) partial(a, b *Body) []Finding {
	if a.State == Coded != (b.State == Coded) {
		return nil
	}
	if found := lengths(a, b); found != nil && len(c.texts) == 0 {
		return found
	}
	n := min(len(a.Bytes), len(b.Bytes))
	if a.State != Cut && len(a.Bytes) < len(b.Bytes) || b.State != Cut && len(b.Bytes) < len(a.Bytes) {
		n = max(len(a.Bytes), len(b.Bytes)) // the one that is whole is shorter
	}
	return c.plain(a.Bytes[:min(n, len(a.Bytes))], b.Bytes[:min(n, len(b.Bytes))])
}

// plain compares bytes.
func (c *comparer) plain(a, b []byte) []Finding {
	for _, find := range c.texts {
		a, b = find.ReplaceAll(a, nil), find.ReplaceAll(b, nil)
	}
	if bytes.Equal(a, b) {
		return nil
	}
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	f := Finding{Kind: BodyBytes, At: "byte " + strconv.Itoa(at)}
	f.Recorded, f.Replayed = around(a, at), around(b, at)
	return []Finding{f}
}

// around shows bytes at a place, with the length of all: as text, or in hexadecimal where they are none.
func around(b []byte, at int) string {
	const before, after = 6, 14
	to := min(at+after, len(b))
	part := b[min(max(at-before, 0), to):to]
	text := string(part)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		text = fmt.Sprintf("% x", part)
	}
	return plural(len(b)) + ": " + text
}

// exchangeID is the text form of the id of an item.
func (it *Item) exchangeID() string { return exchange.IDText(it.ID) }
