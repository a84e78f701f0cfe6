package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/store/faultfs"
)

// given is a record that Append took.
type given struct {
	id      uint64
	durable bool
}

// world is a log on a file system where anything may happen, with what must be true of it.
type world struct {
	r  *rand.Rand
	fs *faultfs.FS
	l  *Log
	// next numbers records. all are those in the log, in order.
	next uint64
	all  []given
	// began is the last record before this life.
	began uint64
	// from is the first file that counts, and sealed the last that was rotated, with the records up to it.
	from, sealed uint64
	sealedIDs    uint64
	// lied: a Sync has failed since the last power cut, so that the kernel may show what isn't on the disk.
	lied bool
	// faulty: calls fail at random.
	faulty bool
	counts map[string]int
}

// payload is what the record with a number has.
func payload(id uint64) []byte {
	r := rand.New(rand.NewPCG(id, 1))
	n := 8 + r.IntN(60)
	switch r.IntN(8) {
	case 0:
		n = 8 + r.IntN(3000)
	case 1: // bytes that look like the start of others
		b := binary.LittleEndian.AppendUint64(nil, id)
		return appendRecord(b, r.Uint64(), id+1, []byte("no record"))
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, n), id)
	for len(b) < n {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

const folder = "/store/wal"

func (w *world) faults() {
	w.fs.Inject(nil)
	if !w.faulty {
		return
	}
	rate := []int{5, 20, 100}[w.r.IntN(3)]
	w.fs.Inject(func(op faultfs.Op) *faultfs.Fault {
		if w.r.IntN(rate) > 0 {
			return nil
		}
		switch op.Kind {
		case faultfs.Write:
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO}[w.r.IntN(2)], Done: w.r.IntN(max(1, op.Len))}
		case faultfs.Sync:
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT}[w.r.IntN(3)]}
		case faultfs.Truncate, faultfs.TruncateName, faultfs.Create, faultfs.Remove, faultfs.SyncDir:
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
}

// reopen opens the log, and checks that what it has is what it must have. lossless: nothing may be lost.
func (w *world) reopen(lossless bool) error {
	w.fs.Inject(nil)
	l, err := Open(folder, Options{FS: w.fs, Header: []byte("columns"), Writer: "test", From: w.from, MaxUnsynced: 4000})
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	w.l, w.sealed, w.sealedIDs, w.began = l, 0, 0, w.next
	var found []given
	check := func(seq uint64, header, b []byte) error {
		if string(header) != "columns" || seq < w.from {
			return fmt.Errorf("header %q, file %d", header, seq)
		}
		if len(b) < 8 {
			return fmt.Errorf("%d bytes", len(b))
		}
		id := binary.LittleEndian.Uint64(b)
		if !bytes.Equal(b, payload(id)) {
			return fmt.Errorf("record %d isn't what was given", id)
		}
		found = append(found, given{id: id})
		return nil
	}
	// Whoever only reads finds the same.
	if _, err := Read(w.fs, folder, w.from, check); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	read := found
	found = nil
	w.faults()
	report, err := l.Replay(check)
	if err != nil {
		return fmt.Errorf("replaying: %w", err)
	}
	if !slices.Equal(found, read) {
		return fmt.Errorf("read %v, replayed %v", read, found)
	}
	w.counts["duplicates"] += int(report.Duplicates)
	w.counts["torn"] += int(min(report.Torn, 1))
	w.counts["damaged"] += int(min(report.Damaged, 1))
	i := 0
	for _, g := range w.all {
		if i < len(found) && found[i].id == g.id {
			found[i].durable = g.durable || report.Unsynced == nil && !w.lied
			i++
			continue
		}
		w.counts["lost"]++
		if g.durable || lossless {
			return fmt.Errorf("record %d is lost (durable %v); found %v", g.id, g.durable, found)
		}
	}
	if i < len(found) {
		return fmt.Errorf("record %d was never given, or is out of place: %v", found[i].id, found)
	}
	w.counts["found"] += i
	w.all = found
	return nil
}

// step does something to the log.
func (w *world) step() error {
	var err error
	switch n := w.r.IntN(20); {
	case n < 12:
		w.next++
		// When the power goes during Append, the record may be there.
		if err = w.l.Append(payload(w.next)); err == nil || errors.Is(err, faultfs.ErrDown) {
			w.all = append(w.all, given{id: w.next})
		}
	case n < 15:
		if err = w.l.Sync(); err == nil {
			w.durable()
		}
	case n < 17:
		var sealed uint64
		if sealed, err = w.l.Rotate(); err == nil {
			w.durable()
			w.sealed, w.sealedIDs = sealed, w.next
		}
	case n < 19:
		// Their records are elsewhere now, whether the files go or not.
		w.from = max(w.from, w.sealed+1)
		for len(w.all) > 0 && w.all[0].id <= w.sealedIDs {
			w.all = w.all[1:]
		}
		err = w.l.Remove(w.sealed)
	case n < 20 && w.r.IntN(4) == 0: // the way out when Rotate fails
		w.from = max(w.from, w.l.Stats().Seq+1)
		w.all = nil
		err = w.l.Remove(w.from - 1)
	case w.r.IntN(2) == 0:
		w.fs.SetCapacity(w.fs.Used() + int64(w.r.IntN(6000)))
	default:
		w.fs.SetCapacity(0)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFull):
		w.counts["full"]++
		return nil
	case errors.Is(err, syscall.EIO), errors.Is(err, errAbandoned):
		w.counts["failed"]++
		return nil
	}
	return err
}

// durable marks what this life's log has appended: the files of earlier ones are synced by Replay or not at all.
func (w *world) durable() {
	for i := range w.all {
		w.all[i].durable = w.all[i].durable || w.all[i].id > w.began
	}
}

// live does some steps until something ends the process. It returns whether nothing may be lost.
func (w *world) live() (lossless bool, err error) {
	if w.r.IntN(4) > 0 {
		w.fs.CrashAfter(1 + w.r.IntN(60))
	}
	failed := w.counts["failed"] + w.counts["full"]
	for range w.r.IntN(60) {
		if err := w.step(); errors.Is(err, faultfs.ErrDown) {
			break
		} else if err != nil {
			return false, err
		}
	}
	w.fs.SetCapacity(0)
	w.fs.CrashAfter(0)
	w.fs.Inject(nil)
	w.lied = w.lied || w.l.Stats().SyncFailed > 0
	_, err = w.fs.Stat("/")
	switch up := err == nil; {
	case up && w.r.IntN(4) == 0: // the process is killed, the system lives on
		return failed == w.counts["failed"]+w.counts["full"], nil
	case up && w.r.IntN(4) == 0: // it ends in order
		if err := w.l.Close(); err != nil {
			return false, fmt.Errorf("closing: %w", err)
		}
		w.durable()
		return true, nil
	}
	w.fs.Crash()
	w.lied = false
	return false, nil
}

func run(seed uint64, counts map[string]int) error {
	r := rand.New(rand.NewPCG(seed, 2))
	w := &world{r: r, fs: faultfs.New(r), counts: counts}
	lossless := true
	for range 1 + r.IntN(4) {
		w.faulty = r.IntN(2) == 0
		if err := w.reopen(lossless); err != nil {
			return err
		}
		var err error
		if lossless, err = w.live(); err != nil {
			return err
		}
	}
	return w.reopen(lossless)
}

// Whatever fails, and whenever the power goes: what was synced is there; what else is there was given, is unchanged,
// in order, and once.
func TestCrashes(t *testing.T) {
	runs := 10_000
	switch {
	case os.Getenv("CULPRIT_SOAK") != "":
		runs = 200_000
	case testing.Short():
		runs = 2_000
	}
	counts := map[string]int{}
	for seed := range runs {
		if err := run(uint64(seed), counts); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Log(runs, "runs:", counts)
	for _, what := range []string{"found", "lost", "full", "failed", "duplicates", "torn", "damaged"} {
		if counts[what] < runs/100 {
			t.Errorf("%s only happened %d times", what, counts[what])
		}
	}
}
