// Package har reads HTTP Archives, version 1.2 (http://www.softwareishard.com/blog/har-12-spec/), as browsers, proxies and culprit itself write them, and
// makes exchanges of their entries.
//
// What exporters make of the format differs, so that it is read leniently: fields may be missing, numbers may be texts, and what isn't
// understood is left out. Archives may be larger than the memory: one entry is read at a time.
package har

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// MaxEntry is the largest entry that is read, in bytes: bodies are in it, and may be in base64.
	MaxEntry = 256 << 20
	// maxDepth bounds how deep what is skipped may be nested. encoding/json bounds the rest.
	maxDepth = 1000
	// window is how much is read at a time, in bytes.
	window = 64 << 10
)

// ErrCut says that an archive ends before its end: whoever wrote it was interrupted. What was read of it is right.
var ErrCut = errors.New("the archive ends too early: it was cut off")

// errLong says that something is larger than MaxEntry.
var errLong = fmt.Errorf("it is larger than %d MiB", MaxEntry>>20)

// Options say what is wanted of an archive.
type Options struct {
	// MaxBody is how much is kept of each body, in bytes; negative: all of it.
	MaxBody int
}

// Counts are what was met in an archive.
type Counts struct {
	// Entries are all, of which Cached came from the browser's cache, so that they never were on the wire, and Foreign aren't HTTP: data URLs,
	// extensions and the like. Both were left out.
	Entries, Cached, Foreign int
	// Undated entries have no time that can be read; they get that of the entry before.
	Undated int
	// Odd entries have a value that isn't what the specification says, and was left out.
	Odd int
}

// Reader reads an archive. It isn't safe for concurrent use.
//
//	begin --{"log":{--> in the log --"entries":[--> among entries --]--> in the log --}}--> end
type Reader struct {
	// Counts are those of what was read so far.
	Counts Counts
	// Creator is the program that wrote the archive, with its version, as far as it said so before its entries; empty: it didn't.
	Creator string

	in      *bounded
	decoder *json.Decoder
	maker   maker
	state   state
}

// state is where a Reader is.
type state uint8

const (
	atBegin state = iota
	inLog
	inEntries
	atEnd
)

// NewReader returns a reader of the archive in r.
func NewReader(r io.Reader, o Options) *Reader {
	in := &bounded{in: bufio.NewReaderSize(r, window)}
	return &Reader{in: in, decoder: json.NewDecoder(in), maker: maker{maxBody: o.MaxBody}}
}

// Next returns the exchange of the next entry, which is the caller's, and io.EOF behind the last one. Other errors name the entry, and the byte
// of the archive at which it begins; one that is ErrCut says that entries are missing at the end.
func (r *Reader) Next() (*exchange.Exchange, error) {
	for {
		r.in.left = MaxEntry
		var x *exchange.Exchange
		var err error
		switch r.state {
		case atBegin:
			err = r.begin()
		case inLog:
			err = r.log()
		case inEntries:
			x, err = r.entry()
		case atEnd:
			return nil, io.EOF
		}
		if x != nil || err != nil {
			return x, err
		}
	}
}

// begin looks for the log.
func (r *Reader) begin() error {
	mark, _ := r.in.in.Peek(3) // who reads it says what is wrong with it
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, _ = r.in.in.Discard(3)
	case bytes.HasPrefix(mark, []byte("\xff\xfe")) || bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return errors.New("the archive is in UTF-16: make it UTF-8 first, as with iconv -f UTF-16 -t UTF-8")
	}
	t, err := r.token()
	if err != nil {
		return r.wrong(err)
	}
	if t != json.Delim('{') {
		return errNoArchive
	}
	for {
		key, more, err := r.key()
		switch {
		case err != nil:
			return r.wrong(err)
		case !more:
			return errNoArchive
		case key != "log":
			if err := r.skip(); err != nil {
				return r.wrong(err)
			}
			continue
		}
		switch t, err := r.token(); {
		case err != nil:
			return r.wrong(err)
		case t != json.Delim('{'):
			return errNoArchive
		}
		r.state = inLog
		return nil
	}
}

var errNoArchive = errors.New("this isn't an HTTP archive: want a JSON object that has a log")

// log reads the log up to its entries, or to its end.
func (r *Reader) log() error {
	key, more, err := r.key()
	switch {
	case err != nil:
		return r.wrong(err)
	case !more:
		return r.end()
	case key == "entries":
		switch t, err := r.token(); {
		case err != nil:
			return r.wrong(err)
		case t == json.Delim('['):
			r.state = inEntries
		case t == json.Delim('{'):
			return r.wrong(errors.New("the entries aren't a list"))
		}
		return nil
	case key == "creator":
		var c struct{ Name, Version text }
		if err := r.decoder.Decode(&c); err != nil && !isOdd(err) {
			return r.wrong(err)
		}
		r.Creator = string(bytes.TrimSpace([]byte(c.Name + " " + c.Version)))
		return nil
	}
	if err := r.skip(); err != nil {
		return r.wrong(err)
	}
	return nil
}

// end reads what is behind the log.
func (r *Reader) end() error {
	for {
		_, more, err := r.key()
		if err == nil && more {
			err = r.skip()
		}
		if err != nil {
			return r.wrong(err)
		}
		if !more {
			break
		}
	}
	if _, err := r.decoder.Token(); err != io.EOF {
		return fmt.Errorf("there is more behind the archive, from byte %d on: read one archive a file", r.decoder.InputOffset())
	}
	r.state = atEnd
	return nil
}

// entry reads an entry, nil when it is left out.
func (r *Reader) entry() (*exchange.Exchange, error) {
	if !r.decoder.More() {
		if _, err := r.token(); err != nil {
			return nil, r.wrong(err)
		}
		r.state = inLog
		return nil, nil
	}
	at := r.decoder.InputOffset()
	var e entry
	err := r.decoder.Decode(&e)
	switch {
	case isOdd(err):
		r.Counts.Odd++
	case err != nil:
		return nil, fmt.Errorf("entry %d, at byte %d: %w", r.Counts.Entries+1, at, cut(err))
	}
	r.Counts.Entries++
	return r.maker.exchange(&e, &r.Counts), nil
}

// isOdd reports whether err is about a value that is no object or list where one is wanted. All others were read.
func isOdd(err error) bool {
	var odd *json.UnmarshalTypeError
	return errors.As(err, &odd)
}

// wrong names the place of an error.
func (r *Reader) wrong(err error) error {
	return fmt.Errorf("behind entry %d, at byte %d: %w", r.Counts.Entries, r.decoder.InputOffset(), cut(err))
}

// cut tells what the end of the input means within an archive.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCut
	}
	return err
}

// token reads one token, with a budget of its own.
func (r *Reader) token() (json.Token, error) {
	r.in.left = MaxEntry
	return r.decoder.Token()
}

// key reads the next key of an object; more is false at its end.
func (r *Reader) key() (key string, more bool, err error) {
	t, err := r.token()
	if err != nil {
		return "", false, err
	}
	key, more = t.(string)
	return key, more, nil
}

// skip skips a value, of any size.
func (r *Reader) skip() error {
	for depth := 0; ; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// bounded reads until a budget is used up.
type bounded struct {
	in   *bufio.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.in.Read(p[:min(len(p), window)])
	b.left -= n
	return n, err
}
