package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
)

const (
	// reserve is the room that is kept before each packet, in bytes: for a cooked header and a VLAN tag.
	reserve = 32
	// frameSize only has to divide the block: packets of a TPACKET_V3 ring lie as close as they fit.
	frameSize = 2048
	// maxPacket is more than any packet has.
	maxPacket = 1 << 30
	// classic BPF: the return of a constant.
	retK = 0x06
)

// Open opens a packet socket on an interface, with its ring and its filter. No packet that the filter rejects
// gets into the ring. The error is a fs.ErrPermission when CAP_NET_RAW is missing.
func Open(s Spec) (*Socket, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	facts, loopback, err := look(s.Interface)
	if err != nil {
		return nil, err
	}
	kind := unix.SOCK_RAW
	if facts.Cooked {
		kind = unix.SOCK_DGRAM
	}
	fd, err := packetSocket(s.Interface, kind)
	if err != nil {
		return nil, err
	}
	socket := &Socket{Facts: facts, Packets: os.NewFile(uintptr(fd), "packets of "+s.Interface)}
	if err := socket.prepare(fd, &s, loopback); err != nil {
		socket.Close()
		return nil, fmt.Errorf("%s: %w", s.Interface, err)
	}
	if routes, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err == nil {
		socket.Routes = os.NewFile(uintptr(routes), "routes")
	}
	return socket, nil
}

// packetSocket makes a packet socket that receives nothing yet: it has no protocol before it is bound.
func packetSocket(name string, kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: packet socket: %w", name, err)
	}
	return fd, nil
}

// look finds an interface, and what its packets begin with.
func look(name string) (f Facts, loopback bool, err error) {
	if name == Any {
		return Facts{Link: LinkCooked, Cooked: true}, true, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return f, false, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return f, false, fmt.Errorf("%q can't be the name of an interface: there are %s", name, interfaces())
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return f, false, fmt.Errorf("there is no interface %q here: there are %s", name, interfaces())
	}
	f.Index = int(request.Uint32())
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request); err != nil {
		return f, false, fmt.Errorf("%s: type of the interface: %w", name, err)
	}
	hardware := request.Uint16()
	switch hardware {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		f.Link = LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP:
		f.Link = LinkRaw
	default:
		f.Link, f.Cooked = LinkCooked, true
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err == nil {
		f.Down = request.Uint16()&unix.IFF_UP == 0
	}
	return f, hardware == unix.ARPHRD_LOOPBACK, nil
}

// interfaces lists the interfaces that there are, for messages.
func interfaces() string {
	names := []string{Any}
	all, err := net.Interfaces()
	if err != nil {
		return Any
	}
	for _, i := range all {
		names = append(names, strings.Trim(strconv.Quote(i.Name), `"`)) // anybody may have named it
	}
	return strings.Join(names, ", ")
}

// prepare sets the socket up. It receives nothing before the last step, which sets the filter.
func (socket *Socket) prepare(fd int, s *Spec, loopback bool) error {
	set := func(what string, option, value int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, value); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if err := setFilter(fd, passing(0)); err != nil {
		return fmt.Errorf("attaching a filter: %w", err)
	}
	if err := errors.Join(
		set("TPACKET_V3 (Linux 3.2 or newer)", unix.PACKET_VERSION, unix.TPACKET_V3),
		set("room before packets", unix.PACKET_RESERVE, reserve),
	); err != nil {
		return err
	}
	if s.Hardware {
		if err := set("hardware times", unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE); err != nil {
			return err
		}
	}
	request := unix.TpacketReq3{
		Block_size: uint32(s.Block), Block_nr: uint32(s.Ring / s.Block),
		Frame_size: frameSize, Frame_nr: uint32(s.Ring / frameSize),
		Retire_blk_tov: uint32(s.Retire.Milliseconds()),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("a ring of %d bytes: %w; try a smaller one", s.Ring, err)
	}
	socket.Ring, socket.Block = s.Ring, s.Block
	var prefix []bpf.RawInstruction
	if loopback {
		// The loopback interface shows each packet twice, going out and coming in. The option doesn't hold for a group.
		if s.Interface == Any || s.Fanout != 0 || unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1) != nil {
			var err error
			if prefix, err = withoutOutgoingLoopback(); err != nil {
				return err
			}
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: socket.Index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) // that the interface is down is no error
	if s.Promiscuous {
		request := unix.PacketMreq{Ifindex: int32(socket.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	if s.Fanout != 0 {
		group := s.Fanout | unix.PACKET_FANOUT_HASH<<16
		if s.Fanout == NewGroup {
			group = (unix.PACKET_FANOUT_HASH | unix.PACKET_FANOUT_FLAG_UNIQUEID) << 16
		}
		if err := set("fanout", unix.PACKET_FANOUT, group); err != nil {
			return err
		}
		group, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
		if err != nil {
			return fmt.Errorf("number of the fanout group: %w", err)
		}
		socket.Group = group & 0xffff
	}
	return socket.filter(fd, s, prefix)
}

// filter sets the capture filter: in the kernel if it takes the program.
func (socket *Socket) filter(fd int, s *Spec, prefix []bpf.RawInstruction) error {
	socket.Filtered = true
	if s.Filter != nil {
		program, err := compile(s.Filter, socket.Link, s.SnapLen)
		var refused *pcapfilter.LinkError
		switch {
		case err == nil:
			if err = setFilter(fd, join(prefix, program)); err == nil {
				return nil
			}
			if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("attaching the capture filter: %w", err)
			}
			err = fmt.Errorf("the kernel has no room for its %d instructions (sysctl net.core.optmem_max)", len(program))
		case !errors.As(err, &refused) || !refused.TooLong:
			return err
		}
		socket.Filtered, socket.Unfiltered = false, err.Error()
	}
	length := uint32(math.MaxUint32)
	if s.SnapLen > 0 {
		length = uint32(s.SnapLen)
	}
	if err := setFilter(fd, join(prefix, passing(length))); err != nil {
		return fmt.Errorf("attaching a filter: %w", err)
	}
	return nil
}

// compile makes the program of a filter for sockets whose records have a link type.
func compile(f *pcapfilter.Filter, link capture.LinkType, snapLen int) ([]bpf.RawInstruction, error) {
	if snapLen == 0 {
		snapLen = maxPacket
	}
	program, err := f.Compile(link, pcapfilter.Options{SnapLen: uint32(snapLen), Live: true})
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(program)
}

// passing is the program that passes that many bytes of every packet; 0 rejects all.
func passing(length uint32) []bpf.RawInstruction { return []bpf.RawInstruction{{Op: retK, K: length}} }

// join puts a prefix that falls through to its end before a program.
func join(prefix, program []bpf.RawInstruction) []bpf.RawInstruction {
	return append(prefix[:len(prefix):len(prefix)], program...)
}

// withoutOutgoingLoopback rejects what the loopback interface sends, and goes on to its end with all else.
func withoutOutgoingLoopback() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopbackIndex, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	})
}

// loopbackIndex is the index of lo: the kernel makes it first in each network namespace (LOOPBACK_IFINDEX).
const loopbackIndex = 1

// setFilter replaces the filter of a socket.
func setFilter(fd int, program []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(program))
	for i, p := range program {
		code[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// htons returns the number whose bytes in memory are those of v in the network's order.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
