package main

import (
	"context"
	"runtime"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// heap is what was taken from the heap.
type heap struct {
	allocations, bytes uint64
	exchanges          int
}

func (h *heap) Exchanges(done, _ []*exchange.Exchange) error {
	h.exchanges += len(done)
	return nil
}

func (h *heap) Idle() error { return nil }

// allocations runs the pipeline over a capture, in this process and without an output, with the
// limits of culprit trace, and counts what it allocates.
func allocations(ctx context.Context, path string) (h heap, err error) {
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		return h, err
	}
	defer source.Close()
	d := config.DefaultTrace()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = pipeline.Run(ctx, source, pipeline.Config{
		Workers:  1,
		Memory:   int(d.Memory),
		Packet:   packet.DefaultLimits(),
		TCP:      tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: int(d.MaxHead), MaxFields: d.MaxFields},
		Exchange: exchange.Limits{MaxWaiting: d.MaxWaiting, ExchangeTimeout: d.ExchangeTimeout},
	}, &h)
	runtime.ReadMemStats(&after)
	h.allocations, h.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return h, err
}
