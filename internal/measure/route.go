package measure

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits of routes.
const (
	// MaxRouteSegments is how many segments of a path a route tells; /* stands for those behind.
	MaxRouteSegments = 16
	// MaxRouteSegment is how long a segment of a route is, in bytes; {id} stands for longer ones.
	MaxRouteSegment = 64
	// MaxRoute is how long a route is, in bytes.
	MaxRoute = MaxRouteSegments*(1+MaxRouteSegment) + len(more)
	// MaxRouteRules is how many rules Routes may have. All are tried for every path.
	MaxRouteRules = 1000

	// maxSegment is how long a segment of a path may be to be looked into, in bytes.
	maxSegment = 256
)

// What stands for the variable parts of a path.
const (
	id    = "{id}"
	date  = "{date}"
	email = "{email}"
	more  = "/*"
)

// Routes turns paths into routes: the path with its variable parts replaced, such as /users/{id}. What a route
// is depends on the path and on the rules, and on nothing that was seen before, so that everyone with the same
// rules comes to the same routes. docs/enrichment.md has the table of what counts as variable.
//
// Routes never changes: any number of goroutines may use it.
type Routes struct {
	rules []routeRule
	// texts are those of the rules: a route is its own route.
	texts map[string]bool
}

// routeRule is a rule such as /api/users/{id} or /static/*.
type routeRule struct {
	text     string
	segments []segmentRule
	// rest: one or more further segments follow, whatever they are.
	rest bool
}

// segmentRule says what a segment must look like: prefix alone, or prefix, something, suffix.
type segmentRule struct {
	prefix, suffix string
	variable       bool
}

// NewRoutes returns Routes for some rules, which may be none. A rule is a path in which {NAME} stands for a segment or
// for a part of one, and * at the end for everything behind. The first rule that fits gives the route; paths that
// fit none are judged by their looks.
func NewRoutes(rules []string) (*Routes, error) {
	if len(rules) > MaxRouteRules {
		return nil, fmt.Errorf("%d routes are configured, at most %d are possible: let * stand for groups of them", len(rules), MaxRouteRules)
	}
	r := &Routes{texts: make(map[string]bool, len(rules))}
	for _, text := range rules {
		rule, err := parseRoute(text)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", text, err)
		}
		if r.texts[rule.text] {
			continue
		}
		r.texts[rule.text] = true
		r.rules = append(r.rules, rule)
	}
	return r, nil
}

func parseRoute(text string) (routeRule, error) {
	rule := routeRule{}
	if !strings.HasPrefix(text, "/") {
		return rule, fmt.Errorf("it must begin with /, as in /users/{id}")
	}
	if i := strings.IndexAny(text, "?#;"); i >= 0 {
		return rule, fmt.Errorf("it has %q: a route is a path without parameters", text[i])
	}
	for rest := text; rest != "" && text != "/"; {
		segment := rest[1:]
		rest = ""
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment, rest = segment[:i], segment[i:]
		}
		if segment == "" {
			return rule, fmt.Errorf("it has an empty segment: write / once only, and none at the end")
		}
		if segment == "*" && rest == "" {
			rule.rest = true
			break
		}
		if strings.Contains(segment, "*") {
			return rule, fmt.Errorf("* may only be the last segment: for others write {name}")
		}
		s, err := parseSegment(segment)
		if err != nil {
			return rule, err
		}
		if len(segment) > MaxRouteSegment || len(rule.segments) == MaxRouteSegments {
			return rule, fmt.Errorf("it is too long: at most %d segments of at most %d bytes are possible", MaxRouteSegments, MaxRouteSegment)
		}
		rule.segments = append(rule.segments, s)
	}
	var b strings.Builder
	for _, s := range rule.segments {
		b.WriteByte('/')
		b.WriteString(s.prefix)
		b.WriteString(s.suffix)
	}
	switch {
	case rule.rest:
		b.WriteString(more)
	case b.Len() == 0:
		b.WriteByte('/')
	}
	rule.text = b.String()
	for i := range rule.segments {
		if s := &rule.segments[i]; s.variable {
			s.suffix = s.suffix[strings.IndexByte(s.suffix, '}')+1:]
		}
	}
	return rule, nil
}

// parseSegment parses a segment of a rule. The suffix begins with {NAME}, which parseRoute takes off.
func parseSegment(text string) (s segmentRule, err error) {
	open, end := strings.IndexByte(text, '{'), strings.IndexByte(text, '}')
	literal := text
	if open >= 0 || end >= 0 {
		if open < 0 || end < open+2 || strings.ContainsAny(text[end+1:], "{}") || strings.Contains(text[open+1:end], "{") {
			return s, fmt.Errorf("segment %q: there may be one {name} in a segment", text)
		}
		for _, c := range []byte(text[open+1 : end]) {
			if !isAlnum(c) && c != '_' && c != '-' {
				return s, fmt.Errorf("segment %q: names in {} have letters, digits, - and _ only", text)
			}
		}
		literal = text[:open] + text[end+1:]
	}
	var buf [3 * maxSegment]byte
	if plain, ok := normal(buf[:0], []byte(literal)); !ok || string(plain) != literal {
		return s, fmt.Errorf("segment %q: write it as paths come, %%XX with capital letters where it is needed: %s", text, plain)
	}
	if open < 0 {
		return segmentRule{prefix: text}, nil
	}
	return segmentRule{prefix: text[:open], suffix: text[open:], variable: true}, nil
}

// Append appends the route of a path, and nothing for an empty path. A query is left out. It doesn't allocate if
// dst has room for MaxRoute bytes more.
func (r *Routes) Append(dst, path []byte) []byte {
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	if len(path) == 0 || len(path) == 1 && path[0] == '*' {
		return append(dst, path...)
	}
	if len(r.rules) > 0 {
		if text := r.configured(path); text != "" {
			return append(dst, text...)
		}
	}
	n := 0
	for segment := []byte(nil); ; n++ {
		if segment, path = next(path); len(segment) == 0 {
			break
		}
		if n == MaxRouteSegments {
			return append(dst, more...)
		}
		dst = appendSegment(append(dst, '/'), segment)
	}
	if n == 0 {
		dst = append(dst, '/')
	}
	return dst
}

// next cuts the first segment that isn't empty from a path. Matrix parameters (;NAME=VALUE) are no part of it.
func next(path []byte) (segment, rest []byte) {
	for len(path) > 0 {
		// Segments are too short for searches that are made for long texts.
		end, parameters := 0, -1
		for ; end < len(path) && path[end] != '/'; end++ {
			if path[end] == ';' && parameters < 0 {
				parameters = end
			}
		}
		segment, path = path[:end], path[min(end+1, len(path)):]
		if parameters >= 0 {
			segment = segment[:parameters]
		}
		if len(segment) > 0 {
			return segment, path
		}
	}
	return nil, nil
}

// configured returns the text of the first rule that a path fits, or "".
func (r *Routes) configured(path []byte) string {
	if r.texts[string(path)] {
		return string(path)
	}
	for _, c := range path {
		if classes[c]&plain == 0 && c != '/' && c != ';' {
			var space [1024]byte
			return r.first(path, space[:0])
		}
	}
	return r.first(path, nil)
}

// first is configured, with room for normal forms where they are needed.
func (r *Routes) first(path, free []byte) string {
	var segments [MaxRouteSegments + 1][]byte
	n := 0
	for n < len(segments) {
		var segment []byte
		if segment, path = next(path); len(segment) == 0 {
			break
		}
		// What can't be put in its normal form is no literal that a rule may have.
		if free != nil && !isNormal(segment) {
			if plain, ok := normal(free[len(free):], segment); ok {
				segment, free = plain, free[:len(free)+len(plain)]
			}
		}
		segments[n] = segment
		n++
	}
	for i := range r.rules {
		if rule := &r.rules[i]; rule.fits(segments[:n]) {
			return rule.text
		}
	}
	return ""
}

func (r *routeRule) fits(segments [][]byte) bool {
	n := len(r.segments)
	if len(segments) < n || (len(segments) > n) != r.rest {
		return false
	}
	for i := range r.segments {
		s, b := &r.segments[i], segments[i]
		if !s.variable {
			if string(b) != s.prefix {
				return false
			}
			continue
		}
		if len(b) <= len(s.prefix)+len(s.suffix) || string(b[:len(s.prefix)]) != s.prefix || string(b[len(b)-len(s.suffix):]) != s.suffix {
			return false
		}
	}
	return true
}

// What bytes are in a path.
const (
	digit = 1 << iota
	lower
	upper
	hexLetter
	// unreserved bytes mean the same as their percent-encoding (RFC 3986 §2.3); plain ones may stand in a segment.
	unreserved
	plain
)

var classes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case '0' <= c && c <= '9':
			t[c] = digit | unreserved | plain
		case 'a' <= c && c <= 'z':
			t[c] = lower | unreserved | plain
		case 'A' <= c && c <= 'Z':
			t[c] = upper | unreserved | plain
		case strings.IndexByte("-._~", byte(c)) >= 0:
			t[c] = unreserved | plain
		case strings.IndexByte("!$&'()*+,=:@{}", byte(c)) >= 0:
			t[c] = plain
		}
		if 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' {
			t[c] |= hexLetter
		}
	}
	return t
}()

func isAlnum(c byte) bool { return classes[c]&(digit|lower|upper) != 0 }
func isHex(c byte) bool   { return classes[c]&(digit|hexLetter) != 0 }

func isNormal(segment []byte) bool {
	for _, c := range segment {
		if classes[c]&plain == 0 {
			return false
		}
	}
	return true
}

// normal appends the normal form of a segment (RFC 3986 §6.2.2), in which everything that means the same looks the
// same, and everything is printable. It reports false, and what it has, when dst has no room for it.
func normal(dst, segment []byte) ([]byte, bool) {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(segment); i++ {
		if cap(dst)-len(dst) < 3 {
			return dst, false
		}
		c := segment[i]
		escaped := c == '%' && i+2 < len(segment) && isHex(segment[i+1]) && isHex(segment[i+2])
		if escaped {
			c = nibble(segment[i+1])<<4 | nibble(segment[i+2])
			i += 2
		}
		// A stray % is one that was meant: as it stands it could become part of an escape.
		if !escaped && classes[c]&plain != 0 || classes[c]&unreserved != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst, true
}

func nibble(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// redacted is how a mark of redaction begins, which stands for something secret, and so variable.
var redacted = []byte("[redacted ")

// appendSegment appends a segment of a path with its variable parts replaced.
func appendSegment(dst, segment []byte) []byte {
	if len(segment) > maxSegment {
		return append(dst, id...)
	}
	all := uint8(plain)
	var some uint8
	at := false
	for _, c := range segment {
		k := classes[c]
		all &= k
		some |= k
		at = at || c == '@'
	}
	if all&plain == 0 {
		if bytes.Contains(segment, redacted) {
			return append(dst, id...)
		}
		var space [3*maxSegment + 3]byte
		segment, _ = normal(space[:0], segment) // there is room for three times its length
		at = true
		for _, c := range segment {
			some |= classes[c]
		}
	}
	if some&digit == 0 && !at && len(segment) < shortestHex {
		return append(dst, segment...) // words, which most segments are
	}
	switch {
	case isVersion(segment):
		return append(dst, segment...)
	case some&digit != 0 && isDate(segment):
		return append(dst, date...)
	case at && isEmail(segment):
		return append(dst, email...)
	case some&digit != 0 && isToken(segment):
		return append(dst, id...)
	}
	start := len(dst)
	dst = appendParts(dst, segment)
	if len(dst)-start > MaxRouteSegment {
		dst = append(dst[:start], id...)
	}
	return dst
}

// appendParts replaces the variable parts of a segment. A part is what stands between punctuation.
func appendParts(dst, segment []byte) []byte {
	// Variable parts with nothing but punctuation between them are one, such as a version or a range.
	merge := false
	from := 0 // where the punctuation before the part begins
	for i := 0; i < len(segment); {
		switch {
		case segment[i] == '%': // of an escape
			i += 3
			continue
		case !isAlnum(segment[i]):
			i++
			continue
		}
		end, keep := i+uuidLen(segment[i:]), 0
		if end == i {
			for end < len(segment) && isAlnum(segment[end]) {
				end++
			}
			keep = constant(segment[i:end])
		}
		if keep > 0 || !merge {
			dst = append(dst, segment[from:i+keep]...)
			if i+keep < end {
				dst = append(dst, id...)
			}
		}
		merge = i+keep < end
		from, i = end, end
	}
	return append(dst, segment[from:]...)
}

const (
	// shortestHex is how long hexadecimal letters without a digit are at least to be an id, shortestMixed with one.
	shortestHex, shortestMixed = 16, 8
	// shortestToken is how long something must be at least to be a token, longToken to be one whatever it looks like.
	shortestToken, longToken = 10, 32
	// longNumber is how many digits in a row make a part an id at least, but for the letters that it begins with.
	longNumber = 4
)

// constant returns how many bytes at the beginning of a part, of letters and digits, aren't variable.
func constant(p []byte) int {
	first, digits, runs, run, longest := len(p), 0, 0, 0, 0
	hex := true
	for i, c := range p {
		k := classes[c]
		hex = hex && k&(digit|hexLetter) != 0
		if k&digit == 0 {
			run = 0
			continue
		}
		if run == 0 {
			runs++
		}
		first = min(first, i)
		digits++
		run++
		longest = max(longest, run)
	}
	switch {
	case digits == len(p),
		hex && (len(p) >= shortestHex || len(p) >= shortestMixed && digits > 0),
		len(p) >= longToken && digits > 0,
		len(p) >= shortestToken && runs >= 3,
		isToken(p):
		return 0
	case longest >= longNumber:
		return constant(p[:first]) // letters, which may be hexadecimal
	}
	return len(p)
}

// isToken reports whether b, of letters, digits, - and _, is too irregular to have been named by a person: letters of
// both cases and digits, at most half of it in words. A word is three letters of a case, or a capital and two.
func isToken(b []byte) bool {
	if len(b) < shortestToken {
		return false
	}
	var some uint8
	for _, c := range b {
		k := classes[c] & (digit | lower | upper)
		if k == 0 && c != '-' && c != '_' {
			return false
		}
		some |= k
	}
	if some != digit|lower|upper {
		return false
	}
	words := 0
	for i := 0; i < len(b); {
		end := i
		switch {
		case classes[b[i]]&upper != 0:
			for end < len(b) && classes[b[end]]&upper != 0 {
				end++
			}
			if end == i+1 {
				for end < len(b) && classes[b[end]]&lower != 0 {
					end++
				}
			} else if end < len(b) && classes[b[end]]&lower != 0 {
				end-- // the last capital begins the next word
			}
		case classes[b[i]]&lower != 0:
			for end < len(b) && classes[b[end]]&lower != 0 {
				end++
			}
		default:
			end++
		}
		if end-i >= 3 {
			words += end - i
		}
		i = end
	}
	return 2*words <= len(b)
}

// uuidLen returns how long the UUID is that b begins with (RFC 9562 §4), 0 if it is none.
func uuidLen(b []byte) int {
	const length = 36
	if len(b) < length || len(b) > length && isAlnum(b[length]) {
		return 0
	}
	for i, c := range b[:length] {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !isHex(c) {
			return 0
		}
	}
	return length
}

// isVersion reports whether a segment is the version of an API, such as v1, v2.1 or v1beta1.
func isVersion(b []byte) bool {
	if len(b) < 2 || b[0]|0x20 != 'v' {
		return false
	}
	b = b[1:]
	for n := 0; ; n++ {
		digits := 0
		for digits < len(b) && classes[b[digits]]&digit != 0 {
			digits++
		}
		if digits == 0 || digits > 3 || n == 3 {
			return false
		}
		b = b[digits:]
		if len(b) == 0 || b[0] != '.' {
			break
		}
		b = b[1:]
	}
	for _, stage := range [...]string{"alpha", "beta", "rc"} {
		if rest, ok := bytes.CutPrefix(b, []byte(stage)); ok {
			b = rest
			break
		}
	}
	return len(b) == 0 || len(b) == 1 && classes[b[0]]&digit != 0
}

// isDate reports whether a segment is a month, a day or a time as in ISO 8601: 2024-05, 2024-05-06,
// 2024-05-06T10:42:07Z.
func isDate(b []byte) bool {
	number := func(n, most int) bool {
		if len(b) < n {
			return false
		}
		v := 0
		for _, c := range b[:n] {
			if classes[c]&digit == 0 {
				return false
			}
			v = v*10 + int(c-'0')
		}
		b = b[n:]
		return v <= most
	}
	dash := func() bool {
		if len(b) == 0 || b[0] != '-' {
			return false
		}
		b = b[1:]
		return true
	}
	if len(b) == 0 || b[0] != '1' && b[0] != '2' || !number(4, 2999) || !dash() || !number(2, 12) {
		return false
	}
	if len(b) == 0 {
		return true
	}
	if !dash() || !number(2, 31) {
		return false
	}
	if len(b) == 0 {
		return true
	}
	if b[0]|0x20 != 't' || len(b) < 3 {
		return false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case classes[c]&digit != 0, c == ':', c == '.', c == '-', c == '+', c|0x20 == 'z' && i == len(b)-1:
		case c == '%' && i+2 < len(b) && b[i+1] == '3' && b[i+2] == 'A': // a colon
			i += 2
		case c == '%' && i+2 < len(b) && b[i+1] == '2' && b[i+2] == 'B': // a plus
			i += 2
		default:
			return false
		}
	}
	return true
}

// isEmail reports whether a segment is the address of a mailbox.
func isEmail(b []byte) bool {
	local, domain, found := bytes.Cut(b, []byte("@"))
	if !found {
		local, domain, found = bytes.Cut(b, []byte("%40"))
	}
	if !found || len(local) == 0 {
		return false
	}
	for _, c := range local {
		if !isAlnum(c) && bytes.IndexByte([]byte("._%+-~'"), c) < 0 {
			return false
		}
	}
	for _, c := range domain {
		if !isAlnum(c) && c != '.' && c != '-' {
			return false
		}
	}
	dot := bytes.LastIndexByte(domain, '.')
	return dot > 0 && dot < len(domain)-1
}
