//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// isTCP reports whether an Ethernet frame is kept: TCP over IPv4 or IPv6.
func isTCP(b []byte) bool {
	const header, tcp = 14, 6
	if len(b) < header+20 {
		return false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0800:
		return b[header+9] == tcp
	case 0x86dd:
		return b[header+6] == tcp
	}
	return false
}

// writeCapture writes the recordings of the taps to a pcapng file, in order and moved in time. It returns the file's
// size and how many packets are in it.
func writeCapture(path string, recordings [][]byte, shift time.Duration) (size, packets int, err error) {
	var taps []lab.Tapped
	for i, pcap := range recordings {
		taps = append(taps, lab.Tapped{Name: tapNames[i], PCAP: pcap})
	}
	b, packets, err := lab.PCAPNG(taps, lab.PCAPNGOptions{Shift: shift, Keep: isTCP})
	if err != nil {
		return 0, 0, err
	}
	zstd, err := lab.Program("zstd")
	if err != nil {
		return 0, 0, err
	}
	// The same pages and pictures come again and again, through the whole story: --long.
	cmd := exec.Command(zstd, "-19", "--long=26", "--quiet", "--force", "-o", path)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(b), os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("zstd: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	return int(info.Size()), packets, nil
}
