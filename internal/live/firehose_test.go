//go:build linux

package live

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/lab"
)

// direction is one direction of a conversation in a firehose stream.
type direction struct {
	text      string
	fragments uint64
	ended     bool
}

// recording reads a firehose stream, every fragment of which must be in its place.
func recording(t *testing.T, path string) map[firehose.UUID]map[firehose.Dir]*direction {
	t.Helper()
	f := must(os.Open(path))(t)
	defer f.Close()
	all := map[firehose.UUID]map[firehose.Dir]*direction{}
	in := firehose.NewReader(f)
	for {
		var x firehose.Fragment
		if err := in.Next(&x); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if all[x.UUID] == nil {
			all[x.UUID] = map[firehose.Dir]*direction{}
		}
		d := all[x.UUID][x.Dir]
		if d == nil {
			d = &direction{}
			all[x.UUID][x.Dir] = d
		}
		if x.Untrusted || d.ended || x.Count != d.fragments {
			t.Errorf("%s %c: a fragment with the place %d behind %d, ended: %v", x.UUID, x.Dir, x.Count, d.fragments, d.ended)
		}
		if d.ended = x.End; !x.End {
			d.fragments++
			d.text += string(x.Data)
		}
	}
	if n := in.Totals(); n.Damages > 0 {
		t.Errorf("the stream is damaged: %+v", n)
	}
	return all
}

// A recording that is ended by a signal has all that was said until then, and the marks of all ends, also those of connections that go on: so
// who reads it knows that nothing is missing.
func TestFirehoseStopped(t *testing.T) {
	for _, c := range []struct {
		signal os.Signal
		mode   string
		// conversations is how many there are: connections, or requests.
		conversations int
	}{
		{syscall.SIGTERM, "connection", 3},
		{syscall.SIGTERM, "request", 22},
		{os.Interrupt, "request", 22},
	} {
		t.Run(c.signal.String()+", "+c.mode, func(t *testing.T) {
			client, server, _ := pair(t, newLab(t, "nginx"))
			path := filepath.Join(t.TempDir(), "web.firehose")
			stderr := newLines()
			cmd := exec.Command(os.Getenv(binary), "firehose", "record", "-i", "s0", "--ring", "64MiB", "--to", path, "--mode", c.mode, "--party", server4+":80")
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
			cmd.Stderr = stderr
			p := must(server.Namespace.Start(cmd))(t)
			if !stderr.has(capturing.MatchString, p, lab.Patience) {
				t.Fatalf("culprit doesn't capture:\n%s", stderr)
			}
			drive(t, client.Namespace, server4+":80", 2, 20, numbered("a"))
			// One that goes on: a request, and half of another. Who answers the first has got the packet with both.
			conn := must(client.Namespace.Dial("tcp", server4+":80"))(t)
			defer conn.Close()
			const asked = "GET /echo?id=open HTTP/1.1\r\nHost: a\r\n\r\n"
			const half = "GET /echo?id=half HTTP/1.1\r\nHos"
			must(io.WriteString(conn, asked+half))(t)
			answer := make([]byte, 4096)
			n := must(conn.Read(answer))(t)
			check(t, p.Signal(c.signal))
			if err := p.Wait(); err != nil {
				var exit *exec.ExitError
				t.Errorf("%v (ended by itself: %v); standard error:\n%s", err, errors.As(err, &exit), stderr)
			}
			all := recording(t, path)
			if len(all) != c.conversations {
				t.Errorf("%d conversations, want %d; standard error:\n%s", len(all), c.conversations, stderr)
			}
			open := ""
			for uuid, both := range all {
				for dir, d := range both {
					if !d.ended {
						t.Errorf("%s %c has no end", uuid, dir)
					}
					if strings.Contains(d.text, "id=open") && dir == firehose.Request {
						open = d.text
						if got := both[firehose.Response]; got == nil || !strings.HasPrefix(got.text, string(answer[:n])) {
							t.Errorf("the response to %q is %+v, want %q", d.text, got, answer[:n])
						}
					}
					if strings.Contains(d.text, "id=half") && !strings.HasSuffix(d.text, half) {
						t.Errorf("of the last request there is %q", d.text)
					}
				}
			}
			if !strings.HasPrefix(open, asked) {
				t.Errorf("the connection that goes on has %q", open)
			}
			info := must(os.Stat(path))(t)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("its mode is %v", info.Mode())
			}
		})
	}
}
