//go:build linux

package stack

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Least returns the least share of right links that is wanted of a recording, by its folder's name.
func Least() map[string]float64 { return map[string]float64{WithIDs: 1, WithoutIDs: 0.97} }

// Links counts how the exchanges at a port were linked to their parents. Right ones got the right parent, or none where there is none; Wrong
// ones another; Unlinked ones none; Missing ones aren't among the documents.
type Links struct {
	Port                                       int
	Exchanges, Right, Wrong, Unlinked, Missing int
}

// Mislinked is an exchange that wasn't linked as it should have been: packets are those of the first bytes, 0 where there is none.
type Mislinked struct {
	Asked      Asked
	Want, Got  int
	Method     string
	Confidence float64
}

// document is what is read of what culprit says of an exchange.
type document struct {
	Event  struct{ ID string }
	Parent struct{ ID string }
	// Flow is there in records of flows, which aren't exchanges.
	Flow    json.RawMessage
	Culprit struct {
		Packets struct{ First int }
		Hop     struct {
			Method     string
			Confidence float64
		}
	}
}

// Ask has a program, which is culprit's, read the capture of a folder, and returns its documents.
func Ask(program, folder string) ([]byte, error) {
	cmd := exec.Command(program, "hops", "-r", filepath.Join(folder, CaptureFile), "-o", "ndjson")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	said, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, complaints.Bytes())
	}
	return said, nil
}

// longestDocument is the longest line that is read, in bytes.
const longestDocument = 16 << 20

// Judge compares the parents in the documents of culprit's output ndjson with the truth. What isn't right is given to miss.
func Judge(r io.Reader, truth []Asked, miss func(m Mislinked)) ([]Links, error) {
	byPacket, packetOf := map[int]*document{}, map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestDocument)
	for lines.Scan() {
		d := &document{}
		if err := json.Unmarshal(lines.Bytes(), d); err != nil {
			return nil, fmt.Errorf("a document of culprit: %w: %.200s", err, lines.Bytes())
		}
		if d.Flow == nil {
			byPacket[d.Culprit.Packets.First] = d
			packetOf[d.Event.ID] = d.Culprit.Packets.First
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	type place struct {
		port int
		id   string
	}
	at := map[place]int{}
	for _, a := range truth {
		at[place{a.Port, a.ID}] = a.Packet
	}
	parents := Parents()
	var all []Links
	for _, port := range ports() {
		l := Links{Port: port}
		for _, a := range truth {
			if a.Port != port {
				continue
			}
			l.Exchanges++
			d := byPacket[a.Packet]
			if d == nil {
				l.Missing++
				miss(Mislinked{Asked: a, Method: "not shown"})
				continue
			}
			want, got := at[place{parents[port], a.ID}], packetOf[d.Parent.ID]
			if want == got {
				l.Right++
				continue
			}
			if got == 0 {
				l.Unlinked++
			} else {
				l.Wrong++
			}
			miss(Mislinked{a, want, got, d.Culprit.Hop.Method, d.Culprit.Hop.Confidence})
		}
		all = append(all, l)
	}
	return all, nil
}

// ports are those of the hops, from the client on.
func ports() []int {
	return []int{HAProxyPort, VarnishPort, NginxPort, AppPort, MariaDBPort, RedisPort}
}

// Print writes the counts as a table, and returns which share of the links is right. Those of HAProxy's exchanges, which have no parent, aren't
// links.
func Print(w io.Writer, all []Links) (share float64, err error) {
	var b strings.Builder
	var right, links int
	fmt.Fprintf(&b, "%6s %6s %6s %6s %8s %7s\n", "port", "n", "right", "wrong", "unlinked", "missing")
	for _, l := range all {
		fmt.Fprintf(&b, "%6d %6d %6d %6d %8d %7d\n", l.Port, l.Exchanges, l.Right, l.Wrong, l.Unlinked, l.Missing)
		if Parents()[l.Port] != 0 {
			right, links = right+l.Right, links+l.Exchanges
		}
	}
	share = float64(right) / float64(max(links, 1))
	fmt.Fprintf(&b, "right: %.2f %% (%d of %d links)\n", 100*share, right, links)
	_, err = io.WriteString(w, b.String())
	return share, err
}
