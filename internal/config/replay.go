package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Replay is what culprit replay can be told.
type Replay struct {
	Recordings
	// To is where requests go: a URL, or HOST:PORT with Raw.
	To string
	// All sends requests of any method, Partial those whose body isn't there as a whole.
	All, Partial bool
	// KeepHost: Host stays as recorded. SetHeaders are Name: value, DropHeaders names, RewritePaths s|REGEXP|REPLACEMENT|, Carry rules of what answers give to later requests.
	KeepHost                                     bool
	SetHeaders, DropHeaders, RewritePaths, Carry []string
	// HTTP is auto, 1.1 or 2. Insecure: certificates aren't verified.
	HTTP     string
	Insecure bool
	// Speed is a factor, or max. Rate is requests a second instead, 0: as recorded. Concurrency bounds connections, 0: Connections decides. Timeout is how long a request may take.
	Speed       string
	Rate        float64
	Concurrency int
	Timeout     time.Duration
	// IgnoreHeaders and CompareHeaders are names, Ignore rules of what isn't compared in bodies.
	IgnoreHeaders, CompareHeaders, Ignore []string
	// FailSlower: slower answers are differences, too.
	FailSlower bool
	// Raw sends the bytes of connections rather than requests.
	Raw bool
	// DryRun prints requests and sends nothing.
	DryRun bool
	// Outputs are NAME=FILE each, of the new exchanges; with Raw, files=DIR for what came back. Force: the files of DIR may be written over.
	Outputs []string
	Force   bool
	// JSON prints the report as one document.
	JSON bool
	// Rows is how many differences are shown, 0: all.
	Rows int
	// Color is auto, always or never.
	Color string
}

// The defaults of Replay.
const (
	defaultReplayBody    = 8 << 20
	defaultReplayTimeout = 30 * time.Second
	// timedConnections and fastConnections are how many connections are open at a time, at some speed and as fast as possible.
	timedConnections, fastConnections = 1000, 16
	maxReplaySpeed, maxReplayRate     = 1e6, 1e6
	maxReplayConnections              = 60_000
)

// DefaultReplay returns the defaults.
func DefaultReplay() Replay {
	r := Replay{Recordings: DefaultRecordings(), HTTP: "auto", Speed: "1", Timeout: defaultReplayTimeout, Rows: 20, Color: "auto"}
	r.MaxBody = defaultReplayBody
	return r
}

// Factor returns Speed as a number; 0: as fast as possible.
func (r *Replay) Factor() (float64, error) {
	if r.Speed == "max" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(r.Speed, "x"), 64)
	if err != nil || !(f >= 0 && f <= maxReplaySpeed) {
		return 0, fmt.Errorf("--speed %q: want a factor, as in 2 for twice as fast, or max for as fast as possible", r.Speed)
	}
	return f, nil
}

// Connections returns how many connections may be open at a time.
func (r *Replay) Connections() int {
	f, _ := r.Factor()
	switch {
	case r.Concurrency > 0:
		return r.Concurrency
	case f == 0 && r.Rate == 0:
		return fastConnections
	}
	return timedConnections
}

// Target reads To. With Raw, the scheme is tcp or tls.
func (r *Replay) Target() (*url.URL, error) {
	if r.To == "" {
		return nil, errors.New("say where requests are to go: --to http://HOST:PORT; culprit never guesses it")
	}
	text := r.To
	if !strings.Contains(text, "://") {
		if _, _, err := net.SplitHostPort(text); !r.Raw || err != nil {
			return nil, fmt.Errorf("--to %q: want a URL such as http://127.0.0.1:8080", r.To)
		}
		text = "tcp://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if r.Raw {
		schemes := map[string]string{"http": "tcp", "https": "tls", "tcp": "tcp", "tls": "tls"}
		ports := map[string]string{"http": "80", "https": "443"}
		port := ports[u.Scheme]
		if u.Port() == "" && port != "" {
			u.Host = net.JoinHostPort(u.Hostname(), port)
		}
		u.Scheme = schemes[u.Scheme]
	}
	switch {
	case r.Raw && u.Scheme == "":
		return nil, fmt.Errorf("--to %q: --raw goes to HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT", r.To)
	case !r.Raw && u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("--to %q: want http:// or https://", r.To)
	case u.Hostname() == "":
		return nil, fmt.Errorf("--to %q names no host", r.To)
	case r.Raw && u.Port() == "":
		return nil, fmt.Errorf("--to %q names no port", r.To)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("--to %q: it has a host and a path at most: requests bring the rest", r.To)
	case r.Raw && u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("--to %q: with --raw, it has no path", r.To)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("--to %q: %s is no port", r.To, port)
		}
	}
	return u, nil
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (r *Replay) Validate() error {
	if _, err := r.Target(); err != nil {
		return err
	}
	factor, err := r.Factor()
	if err != nil {
		return err
	}
	switch {
	case r.Store == "" && (r.Last != 0 || r.From != "" || r.Recordings.To != ""):
		return errors.New("--last, --from and --until are for a store: choose from files with --where")
	case r.Last != 0 && (r.From != "" || r.Recordings.To != ""):
		return errors.New("--last and --from or --until exclude each other")
	case r.Rate < 0 || r.Rate > maxReplayRate || r.Rate != r.Rate:
		return fmt.Errorf("--rate %g: from 0 to %g requests a second; 0 is as recorded", r.Rate, maxReplayRate)
	case r.Rate > 0 && factor != 1:
		return errors.New("--rate and --speed exclude each other")
	case r.Concurrency < 0 || r.Concurrency > maxReplayConnections:
		return fmt.Errorf("--concurrency %d: from 1 to %d connections", r.Concurrency, maxReplayConnections)
	case r.Timeout <= 0:
		return fmt.Errorf("--timeout %v: must be more than 0", r.Timeout)
	case !slices.Contains([]string{"auto", "1.1", "2"}, r.HTTP):
		return fmt.Errorf("--http %q: auto, 1.1 or 2", r.HTTP)
	case r.MaxBody == 0:
		return errors.New("--max-body 0: without bodies there is nothing to send, and nothing to compare")
	case r.Rows < 0:
		return fmt.Errorf("--rows %d: must not be negative; 0 is all", r.Rows)
	case r.Color != "auto" && r.Color != "always" && r.Color != "never":
		return fmt.Errorf("--color %q: auto, always or never", r.Color)
	}
	if r.Raw {
		if err := r.validateRaw(); err != nil {
			return err
		}
	}
	return r.Recordings.Validate()
}

// validateRaw refuses what --raw can't do.
func (r *Replay) validateRaw() error {
	for _, o := range [...]struct {
		given bool
		name  string
	}{
		{r.All, "--all"}, {r.Partial, "--partial"}, {r.KeepHost, "--keep-host"}, {len(r.SetHeaders) > 0, "--set-header"}, {len(r.DropHeaders) > 0, "--drop-header"},
		{len(r.RewritePaths) > 0, "--rewrite-path"}, {len(r.Carry) > 0, "--carry"}, {r.HTTP != "auto", "--http"}, {r.Rate > 0, "--rate"},
		{len(r.IgnoreHeaders)+len(r.CompareHeaders) > 0, "--ignore-header, --compare-header"}, {len(r.Ignore) > 0, "--ignore"}, {r.FailSlower, "--fail-slower"},
		{r.Where != "", "--where"}, {r.Store != "", "--store"},
	} {
		if o.given {
			return fmt.Errorf("--raw sends bytes as they were recorded, and knows no requests: leave out %s; a capture filter selects connections", o.name)
		}
	}
	return nil
}
