package synth

import (
	"bytes"
	"reflect"
	"testing"
)

func TestSoup(t *testing.T) {
	wraps, holes, overlaps, late, dups := 0, 0, 0, 0, 0
	for seed := range uint64(200) {
		stream, segs := Soup(seed, Hostile())
		again, segsAgain := Soup(seed, Hostile())
		if !bytes.Equal(stream, again) || !reflect.DeepEqual(segs, segsAgain) {
			t.Fatalf("seed %d isn't deterministic", seed)
		}
		covered := make([]int, len(stream))
		for i, s := range segs {
			if len(s.Data) == 0 || !bytes.Equal(s.Data, stream[s.Offset:s.Offset+len(s.Data)]) {
				t.Fatalf("seed %d: segment %d contradicts the stream", seed, i)
			}
			if s.Seq-uint32(s.Offset) != segs[0].Seq-uint32(segs[0].Offset) {
				t.Fatalf("seed %d: segment %d: sequence number off the stream's", seed, i)
			}
			if s.Seq+uint32(len(s.Data)) < s.Seq {
				wraps++
			}
			if i > 0 && s.Offset < segs[i-1].Offset {
				late++
			}
			if i > 0 && reflect.DeepEqual(s, segs[i-1]) {
				dups++
			}
			for at := range s.Data {
				covered[s.Offset+at]++
			}
		}
		for _, n := range covered {
			switch {
			case n == 0:
				holes++
			case n > 1:
				overlaps++
			}
		}
	}
	for what, n := range map[string]int{"wraps": wraps, "holes": holes, "overlaps": overlaps, "late segments": late, "duplicates": dups} {
		if n == 0 {
			t.Errorf("no %s in 200 soups", what)
		}
	}
}

func TestSoupWithoutFaultsIsTheStream(t *testing.T) {
	stream, segs := Soup(1, SoupOptions{Length: 10_000, MSS: 1000})
	var got []byte
	for _, s := range segs {
		got = append(got, s.Data...)
	}
	if !bytes.Equal(got, stream) || len(stream) != 10_000 {
		t.Error("the segments, joined, aren't the stream")
	}
}
