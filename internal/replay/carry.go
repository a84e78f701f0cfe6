package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Carry is a rule that says what is carried from answers to later requests.
type Carry struct {
	header string
	path   *Path
	find   *regexp.Regexp
}

// ParseCarry reads a rule: json:PATH, header:NAME or text:REGEXP, whose first group, or else all of it, is what is carried.
func ParseCarry(text string) (c Carry, err error) {
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case !found || rest == "":
		return c, fmt.Errorf("%q: want json:PATH, header:NAME or text:REGEXP, as in json:$.token", text)
	case kind == "json":
		p, err := ParsePath(rest)
		c.path = &p
		return c, err
	case kind == "header":
		if !isToken(rest) {
			return c, fmt.Errorf("%q: %q is no name of a header", text, rest)
		}
		c.header = rest
		return c, nil
	case kind == "text":
		c.find, err = regexp.Compile(rest)
		if err != nil {
			return c, fmt.Errorf("%q: %w", text, err)
		}
		return c, nil
	}
	return c, fmt.Errorf("%q: no such place %s; there are json:PATH, header:NAME, text:REGEXP", text, kind)
}

// The limits of what is carried.
const (
	// MaxCarried is how many values are carried.
	MaxCarried = 100_000
	// minCarried and maxCarried bound the length of a value: a single character is found by chance.
	minCarried, maxCarried = 2, 8 << 10
	// maxOfRule is how many values a rule finds in an answer.
	maxOfRule = 16
)

// values returns what the rule finds in an answer.
func (c *Carry) values(a *Answer) (all []string) {
	take := func(v string) bool {
		all = append(all, v)
		return len(all) < maxOfRule
	}
	switch {
	case c.header != "":
		for _, f := range a.Fields {
			if strings.EqualFold(f.Name, c.header) && !take(f.Value) {
				break
			}
		}
	case c.find != nil:
		for _, m := range c.find.FindAllSubmatch(a.Body.Bytes, maxOfRule) {
			take(string(m[min(1, len(m)-1)]))
		}
	default:
		if doc, err := parseJSON(a.Body.Bytes); err == nil {
			c.path.find(doc, func(v any) bool {
				switch v := v.(type) {
				case string:
					return take(v)
				case json.Number:
					return take(v.String())
				}
				return true
			})
		}
	}
	return all
}

// cookieKey is a cookie as it was recorded.
type cookieKey struct{ name, value string }

// setCookies returns the cookies that an answer sets.
func setCookies(a *Answer) (all []cookieKey) {
	for _, f := range a.Fields {
		if strings.EqualFold(f.Name, "set-cookie") {
			pair, _, _ := strings.Cut(f.Value, ";")
			if name, value, ok := strings.Cut(pair, "="); ok {
				all = append(all, cookieKey{strings.TrimSpace(name), strings.TrimSpace(value)})
			}
		}
	}
	return all
}

// carried is a value that an answer has given, and what it is this time.
type carried struct {
	// since is when the first answer that has it was over, in nanoseconds since 1970: a request that began later waits for it.
	since int64
	now   string
	// known: there is a new value. settled is closed once the first answer has come, with a value or without.
	known, isSettled bool
	settled          chan struct{}
}

// carrier replaces values of the recording by those that came in their place: cookies by their names and values, others wherever they stand by themselves.
// Who a value belongs to doesn't have to be known for that: two sessions have two values, and hidden values have marks of their own.
type carrier struct {
	rules []Carry

	mu     sync.RWMutex
	jar    map[cookieKey]*carried
	values map[string]*carried
	// lengths are those of values, the longest first.
	lengths []int
	refused uint64
}

func newCarrier(rules []Carry) *carrier {
	return &carrier{rules: rules, jar: map[cookieKey]*carried{}, values: map[string]*carried{}}
}

// expect takes note of what the recorded answer of an item that will be sent gives to later ones.
func (c *carrier) expect(it *Item) {
	if !it.Answered {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	add := func(old *carried) *carried {
		switch {
		case old != nil:
			old.since = min(old.since, it.End())
			return old
		case len(c.jar)+len(c.values) >= MaxCarried:
			c.refused++
			return nil
		}
		return &carried{since: it.End(), settled: make(chan struct{})}
	}
	for _, k := range setCookies(&it.Answer) {
		if k.value == "" {
			continue
		}
		if v := add(c.jar[k]); v != nil {
			c.jar[k] = v
		}
	}
	for i := range c.rules {
		for _, value := range c.rules[i].values(&it.Answer) {
			if len(value) < minCarried || len(value) > maxCarried {
				continue
			}
			if v := add(c.values[value]); v != nil {
				c.values[value] = v
				if at, ok := slices.BinarySearchFunc(c.lengths, len(value), func(a, b int) int { return cmp.Compare(b, a) }); !ok {
					c.lengths = slices.Insert(c.lengths, at, len(value))
				}
			}
		}
	}
}

// settle takes what the new answer of an item gives; nil: there is none.
func (c *carrier) settle(it *Item, now *Answer) {
	if !it.Answered {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	put := func(v *carried, value string, ok bool) {
		if v == nil {
			return
		}
		if ok {
			v.now, v.known = value, true
		}
		if !v.isSettled {
			v.isSettled = true
			close(v.settled)
		}
	}
	var cookies []cookieKey
	if now != nil {
		cookies = setCookies(now)
	}
	for _, k := range setCookies(&it.Answer) {
		i := slices.IndexFunc(cookies, func(n cookieKey) bool { return n.name == k.name && n.value != "" })
		if i >= 0 {
			put(c.jar[k], cookies[i].value, true)
		} else {
			put(c.jar[k], "", false)
		}
	}
	for i := range c.rules {
		var values []string
		if now != nil {
			values = c.rules[i].values(now)
		}
		for n, value := range c.rules[i].values(&it.Answer) {
			if n < len(values) {
				put(c.values[value], values[n], true)
			} else {
				put(c.values[value], "", false)
			}
		}
	}
}

// gives reports whether a value of the recording, or a cookie if it has a name, is replaced in a request that began at start.
func (c *carrier) gives(name, value string, start int64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if name != "" {
		if v := c.jar[cookieKey{name, value}]; v != nil && v.since <= start {
			return true
		}
	}
	v := c.values[value]
	return v != nil && v.since <= start
}

// awaited returns the values that the request of an item needs and that haven't come yet.
func (c *carrier) awaited(it *Item) (all []<-chan struct{}) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.jar)+len(c.values) == 0 {
		return nil
	}
	need := func(v *carried) {
		if v != nil && !v.isSettled && v.since <= it.Start {
			all = append(all, v.settled)
		}
	}
	for _, f := range it.Fields {
		if strings.EqualFold(f.Name, "cookie") {
			eachCookie(f.Value, func(k cookieKey) { need(c.jar[k]) })
		}
		c.each(f.Value, func(_, _ int, v *carried) { need(v) })
	}
	c.each(it.Target, func(_, _ int, v *carried) { need(v) })
	if it.Body.State == Whole {
		c.each(string(it.Body.Bytes), func(_, _ int, v *carried) { need(v) })
	}
	return all
}

// await waits until what an item needs has come, or ctx is done.
func (c *carrier) await(ctx context.Context, list []<-chan struct{}) error {
	for _, settled := range list {
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// eachCookie calls f with the cookies of a Cookie header.
func eachCookie(header string, f func(k cookieKey)) {
	for pair := range strings.SplitSeq(header, ";") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			f(cookieKey{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
}

// cookies returns a Cookie header with its values replaced.
func (c *carrier) cookies(header string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	pairs := strings.Split(header, ";")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if v := c.jar[cookieKey{strings.TrimSpace(name), strings.TrimSpace(value)}]; v != nil && v.known {
			pairs[i] = name + "=" + v.now
		}
	}
	return c.replace(strings.Join(pairs, ";"), false)
}

// text returns a text with the values of the rules replaced.
func (c *carrier) text(text string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.replace(text, false)
}

// target returns a request target with the values of the rules replaced, encoded as they have to be there.
func (c *carrier) target(target string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.replace(target, true)
}

func (c *carrier) replace(text string, target bool) string {
	var out strings.Builder
	done := 0
	c.each(text, func(from, to int, v *carried) {
		if !v.known {
			return
		}
		now := v.now
		if target || c.values[text[from:to]] == nil { // it stood there encoded
			now = strings.ReplaceAll(url.QueryEscape(now), "+", "%20")
		}
		out.WriteString(text[done:from])
		out.WriteString(now)
		done = to
	})
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

// each calls f for each value of the rules that stands by itself in a text: neither before it nor behind it is a letter or a digit. A value may be
// percent-encoded.
func (c *carrier) each(text string, f func(from, to int, v *carried)) {
	if len(c.lengths) == 0 {
		return
	}
	for i := 0; i < len(text); {
		if i > 0 && isWord(text[i-1]) && isWord(text[i]) {
			i++
			continue
		}
		n, v := c.at(text, i)
		if v == nil {
			i++
			continue
		}
		f(i, i+n, v)
		i += n
	}
}

// at returns the longest value that begins at an index, with its length there.
func (c *carrier) at(text string, i int) (int, *carried) {
	// Encoded: up to the next character that ends a parameter, and at most as long as the longest value is with each of its characters encoded.
	end, longest := i, 3*c.lengths[0]
	for end < len(text) && end-i <= longest && strings.IndexByte("&=?/#;, \"'", text[end]) < 0 {
		end++
	}
	if encoded := text[i:end]; len(encoded) <= longest && strings.ContainsAny(encoded, "%+") {
		if plain, err := url.QueryUnescape(encoded); err == nil && plain != encoded {
			if v := c.values[plain]; v != nil {
				return end - i, v
			}
		}
	}
	for _, n := range c.lengths {
		if i+n > len(text) {
			continue
		}
		if v := c.values[text[i:i+n]]; v != nil && (i+n == len(text) || !isWord(text[i+n]) || !isWord(text[i+n-1])) {
			return n, v
		}
	}
	return 0, nil
}
