//go:build linux

// Command databases records the capture databases.pcapng: some seconds of a shop whose application asks MariaDB,
// PostgreSQL, Redis and a name server. README.md tells its story.
//
//	testdata/databases/make.sh
//
// It needs Linux, root, ip(8) and the four servers. Each time it comes out a little different.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// begin is when the story is told to begin, whenever it was recorded.
var begin = time.Date(2026, 11, 16, 9, 0, 0, 0, time.UTC)

func main() {
	os.Exit(lab.Run(func() int {
		folder := flag.String("o", "testdata/databases", "write to `FOLDER`")
		flag.Parse()
		if err := record(*folder); err != nil {
			fmt.Fprintln(os.Stderr, "databases:", err)
			return 1
		}
		return 0
	}))
}

func record(folder string) (err error) {
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := build(l)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "databases-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := n.serve(dir); err != nil {
		return err
	}
	s := &story{network: n}
	if err := s.prepare(); err != nil {
		return err
	}
	recording, err := n.app.Record("lan")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.tell(); err != nil {
		return err
	}
	if err := lab.Settle(n.app, n.data, n.clients); err != nil {
		return err
	}
	pcap, _, err := recording.Stop()
	if err != nil {
		return err
	}
	file, err := compose(pcap, begin.Sub(began))
	if err != nil {
		return err
	}
	truth, err := json.MarshalIndent(&s.counted, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "databases.pcapng"), file, 0o644),
		os.WriteFile(filepath.Join(folder, "expected.json"), append(truth, '\n'), 0o644))
}

// compose makes a pcapng file of a recording, moved in time. Of other packets than those of IPv4 nothing is kept.
func compose(pcap []byte, shift time.Duration) ([]byte, error) {
	const fileHeader, packetHeader, ethernet, linkEthernet = 24, 16, 14, 1
	b := pcapng.AppendSection(nil, pcapng.Section{Application: "testdata/databases"})
	b = pcapng.AppendInterface(b, &capture.Tap{Name: "app", SnapLen: 65535}, linkEthernet)
	for p := pcap[fileHeader:]; len(p) > 0; {
		if len(p) < packetHeader {
			return nil, errors.New("a recording that is cut off")
		}
		seconds, nanoseconds, n := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]), int(binary.LittleEndian.Uint32(p[8:]))
		p = p[packetHeader:]
		if len(p) < n {
			return nil, errors.New("a recording that is cut off")
		}
		frame := p[:n]
		p = p[n:]
		if n < ethernet || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
			continue
		}
		b = pcapng.AppendPacket(b, &pcapng.Packet{Time: int64(seconds)*1e9 + int64(nanoseconds) + int64(shift), Data: frame})
	}
	return b, nil
}
