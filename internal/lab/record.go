//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Recording is all packets of an interface from Record to Stop, both ways, as a pcap file: a capture that owes
// nothing to the programs that are tested.
type Recording struct {
	fd     int
	lo     bool
	buf    []byte
	file   bytes.Buffer
	quit   chan struct{}
	done   chan error
	iface  string
	frames int
}

// maxRecording bounds a recording, in bytes.
const maxRecording = 512 << 20

// Record begins to record. VLAN tags are where they were on the wire. The loopback interface carries every packet
// out and in; one of the two is recorded.
func (n *Namespace) Record(iface string) (*Recording, error) {
	r := &Recording{buf: make([]byte, longestFrame), quit: make(chan struct{}), done: make(chan error, 1), iface: iface}
	err := n.Do(func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		r.lo = i.Flags&net.FlagLoopback != 0
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("a packet socket: %w", err)
		}
		if unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4*socketBuffer) != nil {
			_ = unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4*socketBuffer)
		}
		wait := unix.NsecToTimeval(int64(10 * time.Millisecond))
		err = errors.Join(unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
			unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
			unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: i.Index}))
		if err != nil {
			unix.Close(r.fd)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", iface, err)
	}
	// The header of a pcap file with nanoseconds, of Ethernet.
	for _, v := range []uint32{0xa1b23c4d, 4<<16 | 2, 0, 0, longestFrame, 1} {
		r.file.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	go func() { r.done <- r.run() }()
	return r, nil
}

func (r *Recording) run() error {
	defer unix.Close(r.fd)
	oob := make([]byte, 128)
	for ending := false; ; {
		select {
		case <-r.quit:
			ending = true
		default:
		}
		n, oobn, flags, from, err := unix.Recvmsg(r.fd, r.buf[vlanLen:], oob, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN) && ending: // all that came before Stop was called has been read
			return r.lost()
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			return err
		case flags&unix.MSG_TRUNC != 0:
			return fmt.Errorf("a frame of %d bytes", n)
		}
		if a, ok := from.(*unix.SockaddrLinklayer); r.lo && ok && a.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return err
		}
		frame := untrim(r.buf, n, messages)
		if r.file.Len() > maxRecording {
			return fmt.Errorf("more than %d bytes", maxRecording)
		}
		arrival, err := arrivalOf(messages)
		if err != nil {
			return err
		}
		for _, v := range []uint32{uint32(arrival.Unix()), uint32(arrival.Nanosecond()), uint32(len(frame)), uint32(len(frame))} {
			r.file.Write(binary.LittleEndian.AppendUint32(nil, v))
		}
		r.file.Write(frame)
		r.frames++
	}
}

// arrivalOf returns when the kernel saw a packet.
func arrivalOf(messages []unix.SocketControlMessage) (time.Time, error) {
	for _, m := range messages {
		var t unix.Timespec
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && binary.Size(t) <= len(m.Data) {
			if _, err := binary.Decode(m.Data, binary.NativeEndian, &t); err == nil {
				return time.Unix(t.Unix()), nil
			}
		}
	}
	return time.Time{}, errors.New("the kernel gave a packet without its time")
}

// lost returns an error if the socket had no room for a packet.
func (r *Recording) lost() error {
	s, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && s.Drops > 0 {
		err = fmt.Errorf("%d of %d packets were lost", s.Drops, s.Packets)
	}
	return err
}

// Stop ends the recording, and returns it as a pcap file, with how many packets are in it. What was on the wire
// before Stop is in it.
func (r *Recording) Stop() (pcap []byte, packets int, err error) {
	close(r.quit)
	if err := <-r.done; err != nil {
		return nil, 0, fmt.Errorf("recording %s: %w", r.iface, err)
	}
	return r.file.Bytes(), r.frames, nil
}
