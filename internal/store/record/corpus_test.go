package record_test

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
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// sampleEvery is how many captures a short run passes over for each that it takes.
const sampleEvery = 8

// receiver hands each exchange to a function.
type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// What is in the captures of other projects is shown alike before and after it is stored.
func TestCorpus(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	root = filepath.Join(root, "corpus")
	index, err := os.ReadFile(filepath.Join(root, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	captures, exchanges := 0, 0
	for line := range strings.Lines(string(index)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if columns == nil {
			columns = cells
			continue
		}
		cell := func(name string) string { return cells[slices.Index(columns, name)] }
		captures++
		if testing.Short() && captures%sampleEvery != 0 {
			continue
		}
		keys := ""
		if strings.HasPrefix(cell("keys"), "files/") {
			keys = filepath.Join(root, cell("keys"))
		}
		exchanges += checkCapture(t, filepath.Join(root, cell("file")), keys)
	}
	t.Logf("%d exchanges of %d captures", exchanges, captures)
	if exchanges == 0 {
		t.Error("there are no exchanges")
	}
}

// checkCapture checks the exchanges of a capture, and the messages of its sessions. keys is a key log, empty for none.
func checkCapture(t *testing.T, path, keys string) (n int) {
	store := keylog.NewStore(keylog.Options{}) // secrets in the capture itself are added to it
	if keys != "" {
		log, err := os.ReadFile(keys)
		if err != nil {
			t.Fatal(err)
		}
		store.Add(log)
	}
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer source.Close()
	_, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 512 << 20, Keys: store, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute, Messages: true},
	}, receiver(func(x *exchange.Exchange) {
		n++
		x.Number = uint64(n)
		if !checkStored(t, []*exchange.Exchange{x}) {
			t.Errorf("%s: exchange %d", path, n)
		}
	}))
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return n
}
