package web

import (
	"errors"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

// fieldInfo describes a field of documents and filters.
type fieldInfo struct {
	Name string `json:"name"`
	// Filter is how filters write it, when not by its name.
	Filter  string   `json:"filter"`
	Aliases []string `json:"aliases"`
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit"`
	Meaning string   `json:"meaning"`
	Source  string   `json:"source"`
	// Sortable: a search can be sorted by it. Groupable: it has values to count. Numeric: there are sums and
	// percentiles of it.
	Sortable  bool `json:"sortable"`
	Groupable bool `json:"groupable"`
	Numeric   bool `json:"numeric"`
}

// fields answers with the table of fields.
func (s *Server) fields(c *call) error {
	all := make([]fieldInfo, len(exchange.Fields))
	for i := range all {
		f := &exchange.Fields[i]
		all[i] = fieldInfo{
			f.Name, filter.Name(f), append([]string{}, f.Aliases...), kindNames[f.Kind], f.Unit, f.Meaning, f.Source,
			slices.Contains(ordered, f.Kind), store.ByValue.Suits(f), store.Sum.Suits(f),
		}
	}
	return c.json(map[string]any{"fields": all})
}

// filterError says what is wrong with a filter. Position and Length are in bytes of UTF-8.
type filterError struct {
	Message  string `json:"message"`
	Position int    `json:"position"`
	Length   int    `json:"length"`
}

// filter answers whether a filter can be used, while it is being written: one that can't isn't a problem.
func (s *Server) filter(c *call) error {
	answer := struct {
		OK        bool         `json:"ok"`
		Canonical string       `json:"canonical"` // it has escapes of its own, and nothing else that isn't to be shown
		Fields    []string     `json:"fields"`
		Error     *filterError `json:"error,omitempty"`
	}{Fields: []string{}}
	f, err := c.where()
	var bad *filter.Error
	switch {
	case errors.As(err, &bad):
		answer.Error = &filterError{escape(bad.Msg), bad.Pos, bad.Len}
	case err != nil:
		return err
	default:
		answer.OK = true
		if f != nil { // an empty filter is all
			answer.Canonical = f.String()
			for _, field := range f.Fields() {
				answer.Fields = append(answer.Fields, field.Name)
			}
		}
	}
	return c.json(&answer)
}
