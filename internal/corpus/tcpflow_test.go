package corpus

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/files"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/output/objects"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// bodyMark stands between the name of a half-stream and the number of a body of it.
const bodyMark = "-HTTPBODY-"

// keeper is a pipeline.Follower that keeps half-streams and bodies in a folder.
type keeper struct {
	out  *files.Output
	kept map[string]objects.Object
}

func (k *keeper) Idle() error                               { return nil }
func (k *keeper) Exchanges(_, _ []*exchange.Exchange) error { return nil }
func (k *keeper) Chunks(list []follow.Chunk) error          { return k.out.Chunks(list) }

// keep writes the files of a capture.
func keep(path, dir string, workers int) (map[string]objects.Object, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	in := folder.Open(root, false)
	defer in.Close()
	k := &keeper{kept: map[string]objects.Object{}}
	if k.out, err = files.New(in, files.Options{}); err != nil {
		return nil, err
	}
	k.out.Objects = objects.New(in, objects.Options{
		Kept: func(o *objects.Object) error { k.kept[o.Name] = *o; return nil }, Missing: k.out.Missing,
	})
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		return nil, err
	}
	defer source.Close()
	_, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: workers, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
		Follow:   follow.Plain, Contents: follow.Bodies,
	}, k)
	if err != nil {
		return nil, err
	}
	return k.kept, k.out.Close()
}

// contents returns the files of a folder by their names.
func contents(dir string) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[d.Name()] = text
		return err
	})
	return all, err
}

// stem is the name of a body's file up to its number; ok: it is one.
func stem(name string) (s, extension string, ok bool) {
	flow, rest, ok := strings.Cut(name, bodyMark)
	number, extension, _ := strings.Cut(rest, ".")
	return flow + bodyMark + number, extension, ok
}

// shortFlow is the length of a half-stream, in bytes, up to which tcpflow doesn't look into it.
const shortFlow = 79

// ownFiles says why culprit has a body that tcpflow hasn't; empty if nothing does.
func ownFiles(o *objects.Object, theirs map[string][]byte) string {
	flow := theirs[o.Base]
	switch {
	case o.Message.Kind == proto.Request:
		return "the body of a request"
	case o.Message.Protocol != "http":
		return "not HTTP/1"
	case flow == nil:
		return "of a half-stream that tcpflow has no file of, or by another name"
	case len(flow) <= shortFlow:
		return "of a half-stream of less than 80 bytes"
	case !bytes.HasPrefix(flow, []byte("HTTP/1.")):
		return "of a half-stream that begins with something else"
	}
	for name, other := range theirs {
		if name != o.Base && bytes.Equal(other, flow) {
			return "of a half-stream that is the same as another one"
		}
	}
	return ""
}

// renamed says why the extension of a body isn't tcpflow's; empty if nothing does.
func renamed(theirs, ours string) string {
	switch {
	case theirs == ours:
		return "the same"
	case strings.HasSuffix(ours, objects.IncompleteSuffix[1:]):
		return "marked as incomplete"
	case theirs == "":
		return "a type that tcpflow doesn't know"
	case theirs == "mpga" && ours == "mp3", theirs == "mp4a" && ours == "m4a", theirs == "m4v" && ours == "mp4":
		return "a more usual one"
	}
	return ""
}

// TestTCPFlow compares the files of bodies with those that tcpflow makes. Each difference has a reason, by one of the rules above or in
// testdata/tcpflow.tsv; each one that is listed there must still be there.
func TestTCPFlow(t *testing.T) {
	root := shared(t, "corpus")
	if _, err := exec.LookPath("tcpflow"); err != nil {
		t.Skip("tcpflow isn't installed: .ci/deps says how to get it")
	}
	entries := readIndex(t, root)
	demo := filepath.Join("..", "..", "testdata", "demo.pcap")
	entries = append([]entry{{name: "demo", file: demo}}, entries...)
	type row struct{ capture, file, what string }
	listed := map[row]string{}
	for _, r := range readTable(t, filepath.Join("testdata", "tcpflow.tsv")) {
		if r["reason"] == "" {
			t.Errorf("no reason given: %v", r)
		}
		listed[row{r["capture"], r["file"], r["what"]}] = r["reason"]
	}
	var mu sync.Mutex
	counts, seen, read := map[string]int{}, map[row]bool{}, map[string]bool{}
	differs := func(capture, file, what string) {
		r := row{capture, file, what}
		mu.Lock()
		defer mu.Unlock()
		seen[r] = true
		counts["listed"]++
		if listed[r] == "" {
			t.Errorf("unlisted\t%s\t%s\t%s", capture, file, what)
		}
	}
	each(entries, func(e *entry) {
		ours, err := os.MkdirTemp(t.TempDir(), "ours-*")
		if err != nil {
			t.Error(err)
			return
		}
		kept, err := keep(e.file, ours, 1)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			return
		}
		theirs := filepath.Join(ours, "tcpflow")
		cmd := exec.Command("tcpflow", "-q", "-e", "http", "-r", e.file, "-o", theirs)
		if out, err := cmd.CombinedOutput(); err != nil || !isDir(theirs) {
			mu.Lock()
			counts["captures that tcpflow can't read"]++
			mu.Unlock()
			_ = out // it doesn't read all formats
			return
		}
		their, err := contents(theirs)
		if err == nil {
			err = os.RemoveAll(theirs)
		}
		our, err2 := contents(ours)
		if err != nil || err2 != nil {
			t.Errorf("%s: %v %v", e.name, err, err2)
			return
		}
		names := map[string]string{}
		for name := range our {
			if s, _, ok := stem(name); ok {
				names[s] = name
			}
		}
		tally := map[string]int{}
		for name, text := range their {
			s, extension, ok := stem(name)
			if !ok {
				continue
			}
			mine, there := names[s]
			delete(names, s)
			switch {
			case !there:
				differs(e.name, s, "tcpflow alone")
				continue
			case !bytes.Equal(our[mine], text):
				differs(e.name, s, "other bytes")
				continue
			}
			tally["the same bytes"]++
			_, own, _ := stem(mine)
			if why := renamed(extension, own); why == "" {
				t.Errorf("%s: %s is %s for tcpflow, and %s here", e.name, s, extension, own)
			} else {
				tally["extension: "+why]++
			}
		}
		for s, name := range names {
			o := kept[name]
			if why := ownFiles(&o, their); why != "" {
				tally["culprit alone: "+why]++
			} else {
				differs(e.name, s, "culprit alone")
			}
		}
		mu.Lock()
		read[e.name] = true
		for k, n := range tally {
			counts[k] += n
		}
		mu.Unlock()
	})
	for r := range listed {
		if read[r.capture] && !seen[r] {
			t.Errorf("no longer so\t%s\t%s\t%s", r.capture, r.file, r.what)
		}
	}
	var b strings.Builder
	for _, k := range sortedKeys(counts) {
		fmt.Fprintf(&b, "\n%6d %s", counts[k], k)
	}
	t.Log(b.String())
	if counts["the same bytes"] == 0 {
		t.Error("no body was compared")
	}
}

// TestFilesSameWithAnyNumberOfWorkers: the files are the same, byte for byte.
func TestFilesSameWithAnyNumberOfWorkers(t *testing.T) {
	entries := readIndex(t, shared(t, "corpus"))
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !strings.Contains(e.topic, "http") })
	each(entries, func(e *entry) {
		var all [2]map[string][]byte
		for i, workers := range []int{1, 4} {
			dir, err := os.MkdirTemp(t.TempDir(), "files-*")
			if err == nil {
				_, err = keep(e.file, dir, workers)
			}
			if err == nil {
				all[i], err = contents(dir)
			}
			if err != nil {
				t.Errorf("%s: %v", e.name, err)
				return
			}
		}
		if len(all[0]) != len(all[1]) {
			t.Errorf("%s: %d and %d files", e.name, len(all[0]), len(all[1]))
		}
		for name, text := range all[0] {
			if !bytes.Equal(text, all[1][name]) {
				t.Errorf("%s: %s isn't the same with four workers", e.name, name)
			}
		}
	})
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
