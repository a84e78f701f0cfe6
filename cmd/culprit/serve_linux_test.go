package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/store/disktest"
)

// On the host itself: what passes the loopback is stored, but for what culprit serves, by a process without privileges;
// and it is found again after a restart.
func TestServeLoopback(t *testing.T) {
	if len(privilege.Missing(privilege.CapNetRaw)) > 0 {
		t.Skip("capturing needs CAP_NET_RAW; run this as root")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer site.Close()
	at, err := url.Parse(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	dir := storeFolder(t)
	args := []string{"-i", "lo", "--store", dir, "--keep-packets", "4MiB", "-v"}
	p := startServe(t, args...)
	p.until(t, "capturing on lo")
	r := p.ask(t, "/api/live?where=server.port=="+at.Port())
	defer r.Body.Close()
	for n := range 3 {
		answer, err := http.Get(fmt.Sprintf("%s/things/%d?password=hunter2", site.URL, n))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	seen := 0
	for events := bufio.NewScanner(r.Body); seen < 3 && events.Scan(); {
		if strings.Contains(events.Text(), "/things/") {
			seen++
		}
		if strings.Contains(events.Text(), "hunter2") {
			t.Errorf("a secret: %s", events.Text())
		}
	}
	if seen != 3 {
		t.Errorf("%d were shown live", seen)
	}
	if root {
		for _, name := range []string{".", "format", "log", "segments", "packets"} {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid == 0 {
				t.Errorf("%s belongs to root: %v", name, err)
			}
		}
		if said := strings.Join(p.said, "\n"); !strings.Contains(said, "user: nobody") || !strings.Contains(said, "capabilities: none") {
			t.Errorf("privileges are kept:\n%s", said)
		}
	}
	p.end(t, 0)

	p = startServe(t, "--store", dir)
	var found struct {
		Exchanges []struct {
			URL     struct{ Original string }
			Culprit struct{ Route string }
		}
	}
	p.get(t, "/api/exchanges?fields=target,route&where=server.port=="+at.Port(), &found)
	if len(found.Exchanges) != 3 || found.Exchanges[0].Culprit.Route != "/things/{id}" {
		t.Errorf("after a restart: %+v", found)
	}
	for _, x := range found.Exchanges {
		if strings.Contains(x.URL.Original, "hunter2") {
			t.Errorf("a secret is stored: %s", x.URL.Original)
		}
	}
	// What culprit itself answered isn't there.
	p.get(t, "/api/exchanges?where=path+startsWith+\"/api/live\"&last=1m", &found)
	if len(found.Exchanges) != 0 {
		t.Errorf("culprit watched itself: %+v", found)
	}
	p.end(t, 0)
}

// On a disk that runs full, a capture goes on, counts what it couldn't store, and says so; an import ends.
func TestServeFullDisk(t *testing.T) {
	dir := disktest.Small(t, "16k")
	if dir == "" {
		return
	}
	var out strings.Builder
	importing := exec.CommandContext(t.Context(), "culprit", "serve", "-r", demo, "--store", filepath.Join(dir, "a"), "--import-only")
	importing.Env, importing.Stderr = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir()), &out
	_ = importing.Run()
	if code := importing.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(out.String(), "the disk is full") ||
		!strings.Contains(out.String(), "import again") {
		t.Errorf("an import: status %d\n%s", code, out.String())
	}

	b, err := os.ReadFile(demo)
	if err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "-r", "-", "--store", filepath.Join(dir, "a"))
	if _, err := p.stdin.Write(b); err != nil {
		t.Fatal(err)
	}
	p.stdin.Close()
	p.until(t, "all is read")
	var s apiStatus
	p.get(t, "/api/status", &s)
	if s.Capture.Exchanges.Seen != 43 || s.Capture.Stored.Lost.Store != 43 || s.Store.Exchanges != 0 {
		t.Errorf("a capture: %+v of %+v", s.Capture.Stored, s.Capture.Exchanges)
	}
	p.end(t, exitLossy)
}

// hostAnswer is the part of /api/host that the test looks at.
type hostAnswer struct {
	On         bool
	Problem    string
	Samples    int
	Processors int
	Series     []struct {
		Name   string
		Values []*float64
	}
	Processes []struct {
		PID int
		CPU []*float64
	}
}

// used is the largest mean of processor time of a process, 0 when it isn't there.
func (h *hostAnswer) used(pid int) (most float64) {
	for _, p := range h.Processes {
		for _, v := range p.CPU {
			if p.PID == pid && v != nil {
				most = max(most, *v)
			}
		}
	}
	return most
}

// A process without privileges measures the machine, and the process that serves: this test. What was measured is there
// after a restart, also when nothing is measured any more.
func TestServeHostMetrics(t *testing.T) {
	if len(privilege.Missing(privilege.CapNetRaw)) > 0 {
		t.Skip("capturing needs CAP_NET_RAW; run this as root")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer site.Close()
	at, err := url.Parse(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := storeFolder(t)
	p := startServe(t, "-i", "lo", "--host-metrics", "--store", dir, "port", at.Port())
	p.until(t, "capturing on lo")
	var h hostAnswer
	for h.used(os.Getpid()) == 0 { // which keeps this process busy
		for range 20 {
			answer, err := http.Get(site.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		h = hostAnswer{}
		if p.get(t, "/api/host?last=1m&interval=1s", &h); !h.On || h.Problem != "" {
			t.Fatalf("%+v", h)
		}
	}
	measured := map[string]bool{}
	for _, s := range h.Series {
		for _, v := range s.Values {
			measured[s.Name] = measured[s.Name] || v != nil && *v > 0
		}
	}
	for _, name := range []string{"cpu.busy", "memory.available", "network.in.bytes", "network.out.packets"} {
		if !measured[name] {
			t.Errorf("%s isn't measured", name)
		}
	}
	if h.Processors == 0 || h.Samples == 0 {
		t.Errorf("%d processors, %d samples", h.Processors, h.Samples)
	}
	p.end(t, 0)

	p = startServe(t, "--store", dir)
	var after hostAnswer
	if p.get(t, "/api/host?last=10m", &after); after.On || after.Samples < h.Samples || after.used(os.Getpid()) == 0 {
		t.Errorf("after a restart: %+v", after)
	}
	p.end(t, 0)
}
