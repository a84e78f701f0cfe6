package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/output/files"
)

// TestTcpflow: whole connections give the files that tcpflow makes of them, byte by byte.
func TestTcpflow(t *testing.T) {
	tcpflow, err := exec.LookPath("tcpflow")
	if err != nil {
		t.Skip("tcpflow isn't installed: apt-get install tcpflow")
	}
	captures := []string{demo}
	if shared := os.Getenv("CULPRIT_SHARED"); shared != "" {
		for _, name := range []string{
			"tcpflow/test1.pcap", "arkime/openssl-tls1.pcap", "arkime/postgres-good.pcap", "zeek/tls/tls12-decryption.pcap", "ndpi/http_ipv6.pcap",
			"zeek/var-services-std-ports.pcap", "zeek/redis/pubsub-resp3.pcap",
		} {
			captures = append(captures, filepath.Join(shared, "corpus", "files", name))
		}
	} else {
		t.Log("only the sample capture: the captures of others aren't here; set CULPRIT_SHARED")
	}
	for _, capture := range captures {
		if _, err := os.Stat(capture); err != nil {
			t.Error(err)
			continue
		}
		ours, theirs := filepath.Join(t.TempDir(), "ours"), t.TempDir()
		var stderr bytes.Buffer
		if status := run([]string{"trace", "-r", capture, "-o", "files=" + ours, "--ciphertext"}, strings.NewReader(""), io.Discard, &stderr); status != 0 && status != exitLossy {
			t.Errorf("%s: exit status %d: %s", capture, status, &stderr)
			continue
		}
		if out, err := exec.Command(tcpflow, "-r", capture, "-o", theirs, "-E", "tcpdemux", "-q").CombinedOutput(); err != nil {
			t.Errorf("%s: tcpflow: %v: %s", capture, err, out)
			continue
		}
		got, want := contents(t, ours), contents(t, theirs)
		delete(want, "report.xml")
		if len(want) == 0 {
			t.Errorf("%s: tcpflow finds nothing", capture)
		}
		for name, b := range want {
			if !bytes.Equal(got[name], b) {
				t.Errorf("%s: %s has %d bytes, and not the %d of tcpflow's", capture, name, len(got[name]), len(b))
			}
			delete(got, name)
		}
		for name := range got {
			t.Errorf("%s: tcpflow has no %s", capture, name)
		}
	}
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = b
	}
	return all
}

// TestFolder: whatever is in the folder, nobody else's file is written.
func TestFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, force := range []bool{false, true} {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		in := filesIn{root, force}
		os.Remove(filepath.Join(dir, "a"))
		os.Remove(filepath.Join(dir, "b"))
		if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(outside, filepath.Join(dir, "b")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			f, err := in.Create(name)
			if (err == nil) != force {
				t.Errorf("force %v: making %s gives %v", force, name, err)
			}
			if err == nil {
				write(t, f)
			}
		}
		if _, err := in.Create("../escaped"); err == nil {
			t.Error("a file was made outside of the folder")
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "mine" {
		t.Errorf("the other file has %q, %v", b, err)
	}
}

func write(t *testing.T, f files.File) {
	t.Helper()
	if _, err := f.WriteAt([]byte("theirs"), 0); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
