package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/files"
	folders "github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/output/objects"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// maxOpenFiles is the most that may be open at a time, if the system allows that.
const maxOpenFiles = 16384

// keptFiles says which files are made of half-streams.
type keptFiles struct {
	config.Files
	template *files.Template
}

// readFiles reads what the settings say of files.
func readFiles(o *config.Output, c *config.Trace) (k keptFiles, err error) {
	s := &settings{output: o}
	k.Files = config.DefaultFiles()
	k.Index, k.Packets, k.Report, k.Bodies = s.yes("index", k.Index), s.yes("packets", k.Packets), s.yes("report", k.Report), s.yes("bodies", k.Bodies)
	k.MaxBytes = config.Size(s.size("max_bytes", 0, 0, 1<<50))
	k.MaxOpen = s.number("max_open", k.MaxOpen, 8, maxOpenFiles)
	for _, list := range [...]struct {
		key string
		set func(string) error
	}{{"hash", k.SetHash}, {"objects", k.SetObject}} {
		for _, name := range s.list(list.key) {
			if err := list.set(name); err != nil {
				s.fail(list.key, "%v", err)
			}
		}
	}
	if err := s.err(); err != nil {
		return k, fmt.Errorf("-o %w", err)
	}
	if err := k.Validate(); err != nil {
		return k, fmt.Errorf("-o %s: %w", o.Text, err)
	}
	if c.FileName != "" {
		if k.template, err = files.ParseTemplate(c.FileName); err != nil {
			return k, fmt.Errorf("--file-name %q: %w", c.FileName, err)
		}
	}
	return k, nil
}

// yes is a setting that is yes or no, or true or false.
func (s *settings) yes(key string, otherwise bool) bool {
	value, there := s.lookup(key)
	switch {
	case !there:
		return otherwise
	case value == "yes" || value == "true":
		return true
	case value != "no" && value != "false":
		s.fail(key, "%q: want yes or no", value)
	}
	return false
}

// keepFiles opens an output that keeps half-streams in a folder.
func (s *sinks) keepFiles(o *order, c *config.Trace) error {
	root, err := openFolder(o.path, c)
	if err != nil {
		return err
	}
	s.folders = append(s.folders, root)
	in := folders.Open(root, c.Force)
	k := &o.kept
	options := files.Options{Template: k.template, Index: k.Index, MD5: k.MD5, SHA256: k.SHA256, MaxBytes: int64(k.MaxBytes), MaxOpen: k.MaxOpen, Live: c.Live.On()}
	if k.Report {
		options.Report = creator(o, c)
	}
	if k.Packets {
		options.Packets = files.NewPackets(folders.Open(root, c.Force), k.MaxOpen, "culprit "+version)
		options.Packets.Live = c.Live.On()
		s.tracks = append(s.tracks, options.Packets)
	}
	out, err := files.New(in, options)
	if err != nil {
		return err
	}
	if k.Bodies {
		s.contents |= follow.Bodies
	}
	if k.Sessions {
		s.contents |= follow.Sessions
	}
	if k.Bodies || k.Sessions {
		keepObjects(out, in, objects.Options{Parts: k.Parts, Messages: k.Messages, Sessions: k.Sessions, MD5: k.MD5, SHA256: k.SHA256})
	}
	s.addFollower(out)
	return nil
}

// recorders returns what takes packets as they were captured, nil if nothing does.
func (s *sinks) recorders(taps func() []capture.Tap) pipeline.Recorder {
	var all recorders
	if s.recorder != nil {
		all = append(all, s.recorder)
	}
	for _, t := range s.tracks {
		t.Taps = taps
		all = append(all, t)
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// recorders are several recorders in one.
type recorders []pipeline.Recorder

// Packet implements pipeline.Recorder.
func (all recorders) Packet(r *capture.Record, p *packet.Packet, key *packet.Flow) {
	for _, to := range all {
		to.Packet(r, p, key)
	}
}

// accountFiles says what was left out of files.
func (t *tracing) accountFiles(kept *files.Stats) {
	if kept.Cut > 0 {
		t.lose("-o %s: %s left out of %s, which have more than max_bytes", folder, plural(kept.CutBytes, "byte"), plural(kept.Cut, "half-stream"))
	}
	for _, p := range t.sinks.tracks {
		if st := p.Stats(); st.Refused > 0 {
			t.lose("-o %s: %s left out, since there were %s files of packets", folder, plural(st.Refused, "packet"), count(files.MaxFiles))
		}
	}
}

// creator returns what a report says of who made it. The command line isn't told as it was: there may be passwords in it.
func creator(o *order, c *config.Trace) *files.Creator {
	began := time.Now()
	line := []string{"culprit", "trace"}
	for _, in := range c.Inputs {
		line = append(line, "-r", in)
	}
	for _, name := range c.Live.Interfaces {
		line = append(line, "-i", name)
	}
	line = append(line, "-o", o.Text)
	if c.CaptureFilter != "" {
		line = append(line, c.CaptureFilter)
	}
	host, _ := os.Hostname()
	uid := strconv.Itoa(os.Getuid())
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	template := c.FileName
	if template == "" {
		template = files.DefaultTemplate
	}
	k := &o.kept
	build, libraries := built()
	return &files.Creator{
		Program: "CULPRIT", Version: version,
		Build: build, Libraries: libraries,
		Execution: []files.Element{
			{Name: "os_sysname", Text: kernel("ostype", runtime.GOOS)}, {Name: "os_release", Text: kernel("osrelease", "")},
			{Name: "os_version", Text: kernel("version", "")}, {Name: "host", Text: host}, {Name: "arch", Text: runtime.GOARCH},
			{Name: "command_line", Text: strings.Join(line, " ")}, {Name: "uid", Text: uid}, {Name: "username", Text: name},
			{Name: "start_time", Text: began.UTC().Format("2006-01-02T15:04:05Z")},
		},
		Configuration: []files.Element{
			{Name: "file_name", Text: template}, {Name: "capture_filter", Text: c.CaptureFilter}, {Name: "ciphertext", Text: yes(c.Ciphertext)},
			{Name: "index", Text: yes(k.Index)}, {Name: "packets", Text: yes(k.Packets)}, {Name: "bodies", Text: yes(k.Bodies)},
			{Name: "max_bytes", Text: strconv.FormatInt(int64(k.MaxBytes), 10)}, {Name: "max_open", Text: strconv.Itoa(k.MaxOpen)},
		},
		Usage: func() []files.Element {
			return append(resources(), files.Element{Name: "clocktime", Text: seconds(time.Since(began))})
		},
	}
}

// built returns how the program was built, by the names that tcpflow's reports have, and of what.
func built() (build, libraries []files.Element) {
	build = []files.Element{{Name: "compiler", Text: runtime.Version()}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build, nil
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for _, name := range [...][2]string{
		{"CPPFLAGS", "CGO_CPPFLAGS"}, {"CFLAGS", "CGO_CFLAGS"}, {"CXXFLAGS", "CGO_CXXFLAGS"}, {"LDFLAGS", "-ldflags"}, {"LIBS", "-tags"}, {"compilation_date", "vcs.time"},
	} {
		build = append(build, files.Element{Name: name[0], Text: settings[name[1]]})
	}
	for _, m := range info.Deps {
		libraries = append(libraries, files.Element{Name: m.Path, Text: m.Version})
	}
	return build, libraries
}

// kernel returns what Linux says of itself, or otherwise.
func kernel(name, otherwise string) string {
	b, err := os.ReadFile(filepath.Join("/proc/sys/kernel", name))
	if err != nil {
		return otherwise
	}
	return strings.TrimSpace(string(b))
}

// seconds formats a time as reports have it.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
