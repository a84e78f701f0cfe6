//go:build linux

// Command secure records the capture secure.pcapng: some seconds of a small shop that speaks TLS with its clients, most
// of it with the keys to read it. README.md tells its story.
//
//	testdata/secure/make.sh
//
// It needs Linux, ip(8), and root or a system that lets users make namespaces. Each time it comes out a little different.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// begin is when the story is told to begin, whenever it was recorded.
var begin = time.Date(2026, 11, 9, 10, 0, 0, 0, time.UTC)

// delay is that of the link between the clients and the servers, one way.
const delay = 4 * time.Millisecond

func main() {
	os.Exit(lab.Run(func() int {
		folder := flag.String("o", "testdata/secure", "write to `FOLDER`")
		flag.Parse()
		if err := record(*folder); err != nil {
			fmt.Fprintln(os.Stderr, "secure:", err)
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
	recording, err := n.servers.Record("shop")
	if err != nil {
		return err
	}
	keys := &keyLog{}
	s := &story{network: n, keys: keys, began: time.Now()}
	if err := s.serve(); err != nil {
		return err
	}
	if err := s.tell(); err != nil {
		return err
	}
	s.close()
	if err := lab.Settle(n.servers, n.clients); err != nil {
		return err
	}
	pcap, _, err := recording.Stop()
	if err != nil {
		return err
	}
	file, err := compose(pcap, keys.text.Bytes(), begin.Sub(s.began))
	if err != nil {
		return err
	}
	truth, err := json.MarshalIndent(&s.counted, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "secure.pcapng"), file, 0o644),
		os.WriteFile(filepath.Join(folder, "expected.json"), append(truth, '\n'), 0o644))
}

// compose makes a pcapng file of a recording and the keys, moved in time.
func compose(pcap, keys []byte, shift time.Duration) ([]byte, error) {
	const fileHeader, packetHeader, ethernet, tcp, linkEthernet = 24, 16, 14, 6, 1
	b := pcapng.AppendSection(nil, pcapng.Section{Application: "testdata/secure"})
	b = pcapng.AppendInterface(b, &capture.Tap{Name: "shop", SnapLen: 65535}, linkEthernet)
	b = pcapng.AppendSecrets(b, keys)
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
		if n < ethernet+20 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ethernet+9] != tcp {
			continue // ARP
		}
		b = pcapng.AppendPacket(b, &pcapng.Packet{Time: int64(seconds)*1e9 + int64(nanoseconds) + int64(shift), Data: frame})
	}
	return b, nil
}

// keyLog keeps what programs with SSLKEYLOGFILE would write.
type keyLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}
