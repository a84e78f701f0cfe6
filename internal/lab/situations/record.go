//go:build linux

package situations

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// TruthFile is the name of the file with the truth: three columns separated by tabs, see Truth.
const TruthFile = "truth.tsv"

// Captures are the names of the files in the folder of a recording, with the taps that are in them, by the names of their interfaces.
func Captures() map[string][]Tap {
	return map[string][]Tap{"client.pcapng": {Client}, "middle.pcapng": {Front, Back}, "server.pcapng": {Server}}
}

// Record makes about n exchanges of a situation that aren't disturbed, if the machine lets it, and writes its captures and the truth to folder.
// Different situations may be recorded at once.
func Record(s *Situation, n int, folder string) (err error) {
	work, err := os.MkdirTemp("", "culprit-situation")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	c := usual()
	if s.conditions != nil {
		c = s.conditions()
	}
	site, err := build(l, s.Name, c, work)
	if err != nil {
		return err
	}
	recordings := map[Tap]*lab.Recording{}
	for tap, host := range map[Tap]*lab.Namespace{Client: site.client, Front: site.middle, Back: site.middle, Server: site.server} {
		if recordings[tap], err = host.Record(string(tap)); err != nil {
			return err
		}
	}
	site.machine.lasts = cmp.Or(s.lasts, usually)
	site.machine.watch()
	err = s.make(site, n)
	site.machine.stop()
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	for i := range site.truth {
		if site.machine.touch(site.truth[i].at) {
			site.truth[i].Kind = Disturbed
		}
	}
	// What is still under way is a part of it.
	time.Sleep(settling)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, taps := range Captures() {
		var tapped []lab.Tapped
		for _, t := range taps {
			pcap, _, err := recordings[t].Stop()
			if err != nil {
				return err
			}
			tapped = append(tapped, lab.Tapped{Name: string(t), PCAP: pcap})
		}
		b, _, err := lab.PCAPNG(tapped, lab.PCAPNGOptions{Keys: site.keys.bytes()})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o644); err != nil {
			return err
		}
	}
	return writeTruth(filepath.Join(folder, TruthFile), site.truth)
}

// settling is how long a recording goes on behind its last exchange.
const settling = 100 * time.Millisecond

func writeTruth(path string, truth []Truth) error {
	var b bytes.Buffer
	for _, t := range truth {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", t.Key, t.Kind, t.Note)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// ReadTruth reads what Record wrote.
func ReadTruth(folder string) (all []Truth, err error) {
	b, err := os.ReadFile(filepath.Join(folder, TruthFile))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %d columns in %q", TruthFile, len(f), line)
		}
		all = append(all, Truth{Key: f[0], Kind: f[1], Note: f[2]})
	}
	return all, nil
}
