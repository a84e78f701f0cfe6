package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/files"
	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/output/stream"
)

// The outputs that show and keep half-streams: on standard output or in a file, and in a folder.
const (
	streams = "stream"
	folder  = "files"
)

// follower is an output that shows or keeps half-streams.
type follower interface {
	output.Output
	// Chunks takes chunks, which are borrowed until return.
	Chunks(list []follow.Chunk) error
}

// readForm reads how half-streams are to be shown.
func readForm(o *config.Output) (stream.Form, error) {
	s := &settings{output: o}
	form, err := stream.ParseForm(s.text("as", string(stream.Auto)))
	if err != nil {
		s.fail("as", "%v", err)
	}
	if err := s.err(); err != nil {
		return "", fmt.Errorf("-o %w", err)
	}
	return form, nil
}

// checkFollow refuses what can't be done with half-streams.
func checkFollow(c *config.Trace, orders []order) error {
	i := slices.IndexFunc(orders, func(o order) bool { return o.follow })
	switch {
	case c.Ciphertext && i < 0:
		return fmt.Errorf("--ciphertext is for -o %s, -o %s=DIR and -o %s=FILE", streams, folder, hoses)
	case c.Force && !slices.ContainsFunc(orders, func(o order) bool { return o.name == folder || o.name == hoses }):
		return fmt.Errorf("--force is for -o %s=DIR and -o %s=FILE", folder, hoses)
	case c.FileName != "" && !slices.ContainsFunc(orders, func(o order) bool { return o.name == folder }):
		return fmt.Errorf("--file-name is for -o %s=DIR", folder)
	case i < 0:
		return nil
	case c.Agent:
		return fmt.Errorf("-o %s: culprit agent delivers exchanges; follow half-streams with culprit trace", orders[i].name)
	case c.Where != "" || c.Live.Owner():
		return fmt.Errorf("%s selects exchanges, and -o %s has whole connections: select them with a capture filter, as in 'host 10.0.0.7 and port 8000'",
			selection(&c.Capture), orders[i].name)
	}
	return nil
}

// follow opens an output that shows or keeps half-streams.
func (s *sinks) follow(o *order, c *config.Trace, stdout target, inputs []capture.Input) error {
	if o.name == folder {
		return s.keepFiles(o, c)
	}
	t := stdout
	if o.path != "" {
		f, err := createFile(o.path, inputs, written)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		if _, err := private(f); err != nil {
			return err
		}
		t = target{w: f}
	}
	s.addFollower(stream.New(t.w, stream.Options{Form: o.form, Terminal: t.terminal, Location: t.location}))
	return nil
}

func (s *sinks) addFollower(f follower) {
	s.outputs = append(s.outputs, f)
	s.followers = append(s.followers, f)
}

// folderNames are those of the folders that files are made in.
func (s *sinks) folderNames() (names []string) {
	for _, f := range s.folders {
		names = append(names, f.Name())
	}
	return names
}

// openFolder opens a folder for files, and makes it if it isn't there. It has to be empty, unless files may be written over.
func openFolder(dir string, c *config.Trace) (*os.Root, error) {
	dir, err := filepath.Abs(dir) // the process may come to be elsewhere
	if err != nil {
		return nil, err
	}
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return nil, err
	case len(entries) > 0 && !c.Force:
		return nil, fmt.Errorf("%s isn't empty: name another folder, or write over what is there with --force", dir)
	case len(entries) > 0 && c.Live.On() && os.Geteuid() == 0:
		return nil, fmt.Errorf("%s isn't empty, and a live capture gives the folder to the user that it becomes: name another one", dir)
	case c.Live.On():
		if err := handOver(dir, c.Live.User, nil); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(dir)
}

// follow says how half-streams are followed, if they are.
func (t *tracing) follow() {
	if len(t.sinks.followers) == 0 {
		return
	}
	t.warn("%s", follow.RawWarning)
	t.followHoses()
	t.pipeline.Contents |= t.sinks.contents
	t.pipeline.Follow = follow.Plain
	if t.config.Ciphertext {
		t.pipeline.Follow = follow.Sent
	}
}

// Chunks implements pipeline.Follower.
func (t *tracing) Chunks(list []follow.Chunk) error {
	for _, f := range t.sinks.followers {
		if err := f.Chunks(list); err != nil {
			return err
		}
		if t.live {
			if err := f.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// accountFollowers says what is missing of half-streams.
func (t *tracing) accountFollowers() {
	for i, f := range t.sinks.followers {
		var st follow.Stats
		switch f := f.(type) {
		case *stream.Output:
			if st = f.Stats(); f.Silent() && st.Holes > 0 {
				t.lose("-o %s: %s, of which what is shown says nothing", streams, plural(st.Holes, "hole"))
			}
		case *files.Output:
			kept := f.Stats()
			st = kept.Stats
			if kept.Affected > 0 {
				t.lose("-o %s: %s in %s: %s lists them", folder, plural(st.Holes, "hole"), plural(kept.Affected, "file"), files.MissingName)
			}
			if kept.Refused > 0 {
				t.lose("-o %s: %s left out, since there were %s files", folder, plural(kept.Refused, "half-stream"), count(files.MaxFiles))
			}
			t.accountFiles(&kept)
			t.accountObjects(f)
		case *firehose.Output:
			recorded := f.Stats()
			st = recorded.Stats
			t.accountHose(&recorded)
		}
		t.followed = t.followed || st.HalfStreams+st.Undecrypted > 0
		if i == 0 && st.Undecrypted > 0 {
			t.lose("%s of %s not decrypted; --ciphertext gives the bytes as they were sent", plural(st.UndecryptedBytes, "byte"),
				plural(st.Undecrypted, "half-stream"))
		}
	}
}

// totalsOfFollowers are the rows of the totals at the end that say what was shown and kept of half-streams.
func (t *tracing) totalsOfFollowers() {
	for _, f := range t.sinks.followers {
		name, st, more := streams, follow.Stats{}, ""
		switch f := f.(type) {
		case *stream.Output:
			st = f.Stats()
		case *files.Output:
			kept := f.Stats()
			name, st, more = folder, kept.Stats, " in "+plural(kept.Files, "file")+totalOfObjects(f)
		case *firehose.Output:
			recorded := f.Stats()
			name, st, more = hoses, recorded.Stats, " of "+totalsOfHose(&recorded)
		}
		text := plural(st.HalfStreams, "half-stream") + more + ", " + plural(st.Bytes, "byte")
		if st.Holes > 0 {
			text += ", missing " + plural(st.MissingBytes, "byte") + " in " + plural(st.Holes, "hole")
		}
		if st.Undecrypted > 0 {
			text += ", not decrypted " + plural(st.Undecrypted, "half-stream") + " with " + plural(st.UndecryptedBytes, "byte")
		}
		fmt.Fprintf(t.stderr, "%-11s %s\n", name, text)
	}
}
