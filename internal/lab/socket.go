//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketBuffer is the receive buffer of a packet socket, in bytes, where the system allows it.
const socketBuffer = 32 << 20

// packetSocket is an AF_PACKET socket on one interface, for whole Ethernet frames. Frames that the host sends
// itself aren't received.
type packetSocket struct {
	file  *os.File
	raw   syscall.RawConn
	oob   [128]byte
	iface string
}

// openPacket opens a packet socket in the namespace. One that only sends receives nothing.
func (n *Namespace) openPacket(iface string, receive bool) (*packetSocket, error) {
	s := &packetSocket{iface: iface}
	err := n.Do(func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("a packet socket: %w", err)
		}
		s.file = os.NewFile(uintptr(fd), "packet:"+iface)
		protocol := uint16(0)
		if receive {
			protocol = bigEndian(unix.ETH_P_ALL)
			// A limit of the system may apply to those who aren't root outside.
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
			}
			for _, option := range []int{unix.PACKET_IGNORE_OUTGOING, unix.PACKET_AUXDATA} {
				if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
					return fmt.Errorf("packet socket option %d: %w", option, err)
				}
			}
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: i.Index})
	})
	if err == nil {
		s.raw, err = s.file.SyscallConn()
	}
	if err != nil {
		if s.file != nil {
			s.file.Close()
		}
		return nil, fmt.Errorf("%s in network namespace %s: %w", iface, n.Name, err)
	}
	return s, nil
}

func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// receive reads one frame, with the VLAN tag that the kernel has taken away put back. It waits for one, until
// close. b must have room for the longest frame and vlanLen more.
func (s *packetSocket) receive(b []byte) (frame []byte, err error) {
	var n, oobn int
	e := s.raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), b[vlanLen:], s.oob[:], 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	if e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(s.oob[:oobn])
	if err != nil {
		return nil, err
	}
	return untrim(b, n, messages), nil
}

// untrim returns the frame of n bytes that was read into b behind room for a tag, with the VLAN tag that the kernel
// has taken away put back.
func untrim(b []byte, n int, messages []unix.SocketControlMessage) []byte {
	frame := b[vlanLen : vlanLen+n]
	for _, m := range messages {
		// struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		status := binary.NativeEndian.Uint32(m.Data)
		if status&unix.TP_STATUS_VLAN_VALID == 0 || n < macsLen {
			continue
		}
		tag := Tag{Type: TagVLAN, ID: binary.NativeEndian.Uint16(m.Data[16:])}
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tag.Type = binary.NativeEndian.Uint16(m.Data[18:])
		}
		copy(b, frame[:macsLen])
		frame = b[:vlanLen+n]
		tag.put(frame[macsLen:])
	}
	return frame
}

// send sends one frame. An interface that is down, or full, loses it, as a wire does.
func (s *packetSocket) send(frame []byte) (err error) {
	e := s.raw.Write(func(fd uintptr) bool {
		_, err = unix.Write(int(fd), frame)
		return !errors.Is(err, unix.EAGAIN)
	})
	if e != nil {
		return e
	}
	return err
}

func (s *packetSocket) close() error { return s.file.Close() }
