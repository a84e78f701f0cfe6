// Package faultfs is a file system in memory that fails on demand, for tests of what writes to disks: no room, errors
// of any call, and power that goes at any moment.
//
// # Theory of operation
//
// A file has what programs see and what the disk has. Between them stand the writes since the last Sync; a folder
// likewise keeps its changes of names until SyncDir. When the power goes, Crash throws dice, for each file and folder:
// nothing of that came to the disk, or all, or the first part, or any sectors and changes in any order, with
// zeros or old content of deleted files where a file grew and its content didn't come. What was synced stays.
// A Sync that fails forgets, like the kernel does, what it didn't write: the next Sync says that all is well.
//
// What isn't modelled: links, permissions, holes, several names of one file, and disks that lie.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// maxStale is how many deleted files are remembered, as what new files may show after a crash.
const maxStale = 8

// ErrDown is the answer to everything while the power is off.
var ErrDown = errors.New("the power is off")

// Chance throws dice; a *rand.Rand of math/rand/v2 does.
type Chance interface {
	// IntN returns a number from 0 to n-1.
	IntN(n int) int
}

// Kind says what an operation does.
type Kind string

// The kinds of operations, named after the methods of disk.FS and disk.File.
const (
	Open         Kind = "open"
	Create       Kind = "create"
	Rename       Kind = "rename"
	Remove       Kind = "remove"
	ReadDir      Kind = "readdir"
	Stat         Kind = "stat"
	Mkdir        Kind = "mkdir"
	SyncDir      Kind = "syncdir"
	Free         Kind = "free"
	Read         Kind = "read"
	Write        Kind = "write"
	Sync         Kind = "sync"
	Truncate     Kind = "truncate"
	TruncateName Kind = "truncate by name"
)

// Op is an operation that is about to happen.
type Op struct {
	Kind Kind
	// Name is the file's or folder's, clean and absolute; for a file, the one that it was opened by.
	Name string
	// Off and Len are the range of a Read; Len is the length of a Write, and Off the new length of a Truncate.
	Off int64
	Len int
}

// Fault makes an operation fail.
type Fault struct {
	// Err is what it returns, within a *fs.PathError.
	Err error
	// Done is how many bytes of a Write are written all the same.
	Done int
}

// FS is a file system in memory. It may be used by several goroutines.
type FS struct {
	mu       sync.Mutex
	chance   Chance
	root     *node
	capacity int64
	used     int64
	inject   func(Op) *Fault
	// left is how many changing operations are left until the power goes, or -1.
	left int
	down bool
	// life tells the handles of before a crash from those of after.
	life  int
	ops   int
	stale [][]byte
}

var _ disk.FS = (*FS)(nil)

// node is a file or a folder.
type node struct {
	dir bool
	// linked: a file that still has a name.
	linked bool
	// data is what programs see of a file, kept what is on the disk, and writes what leads from one to the other.
	data, kept []byte
	writes     []write
	// names is what programs see of a folder; keptNames and changes alike.
	names, keptNames map[string]*node
	changes          []map[string]*node
}

// write is a change of a file's content: b at off, or a new length.
type write struct {
	off int64
	b   []byte
	cut bool
	// size is the file's length afterwards.
	size int64
}

func newDir() *node {
	return &node{dir: true, names: map[string]*node{}, keptNames: map[string]*node{}}
}

// New returns an empty file system whose root is /. chance is used under a lock.
func New(chance Chance) *FS {
	return &FS{chance: chance, root: newDir(), left: -1}
}

// SetCapacity says how many bytes all files together may have; 0 is no limit. Less than what is there is a disk that
// is full.
func (f *FS) SetCapacity(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = n
}

// Inject calls decide before each operation, to make it fail; nil is no fault. It is called under a lock, and mustn't
// use the file system.
func (f *FS) Inject(decide func(Op) *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = decide
}

// CrashAfter takes the power away during the n-th operation from now that changes anything or makes it durable;
// less than 1 is never.
func (f *FS) CrashAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = n
	if n < 1 {
		f.left = -1
	}
}

// Ops returns how many operations there were that changed anything or made it durable.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Used returns the length of all files together, in bytes.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// Crash takes the power away, if it isn't already, and gives it back: from now on the file system has what was durable, and
// some of the rest. Files that were open return ErrDown.
func (f *FS) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life++
	f.down, f.left = false, -1
	done := map[*node]bool{}
	f.settleDir(f.root, done)
	f.used = 0
	for n := range done {
		n.linked = true
		f.used += int64(len(n.data))
	}
}

// ReadFile returns the content of a file, or nil.
func (f *FS) ReadFile(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.find(name); n != nil && !n.dir {
		return slices.Clone(n.data)
	}
	return nil
}

// WriteFile makes a file with a content, durably, or changes that of one that is there, as failing disks do. Its
// folder must be there.
func (f *FS) WriteFile(name string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(name)
	if n == nil {
		n = &node{}
		dir, base := f.parent(name)
		f.change(dir, map[string]*node{base: n})
		dir.keptNames[base] = n
	}
	f.used += int64(len(b) - len(n.data))
	n.data, n.kept, n.writes = slices.Clone(b), slices.Clone(b), nil
}

// settleDir decides what a folder has after a crash. done collects the files.
func (f *FS) settleDir(d *node, done map[*node]bool) {
	switch n := len(d.changes); f.chance.IntN(4) {
	case 0: // nothing
	case 1:
		f.keepNames(d, d.changes)
	case 2:
		f.keepNames(d, d.changes[:f.chance.IntN(n+1)])
	case 3:
		for _, c := range d.changes {
			if f.coin() {
				f.keepNames(d, []map[string]*node{c})
			}
		}
	}
	d.changes = nil
	d.names = maps.Clone(d.keptNames)
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		switch n := d.names[name]; {
		case n.dir:
			f.settleDir(n, done)
		case !done[n]:
			f.settleFile(n)
			done[n] = true
		}
	}
}

func (f *FS) keepNames(d *node, changes []map[string]*node) {
	for _, c := range changes {
		for name, n := range c {
			if n == nil {
				delete(d.keptNames, name)
			} else {
				d.keptNames[name] = n
			}
		}
	}
}

func (f *FS) coin() bool { return f.chance.IntN(2) == 0 }

// settleFile decides what a file has after a crash.
func (f *FS) settleFile(n *node) {
	switch f.chance.IntN(4) {
	case 0: // nothing
	case 1:
		n.keepAll()
	case 2:
		f.keepFirst(n)
	case 3:
		f.scatter(n)
	}
	n.writes = nil
	n.data = slices.Clone(n.kept)
}

// keepFirst keeps the first writes, and a part of the next.
func (f *FS) keepFirst(n *node) {
	whole := f.chance.IntN(len(n.writes) + 1)
	for _, w := range n.writes[:whole] {
		n.keep(w)
	}
	if whole < len(n.writes) && !n.writes[whole].cut {
		w := n.writes[whole]
		part := f.chance.IntN(len(w.b) + 1)
		n.keep(write{off: w.off, b: w.b[:part], size: w.off + int64(part)})
	}
}

// keepAll makes all writes durable.
func (n *node) keepAll() {
	for _, w := range n.writes {
		n.keep(w)
	}
	n.writes = nil
}

func (n *node) keep(w write) {
	n.resize(w.size)
	copy(n.kept[min(w.off, w.size):], w.b)
}

func (n *node) resize(size int64) {
	n.kept = resized(n.kept, size)
}

func resized(b []byte, size int64) []byte {
	if d := size - int64(len(b)); d > 0 {
		return append(b, make([]byte, d)...)
	}
	return b[:size]
}

// scatter keeps any sectors of a file's writes, and a length that it had on the way.
func (f *FS) scatter(n *node) {
	// Lengths are metadata, and come to the disk in order.
	known := f.chance.IntN(len(n.writes) + 1)
	size := int64(len(n.kept))
	for _, w := range n.writes[:known] {
		if w.size > int64(len(n.kept)) {
			grown := int64(len(n.kept))
			n.resize(w.size)
			f.oldContent(n.kept[grown:], grown)
		} else if w.cut {
			n.resize(w.size)
		}
		size = w.size
	}
	n.resize(size)
	for _, w := range n.writes {
		for from := 0; from < len(w.b); {
			to := min(len(w.b), from+sector-int((w.off+int64(from))%sector))
			if at := w.off + int64(from); at < size && f.coin() {
				copy(n.kept[at:], w.b[from:to])
			}
			from = to
		}
	}
}

// oldContent fills what a file has grown by with zeros, or with what was there before: at from, in a file that was
// deleted.
func (f *FS) oldContent(b []byte, from int64) {
	if len(f.stale) == 0 || f.coin() {
		return
	}
	old := f.stale[f.chance.IntN(len(f.stale))]
	if from < int64(len(old)) {
		copy(b, old[from:])
	}
}

// begin is called by each operation, with the lock held. live is the life of the handle, or that of the file system.
// An error says that the operation mustn't happen. dying says that it happens in part or not at all, and that the power
// is off then.
func (f *FS) begin(op Op, changes bool, life int) (fault *Fault, dying bool, err error) {
	if f.down || life != f.life {
		return nil, false, &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: ErrDown}
	}
	if changes {
		f.ops++
		if f.left > 0 {
			if f.left--; f.left == 0 {
				f.down, f.left = true, -1
				return nil, true, &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: ErrDown}
			}
		}
	}
	if f.inject != nil {
		if fault := f.inject(op); fault != nil {
			return fault, false, &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: fault.Err}
		}
	}
	return nil, false, nil
}

func clean(name string) string { return filepath.Clean("/" + filepath.ToSlash(name)) }

// find returns a file or folder, or nil.
func (f *FS) find(name string) *node {
	n := f.root
	for part := range strings.SplitSeq(strings.Trim(clean(name), "/"), "/") {
		if part == "" {
			continue
		}
		if !n.dir || n.names[part] == nil {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// parent returns the folder of a name, or nil, and the name in it.
func (f *FS) parent(name string) (*node, string) {
	name = clean(name)
	d := f.find(filepath.Dir(name))
	if d == nil || !d.dir {
		return nil, ""
	}
	return d, filepath.Base(name)
}

// change changes names in a folder.
func (f *FS) change(d *node, c map[string]*node) {
	for name, n := range c {
		if old := d.names[name]; old != nil && !old.dir {
			old.linked = false
			f.used -= int64(len(old.data))
			if len(old.data) > 0 {
				f.stale = append(f.stale, old.data)
				f.stale = f.stale[max(0, len(f.stale)-maxStale):]
			}
		}
		if n == nil {
			delete(d.names, name)
		} else {
			d.names[name] = n
		}
	}
	for _, n := range c {
		if n != nil && !n.dir && !n.linked {
			n.linked = true
			f.used += int64(len(n.data))
		}
	}
	d.changes = append(d.changes, c)
}

// do runs an operation that happens whole or not at all.
func (f *FS) do(op Op, changes bool, what func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	op.Name = clean(op.Name)
	_, dying, err := f.begin(op, changes, f.life)
	if err != nil {
		if dying && f.coin() {
			_ = what()
		}
		return err
	}
	if err := what(); err != nil {
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: err}
	}
	return nil
}

// Open implements disk.FS.
func (f *FS) Open(name string) (opened disk.File, err error) {
	err = f.do(Op{Kind: Open, Name: name}, false, func() error {
		n := f.find(name)
		if n == nil {
			return fs.ErrNotExist
		}
		opened = &file{fs: f, node: n, name: clean(name), life: f.life}
		return nil
	})
	return opened, err
}

// Create implements disk.FS.
func (f *FS) Create(name string) (opened disk.File, err error) {
	err = f.do(Op{Kind: Create, Name: name}, true, func() error {
		d, base := f.parent(name)
		if d == nil {
			return fs.ErrNotExist
		}
		if d.names[base] != nil {
			return fs.ErrExist
		}
		n := &node{}
		f.change(d, map[string]*node{base: n})
		opened = &file{fs: f, node: n, name: clean(name), life: f.life, writable: true}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Rename implements disk.FS. Between two folders it isn't atomic after a crash.
func (f *FS) Rename(from, to string) error {
	return f.do(Op{Kind: Rename, Name: from}, true, func() error {
		d1, base1 := f.parent(from)
		d2, base2 := f.parent(to)
		if d1 == nil || d2 == nil || d1.names[base1] == nil {
			return fs.ErrNotExist
		}
		n := d1.names[base1]
		if old := d2.names[base2]; old != nil && (old.dir || n.dir) {
			return fs.ErrExist
		}
		switch {
		case d1 == d2 && base1 == base2:
		case d1 == d2:
			f.change(d1, map[string]*node{base1: nil, base2: n})
		default:
			f.change(d1, map[string]*node{base1: nil})
			f.change(d2, map[string]*node{base2: n})
		}
		return nil
	})
}

// Remove implements disk.FS.
func (f *FS) Remove(name string) error {
	return f.do(Op{Kind: Remove, Name: name}, true, func() error {
		d, base := f.parent(name)
		if d == nil || d.names[base] == nil {
			return fs.ErrNotExist
		}
		if len(d.names[base].names) > 0 {
			return syscall.ENOTEMPTY
		}
		f.change(d, map[string]*node{base: nil})
		return nil
	})
}

// ReadDir implements disk.FS.
func (f *FS) ReadDir(dir string) (all []fs.DirEntry, err error) {
	err = f.do(Op{Kind: ReadDir, Name: dir}, false, func() error {
		d := f.find(dir)
		if d == nil {
			return fs.ErrNotExist
		}
		if !d.dir {
			return syscall.ENOTDIR
		}
		for _, name := range slices.Sorted(maps.Keys(d.names)) {
			all = append(all, fs.FileInfoToDirEntry(d.names[name].info(name)))
		}
		return nil
	})
	return all, err
}

// Stat implements disk.FS.
func (f *FS) Stat(name string) (found fs.FileInfo, err error) {
	err = f.do(Op{Kind: Stat, Name: name}, false, func() error {
		n := f.find(name)
		if n == nil {
			return fs.ErrNotExist
		}
		found = n.info(filepath.Base(clean(name)))
		return nil
	})
	return found, err
}

// Mkdir implements disk.FS.
func (f *FS) Mkdir(dir string) error {
	return f.do(Op{Kind: Mkdir, Name: dir}, true, func() error {
		d, base := f.parent(dir)
		if d == nil {
			return fs.ErrNotExist
		}
		if d.names[base] != nil {
			return fs.ErrExist
		}
		f.change(d, map[string]*node{base: newDir()})
		return nil
	})
}

// SyncDir implements disk.FS.
func (f *FS) SyncDir(dir string) error {
	return f.do(Op{Kind: SyncDir, Name: dir}, true, func() error {
		d := f.find(dir)
		if d == nil {
			return fs.ErrNotExist
		}
		f.keepNames(d, d.changes)
		d.changes = nil
		return nil
	})
}

// Truncate implements disk.FS.
func (f *FS) Truncate(name string, size int64) error {
	return f.do(Op{Kind: TruncateName, Name: name, Off: size}, true, func() error {
		n := f.find(name)
		switch {
		case n == nil:
			return fs.ErrNotExist
		case n.dir:
			return syscall.EISDIR
		}
		if err := f.cut(n, size); err != nil {
			return err
		}
		n.keepAll()
		return nil
	})
}

// Free implements disk.FS.
func (f *FS) Free(dir string) (free int64, err error) {
	err = f.do(Op{Kind: Free, Name: dir}, false, func() error {
		if f.find(dir) == nil {
			return fs.ErrNotExist
		}
		free = max(0, f.capacity-f.used)
		return nil
	})
	if err == nil && f.limit() == 0 {
		return 0, disk.ErrUnknown
	}
	return free, err
}

func (f *FS) limit() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.capacity
}

// cut changes the length of a file.
func (f *FS) cut(n *node, size int64) error {
	grows := size - int64(len(n.data))
	if size < 0 {
		return syscall.EINVAL
	}
	if f.capacity > 0 && grows > f.capacity-f.used && grows > 0 {
		return syscall.ENOSPC
	}
	n.data = resized(n.data, size)
	if n.linked {
		f.used += grows
	}
	n.writes = append(n.writes, write{off: size, cut: true, size: size})
	return nil
}

// append appends to a file as much as there is room for, and returns how much that was.
func (f *FS) append(n *node, b []byte) (int, error) {
	var err error
	if f.capacity > 0 && int64(len(b)) > f.capacity-f.used {
		b, err = b[:max(0, f.capacity-f.used)], syscall.ENOSPC
	}
	if len(b) > 0 {
		off := int64(len(n.data))
		n.data = append(n.data, b...)
		if n.linked {
			f.used += int64(len(b))
		}
		n.writes = append(n.writes, write{off: off, b: slices.Clone(b), size: off + int64(len(b))})
	}
	return len(b), err
}

// file is an open file.
type file struct {
	fs       *FS
	node     *node
	name     string
	life     int
	writable bool
	closed   bool
}

// do is as FS.do. what is told whether it is to be done in part only, because of a fault or since the power goes.
func (h *file) do(op Op, changes bool, what func(fault *Fault, dying bool) error) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	op.Name = h.name
	wrap := func(err error) error { return &fs.PathError{Op: string(op.Kind), Path: h.name, Err: err} }
	switch {
	case h.closed:
		return wrap(fs.ErrClosed)
	case changes && !h.writable:
		return wrap(syscall.EBADF)
	}
	fault, dying, err := h.fs.begin(op, changes, h.life)
	if err != nil {
		if fault != nil || dying {
			_ = what(fault, dying)
		}
		return err
	}
	switch err := what(nil, false); {
	case err == nil, errors.Is(err, io.EOF):
		return err
	default:
		return wrap(err)
	}
}

func (h *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = h.do(Op{Kind: Read, Off: off, Len: len(b)}, false, func(fault *Fault, _ bool) error {
		switch {
		case fault != nil:
			return nil
		case h.node.dir:
			return syscall.EISDIR
		case off < 0:
			return syscall.EINVAL
		}
		if off < int64(len(h.node.data)) {
			n = copy(b, h.node.data[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (h *file) Write(b []byte) (n int, err error) {
	err = h.do(Op{Kind: Write, Len: len(b)}, true, func(fault *Fault, dying bool) (err error) {
		if fault != nil {
			b = b[:min(max(fault.Done, 0), len(b))]
		}
		if dying {
			b = b[:h.fs.chance.IntN(len(b)+1)]
		}
		n, err = h.fs.append(h.node, b)
		return err
	})
	return n, err
}

func (h *file) Sync() error {
	return h.do(Op{Kind: Sync}, true, func(fault *Fault, dying bool) error {
		switch {
		case fault != nil:
			// The kernel takes the pages for clean, whether they are on the disk or not.
			h.fs.scatter(h.node)
			h.node.writes = nil
		case dying:
			// Crash decides.
		default:
			h.node.keepAll()
		}
		return nil
	})
}

func (h *file) Truncate(size int64) error {
	return h.do(Op{Kind: Truncate, Off: size}, true, func(fault *Fault, dying bool) error {
		if fault != nil || dying && h.fs.coin() {
			return nil
		}
		return h.fs.cut(h.node, size)
	})
}

func (h *file) Size() (size int64, err error) {
	err = h.do(Op{Kind: Stat}, false, func(fault *Fault, _ bool) error {
		size = int64(len(h.node.data))
		return nil
	})
	return size, err
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return &fs.PathError{Op: "close", Path: h.name, Err: fs.ErrClosed}
	}
	h.closed = true
	return nil
}

// info tells of a file; it has no times.
type info struct {
	name string
	size int64
	dir  bool
}

func (n *node) info(name string) fs.FileInfo {
	return info{name: name, size: int64(len(n.data)), dir: n.dir}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | disk.DirMode
	}
	return disk.FileMode
}
