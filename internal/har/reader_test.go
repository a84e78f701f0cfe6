package har_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/har"
	output "github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
	"github.com/culprit-http/culprit/internal/udp"
)

// receiver hands each exchange to a function.
type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// archiveOf makes an archive of a capture.
func archiveOf(t *testing.T, path string) []byte {
	t.Helper()
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var b bytes.Buffer
	out := output.New(&b, "1.0")
	c := pipeline.Config{
		Workers: 1, Memory: 64 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits, Keys: keylog.NewStore(keylog.Options{}), TLS: tls.DefaultLimits(),
		Parser:   proto.Limits{MaxHead: 64 << 10, MaxFields: 256, MaxStreams: 100, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 100, MaxBody: 64 << 10, ExchangeTimeout: time.Minute},
	}
	if _, err := pipeline.Run(context.Background(), source, c, receiver(func(x *exchange.Exchange) {
		if err := out.Exchange(x); err != nil {
			t.Fatal(err)
		}
	})); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads an archive.
func readAll(t testing.TB, r *har.Reader) (all []*exchange.Exchange) {
	t.Helper()
	for {
		x, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
}

// write makes an archive of exchanges.
func write(t testing.TB, all []*exchange.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	out := output.New(&b, "1.0")
	for _, x := range all {
		if err := out.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unread are the fields of an entry of ours that aren't read: they say what follows from packets, of which there are none.
var unread = []string{"_blame", "_process", "_messages"}

// entriesOf returns the entries of an archive, without what isn't read.
func entriesOf(t *testing.T, archive []byte) (all []map[string]any) {
	t.Helper()
	var a struct {
		Log struct{ Entries []map[string]any }
	}
	if err := json.Unmarshal(archive, &a); err != nil {
		t.Fatal(err)
	}
	for _, e := range a.Log.Entries {
		for _, name := range unread {
			delete(e, name)
		}
		if s, ok := e["_tls"].(map[string]any); ok {
			delete(s, "certificate")
		}
		all = append(all, e)
	}
	return all
}

// An archive of ours that was read makes the same archive again.
func TestOwnArchivesComeBack(t *testing.T) {
	for _, name := range []string{"demo.pcap", "secure/secure.pcapng", "databases/databases.pcapng"} {
		archive := archiveOf(t, filepath.Join("..", "..", "testdata", name))
		r := har.NewReader(bytes.NewReader(archive), har.Options{MaxBody: -1})
		all := readAll(t, r)
		want, got := entriesOf(t, archive), entriesOf(t, write(t, all))
		if len(want) < 15 || len(got) != len(want) {
			t.Fatalf("%s: %d entries of %d", name, len(got), len(want))
		}
		for i := range want {
			for key := range want[i] {
				if !reflect.DeepEqual(got[i][key], want[i][key]) {
					t.Errorf("%s, entry %d: %s is\n%v, was\n%v\nof %v", name, i+1, key, got[i][key], want[i][key], want[i]["request"].(map[string]any)["url"])
				}
			}
			for key := range got[i] {
				if _, ok := want[i][key]; !ok {
					t.Errorf("%s, entry %d: %s is %v, and wasn't there", name, i+1, key, got[i][key])
				}
			}
		}
		if r.Counts != (har.Counts{Entries: len(want)}) || r.Creator != "culprit 1.0" {
			t.Errorf("%s: %+v of %q", name, r.Counts, r.Creator)
		}
	}
}
