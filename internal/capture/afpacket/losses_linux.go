package afpacket

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// losses are what interfaces have lost in all before the kernel could see it, by interface index.
type losses map[int]uint64

const (
	// answerWithin bounds the wait for the kernel's answer, which takes microseconds.
	answerWithin = 100 * time.Millisecond
	// answerSize is larger than what the kernel puts into one message of an answer.
	answerSize = 64 << 10

	// Of struct rtnl_link_stats64 (linux/if_link.h), numbers of 64 bits: packets that the card had no room for.
	// rx_dropped isn't one of them: it also counts packets that a packet socket has seen.
	rxFIFOErrors, rxMissedErrors = 14, 15
)

// since returns how much was lost since the last call, 0 the first time. The sockets are those of one tap. Where
// the counters can't be read, nothing is known to be lost.
func (l losses) since(sockets []*Socket) (lost uint64) {
	if len(sockets) == 0 || sockets[0].Routes == nil {
		return 0
	}
	eachLink(int(sockets[0].Routes.Fd()), sockets[0].Index, func(index int, stats []byte) {
		now := uint64(0)
		for _, field := range [...]int{rxFIFOErrors, rxMissedErrors} {
			if end := 8 * (field + 1); len(stats) >= end {
				now += binary.NativeEndian.Uint64(stats[end-8:])
			}
		}
		if before, known := l[index]; known && now > before {
			lost += now - before
		}
		l[index] = now
	})
	return lost
}

// eachLink asks the kernel for the interface with that index, or for all when it is 0, and calls f with the
// statistics of each (rtnetlink(7), RTM_GETLINK).
func eachLink(fd, index int, f func(index int, stats []byte)) {
	flags := uint16(unix.NLM_F_REQUEST)
	if index == 0 {
		flags |= unix.NLM_F_DUMP
	}
	request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(request[6:], flags)
	sequence := uint32(time.Now().UnixNano()) // tells a late answer from that to this question
	binary.NativeEndian.PutUint32(request[8:], sequence)
	binary.NativeEndian.PutUint32(request[unix.SizeofNlMsghdr+4:], uint32(index))
	wait := unix.NsecToTimeval(answerWithin.Nanoseconds())
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) != nil ||
		unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) != nil {
		return
	}
	answer := make([]byte, answerSize)
	for {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err != nil {
			return
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return
		}
		for i := range messages {
			if messages[i].Header.Seq != sequence {
				continue
			}
			if messages[i].Header.Type != unix.RTM_NEWLINK {
				return // the end, or an error
			}
			attributes, err := syscall.ParseNetlinkRouteAttr(&messages[i])
			if err != nil || len(messages[i].Data) < unix.SizeofIfInfomsg {
				return
			}
			var stats []byte
			sums := false // of others, which are counted themselves
			for _, a := range attributes {
				switch a.Attr.Type {
				case unix.IFLA_STATS64:
					stats = a.Value
				case unix.IFLA_LINKINFO: // the kind is a text in it
					sums = bytes.Contains(a.Value, []byte("bond\x00")) || bytes.Contains(a.Value, []byte("team\x00"))
				}
			}
			if !sums || index != 0 {
				f(int(int32(binary.NativeEndian.Uint32(messages[i].Data[4:]))), stats)
			}
		}
		if index != 0 && len(messages) > 0 && messages[0].Header.Seq == sequence {
			return
		}
	}
}
