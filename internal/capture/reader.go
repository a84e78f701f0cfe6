package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// format reads the records of one file format from a window. Its errors are the window's, or say
// what is wrong with the bytes in view.
type format interface {
	next(r *Record) error
}

// magicSize is how many bytes tell a format.
const magicSize = 4

// reader reads the records of one input.
type reader struct {
	src     *source
	name    string // of the input, for messages
	path    string
	order   int // of the input among all
	group   *group
	w       *window
	format  format // nil until the file's header has been read
	pump    *pump  // nil when reads don't wait
	closers []io.Closer
	overdue bool // it had nothing when asked, for as long as others wait

	// head is the next record to deliver.
	head Record
}

// next reads a record. It returns io.EOF at the end, ErrIdle when the input has nothing yet, or an error
// that names the input and the offset.
func (rd *reader) next(r *Record) error {
	err := rd.start()
	if err == nil {
		if err = rd.format.next(r); err == nil {
			return nil
		}
	}
	return rd.fail(err)
}

// fail returns what next returns when the input can't go on because of err.
func (rd *reader) fail(err error) error {
	var cut *cutError
	switch {
	case err == io.EOF || err == ErrIdle:
		return err
	case rd.format == nil:
		return fmt.Errorf("%s: %w", rd.name, err)
	case errors.As(err, &cut):
		rd.src.warn("%s: cut off at offset %d, in the middle of a packet or block: %v; everything before was read",
			rd.name, rd.w.offset(), cut)
		return io.EOF
	}
	return fmt.Errorf("%s: at offset %d: %w", rd.name, rd.w.offset(), err)
}

// start reads the file's header, if that hasn't been done.
func (rd *reader) start() error {
	if rd.format != nil {
		return nil
	}
	h, err := rd.w.peek(magicSize)
	if err == ErrIdle {
		return err
	}
	open := openForeign
	if err == nil {
		magic := binary.LittleEndian.Uint32(h)
		if _, ok := pcapVariants[magic]; ok {
			open = newPcap
		} else if magic == blockSection {
			open = newPcapng
		}
	}
	f, err := open(rd)
	if err == nil {
		rd.format = f
	}
	return err
}

// tap returns the index of the tap of an interface: the index'th of its section and the nth of its name
// and link type there. A pcap file has one, without a name.
func (rd *reader) tap(index int, name string, link LinkType, nth int) (uint32, error) {
	key := tapKey{group: rd.group, name: name, link: link, nth: nth}
	if user := rd.group.name; user != "" {
		if index == 0 {
			key, name = tapKey{group: rd.group}, user
		} else {
			if name == "" {
				name = fmt.Sprint(index)
			}
			name = user + "/" + name
		}
	}
	return rd.src.tap(key, Tap{Name: name, File: rd.name})
}

// secret keeps a decryption secret that the file carries.
func (rd *reader) secret(s Secret) { rd.src.secret(rd.name, s) }

// close ends the reading, even while a read is stuck.
func (rd *reader) close() {
	stuck := rd.pump != nil && rd.pump.pending
	rd.w.close(stuck)
	for _, c := range rd.closers {
		c.Close()
	}
}
