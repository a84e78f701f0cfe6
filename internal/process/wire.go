package process

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/culprit-http/culprit/internal/exchange"
)

// MaxMessage bounds requests and replies between processes, in bytes.
const MaxMessage = 60 << 10

// A request is the number of wants in one byte, 0 for Blind, and then the wants, all numbers little endian:
//
//	inode 8, listener 8, uid 4, flags 1 (recheck, listening)
//
// A reply to wants is the number of processes in one byte, the processes, and for each want one byte: the number of its
// process from 1, 0 for none, or later. A process is its id in 4 bytes and its texts, each with its length in 2 bytes:
// name, executable, user, container, pod, unit, and then the number of arguments in 2 bytes and the arguments.
// A reply to Blind is two counts in 4 bytes each, and the missing capabilities like arguments.
const (
	wantSize    = 21
	answerLater = 255
	maxMissing  = 16

	flagRecheck   = 1
	flagListening = 2
)

var errMessage = errors.New("malformed message about the holders of sockets")

// Serve answers one request of a Remote. The request is checked: it may come from a process with less rights. It
// can ask about any socket, and learns what is in exchange.Process of its holders.
func Serve(o Owners, request []byte) (reply []byte, err error) {
	if len(request) == 0 || len(request) != 1+int(request[0])*wantSize || request[0] > MaxWants {
		return nil, errMessage
	}
	if request[0] == 0 {
		b, err := o.Blind()
		if err != nil {
			return nil, err
		}
		return appendBlind(nil, b), nil
	}
	wants := make([]Want, request[0])
	for i := range wants {
		b := request[1+i*wantSize:]
		wants[i] = Want{
			Inode: binary.LittleEndian.Uint64(b), Listener: binary.LittleEndian.Uint64(b[8:]),
			UID: binary.LittleEndian.Uint32(b[16:]), Recheck: b[20]&flagRecheck != 0, Listening: b[20]&flagListening != 0,
		}
	}
	answers, err := o.Owners(wants)
	if err != nil {
		return nil, err
	}
	return appendAnswers(nil, answers), nil
}

// Remote is an Owners in another process: call carries a request there, where Serve answers it.
type Remote struct {
	call func(request []byte) (reply []byte, err error)
}

// NewRemote returns a Remote. call may be called from any goroutine.
func NewRemote(call func(request []byte) (reply []byte, err error)) *Remote { return &Remote{call} }

// Owners asks the other process.
func (r *Remote) Owners(wants []Want) ([]Answer, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	wants = wants[:min(len(wants), MaxWants)]
	b := make([]byte, 1, 1+len(wants)*wantSize)
	b[0] = byte(len(wants))
	for _, w := range wants {
		b = binary.LittleEndian.AppendUint64(b, w.Inode)
		b = binary.LittleEndian.AppendUint64(b, w.Listener)
		b = binary.LittleEndian.AppendUint32(b, w.UID)
		flags := byte(0)
		if w.Recheck {
			flags |= flagRecheck
		}
		if w.Listening {
			flags |= flagListening
		}
		b = append(b, flags)
	}
	reply, err := r.call(b)
	if err != nil {
		return nil, fmt.Errorf("looking up the holders of sockets: %w", err)
	}
	return parseAnswers(reply, len(wants))
}

// Blind asks the other process.
func (r *Remote) Blind() (Blind, error) {
	reply, err := r.call([]byte{0})
	if err != nil {
		return Blind{}, fmt.Errorf("looking up the holders of sockets: %w", err)
	}
	return parseBlind(reply)
}

// appendAnswers encodes answers. A process that has no room in the message is left for later; long command lines are
// what takes room.
func appendAnswers(b []byte, answers []Answer) []byte {
	at := map[*exchange.Process]byte{}
	which := make([]byte, len(answers))
	b = append(b, 0)
	for i, a := range answers {
		switch {
		case a.Later:
			which[i] = answerLater
		case a.Process == nil:
		case at[a.Process] > 0:
			which[i] = at[a.Process]
		default:
			with := appendProcess(b, a.Process)
			if len(with)+len(answers) > MaxMessage {
				which[i] = answerLater
				continue
			}
			b = with
			at[a.Process] = byte(len(at) + 1)
			which[i] = at[a.Process]
		}
	}
	b[0] = byte(len(at))
	return append(b, which...)
}

func appendProcess(b []byte, p *exchange.Process) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(p.PID))
	for _, s := range [...]string{p.Name, p.Executable, p.User, p.ContainerID, p.PodUID, p.Unit} {
		b = appendText(b, s)
	}
	return appendTexts(b, p.Args)
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxPath)]
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendTexts(b []byte, all []string) []byte {
	all = all[:min(len(all), maxArgs)]
	b = binary.LittleEndian.AppendUint16(b, uint16(len(all)))
	for _, s := range all {
		b = appendText(b, s)
	}
	return b
}

func parseAnswers(b []byte, wants int) ([]Answer, error) {
	r := wireReader{b: b, ok: len(b) <= MaxMessage}
	processes := make([]*exchange.Process, min(r.byte(), MaxWants))
	for i := range processes {
		processes[i] = r.process()
	}
	if !r.ok || len(r.b) != wants {
		return nil, errMessage
	}
	answers := make([]Answer, wants)
	for i, n := range r.b {
		switch {
		case n == answerLater:
			answers[i].Later = true
		case int(n) > len(processes):
			return nil, errMessage
		case n > 0:
			answers[i].Process = processes[n-1]
		}
	}
	return answers, nil
}

func appendBlind(b []byte, x Blind) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(x.Processes))
	b = binary.LittleEndian.AppendUint32(b, uint32(x.Seen))
	return appendTexts(b, x.Missing[:min(len(x.Missing), maxMissing)])
}

func parseBlind(b []byte) (Blind, error) {
	r := wireReader{b: b, ok: len(b) <= MaxMessage}
	x := Blind{Processes: int(r.uint32()), Seen: int(r.uint32()), Missing: r.texts(maxMissing)}
	if !r.ok || len(r.b) != 0 {
		return Blind{}, errMessage
	}
	return x, nil
}

// wireReader takes values off b; ok becomes false, and values zero, when b is too short.
type wireReader struct {
	b  []byte
	ok bool
}

func (r *wireReader) take(n int) []byte {
	if !r.ok || n > len(r.b) {
		r.ok = false
		return make([]byte, min(n, 4))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) byte() int      { return int(r.take(1)[0]) }
func (r *wireReader) uint16() int    { return int(binary.LittleEndian.Uint16(r.take(2))) }
func (r *wireReader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

func (r *wireReader) uint64() uint64 {
	low := uint64(r.uint32())
	return low | uint64(r.uint32())<<32
}

func (r *wireReader) process() *exchange.Process {
	p := &exchange.Process{PID: int(int32(r.uint32()))}
	for _, s := range [...]*string{&p.Name, &p.Executable, &p.User, &p.ContainerID, &p.PodUID, &p.Unit} {
		*s = r.text()
	}
	p.Args = r.texts(maxArgs)
	return p
}

func (r *wireReader) text() string {
	n := r.uint16()
	if b := r.take(n); r.ok {
		return string(b)
	}
	return ""
}

func (r *wireReader) texts(limit int) (all []string) {
	n := r.uint16()
	if n > limit {
		r.ok = false
	}
	for range n {
		if !r.ok {
			return nil
		}
		all = append(all, r.text())
	}
	return all
}
