package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/disktest"
)

// On a real file system that runs full: nothing that was taken is lost, and it goes on when there is room.
func TestFullFileSystem(t *testing.T) {
	root := disktest.Small(t, "2m")
	if root == "" {
		return
	}
	dir := filepath.Join(root, "wal")
	l, err := Open(dir, Options{Header: []byte("columns")})
	must(t, err)
	ballast := filepath.Join(root, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o600))
	var want []string
	// fill appends until nothing goes any more.
	fill := func() {
		t.Helper()
		refused := 0
		for i := 0; refused < 10; i++ {
			if i > 10_000 {
				t.Fatal("the file system doesn't run full")
			}
			s := fmt.Sprint(len(want), strings.Repeat("x", 100+i*997%20_000))
			switch err := l.Append([]byte(s)); {
			case err == nil:
				want = append(want, s)
			case errors.Is(err, ErrFull):
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	fill()
	first := len(want)
	must(t, l.Sync())
	if free, err := disk.Free(dir); err != nil || free > 64<<10 {
		t.Errorf("%d bytes are free: %v", free, err)
	}
	must(t, os.Remove(ballast))
	fill()
	sealed, err := l.Rotate()
	must(t, err)
	if err := l.Append(make([]byte, 30_000)); !errors.Is(err, ErrFull) {
		t.Errorf("a new file on a full file system: %v", err)
	}
	if len(want) < first+30 {
		t.Errorf("%d records while full, %d after", first, len(want))
	}
	// The process ends here, without Close.
	got, r := []string{}, Report{}
	again, err := Open(dir, Options{})
	must(t, err)
	r, err = again.Replay(func(_ uint64, header, b []byte) error {
		if !bytes.Equal(header, []byte("columns")) {
			t.Errorf("header %q", header)
		}
		got = append(got, string(b))
		return nil
	})
	if err != nil || !slices.Equal(got, want) || r.Torn+r.Damaged > 0 || r.Unsynced != nil {
		t.Errorf("%d of %d records, %+v, %v", len(got), len(want), r, err)
	}
	must(t, again.Remove(sealed))
	must(t, again.Append(make([]byte, 30_000)))
	must(t, again.Close())
	t.Logf("%d records while full, %d after; %+v", first, len(want)-first, l.Stats())
}
