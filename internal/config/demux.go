package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Demux is how a firehose recording is taken apart.
type Demux struct {
	// File is what to read; empty or - for standard input.
	File string
	// Directory and OutputDirectory are two names of the folder for the files; empty for the current one.
	Directory, OutputDirectory string
	// UUIDs are those of the conversations that are wanted, none: all; Prefixes are what they begin with, none: anything.
	UUIDs, Prefixes []string
	// Force: files that are there are replaced.
	Force bool
	// List: no files are made, and the streams are listed. JSON: as JSON, a line a stream, also when files are made.
	List, JSON bool
	// IdleTimeout is after how long without a fragment a stream is over, in the time of the recording; 0: never.
	IdleTimeout time.Duration
	// MaxFragment is the longest fragment that is read, MaxStreams how many streams may be open.
	MaxFragment Size
	MaxStreams  int
	// Verbose: totals are told in any case.
	Verbose bool
}

// The bounds of a fragment's length.
const (
	minFragment = 4 << 10
	maxFragment = 1 << 30
)

// DefaultDemux returns the defaults.
func DefaultDemux() Demux { return Demux{MaxFragment: 16 << 20, MaxStreams: 65536} }

// Validate checks what can be checked without opening anything. Errors name the option.
func (d *Demux) Validate() error {
	if d.Directory != "" && d.OutputDirectory != "" && d.Directory != d.OutputDirectory {
		return fmt.Errorf("-d %s and -o %s are two names of one option: name one folder", d.Directory, d.OutputDirectory)
	}
	switch {
	case d.List && d.Folder() != ".":
		return errors.New("--list makes no files: leave -d out, or use --json, which lists the streams beside making files")
	case d.List && d.Force:
		return errors.New("--list makes no files: leave --force out")
	case d.IdleTimeout < 0:
		return fmt.Errorf("--idle-timeout %v is negative", d.IdleTimeout)
	case d.MaxFragment < minFragment || d.MaxFragment > maxFragment:
		return fmt.Errorf("--max-fragment %v: from %v to %v", d.MaxFragment, Size(minFragment), Size(maxFragment))
	case d.MaxStreams < 1:
		return fmt.Errorf("--max-streams %d: 1 or more", d.MaxStreams)
	}
	for _, p := range d.Prefixes {
		if p == "" {
			return errors.New("an empty prefix fits everything: leave it out")
		}
	}
	_, err := d.Conversations()
	return err
}

// Folder returns the folder for the files.
func (d *Demux) Folder() string {
	switch {
	case d.Directory != "":
		return d.Directory
	case d.OutputDirectory != "":
		return d.OutputDirectory
	}
	return "."
}

// Conversations returns the UUIDs that are wanted, which may be written in upper or lower case.
func (d *Demux) Conversations() (list [][16]byte, err error) {
	for _, text := range d.UUIDs {
		// A name of a file that was made is as good.
		text = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(text, ".part"), ".request"), ".response")
		var u [16]byte
		digits := strings.ReplaceAll(text, "-", "")
		if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' || len(digits) != 32 {
			return nil, notUUID(text)
		}
		if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
			return nil, notUUID(text)
		}
		list = append(list, u)
	}
	return list, nil
}

func notUUID(text string) error {
	return fmt.Errorf("-u %q isn't a UUID such as 7596c94f-5cda-4018-8362-14d7ab616d14", text)
}
