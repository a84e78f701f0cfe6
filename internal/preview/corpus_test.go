package preview

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// captured calls f for each exchange of a capture of the shared folder.
func captured(t *testing.T, path string, f func(x *exchange.Exchange)) {
	t.Helper()
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	source, err := capture.Open([]capture.Input{{Path: filepath.Join(root, "corpus", "files", path)}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	_, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 256 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute},
	}, receiver(f))
	if err != nil {
		t.Fatal(err)
	}
}

// Bodies of real peers: as many messages are shown as were counted, but for the last of a body that is cut; each is decoded to
// its end; and they hold what Wireshark shows of them.
func TestRealMessages(t *testing.T) {
	for _, c := range []struct {
		path string
		want []string
	}{
		{"wireshark/grpc_person_search_protobuf_with_image.pcapng.gz", []string{
			`  {"1": ["Jason", "Lily"]}`, `    "3": "Lily@example.com",`, `    "2": 1002,`, `        "1": "13588886666"`, `      "1": 1602601886`}},
		{"wireshark/grpc_web.pcapng.gz", []string{`  {"1": "88888888"}`, `  {"1": "Hello 99999999"}`, "trailers: 16 B"}},
		{"wireshark/grpc_stream_reassembly_sample.pcapng.gz", []string{`    "payloadSize": "2017",`, `  {"2": "44363"}`}},
	} {
		t.Run(filepath.Base(c.path), func(t *testing.T) {
			var all []string
			p := New(Options{Redact: func(_ string, b []byte) []byte { return b }})
			captured(t, c.path, func(x *exchange.Exchange) {
				for i, m := range []*proto.Message{&x.Request, &x.Response} {
					if !x.IsGRPC() || m.BodyBytes == 0 {
						continue
					}
					text := p.Preview(x, i == 1, Limits{})
					messages := int64(0)
					for _, line := range text.Lines {
						if strings.HasPrefix(line, "message ") {
							messages++
						}
						if strings.HasSuffix(line, " kept") {
							messages--
						} else if strings.Contains(line, "no field") && !text.Cut {
							t.Errorf("not decoded to its end: %s", line)
						}
					}
					if text.Form != Messages || messages != m.Parts.Count || len(text.Notes) != 1 {
						t.Errorf("%d messages are shown, and %d were counted:\n%.2000s", messages, m.Parts.Count, show(text))
					}
					all = append(all, text.Lines...)
				}
			})
			for _, line := range c.want {
				if !slices.Contains(all, line) {
					t.Errorf("no line %q", line)
				}
			}
		})
	}
}
