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
	if s.Capture.Exchanges.Seen != 41 || s.Capture.Stored.Lost.Store != 41 || s.Store.Exchanges != 0 {
		t.Errorf("a capture: %+v of %+v", s.Capture.Stored, s.Capture.Exchanges)
	}
	p.end(t, exitLossy)
}
