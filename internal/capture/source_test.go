package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseInput(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"a=b.pcap", "b.pcap"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for arg, want := range map[string]Input{
		"b.pcap":           {Path: "b.pcap"},
		"-":                {Path: "-"},
		"web=b.pcap":       {Tap: "web", Path: "b.pcap"},
		"web=-":            {Tap: "web", Path: "-"},
		"web=x=y":          {Tap: "web", Path: "x=y"},
		"a=b.pcap":         {Path: "a=b.pcap"},
		"tap=a=b.pcap":     {Tap: "tap", Path: "a=b.pcap"},
		"./a=b.pcap":       {Path: "./a=b.pcap"},
		"./no=where":       {Path: "./no=where"},
		"=b.pcap":          {Path: "=b.pcap"},
		"web=/srv/x=.pcap": {Tap: "web", Path: "/srv/x=.pcap"},
	} {
		if got := ParseInput(arg); got != want {
			t.Errorf("ParseInput(%q) = %+v, want %+v", arg, got, want)
		}
	}
}

// at makes packets whose content is their time in milliseconds behind a letter.
func at(letter string, millis ...int) (packets []pkt) {
	for _, ms := range millis {
		packets = append(packets, pkt{int64(ms) * 1e6, letter + itoa(ms), 0})
	}
	return packets
}

// TestTaps writes each file's packets, reads all files, and compares the order of the packets: for each its
// tap, number and content.
func TestTaps(t *testing.T) {
	const raw = 101
	type file struct {
		tap     string
		link    uint32
		packets []pkt
	}
	for _, c := range []struct {
		name  string
		files []file
		want  string
		taps  string
	}{
		{"one", []file{{"", 1, at("a", 1, 2)}}, "0#1:a1 0#2:a2", ""},
		{"rotation, in any order", []file{{"", 1, at("b", 3, 4)}, {"", 1, at("c", 4, 6)}, {"", 1, at("a", 1, 3)}},
			"0#1:a1 0#2:a3 0#3:b3 0#4:b4 0#5:c4 0#6:c6", ""},
		{"overlap", []file{{"", 1, at("a", 1, 4)}, {"", 1, at("b", 2, 3)}}, "0#1:a1 1#1:b2 1#2:b3 0#2:a4", ","},
		{"another link type", []file{{"", 1, at("a", 1, 2)}, {"", raw, at("b", 3)}, {"", 1, at("c", 4)}}, "0#1:a1 0#2:a2 1#1:b3 0#3:c4", ","},
		{"a hole in one, filled by another that goes on", []file{{"", 1, at("a", 1, 3)}, {"", 1, at("b", 2, 8)}, {"", 1, at("c", 5, 6)}},
			"0#1:a1 1#1:b2 0#2:a3 0#3:c5 0#4:c6 1#2:b8", ","},
		{"equal times, by tap", []file{{"x", 1, at("a", 1, 2)}, {"y", 1, at("b", 1, 2)}}, "0#1:a1 1#1:b1 0#2:a2 1#2:b2", "x,y"},
		{"equal times, by tap and not by input", []file{{"x", 1, at("a", 1)}, {"y", 1, at("b", 2)}, {"x", 1, at("c", 2)}}, "0#1:a1 0#2:c2 1#1:b2", "x,y"},
		{"names part what doesn't overlap", []file{{"x", 1, at("a", 1, 2)}, {"y", 1, at("b", 3)}}, "0#1:a1 0#2:a2 1#1:b3", "x,y"},
		{"a name joins what overlaps", []file{{"x", 1, at("a", 1, 4)}, {"x", raw, at("b", 2, 3)}}, "0#1:a1 0#2:b2 0#3:b3 0#4:a4", "x"},
		{"a name and none", []file{{"x", 1, at("a", 1)}, {"", 1, at("b", 2)}, {"", 1, at("c", 3)}}, "0#1:a1 1#1:b2 1#2:c3", "x,"},
		{"time that goes back", []file{{"x", 1, at("a", 1, 5, 2)}, {"y", 1, at("b", 4)}}, "0#1:a1 1#1:b4 0#2:a5 0#3:a2", "x,y"},
		{"an empty one first", []file{{"", 1, nil}, {"", 1, at("b", 2)}}, "0#1:b2", ""},
		{"only empty ones", []file{{"", 1, nil}, {"", 1, nil}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var inputs []Input
			for _, f := range c.files {
				inputs = append(inputs, Input{f.tap, write(t, "capture", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 0, f.link, f.packets...))})
			}
			recs, s := readAll(t, Options{}, inputs...)
			var got, taps []string
			for _, r := range recs {
				got = append(got, itoa(int(r.tap))+"#"+itoa(int(r.number))+":"+r.data)
			}
			for _, tap := range s.Taps() {
				taps = append(taps, tap.Name)
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("records\n%s, want\n%s", g, c.want)
			}
			if g := strings.Join(taps, ","); g != c.taps {
				t.Errorf("taps %q, want %q", g, c.taps)
			}
		})
	}
}

// Packets that are a little late at the change of files don't split the tap.
func TestRotationSlack(t *testing.T) {
	a := write(t, "a", simplePcap(pkt{0, "a", 0}, pkt{second + 40_000, "late", 0}))
	b := write(t, "b", simplePcap(pkt{second, "b", 0}))
	_, s := readAll(t, Options{}, Input{Path: b}, Input{Path: a})
	if len(s.Taps()) != 1 {
		t.Errorf("%d taps, want 1", len(s.Taps()))
	}
}

// Two interfaces that rotate side by side continue by the likeness of their names.
func TestRotationOfTwo(t *testing.T) {
	dir := t.TempDir()
	var inputs []Input
	for name, packets := range map[string][]pkt{
		"front.1": at("f", 1, 10), "back.1": at("b", 2, 9),
		"front.2": at("f", 20, 30), "back.2": at("b", 19, 29),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, simplePcap(packets...), 0o600); err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, Input{Path: path})
	}
	recs, s := readAll(t, Options{}, inputs...)
	if len(s.Taps()) != 2 {
		t.Errorf("%d taps, want 2", len(s.Taps()))
	}
	for _, r := range recs {
		if want := map[byte]uint32{'f': 0, 'b': 1}[r.data[0]]; r.tap != want {
			t.Errorf("%v, want tap %d", r, want)
		}
	}
}

// The interfaces of a rotated pcapng file are the taps of the file before.
func TestRotationOfPcapng(t *testing.T) {
	a := write(t, "a", simplePcapng("eth0", at("a", 1, 2)...))
	b := write(t, "b", simplePcapng("eth0", at("b", 3)...))
	c := write(t, "c", simplePcapng("eth1", at("c", 4)...))
	_, s := readAll(t, Options{}, Input{Path: a}, Input{Path: b}, Input{Path: c})
	if taps := s.Taps(); len(taps) != 2 || taps[0].Name != "eth0" || taps[0].Received != 3 || taps[1].Name != "eth1" {
		t.Errorf("taps = %+v", s.Taps())
	}
}

// An input that fails ends neither the others nor what it held before.
func TestOneOfSeveralFails(t *testing.T) {
	bad := write(t, "bad", append(simplePcap(at("a", 1)...), make([]byte, 8)...))
	worse := write(t, "worse", append(simplePcap(at("w", 2)...), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...))
	good := write(t, "good", simplePcap(at("b", 1, 3)...))
	s, err := Open([]Input{{"x", bad}, {"y", good}, {"z", worse}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	recs, err := drain(s)
	if len(recs) != 4 || err == io.EOF || !strings.Contains(err.Error(), worse) {
		t.Errorf("%d records, error %v", len(recs), err)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], bad) {
		t.Errorf("warnings %q", w)
	}
	var r Record
	if err := s.Next(&r); err != io.EOF {
		t.Errorf("after the error: %v, want io.EOF", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	good := write(t, "good", simplePcap(at("a", 1)...))
	short := write(t, "short", simplePcap()[:20])
	for name, c := range map[string]struct {
		inputs []Input
		want   string
	}{
		"none":        {nil, "no input"},
		"missing":     {[]Input{{Path: dir + "/no"}}, dir + "/no"},
		"directory":   {[]Input{{Path: dir}}, "is a directory"},
		"stdin twice": {[]Input{{Path: Stdin}, {Path: Stdin}}, "only be read once"},
		"cut header":  {[]Input{{Path: short}}, "at least 4 bytes are missing"},
		"one of two":  {[]Input{{Path: good}, {Path: short}}, short},
	} {
		if _, err := Open(c.inputs, Options{Stdin: strings.NewReader("")}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", name, err, c.want)
		}
	}
	if _, err := Open([]Input{{Path: dir + "/no"}}, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v isn't os.ErrNotExist", err)
	}
}

// Records of many files at once are in order, whatever the heap does.
func TestMergeMany(t *testing.T) {
	var inputs []Input
	for f := range 40 {
		var packets []pkt
		for i := range 50 {
			packets = append(packets, pkt{int64((i*37+f*11)%7+i*7) * 1e6, "x", 0})
		}
		inputs = append(inputs, Input{"tap" + itoa(f), write(t, "capture", simplePcap(packets...))})
	}
	recs, s := readAll(t, Options{}, inputs...)
	if len(recs) != 40*50 || len(s.Taps()) != 40 {
		t.Fatalf("%d records of %d taps", len(recs), len(s.Taps()))
	}
	for i := 1; i < len(recs); i++ {
		if a, b := recs[i-1], recs[i]; a.time > b.time || a.time == b.time && a.tap > b.tap {
			t.Errorf("%v comes before %v", a, b)
		}
	}
}
