package packets

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/packet"
)

// scanSize is how much of a file is read at a time, in bytes.
const scanSize = 256 << 10

// scan gives the blocks of a file to do, each borrowed until return, and returns where the last whole one ends: what
// lies behind was torn, or is no block. An error is one of reading.
func scan(r io.Reader, do func(at int64, block []byte) bool) (end int64, err error) {
	buf := make([]byte, 0, scanSize)
	from, at := 0, int64(0) // of the next block: in buf, and in the file
	for {
		b := buf[from:]
		want := 8
		if len(b) >= want {
			n := blockLength(b)
			if n == 0 || at == 0 && binary.LittleEndian.Uint32(b) != blockSection {
				return at, nil
			}
			if want = n; len(b) >= n {
				if !sound(b[:n]) || !do(at, b[:n]) {
					return at, nil
				}
				from, at = from+n, at+int64(n)
				continue
			}
		}
		if from+want > cap(buf) {
			next := buf[:0]
			if want > cap(buf) {
				next = make([]byte, 0, want)
			}
			buf, from = append(next, b...), 0
		}
		n, err := io.ReadAtLeast(r, buf[len(buf):cap(buf)], from+want-len(buf))
		buf = buf[:len(buf)+n]
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			if len(buf)-from >= want {
				continue
			}
			return at, nil
		}
		if err != nil {
			return at, err
		}
	}
}

// contents is what a file holds, as read from the file itself.
type contents struct {
	summary
	ifaces  []iface
	entries []entry
}

// maxIfaces is how many interfaces a file may have.
const maxIfaces = 4096

// addIface notes an interface; ok: there is room.
func addIface(all []iface, f iface) ([]iface, bool) {
	if len(all) == maxIfaces {
		return all, false
	}
	for i := range all {
		if string(all[i].block) == string(f.block) {
			f.nth++
		}
	}
	return append(all, f), true
}

// read reads a file from its beginning, and finds out what its index has to say. Packets whose connection isn't known,
// such as fragments of a datagram that isn't there as a whole, are in no index.
func read(r io.Reader) (c contents, err error) {
	d := decoder{decoder: packet.NewDecoder(packet.DefaultLimits())}
	held := 0 // entries at the end that wait for the rest of their datagram
	c.length, err = scan(r, func(at int64, block []byte) bool {
		switch binary.LittleEndian.Uint32(block) {
		case blockSection:
			return at == 0 && len(block) >= 28 && binary.LittleEndian.Uint32(block[8:]) == byteOrderMagic
		case blockInterface:
			f, ok := parseInterface(block)
			if f.at = uint32(at / unit); ok {
				c.ifaces, ok = addIface(c.ifaces, f)
			}
			return ok
		case blockPacket:
			p, ok := parsePacket(block)
			if !ok || int(p.iface) >= len(c.ifaces) || at/unit > 1<<32-1 {
				return false
			}
			c.note(p.time)
			f := &c.ifaces[p.iface]
			e := entry{time: p.time, at: uint32(at / unit)}
			result := d.decode(&p, f.link)
			switch result {
			case packet.Held:
				c.entries = append(c.entries, e)
				held++
			case packet.Decoded, packet.ICMPError:
				e.hash, e.control = hashOf(f.hash, &d.key), result == packet.Decoded && control(&d.packet)
				c.entries = append(c.entries, e)
				for i := len(c.entries) - 1 - held; i < len(c.entries)-1; i++ {
					c.entries[i].hash, c.entries[i].control = e.hash, e.control
				}
				held = 0
			default:
				c.entries = c.entries[:len(c.entries)-held]
				held = 0
			}
		}
		return true
	})
	c.entries = c.entries[:len(c.entries)-held]
	if err != nil {
		return c, fmt.Errorf("reading kept packets: %w", err)
	}
	return c, nil
}

// decoder decodes kept packets. Of an ICMP error, key is the flow that it is about.
type decoder struct {
	decoder *packet.Decoder
	record  capture.Record
	packet  packet.Packet
	key     packet.Flow
	fromLo  bool
}

func (d *decoder) decode(p *stored, link capture.LinkType) packet.Result {
	d.record = capture.Record{Time: p.time, Number: p.id, Data: p.data, WireLen: p.wire, Link: link}
	result := d.decoder.Decode(&d.packet, &d.record)
	if result == packet.Decoded || result == packet.ICMPError {
		d.key, d.fromLo = d.packet.Key()
	}
	return result
}

// The chunks of SCTP (RFC 9260 §3.2) that tell what a packet is for.
const (
	sctpData  = 0
	sctpInit  = 1
	sctpIData = 64 // RFC 8260 §2.1
)

// sctpControl are the chunks that open or close an association: INIT and its ACK, COOKIE ECHO and its ACK, ABORT,
// SHUTDOWN, its ACK, and SHUTDOWN COMPLETE.
const sctpControl = 1<<1 | 1<<2 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11 | 1<<14

// firstChunk returns the type of the first chunk of an SCTP packet; one without any looks like data.
func firstChunk(p *packet.Packet) byte {
	if len(p.Payload) == 0 {
		return sctpData
	}
	return p.Payload[0]
}

// control reports whether a packet opens or closes its connection.
func control(p *packet.Packet) bool {
	switch p.Proto {
	case packet.ProtoTCP:
		return p.Flags&(packet.SYN|packet.FIN|packet.RST) != 0
	case packet.ProtoUDP:
		return false
	}
	c := firstChunk(p)
	return c < 16 && sctpControl>>c&1 != 0
}
