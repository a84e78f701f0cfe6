package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/config"
)

// docs/config.md has each key, and no other.
func TestConfigDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	keys := config.Sections()
	for _, k := range fileKeys() {
		keys = append(keys, k.Name)
	}
	for _, k := range keys {
		if !slices.Contains(documented, k) {
			t.Errorf("docs/config.md lacks the key %s", k)
		}
	}
	for _, k := range documented {
		if !slices.Contains(keys, k) {
			t.Errorf("docs/config.md has the key %s, which there isn't", k)
		}
	}
	_, part, _ := strings.Cut(string(text), "## For trace")
	for _, k := range keysOfTrace {
		if !strings.Contains(part, "`"+k+"`") {
			t.Errorf("docs/config.md doesn't say that trace takes %s", k)
		}
	}
}

func TestListsOfKeysNameKeys(t *testing.T) {
	var keys []string
	for _, k := range fileKeys() {
		keys = append(keys, k.Name)
	}
	for _, k := range slices.Concat(keysOfTrace, inputKeys, chooserKeys) {
		if !slices.Contains(keys, k) {
			t.Errorf("%s is no key", k)
		}
	}
	for _, k := range keysOfTrace {
		if newTrace().Flags().Lookup(flagOf(k)) == nil {
			t.Errorf("trace has no flag for %s", k)
		}
	}
}

// merged is what a command line and a file come to.
func merged(t *testing.T, file string, keys []string, args ...string) (*config.Serve, error) {
	t.Helper()
	f, err := config.ParseFile("c.yaml", []byte(file), fileKeys())
	if err != nil {
		t.Fatal(err)
	}
	c := config.DefaultServe()
	cmd := newVersion()
	addFlags(cmd, serveGroups(&c, new(string))...)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	c.CaptureFilter = strings.Join(cmd.Flags().Args(), " ")
	return &c, applyConfig(f, cmd.Flags(), &c.Capture, keys)
}

func TestFlagsOverrideTheFile(t *testing.T) {
	const file = `
interface: [eth0, eth1]
capture_filter: port 80
max_body: 64KiB
retain: 7d
geoip: [a.mmdb, b.mmdb]
promisc: true
user: culprit
routes: [/a]
`
	c, err := merged(t, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Live.Interfaces, []string{"eth0", "eth1"}) || c.CaptureFilter != "port 80" || c.MaxBody != 64<<10 ||
		c.Retain != config.Age(7*24*3600e9) || !slices.Equal(c.Enrichment.GeoIP, []string{"a.mmdb", "b.mmdb"}) || !c.Live.Promiscuous ||
		c.Live.User != "culprit" || !slices.Equal(c.Enrichment.Routes, []string{"/a"}) {
		t.Errorf("the file alone: %+v", c)
	}
	if c, err = merged(t, file, nil, "-i", "lo", "--max-body", "1KiB", "--geoip", "c.mmdb"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Live.Interfaces, []string{"lo"}) || c.CaptureFilter != "" || c.MaxBody != 1<<10 ||
		!slices.Equal(c.Enrichment.GeoIP, []string{"c.mmdb"}) || !c.Live.Promiscuous {
		t.Errorf("with an interface: %+v", c)
	}
	// What is said of live captures is for other runs.
	if c, err = merged(t, file, nil, "-r", "a.pcap", "port", "81"); err != nil {
		t.Fatal(err)
	}
	if c.Live.On() || !slices.Equal(c.Inputs, []string{"a.pcap"}) || c.CaptureFilter != "port 81" || c.Live.Promiscuous || c.Live.User != "culprit" {
		t.Errorf("with a file: %+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	// trace takes a part.
	if c, err = merged(t, file, keysOfTrace, "-r", "a.pcap"); err != nil {
		t.Fatal(err)
	}
	if c.Live.On() || c.CaptureFilter != "" || c.MaxBody >= 0 || c.Live.User != "" || len(c.Enrichment.GeoIP) != 2 || len(c.Enrichment.Routes) != 1 {
		t.Errorf("trace: %+v", c)
	}
}

func TestProcessInAFileCaptures(t *testing.T) {
	c, err := merged(t, "process: nginx\n", nil)
	if err != nil || !c.Live.On() || c.Live.Process != "nginx" {
		t.Errorf("%v: %+v", err, c.Live)
	}
	if c, err = merged(t, "process: nginx\n", nil, "-r", "a.pcap"); err != nil || c.Live.On() || c.Live.Process != "" {
		t.Errorf("%v: %+v", err, c.Live)
	}
}
