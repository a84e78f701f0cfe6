package pipeline_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// divide deals the packets of a capture out by flow, as the kernel does among rings.
func divide(records []capture.Record, n int) []capture.Source {
	parts := make([][]capture.Record, n)
	d := packet.NewDecoder(packet.DefaultLimits())
	for i := range records {
		var p packet.Packet
		part := 0
		if d.Decode(&p, &records[i]) == packet.Decoded {
			key, _ := p.Key()
			part = int(key.Hash() % uint64(n))
		}
		parts[part] = append(parts[part], records[i])
	}
	var sources []capture.Source
	for _, part := range parts {
		sources = append(sources, &memory{records: part, tap: capture.Tap{File: "part"}})
	}
	return sources
}

// Several sources give the exchanges and the totals that one gives.
func TestRunAll(t *testing.T) {
	records := scenario(t, "flows", 1<<20)
	lines := func(sources []capture.Source) (all []string, stats pipeline.Stats, stopped int) {
		var id []byte
		stats, err := pipeline.RunAll(context.Background(), sources, config(), &received{each: func(x *exchange.Exchange) error {
			id = exchange.AppendID(id[:0], x.ID(""))
			all = append(all, string(id)+" "+x.Grade.String())
			return nil
		}}, func() { stopped++ })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all, stats, stopped
	}
	want, total, _ := lines(divide(records, 1))
	got, sum, stopped := lines(divide(records, 3))
	if !slices.Equal(got, want) || len(want) < 20 {
		t.Errorf("%d exchanges, want %d", len(got), len(want))
	}
	if !reflect.DeepEqual(sum, total) {
		t.Errorf("totals\n%+v, want\n%+v", sum, total)
	}
	if stopped != 3 {
		t.Errorf("stopped %d times", stopped)
	}
}

func TestRunAllEndsWithAnError(t *testing.T) {
	enough := errors.New("enough")
	n := 0
	_, err := pipeline.RunAll(context.Background(), divide(scenario(t, "flows", 1<<20), 3), config(),
		&received{each: func(*exchange.Exchange) error {
			n++
			if n == 5 {
				return enough
			}
			return nil
		}}, func() {})
	if !errors.Is(err, enough) || n != 5 {
		t.Errorf("%v after %d exchanges", err, n)
	}
}
