package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

// What is different about some exchanges, the selection, is what they have more often than the rest of those that are asked
// about. Each value of each field is a two-by-two table: selected or not, with it or without.
//
// Two measures say what counts. Cohen's h is how far apart the two shares are, the same way at 1 % as at 50 % and at 99 %:
// a value that nearly everything has isn't one. The log-likelihood ratio G² (Dunning) is how surely they differ: it grows with
// the distance and with the number of exchanges, so that 3 of 3 don't come before 300 of 320. It is what differences are
// ordered by.

const (
	// smallEffect is the least h: what Cohen calls small.
	smallEffect = 0.2
	// chance is how likely an answer may have any difference where there is none. Since P(G² > g) < exp(-g/2), and by
	// Bonferroni, G² has to be above 2·ln(m/chance) of m values compared.
	chance = 0.01
	// maxRare is how many values of a field are counted one by one, when the store has more than it tells at once.
	maxRare = 50
)

// trait is something that exchanges can have in common: what to group by, and its name for people.
type trait struct{ group, label string }

// traits are what exchanges are compared by unless told, the most telling first: what time is too short for is left out.
// Of what says the same, one is here; what is nearly as manifold as exchanges are, such as ids and ports, isn't.
var traits = [...]trait{
	{"culprit.route", "route"},
	{"server.ip", "server"},
	{"http.response.status_code", "status"},
	{"http.request.method", "method"},
	{"url.domain", "virtual host"},
	{"service.name", "service"},
	{"destination.process.name", "server process"},
	{"network(client.ip)", "client network"},
	{"client.ip", "client"},
	{"magnitude(http.response.body.bytes)", "response size"},
	{"magnitude(http.request.body.bytes)", "request size"},
	{"http.response.mime_type", "response type"},
	{"user_agent.name", "browser or program"},
	{"culprit.device", "kind of client"},
	{"culprit.grade", "grade"},
	{"culprit.anomalies", "anomaly"},
	{"magnitude(culprit.net.server.retransmits)", "retransmits of the server"},
	{"magnitude(culprit.net.client.retransmits)", "retransmits of the client"},
	// The handshake's: smoothed round trips have the delays of acknowledgements in them, which are no network's.
	{"magnitude(culprit.net.handshake.client_rtt)", "round trip to the client"},
	{"magnitude(culprit.net.handshake.server_rtt)", "round trip to the server"},
	{"magnitude(culprit.timing.connect)", "connect time"},
	{"magnitude(culprit.http.connection_index)", "place on the connection"},
	{"service.origin.name", "calling service"},
	{"source.process.name", "client process"},
	{"client.geo.country_iso_code", "country"},
	{"client.as.organization.name", "network operator"},
	{"observer.ingress.interface.name", "tap"},
	{"container.id", "container"},
	{"culprit.process.unit", "systemd unit"},
	{"event.outcome", "outcome"},
	{"culprit.net.closed.by", "who closed"},
	{"culprit.net.closed.how", "how it was closed"},
	{"error.message", "what is wrong"},
	{"culprit.http.reason", "reason phrase"},
	{"user_agent.os.name", "operating system"},
	{"user_agent.original", "user agent"},
	{"http.request.mime_type", "request type"},
	{"magnitude(culprit.net.server.zero_windows)", "zero windows of the server"},
	{"magnitude(culprit.net.client.zero_windows)", "zero windows of the client"},
	{"http.version", "version"},
	{"culprit.http.request.framing", "request framing"},
	{"culprit.http.response.framing", "response framing"},
	{"culprit.stream", "stream"},
	{"culprit.secrets", "secret"},
	{"network.protocol", "protocol"},
	{"db.query.summary", "statement"},
	{"db.collection.name", "table"},
	{"db.operation.name", "kind of statement"},
	{"db.response.status_code", "error of the database"},
	{"magnitude(db.response.returned_rows)", "rows"},
	{"db.system.name", "database system"},
	{"db.namespace", "database"},
	{"db.user", "user of the database"},
	{"dns.question.name", "name asked for"},
	{"dns.question.type", "record type"},
	{"dns.response_code", "answer of DNS"},
	{"magnitude(culprit.retries)", "retries"},
}

// ownTraits are the families whose exchanges have the fields that begin so: others aren't compared by them unless told.
var ownTraits = []struct {
	prefix string
	family exchange.Family
}{
	{"http.", exchange.HTTP}, {"url.", exchange.HTTP}, {"user_agent.", exchange.HTTP}, {"culprit.http.re", exchange.HTTP},
	{"culprit.route", exchange.HTTP}, {"culprit.device", exchange.HTTP}, {"db.", exchange.Database}, {"dns.", exchange.Names},
}

// consequences are fields whose values follow from another's: who selects by that one knows them.
var consequences = map[string][]string{
	"http.response.status_code": {"event.outcome", "culprit.http.reason"},
	"url.original":              {"url.path", "culprit.route"},
	"url.path":                  {"culprit.route"},
	"user_agent.original":       {"user_agent.name", "user_agent.os.name", "culprit.device"},
	"client.ip":                 {"client.geo.country_iso_code", "client.as.organization.name"},
	"source.ip":                 {"client.ip", "client.geo.country_iso_code", "client.as.organization.name"},
	"destination.ip":            {"server.ip"},
	"db.query.text":             {"db.query.summary", "db.collection.name", "db.operation.name"},
	"db.query.summary":          {"db.collection.name", "db.operation.name"},
	"db.response.status_code":   {"event.outcome", "error.message"},
	"dns.response_code":         {"event.outcome", "error.message"},
	"db.system.name":            {"network.protocol"},
	"network.protocol":          {"db.system.name"},
}

// difference is a value that the selection has more often than the rest.
type difference struct {
	Field string `json:"field"`
	Label string `json:"label"`
	Unit  string `json:"unit,omitempty"`
	// Value is the value; of a magnitude, the smallest of the range, and To the first above it, unless there is none.
	Value key    `json:"value"`
	To    *int64 `json:"to,omitempty"`
	// Selected and Rest are how many have it, the shares which part of the selection and of the rest that is.
	Selected      int64   `json:"selected"`
	Rest          int64   `json:"rest"`
	SelectedShare float64 `json:"selected_share"`
	RestShare     float64 `json:"rest_share"`
	Score         float64 `json:"score"`
	// Where is the filter for it; empty when that would be too long.
	Where string `json:"where"`
}

// unseen is what wasn't looked at, and why.
type unseen struct {
	Field string `json:"field"`
	Why   text   `json:"why"`
}

// cut says how many values of a field weren't compared: the rarest of the selection.
type cut struct {
	Field  string `json:"field"`
	Values int64  `json:"values"`
}

// comparison is a question about differences under way.
type comparison struct {
	s   *Server
	ctx context.Context
	end time.Time
	// universe is the scope of everything, selection that of what was selected.
	universe, selection store.Scope
	// kinds are those of the selection.
	kinds map[likeness]bool

	// compared is how many values were, found those that are far enough apart.
	compared int
	found    []difference
	cut      []cut
	cost     cost
}

// differences answers with what the exchanges that a filter selects have more often than the others.
func (s *Server) differences(c *call) error {
	q := comparison{s: s, ctx: c.Context(), end: s.options.Now().Add(s.options.QueryTimeout), found: []difference{}, cut: []cut{}}
	var err error
	if q.universe, err = c.scope(0); err != nil {
		return err
	}
	these, err := c.condition("selection")
	if err != nil {
		return err
	}
	if these == nil {
		return problems.parameter.about("selection", "is missing; give the filter of the exchanges that are to be compared with the others, such as selection=status>=500")
	}
	q.selection = q.universe
	q.selection.Where = and(q.universe.Where, these.Root())
	wanted, err := c.traits()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultDifferences, 1, MaxDifferences)
	if err != nil {
		return err
	}

	answer := struct {
		Selected    int64        `json:"selected"`
		Rest        int64        `json:"rest"`
		Differences []difference `json:"differences"`
		// More are the differences beyond the limit.
		More int `json:"more"`
		// Fields were compared, Asked weren't since the selection is made by them, and LeftOut weren't for another reason.
		Fields  []string `json:"fields"`
		Asked   []string `json:"asked"`
		LeftOut []unseen `json:"left_out"`
		Cut     []cut    `json:"cut"`
		// Among is the filter for what was compared, Unlike how many exchanges that leaves out.
		Among  string `json:"among"`
		Unlike int64  `json:"unlike"`
		Cost   cost   `json:"cost"`
	}{Fields: []string{}, Asked: []string{}, LeftOut: []unseen{}}
	if answer.Selected, answer.Rest, answer.Unlike, answer.Among, err = q.among(); err != nil {
		return err
	}
	if c.values.Get("fields") == "" {
		wanted = slices.DeleteFunc(wanted, func(w wantedTrait) bool { return !q.suits(w.group.Field) })
	}
	known := knownBy(these)
	for _, t := range wanted {
		name := t.group.String()
		if slices.Contains(known, t.group.Field.Name) {
			answer.Asked = append(answer.Asked, name)
			continue
		}
		if answer.Selected > 0 && answer.Rest > 0 { // or else there is nothing to compare
			err = q.compare(t)
		}
		switch {
		case err == nil:
			answer.Fields = append(answer.Fields, name)
		case c.Context().Err() == nil && (errors.Is(err, store.ErrLimit) || errors.Is(err, context.DeadlineExceeded)):
			answer.LeftOut = append(answer.LeftOut, unseen{name, text(err.Error())})
			err = nil
		default:
			return err
		}
	}
	answer.Differences = q.strongest()
	if answer.More = len(answer.Differences) - limit; answer.More > 0 {
		answer.Differences = answer.Differences[:limit]
	}
	answer.More, answer.Cut, answer.Cost = max(answer.More, 0), q.cut, q.cost
	return c.json(&answer)
}

// likeness is what only like exchanges are compared by: whatever a slow request has more often than statements is that it is a request.
type likeness struct {
	family exchange.Family
	flow   bool
}

// among finds out which kinds of exchanges the selection has, and takes the others out of the universe. It returns how many are
// selected, how many are the rest, how many were taken out, and the filter that does so, empty when there are none.
func (q *comparison) among() (selected, rest, unlike int64, where string, err error) {
	protocol, final := exchange.Lookup("network.protocol"), exchange.Lookup("flow.final")
	these, all, err := q.both(store.Aggregate{Groups: []store.Group{{Field: protocol}, {Field: final}}})
	if err != nil {
		return 0, 0, 0, "", err
	}
	kindOf := func(g *store.GroupRow) likeness {
		if g.Keys[1].Kind != exchange.Absent {
			return likeness{exchange.Other, true}
		}
		return likeness{exchange.FamilyOf(g.Keys[0].Text), false}
	}
	q.kinds = map[likeness]bool{}
	for i := range these.Groups {
		q.kinds[kindOf(&these.Groups[i])] = true
	}
	like := &filter.In{Operand: filter.Operand{Field: protocol}}
	isFlow := &filter.Has{Operand: filter.Operand{Field: final}}
	for i := range all.Groups {
		g := &all.Groups[i]
		k := kindOf(g)
		if !q.kinds[k] {
			unlike += g.Count
			continue
		}
		if name := g.Keys[0]; !k.flow && name.Kind == exchange.Text {
			like.Values = append(like.Values, filter.Constant{Kind: exchange.Text, Text: name.Text})
		}
	}
	selected = these.Total.Count
	rest = max(all.Total.Count-unlike-selected, 0)
	if unlike == 0 || selected == 0 {
		return selected, rest + unlike, 0, "", nil
	}
	var only filter.Node = isFlow
	if len(like.Values) > 0 {
		only = and(like, &filter.Not{Node: isFlow})
		if q.kinds[likeness{exchange.Other, true}] {
			only = &filter.Or{Nodes: []filter.Node{only, isFlow}}
		}
	}
	if q.universe.Where == nil {
		q.universe.Where = only
	} else {
		q.universe.Where = and(q.universe.Where, only)
	}
	return selected, rest, unlike, only.String(), nil
}

// suits reports whether exchanges of the selection may have a field.
func (q *comparison) suits(f *exchange.Field) bool {
	for _, own := range ownTraits {
		if strings.HasPrefix(f.Name, own.prefix) {
			return len(q.kinds) == 0 || q.kinds[likeness{own.family, false}]
		}
	}
	return true
}

// wantedTrait is a trait, understood.
type wantedTrait struct {
	group store.Group
	label string
}

// traits gives what the parameter fields names, or all traits.
func (p *params) traits() (all []wantedTrait, err error) {
	names := p.list("fields")
	if len(names) > MaxTraits {
		return nil, problems.parameter.about("fields", "has %d fields, and %d are allowed", len(names), MaxTraits)
	}
	if len(names) == 0 {
		for _, t := range traits {
			names = append(names, t.group)
		}
	}
	for _, name := range names {
		g, err := store.ParseGroup(name)
		if err != nil {
			return nil, problems.parameter.about("fields", "%v", err)
		}
		label := filter.Name(g.Field)
		if len(g.Field.Aliases) > 0 {
			label = g.Field.Aliases[0]
		}
		for _, t := range traits {
			if t.group == g.String() {
				label = t.label
			}
		}
		if w := (wantedTrait{g, label}); !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all, nil
}

// knownBy gives the names of the fields that a filter looks at, and of those that follow from them.
func knownBy(f *filter.Filter) (names []string) {
	for _, field := range f.Fields() {
		names = append(names, field.Name)
		names = append(names, consequences[field.Name]...)
	}
	return names
}

// ask asks the store, as long as there is time.
func (q *comparison) ask(scope store.Scope, a store.Aggregate) (*store.Table, error) {
	a.Scope, a.Order = scope, -1
	if a.Timeout = q.end.Sub(q.s.options.Now()); a.Timeout <= 0 {
		return nil, fmt.Errorf("%w: other fields took all of its %v", store.ErrLimit, q.s.options.QueryTimeout)
	}
	t, err := q.s.options.Store.Aggregate(q.ctx, &a)
	if err != nil {
		return nil, err
	}
	q.cost.Rows += t.Cost.Rows
	q.cost.Skipped += t.Cost.Skipped
	q.cost.Stored = t.Cost.Stored
	q.cost.Bytes += t.Cost.Bytes
	q.cost.Elapsed += t.Cost.Elapsed.Nanoseconds()
	return t, nil
}

// both asks about the selection and then about everything: what comes meanwhile is in the rest.
func (q *comparison) both(a store.Aggregate) (selected, all *store.Table, err error) {
	if selected, err = q.ask(q.selection, a); err != nil {
		return nil, nil, err
	}
	all, err = q.ask(q.universe, a)
	return selected, all, err
}

// count is how many exchanges have a value: of the selection, and of all.
type count struct {
	key           store.Key
	selected, all int64
}

// compare looks for differences in one field.
func (q *comparison) compare(w wantedTrait) error {
	selected, all, err := q.both(store.Aggregate{Groups: []store.Group{w.group}, Limit: store.MaxGroups})
	if err != nil {
		return err
	}
	t := tally{selected.Total.Count, max(all.Total.Count-selected.Total.Count, 0)}
	if w.group.By == store.ByMagnitude {
		q.ranges(w, t, selected, all)
		return nil
	}
	ofAll, left := countsOf(all), int64(0)
	// can reports whether so many of the selection may be a difference, if none of the rest has the value.
	can := func(selected int64) bool {
		return t.effect(&count{selected: selected, all: selected}) >= smallEffect
	}
	var rare []count
	for i := range selected.Groups { // those that most have come first
		n := count{key: selected.Groups[i].Keys[0], selected: selected.Groups[i].Count}
		var told bool
		n.all, told = ofAll[n.key]
		switch {
		case told || all.OtherGroups == 0:
			q.note(w, t, n, nil)
		case !can(n.selected):
			q.compared++
		case len(rare) < maxRare && valueOf(w.group, n.key).where != "":
			rare = append(rare, n)
		default:
			q.compared++ // or what is chance would depend on how much could be looked at
			left++
		}
	}
	q.compared += int(selected.OtherGroups)
	if len(rare) > 0 {
		if ofAll, err = q.each(w.group, rare); err != nil {
			return err
		}
		for _, n := range rare {
			n.all = ofAll[n.key]
			q.note(w, t, n, nil)
		}
	}
	if n := len(selected.Groups); selected.OtherGroups > 0 && can(selected.Groups[n-1].Count) {
		left += selected.OtherGroups
	}
	if left > 0 {
		q.cut = append(q.cut, cut{w.group.String(), left})
	}
	return nil
}

// each counts how many of all exchanges have each of some values.
func (q *comparison) each(g store.Group, values []count) (map[store.Key]int64, error) {
	var any filter.Or
	for i := range values {
		f, err := filter.Parse(valueOf(g, values[i].key).where)
		if err != nil {
			return nil, err // valueOf has parsed it
		}
		any.Nodes = append(any.Nodes, f.Root())
	}
	scope := q.universe
	if len(any.Nodes) == 1 {
		scope.Where = and(scope.Where, any.Nodes[0])
	} else {
		scope.Where = and(scope.Where, &any)
	}
	t, err := q.ask(scope, store.Aggregate{Groups: []store.Group{g}, Limit: store.MaxGroups})
	if err != nil {
		return nil, err
	}
	return countsOf(t), nil
}

// countsOf are the counts of a table of one group each.
func countsOf(t *store.Table) map[store.Key]int64 {
	all := make(map[store.Key]int64, len(t.Groups))
	for i := range t.Groups {
		all[t.Groups[i].Keys[0]] = t.Groups[i].Count
	}
	return all
}

// ranges looks for the range of numbers that differs most, since one magnitude alone holds few of the exchanges of a
// large difference; and at those without a number.
func (q *comparison) ranges(w wantedTrait, t tally, selected, all *store.Table) {
	ofSelection := countsOf(selected)
	var bins []count
	for i := range all.Groups {
		n := count{all.Groups[i].Keys[0], ofSelection[all.Groups[i].Keys[0]], all.Groups[i].Count}
		if n.key.Kind == exchange.Absent {
			q.note(w, t, n, nil)
			continue
		}
		bins = append(bins, n)
	}
	slices.SortFunc(bins, func(a, b count) int { return cmp.Compare(a.key.Int, b.key.Int) })
	var best count
	surest, low, high := -1.0, 0, 0
	for i := range bins {
		var sum count
		for k := i; k < len(bins); k++ {
			sum.selected += bins[k].selected
			sum.all += bins[k].all
			// A range that reaches further may be surer, and no difference that matters any more.
			if g := t.surety(&sum); g > surest && t.effect(&sum) >= smallEffect {
				best, surest, low, high = sum, g, i, k
			}
		}
	}
	if surest <= 0 {
		return
	}
	q.compared += len(bins)*(len(bins)+1)/2 - 1 // and one more is noted
	v := between(w.group.Field, bins[low].key.Int, bins[high].key.Int, high == len(bins)-1)
	q.note(w, t, best, &v)
}

// note keeps a value when it is far enough apart; v is the value when it isn't that of a group.
func (q *comparison) note(w wantedTrait, t tally, n count, v *value) {
	q.compared++
	if t.effect(&n) < smallEffect {
		return
	}
	if v == nil {
		of := valueOf(w.group, n.key)
		v = &of
	}
	d := difference{
		Field: w.group.String(), Label: w.label, Value: key(v.key), To: v.to, Where: v.where,
		Selected: n.selected, Rest: n.rest(), Score: t.surety(&n),
	}
	if w.group.By != store.ByClass && w.group.By != store.ByNetwork {
		d.Unit = w.group.Field.Unit
	}
	d.SelectedShare, d.RestShare = t.shares(&n)
	q.found = append(q.found, d)
}

// strongest gives what can't well be chance, the surest first.
func (q *comparison) strongest() []difference {
	least := 2 * math.Log(float64(q.compared)/chance)
	sure := slices.DeleteFunc(q.found, func(d difference) bool { return d.Score < least })
	slices.SortStableFunc(sure, func(a, b difference) int { return cmp.Compare(b.Score, a.Score) })
	for i := range sure {
		sure[i].Score = math.Round(sure[i].Score*100) / 100
	}
	return sure
}

// rest is how many have it that aren't selected. Some may have been deleted between two questions.
func (n *count) rest() int64 { return max(n.all-n.selected, 0) }

// tally is how many exchanges are selected, and how many aren't.
type tally struct{ selected, rest int64 }

// shares are the parts of the selection and of the rest that have it.
func (t tally) shares(n *count) (selected, rest float64) {
	return float64(n.selected) / float64(max(t.selected, 1)), float64(n.rest()) / float64(max(t.rest, 1))
}

// effect is Cohen's h: the distance of the shares, as angles. It is negative when the rest has it more often.
func (t tally) effect(n *count) float64 {
	a, b := t.shares(n)
	return 2*math.Asin(math.Sqrt(min(a, 1))) - 2*math.Asin(math.Sqrt(min(b, 1)))
}

// surety is G²: twice the logarithm of how much likelier the counts are with two shares than with one. It is 0 when the
// rest has it as often or more often.
func (t tally) surety(n *count) float64 {
	if a, b := t.shares(n); a <= b {
		return 0
	}
	all, with := float64(t.selected+t.rest), float64(n.selected+n.rest())
	g := 0.0
	for _, cell := range [...]struct{ seen, row, column float64 }{
		{float64(n.selected), float64(t.selected), with}, {float64(t.selected - n.selected), float64(t.selected), all - with},
		{float64(n.rest()), float64(t.rest), with}, {float64(t.rest - n.rest()), float64(t.rest), all - with},
	} {
		if cell.seen > 0 {
			g += 2 * cell.seen * math.Log(cell.seen*all/(cell.row*cell.column))
		}
	}
	return g
}

// value is what exchanges are compared by, with the filter for it.
type value struct {
	key store.Key
	// to is the first number above a range.
	to    *int64
	where string
}

// valueOf gives the value of a group.
func valueOf(g store.Group, k store.Key) value {
	name, literal := filter.Name(g.Field), filter.Constant{Kind: k.Kind, Int: k.Int, Text: k.Text}
	if k.Kind == exchange.IP {
		literal.Kind = exchange.Text // an address is written as a text
	}
	v := value{key: k}
	switch {
	case k.Kind == exchange.Absent:
		v.where = "not has(" + name + ")"
	case k.Kind == exchange.Bool && k.Int != 0:
		v.where = name
	case k.Kind == exchange.Bool:
		v.where = "has(" + name + ") and not " + name
	case g.By == store.ByNetwork:
		v.where = "cidr(" + name + ", " + literal.String() + ")"
	case g.By == store.ByClass:
		class, _ := strconv.ParseInt(strings.TrimSuffix(k.Text, "xx"), 10, 64)
		v.where = fmt.Sprintf("%s >= %d and %s <= %d", name, class*100, name, class*100+99)
	case g.Field.Kind == exchange.List:
		v.where = literal.String() + " in " + name
	default:
		v.where = name + " == " + literal.String()
	}
	v.where = parsed(v.where)
	return v
}

// between gives the range of a number from the magnitude low to the magnitude high; open: and above.
func between(f *exchange.Field, low, high int64, open bool) value {
	from, _ := magnitude(low)
	_, to := magnitude(high)
	name := filter.Name(f)
	literal := func(n int64) string { return filter.Constant{Kind: f.Kind, Int: n}.String() }
	var parts []string
	if low > 0 {
		parts = append(parts, name+" >= "+literal(from))
	}
	v := value{key: store.Key{Kind: f.Kind, Int: from}}
	if !open {
		parts = append(parts, name+" < "+literal(to))
		v.to = &to
	}
	if len(parts) == 0 {
		parts = []string{"has(" + name + ")"}
	}
	v.where = parsed(strings.Join(parts, " and "))
	return v
}

// magnitude returns the whole numbers of a group of store.ByMagnitude: from the least, to the first above.
func magnitude(key int64) (from, to int64) {
	if key < 1 {
		return 0, 1
	}
	for k := 0; ; k++ {
		bound := math.Pow(10, float64(k)/8)
		switch rounded := math.Round(bound); {
		case bound >= math.MaxInt64:
			return from, math.MaxInt64
		case rounded == float64(key) && from == 0:
			from = int64(math.Ceil(bound))
		case rounded > float64(key):
			return from, int64(math.Ceil(bound))
		}
	}
}

// parsed is a filter in its canonical form, empty when it can't be asked for, such as with a very long text.
func parsed(where string) string {
	f, err := filter.Parse(where)
	if err != nil {
		return ""
	}
	return f.String()
}
