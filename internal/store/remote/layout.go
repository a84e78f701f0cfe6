package remote

import (
	"net/http"
	"net/url"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
)

// layout is how the cluster indexes the fields.
type layout struct {
	read time.Time
	// as is how each field is indexed, by its name; what isn't there isn't indexed so that it can be asked for. empty: there
	// are no documents yet, and all fields are as the template will have them.
	as    map[string]indexed
	empty bool
	// ignored: there are values that were too long to be indexed.
	ignored bool
	// flat: headers are indexed as a flat_object of OpenSearch.
	flat   bool
	stored int64
}

// indexed is how a field is indexed.
type indexed struct {
	// name is the field, or the part of it, that is asked.
	name string
	// exact: its values are indexed as they are. Otherwise only their presence is known, or not even that.
	exact, known bool
}

// layoutAge is how long a layout is believed.
const layoutAge = 30 * time.Second

// suits are the types that index values of a kind as they are.
var suits = map[exchange.ValueKind]map[string]bool{
	exchange.Text:     {"keyword": true, "wildcard": true, "constant_keyword": true},
	exchange.List:     {"keyword": true},
	exchange.Int:      {"long": true, "integer": true, "short": true},
	exchange.Duration: {"long": true},
	exchange.Float:    {"double": true},
	exchange.Time:     {"date_nanos": true},
	exchange.Bool:     {"boolean": true},
	exchange.IP:       {"ip": true},
}

// suitable returns the types that index a field as it is. What has whole seconds is a date, whose precision is the
// millisecond.
func suitable(f *exchange.Field) map[string]bool {
	if f.Type == dateType {
		return map[string]bool{dateType: true}
	}
	return suits[f.Kind]
}

// dateType is the type of times before and after those that have nanoseconds.
const dateType = "date"

// exactPart is the part of a field that is indexed otherwise, which indexes it as it is.
const exactPart = ".keyword"

// fields returns the layout, which is read again from time to time.
func (r *run) fields() (*layout, error) {
	r.mu.Lock()
	l := r.layout
	fresh := l != nil && !r.appended && r.options.Now().Sub(l.read) < layoutAge
	r.mu.Unlock()
	if fresh {
		return l, nil
	}
	l, err := r.readLayout()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.layout, r.appended = l, false
	r.mu.Unlock()
	return l, nil
}

func (r *run) readLayout() (*layout, error) {
	type capability struct {
		Searchable   bool `json:"searchable"`
		Aggregatable bool `json:"aggregatable"`
	}
	var caps struct {
		Fields map[string]map[string]capability `json:"fields"`
	}
	path := "/" + r.prefix + "*/_field_caps?ignore_unavailable=true&allow_no_indices=true&fields=" + url.QueryEscape("*")
	if err := r.do(http.MethodGet, path, nil, &caps); err != nil {
		return nil, err
	}
	l := &layout{read: r.options.Now(), as: map[string]indexed{}}
	_, mapped := caps.Fields[exchange.Lookup("event.id").Name]
	l.empty = !mapped
	// A field that is indexed in different ways on different days is as good as not at all.
	typed := func(name string, suits map[string]bool) bool {
		types := caps.Fields[name]
		for t, c := range types {
			if !suits[t] || !c.Searchable || !c.Aggregatable {
				return false
			}
		}
		return len(types) > 0
	}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		as := indexed{name: f.Name, known: len(caps.Fields[f.Name]) > 0}
		switch {
		case l.empty, typed(f.Name, suitable(f)):
			as.exact, as.known = f.Kind != exchange.Headers, true
		case typed(f.Name+exactPart, suitable(f)):
			as.name, as.exact = f.Name+exactPart, true
		}
		l.as[f.Name] = as
	}
	for _, name := range record.TextColumns {
		if f := exchange.Lookup(name); f.Kind == exchange.IP {
			l.as[name+exactPart] = indexed{name + exactPart, l.empty || typed(name+exactPart, suits[exchange.Text]), false}
		}
	}
	_, l.flat = caps.Fields["http.request.headers"]["flat_object"]
	f, err := r.search(object{"size": 0, "track_total_hits": true})
	if err != nil {
		return nil, err
	}
	l.stored = f.Hits.Total.Value
	n, err := r.count(object{"exists": object{"field": "_ignored"}}, 1)
	l.ignored = n > 0
	return l, err
}
