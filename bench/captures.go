package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/culprit-http/culprit/internal/synth"
)

// truth is how many requests a capture holds, and how many of them were answered.
type truth struct{ Requests, Answered int }

// file is a capture on disk.
type file struct {
	path  string
	bytes int64
	truth truth
	// keys is the key log of its TLS sessions, empty for none, and body the length of its only answer, where there is but one.
	keys string
	body int64
}

// benchCapture is a capture in two sizes: the slow tools get a small one.
type benchCapture struct {
	name, about string
	// inside: only tools that look inside TLS and HTTP/2 find anything.
	inside bool
	// protocol is what it holds instead of HTTP, empty for HTTP.
	protocol   string
	full, part file
	make       func() (full, part file, err error)
}

func (c *benchCapture) prepare() (err error) {
	c.full, c.part, err = c.make()
	return err
}

// partOf is how much smaller the capture for slow tools is.
const partOf = 20

// generated returns the captures that package synth makes.
func generated(o options) (all []*benchCapture) {
	for _, s := range synth.Scenarios() {
		if s.Name == "demo" {
			continue
		}
		all = append(all, scenario(o, s))
	}
	return all
}

// services returns the captures of databases, caches and name servers that package synth makes.
func services(o options) (all []*benchCapture) {
	for _, s := range synth.Services() {
		c := scenario(o, s)
		c.protocol, _, _ = strings.Cut(s.Name, "-")
		all = append(all, c)
	}
	return all
}

// scenario returns the capture of a scenario.
func scenario(o options, s synth.Scenario) *benchCapture {
	return &benchCapture{name: s.Name, about: s.About, make: func() (full, part file, err error) {
		if full, err = generate(o.cache, s, o.size); err != nil {
			return full, part, err
		}
		part, err = generate(o.cache, s, o.size/partOf)
		return full, part, err
	}}
}

// generate makes a capture, or finds the one made before. Its name holds a fingerprint of the
// scenario's beginning, so that a changed generator makes it anew.
func generate(cache string, s synth.Scenario, size int64) (f file, err error) {
	const sample = 1_000_000
	var b bytes.Buffer
	if _, err := s.Make(&b, sample, synth.Options{}); err != nil {
		return f, err
	}
	fingerprint := sha256.Sum256(b.Bytes())
	path := filepath.Join(cache, fmt.Sprintf("%s-%d-%x.pcap", s.Name, size, fingerprint[:4]))
	return cached(path, func(out *os.File) (truth, error) {
		t, err := s.Make(out, size, synth.Options{})
		return truth{t.Exchanges, t.Answered}, err
	})
}

// cached returns the file at path with its truth, which is kept beside it, or writes both. The truth
// is written last, so that a file without one isn't whole.
func cached(path string, write func(*os.File) (truth, error)) (f file, err error) {
	f.path = path
	if kept, err := os.ReadFile(path + ".json"); err == nil {
		if err := json.Unmarshal(kept, &f.truth); err != nil {
			return f, fmt.Errorf("%s.json: %w (remove it)", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	} else {
		fmt.Fprintf(os.Stderr, "making %s...\n", path)
		out, err := os.Create(path)
		if err != nil {
			return f, err
		}
		f.truth, err = write(out)
		if err := errors.Join(err, out.Close()); err != nil {
			return f, err
		}
		kept, err := json.Marshal(f.truth)
		if err != nil {
			return f, err
		}
		if err := os.WriteFile(path+".json", kept, 0o644); err != nil {
			return f, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return f, err
	}
	f.bytes = info.Size()
	return f, nil
}

// recorded are captures of real servers, in the folder bench below $CULPRIT_SHARED, each known from
// the server's log.
var recorded = []struct {
	name, about string
	truth       truth
}{
	{"small", "nginx and wrk: keep-alive, small answers", truth{52_912, 52_856}},
	{"flows", "nginx and wrk: a connection a request", truth{24_913, 24_913}},
	{"lossy", "nginx and wrk: 1 % loss, reordering, duplicates", truth{31_842, 31_811}},
}

// shared returns the recorded captures, repeated up to the wanted size, when they are there.
func shared(o options) (all []*benchCapture) {
	folder := os.Getenv("CULPRIT_SHARED")
	if folder == "" {
		fmt.Fprintln(os.Stderr, "bench: CULPRIT_SHARED isn't set: only generated captures")
		return nil
	}
	for _, r := range recorded {
		all = append(all, &benchCapture{name: "recorded-" + r.name, about: r.about, make: func() (full, part file, err error) {
			source := filepath.Join(folder, "bench", r.name+".pcap.zst")
			part, err = cached(filepath.Join(o.cache, "recorded-"+r.name+".pcap"), func(out *os.File) (truth, error) {
				cmd := exec.Command("zstd", "-dcq", source)
				cmd.Stdout, cmd.Stderr = out, os.Stderr
				return r.truth, cmd.Run()
			})
			if err != nil {
				return full, part, err
			}
			times := max(1, int((o.size+part.bytes-1)/part.bytes))
			if times == 1 {
				return part, part, nil
			}
			full, err = cached(filepath.Join(o.cache, fmt.Sprintf("recorded-%s-%d.pcap", r.name, times)), func(out *os.File) (truth, error) {
				return truth{r.truth.Requests * times, r.truth.Answered * times}, repeat(out, part.path, times)
			})
			return full, part, err
		}})
	}
	return all
}
