package replay

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
)

// Why says why an exchange isn't sent again.
type Why uint8

// The reasons for which exchanges are left out.
const (
	// Other: it isn't HTTP, or a part of something else that is counted.
	Other Why = iota
	// NoRequest: there is no HTTP request, or not all of its head.
	NoRequest
	// Method: its method may have another effect each time.
	Method
	// Switching: it opens a tunnel, or changes the protocol of its connection.
	Switching
	// Endless: its answer is a stream of events, which ends when somebody gives up.
	Endless
	// BodyNotKept, BodyCut: not all of the request's body is there.
	BodyNotKept
	BodyCut
	// Hidden: it has secrets that were redacted in the recording.
	Hidden
	// Unfit: it holds what can't be sent in a request.
	Unfit
	// TooMany: there is no room for it.
	TooMany
	numWhys
)

// Whys is the number of reasons.
const Whys = int(numWhys)

// MaxExchanges is how many exchanges are sent again.
const MaxExchanges = 1 << 26

// Selection says which of the recorded exchanges are sent.
type Selection struct {
	// All: whatever the method.
	All bool
	// Partial: also those whose body isn't there as a whole, with what there is.
	Partial bool
}

// entry is where an item is, and when it begins. Its index is its number.
type entry struct {
	at    int64
	size  int64
	start int64
	conn  int32
	setup int32 // microseconds
}

// Endpoint is a server of the recording, with how many requests it got.
type Endpoint struct {
	Name     string
	Requests uint64
}

// maxNamed is how many servers, methods and secrets are told apart by name.
const maxNamed = 1000

// Recording is what is sent again. It isn't safe for concurrent use while it is filled; then it isn't changed any more.
type Recording struct {
	// LeftOut counts exchanges that aren't sent, by Why.
	LeftOut [Whys]uint64
	// Methods counts the requests that are sent by their methods, Skipped those that were left out for it.
	Methods, Skipped map[string]uint64
	// Servers counts them by the servers that got them.
	Servers map[string]uint64
	// Secrets counts the requests that are left out for each secret that they lack: header Authorization, cookie sid, query token, path, body.
	Secrets map[string]uint64
	// Credentials counts the requests that are sent with header fields that hold secrets, as recorded, by their lower-case names.
	Credentials map[string]uint64
	// Unanswered counts those that are sent without a recorded answer, and BodyUnknown those whose answer's body can't be compared with.
	Unanswered, BodyUnknown uint64
	// First and Last are when the first and the last one begins, in nanoseconds since 1970.
	First, Last int64

	selection Selection
	rewrite   *Rewrite
	routes    *measure.Routes
	carrier   *carrier
	spool     spool
	entries   []entry
	conns     map[string]int32
	// order are the connections, by when their first request begins; each has the numbers of its items in order.
	order [][]int32
	buf   []byte
}

// NewRecording returns an empty Recording. open makes the file in which exchanges wait that are too many for memory.
func NewRecording(s Selection, rw *Rewrite, rules []Carry, routes *measure.Routes, open func() (Spool, error)) *Recording {
	return &Recording{
		selection: s, rewrite: rw, routes: routes, carrier: newCarrier(rules), spool: spool{open: open}, conns: map[string]int32{},
		Methods: map[string]uint64{}, Skipped: map[string]uint64{}, Servers: map[string]uint64{}, Secrets: map[string]uint64{}, Credentials: map[string]uint64{},
	}
}

// Len is how many requests are sent, on Connections connections.
func (r *Recording) Len() int { return len(r.entries) }

// Connections is how many connections there are.
func (r *Recording) Connections() int { return len(r.order) }

// NotCarried counts values that weren't carried, for there were too many.
func (r *Recording) NotCarried() uint64 { return r.carrier.refused }

// Add takes an exchange, which it doesn't keep.
func (r *Recording) Add(x *exchange.Exchange) error {
	if why, out := r.leaveOut(x); out {
		r.LeftOut[why]++
		return nil
	}
	it := itemOf(x, r.routes)
	if why, out := r.unsendable(it); out {
		r.LeftOut[why]++
		return nil
	}
	r.buf = appendItem(r.buf[:0], it)
	at, err := r.spool.add(r.buf)
	if err != nil {
		return err
	}
	r.carrier.expect(it)
	r.entries = append(r.entries, entry{
		at: at, size: int64(len(r.buf)), start: it.Start, conn: r.connection(x, it), setup: int32(min(it.Setup/1000, 1<<31-1)),
	})
	count(r.Methods, it.Method)
	count(r.Servers, it.Server)
	for _, name := range credentials {
		if v, ok := get(it.Fields, name); ok && !r.rewrite.replaces(name) && mark.ReplaceAllString(v, "") != "" {
			count(r.Credentials, name)
		}
	}
	switch {
	case !it.Answered:
		r.Unanswered++
	case it.Answer.Body.State == NotKept || it.Answer.Body.State == Cut:
		r.BodyUnknown++
	}
	return nil
}

// credentials are header fields by which a server knows a client.
var credentials = []string{"authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "x-access-token"}

// count counts by name, as long as there aren't too many names.
func count(m map[string]uint64, name string) {
	if _, ok := m[name]; !ok && len(m) >= maxNamed {
		name = "…"
	}
	m[name]++
}

// connection returns the number of the connection of an exchange. Where a recording says when a connection began, ports that were used again are told apart.
func (r *Recording) connection(x *exchange.Exchange, it *Item) int32 {
	key := it.Tap + "|" + it.Client + "|" + it.Server
	if x.KnownID == nil {
		key += fmt.Sprintf("|%d|%d", x.Flow.Net, x.Flow.First.Time)
	}
	n, ok := r.conns[key]
	if !ok {
		n = int32(len(r.conns))
		r.conns[key] = n
	}
	return n
}

// leaveOut says whether an exchange isn't sent for what it is.
func (r *Recording) leaveOut(x *exchange.Exchange) (Why, bool) {
	m := &x.Request
	switch {
	case x.Family != exchange.HTTP || x.Message != nil || x.Period != nil:
		return Other, true
	case !x.HasRequest || x.Protocol != "http" && x.Protocol != "http2" && x.Protocol != "websocket":
		return NoRequest, true
	case m.Target.Len == 0 || m.Method.Len == 0 || m.Pushed || m.Version == 0x0009:
		return NoRequest, true
	case x.Protocol == "websocket" || proto.EqualFold(m.Bytes(m.Method), "connect") || x.HasResponse && x.Response.Status == 101 || m.Field("sec-websocket-key") != nil:
		return Switching, true
	}
	if method := string(m.Bytes(m.Method)); !r.selection.All && !Idempotent(method) {
		count(r.Skipped, method)
		return Method, true
	}
	switch {
	case x.Stream || proto.EqualFold(exchange.MediaType(&x.Response), "text/event-stream"):
		return Endless, true
	case m.End == proto.Broken || m.End == proto.Cut && x.KnownID == nil && !r.selection.Partial:
		return NoRequest, true
	case len(r.entries) >= MaxExchanges:
		return TooMany, true
	}
	return 0, false
}

// unsendable says whether the request of an item can't be sent for what it lacks, or holds.
func (r *Recording) unsendable(it *Item) (Why, bool) {
	switch {
	case it.Body.State == NotKept && !r.selection.Partial:
		return BodyNotKept, true
	case it.Body.State == Cut && !r.selection.Partial:
		return BodyCut, true
	case !isToken(it.Method) || !isTarget(mark.ReplaceAllString(r.rewrite.target(it, &url.URL{}), "")+"/"):
		return Unfit, true
	}
	for _, f := range it.Fields {
		if isToken(f.Name) && !isValue(f.Value) && !r.rewrite.replaces(f.Name) {
			return Unfit, true
		}
	}
	hidden := r.hidden(it)
	for _, name := range hidden {
		count(r.Secrets, name)
	}
	return Hidden, len(hidden) > 0
}

// mark is what redaction leaves in place of a secret, as it is or encoded for a URL.
var mark = regexp.MustCompile(`(?:…|%E2%80%A6)(?:\[|%5B)redacted(?: |%20|\+)[0-9]{1,10}(?: |%20|\+)(?:#|%23)[0-9a-f]{4}(?:\]|%5D)`)

// hidden names the secrets that a request lacks and that no earlier answer gives, each once.
func (r *Recording) hidden(it *Item) (all []string) {
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	lacks := func(name, text string) bool {
		if !strings.Contains(text, "redacted") { // which is much faster to find
			return false
		}
		for _, m := range mark.FindAllString(text, -1) {
			if plain, err := url.QueryUnescape(m); err == nil && strings.Contains(m, "%") {
				m = plain
			}
			if !r.carrier.gives(name, m, it.Start) {
				return true
			}
		}
		return false
	}
	for _, f := range it.Fields {
		switch {
		case r.rewrite.replaces(f.Name) || strings.EqualFold(f.Name, "host"):
		case strings.EqualFold(f.Name, "cookie"):
			eachCookie(f.Value, func(k cookieKey) {
				if lacks(k.name, k.value) {
					add("cookie " + k.name)
				}
			})
		case lacks("", f.Value):
			add("header " + f.Name)
		}
	}
	path, query, _ := strings.Cut(r.rewrite.target(it, &url.URL{}), "?")
	if lacks("", path) {
		add("path")
	}
	for parameter := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(parameter, "="); lacks("", value) {
			add("query " + name)
		}
	}
	if len(it.Body.Bytes) > 0 && lacks("", string(it.Body.Bytes)) {
		add("body")
	}
	return all
}

// Prepare puts what was added in its order. It is to be called once, before Run.
func (r *Recording) Prepare() {
	r.order = make([][]int32, len(r.conns))
	for i := range r.entries {
		e := &r.entries[i]
		r.order[e.conn] = append(r.order[e.conn], int32(i))
		if i == 0 {
			r.First, r.Last = e.start, e.start
		}
		r.First, r.Last = min(r.First, e.start), max(r.Last, e.start)
	}
	r.conns = nil
	r.order = slices.DeleteFunc(r.order, func(c []int32) bool { return len(c) == 0 })
	byStart := func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.entries[a].start, r.entries[b].start), cmp.Compare(a, b))
	}
	for _, c := range r.order {
		slices.SortFunc(c, byStart)
	}
	slices.SortFunc(r.order, func(a, b []int32) int { return byStart(a[0], b[0]) })
}

// unchanged is a changer that leaves all as it is.
type unchanged struct{}

func (unchanged) text(s string) string    { return s }
func (unchanged) target(s string) string  { return s }
func (unchanged) cookies(s string) string { return s }

// item reads an item by its number.
func (r *Recording) item(n int32) (*Item, error) {
	e := &r.entries[n]
	b, err := r.spool.get(e.at, e.size)
	if err != nil {
		return nil, err
	}
	return readItem(b)
}

// Each calls f with each request as it would be sent, in the order in which they begin, but for what answers would change.
func (r *Recording) Each(to *url.URL, f func(it *Item, q *Request) error) error {
	all := make([]int32, len(r.entries))
	for i := range all {
		all[i] = int32(i)
	}
	slices.SortFunc(all, func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.entries[a].start, r.entries[b].start), cmp.Compare(a, b))
	})
	for _, n := range all {
		it, err := r.item(n)
		if err != nil {
			return err
		}
		if err := f(it, r.rewrite.request(it, to, unchanged{})); err != nil {
			return err
		}
	}
	return nil
}
