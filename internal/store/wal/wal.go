// Package wal is a write-ahead log: records that are safe soon after they were given, until they are kept elsewhere.
//
// # Theory of operation
//
// A log is a folder of numbered files. Records are opaque; each has a checksum. Append writes a record with one write(2),
// so that it survives the end of the process. Sync makes all that was written durable, so that it survives the end
// of power. Rotate ends a file; when the caller has its records elsewhere, Remove deletes it. After a crash Replay
// returns what is there.
//
//	Append ----> file 7 ----> Sync: durable        Rotate: the next record begins file 8
//	               |  write failed: the part is cut off, the caller keeps the record
//	               |  cutting off failed, or Sync failed:
//	               +--> file 7 is left as it is; file 8 begins with all that isn't known durable
//
// What disks and kernels do, and what follows from it:
//
//   - A write fails half-way, for lack of room. The part is cut off, and the next Append may succeed. If cutting off fails,
//     the file isn't used any more. Append returned an error, so the record never appears.
//   - Sync fails. The kernel then takes what it couldn't write for written, and the next Sync would lie. So the file
//     is never synced or written again. All records that aren't known durable are kept in memory, up to a limit, and
//     written again to a new file, whose head says which they are. The old file may still have some of them: they count
//     only if the copies aren't whole, which means that the new file wasn't synced either.
//   - After a power cut any sectors of what wasn't synced may be there, in a file as long as it ever was, between
//     zeros or the remains of deleted files. So each file has a marker, random, that begins its records. What is older
//     has another one, and whoever sends traffic can't guess it: no payload can pass for records.
//   - A sector goes bad. The next record is found by the marker. What was lost is counted. It is never made up, and
//     what follows isn't thrown away.
//   - New files are never written where old ones end, so that nothing old is touched after a crash, but that torn
//     ends are cut off.
//
// A record may be missing whose successor is there: records that weren't synced may come back in part, but always unchanged
// and in order, and once.
package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// MaxRecord is the largest record, in bytes.
	MaxRecord = 16 << 20
	// MaxHeader is the largest header of the caller, in bytes.
	MaxHeader = 1 << 20
	// DefaultMaxUnsynced is how many bytes may wait for Sync, unless the options say otherwise.
	DefaultMaxUnsynced = 32 << 20
)

var (
	// ErrFull says that there is no room, within a longer error. What was appended before is safe, and appending
	// works again when there is room.
	ErrFull = errors.New("no room for the log")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the log is closed")
	// ErrSize says that a record is empty or larger than MaxRecord.
	ErrSize = errors.New("a record has 1 byte to 16 MiB")
)

// Options say how a log is kept.
type Options struct {
	// FS is where it is kept; nil is the operating system's.
	FS disk.FS
	// Header is what the records need to be understood later, such as the names of columns. Each file has it.
	Header []byte
	// Writer is the name and version of the program, for messages.
	Writer string
	// From is the first file that still counts. Those below were kept elsewhere when they couldn't be removed. New
	// files have numbers from here on.
	From uint64
	// MaxUnsynced is how many bytes may wait for Sync: as many are kept in memory, in case it fails. An Append that
	// would go beyond syncs first. 0 is DefaultMaxUnsynced.
	MaxUnsynced int
}

// Stats are counters since Open. Unsynced, Seq and FileBytes are of now.
type Stats struct {
	// Seq is the number of the current file, or of the last if there is none.
	Seq uint64
	// FileBytes is the length of the current file.
	FileBytes int64
	// Unsynced is how many bytes aren't known durable.
	Unsynced int64
	// Records and Bytes (of payload) were appended.
	Records, Bytes uint64
	// Forced is how often MaxUnsynced made an Append sync.
	Forced uint64
	// Full is how often there was no room, and Failed how often else a file couldn't be begun or written.
	Full, Failed uint64
	// SyncFailed is how often a file was given up since it couldn't be synced.
	SyncFailed uint64
	// Rewritten counts the bytes that were written again to a new file.
	Rewritten uint64
}

// Log is a write-ahead log with one writer. Append is called by one goroutine at a time; Sync, Remove and Stats may be
// called by others meanwhile, and Append doesn't wait for them. See disk.Lock for keeping out other processes.
type Log struct {
	fs     disk.FS
	dir    string
	header []byte
	writer string
	from   uint64
	opened uint64 // the last file that was there at Open
	max    int
	turn   sync.Mutex // of Sync, Rotate, Remove, Close: one at a time. It is locked before mu.
	mu     sync.Mutex
	file   disk.File // nil: the next record begins one
	named  bool      // the file was synced, and its name too
	seq    uint64
	life   uint64
	marker uint64
	size   int64
	index  uint64
	closed bool
	stats  Stats
	// older and newer are the records that aren't known durable, in order. Older are those that the Sync under
	// way is about. If there is a file, it has all of them.
	older, newer []byte
}

// Open opens the log in a folder, which is made if needed. Only names and the heads of files are read. It is an error if
// the folder has files of a version that isn't known: then *VersionError.
func Open(dir string, o Options) (*Log, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.MaxUnsynced <= 0 {
		o.MaxUnsynced = DefaultMaxUnsynced
	}
	if len(o.Header) > MaxHeader {
		return nil, fmt.Errorf("the log's header has %d bytes, and may have %d", len(o.Header), MaxHeader)
	}
	if err := disk.MkdirAll(o.FS, dir); err != nil {
		return nil, fmt.Errorf("making the folder of the log: %w", err)
	}
	// What the process before has removed must not come back with records that are elsewhere by then.
	if err := o.FS.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("syncing the folder of the log: %w", err)
	}
	seqs, err := files(o.FS, dir)
	if err != nil {
		return nil, err
	}
	l := &Log{fs: o.FS, dir: dir, header: append([]byte{}, o.Header...), writer: o.Writer[:min(len(o.Writer), maxWriter)],
		from: o.From, max: o.MaxUnsynced}
	if n := len(seqs); n > 0 {
		l.opened = seqs[n-1]
	}
	l.seq = l.opened
	if o.From > 0 {
		l.seq = max(l.seq, o.From-1)
	}
	for _, seq := range seqs {
		if seq >= o.From {
			if err := checkVersion(o.FS, filepath.Join(dir, fileName(seq))); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// files returns the numbers of a log's files, in order.
func files(f disk.FS, dir string) (seqs []uint64, err error) {
	entries, err := f.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of the log: %w", err)
	}
	// Names have a fixed width: their order is that of the numbers.
	for _, e := range entries {
		if seq, ok := parseName(e.Name()); ok && e.Type().IsRegular() {
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// Append writes a record of 1 byte to MaxRecord. After an error it isn't in the log and never will be: the caller may
// try again, later if errors.Is(err, ErrFull), or drop it. A record is safe from a crash of the process
// when Append returns, and from one of the machine after the next Sync.
func (l *Log) Append(payload []byte) error {
	if len(payload) == 0 || len(payload) > MaxRecord {
		return fmt.Errorf("appending %d bytes to the log: %w", len(payload), ErrSize)
	}
	need := overhead + len(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.unsynced() > 0 && l.unsynced()+need > l.max {
		l.stats.Forced++
		l.mu.Unlock()
		err := l.Sync()
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	if l.closed {
		return ErrClosed
	}
	if l.file == nil {
		if err := l.begin(need); err != nil {
			return err
		}
	}
	start := len(l.newer)
	l.newer = appendRecord(l.newer, l.marker, l.index+1, payload)
	if err := write(l.file, l.newer[start:]); err != nil {
		l.newer = l.newer[:start]
		if l.file.Truncate(l.size) != nil {
			l.abandon()
		}
		return l.failed("writing", err)
	}
	l.index++
	l.size += int64(need)
	l.stats.Records++
	l.stats.Bytes += uint64(len(payload))
	return nil
}

func (l *Log) unsynced() int { return len(l.older) + len(l.newer) }

func write(f disk.File, b []byte) error {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		return io.ErrShortWrite
	}
	return err
}

// failed makes an error one that the caller understands, and counts it.
func (l *Log) failed(what string, err error) error {
	if disk.IsFull(err) {
		l.stats.Full++
		return fmt.Errorf("%s the log: %w (%w): free some space; it goes on by itself then", what, ErrFull, err)
	}
	l.stats.Failed++
	return fmt.Errorf("%s the log: %w", what, err)
}

// begin begins a file, with all records that aren't known durable. need is how many bytes will follow. After an
// error there is no file.
func (l *Log) begin(need int) error {
	h := head{version: version, seq: l.seq + 1, life: l.life, writer: l.writer, header: l.header}
	if h.seq > maxSeq {
		return fmt.Errorf("the files of the log in %s have used up their numbers: delete the last, which no culprit wrote", l.dir)
	}
	if h.life == 0 {
		h.life = h.seq
	}
	for h.marker == 0 {
		var b [8]byte
		rand.Read(b[:])
		h.marker = binary.LittleEndian.Uint64(b[:])
	}
	h.copies = remark(l.older, h.marker) + remark(l.newer, h.marker)
	h.first = l.index + 1
	for _, b := range [][]byte{l.newer, l.older} {
		if len(b) > 0 {
			h.first = parseRecord(b).index
		}
	}
	start := h.append(nil)
	// Writing much in vain each time would be slow, just when the disk is full.
	total := int64(len(start)) + int64(l.unsynced()) + int64(need)
	if free, err := l.fs.Free(l.dir); err == nil && free < total {
		l.stats.Full++
		return fmt.Errorf("beginning a file of the log in %s: %w: %d bytes are free and %d needed: free some space; it goes on by itself then",
			l.dir, ErrFull, free, total)
	}
	name := filepath.Join(l.dir, fileName(h.seq))
	f, err := l.fs.Create(name)
	if errors.Is(err, fs.ErrExist) {
		l.seq = h.seq // and the next attempt takes the next number
	}
	if err != nil {
		return l.failed("beginning a file of", err)
	}
	// From here on the number is used, even if the file goes: it could come back after a crash.
	l.seq = h.seq
	for _, b := range [][]byte{start, l.older, l.newer} {
		if len(b) > 0 && err == nil {
			err = write(f, b)
		}
	}
	if err != nil {
		_ = f.Close()
		_ = l.fs.Remove(name) // else its records are found to be the same as others
		return l.failed("beginning a file of", err)
	}
	l.file, l.named, l.life, l.marker = f, false, h.life, h.marker
	l.size = int64(len(start)) + int64(l.unsynced())
	l.stats.Rewritten += uint64(l.unsynced())
	return nil
}

// abandon stops using the file. What isn't known durable goes to the next one.
func (l *Log) abandon() {
	_ = l.file.Close()
	l.file = nil
	if !l.named {
		// Nothing in it is known durable, so nothing in it is needed: a failing disk isn't filled with copies.
		_ = l.fs.Remove(filepath.Join(l.dir, fileName(l.seq)))
	}
}

// errAbandoned says that a file was given up while it was being synced.
var errAbandoned = errors.New("it had to be given up after a failed write")

// Sync makes durable what was appended before. After an error that isn't certain, but nothing is forgotten: the
// next Sync or Append writes it again, to a new file. Sync has tried that once itself.
func (l *Log) Sync() error {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return l.sync(true)
}

// sync is called with both locks. yield lets go of mu meanwhile.
func (l *Log) sync(yield bool) error {
	var failure error
	for range 2 {
		if len(l.newer) == 0 {
			return nil
		}
		if l.file == nil {
			if err := l.begin(0); err != nil {
				return err
			}
		}
		f, named := l.file, l.named
		l.older, l.newer = l.newer, l.older[:0]
		if yield {
			l.mu.Unlock()
		}
		err := f.Sync()
		if err == nil && !named {
			err = l.fs.SyncDir(l.dir)
		}
		if yield {
			l.mu.Lock()
		}
		if err == nil && l.file != f && !named {
			err = errAbandoned
		}
		if err == nil {
			if l.file == f {
				l.named = true
			}
			l.older = l.older[:0]
			return nil
		}
		l.older, l.newer = l.newer[:0], append(l.older, l.newer...)
		if l.file == f {
			l.abandon()
		}
		l.stats.SyncFailed++
		failure = err
	}
	return l.failed("syncing", failure)
}

// Rotate ends the current file, durably; the next record begins another. It returns the number of the last file that
// is ended: all records so far are in files up to it. After an error nothing is rotated. If that lasts, since
// there is no room: let nothing be appended, keep all records elsewhere, and Remove all files up to Stats().Seq.
func (l *Log) Rotate() (sealed uint64, err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	if err := l.sync(false); err != nil {
		return 0, err
	}
	l.end()
	return l.seq, nil
}

// end closes the file, all of which is durable or not needed.
func (l *Log) end() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// Remove deletes the files up to a number, whose records the caller has durably elsewhere, the oldest first. If the current
// file is one of them, the records that wait for Sync are forgotten too. After an error some are left; try again.
func (l *Log) Remove(through uint64) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if through >= l.seq && through <= maxSeq {
		l.end()
		l.older, l.newer = l.older[:0], l.newer[:0]
		l.seq = through
	}
	l.mu.Unlock()
	seqs, err := files(l.fs, l.dir)
	if err != nil {
		return err
	}
	removed := false
	for _, seq := range seqs {
		if seq > through {
			break
		}
		if err := l.fs.Remove(filepath.Join(l.dir, fileName(seq))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing old files of the log: %w", err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("removing old files of the log: %w", err)
	}
	return nil
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Seq, s.Unsynced = l.seq, int64(l.unsynced())
	if l.file != nil {
		s.FileBytes = l.size
	}
	return s
}

// Close syncs and closes the log. After an error it is closed too, and what wasn't durable may be lost.
func (l *Log) Close() error {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	err := l.sync(false)
	l.end()
	l.closed = true
	l.older, l.newer = nil, nil
	return err
}
