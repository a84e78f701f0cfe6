package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tcpflowCaptures are the captures for comparisons with tcpflow.
func tcpflowCaptures(t *testing.T) []string {
	captures := []string{demo}
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Log("only the sample capture: the captures of others aren't here; set CULPRIT_SHARED")
		return captures
	}
	for _, name := range []string{
		"tcpflow/test1.pcap", "arkime/openssl-tls1.pcap", "arkime/postgres-good.pcap", "zeek/tls/tls12-decryption.pcap", "ndpi/http_ipv6.pcap",
		"zeek/var-services-std-ports.pcap", "zeek/redis/pubsub-resp3.pcap",
	} {
		captures = append(captures, filepath.Join(shared, "corpus", "files", name))
	}
	return captures
}

// flowReport is what a report says of a half-stream.
type flowReport struct {
	File, Size, MD5 string
	Attributes      map[string]string
}

// readReport reads a report: what it says of each half-stream, by its ends, and which elements it has, with the names of their attributes.
func readReport(t *testing.T, text []byte, dir string) (flows map[string][]flowReport, elements map[string]bool) {
	t.Helper()
	flows, elements = map[string][]flowReport{}, map[string]bool{}
	var path []string
	var now *flowReport
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return flows, elements
		} else if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			at := strings.Join(path, "/")
			elements[at] = true
			attributes := map[string]string{}
			for _, a := range token.Attr {
				attributes[a.Name.Local] = a.Value
				elements[at+"@"+a.Name.Local] = true
			}
			switch at {
			case "dfxml/configuration/fileobject":
				now = &flowReport{}
			case "dfxml/configuration/fileobject/tcpflow":
				now.Attributes = attributes
			}
		case xml.EndElement:
			if strings.Join(path, "/") == "dfxml/configuration/fileobject" {
				a := now.Attributes
				key := a["src_ipn"] + " " + a["srcport"] + " " + a["dst_ipn"] + " " + a["dstport"]
				flows[key] = append(flows[key], *now)
			}
			path = path[:len(path)-1]
		case xml.CharData:
			switch strings.Join(path, "/") {
			case "dfxml/configuration/fileobject/filename":
				now.File = strings.TrimPrefix(string(token), dir+"/")
			case "dfxml/configuration/fileobject/filesize":
				now.Size = string(token)
			case "dfxml/configuration/fileobject/hashdigest":
				now.MD5 = string(token)
			}
		}
	}
}

// unlike are the elements and attributes of tcpflow's reports that ours don't have, each with its reason.
var unlike = map[string]string{
	"dfxml/configuration/fileobject/tcpflow@out_of_order_count": "it counts what was early, and we what was late or never came",
	"dfxml/summary": "it is of a scanner for wireless networks",
	"dfxml/configuration/fileobject/tcpflow@violations": "it counts retransmissions as such, and we those that differ",
}

// late are half-streams whose indexes differ: tcpflow has what was sent again in the order in which it came, we each byte once.
var late = map[string]bool{
	"010.000.000.002.08000-203.000.113.040.61022": true,
	"074.125.019.104.00080-192.168.001.102.50955": true,
}

// midstream are the half-streams that were under way when the capture began: tcpflow counts their packets from the first with data on, and
// we from where the connection is known.
var midstream = map[string]bool{
	"2a00:1450:4001:803::1017 443 2a00:d40:1:3:7aac:c0ff:fea7:d4c 41776": true,
}

// TestTcpflow: whole connections give the files that tcpflow makes of them, byte by byte, and the indexes, and what its report says of them.
func TestTcpflow(t *testing.T) {
	tcpflow, err := exec.LookPath("tcpflow")
	if err != nil {
		t.Skip("tcpflow isn't installed: apt-get install tcpflow")
	}
	for _, capture := range tcpflowCaptures(t) {
		if _, err := os.Stat(capture); err != nil {
			t.Error(err)
			continue
		}
		ours, theirs := filepath.Join(t.TempDir(), "ours"), t.TempDir()
		var stderr bytes.Buffer
		args := []string{"trace", "-r", capture, "-o", "files=" + ours + "?bodies=no&index=yes&hash=md5", "--ciphertext"}
		if status := run(args, strings.NewReader(""), io.Discard, &stderr); status != 0 && status != exitLossy {
			t.Errorf("%s: exit status %d: %s", capture, status, &stderr)
			continue
		}
		if out, err := exec.Command(tcpflow, "-r", capture, "-o", theirs, "-E", "tcpdemux", "-e", "md5", "-I", "-FM", "-q").CombinedOutput(); err != nil {
			t.Errorf("%s: tcpflow: %v: %s", capture, err, out)
			continue
		}
		got, want := contents(t, ours), contents(t, theirs)
		flows, elements := readReport(t, got["report.xml"], ours)
		theirFlows, theirElements := readReport(t, want["report.xml"], theirs)
		delete(want, "report.xml")
		delete(got, "report.xml")
		if len(want) == 0 {
			t.Errorf("%s: tcpflow finds nothing", capture)
		}
		for name, b := range want {
			if !bytes.Equal(got[name], b) && !late[strings.TrimSuffix(name, ".findx")] {
				t.Errorf("%s: %s has %d bytes, and not the %d of tcpflow's", capture, name, len(got[name]), len(b))
			}
			delete(got, name)
		}
		for name := range got {
			t.Errorf("%s: tcpflow has no %s", capture, name)
		}
		for name := range theirElements {
			if !elements[name] && unlike[name] == "" && !(strings.Contains(name, "@mac_") && strings.Contains(capture, "pubsub-resp3")) {
				t.Errorf("%s: the report has no %s", capture, name)
			}
		}
		for key, all := range theirFlows {
			for i, theirs := range all {
				if i >= len(flows[key]) {
					if theirs.File != "" { // of a connection that carries nothing, ours says nothing
						t.Errorf("%s: the report hasn't got %s", capture, key)
					}
					continue
				}
				ours := flows[key][i]
				if theirs.MD5 == "" {
					ours.MD5 = "" // it leaves some out
				}
				names := []string{"out_of_order_count", "violations"}
				if midstream[key] {
					names = append(names, "startime", "packets", "len")
				}
				if strings.Contains(capture, "pubsub-resp3") { // of a BSD loopback it takes IP headers for those of Ethernet
					names = append(names, "mac_daddr", "mac_saddr")
				}
				for _, name := range names {
					delete(ours.Attributes, name)
					delete(theirs.Attributes, name)
				}
				if ours.File != theirs.File || ours.Size != theirs.Size || ours.MD5 != theirs.MD5 || !maps.Equal(ours.Attributes, theirs.Attributes) {
					t.Errorf("%s: %s: the report has\n%+v, and tcpflow's\n%+v", capture, key, ours, theirs)
				}
			}
		}
	}
}

// TestTcpflowConsole: as tcpflow prints, byte by byte, where no packet came out of order.
func TestTcpflowConsole(t *testing.T) {
	tcpflow, err := exec.LookPath("tcpflow")
	if err != nil {
		t.Skip("tcpflow isn't installed: apt-get install tcpflow")
	}
	for _, options := range []string{"c", "C", "c0", "C0", "cB", "CB", "cs", "cD", "CD", "cD0", "cg", "Cg", "cDg", "CB0"} {
		var stdout, stderr bytes.Buffer
		args := []string{"trace", "-r", demo, "--ciphertext", "-o", "stream?as=tcpflow-" + options, "not host 203.0.113.40"}
		if status := run(args, strings.NewReader(""), &stdout, &stderr); status != 0 {
			t.Fatalf("%s: exit status %d: %s", options, status, &stderr)
		}
		dir := t.TempDir()
		capture, err := filepath.Abs(demo)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command(tcpflow, "-q", "-r", capture, "-"+options, "not host 203.0.113.40")
		command.Dir = dir // it leaves a report
		want, err := command.Output()
		if err != nil || len(want) == 0 {
			t.Fatalf("tcpflow -%s: %v, %d bytes", options, err, len(want))
		}
		if got := stdout.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("-%s: %d bytes, and not the %d of tcpflow's", options, len(got), len(want))
		}
	}
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = b
	}
	return all
}
