package routing

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// AppendFile appends what was learned as a file that ParseRoutes of package config reads: templates, and the ways that requests took as
// those that they are to take. Hops that only some requests of a route had may be left out.
func AppendFile(dst []byte, rules []string, entries []*Entry) []byte {
	dst = append(dst, "# Templates of paths that the rules for routes take for words. Look them over: they hold for the key routes of the\n# configuration, too.\n"...)
	if len(rules) == 0 {
		dst = append(dst, "routes: []\n"...)
	} else {
		dst = append(dst, "routes:\n"...)
	}
	for _, r := range rules {
		dst = append(append(append(dst, "  - "...), scalar(r, false)...), '\n')
	}
	dst = append(dst, "\n# The ways that requests took. A question mark: some requests had no such hop.\nexpect:\n"...)
	entries = slices.SortedFunc(slices.Values(entries), func(a, b *Entry) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Route, b.Route))
	})
	for _, e := range entries {
		chains := e.expected()
		if len(chains) == 0 {
			continue
		}
		first := "  - "
		key := func(name, value string) {
			if value != "" {
				dst = append(append(append(append(append(dst, first...), name...), ": "...), value...), '\n')
				first = "    "
			}
		}
		if e.Host != "" {
			key("host", scalar(e.Host, false))
		}
		if e.Route != "" {
			key("route", scalar(e.Route, false))
		}
		var methods []string
		for _, m := range slices.Sorted(maps.Keys(e.Methods)) {
			methods = append(methods, scalar(m, true))
		}
		key("methods", "["+strings.Join(methods, ", ")+"]")
		if len(chains) == 1 {
			key("chain", chains[0])
			continue
		}
		dst = append(dst, "    chains:\n"...)
		for _, c := range chains {
			dst = append(append(append(dst, "      - "...), c...), '\n')
		}
	}
	return dst
}

// expected returns the chains of a route as they are to be expected, in the form of YAML.
func (e *Entry) expected() (all []string) {
	var walk func(steps []*Step, before []string)
	walk = func(steps []*Step, before []string) {
		for _, s := range steps {
			hop := s.Hop.Name
			if s.Requests < e.Figures.Count {
				hop += "?"
			}
			if s.Hop.Route != "" {
				hop += " " + s.Hop.Route
			}
			chain := append(before[:len(before):len(before)], scalar(hop, true))
			if len(s.Next) == 0 { // one that ends before is its begin, and what follows may be left out
				all = append(all, "["+strings.Join(chain, ", ")+"]")
			}
			walk(s.Next, chain)
		}
	}
	walk(e.First, nil)
	slices.Sort(all)
	return slices.Compact(all)
}

// plain are texts that need no quotes, anywhere in a file of YAML.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)

// inBlocks are those that need none outside of brackets.
var inBlocks = regexp.MustCompile(`^[A-Za-z/*][A-Za-z0-9_./{}*-]*$`)

// notTexts are plain words that mean something else.
var notTexts = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// scalar writes a text; flow: within brackets.
func scalar(s string, flow bool) string {
	ok := plain.MatchString(s) || !flow && inBlocks.MatchString(s) && !strings.HasPrefix(s, "*")
	if ok && !slices.Contains(notTexts, strings.ToLower(s)) {
		return s
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s) // can't be: a string can always be marshalled
	}
	return string(quoted)
}
