package wal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// asWriter makes the test binary write the log in a folder until it is killed.
const asWriter = "CULPRIT_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asWriter); dir != "" {
		fmt.Println(writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(dir string) error {
	l, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	next := uint64(0)
	if _, err := l.Replay(func(_ uint64, _, b []byte) error {
		next = binary.LittleEndian.Uint64(b) + 1
		return nil
	}); err != nil {
		return err
	}
	for ; ; next++ {
		if err := l.Append(payload(next)); err != nil {
			return err
		}
		fmt.Println(next)
		switch {
		case next%100 == 50:
			err = l.Sync()
		case next%100 == 99:
			_, err = l.Rotate()
		}
		if err != nil {
			return err
		}
	}
}

// Killing the writer costs nothing that it was told is appended.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	last := uint64(0)
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asWriter+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			id, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Error(lines.Text())
				break
			}
			last = id
			if n == 37*round+13 {
				must(t, cmd.Process.Kill()) // and what it says until then is read
			}
		}
		_ = cmd.Wait()
		next := uint64(0)
		r, err := Read(nil, dir, 0, func(_ uint64, _, b []byte) error {
			if id := binary.LittleEndian.Uint64(b); id != next || !bytes.Equal(b, payload(id)) {
				return fmt.Errorf("record %d in place of %d", id, next)
			}
			next++
			return nil
		})
		if err != nil || next <= last || r.Damaged+int64(r.Missing) > 0 {
			t.Fatalf("round %d: %d of %d records, %+v, %v", round, next, last+1, r, err)
		}
	}
}
