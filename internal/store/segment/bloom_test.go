package segment_test

import (
	"fmt"
	"testing"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// TestMayHaveLargeDictionary: texts that no longer fit into a column's dictionary are found too, though they aren't in its
// bloom filter.
func TestMayHaveLargeDictionary(t *testing.T) {
	one, _ := exchanges(t, 1)
	var row record.Row
	if err := one.Row(0, nil, &row); err != nil {
		t.Fatal(err)
	}
	col := record.Index("network.community_id")
	id := func(i int) []byte { return fmt.Appendf(nil, "1:%028d", i) }
	b := vector.NewBuilder()
	for i := range segment.MaxRows {
		row.Cell(col).Text = id(i)
		b.Append(&row)
	}
	m := b.Chunk()
	c, err := open(t, write(t, m)).Parts()[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	for i := range segment.MaxRows {
		if !c.MayHave(col, id(i)) {
			t.Fatalf("text %d of %d is there, but ruled out", i, segment.MaxRows)
		}
	}
}
