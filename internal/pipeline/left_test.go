package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
	"github.com/culprit-http/culprit/internal/udp"
)

// TestNothingIsLeft: when a run is over, its shards hold nothing of what any capture had in it, whether there was room for its flows or
// not. Keys that come never leave sessions waiting.
func TestNothingIsLeft(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(root, "corpus", "files"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".keys") {
			return err
		}
		if files++; testing.Short() && files%8 != 0 {
			return nil
		}
		for _, few := range []bool{false, true} {
			source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			keys := keylog.NewStore(keylog.Options{})
			keys.SetMayGrow(true)
			c := Config{
				Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits, TLS: tls.DefaultLimits(), Keys: keys,
				Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
				Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 16, ExchangeTimeout: 5 * time.Minute},
				Flows:    AllFlows, FlowPeriod: time.Second,
			}
			if few {
				c.TCP.MaxConns, c.TCP.MaxLinger, c.UDP.MaxFlows = 1, 1, 1
			}
			r := &run{config: c, src: source, show: deliverer{to: &tellings{}, maxBody: c.Exchange.MaxBody}, decoder: packet.NewDecoder(c.Packet), stats: newStats()}
			r.secrets, _ = source.(capture.SecretSource)
			r.start()
			if err := r.packets(context.Background()); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if err := r.finish(); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			_ = source.Close() // it was only read
			for i, s := range r.workers[0].shards {
				under := 0
				for range s.engine.UnderWay() {
					under++
				}
				if held, exchanges, flows := s.held, s.engine.Memory(), s.udp.Memory(); held != 0 || exchanges != 0 || flows != 0 || under != 0 || len(s.flows.open) != 0 {
					t.Errorf("%s, few flows %v, shard %d: %d bytes held, %d of exchanges, %d of flows; %d exchanges and %d flows under way",
						strings.TrimPrefix(path, root), few, i, held, exchanges, flows, under, len(s.flows.open))
				}
			}
		}
		return nil
	})
	if err != nil || files < 900 {
		t.Errorf("%d captures: %v", files, err)
	}
}
