package remote

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// What -o ndjson writes is read again, and shown alike.
func TestLines(t *testing.T) {
	all := storetest.Exchanges(7, 300)
	var file bytes.Buffer
	e := ndjson.NewEncoder()
	for i, x := range all {
		file.Write(append(e.Append(nil, x), '\n'))
		if i%10 == 0 {
			file.WriteString("\n" + `{"@timestamp":"2026-01-15T10:42:00Z","event":{"id":"01KEZVWHXT08GVX0KQ3BEYC8Z0","dataset":"culprit.rollup"}}` + "\n")
		}
	}
	kept := strings.TrimSuffix(file.String(), "\n") // the last line may lack its end
	l := NewLines(strings.NewReader(kept))
	var made []*exchange.Exchange
	for {
		x, err := l.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, x)
	}
	if len(made) != len(all) || l.Others != len(all)/10 {
		t.Fatalf("%d exchanges of %d, %d others", len(made), len(all), l.Others)
	}
	lost := 0
	for i, x := range made { // all at the end: none is overwritten by a later one
		if got, want := string(exchange.AppendID(nil, x.ID(""))), string(exchange.AppendID(nil, all[i].ID(all[i].Tap.Observer))); got != want {
			t.Errorf("exchange %d is %s, want %s", i, got, want)
		}
		if x.Blame.Who != all[i].Blame.Who || x.Blame.Time != all[i].Blame.Time || x.Blame.Confidence != all[i].Blame.Confidence || x.Hop != all[i].Hop {
			t.Errorf("exchange %d has %+v and %+v, want %+v and %+v", i, x.Blame, x.Hop, all[i].Blame, all[i].Hop)
		}
		if x.Timing.Causes != all[i].Timing.Causes {
			lost++ // zeros aren't told from what isn't known
		}
	}
	if lost > len(all)/3 {
		t.Errorf("%d exchanges have other causes", lost)
	}
}

func TestLinesRefused(t *testing.T) {
	for text, want := range map[string]string{
		"{}\n\nno JSON\n": "line 3 isn't a JSON document", `{"a":` + "\n}": "line 1 isn't",
		`"` + strings.Repeat("x", MaxLine) + `"`: "line 1 is longer than 64 MiB",
	} {
		if x, err := NewLines(strings.NewReader(text)).Next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, %v", text, x, err)
		}
	}
	l := NewLines(strings.NewReader("{}\n[1]\nnull\n"))
	if _, err := l.Next(); err != io.EOF || l.Others != 3 {
		t.Errorf("%v after %d others", err, l.Others)
	}
}
