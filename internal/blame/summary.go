package blame

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Dimension is what verdicts are summed up by.
type Dimension uint8

// The dimensions.
const (
	PerWho Dimension = iota
	PerSituation
	PerRoute
	PerServer
	PerClient
	Dimensions
)

// DimensionNames are their names, as users write them.
var DimensionNames = [Dimensions]string{"who", "situation", "route", "server", "client"}

// Limits of a Summary.
type Limits struct {
	// Rows is how many rows are kept of each dimension. When there are more, the quarter with the least time lost becomes one row, "other".
	Rows int
	// Worst is how many exchanges are kept with their evidence.
	Worst int
	// Buckets is how many stretches of time are kept. When there are more, each becomes twice as long.
	Buckets int
}

// DefaultLimits are those of the command.
var DefaultLimits = Limits{Rows: 4096, Worst: 10, Buckets: 120}

// Summary sums verdicts up, in bounded memory. It isn't safe for concurrent use.
//
// What it tells of a row that was once among "other" is what came since; Total is exact, whatever was thrown together.
type Summary struct {
	limits Limits
	// Total is the sum of all.
	Total Lost
	// Folded counts the rows that became part of "other", by dimension.
	Folded [Dimensions]uint64

	rows  [Dimensions]map[Key]*Lost
	other [Dimensions]Lost
	since int64 // the begin of the first bucket
	width int64 // of a bucket, in nanoseconds
	over  []Lost
	worst []Case // a heap, the least at the top
}

// Key is what a row is about. Host and Route are those of a route; Who, Situation and Upstream those of a culprit; Server an address and
// port, Client a network. What a dimension doesn't tell is empty.
type Key struct {
	Who       exchange.Who
	Situation exchange.Situation
	Upstream  string
	Host      string
	Route     string
	Server    netip.AddrPort
	Client    netip.Prefix
}

// String returns the key for people.
func (k Key) String() string {
	switch {
	case k.Situation != exchange.NoSituation:
		return k.Who.String() + " " + k.Situation.String()
	case k.Upstream != "":
		return k.Who.String() + " " + k.Upstream
	case k.Who != exchange.Unjudged:
		return k.Who.String()
	case k.Server.IsValid():
		return k.Server.String()
	case k.Client.IsValid():
		return k.Client.String()
	}
	return k.Host + k.Route
}

// Lost counts exchanges, and what was lost by them.
type Lost struct {
	// Exchanges counts those that were judged, Blamed those of which somebody was blamed, Failed those of these that failed.
	Exchanges, Blamed, Failed uint64
	// Time is what was lost, in nanoseconds, and By the same by party.
	Time int64
	By   [exchange.NumWho]int64
	// Longest is the longest time lost by one exchange.
	Longest int64
}

func (l *Lost) add(o *Lost) {
	l.Exchanges += o.Exchanges
	l.Blamed += o.Blamed
	l.Failed += o.Failed
	l.Time += o.Time
	for w := range l.By {
		l.By[w] += o.By[w]
	}
	l.Longest = max(l.Longest, o.Longest)
}

// Most returns the party that most of the time is due to, Unjudged where none was lost.
func (l *Lost) Most() exchange.Who {
	most := exchange.Unjudged
	for w := range exchange.NumWho {
		if l.By[w] > l.By[most] {
			most = w
		}
	}
	return most
}

// Row is a key with what was lost by it. Other: it is what was thrown together.
type Row struct {
	Key
	Lost
	Other bool
}

// Bucket is what was lost in a stretch of time.
type Bucket struct {
	// From is when it begins, in nanoseconds since 1970, Width its length.
	From, Width int64
	Lost
}

// Case is one exchange with the verdict on it.
type Case struct {
	ID [exchange.IDSize]byte
	// Number is that of the exchange in the order of output.
	Number uint64
	// Start is when it began, in nanoseconds since 1970; Total what it took without the client's idling, -1 when unknown.
	Start, Total int64
	Verb, Host   string
	Subject      string
	Status       int
	Client       string
	Server       string
	First, Last  uint64
	Tap          string
	Blame        exchange.Blame
	Why          string
	Facts        []string
	// lost is what it is ordered by.
	lost int64
}

// NewSummary returns an empty Summary.
func NewSummary(l Limits) *Summary {
	s := &Summary{limits: Limits{max(l.Rows, 4), max(l.Worst, 0), max(l.Buckets, 2)}, width: 1e9}
	for d := range s.rows {
		s.rows[d] = make(map[Key]*Lost)
	}
	return s
}

// Add counts an exchange, with the verdict that it has by now. It is borrowed.
func (s *Summary) Add(x *exchange.Exchange) {
	b := &x.Blame
	if b.Who == exchange.Unjudged {
		return
	}
	weight := uint64(max(x.Weight, 1))
	one := Lost{Exchanges: weight}
	if b.Who > exchange.Nobody {
		one.Blamed = weight
		one.Time = b.Time * int64(weight)
		one.By[b.Who] = one.Time
		one.Longest = b.Time
		if b.Failed {
			one.Failed = weight
		}
	}
	s.Total.add(&one)
	s.bucket(x.Start.Time, &one)
	if b.Who > exchange.Nobody {
		s.row(PerWho, Key{Who: b.Who, Upstream: b.Upstream}, &one)
		s.row(PerSituation, Key{Who: b.Who, Situation: b.Situation}, &one)
	}
	s.row(PerRoute, routeOf(x), &one)
	if x.Flow != nil {
		s.row(PerServer, Key{Server: netip.AddrPortFrom(x.Flow.Addr[x.Server()].Netip().Unmap(), x.Flow.Port[x.Server()])}, &one)
		s.row(PerClient, Key{Client: network(x.Flow.Addr[x.Client].Netip())}, &one)
	}
	if b.Who > exchange.Nobody {
		s.worse(x)
	}
}

// network returns the /24 or the /64 that an address is in.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// routeOf returns what is asked for, as far as it is the same for many.
func routeOf(x *exchange.Exchange) Key {
	k := Key{Host: x.Protocol + " "}
	switch x.Family {
	case exchange.HTTP:
		k.Host = ""
		if x.HasRequest {
			u := x.URL()
			k.Host, k.Route = string(u.Host), string(u.Path)
		}
		if x.Enriched.Route != "" {
			k.Route = x.Enriched.Route
		}
	case exchange.Database:
		k.Route = x.Statement.Operation
		if x.Statement.Collection != "" {
			k.Route += " " + x.Statement.Collection
		}
		if k.Route == "" {
			k.Route = string(x.Verb())
		}
	case exchange.Names:
		k.Route = string(x.Subject())
	}
	return k
}

// row adds to a row of a dimension.
func (s *Summary) row(d Dimension, k Key, one *Lost) {
	r := s.rows[d][k]
	if r == nil {
		if len(s.rows[d]) >= s.limits.Rows {
			s.fold(d)
		}
		r = new(Lost)
		s.rows[d][k] = r
	}
	r.add(one)
}

// fold makes the quarter of a dimension's rows with the least time lost a part of "other".
func (s *Summary) fold(d Dimension) {
	rows := s.sorted(d)
	for _, r := range rows[len(rows)-len(rows)/4:] {
		s.other[d].add(&r.Lost)
		delete(s.rows[d], r.Key)
		s.Folded[d]++
	}
}

func (s *Summary) sorted(d Dimension) []Row {
	rows := make([]Row, 0, len(s.rows[d])+1)
	for k, l := range s.rows[d] {
		rows = append(rows, Row{Key: k, Lost: *l})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Failed, a.Failed), cmp.Compare(b.Blamed, a.Blamed),
			cmp.Compare(b.Exchanges, a.Exchanges), compare(a.Key, b.Key))
	})
	return rows
}

func compare(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Situation, b.Situation), cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Host, b.Host),
		cmp.Compare(a.Route, b.Route), a.Server.Compare(b.Server), cmp.Compare(a.Client.String(), b.Client.String()))
}

// Rows returns the rows of a dimension in the order of time lost, then of failures, of verdicts, of exchanges, and by key. What was thrown
// together is the last.
func (s *Summary) Rows(d Dimension) []Row {
	rows := s.sorted(d)
	if s.Folded[d] > 0 {
		rows = append(rows, Row{Lost: s.other[d], Other: true})
	}
	return rows
}

// maxWidth bounds the width of a bucket: about a century.
const maxWidth = int64(1e9) << 32

// bucket adds to the stretch of time that a moment is in.
func (s *Summary) bucket(at int64, one *Lost) {
	for {
		from := at - mod(at, s.width)
		if len(s.over) == 0 {
			s.since, s.over = from, append(s.over, Lost{})
		}
		first, last := min(from, s.since), max(from, s.since+int64(len(s.over)-1)*s.width)
		if n := (last-first)/s.width + 1; n <= int64(s.limits.Buckets) {
			if before := int((s.since - first) / s.width); before > 0 {
				s.over = slices.Insert(s.over, 0, make([]Lost, before)...)
				s.since = first
			}
			for int64(len(s.over)) < n {
				s.over = append(s.over, Lost{})
			}
			s.over[(from-s.since)/s.width].add(one)
			return
		}
		if s.width >= maxWidth {
			return // a time that is none
		}
		s.widen()
	}
}

// widen makes each bucket twice as long.
func (s *Summary) widen() {
	width := 2 * s.width
	since := s.since - mod(s.since, width)
	wide := make([]Lost, 0, len(s.over)/2+1)
	for i := range s.over {
		at := int((s.since + int64(i)*s.width - since) / width)
		for len(wide) <= at {
			wide = append(wide, Lost{})
		}
		wide[at].add(&s.over[i])
	}
	s.since, s.width, s.over = since, width, wide
}

// mod is the remainder that isn't negative.
func mod(a, n int64) int64 { return (a%n + n) % n }

// Buckets returns what was lost over time, in its order, without holes.
func (s *Summary) Buckets() []Bucket {
	all := make([]Bucket, len(s.over))
	for i := range s.over {
		all[i] = Bucket{From: s.since + int64(i)*s.width, Width: s.width, Lost: s.over[i]}
	}
	return all
}

// worse keeps an exchange if it is among the worst. A failure has lost all the time that it took.
func (s *Summary) worse(x *exchange.Exchange) {
	lost := x.Blame.Time
	if x.Blame.Failed {
		lost = max(lost, x.Timing.Busy())
	}
	if s.limits.Worst == 0 || len(s.worst) == s.limits.Worst && lost <= s.worst[len(s.worst)-1].lost {
		return
	}
	c := Case{
		Number: x.Number, Start: x.Start.Time, Total: x.Timing.Busy(), Verb: string(x.Verb()), Subject: string(x.Subject()), First: x.FirstPacket, Last: x.LastPacket,
		Blame: x.Blame, Why: x.Why(), Facts: slices.Clone(x.Proofs()), lost: lost,
	}
	if x.HasRequest && x.Family == exchange.HTTP {
		c.Host = string(x.URL().Host)
	}
	if x.HasResponse {
		c.Status = x.Response.Status
	}
	if x.Tap != nil {
		c.Tap = x.Tap.Label
	}
	if x.Flow != nil {
		c.Client, c.Server = x.Flow.End(x.Client), x.Flow.End(x.Server())
		if x.Tap != nil {
			c.ID = x.ID(x.Tap.Observer)
		}
	}
	s.keep(c)
}

// keep puts a case where it belongs among the worst.
func (s *Summary) keep(c Case) {
	at, _ := slices.BinarySearchFunc(s.worst, c, worst)
	s.worst = slices.Insert(s.worst, at, c)
	s.worst = s.worst[:min(len(s.worst), s.limits.Worst)]
}

// worst orders cases, the worst first.
func worst(a, b Case) int {
	return cmp.Or(cmp.Compare(b.lost, a.lost), cmp.Compare(a.Start, b.Start), bytes.Compare(a.ID[:], b.ID[:]))
}

// Worst returns the worst exchanges, the worst first.
func (s *Summary) Worst() []Case { return slices.Clone(s.worst) }

// Merge adds what another Summary has counted, and leaves it as it is.
func (s *Summary) Merge(o *Summary) {
	s.Total.add(&o.Total)
	for d := range Dimensions {
		for _, r := range o.sorted(d) {
			s.row(d, r.Key, &r.Lost)
		}
		s.other[d].add(&o.other[d])
		s.Folded[d] += o.Folded[d]
	}
	for s.width < o.width {
		s.widen()
	}
	for _, b := range o.Buckets() {
		s.bucket(b.From, &b.Lost)
	}
	for _, c := range o.worst {
		s.keep(c)
	}
}

// ID returns the id of a case in hexadecimal, as event.id has it.
func (c *Case) IDText() string { return exchange.IDText(c.ID) }

// What returns what a case is about, in one line: the verb, the host and the subject.
func (c *Case) What() string {
	text := c.Verb
	if c.Host != "" || c.Subject != "" {
		if text != "" {
			text += " "
		}
		text += c.Host + c.Subject
	}
	if c.Status > 0 {
		text += " " + strconv.Itoa(c.Status)
	}
	return text
}
