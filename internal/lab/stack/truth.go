//go:build linux

package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Asked is a request that one hop made of another: by the packet with its first byte, counted from 1, the port that it was sent to, and the id
// of the client's request that it belongs to.
type Asked struct {
	Packet, Port int
	ID           string
}

// truthOf finds all requests in a recording. Each is in one segment. ids are those of the commands to the cache, by port.
func truthOf(pcap []byte, ids map[int][]string) (all []Asked, err error) {
	header := regexp.MustCompile(`(?i)\r\n` + idHeader + `: ([0-9a-f]+)\r\n`)
	comment := regexp.MustCompile(`/\*request_id='([0-9a-f]+)'\*/`)
	done := map[int]int{}
	err = segments(pcap, func(packet, from, to int, payload []byte) error {
		switch {
		case to >= HAProxyPort && to <= AppPort:
			if m := header.FindSubmatch(payload); m != nil {
				all = append(all, Asked{packet, to, string(m[1])})
			}
		case to == MariaDBPort:
			if m := comment.FindSubmatch(payload); m != nil {
				all = append(all, Asked{packet, to, string(m[1])})
			}
		case to == RedisPort && len(payload) > 0:
			n := done[from]
			if n == len(ids[from]) {
				return fmt.Errorf("packet %d: the app knows of %d commands on port %d", packet, n, from)
			}
			all = append(all, Asked{packet, to, ids[from][n]})
			done[from]++
		}
		return nil
	})
	return all, err
}

// segments calls f for each TCP segment of a recording with its packet's number and its ports. The payload may be changed.
func segments(pcap []byte, f func(packet, from, to int, payload []byte) error) error {
	const fileHeader, packetHeader, ether = 24, 16, 14
	number := 0
	for b := pcap[fileHeader:]; len(b) >= packetHeader; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		b = b[packetHeader:]
		if n > len(b) {
			return fmt.Errorf("packet %d is cut off", number+1)
		}
		frame := b[:n]
		b = b[n:]
		number++
		if n < ether+40 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ether+9] != 6 {
			continue
		}
		ip := frame[ether:]
		tcp := ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
		if err := f(number, int(binary.BigEndian.Uint16(tcp)), int(binary.BigEndian.Uint16(tcp[2:])), tcp[int(tcp[12]>>4)*4:]); err != nil {
			return err
		}
	}
	return nil
}

// mask returns a recording in which names and values of ids are as long as they were, and the same everywhere. Checksums are wrong
// afterwards, as they are on the loopback interface.
func mask(pcap []byte) ([]byte, error) {
	pcap = bytes.Clone(pcap)
	kinds := []struct {
		id   *regexp.Regexp
		name string
	}{
		{regexp.MustCompile(`(?i)(x-request-id): ([^\r\n]*)`), "x-nothing-id"},
		{regexp.MustCompile(`(?i)(x-varnish): ([^\r\n]*)`), "x-nothing"},
		{regexp.MustCompile(`(request_id)='([^']*)'`), "nothing_id"},
	}
	err := segments(pcap, func(_, _, _ int, payload []byte) error {
		for _, k := range kinds {
			for _, m := range k.id.FindAllSubmatchIndex(payload, -1) {
				copy(payload[m[2]:m[3]], k.name)
				for i := m[4]; i < m[5]; i++ {
					payload[i] = '0'
				}
			}
		}
		return nil
	})
	return pcap, err
}

func writeTruth(path string, truth []Asked) error {
	var b bytes.Buffer
	for _, a := range truth {
		fmt.Fprintf(&b, "%d\t%d\t%s\n", a.Packet, a.Port, a.ID)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// ReadTruth reads the truth of a folder.
func ReadTruth(path string) (all []Asked, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %q isn't understood", path, line)
		}
		var a Asked
		if a.Packet, err = strconv.Atoi(f[0]); err != nil {
			return nil, err
		}
		if a.Port, err = strconv.Atoi(f[1]); err != nil {
			return nil, err
		}
		a.ID = f[2]
		all = append(all, a)
	}
	return all, nil
}
