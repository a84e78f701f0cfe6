//go:build linux

// Package judge compares what culprit says of recordings with the truth that was recorded with them. It reads the documents that the
// program writes, and knows nothing else of it.
package judge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/lab/situations"
)

// unclear is what culprit says when the evidence doesn't carry.
const unclear = "unclear"

// Said is what culprit says of an exchange.
type Said struct {
	Tap situations.Tap
	// Key is that of situations.Truth.
	Key        string
	Verdict    situations.Verdict
	Confidence float64
	Time       time.Duration
	Why        string
	Evidence   []string
	// Port is the client's, First and Last are packets: where to look.
	Port, First, Last int

	start time.Time
}

func (s *Said) String() string {
	v := s.Verdict.Who + "/" + s.Verdict.What
	return fmt.Sprintf("%s at %s (port %d, packets %d-%d): %s, %v, confidence %.2f: %s %s", s.Key, s.Tap, s.Port, s.First, s.Last, v, s.Time, s.Confidence,
		s.Why, strings.Join(s.Evidence, "; "))
}

// document is what is read of one.
type document struct {
	Event struct {
		Start time.Time `json:"start"`
	} `json:"event"`
	Client struct {
		Port int `json:"port"`
	} `json:"client"`
	URL struct {
		Path string `json:"path"`
	} `json:"url"`
	Flow    json.RawMessage `json:"flow"`
	Culprit struct {
		Packets struct {
			Tap         string `json:"tap"`
			First, Last int
		} `json:"packets"`
		Blame struct {
			Who        string          `json:"who"`
			Situation  string          `json:"situation"`
			Time       int64           `json:"time"`
			Confidence float64         `json:"confidence"`
			Why        string          `json:"why"`
			Evidence   json.RawMessage `json:"evidence"`
		} `json:"blame"`
	} `json:"culprit"`
}

// longestDocument is the longest line that is read, in bytes.
const longestDocument = 16 << 20

// Read reads what culprit's output ndjson has written of a recording.
func Read(r io.Reader) (all []Said, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestDocument)
	for lines.Scan() {
		var d document
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return nil, fmt.Errorf("a document of culprit: %w: %.200s", err, lines.Bytes())
		}
		b := &d.Culprit.Blame
		s := Said{
			Tap: situations.Tap(d.Culprit.Packets.Tap), Key: d.URL.Path, Verdict: situations.Verdict{Who: b.Who, What: b.Situation}, Confidence: b.Confidence,
			Time: time.Duration(b.Time), Why: b.Why, Port: d.Client.Port, First: d.Culprit.Packets.First, Last: d.Culprit.Packets.Last, start: d.Event.Start,
		}
		if d.Flow != nil {
			s.Key = situations.PortKey(d.Client.Port)
		}
		if s.Key == "" {
			continue
		}
		if s.Evidence, err = texts(b.Evidence); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	number(all)
	return all, nil
}

// incomplete is culprit's exit status when bytes are missing: they are where segments got lost before the tap and never came again.
const incomplete = 3

// Ask has a program, which is culprit's, read the captures of a recording, each by itself, and returns what it says.
func Ask(program, folder string) (all []Said, err error) {
	for name := range situations.Captures() {
		cmd := exec.Command(program, "hops", "-r", filepath.Join(folder, name), "-o", "ndjson")
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != incomplete {
			return nil, fmt.Errorf("%s: %w: %s", cmd, err, complaints.Bytes())
		}
		some, err := Read(bytes.NewReader(out))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// texts reads a text or a list of them.
func texts(b json.RawMessage) (all []string, err error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return nil, nil
	case b[0] == '[':
		err = json.Unmarshal(b, &all)
	default:
		all = []string{""}
		err = json.Unmarshal(b, &all[0])
	}
	return all, err
}

// number tells exchanges with the same path at a tap apart, by when they began.
func number(all []Said) {
	slices.SortStableFunc(all, func(a, b Said) int { return a.start.Compare(b.start) })
	type place struct {
		tap situations.Tap
		key string
	}
	seen := map[place]int{}
	for i := range all {
		p := place{all[i].Tap, all[i].Key}
		if seen[p]++; seen[p] > 1 {
			all[i].Key = fmt.Sprintf("%s#%d", p.key, seen[p])
		}
	}
}

// Row counts the exchanges of a kind at a tap.
type Row struct {
	Situation, Kind string
	Tap             situations.Tap
	Pair            bool
	// Undecidable: nobody can tell at this tap.
	Undecidable bool
	// Exchanges are all that were made. Right verdicts name whom and what was to be named; Party ones the right party for another reason;
	// Wrong ones somebody else. Unclear are those on which culprit doesn't want to say anything; Missing those that it doesn't
	// show at this tap.
	Exchanges, Right, Party, Wrong, Unclear, Missing int
}

// Confident is how many verdicts there are.
func (r *Row) Confident() int { return r.Right + r.Party + r.Wrong }

// Compare counts what was said of a situation's exchanges. miss is called with those that aren't right.
func Compare(s *situations.Situation, truth []situations.Truth, said []Said, miss func(r *Row, t situations.Truth, s *Said)) (rows []Row, err error) {
	type place struct {
		tap situations.Tap
		key string
	}
	by := map[place]*Said{}
	for i := range said {
		by[place{said[i].Tap, said[i].Key}] = &said[i]
	}
	for i := range s.Kinds {
		k := &s.Kinds[i]
		for _, tap := range []situations.Tap{situations.Client, situations.Front, situations.Back, situations.Server} {
			want := k.At(tap)
			if len(want.Right) == 0 {
				continue
			}
			r := Row{Situation: s.Name, Kind: k.Name, Tap: tap, Pair: s.Pair, Undecidable: want.Undecidable}
			for _, t := range truth {
				if t.Kind != k.Name {
					continue
				}
				x := by[place{tap, t.Key}]
				if !r.count(&want, x) {
					miss(&r, t, x)
				}
			}
			if r.Exchanges > 0 {
				rows = append(rows, r)
			}
		}
	}
	for _, t := range truth {
		if t.Kind != situations.Disturbed && t.Kind != situations.Even && s.Kind(t.Kind) == nil {
			return nil, fmt.Errorf("%s: the truth has the kind %s, which the table doesn't have", s.Name, t.Kind)
		}
	}
	return rows, nil
}

// count reports whether what was said is right, or unclear where it may be.
func (r *Row) count(want *situations.Expected, x *Said) bool {
	r.Exchanges++
	switch {
	case x == nil || x.Verdict.Who == "":
		r.Missing++
		return false
	case x.Verdict.Who == unclear:
		r.Unclear++
		return want.Undecidable
	}
	party := false
	for _, v := range want.Right {
		if v.Who == x.Verdict.Who {
			party = true
			if v.What == "" || v.What == x.Verdict.What {
				r.Right++
				return true
			}
		}
	}
	if party {
		r.Party++
	} else {
		r.Wrong++
	}
	return false
}

// Targets are what Print holds the figures against: the least shares of right verdicts on one cause and on two, among the confident ones, and of
// confident ones where the tap can decide.
type Targets struct{ Single, Pair, Decided float64 }

// Wanted are the targets of the whole table.
func Wanted() Targets { return Targets{Single: 0.99, Pair: 0.95, Decided: 0.95} }

// Reached reports whether the figures are at least as good as the targets.
func (t *Total) Reached(want Targets) bool {
	return share(t.Right[0], t.Confident[0]) >= want.Single && share(t.Right[1], t.Confident[1]) >= want.Pair && share(t.Decided, t.Decidable) >= want.Decided
}

// Print writes the table, and below it what it comes to.
func Print(w io.Writer, rows []Row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %-18s %-7s %6s %6s %6s %6s %7s %7s\n", "situation", "kind", "tap", "n", "right", "party", "wrong", "unclear", "missing")
	for _, r := range rows {
		mark := ""
		if r.Undecidable {
			mark = " ?"
		}
		fmt.Fprintf(&b, "%-18s %-18s %-7s %6d %6d %6d %6d %7d %7d%s\n", r.Situation, r.Kind, r.Tap, r.Exchanges, r.Right, r.Party, r.Wrong, r.Unclear, r.Missing, mark)
	}
	t := Sum(rows)
	fmt.Fprintf(&b, "?: this tap can't decide; it counts as right, or unclear. party: the right party, for another reason; counts as wrong below.\n\n")
	fmt.Fprintf(&b, "right, of confident verdicts on one cause:   %s\n", percent(t.Right[0], t.Confident[0]))
	fmt.Fprintf(&b, "right, of confident verdicts on two causes:  %s\n", percent(t.Right[1], t.Confident[1]))
	fmt.Fprintf(&b, "the right party, of all confident verdicts:  %s\n", percent(t.Party, t.Confident[0]+t.Confident[1]))
	fmt.Fprintf(&b, "confident, where the tap can decide:         %s\n", percent(t.Decided, t.Decidable))
	_, err := io.WriteString(w, b.String())
	return err
}

// Total is what rows come to. Right and Confident are those on one cause, and on two; Party counts verdicts on the right party, Decidable the
// exchanges on which the tap can decide, and Decided the verdicts on them.
type Total struct {
	Right, Confident          [2]int
	Party, Decidable, Decided int
}

// Sum adds rows up.
func Sum(rows []Row) (t Total) {
	for i := range rows {
		r := &rows[i]
		pair := 0
		if r.Pair {
			pair = 1
		}
		t.Right[pair] += r.Right
		t.Confident[pair] += r.Confident()
		t.Party += r.Right + r.Party
		if !r.Undecidable {
			t.Decidable += r.Exchanges
			t.Decided += r.Confident()
		}
	}
	return t
}

// share is a part of a whole; of nothing it is everything.
func share(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}

func percent(part, whole int) string {
	return fmt.Sprintf("%.2f %% (%d of %d)", 100*share(part, whole), part, whole)
}
