package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/process"
	"github.com/culprit-http/culprit/internal/redact"
)

func newSockets() *cobra.Command {
	c := config.DefaultSockets()
	cmd := &cobra.Command{
		Use:   "sockets [FLAGS] [CAPTURE FILTER]",
		Short: "List who listens and who talks: sockets and their processes",
		Long: `List who listens and who talks: sockets and their processes.

Examples:
  culprit sockets -l
  culprit sockets --netns pid:4242 --unix --json
  culprit sockets --watch --process nginx`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && !c.Watch {
				return usage(fmt.Errorf("sockets takes no argument %q; choose with --process, --pid and --netns; a capture filter is for --watch", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return sockets(cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	which := newFlagGroup("Which sockets")
	which.BoolVarP(&c.Listening, "listening", "l", false, "those that wait for others")
	which.BoolVar(&c.Established, "established", false, "those that talk (default listening and talking)")
	which.BoolVar(&c.TCP, "tcp", false, "TCP sockets")
	which.BoolVar(&c.UDP, "udp", false, "UDP sockets (default TCP and UDP)")
	which.BoolVar(&c.Unix, "unix", false, "unix sockets")
	which.StringVar(&c.Process, "process", "", "those of processes called `NAME`")
	which.IntVar(&c.PID, "pid", 0, "those of process `N`")
	which.StringVar(&c.NetNS, "netns", "", "of network namespace `NS`: a name, a path or pid:N")

	watch := newFlagGroup("With their traffic, live")
	watch.BoolVar(&c.Watch, "watch", false, "rates, errors, percentiles, again and again")
	watch.StringVarP(&c.Interface, "interface", "i", "", "capture on `IFACE` (default any)")
	watch.DurationVar(&c.Interval, "interval", 0, "`TIME` between two tables (default 2s)")
	watch.DurationVar(&c.Duration, "duration", 0, "end after `TIME`")
	watch.Var(&c.Ring, "ring", "`SIZE` of the ring (default 16MiB)")

	other := newFlagGroup("Other")
	other.BoolVar(&c.JSON, "json", false, "print a JSON document, with all that is known")
	other.BoolVar(&c.Reveal, "reveal", false, "with --json: no redaction of arguments (docs/redaction.md)")
	other.BoolP("help", "h", false, "this help")
	addFlags(cmd, which, watch, other)
	return cmd
}

// sockets runs the command.
func sockets(cmd *cobra.Command, c *config.Sockets) error {
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	if c.Watch {
		return watch(cmd, c)
	}
	warn := func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), "culprit: warning: "+text) }
	// Listening TCP sockets and unix sockets are looked at in any case: they tell what isn't on the wire.
	o := process.Options{TCP: true, UDP: c.UDP, Unix: true}
	if c.NetNS != "" {
		ns, err := process.OpenNetNS(c.NetNS)
		if err != nil {
			return &statusError{exitFailed, fmt.Errorf("--netns: %w", err)}
		}
		defer ns.Close()
		o.NetNS = ns
	}
	all, notes, err := process.Snapshot(o)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	shown, unknown := selectSockets(all, c)
	links := slices.DeleteFunc(offWire(all), func(l link) bool { return !l.wanted(all, c) })

	var out []byte
	stdout := describe(cmd.OutOrStdout(), "never")
	switch {
	case c.JSON:
		var redactor *redact.Redactor
		if !c.Reveal {
			key, err := redactionKey()
			if err != nil {
				warn(err.Error() + ": fingerprints of secrets will not be the same in the next run")
			}
			redactor = redact.New(key)
		}
		if out, err = appendDocument(nil, shown, links, notes.Lines(), redactor); err != nil {
			return &statusError{exitFailed, err}
		}
	case len(shown) > 0:
		t := socketTable(shown, stdout.terminal.Width == 0, nil)
		out = t.append(nil, stdout.terminal.Width)
	}
	if _, err := stdout.w.Write(out); err != nil && !errors.Is(err, syscall.EPIPE) {
		return &statusError{exitFailed, err}
	}
	if !c.JSON {
		if len(shown) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "culprit: "+noSockets(c, len(all)))
		}
		if err := showLinks(cmd, stdout, links); err != nil {
			return err
		}
	}
	blind := notes.Blind.String()
	for _, n := range notes.Lines() {
		if n != blind || unknown {
			warn(n)
		}
	}
	if notes.Cut+notes.Holds+len(notes.Incomplete) > 0 {
		return errLossy
	}
	return nil
}

// showLinks prints what isn't on the wire: under the table for people, and beside it for programs, which read rows.
func showLinks(cmd *cobra.Command, stdout target, links []link) error {
	w, before := stdout.w, "\n"
	if stdout.terminal.Width == 0 {
		w, before = cmd.ErrOrStderr(), "culprit: "
	}
	for i := range links {
		if i > 0 && stdout.terminal.Width > 0 {
			before = ""
		}
		if _, err := io.WriteString(w, before+links[i].text()+"\n"); err != nil && !errors.Is(err, syscall.EPIPE) {
			return &statusError{exitFailed, err}
		}
	}
	return nil
}

// noSockets says that nothing is shown, of how many, and why.
func noSockets(c *config.Sockets, all int) string {
	var by []string
	if c.Process != "" {
		by = append(by, "of a process called "+safe(c.Process))
	}
	if c.PID > 0 {
		by = append(by, "of process "+strconv.Itoa(c.PID))
	}
	if len(by) == 0 {
		return fmt.Sprintf("none of %s is of the kinds and states that are wanted", plural(uint64(all), "socket"))
	}
	return fmt.Sprintf("none of %s is %s, and of the kinds and states that are wanted", plural(uint64(all), "socket"), strings.Join(by, " and "))
}

// selectSockets returns the sockets that are wanted. unknown: among those of the wanted kinds and states are some
// whose process wasn't found.
func selectSockets(all []process.Socket, c *config.Sockets) (shown []process.Socket, unknown bool) {
	for _, s := range all {
		kind := s.Kind == process.TCP && c.TCP || s.Kind == process.UDP && c.UDP || s.Kind.Unix() && c.Unix
		if !kind || !(waits(&s) && c.Listening || talks(&s) && c.Established) {
			continue
		}
		if len(s.Holders) == 0 && s.Inode != 0 {
			unknown = true
		}
		if c.Process == "" && c.PID == 0 || slices.ContainsFunc(s.Holders, func(h process.Holder) bool { return ofProcess(h, c) }) {
			shown = append(shown, s)
		}
	}
	return shown, unknown
}

// waits reports whether a socket waits for others: it listens, or is bound and takes datagrams.
func waits(s *process.Socket) bool {
	switch {
	case s.State == process.Listen:
		return true
	case s.State != process.Unconnected:
		return false
	}
	return s.Kind == process.UDP && s.Local.Port() != 0 || s.Kind == process.UnixDatagram && s.Path != ""
}

// talks reports whether a socket has another end.
func talks(s *process.Socket) bool {
	switch s.State {
	case process.Listen, process.Unconnected, process.TimeWait:
		return false
	}
	return true
}

// ofProcess reports whether a holder is the process that is wanted. The kernel cuts names after 15 bytes: so the
// name of the program, and the one that it was called by, count too.
func ofProcess(h process.Holder, c *config.Sockets) bool {
	if c.PID > 0 && h.PID != c.PID {
		return false
	}
	return c.Process == "" || h.Name == c.Process || h.Executable != "" && filepath.Base(h.Executable) == c.Process ||
		len(h.Args) > 0 && h.Args[0] != "" && filepath.Base(h.Args[0]) == c.Process
}

// wanted reports whether one of the parties of a link is the process that is wanted.
func (l *link) wanted(all []process.Socket, c *config.Sockets) bool {
	if c.Process == "" && c.PID == 0 {
		return true
	}
	return slices.ContainsFunc(all, func(s process.Socket) bool {
		return slices.ContainsFunc(s.Holders, func(h process.Holder) bool {
			return ofProcess(h, c) && (slices.Contains(l.from.pids, h.PID) || slices.Contains(l.to.pids, h.PID))
		})
	})
}

// socketColumn is a column, and what stands in it for a socket. pipe: it is read by programs.
type socketColumn struct {
	column
	cell func(s *process.Socket, pipe bool) string
}

// endTails begin what isn't cut off the end of a cell: a process id, a port.
var endTails = []string{" (", ":"}

// socketColumns are the columns of the table, but for the process, which comes last.
var socketColumns = []socketColumn{
	{column{head: "kind"}, kindCell},
	{column{head: "state"}, stateCell},
	{column{head: "local", min: 18, tails: endTails}, func(s *process.Socket, _ bool) string { return endCell(s.Local, s.Path) }},
	{column{head: "remote", min: 18, tails: endTails, drop: 1}, func(s *process.Socket, pipe bool) string {
		if s.Kind.Unix() && s.PeerPath == "" {
			return processCell(s.PeerHolders, pipe)
		}
		return endCell(s.Remote, s.PeerPath)
	}},
	{column{head: "queue", right: true, drop: 2}, queueCell},
	{column{head: "user", min: 12, drop: 3}, func(s *process.Socket, _ bool) string { return safe(s.User) }},
	{column{head: "unit", min: 14, drop: 4}, unitCell},
}

// processColumn is the last one.
var processColumn = socketColumn{column{head: "process", min: 16, tails: endTails}, func(s *process.Socket, pipe bool) string {
	switch {
	case len(s.Holders) > 0:
		return processCell(s.Holders, pipe)
	case s.Inode == 0:
		return "" // not accepted yet, or closed
	case s.User == "":
		return "?"
	}
	return safe("? (" + s.User + ")")
}}

// socketTable makes the table of sockets, with more columns before the last if there are any. pipe: it is for programs.
func socketTable(sockets []process.Socket, pipe bool, more []socketColumn) *table {
	columns := append(slices.Concat(socketColumns, more), processColumn)
	t := &table{}
	for _, c := range columns {
		t.columns = append(t.columns, c.column)
	}
	for i := range sockets {
		row := make([]string, len(columns))
		for k, c := range columns {
			row[k] = c.cell(&sockets[i], pipe)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// shortKinds and shortStates are for people, where the names are long.
var (
	shortKinds  = map[process.Kind]string{process.UnixDatagram: "unix-dg", process.UnixSeqPacket: "unix-seq"}
	shortStates = map[process.State]string{process.Established: "estab", process.Unconnected: "bound"}
)

func kindCell(s *process.Socket, pipe bool) string {
	if short := shortKinds[s.Kind]; short != "" && !pipe {
		return short
	}
	return s.Kind.String()
}

func stateCell(s *process.Socket, pipe bool) string {
	if short := shortStates[s.State]; short != "" && !pipe {
		return short
	}
	return s.State.String()
}

// endCell is an address and port, or a path; empty for none.
func endCell(end netip.AddrPort, path string) string {
	switch {
	case path != "":
		return safe(path)
	case !end.IsValid() || end.Port() == 0 && end.Addr().IsUnspecified():
		return ""
	}
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port()).String()
}

// queueCell is, of a listening socket, how many connections wait and how many may; of others the bytes that wait
// to be read, and to be sent, when there are any.
func queueCell(s *process.Socket, pipe bool) string {
	if s.State != process.Listen && s.RecvQueue|s.SendQueue == 0 && !pipe {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.RecvQueue, s.SendQueue)
}

// shortID is how much of a container's id is shown, as docker ps and crictl do.
const shortID = 12

// unitCell is the container or the systemd unit that the first holder runs in.
func unitCell(s *process.Socket, _ bool) string {
	if len(s.Holders) == 0 {
		return ""
	}
	if id := s.Holders[0].ContainerID; id != "" {
		return safe(id[:min(len(id), shortID)])
	}
	return safe(s.Holders[0].Unit)
}

// processCell names the holders of a socket. For people those of one name are together.
func processCell(holders []process.Holder, pipe bool) string {
	var parties []party
	for _, h := range holders {
		i := slices.IndexFunc(parties, func(p party) bool { return p.name == h.Name && !pipe })
		if i < 0 {
			i = len(parties)
			parties = append(parties, party{name: h.Name})
		}
		parties[i].add([]process.Holder{h})
	}
	var texts []string
	for i := range parties {
		texts = append(texts, parties[i].String())
	}
	if pipe {
		return strings.ReplaceAll(safe(strings.Join(texts, ",")), " (", "(")
	}
	return safe(strings.Join(texts, ", "))
}

// safe escapes what could steer a terminal.
func safe(s string) string { return string(terminal.AppendSafe(nil, []byte(s))) }

// The JSON document.
type (
	socketJSON struct {
		Kind   string   `json:"kind"`
		State  string   `json:"state"`
		Local  *endJSON `json:"local,omitempty"`
		Remote *endJSON `json:"remote,omitempty"`
		// Interface is the index of the interface that the socket is bound to.
		Interface uint32     `json:"interface,omitempty"`
		Path      string     `json:"path,omitempty"`
		Peer      *peerJSON  `json:"peer,omitempty"`
		Queue     *queueJSON `json:"queue,omitempty"`
		// Accept is the queue of a listening socket.
		Accept    *acceptJSON   `json:"accept_queue,omitempty"`
		Inode     uint64        `json:"inode,omitempty"`
		User      *userJSON     `json:"user,omitempty"`
		Processes []processJSON `json:"processes,omitempty"`
	}
	endJSON struct {
		IP   netip.Addr `json:"ip"`
		Port uint16     `json:"port"`
	}
	peerJSON struct {
		Path      string        `json:"path,omitempty"`
		Inode     uint64        `json:"inode"`
		Processes []processJSON `json:"processes,omitempty"`
	}
	queueJSON struct {
		Receive uint32 `json:"receive"`
		Send    uint32 `json:"send"`
	}
	acceptJSON struct {
		Waiting uint32 `json:"waiting"`
		Most    uint32 `json:"most"`
	}
	userJSON struct {
		ID   uint32 `json:"id"`
		Name string `json:"name"`
	}
	processJSON struct {
		PID         int      `json:"pid,omitempty"`
		Name        string   `json:"name"`
		Executable  string   `json:"executable,omitempty"`
		Args        []string `json:"args,omitempty"`
		User        string   `json:"user,omitempty"`
		ContainerID string   `json:"container_id,omitempty"`
		PodUID      string   `json:"pod_uid,omitempty"`
		Unit        string   `json:"unit,omitempty"`
		FD          int      `json:"fd"`
	}
	linkJSON struct {
		From partyJSON `json:"from"`
		To   partyJSON `json:"to"`
		Path string    `json:"path"`
	}
	partyJSON struct {
		Name string `json:"name"`
		PIDs []int  `json:"pids"`
	}
)

// appendDocument appends one JSON document with a line for each socket and for each link.
func appendDocument(dst []byte, sockets []process.Socket, links []link, notes []string, r *redact.Redactor) ([]byte, error) {
	appendAll := func(n int, value func(i int) any) error {
		for i := range n {
			dst = append(dst, '\n')
			b, err := json.Marshal(value(i))
			if err != nil {
				return err
			}
			if dst = append(dst, steerless(b)...); i < n-1 {
				dst = append(dst, ',')
			}
		}
		return nil
	}
	dst = append(dst, `{"sockets":[`...)
	err := appendAll(len(sockets), func(i int) any { return jsonSocket(&sockets[i], r) })
	dst = append(dst, "],\n\"off_wire\":["...)
	err = errors.Join(err, appendAll(len(links), func(i int) any {
		return jsonLink(&links[i])
	}))
	dst = append(dst, "],\n\"notes\":["...)
	err = errors.Join(err, appendAll(len(notes), func(i int) any { return text(notes[i]) }))
	return append(dst, "]}\n"...), err
}

func jsonLink(l *link) linkJSON {
	return linkJSON{partyJSON{text(l.from.name), l.from.pids}, partyJSON{text(l.to.name), l.to.pids}, text(l.path)}
}

func jsonSocket(s *process.Socket, r *redact.Redactor) *socketJSON {
	j := &socketJSON{
		Kind: s.Kind.String(), State: s.State.String(), Local: jsonEnd(s.Local), Remote: jsonEnd(s.Remote), Interface: s.Interface,
		Path: text(s.Path), Inode: s.Inode, Processes: jsonProcesses(s.Holders, r),
	}
	if s.Peer != 0 {
		j.Peer = &peerJSON{Path: text(s.PeerPath), Inode: s.Peer, Processes: jsonProcesses(s.PeerHolders, r)}
	}
	if s.User != "" {
		j.User = &userJSON{s.UID, text(s.User)}
	}
	if s.State == process.Listen {
		j.Accept = &acceptJSON{s.RecvQueue, s.SendQueue}
	} else {
		j.Queue = &queueJSON{s.RecvQueue, s.SendQueue}
	}
	return j
}

func jsonEnd(end netip.AddrPort) *endJSON {
	if !end.IsValid() || end.Port() == 0 && end.Addr().IsUnspecified() {
		return nil
	}
	return &endJSON{end.Addr().Unmap(), end.Port()}
}

func jsonProcesses(holders []process.Holder, r *redact.Redactor) []processJSON {
	var all []processJSON
	for _, h := range holders {
		args := h.Args
		if r != nil {
			args = r.Arguments(args)
		}
		p := processJSON{
			PID: h.PID, Name: text(h.Name), Executable: text(h.Executable), User: text(h.User), ContainerID: text(h.ContainerID),
			PodUID: text(h.PodUID), Unit: text(h.Unit), FD: h.FD,
		}
		for _, a := range args {
			p.Args = append(p.Args, text(a))
		}
		all = append(all, p)
	}
	return all
}

// text makes a name fit for JSON, as -o ndjson does: what isn't UTF-8 becomes \xNN, byte by byte.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// steerless escapes in a JSON text what could steer a terminal and JSON lets pass. Outside of strings there is
// none.
func steerless(b []byte) []byte {
	if !bytes.ContainsFunc(b, steers) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		if steers(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

func steers(r rune) bool {
	return r >= 0x7f && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}
