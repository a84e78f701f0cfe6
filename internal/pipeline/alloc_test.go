package pipeline_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// A packet on its way through the pipeline allocates nothing: what there is belongs to connections and exchanges, which
// are used again.
func TestPacketsDoNotAllocate(t *testing.T) {
	records := scenario(t, "small", 8<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := pipeline.Run(context.Background(), &memory{records: records, tap: capture.Tap{File: "x"}}, config(), &received{})
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	// Half an allocation a packet leaves room for the start.
	if n := after.Mallocs - before.Mallocs; n > uint64(len(records)/2) {
		t.Errorf("%d allocations for %d packets", n, len(records))
	}
}
