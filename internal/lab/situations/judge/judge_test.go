//go:build linux

package judge

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/lab/situations"
)

// program is set in the environment to the culprit to test.
const program = "CULPRIT_TEST_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds culprit, unless it is there, before there is no way out of the namespaces.
func run(m *testing.M) int {
	if os.Getenv(program) == "" {
		dir, err := os.MkdirTemp("", "culprit-judge-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "culprit")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../../../cmd/culprit").CombinedOutput(); err != nil {
			os.Stderr.Write(out)
			return 1
		}
		os.Setenv(program, path)
	}
	return lab.Run(m.Run)
}

// TestVerdicts makes some exchanges of each situation, and wants culprit to be right about them. The numbers are small, and so are what is
// asked here: make lab has the real ones.
func TestVerdicts(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it takes half a minute")
	}
	if err := lab.Check(); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"nginx", "haproxy", "varnishd"} {
		if _, err := lab.Program(name); err != nil {
			t.Skip(err)
		}
	}
	const exchanges, atOnce = 6, 3
	folder := t.TempDir()
	var (
		mu      sync.Mutex
		running sync.WaitGroup
		rows    []Row
	)
	all := make(chan situations.Situation)
	for range atOnce {
		running.Add(1)
		go func() {
			defer running.Done()
			for s := range all {
				f := filepath.Join(folder, s.Name)
				err := situations.Record(&s, exchanges, f)
				var some []Row
				if err == nil {
					some, err = judge(t, &s, f)
				}
				if err != nil {
					t.Errorf("%s: %v", s.Name, err)
				}
				mu.Lock()
				rows = append(rows, some...)
				mu.Unlock()
			}
		}()
	}
	for _, s := range situations.Table() {
		all <- s
	}
	close(all)
	running.Wait()
	var table strings.Builder
	if err := Print(&table, rows); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	missing := 0
	for _, r := range rows {
		missing += r.Missing
	}
	if missing > 0 {
		t.Errorf("there is no verdict on %d exchanges", missing)
	}
	if sum := Sum(rows); !sum.Reached(Targets{Single: 0.97, Pair: 0.9, Decided: 0.93}) {
		t.Errorf("too few are right, or confident: %+v", sum)
	}
}

// judge compares what culprit says of a recording with its truth.
func judge(t *testing.T, s *situations.Situation, folder string) ([]Row, error) {
	truth, err := situations.ReadTruth(folder)
	if err != nil {
		return nil, err
	}
	said, err := Ask(os.Getenv(program), folder)
	if err != nil {
		return nil, err
	}
	return Compare(s, truth, said, func(_ *Row, truth situations.Truth, x *Said) { t.Logf("%v: %s", x, truth.Note) })
}

// TestExpectedVerdictsExist: what is expected are words of culprit.
func TestExpectedVerdictsExist(t *testing.T) {
	var who, what []string
	for w := range exchange.NumWho {
		who = append(who, w.String())
	}
	for _, s := range exchange.Situations {
		what = append(what, s.Name)
	}
	for _, s := range situations.Table() {
		for _, k := range s.Kinds {
			for tap := range k.Expected {
				for _, v := range k.At(tap).Right {
					if v.Who == "" || !slices.Contains(who, v.Who) || !slices.Contains(what, v.What) {
						t.Errorf("%s at %s: %v", k.Name, tap, v)
					}
				}
			}
		}
	}
}

func TestRead(t *testing.T) {
	said, err := Read(strings.NewReader(`{"event":{"start":"2026-11-22T22:00:02Z"},"url":{"path":"/a/1"},"culprit":{"packets":{"tap":"front","first":7,"last":9},"blame":{"who":"none"}}}
{"event":{"start":"2026-11-22T22:00:01Z"},"client":{"port":5},"url":{"path":"/a/1"},"culprit":{"packets":{"tap":"front"},"blame":{"who":"server","situation":"slow-tls","time":5000000,"confidence":0.9,"evidence":["x","y"]}}}
{"event":{"start":"2026-11-22T22:00:03Z"},"url":{"path":"/a/1"},"culprit":{"packets":{"tap":"client"},"blame":{"who":"dns","evidence":"z"}}}
{"event":{"start":"2026-11-22T22:00:04Z"},"client":{"port":77},"flow":{"final":true},"culprit":{"packets":{"tap":"client"}}}
{"event":{"start":"2026-11-22T22:00:05Z"},"culprit":{"packets":{"tap":"client"}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range said {
		got = append(got, string(s.Tap)+" "+s.Key+" "+s.Verdict.Who+" "+strings.Join(s.Evidence, ""))
	}
	want := []string{"front /a/1 server xy", "front /a/1#2 none ", "client /a/1 dns z", "client port:77  "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s := said[0]; s.Verdict.What != "slow-tls" || s.Time != 5*time.Millisecond || s.Confidence != 0.9 || s.Port != 5 || said[1].First != 7 || said[1].Last != 9 {
		t.Errorf("%+v", said)
	}
	if _, err := Read(strings.NewReader("{")); err == nil {
		t.Error("half a document was taken")
	}
}

func TestCompare(t *testing.T) {
	verdict := func(who, what string) situations.Verdict { return situations.Verdict{Who: who, What: what} }
	s := &situations.Situation{Name: "s", Pair: true, Kinds: []situations.Kind{
		{Name: "k", Expected: map[situations.Tap]string{situations.Client: "server/a", situations.Server: "?client"}},
		{Name: "unused", Expected: map[situations.Tap]string{situations.Client: "none"}},
	}}
	truth := []situations.Truth{{Key: "1", Kind: "k"}, {Key: "2", Kind: "k"}, {Key: "3", Kind: "k"}, {Key: "4", Kind: "k"}, {Key: "5", Kind: "k"}, {Key: "6", Kind: "k"},
		{Key: "7", Kind: situations.Disturbed}, {Key: "8", Kind: situations.Even}}
	said := []Said{
		{Tap: situations.Client, Key: "1", Verdict: verdict("server", "a")},
		{Tap: situations.Client, Key: "2", Verdict: verdict("server", "b")},
		{Tap: situations.Client, Key: "3", Verdict: verdict("client", "a")},
		{Tap: situations.Client, Key: "4", Verdict: verdict("unclear", "")},
		{Tap: situations.Client, Key: "5"},
		{Tap: situations.Client, Key: "7", Verdict: verdict("dns", "")},
		{Tap: situations.Server, Key: "1", Verdict: verdict("client", "any")},
		{Tap: situations.Server, Key: "2", Verdict: verdict("unclear", "")},
	}
	var missed []string
	rows, err := Compare(s, truth, said, func(r *Row, t situations.Truth, x *Said) { missed = append(missed, string(r.Tap)+t.Key) })
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{Situation: "s", Kind: "k", Tap: situations.Client, Pair: true, Exchanges: 6, Right: 1, Party: 1, Wrong: 1, Unclear: 1, Missing: 2},
		{Situation: "s", Kind: "k", Tap: situations.Server, Pair: true, Undecidable: true, Exchanges: 6, Right: 1, Unclear: 1, Missing: 4},
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%+v\nwant %+v", rows, want)
	}
	if got := strings.Join(missed, " "); got != "client2 client3 client4 client5 client6 server3 server4 server5 server6" {
		t.Errorf("missed: %s", got)
	}
	if got, want := Sum(rows), (Total{Right: [2]int{0, 2}, Confident: [2]int{0, 4}, Party: 3, Decidable: 6, Decided: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	sum := Sum(rows)
	for _, c := range []struct {
		want    Targets
		reached bool
	}{{Targets{1, 0.5, 0.5}, true}, {Targets{1, 0.51, 0.5}, false}, {Targets{1, 0.5, 0.51}, false}, {Targets{}, true}} {
		if sum.Reached(c.want) != c.reached {
			t.Errorf("%+v reached: %v", c.want, !c.reached)
		}
	}
	if (&Total{Right: [2]int{9, 0}, Confident: [2]int{10, 0}}).Reached(Targets{Single: 0.91}) {
		t.Error("9 of 10 are 91 %")
	}
	var b bytes.Buffer
	if err := Print(&b, rows); err != nil || !strings.Contains(b.String(), "two causes:  50.00 % (2 of 4)") || !strings.Contains(b.String(), "can decide:         50.00 % (3 of 6)") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if _, err := Compare(s, []situations.Truth{{Key: "1", Kind: "elsewhere"}}, nil, nil); err == nil {
		t.Error("a kind that the table doesn't have was taken")
	}
}
