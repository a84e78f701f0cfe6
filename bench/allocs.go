package main

import (
	"context"
	"os"
	"runtime"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
	"github.com/culprit-http/culprit/internal/udp"
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

// allocations runs the pipeline over a capture, in this process and without an output, and counts what it allocates.
func allocations(ctx context.Context, f file) (h heap, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = analyse(ctx, f, &h)
	runtime.ReadMemStats(&after)
	h.allocations, h.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return h, err
}

// analyse runs the pipeline over a capture with the limits of culprit trace.
func analyse(ctx context.Context, f file, to pipeline.Receiver) (stats pipeline.Stats, err error) {
	keys := keylog.NewStore(keylog.Options{})
	if f.keys != "" {
		log, err := os.ReadFile(f.keys)
		if err != nil {
			return stats, err
		}
		keys.Add(log)
	}
	source, err := capture.Open([]capture.Input{{Path: f.path}}, capture.Options{})
	if err != nil {
		return stats, err
	}
	defer source.Close()
	d := config.DefaultTrace()
	return pipeline.Run(ctx, source, pipeline.Config{
		Workers:  1,
		Memory:   int(d.Memory),
		Packet:   packet.DefaultLimits(),
		TCP:      tcp.DefaultLimits,
		UDP:      udp.DefaultLimits,
		TLS:      tls.DefaultLimits(),
		Keys:     keys,
		Parser:   proto.Limits{MaxHead: int(d.MaxHead), MaxFields: d.MaxFields, MaxMessage: int(d.MaxMessage), MaxStreams: d.MaxStreams, MaxStatement: int(d.MaxStatement)},
		Exchange: exchange.Limits{MaxWaiting: d.MaxWaiting, ExchangeTimeout: d.ExchangeTimeout},
	}, to)
}
