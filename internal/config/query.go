package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Query is what culprit query can be told.
type Query struct {
	// Store is the folder of the store; empty: DefaultStore.
	Store string
	// Where is in the language of exchange filters, Text is looked for in what identifies exchanges; empty: all.
	Where, Text string
	// Last selects what began within that time before now. From and To bound the start of exchanges: from From on,
	// before To. Zero and empty: no bound. See Times.
	Last     Age
	From, To string
	// ID and Trace select one exchange and one trace.
	ID, Trace string
	// GroupBy, Metrics and Interval ask for a table of figures; without them exchanges are listed.
	GroupBy, Metrics []string
	Interval         Age
	// Quantiles is the kind of sketch that percentiles are told from: dd, tdigest or qdigest; empty: dd.
	Quantiles string
	// Fields are the columns of a list; empty: the usual ones.
	Fields []string
	// Sort is the field to sort a list by, or the metric to order groups by; empty: the time, or the count. Ascending:
	// smallest first.
	Sort      string
	Ascending bool
	// Limit is how many exchanges or groups are shown, 0: all; negative: DefaultLimit, or all of a trace.
	Limit int
	// Output is the argument of -o: NAME[=FILE]; empty: table, or console for one exchange.
	Output string
	// Headers are the header fields that the console shows, empty: all; NoHeaders: none.
	Headers   []string
	NoHeaders bool
	// Timeout and Memory bound what the question may take, 0: the defaults of the store.
	Timeout time.Duration
	Memory  Size
	// Color is auto, always or never.
	Color string
}

// DefaultLimit is how many exchanges or groups are shown, MaxTable how many rows a table may have: it is laid out as
// a whole.
const (
	DefaultLimit = 100
	MaxTable     = 10_000
)

// DefaultQuery returns the defaults.
func DefaultQuery() Query { return Query{Limit: -1, Quantiles: "dd", Color: "auto"} }

// Figures reports whether a table of figures is wanted rather than exchanges.
func (q *Query) Figures() bool { return len(q.GroupBy)+len(q.Metrics) > 0 || q.Interval > 0 }

// Validate checks what can be checked without the store, and says in the struct what a Limit that isn't told means.
// Errors name the option.
func (q *Query) Validate() error {
	switch {
	case q.Last != 0 && (q.From != "" || q.To != ""):
		return errors.New("--last and --from or --to exclude each other")
	case q.Last < 0 || q.Interval < 0:
		return errors.New("--last and --interval are times such as 15m, 1h or 7d")
	case q.ID != "" && q.Trace != "":
		return errors.New("--id and --trace exclude each other")
	case q.ID != "" && (q.Where != "" || q.Text != "" || q.Last != 0 || q.From != "" || q.To != ""):
		return errors.New("--id names one exchange: nothing else selects")
	case q.ID != "" && q.Figures():
		return errors.New("--id names one exchange: there is nothing to group or to compute")
	case q.Figures() && len(q.Fields) > 0:
		return errors.New("--fields is for lists of exchanges; --group-by and --metric say what a table of figures has")
	case !q.Figures() && q.Quantiles != "" && q.Quantiles != "dd":
		return errors.New("--quantiles is for tables of figures; ask for percentiles with --metric 'p50(duration),p99(duration)'")
	case q.Figures() && q.Ascending:
		return errors.New("--ascending is for lists of exchanges; groups are ordered largest first")
	case q.NoHeaders && len(q.Headers) > 0:
		return errors.New("--no-headers and --headers exclude each other")
	case q.Timeout < 0:
		return fmt.Errorf("--timeout %v: must be more than 0", q.Timeout)
	case q.Color != "auto" && q.Color != "always" && q.Color != "never":
		return fmt.Errorf("--color %q: auto, always or never", q.Color)
	}
	switch {
	case q.Limit >= 0:
	case q.Trace != "" && !q.Figures():
		q.Limit = 0
	default:
		q.Limit = DefaultLimit
	}
	return nil
}

// Times returns the bounds of the start of exchanges, in nanoseconds since 1970; 0: none. Times without a zone are
// in that of now.
func (q *Query) Times(now time.Time) (from, to int64, err error) {
	if q.Last > 0 {
		return now.Add(-time.Duration(q.Last)).UnixNano(), 0, nil
	}
	for _, bound := range []struct {
		option, text string
		ns           *int64
	}{{"--from", q.From, &from}, {"--to", q.To, &to}} {
		if bound.text == "" {
			continue
		}
		t, ok := parseTime(bound.text, now.Location())
		if !ok {
			return 0, 0, fmt.Errorf("%s %q isn't a time; write 2026-11-21T10:00:00Z, or in local time 2026-11-21 10:00 or 2026-11-21", bound.option, bound.text)
		}
		*bound.ns = t.UnixNano()
	}
	if from != 0 && to != 0 && from >= to {
		return 0, 0, fmt.Errorf("--from %s isn't before --to %s", q.From, q.To)
	}
	return from, to, nil
}

// timeLayouts are those of times without a zone.
var timeLayouts = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01-02T15:04:05", "2006-01-02T15:04"}

// parseTime reads a time. What doesn't fit into nanoseconds since 1970, or isn't behind it, is none.
func parseTime(text string, zone *time.Location) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339, text)
	for i := 0; err != nil && i < len(timeLayouts); i++ {
		t, err = time.ParseInLocation(timeLayouts[i], text, zone)
	}
	return t, err == nil && t.Year() < 2262 && t.UnixNano() > 0 && t.Year() >= 1970
}

// Age is a length of time that may be written in days, as in 7d. It implements pflag.Value.
type Age time.Duration

// Set reads an age.
func (a *Age) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return errors.New("want a time such as 90s, 15m, 1h or 7d")
	}
	*a = Age(d)
	return nil
}

func (a *Age) String() string {
	if *a == 0 {
		return ""
	}
	return time.Duration(*a).String()
}

// Type implements pflag.Value.
func (*Age) Type() string { return "time" }

// DefaultStore returns the folder of the store when none is named: for root that of the system, for others their own.
// getenv reads the environment, uid is the user's id.
func DefaultStore(getenv func(string) string, uid int) (string, error) {
	switch data, home := getenv("XDG_DATA_HOME"), getenv("HOME"); {
	case uid == 0:
		return "/var/lib/culprit", nil
	case filepath.IsAbs(data): // others are to be ignored, says the specification
		return filepath.Join(data, "culprit"), nil
	case home != "":
		return filepath.Join(home, ".local", "share", "culprit"), nil
	}
	return "", errors.New("no place for the store: set HOME or XDG_DATA_HOME, or name a folder with --store DIR")
}
