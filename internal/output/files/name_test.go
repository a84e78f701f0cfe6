package files

import (
	"path"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

func parse(t *testing.T, text string) *Template {
	t.Helper()
	template, err := ParseTemplate(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return template
}

// TestTemplate: each code gives what tcpflow gives for it.
func TestTemplate(t *testing.T) {
	made := func() *proto.Flow {
		f := outputtest.Flow("10.0.0.1:44118", "10.0.0.2:80")
		f.MAC = [2][6]byte{{2, 0, 0x0a, 0, 0, 1}, {2, 0, 0x0a, 0, 0, 0xfe}}
		f.First.Time = 1768473736_999999999
		return f
	}
	f, tagged, streamed := made(), made(), made()
	tagged.VLAN, streamed.Stream = 5, 3
	const all = "%A/%a/E%E-e%e-V%V-v%v-T%T-t%t-C%C-c%c-#%#-N%N-K%K-M%M-G%G-S%S-%%-%B.%b"
	for _, c := range []struct {
		template string
		flow     *proto.Flow
		dir      proto.Direction
		nth      uint64
		count    uint32
		want     string
	}{
		{all, f, 0, 22, 0, "010.000.000.001/44118/E02:00:0a:00:00:01-e02:00:0a:00:00:fe-V-v-T2026-01-15T10:42:16Z-t1768473736-C-c-#0-N044-K000-M000-G000-S00000000000000000022-%-010.000.000.002.00080"},
		{all, tagged, 1, 6_000_617_283, 7, "010.000.000.002/00080/E02:00:0a:00:00:fe-e02:00:0a:00:00:01-V---v5-T2026-01-15T10:42:16Z-t1768473736-Cc-c7-#7-N567-K234-M001-G012-S00000000006000617283-%-010.000.000.001.44118"},
		{DefaultTemplate, f, 0, 0, 0, "010.000.000.001.44118-010.000.000.002.00080"},
		{DefaultTemplate, tagged, 0, 0, 12, "010.000.000.001.44118-010.000.000.002.00080--5c12"},
		{DefaultTemplate, streamed, 0, 0, 1, "010.000.000.001.44118-010.000.000.002.00080s3c1"},
		{"%A", f, 0, 0, 0, "010.000.000.001"},
		{"%A", f, 0, 0, 3, "010.000.000.001c3"},
		{"%A#%#", f, 0, 0, 3, "010.000.000.001#3"},
		{"a%%%%b", f, 0, 0, 1, "a%%bc1"},
		{"%K/%A.%a", f, 1, 1500, 0, "003/010.000.000.002.00080"},
		{"%M000-%M999/%M%K/x", f, 0, 500, 0, "000000-000999/000001/x"},
		{"é/%c", six, 0, 0, 2, "é/2"},
		{"%A.%a", six, 0, 0, 0, "2001:db8::7.00001"},
	} {
		n := newNamer(parse(t, c.template))
		if got := n.name(c.flow, c.dir, c.nth, c.count); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.template, got, c.want)
		}
	}
}

// TestParseTemplate: what can't be a name in the folder is refused, and what is said tells why.
func TestParseTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "%": "ends with a per cent sign", "a%": "ends with", "%x": "%x: there is no such code", "../%A": "..: files are made in the folder",
		"a/../b": "..: files", "./a": ".: files", "/tmp/%A": "begins with a slash", "a\x00": "control", "a\nb": "control", strings.Repeat("a", 1025): "more than 1024",
		"a/..": "..: files",
	} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
}

// TestNames: whatever the template makes of the traffic, each half-stream has a name of its own, in the folder.
func TestNames(t *testing.T) {
	other := outputtest.Flow("10.0.0.3:9", "127.0.0.1:4001")
	for _, c := range []struct {
		template string
		want     []string
	}{
		{"%A", []string{"127.000.000.001", "127.000.000.001c1", "127.000.000.001c2", "127.000.000.001c3", "010.000.000.003c4", "127.000.000.001c4"}},
		{"%A.%a", []string{"127.000.000.001.04001", "127.000.000.001.33378", "127.000.000.001.04001c1", "127.000.000.001.33378c1", "010.000.000.003.00009c2", "127.000.000.001.04001c2"}},
		{"x", []string{"x", "xc1", "xc2", "xc3", "xc4", "xc5"}},
		{"x%C", []string{"x", "xcc1", "xcc2", "xcc3", "xcc4", "xcc5"}},
		{"x%#", []string{"x0", "x1", "x2", "x3", "x4", "x5"}},
		{"%v", []string{"c2", "c3", "c4", "c5", "c6", "c7"}},
		{"%v/%V", []string{"c2", "c3", "c4", "c5", "c6", "c7"}},
		{"%v.%v.%V", []string{"_..", "..c1", "..c2", "..c3", "..c4", "..c5"}},
		{"%v.%v./%#", []string{"_../0", "_../1", "_../2", "_../3", "_../4", "_../5"}},
		{"d/%v", []string{"d/c2", "d/c3", "d/c4", "d/c5", "d/c6", "d/c7"}},
		{"report.xml", []string{"report.xmlc1", "report.xmlc2", "report.xmlc3", "report.xmlc4", "report.xmlc5", "report.xmlc6"}},
		{"missing.tsv%c", []string{"missing.tsv1", "missing.tsv2", "missing.tsv3", "missing.tsv4", "missing.tsv5", "missing.tsv6"}},
		{"report.xml%v/a%#", []string{"report.xml/a0", "report.xml/a1", "report.xml/a2", "report.xml/a3", "report.xml/a4", "report.xml/a5"}},
	} {
		n := newNamer(parse(t, c.template), ReportName, MissingName)
		var got []string
		for i, f := range []*proto.Flow{flow, again, other} {
			names := n.pair(f, uint64(i))
			got = append(got, names[:]...)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s:\ngot  %q\nwant %q", c.template, got, c.want)
		}
	}
}

// TestLongNames: a name too long for a file system is cut, and stays one of its own.
func TestLongNames(t *testing.T) {
	n := newNamer(parse(t, strings.Repeat("x", 300)+"/"+strings.Repeat("y", 300)+"%A.%a"))
	names := n.pair(flow, 0)
	for _, name := range names {
		for e := range strings.SplitSeq(name, "/") {
			if len(e) != maxElement {
				t.Errorf("%s has %d bytes", e, len(e))
			}
		}
	}
	if names[0] == names[1] || path.Dir(names[0]) != path.Dir(names[1]) {
		t.Errorf("got %q", names)
	}
	if again := newNamer(n.template).pair(flow, 0); again != names {
		t.Errorf("the next run gives %q, and not %q", again, names)
	}
}

// TestSuffixes: a name whose index has the name of something else isn't given.
func TestSuffixes(t *testing.T) {
	n := newNamer(parse(t, "%#"))
	n.suffixes = []string{IndexSuffix}
	n.take("0")
	n.taken[n.hash("1.findx")] = 1
	if got := n.pair(flow, 0); got != [2]string{"3", "4"} {
		t.Errorf("got %q", got)
	}
}

// FuzzNames: no template leads out of the folder, or gives a name twice, and the name of no file is too long.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{DefaultTemplate, "%A/%a", "%v/../x", "a//b/%c/", "%V%v..", "%", "%T/%N", "./%#", strings.Repeat("%A", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		template, err := ParseTemplate(text)
		if err != nil {
			return
		}
		n := newNamer(template, ReportName)
		given := map[string]bool{ReportName: true, "": true}
		for i, flow := range []*proto.Flow{flow, again, back, six} {
			for _, name := range n.pair(flow, uint64(i)) {
				if name == "" {
					continue
				}
				if given[name] {
					t.Errorf("%q gives %q twice", text, name)
				}
				given[name] = true
				if path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") && (name == ".." || name[2] == '/') {
					t.Errorf("%q gives %q", text, name)
				}
				for e := range strings.SplitSeq(name, "/") {
					if len(e) > maxElement || e == ".." || e == "." {
						t.Errorf("%q gives %q", text, name)
					}
				}
			}
		}
	})
}

// TestEscape: nothing of the folder is left by what a name says.
func TestEscape(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{Template: parse(t, "%v.%v./%v.%v./%#")})
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a")}); err != nil {
		t.Fatal(err)
	}
	finish(t, o)
	if got := d.contents(t); got["_../_../0"] != "a" {
		t.Errorf("got %q", got)
	}
}
