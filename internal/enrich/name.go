package enrich

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/packet"
)

const (
	// MaxNames is how many addresses are remembered whose names were learned or looked up, at least half of it: one
	// takes up to 700 bytes, usually 200.
	MaxNames = 65536
	// MaxLearned is how many names wait to be taken over, until the next exchange comes. What comes when they are so many
	// isn't learned.
	MaxLearned = 4096

	// A name holds at least minName, since connections outlive the answers that they were opened with, and at most maxName.
	minName = 10 * time.Minute
	maxName = 24 * time.Hour
)

// name is what an address is called, by DNS answers that were seen, and by reverse look-ups.
type name struct {
	seen, reverse string
	// Until when they hold, as capture time in nanoseconds. reverse is empty when there is none, as far as is known.
	seenUntil, reverseUntil int64
	// asking: a look-up is under way.
	asking bool
}

// news is a name that came from elsewhere.
type news struct {
	addr    packet.Addr
	name    string
	until   int64
	reverse bool
}

// inbox holds names until Exchange takes them over. It is safe for concurrent use.
type inbox struct {
	// full: there is something in it.
	full atomic.Bool
	mu   sync.Mutex
	news []news
}

// put adds news, and reports false when there are limit already.
func (i *inbox) put(n news, limit int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.news) >= limit {
		return false
	}
	i.news = append(i.news, n)
	i.full.Store(true)
	return true
}

// take moves the news into dst.
func (i *inbox) take(dst []news) []news {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.full.Store(false)
	dst = append(dst[:0], i.news...)
	clear(i.news)
	i.news = i.news[:0]
	return dst
}

// newHosts turns names and their addresses round.
func newHosts(hosts map[string][]string) (map[packet.Addr]string, error) {
	all := make(map[packet.Addr]string, len(hosts))
	names := make([]string, 0, len(hosts))
	for n := range hosts {
		names = append(names, n)
	}
	slices.Sort(names) // so that errors are the same every time
	for _, n := range names {
		for _, text := range hosts[n] {
			a, err := netip.ParseAddr(text)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf("hosts: %s: %q is no address: it must be one such as 10.0.0.7 or 2001:db8::7, networks go to services", n, text)
			}
			key := packet.Addr(a.As16())
			if other, ok := all[key]; ok && other != n {
				return nil, fmt.Errorf("hosts: %s: %s has the name %s already: take one of them away", n, a, other)
			}
			if all[key] = hostName(n); all[key] == "" {
				return nil, fmt.Errorf("hosts: %q is no name: it must have letters, digits, dots, - and _, at most %d", n, maxHostName)
			}
		}
	}
	return all, nil
}

// maxHostName is how long a name is, in bytes (RFC 1035 §2.3.4, less what only the wire has).
const maxHostName = 253

// hostName returns a name as it is told: in small letters, without the dot at the end; "" if it is none.
func hostName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxHostName {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return ""
		}
	}
	return strings.Clone(strings.ToLower(s))
}
