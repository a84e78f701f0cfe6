package files

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/culprit-http/culprit/internal/proto"
)

// DefaultTemplate is how tcpflow names files.
const DefaultTemplate = "%A.%a-%B.%b%V%v%C%c"

// codes are what a template may have behind a per cent sign: those of tcpflow.
const codes = "AaBbEeVvTtCc#NKMGS%"

// maxTemplate is the longest template, in bytes. maxElement is the longest name of a file or of a folder that one makes; with what is put
// behind, it has to fit in the 255 bytes that most file systems have.
const (
	maxTemplate = 1024
	maxElement  = 180
)

// Template makes names of half-streams. The codes are tcpflow's:
//
//	%A %a  the sender's address and port      %B %b  the receiver's
//	%E %e  the sender's Ethernet address, the receiver's
//	%V %v  "--" and the number of the VLAN, where there is one
//	%T %t  when the connection began, by ISO 8601 or in seconds since 1970
//	%C %c  "c" and a number, for all but the first connection between the same ends; %# the number for all
//	%N %K %M %G  the number of the half-stream, modulo 1000, and its thousands, millions and billions
//	%S     the number of the connection, in 20 digits
type Template struct {
	// parts are texts and codes by turns, the first a text.
	parts []string
}

// ParseTemplate reads a template. One without a number that tells connections apart gets "%C%c" at its end, as tcpflow does it.
func ParseTemplate(text string) (*Template, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty: want a name such as " + DefaultTemplate)
	case len(text) > maxTemplate:
		return nil, fmt.Errorf("it has more than %d bytes", maxTemplate)
	case strings.ContainsFunc(text, unicode.IsControl):
		return nil, errors.New("there are control characters in it")
	case strings.HasPrefix(text, "/"):
		return nil, errors.New("it begins with a slash, and files are made in the folder of the output only")
	}
	for e := range strings.SplitSeq(text, "/") {
		if e == ".." || e == "." {
			return nil, fmt.Errorf("%s: files are made in the folder of the output only", e)
		}
	}
	t := &Template{}
	numbered := false
	literal := ""
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c != '%':
			literal += text[i : i+1]
		case i+1 == len(text):
			return nil, errors.New("it ends with a per cent sign; one that is meant is written %%")
		case !strings.ContainsRune(codes, rune(text[i+1])):
			return nil, fmt.Errorf("%%%c: there is no such code; there are %s", text[i+1], strings.Join(strings.Split(codes, ""), " "))
		default:
			i++
			if text[i] == '%' {
				literal += "%"
				continue
			}
			numbered = numbered || text[i] == 'c' || text[i] == '#'
			t.parts = append(t.parts, literal, text[i:i+1])
			literal = ""
		}
	}
	if !numbered {
		t.parts = append(t.parts, literal, "C", "", "c")
		literal = ""
	}
	t.parts = append(t.parts, literal)
	return t, nil
}

// append appends the name of what d sends on the nth connection, which is the one after count others of that name.
func (t *Template) append(dst []byte, f *proto.Flow, d proto.Direction, nth uint64, count uint32) []byte {
	half := 2*nth + uint64(d)
	for i, p := range t.parts {
		if i%2 == 0 {
			dst = append(dst, p...)
			continue
		}
		switch p[0] {
		case 'A':
			dst = appendAddr(dst, f, d)
		case 'B':
			dst = appendAddr(dst, f, d.Other())
		case 'a':
			dst = appendDigits(dst, uint64(f.Port[d]), 5)
		case 'b':
			dst = appendDigits(dst, uint64(f.Port[d.Other()]), 5)
			if f.Stream > 0 { // tcpflow doesn't know SCTP
				dst = strconv.AppendUint(append(dst, 's'), uint64(f.Stream), 10)
			}
		case 'E':
			dst = appendMAC(dst, f.MAC[d])
		case 'e':
			dst = appendMAC(dst, f.MAC[d.Other()])
		case 'V':
			if f.VLAN > 0 {
				dst = append(dst, "--"...)
			}
		case 'v':
			if f.VLAN > 0 {
				dst = strconv.AppendUint(dst, uint64(f.VLAN), 10)
			}
		case 'T':
			dst = time.Unix(0, f.First.Time).UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
		case 't':
			dst = strconv.AppendInt(dst, f.First.Time/int64(time.Second), 10)
		case 'C':
			if count > 0 {
				dst = append(dst, 'c')
			}
		case 'c':
			if count > 0 {
				dst = strconv.AppendUint(dst, uint64(count), 10)
			}
		case '#':
			dst = strconv.AppendUint(dst, uint64(count), 10)
		case 'N':
			dst = appendDigits(dst, half%1000, 3)
		case 'K':
			dst = appendDigits(dst, half/1000%1000, 3)
		case 'M':
			dst = appendDigits(dst, half/1000_000%1000, 3)
		case 'G':
			dst = appendDigits(dst, half/1000_000_000%1000, 3)
		case 'S':
			dst = appendDigits(dst, nth, 20)
		}
	}
	return dst
}

// appendDigits appends n with at least that many digits.
func appendDigits(dst []byte, n uint64, digits int) []byte {
	var b [20]byte
	i := len(b)
	for ; n > 0 || len(b)-i < digits; n /= 10 {
		i--
		b[i] = '0' + byte(n%10)
	}
	return append(dst, b[i:]...)
}

// appendAddr appends the address of one end: of IPv4 with three digits for each byte, of IPv6 in its short form.
func appendAddr(dst []byte, f *proto.Flow, d proto.Direction) []byte {
	a := f.Addr[d].Netip()
	if !a.Is4() {
		return a.WithZone("").AppendTo(dst)
	}
	for i, c := range a.As4() {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, '0'+c/100, '0'+c/10%10, '0'+c%10)
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func appendMAC(dst []byte, mac [6]byte) []byte {
	for i, c := range mac {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// tidy makes a path that leads to a file in the folder of what a template gave: empty when there is no name in it. A name that is too long
// ends with a hash of it.
func tidy(b []byte, seedless func([]byte) uint64) string {
	var path strings.Builder
	for e := range strings.SplitSeq(string(b), "/") {
		switch {
		case e == "":
			continue
		case strings.Trim(e, ".") == "": // which would be this folder, or one above
			e = "_" + e
		}
		if len(e) > maxElement {
			e = e[:maxElement-17] + "~" + fmt.Sprintf("%016x", seedless([]byte(e)))
		}
		if path.Len() > 0 {
			path.WriteByte('/')
		}
		path.WriteString(e)
	}
	if len(b) > 0 && b[len(b)-1] == '/' { // a folder's name, and no file's
		return ""
	}
	return path.String()
}

// fnv returns a hash that is the same in every run (http://www.isthe.com/chongo/tech/comp/fnv/, FNV-1a).
func fnv(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// maxTries is how many numbers are tried for a name that nothing else has. No template needs more: names that are taken are counted on from.
const maxTries = 1000

// namer gives names, each once.
type namer struct {
	template *Template
	seed     maphash.Seed
	// taken are hashes of the names that are taken, with the next number for a name that is the same but for it.
	taken map[uint64]uint32
	// suffixes are put behind names: what they make is taken, too.
	suffixes []string
	buf      []byte
}

func newNamer(t *Template, reserved ...string) *namer {
	n := &namer{template: t, seed: maphash.MakeSeed(), taken: map[uint64]uint32{}}
	for _, name := range reserved {
		n.taken[n.hash(name)] = 1
	}
	return n
}

func (n *namer) hash(name string) uint64 { return maphash.String(n.seed, name) }

// name returns the name that the template gives, without looking whether it is taken.
func (n *namer) name(f *proto.Flow, d proto.Direction, nth uint64, count uint32) string {
	n.buf = n.template.append(n.buf[:0], f, d, nth, count)
	return tidy(n.buf, fnv)
}

// free reports whether nothing has a name, nor what is made of it.
func (n *namer) free(name string) bool {
	if _, there := n.taken[n.hash(name)]; name == "" || there {
		return false
	}
	for _, s := range n.suffixes {
		if _, there := n.taken[n.hash(name+s)]; there {
			return false
		}
	}
	return true
}

func (n *namer) take(name string) {
	n.taken[n.hash(name)] = 1
	for _, s := range n.suffixes {
		n.taken[n.hash(name+s)] = 1
	}
}

// pair returns the names of both half-streams of the nth connection, with the same number; empty if there are none to be had.
func (n *namer) pair(f *proto.Flow, nth uint64) (names [2]string) {
	base := [2]string{n.name(f, proto.Originator, nth, 0), n.name(f, proto.Responder, nth, 0)}
	keys := [2]uint64{n.hash(base[0]), n.hash(base[1])}
	count := max(n.taken[keys[0]], n.taken[keys[1]])
	for range maxTries {
		if names = base; count > 0 {
			names = [2]string{n.name(f, proto.Originator, nth, count), n.name(f, proto.Responder, nth, count)}
		}
		count++
		if names[0] == names[1] { // the template has nothing that tells who sends
			names[1] = n.name(f, proto.Responder, nth, count)
			count++
		}
		if n.free(names[0]) && n.free(names[1]) && names[0] != names[1] {
			n.take(names[0])
			n.take(names[1])
			n.taken[keys[0]], n.taken[keys[1]] = count, count
			return names
		}
	}
	return [2]string{}
}
