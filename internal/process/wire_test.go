package process

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// answering is an Owners made of a table.
type answering struct {
	wants   []Want
	answers []Answer
	blind   Blind
	err     error
}

func (a *answering) Owners(wants []Want) ([]Answer, error) {
	a.wants = append(a.wants, wants...)
	return a.answers, a.err
}

func (a *answering) Blind() (Blind, error) { return a.blind, a.err }

func TestRemote(t *testing.T) {
	nginx := &exchange.Process{
		PID: 412, Name: "nginx", Args: []string{"nginx: worker process", "", "a\xff\x00"}, Executable: "/usr/sbin/nginx", User: "www-data",
		ContainerID: "c", PodUID: "p", Unit: "nginx.service",
	}
	shared := &exchange.Process{Name: "a\nb\xff", User: "0"}
	here := &answering{
		answers: []Answer{{Process: nginx}, {}, {Later: true}, {Process: shared}, {Process: nginx}, {Process: shared}},
		blind:   Blind{Processes: 3, Seen: 99, Missing: []string{"CAP_SYS_PTRACE"}},
	}
	r := NewRemote(func(req []byte) ([]byte, error) { return Serve(here, req) })
	wants := []Want{{Inode: 1<<64 - 1, UID: 1<<32 - 1, Listener: 7, Recheck: true}, {Inode: 2, Listening: true}, {Inode: 3}, {Inode: 4}, {Inode: 5}, {Inode: 6}}
	got, err := r.Owners(wants)
	if err != nil || !reflect.DeepEqual(got, here.answers) {
		t.Errorf("%+v %v", got, err)
	}
	if got[0].Process != got[4].Process || got[3].Process != got[5].Process {
		t.Error("one process came as two")
	}
	if !reflect.DeepEqual(here.wants, wants) {
		t.Errorf("asked: %+v", here.wants)
	}
	if b, err := r.Blind(); err != nil || !reflect.DeepEqual(b, here.blind) {
		t.Errorf("%+v %v", b, err)
	}
	here.err = errors.New("no")
	if _, err := r.Owners(wants); !errors.Is(err, here.err) {
		t.Error(err)
	}
	if got, err := r.Owners(nil); got != nil || err != nil {
		t.Error(got, err)
	}
}

// What has no room in a message is left for later.
func TestRemoteBounded(t *testing.T) {
	here := &answering{}
	wants := make([]Want, MaxWants)
	for i := range wants {
		here.answers = append(here.answers, Answer{Process: &exchange.Process{PID: i + 1, Args: []string{strings.Repeat("x", maxCommandLine)}}})
	}
	size := 0
	r := NewRemote(func(req []byte) ([]byte, error) {
		reply, err := Serve(here, req)
		size = len(reply)
		return reply, err
	})
	got, err := r.Owners(wants)
	if err != nil || size > MaxMessage {
		t.Fatal(size, err)
	}
	whole := 0
	for i, a := range got {
		if a.Later == (a.Process != nil) {
			t.Errorf("%d: %+v", i, a)
		}
		if a.Process != nil {
			whole++
		}
	}
	if whole < 10 {
		t.Errorf("only %d answers in %d bytes", whole, size)
	}
}

func TestServeRefuses(t *testing.T) {
	here := &answering{}
	for _, req := range [][]byte{nil, {1}, append([]byte{MaxWants + 1}, make([]byte, (MaxWants+1)*wantSize)...), {0, 0}, make([]byte, 1<<20)} {
		if reply, err := Serve(here, req); err == nil {
			t.Errorf("%d bytes: %v", len(req), reply)
		}
	}
	if here.wants != nil {
		t.Error(here.wants)
	}
}

func TestCommon(t *testing.T) {
	a := &exchange.Process{PID: 1, Name: "nginx", Args: []string{"a"}, User: "root", Unit: "nginx.service"}
	b := &exchange.Process{PID: 2, Name: "nginx", Args: []string{"b"}, User: "www", Unit: "nginx.service"}
	if got := Common([]*exchange.Process{a, b}); !reflect.DeepEqual(got, &exchange.Process{Name: "nginx", Unit: "nginx.service"}) {
		t.Errorf("%+v", got)
	}
	if a.PID != 1 || a.User != "root" {
		t.Error("changed: ", a)
	}
	if got := Common([]*exchange.Process{a}); got != a {
		t.Errorf("%+v", got)
	}
	if got := Common([]*exchange.Process{a, a}); got != a {
		t.Errorf("one process by two sockets: %+v", got)
	}
	if got := Common(nil); got != nil {
		t.Errorf("%+v", got)
	}
	shared := &exchange.Process{Name: "x"}
	if got := Common([]*exchange.Process{shared, shared}); got.PID != 0 || got.Name != "x" {
		t.Errorf("%+v", got)
	}
}

// FuzzWire: whatever bytes come, messages between the processes are refused, or decoded within their bounds; and what
// decodes can be encoded, and decodes to the same again.
func FuzzWire(f *testing.F) {
	f.Add(appendAnswers(nil, []Answer{{Process: &exchange.Process{PID: 1, Name: "a", Args: []string{"b", ""}}}, {Later: true}, {}}), byte(3))
	f.Add(appendBlind(nil, Blind{1, 2, []string{"CAP_SYS_PTRACE"}}), byte(0))
	f.Add([]byte{0}, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, n byte) {
		Serve(&answering{}, b)
		if x, err := parseBlind(b); err == nil {
			for i := range x.Missing {
				x.Missing[i] = x.Missing[i][:min(len(x.Missing[i]), maxPath)]
			}
			if y, err := parseBlind(appendBlind(nil, x)); err != nil || !reflect.DeepEqual(x, y) {
				t.Errorf("%+v %+v %v", x, y, err)
			}
		}
		wants := min(int(n), MaxWants)
		answers, err := parseAnswers(b, wants)
		if err != nil {
			return
		}
		if len(answers) != wants {
			t.Fatalf("%d answers to %d wants", len(answers), wants)
		}
		again, err := parseAnswers(appendAnswers(nil, answers), wants)
		if err != nil || len(again) != wants {
			t.Fatalf("encoded again: %v", err)
		}
		for i, a := range answers {
			if a.Later != again[i].Later && !again[i].Later || (a.Process == nil) != (again[i].Process == nil) && !again[i].Later {
				t.Errorf("%+v became %+v", a, again[i])
			}
			if a.Process != nil && len(a.Process.Args) > maxArgs {
				t.Fatalf("%d arguments", len(a.Process.Args))
			}
		}
	})
}
