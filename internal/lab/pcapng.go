package lab

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Tapped is what Recording.Stop returned, with the name of the place.
type Tapped struct {
	Name string
	PCAP []byte
}

// PCAPNGOptions say what becomes of the packets of recordings.
type PCAPNGOptions struct {
	// Shift is added to the times.
	Shift time.Duration
	// Keep, if not nil, says which frames are kept.
	Keep func(frame []byte) bool
	// Keys is a key log of TLS, which gets into the file; see <https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-02.html>.
	Keys []byte
}

// tapFrame is a packet of a tap.
type tapFrame struct {
	tap  int
	time int64 // nanoseconds since 1970
	data []byte
}

// PCAPNG returns recordings as one pcapng file, with an interface for each, in the order of time, and how many packets are in it. One
// recording keeps its order.
func PCAPNG(taps []Tapped, o PCAPNGOptions) (file []byte, packets int, err error) {
	var all []tapFrame
	for i, t := range taps {
		if all, err = tapFrames(all, i, t.PCAP); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	if o.Keep != nil {
		all = slices.DeleteFunc(all, func(f tapFrame) bool { return !o.Keep(f.data) })
	}
	if len(taps) > 1 {
		slices.SortStableFunc(all, func(a, b tapFrame) int { return cmp.Compare(a.time, b.time) })
	}
	b := sectionBlock(nil)
	for _, t := range taps {
		b = interfaceBlock(b, t.Name)
	}
	if len(o.Keys) > 0 {
		b = secretsBlock(b, o.Keys)
	}
	for _, f := range all {
		b = packetBlock(b, f.tap, f.time+int64(o.Shift), f.data)
	}
	return b, len(all), nil
}

// tapFrames appends the packets of a pcap file as Recording makes it: little-endian, with nanoseconds.
func tapFrames(all []tapFrame, tap int, pcap []byte) ([]tapFrame, error) {
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
		all = append(all, tapFrame{tap, int64(seconds)*1e9 + int64(nanoseconds), b[:n]})
		b = b[n:]
	}
	return all, nil
}

// Blocks of pcapng: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.7.

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

func secretsBlock(b, keys []byte) []byte {
	const keyLog = 0x544c534b
	body := binary.LittleEndian.AppendUint32(nil, keyLog)
	body = binary.LittleEndian.AppendUint32(body, uint32(len(keys)))
	return block(b, 10, append(body, keys...))
}

func packetBlock(b []byte, tap int, nanoseconds int64, data []byte) []byte {
	body := binary.LittleEndian.AppendUint32(nil, uint32(tap))
	body = binary.LittleEndian.AppendUint32(body, uint32(uint64(nanoseconds)>>32))
	body = binary.LittleEndian.AppendUint32(body, uint32(nanoseconds))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(data)))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(data)))
	return block(b, 6, append(body, data...))
}
