package capture

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/culprit-http/culprit/internal/firehose"
)

// SideFile is what the name of a firehose stream is followed by in that of the file which says whose connections it holds: a JSON object a
// line, with a UUID and the addresses of client and server.
const SideFile = ".connections.ndjson"

// Made-up addresses, of the networks for documentation (RFC 5737): one server, and clients with as many ports each, which come again after
// all of them.
var (
	madeUpServer  = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 1}), 80)
	madeUpClients = [3]byte{192, 0, 2}
)

const (
	clientsMadeUp = 254
	firstPort     = 10_000
	portsMadeUp   = 50_000

	// maxKnownEnds is how many addresses are kept that weren't asked for yet; maxSideLine the longest line of a side file, in bytes.
	maxKnownEnds = 1 << 16
	maxSideLine  = 64 << 10
)

// ends are the addresses of a conversation.
type ends struct{ client, server netip.AddrPort }

// addresses knows the addresses of conversations, or makes them up.
type addresses struct {
	files []*sideFile
	known map[firehose.UUID]ends
	// order is that in which known ones were read.
	order []firehose.UUID
	// next counts those that were made up; made as well, for messages.
	next, made uint64
}

// sideFile is read as far as was needed. It may grow.
type sideFile struct {
	path   string
	offset int64
	rest   []byte
	broken bool
}

// from adds the side file of a stream, if there is one.
func (a *addresses) from(path string) {
	if path != "" && path != Stdin {
		a.files = append(a.files, &sideFile{path: path + SideFile})
	}
}

// of returns the addresses of a conversation.
func (a *addresses) of(u firehose.UUID) (client, server netip.AddrPort) {
	if e, ok := a.find(u); ok {
		return e.client, e.server
	}
	n := a.next
	a.next++
	a.made++
	host := byte(1 + n/portsMadeUp%clientsMadeUp)
	client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{madeUpClients[0], madeUpClients[1], madeUpClients[2], host}), uint16(firstPort+n%portsMadeUp))
	return client, madeUpServer
}

// find looks for the addresses in what was read of the side files, and then further on in them.
func (a *addresses) find(u firehose.UUID) (ends, bool) {
	if e, ok := a.known[u]; ok {
		delete(a.known, u)
		return e, true
	}
	for _, f := range a.files {
		for f.read(a) {
			if e, ok := a.known[u]; ok {
				delete(a.known, u)
				return e, true
			}
		}
	}
	return ends{}, false
}

// sideChunk is how much of a side file is read at a time, in bytes.
const sideChunk = 16 << 10

// read reads a stretch of the file, and reports whether there was any.
func (f *sideFile) read(a *addresses) bool {
	if f.broken {
		return false
	}
	info, err := os.Stat(f.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() <= f.offset {
		return false
	}
	file, err := os.Open(f.path)
	if err != nil {
		f.broken = true
		return false
	}
	defer file.Close()
	b := make([]byte, sideChunk)
	n, err := file.ReadAt(b, f.offset)
	if err != nil && err != io.EOF || n == 0 {
		f.broken = true
		return false
	}
	f.offset += int64(n)
	f.rest = append(f.rest, b[:n]...)
	for {
		line, rest, ok := bytes.Cut(f.rest, []byte("\n"))
		if !ok {
			break
		}
		a.learn(line)
		f.rest = rest
	}
	f.rest = bytes.Clone(f.rest)
	if len(f.rest) > maxSideLine {
		f.broken = true
	}
	return true
}

// learn takes a line of a side file. What isn't one is left out: the addresses are then made up, which is said.
func (a *addresses) learn(line []byte) {
	var l struct{ UUID, Client, Server string }
	if json.Unmarshal(line, &l) != nil {
		return
	}
	u, ok := parseUUID(l.UUID)
	client, err := netip.ParseAddrPort(l.Client)
	if !ok || err != nil {
		return
	}
	server, err := netip.ParseAddrPort(l.Server)
	if err != nil {
		return
	}
	if a.known == nil {
		a.known = map[firehose.UUID]ends{}
	}
	if _, again := a.known[u]; !again {
		a.order = append(a.order, u)
	}
	a.known[u] = ends{client, server}
	for len(a.order) > maxKnownEnds {
		delete(a.known, a.order[0])
		a.order = a.order[1:]
	}
}

// parseUUID reads a UUID as text, in either case.
func parseUUID(s string) (u firehose.UUID, ok bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(u) || strings.Count(s, "-") != 4 {
		return u, false
	}
	return firehose.UUID(b), true
}
