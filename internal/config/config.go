// Package config holds what the commands can be told: one struct a command, its defaults, and its
// validation. Flags and configuration files fill the structs; the rest of the program reads them.
package config

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Capture is what every command can be told that analyses packets.
type Capture struct {
	// Inputs are the arguments of -r: [TAP=]FILE each.
	Inputs []string
	// Follow waits for more at the end of the files.
	Follow bool
	// Live is what live captures can be told; there is one if Live.Interfaces has any.
	Live Live
	// CaptureFilter is in tcpdump's language, Where in that of exchanges; empty: all.
	CaptureFilter, Where string
	// MaxBody is how much of each body is kept; negative: not told.
	MaxBody Size
	// Reveal turns redaction off.
	Reveal bool
	// Redaction is what the user knows of secrets, Enrichment what of addresses and paths.
	Redaction  Redaction
	Enrichment Enrichment
	// DecodeAs are hints PORT=PROTOCOL.
	DecodeAs []string
	// PendingAfter and ExchangeTimeout are capture times.
	PendingAfter, ExchangeTimeout time.Duration
	// MaxHead and MaxFields bound a message's head.
	MaxHead   Size
	MaxFields int
	// MaxWaiting bounds the requests that wait on a connection.
	MaxWaiting int
	// MaxMessage is the most that is kept of a message that has to be whole to be understood, in bytes: of gRPC, WebSocket,
	// SSE. MaxStreams bounds the streams of a connection that are under way.
	MaxMessage Size
	MaxStreams int
	// MaxStatement is how much of a statement of a database is kept, with its parameters.
	MaxStatement Size
	// Flows says of which flows there are records: none, failed, unknown, all. FlowPeriod is how long one of them counts; 0: until
	// the flow's end.
	Flows      string
	FlowPeriod time.Duration
	// HopWait is how long an exchange may last and still be linked to what it caused before these are shown; 0: they aren't linked.
	HopWait time.Duration
	// Keylogs are the key logs of --keylog, TLSKeys files with RSA private keys. docs/keys.md says how they are meant.
	Keylogs, TLSKeys []string
	// Protosets are files with the descriptors of gRPC's messages.
	Protosets []string
	// Messages: messages of WebSocket are events of their own.
	Messages bool
	// Memory is the budget of the process, Workers the number of goroutines that analyse; 0: WorkerCount
	// decides.
	Memory  Size
	Workers int
	// Stats prints the totals at the end, Verbose what is done.
	Stats, Verbose bool
}

// Redaction is what the user knows of secrets; docs/redaction.md says how names and patterns are meant.
type Redaction struct {
	// Names are those of what is secret, Keep those of what isn't, KeepCookies those of cookies whose values are shown.
	Names, Keep, KeepCookies []string
	// Patterns are regular expressions.
	Patterns []string
	// Literals: the literals of statements of databases, their parameters and their results are shown, but for what is secret.
	Literals bool
}

// Enrichment is what the user knows of addresses and paths; docs/enrichment.md says how it is meant.
type Enrichment struct {
	// GeoIP are MMDB files.
	GeoIP []string
	// Resolve: names are looked up.
	Resolve bool
	// Services and Hosts are names with their addresses, Routes templates of paths.
	Services, Hosts map[string][]string
	Routes          []string
}

// Any reports whether there is something to know.
func (e *Enrichment) Any() bool {
	return e.Resolve || len(e.GeoIP)+len(e.Services)+len(e.Hosts)+len(e.Routes) > 0
}

// DefaultCapture returns the defaults.
func DefaultCapture() Capture {
	return Capture{
		MaxBody:         -1,
		PendingAfter:    10 * time.Second,
		ExchangeTimeout: 5 * time.Minute,
		MaxHead:         256 << 10,
		MaxFields:       256,
		MaxWaiting:      1000,
		MaxMessage:      1 << 20,
		MaxStreams:      1000,
		MaxStatement:    16 << 10,
		Flows:           "failed",
		FlowPeriod:      time.Minute,
		Memory:          512 << 20,
		Live:            defaultLive(),
	}
}

// Trace is what culprit trace can be told.
type Trace struct {
	Capture
	Shipping
	// Count is how many exchanges are shown before the run ends, 0 for all.
	Count uint64
	// Outputs are the arguments of -o: NAME[=TARGET] each. Format is a template for a line.
	Outputs []string
	Format  string
	// Rotate bounds the files of a recording; zero: one file of any size.
	Rotate Rotation
	// Headers are the header fields that the console shows, empty: all; NoHeaders: none.
	Headers   []string
	NoHeaders bool
	// Color is auto, always or never.
	Color string
	// WithKeys embeds the secrets of the recorded connections in a recording. Ciphertext: what is written of streams is what
	// was sent, not what it decrypts to.
	WithKeys, Ciphertext bool
	// Force: files of streams may be written over. FileName is the template of their names, empty: as tcpflow names them.
	Force    bool
	FileName string
}

// DefaultTrace returns the defaults.
func DefaultTrace() Trace {
	return Trace{Capture: DefaultCapture(), Shipping: Shipping{SampleSlow: DefaultSampleSlow}, Color: "auto"}
}

// DefaultAgent returns the defaults of culprit agent, which is told what trace is, but for what a terminal shows.
func DefaultAgent() Trace {
	t := DefaultTrace()
	t.Agent = true
	t.Flows = "unknown"
	return t
}

// flowChoices are what --flows takes.
var flowChoices = []string{"none", "failed", "unknown", "all"}

// minMemory is the least memory that a run is possible with.
const minMemory = 64 << 20

// Validate checks what can be checked without opening anything. Errors name the option.
func (t *Trace) Validate() error {
	switch {
	case t.Sample == "" && t.SampleKeep != "":
		return errors.New("--sample-keep says what is kept beside a share: give it with --sample")
	case t.SampleSlow < 0:
		return fmt.Errorf("--sample-slow %v is negative", t.SampleSlow)
	case len(t.Inputs) == 0 && !t.Live.On():
		return errors.New("nothing to read: name an interface with -i, or a capture file with -r FILE, - for standard input")
	case t.NoHeaders && len(t.Headers) > 0:
		return errors.New("--no-headers and --headers exclude each other")
	case t.Color != "auto" && t.Color != "always" && t.Color != "never":
		return fmt.Errorf("--color %q: auto, always or never", t.Color)
	}
	return t.Capture.validate()
}

// validate checks what can be checked without opening anything.
func (t *Capture) validate() error {
	share := t.Memory
	if t.Live.On() {
		share = t.Live.share(t.Memory)
	}
	switch {
	case t.Follow && t.Live.On():
		return errors.New("--follow is for files: a live capture goes on by itself")
	case len(t.Inputs) > 0 && t.Live.On():
		return errors.New("-i and -r exclude each other: capture, or read files")
	case t.Memory < minMemory:
		return fmt.Errorf("--memory %v is too little: at least %v", t.Memory, Size(minMemory))
	case t.MaxBody > share/16:
		return fmt.Errorf("--max-body %v is too much for --memory %v: at most a sixteenth of what the rings leave of it", t.MaxBody, t.Memory)
	case t.MaxHead < 1<<10 || t.MaxHead > max(share, minShare)/64:
		return fmt.Errorf("--max-head %v: from 1KiB to a sixty-fourth of what the rings leave of --memory", t.MaxHead)
	case t.MaxFields < 1 || t.MaxFields > 10000:
		return fmt.Errorf("--max-fields %d: from 1 to 10000", t.MaxFields)
	case t.MaxWaiting < 1 || t.MaxWaiting > 1<<20:
		return fmt.Errorf("--max-waiting %d: from 1 to 1048576", t.MaxWaiting)
	case t.MaxMessage < 1<<10 || t.MaxMessage > max(share, minShare)/32:
		return fmt.Errorf("--max-message %v: from 1KiB to a thirty-second of what the rings leave of --memory", t.MaxMessage)
	case t.MaxStreams < 1 || t.MaxStreams > 1<<20:
		return fmt.Errorf("--max-streams %d: from 1 to 1048576", t.MaxStreams)
	case t.MaxStatement < 256 || t.MaxStatement > 1<<20:
		return fmt.Errorf("--max-statement %v: from 256 bytes to 1MiB", t.MaxStatement)
	case !slices.Contains(flowChoices, t.Flows):
		return fmt.Errorf("--flows %q: %s", t.Flows, strings.Join(flowChoices, ", "))
	case t.FlowPeriod < 0:
		return fmt.Errorf("--flow-period %v is negative: 0 makes one record of each flow", t.FlowPeriod)
	case t.HopWait < 0 || t.HopWait > 5*time.Minute:
		return fmt.Errorf("--hop-wait %v: up to 5m; 0 links nothing", t.HopWait)
	case t.PendingAfter < 0:
		return fmt.Errorf("--pending-after %v is negative: 0 turns it off", t.PendingAfter)
	case t.ExchangeTimeout <= 0:
		return fmt.Errorf("--exchange-timeout %v: must be more than 0", t.ExchangeTimeout)
	case t.Workers < 0 || t.Workers > 64:
		return fmt.Errorf("--workers %d: from 1 to 64, or 0 for one a processor", t.Workers)
	}
	if err := t.Live.validate(t.Memory); err != nil {
		return err
	}
	if _, err := t.KeyFiles(""); err != nil {
		return err
	}
	_, err := t.Hints()
	return err
}

// NoKeylog is what --keylog says for none, also where the environment names one.
const NoKeylog = "none"

// KeyFiles returns the key logs to read: those of --keylog, or else the one that the environment names, if it isn't empty.
func (t *Capture) KeyFiles(environment string) ([]string, error) {
	switch {
	case len(t.Keylogs) == 1 && t.Keylogs[0] == NoKeylog:
		return nil, nil
	case slices.Contains(t.Keylogs, NoKeylog):
		return nil, errors.New("--keylog none excludes others; a file of that name is ./none")
	case slices.Contains(t.Keylogs, ""):
		return nil, errors.New("--keylog needs the name of a file")
	case len(t.Keylogs) > 0:
		return t.Keylogs, nil
	case environment != "":
		return []string{environment}, nil
	}
	return nil, nil
}

// Hints returns DecodeAs as protocol names by port.
func (t *Capture) Hints() (map[uint16]string, error) {
	hints := map[uint16]string{}
	for _, h := range t.DecodeAs {
		port, name, ok := strings.Cut(h, "=")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || err != nil || n == 0 || name == "" {
			return nil, fmt.Errorf("--decode-as %q: want PORT=PROTOCOL, such as 8000=http", h)
		}
		hints[uint16(n)] = name
	}
	return hints, nil
}

// WorkerCount returns the number of workers to use. A live capture has one: it follows several hundred thousand
// exchanges a second, and handing packets over would cost more than it gains, at the expense of what is watched.
func (t *Capture) WorkerCount() int {
	switch {
	case t.Workers > 0:
		return t.Workers
	case t.Live.On():
		return 1
	}
	return min(runtime.NumCPU(), 64)
}

// Size is a number of bytes that is written with a unit. It implements pflag.Value.
type Size int64

// sizeUnits are those that Set takes. KB, MB and GB are powers of ten, as in the exchange filter.
var sizeUnits = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1},
}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	number, unit := strings.TrimSpace(text), 1.0
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(n), u.size
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f*unit > math.MaxInt64/2 || f != f {
		return fmt.Errorf("want a size such as 65536, 64KiB or 10MB")
	}
	*s = Size(f * unit)
	return nil
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// String gives the size in the largest unit that fits whole.
func (s Size) String() string {
	switch {
	case s < 0:
		return ""
	case s >= 1<<30 && s%(1<<30) == 0:
		return strconv.FormatInt(int64(s>>30), 10) + "GiB"
	case s >= 1<<20 && s%(1<<20) == 0:
		return strconv.FormatInt(int64(s>>20), 10) + "MiB"
	case s >= 1<<10 && s%(1<<10) == 0:
		return strconv.FormatInt(int64(s>>10), 10) + "KiB"
	}
	return strconv.FormatInt(int64(s), 10)
}
