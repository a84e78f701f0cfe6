package spool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// asWriter makes the test binary fill and empty the spool in a folder until it is killed.
const asWriter = "CULPRIT_TEST_SPOOLER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asWriter); dir != "" {
		fmt.Println(spoolUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func spoolUntilKilled(dir string) error {
	s, err := Open(dir, Options{MaxBytes: 64 << 20, SegmentBytes: 20_000})
	if err != nil {
		return err
	}
	var first uint64
	if _, err := fmt.Sscan(os.Getenv("CULPRIT_TEST_FROM"), &first); err != nil {
		return err
	}
	for id := first; ; id++ {
		if err := s.Append(payload(id), eventsOf(id)); err != nil {
			return err
		}
		fmt.Println("appended", id)
		if id%3 > 0 {
			continue
		}
		c, err := s.Next(context.Background(), 500)
		if err != nil {
			return err
		}
		for _, b := range c.Frames {
			id, err := idOf(b)
			if err != nil {
				return err
			}
			fmt.Println("delivered", id)
		}
		s.Done(c)
	}
}

// Killing the process costs nothing that it was told is appended.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	appended, delivered := map[uint64]bool{}, map[uint64]int{}
	last := uint64(0)
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asWriter+"="+dir, fmt.Sprintf("CULPRIT_TEST_FROM=%d", last+10))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var id uint64
			what, number, _ := strings.Cut(lines.Text(), " ")
			if _, err := fmt.Sscan(number, &id); err != nil {
				t.Error(lines.Text())
				break
			}
			switch what {
			case "appended":
				appended[id] = true
				last = max(last, id)
			case "delivered":
				delivered[id]++
			}
			if n == 137*round+13 {
				must(t, cmd.Process.Kill()) // and what it says until then is read
			}
		}
		_ = cmd.Wait()
	}
	s, err := Open(dir, Options{MaxBytes: 64 << 20})
	must(t, err)
	for _, id := range rest(t, s) {
		delivered[id]++
	}
	if q := s.Stats(); q.Damaged+q.Dropped != 0 {
		t.Errorf("%+v", q)
	}
	must(t, s.Close())
	for id := range appended {
		if delivered[id] == 0 {
			t.Errorf("frame %d was lost", id)
		}
	}
	if len(appended) < 500 {
		t.Error("only", len(appended), "frames were appended")
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range left {
		if strings.HasSuffix(e.Name(), suffix) {
			t.Error(e.Name(), "is left, though all is done")
		}
	}
}
