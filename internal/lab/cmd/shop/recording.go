//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// frame is a packet of a tap.
type frame struct {
	tap  int
	time int64 // nanoseconds since 1970
	data []byte
}

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

// frames reads the packets of a pcap file as package lab records it: little-endian, with nanoseconds.
func frames(tap int, pcap []byte) (all []frame, err error) {
	const fileHeader, packetHeader = 24, 16
	if len(pcap) < fileHeader {
		return nil, errors.New("a recording without a header")
	}
	for b := pcap[fileHeader:]; len(b) > 0; {
		if len(b) < packetHeader {
			return nil, errors.New("a recording that is cut off")
		}
		seconds, nanoseconds, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int(binary.LittleEndian.Uint32(b[8:]))
		b = b[packetHeader:]
		if len(b) < n {
			return nil, errors.New("a recording that is cut off")
		}
		if isTCP(b[:n]) {
			all = append(all, frame{tap, int64(seconds)*1e9 + int64(nanoseconds), b[:n]})
		}
		b = b[n:]
	}
	return all, nil
}

// writeCapture writes the recordings of the taps to a pcapng file, in order and moved in time. It returns the file's
// size and how many packets are in it.
func writeCapture(path string, recordings [][]byte, shift time.Duration) (size, packets int, err error) {
	var all []frame
	for i, pcap := range recordings {
		f, err := frames(i, pcap)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", tapNames[i], err)
		}
		all = append(all, f...)
	}
	slices.SortStableFunc(all, func(a, b frame) int { return cmp.Compare(a.time, b.time) })
	b := sectionBlock(nil)
	for _, name := range tapNames {
		b = interfaceBlock(b, name)
	}
	for _, f := range all {
		b = packetBlock(b, f.tap, f.time+int64(shift), f.data)
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
	return int(info.Size()), len(all), nil
}

// Blocks of pcapng: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3.

func block(b []byte, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(12 + len(body))
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, n)
}

func option(b []byte, code uint16, value string) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

const endOfOptions = 0

func sectionBlock(b []byte) []byte {
	body := binary.LittleEndian.AppendUint32(nil, 0x1a2b3c4d)
	body = binary.LittleEndian.AppendUint16(body, 1)
	body = binary.LittleEndian.AppendUint16(body, 0)
	body = binary.LittleEndian.AppendUint64(body, ^uint64(0)) // of unknown length
	return block(b, 0x0a0d0d0a, body)
}

func interfaceBlock(b []byte, name string) []byte {
	const ethernet, nameOption, resolution = 1, 2, 9
	body := binary.LittleEndian.AppendUint16(nil, ethernet)
	body = binary.LittleEndian.AppendUint16(body, 0)
	body = binary.LittleEndian.AppendUint32(body, 0) // any length
	body = option(body, nameOption, name)
	body = option(body, resolution, "\x09") // nanoseconds
	body = option(body, endOfOptions, "")
	return block(b, 1, body)
}

func packetBlock(b []byte, tap int, nanoseconds int64, data []byte) []byte {
	body := binary.LittleEndian.AppendUint32(nil, uint32(tap))
	body = binary.LittleEndian.AppendUint32(body, uint32(uint64(nanoseconds)>>32))
	body = binary.LittleEndian.AppendUint32(body, uint32(nanoseconds))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(data)))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(data)))
	return block(b, 6, append(body, data...))
}
