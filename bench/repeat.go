package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	pcapHeader   = 24
	recordHeader = 16
	ethernet     = 14
	magicMicro   = 0xa1b2c3d4 // little-endian, microseconds: what the recorded captures are
)

// repeat writes a capture several times over. Each copy begins a second after the end of the one
// before, and its IPv4 addresses are other ones, or a copy's connections would look like
// retransmissions of those before.
func repeat(w io.Writer, path string, times int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(b) < pcapHeader || binary.LittleEndian.Uint32(b) != magicMicro {
		return fmt.Errorf("%s: want a little-endian pcap file in microseconds", path)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if _, err := out.Write(b[:pcapHeader]); err != nil {
		return err
	}
	b = b[pcapHeader:]
	first, last := ^uint32(0), uint32(0)
	err = records(b, func(header, _ []byte) error {
		first = min(first, binary.LittleEndian.Uint32(header))
		last = max(last, binary.LittleEndian.Uint32(header))
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for range times {
		if _, err := out.Write(b); err != nil {
			return err
		}
		records(b, func(header, frame []byte) error { // checked above
			binary.LittleEndian.PutUint32(header, binary.LittleEndian.Uint32(header)+last-first+1)
			readdress(frame)
			return nil
		})
	}
	return out.Flush()
}

func records(b []byte, do func(header, frame []byte) error) error {
	for len(b) > 0 {
		if len(b) < recordHeader {
			return errors.New("the last record is cut")
		}
		end := recordHeader + int(binary.LittleEndian.Uint32(b[8:]))
		if end > len(b) {
			return errors.New("the last record is cut")
		}
		if err := do(b[:recordHeader], b[recordHeader:end]); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}

// readdress adds one to the third byte of both IPv4 addresses. The checksums of IP and TCP lose the
// same as the addresses gain (RFC 1624).
func readdress(frame []byte) {
	const tcp = 6
	if len(frame) < ethernet+20 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return
	}
	ip := frame[ethernet:]
	gained := 0
	for _, at := range [2]int{14, 18} { // third bytes of source and destination: high bytes of words
		gained -= int(ip[at]) << 8
		ip[at]++
		gained += int(ip[at]) << 8
	}
	correct(ip[10:], gained)
	if at := int(ip[0]&15)*4 + 16; ip[9] == tcp && len(ip) >= at+2 {
		correct(ip[at:], gained)
	}
}

func correct(checksum []byte, gained int) {
	sum := int(^binary.BigEndian.Uint16(checksum)) + gained
	for sum < 0 || sum > 0xffff {
		if sum < 0 {
			sum += 0xffff
		} else {
			sum -= 0xffff
		}
	}
	binary.BigEndian.PutUint16(checksum, ^uint16(sum))
}
