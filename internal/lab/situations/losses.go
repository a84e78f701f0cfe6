//go:build linux

package situations

import (
	"encoding/binary"
	"sync"
)

// losses say which segments a direction of a link loses, by the client's port.
type losses struct {
	back  bool
	mu    sync.Mutex
	armed map[uint16]*loss
}

// loss is one segment that is to be lost: the one after skip others that carry data, or the next SYN, as often as times says, the first
// time and whenever it is sent again.
type loss struct {
	syn         bool
	skip, times int

	chosen bool
	seq    uint32
	// lost is how often it was.
	lost int
}

// arm tells a loss. It replaces an earlier one of the port.
func (l *losses) arm(port uint16, o loss) *loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.chosen, o.lost = false, 0
	l.armed[port] = &o
	return &o
}

// done returns how often the segment was lost, and forgets it.
func (l *losses) done(port uint16) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.armed[port]
	delete(l.armed, port)
	if o == nil {
		return 0
	}
	return o.lost
}

// lose is a lab.Conditions' Lose.
func (l *losses) lose(frame []byte) bool {
	const ether, tcpProtocol, flagSYN = 14, 6, 2
	if len(frame) < ether+40 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ether+9] != tcpProtocol {
		return false
	}
	ip := frame[ether:]
	header, length := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if len(ip) < length || length < header+20 {
		return false
	}
	tcp := ip[header:length]
	payload := len(tcp) - int(tcp[12]>>4)*4
	port := binary.BigEndian.Uint16(tcp)
	if l.back {
		port = binary.BigEndian.Uint16(tcp[2:])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.armed[port]
	if o == nil || o.lost == o.times {
		return false
	}
	if o.syn {
		if tcp[13]&flagSYN == 0 {
			return false
		}
		o.lost++
		return true
	}
	if payload <= 0 {
		return false
	}
	seq := binary.BigEndian.Uint32(tcp[4:])
	if !o.chosen {
		if o.skip > 0 {
			o.skip--
			return false
		}
		o.chosen, o.seq = true, seq
	}
	// It covers the chosen byte: sent again, it may be of another length.
	if d := int32(o.seq - seq); d < 0 || d >= int32(payload) {
		return false
	}
	o.lost++
	return true
}
