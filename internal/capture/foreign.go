package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/firehose"
)

const (
	// foreignSize is how much of a file is looked at to guess what it is, in bytes.
	foreignSize = 512
	// damagedSize is how much of one that nothing else is known of is searched for the fragments of a firehose stream, in bytes: its first
	// ones may be damaged, or cut off.
	damagedSize = 8 << 10
)

const (
	convert  = "convert it with: editcap FILE FILE.pcapng"
	unpack   = "unpack it first"
	anything = "give a pcap, a pcapng, or a firehose stream"
	archives = "give a pcap, a pcapng, or a firehose stream; hops, blame, routes, diff, replay and firehose convert read archives and records"
)

// foreignFiles are files that people give by mistake, by the bytes at an offset.
var foreignFiles = []struct {
	offset int
	magic  string
	what   string
	hint   string
}{
	{0, "snoop\x00\x00\x00", "a Solaris snoop capture", convert},
	{0, "GMBU", "a Microsoft Network Monitor 2 capture", convert},
	{0, "RTSS", "a Microsoft Network Monitor 1 capture", convert},
	{0, "TRSNIFF data    \x1a", "a DOS Sniffer capture", convert},
	{0, "XCP\x00", "a NetXRay or Windows Sniffer capture", convert},
	{0, "ObserverPktBuffe", "a Network Instruments Observer capture", convert},
	{0, "\xab\x01\x00\x1c", "an IXIA capture", convert},
	{0, "\xac\x01\x00\x1c", "an IXIA capture", convert},
	{0, "\x7fELF", "a program", anything},
	{0, "PK\x03\x04", "a zip archive", unpack},
	{0, "BZh", "bzip2 data", unpack},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", unpack},
	{0, "\x1f\x8b", "data compressed twice", unpack},
	{0, "\x28\xb5\x2f\xfd", "data compressed twice", unpack},
	{0, xzMagic, "data compressed twice", unpack},
	{257, "ustar", "a tar archive", unpack},
	{0, "PAR1", "a Parquet file", anything},
	{0, "-----BEGIN ", "a PEM key or certificate", anything},
	{0, "CLIENT_", "a TLS key log", anything},
	{0, "SERVER_", "a TLS key log", anything},
	{0, "# SSL", "a TLS key log", anything},
	{0, "{", "JSON, such as ndjson or HAR", archives},
	{0, "[", "JSON, such as ndjson or HAR", archives},
	{0, "<", "XML or HTML", anything},
}

// openForeign opens a firehose stream, which has no magic number, or says what a file seems to be that is no capture.
func openForeign(rd *reader) (format, error) {
	begin, err := rd.w.available(foreignSize)
	if err == ErrIdle && firehose.Looks(rd.w.buf[rd.w.pos:]) {
		return newFirehose(rd) // which says little at a time
	}
	if err != nil {
		return nil, err
	}
	if firehose.Looks(begin) {
		return newFirehose(rd)
	}
	what, hint, sure := "", anything, false
	switch {
	case len(begin) == 0 && rd.w.err == io.ErrUnexpectedEOF:
		return nil, errors.New("its compressed data is cut off at the beginning")
	case len(begin) == 0:
		return nil, errors.New("it is empty: there is nothing to read")
	case looksERF(begin):
		what, hint = "an Endace ERF capture", convert
	case looksText(begin):
		what = "text"
	}
	for _, f := range foreignFiles {
		if len(begin) > f.offset && strings.HasPrefix(string(begin[f.offset:]), f.magic) {
			what, hint, sure = f.what, f.hint, len(f.magic) > 1
			break
		}
	}
	if !sure {
		more, err := rd.w.available(damagedSize)
		if err == ErrIdle { // what is there must do
			more, err = rd.w.buf[rd.w.pos:], nil
		}
		switch {
		case firehose.Within(more):
			return newFirehose(rd)
		case err != nil:
			return nil, err
		}
	}
	if what == "" {
		return nil, fmt.Errorf("it is no capture that is known (it begins with % x): %s", begin[:min(8, len(begin))], hint)
	}
	return nil, fmt.Errorf("it is no pcap or pcapng capture, it looks like %s: %s", what, hint)
}

// looksERF reports whether b begins with what may be an ERF record, which has no magic: a time between
// 1990 and 2038, a known type, a length that holds its header.
func looksERF(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	seconds, kind, length := binary.LittleEndian.Uint32(b[4:]), b[8]&0x7f, binary.BigEndian.Uint16(b[10:])
	return seconds > 631152000 && seconds < 1<<31 && kind > 0 && kind <= 48 && length > 16
}

func looksText(b []byte) bool {
	if len(b) == foreignSize {
		b = b[:foreignSize-utf8.UTFMax] // the end may cut a character
	}
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t'
	})
}
