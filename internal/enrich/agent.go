package enrich

import (
	"strings"

	"github.com/mileusna/useragent"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// MaxUserAgent is how much of a User-Agent header is looked at, in bytes.
	MaxUserAgent = 512
	// MaxUserAgents is how many user agents are remembered, at least half of it: one takes up to 1.5 KiB, usually 0.5.
	MaxUserAgents = 8192

	// maxTokens is how many parts of a header are looked at: the time that it takes grows with their square.
	maxTokens = 64
	// maxText is how long the texts are that are told of a user agent or a place, in bytes.
	maxText = 64
)

// agents turns User-Agent headers into what they tell.
type agents struct {
	known recent[string, *exchange.UserAgent]
}

func newAgents() agents {
	return agents{known: newRecent[string, *exchange.UserAgent](MaxUserAgents / 2)}
}

// agent returns what a header tells, nil for an empty one.
func (a *agents) agent(header []byte, c *counts) *exchange.UserAgent {
	if len(header) == 0 {
		return nil
	}
	if len(header) > MaxUserAgent {
		header = header[:MaxUserAgent]
	}
	if u, ok := text(&a.known, header); ok {
		return u
	}
	c.userAgents.Add(1)
	key := string(header)
	u := parseAgent(key)
	a.known.put(key, u)
	return u
}

// probes are the beginnings of what monitoring systems send that don't say "bot" or an address to read about
// them. Nobody waits for what they ask for, as with other bots.
var probes = [...]string{
	"kube-probe/", "ELB-HealthChecker/", "GoogleHC/", "GoogleStackdriverMonitoring", "Prometheus/", "Blackbox Exporter/", "Blackbox-Exporter/",
	"check_http/", "Consul Health Check", "Envoy/HC", "Datadog Agent/", "Zabbix", "Pingdom", "UptimeRobot/", "StatusCake", "Amazon-Route53-Health-Check",
	"Amazon CloudFront Health", "Edge Health Probe", "Load Balancer Agent",
}

// kinds of clients.
const (
	desktop = "desktop"
	mobile  = "mobile"
	tablet  = "tablet"
	bot     = "bot"
)

// parseAgent parses a header. What it returns doesn't keep the header alive.
func parseAgent(header string) *exchange.UserAgent {
	n := 0
	for i := range len(header) {
		if strings.IndexByte("/;()[]", header[i]) < 0 {
			continue
		}
		if n++; n == maxTokens {
			header = header[:i]
			break
		}
	}
	p := useragent.Parse(header)
	u := &exchange.UserAgent{Name: p.Name, Version: p.Version, OS: p.OS, OSVersion: p.OSVersion, Device: p.Device}

	// What knows no name takes the whole header for it.
	if p.Name == "" || strings.Contains(p.Name, "/") {
		u.Name, u.Version = product(header)
	}
	// Some architectures are taken for versions.
	if u.OSVersion != "" && (u.OSVersion[0] < '0' || u.OSVersion[0] > '9') {
		u.OSVersion = ""
	}
	switch {
	case p.Bot && !isBoto(p) || isProbe(header):
		u.Kind = bot
	case p.Tablet:
		u.Kind = tablet
	case p.Mobile:
		u.Kind = mobile
	// Libraries name their operating system too. Browsers call themselves Mozilla, or once Opera.
	case p.Desktop && (strings.HasPrefix(header, "Mozilla/") || strings.HasPrefix(header, "Opera/")):
		u.Kind = desktop
	}
	for _, s := range [...]*string{&u.Name, &u.Version, &u.OS, &u.OSVersion, &u.Device} {
		*s = clean(*s)
	}
	return u
}

// isBoto reports whether a program is one of Amazon's libraries for Python, whose names have "bot" in them.
func isBoto(p useragent.UserAgent) bool { return p.URL == "" && strings.HasPrefix(p.Name, "Boto") }

func isProbe(header string) bool {
	for _, p := range probes {
		if strings.HasPrefix(header, p) {
			return true
		}
	}
	return false
}

// product splits the first product of a header (RFC 9110 §10.1.5), such as curl/8.5.0.
func product(header string) (name, version string) {
	header = strings.TrimLeft(header, " \t")
	end := strings.IndexAny(header, " \t;,()")
	if end < 0 {
		end = len(header)
	}
	name, version, _ = strings.Cut(header[:end], "/")
	return name, version
}

// clean copies a text from outside, cut to maxText bytes, without what isn't printable.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || 0x80 <= r && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	return strings.Clone(strings.TrimSpace(s))
}
