package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// connect makes a Conn to the services that the tests use: local or to a keeper.
type connect func(t *testing.T) *Conn

func local(t *testing.T) *Conn { return Local(testServices([]byte("agreed"))) }

// testServices are those of the tests' keeper.
func testServices(agreed []byte) Services {
	var meet sync.WaitGroup // both calls of "together" are within the handler
	meet.Add(2)
	release := make(chan struct{})
	var once sync.Once
	return Services{
		"agreed": func([]byte) ([]byte, []*os.File, error) { return agreed, nil, nil },
		"echo":   func(req []byte) ([]byte, []*os.File, error) { return req, nil, nil },
		"pid":    func([]byte) ([]byte, []*os.File, error) { return fmt.Append(nil, os.Getpid()), nil, nil },
		"sid": func([]byte) ([]byte, []*os.File, error) {
			sid, _, errno := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
			if errno != 0 {
				return nil, nil, errno
			}
			return fmt.Append(nil, sid), nil, nil
		},
		"missing": func([]byte) ([]byte, []*os.File, error) {
			_, err := os.Open("/nonexistent/file")
			return []byte("not sent"), nil, fmt.Errorf("opening: %w", err)
		},
		// pipes returns the reading ends of as many pipes as the request's first byte says, with their number in each.
		"pipes": func(req []byte) (reply []byte, files []*os.File, err error) {
			for i := range req[0] {
				r, w, err := os.Pipe()
				if err != nil {
					return nil, files, err
				}
				w.Write([]byte{i})
				w.Close()
				files = append(files, r)
			}
			if len(req) > 1 {
				return nil, files, syscall.ENODEV
			}
			return []byte("pipes"), files, nil
		},
		"closed": func([]byte) ([]byte, []*os.File, error) {
			r, w, err := os.Pipe()
			if err == nil {
				r.Close()
				w.Close()
			}
			return nil, []*os.File{r}, err
		},
		"big": func([]byte) ([]byte, []*os.File, error) { return make([]byte, MaxReply+1), nil, nil },
		"wait": func([]byte) ([]byte, []*os.File, error) {
			<-release
			return nil, nil, nil
		},
		"release": func([]byte) ([]byte, []*os.File, error) {
			once.Do(func() { close(release) })
			return nil, nil, nil
		},
		"together": func([]byte) ([]byte, []*os.File, error) {
			meet.Done()
			meet.Wait()
			return nil, nil, nil
		},
		"crash": func([]byte) ([]byte, []*os.File, error) { os.Exit(7); return nil, nil, nil },
	}
}

func TestCall(t *testing.T) { each(t, testCall) }

func testCall(t *testing.T, to connect) {
	c := to(t)
	call := func(service string, req []byte) ([]byte, []*os.File, error) {
		t.Helper()
		return c.Call(service, req)
	}
	if reply, _, err := call("agreed", nil); err != nil || string(reply) != "agreed" {
		t.Errorf("agreed: %q, %v", reply, err)
	}
	for _, n := range []int{0, 1, MaxRequest} {
		req := bytes.Repeat([]byte{0xa5}, n)
		if reply, files, err := call("echo", req); err != nil || !bytes.Equal(reply, req) || files != nil {
			t.Errorf("echo of %d bytes: %d bytes, %d files, %v", n, len(reply), len(files), err)
		}
	}
	if _, _, err := call("echo", make([]byte, MaxRequest+1)); err == nil {
		t.Error("a request over the limit was taken")
	}
	if _, _, err := call("big", nil); err == nil || !strings.Contains(err.Error(), "can be sent") {
		t.Errorf("a reply over the limit: %v", err)
	}
	if _, _, err := call("nothing", nil); err == nil || !strings.Contains(err.Error(), `no service "nothing"`) {
		t.Errorf("an unknown service: %v", err)
	}
	for _, name := range []string{"", strings.Repeat("x", maxName+1)} {
		if _, _, err := call(name, nil); err == nil {
			t.Errorf("service %q was taken", name)
		}
	}
	reply, _, err := call("missing", nil)
	if !errors.Is(err, os.ErrNotExist) || reply != nil || err.Error() != "opening: open /nonexistent/file: no such file or directory" {
		t.Errorf("an error of the system: %q, %v", reply, err)
	}
	for _, n := range []byte{0, 1, MaxFiles} {
		reply, files, err := call("pipes", []byte{n})
		if err != nil || string(reply) != "pipes" || len(files) != int(n) {
			t.Fatalf("%d files: %q, %d, %v", n, reply, len(files), err)
		}
		for i, f := range files {
			b := make([]byte, 2)
			if n, err := f.Read(b); n != 1 || err != nil || b[0] != byte(i) {
				t.Errorf("file %d: %v, %v", i, b[:n], err)
			}
			f.Close()
		}
	}
	if _, files, err := call("pipes", []byte{MaxFiles + 1}); err == nil || files != nil {
		t.Errorf("too many files: %d, %v", len(files), err)
	}
	if _, files, err := call("pipes", []byte{2, 1}); !errors.Is(err, syscall.ENODEV) || files != nil {
		t.Errorf("files beside an error: %d, %v", len(files), err)
	}
	if reply, _, err := call("echo", []byte("still")); err != nil || string(reply) != "still" {
		t.Errorf("after all that: %q, %v", reply, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestConcurrency(t *testing.T) { each(t, testConcurrency) }

func testConcurrency(t *testing.T, to connect) {
	c := to(t)
	defer c.Close()

	// A service whose hands are full delays no other.
	var waiting sync.WaitGroup
	for range 2 * MaxPending {
		waiting.Go(func() {
			if _, _, err := c.Call("wait", nil); err != nil {
				t.Error(err)
			}
		})
	}
	if _, _, err := c.Call("echo", nil); err != nil {
		t.Error(err)
	}
	// Calls of one service run side by side.
	var together sync.WaitGroup
	for range 2 {
		together.Go(func() {
			if _, _, err := c.Call("together", nil); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	if _, _, err := c.Call("release", nil); err != nil {
		t.Error(err)
	}
	waiting.Wait()

	// Each caller gets its own answer.
	var echoes sync.WaitGroup
	for g := range 50 {
		echoes.Go(func() {
			for i := range 100 {
				want := fmt.Sprint(g, i)
				if got, _, err := c.Call("echo", []byte(want)); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", want, got, err)
					return
				}
			}
		})
	}
	echoes.Wait()
}
