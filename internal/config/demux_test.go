package config

import (
	"strings"
	"testing"
)

func TestDemuxValidate(t *testing.T) {
	const uuid = "7596C94f-5cda-4018-8362-14d7ab616d14"
	good := map[string]func(d *Demux){
		"the defaults":    func(*Demux) {},
		"both folders":    func(d *Demux) { d.Directory, d.OutputDirectory = "x", "x" },
		"a UUID":          func(d *Demux) { d.UUIDs = []string{uuid} },
		"a file's name":   func(d *Demux) { d.UUIDs = []string{uuid + ".response.part", uuid + ".request"} },
		"a list":          func(d *Demux) { d.List, d.JSON = true, true },
		"a small maximum": func(d *Demux) { d.MaxFragment = 4096 },
	}
	for name, set := range good {
		d := DefaultDemux()
		set(&d)
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, set := range map[string]func(d *Demux){
		"-d x and -o y":                    func(d *Demux) { d.Directory, d.OutputDirectory = "x", "y" },
		"--list makes no files: leave -d":  func(d *Demux) { d.List, d.OutputDirectory = true, "y" },
		"leave --force out":                func(d *Demux) { d.List, d.Force = true, true },
		"--idle-timeout -1ns is negative":  func(d *Demux) { d.IdleTimeout = -1 },
		"--max-fragment 1: from 4KiB to":   func(d *Demux) { d.MaxFragment = 1 },
		"--max-fragment 2GiB: from 4KiB":   func(d *Demux) { d.MaxFragment = 2 << 30 },
		"--max-streams 0":                  func(d *Demux) { d.MaxStreams = 0 },
		"an empty prefix":                  func(d *Demux) { d.Prefixes = []string{"GET ", ""} },
		`-u "x" isn't a UUID`:              func(d *Demux) { d.UUIDs = []string{uuid, "x"} },
		"isn't a UUID such":                func(d *Demux) { d.UUIDs = []string{strings.Replace(uuid, "7", "g", 1)} },
		`-u "7596c94f5cda4018836214d7ab61`: func(d *Demux) { d.UUIDs = []string{"7596c94f5cda4018836214d7ab616d14"} },
		`4018-836214d7-ab61" isn't`:        func(d *Demux) { d.UUIDs = []string{"6d147596c94f-5cda-4018-836214d7-ab61"} },
	} {
		d := DefaultDemux()
		set(&d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	d := Demux{UUIDs: []string{uuid}}
	list, err := d.Conversations()
	if err != nil || len(list) != 1 || list[0][0] != 0x75 || list[0][15] != 0x14 {
		t.Errorf("%x, %v", list, err)
	}
	for want, d := range map[string]Demux{".": {}, "x": {Directory: "x"}, "y": {OutputDirectory: "y"}} {
		if got := d.Folder(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
