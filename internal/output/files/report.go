package files

import (
	"bufio"
	"encoding/xml"
	"io"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/proto"
)

// ReportName is the name of the report.
const ReportName = "report.xml"

// Creator is what the report says of who made it.
type Creator struct {
	Program, Version string
	// Build says how the program was built, Execution where and how it runs, each the name of an element and its text.
	Build, Execution []Element
	// Libraries are what it is built with, by name, with their versions.
	Libraries []Element
	// Configuration is how the files were asked for.
	Configuration []Element
	// Usage, if not nil, returns at the end what the run took.
	Usage func() []Element
}

// Element is an element of XML with nothing but text in it.
type Element struct{ Name, Text string }

// Object is a file that was made of what a message carries.
type Object struct {
	// Name is the file's, Size its length in bytes. From is where in the half-stream's file what it is made of begins, negative where
	// that isn't known.
	Name string
	Size int64
	From int64
	// MD5 and SHA256 are its digests in hexadecimal, empty where they weren't asked for.
	MD5, SHA256 string
	// Flow and Dir tell the half-stream.
	Flow *proto.Flow
	Dir  proto.Direction
}

// run is a stretch of a half-stream's file: a hole, or what an object was made of.
type run struct {
	offset, length int64
	object         *Object
}

// report writes the report, as Digital Forensics XML (https://github.com/dfxml-working-group/dfxml_schema) with the elements that
// tcpflow adds to it. Its parts come one after the other, so that it takes no memory.
type report struct {
	creator *Creator
	file    folder.File
	w       *bufio.Writer
	// What the report ends with: half-streams, how many are open, how many were at the most, and packets.
	flows, opened, most, packets uint64
	buf                          []byte
}

// begin makes the report, unless that was done.
func (r *report) begin(in Folder) error {
	if r.w != nil {
		return nil
	}
	f, err := in.Create(ReportName)
	if err != nil {
		return wrap(ReportName, err)
	}
	c := r.creator
	r.file, r.w = f, bufio.NewWriterSize(io.NewOffsetWriter(f, 0), 64<<10)
	r.text("<?xml version='1.0' encoding='UTF-8'?>\n<dfxml xmloutputversion='1.0'>\n" +
		"  <metadata xmlns='http://afflib.org/tcpflow/' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xmlns:dc='http://purl.org/dc/elements/1.1/'>\n" +
		"    <dc:type>Feature Extraction</dc:type>\n  </metadata>\n  <creator version='1.0'>\n")
	r.elements("    ", []Element{{"program", c.Program}, {"version", c.Version}})
	r.text("    <build_environment>\n")
	r.elements("      ", c.Build)
	for _, l := range c.Libraries {
		r.text("      <library name=\"")
		r.escaped(l.Name)
		r.text("\" version=\"")
		r.escaped(l.Text)
		r.text("\"/>\n")
	}
	r.text("    </build_environment>\n    <execution_environment>\n")
	r.elements("      ", c.Execution)
	r.text("    </execution_environment>\n  </creator>\n  <configuration>\n")
	r.elements("    ", c.Configuration)
	r.text("  </configuration>\n  <tdelta>0</tdelta>\n  <configuration>\n")
	return nil
}

// The writer keeps its first error until it is flushed.

func (r *report) text(s string) { _, _ = r.w.WriteString(s) }

// escaped writes what may be anything.
func (r *report) escaped(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '<' || c == '>' || c == '&' || c == '\'' || c == '"' {
			_ = xml.EscapeText(r.w, []byte(s))
			return
		}
	}
	r.text(s) // as nearly all names are
}

func (r *report) elements(indent string, all []Element) {
	for _, e := range all {
		r.element(indent, e.Name, e.Text)
	}
}

func (r *report) element(indent, name, text string) {
	r.text(indent)
	r.text("<")
	r.text(name)
	r.text(">")
	r.escaped(text)
	r.text("</")
	r.text(name)
	r.text(">\n")
}

// attribute writes an attribute, of a name and a value that need no escapes.
func (r *report) attribute(name string, value []byte) {
	r.text(" ")
	r.text(name)
	r.text("='")
	_, _ = r.w.Write(value)
	r.text("'")
}

func (r *report) number(name string, n uint64) {
	r.buf = strconv.AppendUint(r.buf[:0], n, 10)
	r.attribute(name, r.buf)
}

// open counts half-streams that begin.
func (r *report) open(n uint64) {
	r.flows += n
	r.opened += n
	r.most = max(r.most, r.opened)
}

// families are the numbers of the address families, of IPv4 and of IPv6, as Linux has them and tcpflow there.
var families = map[bool]uint64{true: 2, false: 10}

// flow reports what d has sent on a connection that is over.
func (r *report) flow(h *half, c *follow.Chunk, d proto.Direction) {
	f := c.Flow
	r.opened--
	r.text("    <fileobject>\n")
	if h.sheet.made {
		r.element("      ", "filename", h.sheet.name)
	}
	r.element("      ", "filesize", strconv.FormatInt(h.sheet.written, 10))
	facts := &proto.HalfFacts{First: f.First.Time, Last: max(h.last, f.First.Time)}
	if c.Facts != nil && c.Facts[d].Packets > 0 {
		facts = &c.Facts[d]
	}
	r.text("      <tcpflow")
	for _, at := range [...]struct {
		name string
		ns   int64
	}{{"startime", facts.First}, {"endtime", facts.Last}} {
		r.buf = time.Unix(0, at.ns).UTC().AppendFormat(r.buf[:0], "2006-01-02T15:04:05.000000Z")
		r.attribute(at.name, r.buf)
	}
	if facts.MAC != ([12]byte{}) {
		r.buf = appendMAC(r.buf[:0], [6]byte(facts.MAC[:6]))
		r.attribute("mac_daddr", r.buf)
		r.buf = appendMAC(r.buf[:0], [6]byte(facts.MAC[6:]))
		r.attribute("mac_saddr", r.buf)
	}
	r.number("family", families[f.Addr[d].Netip().Is4()])
	for _, end := range [...]struct {
		name string
		d    proto.Direction
	}{{"src_ipn", d}, {"dst_ipn", d.Other()}} {
		r.buf = f.Addr[end.d].Netip().WithZone("").AppendTo(r.buf[:0])
		r.attribute(end.name, r.buf)
	}
	r.number("srcport", uint64(f.Port[d]))
	r.number("dstport", uint64(f.Port[d.Other()]))
	r.packets += facts.Packets
	r.number("packets", facts.Packets)
	if n := uint64(facts.OutOfOrder) + uint64(facts.Gaps); n > 0 {
		r.number("out_of_order_count", n)
	}
	if n := uint64(facts.Overlaps); n > 0 {
		r.number("violations", n)
	}
	r.number("len", facts.Wire)
	if facts.Captured != facts.Wire {
		r.number("caplen", facts.Captured)
	}
	r.text(" />\n")
	if h.sheet.made {
		r.digests("      ", "\n", h.digests.md5sum(), h.digests.sha256sum())
	}
	r.runs(h.runs)
	r.text("    </fileobject>\n")
}

func (r *report) digests(before, behind, md5, sha256 string) {
	for _, d := range [...]struct{ name, value string }{{"MD5", md5}, {"SHA256", sha256}} {
		if d.value != "" {
			r.text(before + "<hashdigest type='" + d.name + "'>" + d.value + "</hashdigest>" + behind)
		}
	}
}

// runs reports the holes of a file, which are filled with zeros, and what objects were made of.
func (r *report) runs(all []run) {
	if len(all) == 0 {
		return
	}
	r.text("      <byte_runs>\n")
	for _, run := range all {
		r.text("        <byte_run")
		if run.offset >= 0 {
			r.number("file_offset", uint64(run.offset))
		}
		if run.object == nil {
			r.number("len", uint64(run.length))
			r.text(" fill='0'/>\n")
			continue
		}
		r.text(">")
		r.object("", run.object)
		r.text("</byte_run>\n")
	}
	r.text("      </byte_runs>\n")
}

// object reports a file that was made of what a message carries.
func (r *report) object(indent string, o *Object) {
	r.text(indent)
	r.text("<fileobject><filename>")
	r.escaped(o.Name)
	r.text("</filename><filesize>")
	r.buf = strconv.AppendInt(r.buf[:0], o.Size, 10)
	_, _ = r.w.Write(r.buf)
	r.text("</filesize>")
	r.digests("", "", o.MD5, o.SHA256)
	r.text("</fileobject>")
}

// end writes what the report ends with.
func (r *report) end() error {
	r.text("  </configuration>\n")
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	r.elements("  ", []Element{
		{"open_fds_at_end", "0"}, {"max_open_flows", count(r.most)}, {"total_flows", count(r.flows)}, {"flow_map_size", count(r.opened)}, {"total_packets", count(r.packets)},
	})
	if r.creator.Usage != nil {
		r.text("  <rusage>\n")
		r.elements("    ", r.creator.Usage())
		r.text("  </rusage>\n")
	}
	r.text("</dfxml>\n")
	return r.w.Flush()
}
