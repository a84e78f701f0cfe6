package files

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// wellFormed fails unless text is one XML document.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		switch _, err := d.Token(); err {
		case nil:
		case io.EOF:
			return
		default:
			t.Errorf("%v:\n%.2000s", err, text)
			return
		}
	}
}

// TestReport: the report says of each half-stream what tcpflow's does, and of holes and objects where they are.
func TestReport(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{MD5: true, SHA256: true, Report: &Creator{
		Program: "CULPRIT", Version: "<1>", Build: []Element{{"compiler", "go & co"}}, Execution: []Element{{"uid", "0"}}, Libraries: []Element{{"a\"b", "v1"}},
		Configuration: []Element{{"index", "no"}}, Usage: func() []Element { return []Element{{"utime", "0.1"}} },
	}})
	f := outputtest.Flow("10.0.0.1:44118", "10.0.0.2:80")
	over := []follow.Chunk{{Flow: f, Dir: proto.Responder, Close: proto.Finished, Over: true, Facts: &[2]proto.HalfFacts{
		{Packets: 5, Wire: 423, Captured: 423, First: 1768473727_505110999, Last: 1768473727_506712000, OutOfOrder: 1, Gaps: 2, Overlaps: 4, MAC: [12]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}},
		{Packets: 3, Wire: 351, Captured: 100, First: 1768473727_505190000, Last: 1768473727_506491000, MAC: [12]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}},
	}}}
	if err := o.Chunks([]follow.Chunk{data(f, 0, "abc"), {Flow: f, Gap: 2}, data(f, 0, "d")}); err != nil {
		t.Fatal(err)
	}
	o.Kept(Object{Name: "a&b", Size: 7, From: 3, MD5: "00", SHA256: "11", Flow: f, Dir: proto.Originator})
	o.Kept(Object{Name: "part", Size: 1, From: -1, Flow: f, Dir: proto.Originator})
	o.Kept(Object{Name: "late", Size: 8, From: 3, Flow: again})
	if err := o.Chunks(over); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := d.contents(t)[ReportName]
	wellFormed(t, got)
	const want = `<?xml version='1.0' encoding='UTF-8'?>
<dfxml xmloutputversion='1.0'>
  <metadata xmlns='http://afflib.org/tcpflow/' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xmlns:dc='http://purl.org/dc/elements/1.1/'>
    <dc:type>Feature Extraction</dc:type>
  </metadata>
  <creator version='1.0'>
    <program>CULPRIT</program>
    <version>&lt;1&gt;</version>
    <build_environment>
      <compiler>go &amp; co</compiler>
      <library name="a&#34;b" version="v1"/>
    </build_environment>
    <execution_environment>
      <uid>0</uid>
    </execution_environment>
  </creator>
  <configuration>
    <index>no</index>
  </configuration>
  <tdelta>0</tdelta>
  <configuration>
    <fileobject><filename>late</filename><filesize>8</filesize></fileobject>
    <fileobject>
      <filename>010.000.000.001.44118-010.000.000.002.00080</filename>
      <filesize>6</filesize>
      <tcpflow startime='2026-01-15T10:42:07.505110Z' endtime='2026-01-15T10:42:07.506712Z' mac_daddr='02:00:00:00:00:02' mac_saddr='02:00:00:00:00:01' family='2' src_ipn='10.0.0.1' dst_ipn='10.0.0.2' srcport='44118' dstport='80' packets='5' out_of_order_count='3' violations='4' len='423' />
      <hashdigest type='MD5'>e364557d2c940abac8da3aac8ab3578a</hashdigest>
      <hashdigest type='SHA256'>31275efe59400b536189794693e3eb6a0e4af62bd09325a9fa18a7aacfe2c591</hashdigest>
      <byte_runs>
        <byte_run file_offset='3' len='2' fill='0'/>
        <byte_run file_offset='3'><fileobject><filename>a&amp;b</filename><filesize>7</filesize><hashdigest type='MD5'>00</hashdigest><hashdigest type='SHA256'>11</hashdigest></fileobject></byte_run>
        <byte_run><fileobject><filename>part</filename><filesize>1</filesize></fileobject></byte_run>
      </byte_runs>
    </fileobject>
    <fileobject>
      <filesize>0</filesize>
      <tcpflow startime='2026-01-15T10:42:07.505190Z' endtime='2026-01-15T10:42:07.506491Z' mac_daddr='02:00:00:00:00:01' mac_saddr='02:00:00:00:00:02' family='2' src_ipn='10.0.0.2' dst_ipn='10.0.0.1' srcport='80' dstport='44118' packets='3' len='351' caplen='100' />
    </fileobject>
  </configuration>
  <open_fds_at_end>0</open_fds_at_end>
  <max_open_flows>2</max_open_flows>
  <total_flows>2</total_flows>
  <flow_map_size>0</flow_map_size>
  <total_packets>8</total_packets>
  <rusage>
    <utime>0.1</utime>
  </rusage>
</dfxml>
`
	if got != want {
		t.Errorf("got:\n%s", got)
		for i, line := range strings.Split(got, "\n") {
			if w := strings.Split(want, "\n"); i >= len(w) || w[i] != line {
				t.Fatalf("first at line %d: %s", i+1, line)
			}
		}
	}
}

// TestManyRuns: of more objects than are kept with a half-stream the report has the rest by themselves.
func TestManyRuns(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{Report: &Creator{}})
	o.maxRuns = 2
	if err := o.Chunks([]follow.Chunk{data(flow, 0, "a"), gap(1), data(flow, 0, "a")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second", "third"} {
		o.Kept(Object{Name: name, Flow: flow})
	}
	if err := o.Chunks([]follow.Chunk{gap(1)}); err != nil {
		t.Fatal(err)
	}
	finish(t, o)
	got := d.contents(t)[ReportName]
	wellFormed(t, got)
	if strings.Count(got, "<byte_run ") != 2 || strings.Count(got, "    <fileobject><filename>") != 2 || !strings.Contains(got, ">third<") {
		t.Errorf("got:\n%s", got)
	}
}

// TestEmptyReport: a run in which nothing was seen has a report, too.
func TestEmptyReport(t *testing.T) {
	d := newDir(t, t.TempDir())
	o := d.output(t, Options{Report: &Creator{}})
	if got := d.contents(t); len(got) > 0 {
		t.Errorf("before it has begun, there is %q", got)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := d.contents(t)[ReportName]
	if wellFormed(t, got); !strings.Contains(got, "<total_flows>0<") {
		t.Errorf("got %s", got)
	}
}

// FuzzReport: whatever things are called, the report is well-formed.
func FuzzReport(f *testing.F) {
	f.Add("a'b\"<&>", "]]>")
	f.Add("\x00\xff\ufffe", "\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		d := newDir(t, t.TempDir())
		o := d.output(t, Options{MD5: true, Report: &Creator{Program: text, Execution: []Element{{"host", name}}, Libraries: []Element{{name, text}}}})
		if err := o.Chunks([]follow.Chunk{data(flow, 0, text)}); err != nil {
			t.Fatal(err)
		}
		o.Kept(Object{Name: name, Flow: flow})
		o.Kept(Object{Name: text})
		finish(t, o)
		wellFormed(t, d.contents(t)[ReportName])
	})
}
