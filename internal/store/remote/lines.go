package remote

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
)

// MaxLine is the longest line that is read of a file of records, in bytes: bodies as large as may be kept, in JSON.
const MaxLine = 64 << 20

// gradeColumn is one that all exchanges have, and no other document.
var gradeColumn = record.Index("culprit.grade")

// Lines reads the exchanges of a file of records, one JSON document a line, as -o ndjson writes them and indices hold them. It isn't safe for
// concurrent use.
type Lines struct {
	in        *bufio.Reader
	documents *documents
	line      []byte
	number    int
	// Others counts the documents that aren't exchanges, such as rollups.
	Others int
}

// NewLines returns a reader of the records in r.
func NewLines(r io.Reader) *Lines {
	return &Lines{in: bufio.NewReaderSize(r, 64<<10), documents: newDocuments()}
}

// Next returns the next exchange, which is the caller's, and io.EOF behind the last one. Other errors name the line.
func (l *Lines) Next() (*exchange.Exchange, error) {
	for {
		line, err := l.read()
		if len(line) == 0 && err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			return nil, fmt.Errorf("line %d isn't a JSON document: want records as -o ndjson writes them, one a line", l.number)
		}
		row, ok := l.documents.read("", line)
		if !ok || row.Cell(gradeColumn) == nil {
			l.Others++
			continue
		}
		return new(record.Maker).Exchange(row), nil
	}
}

// read reads one line, valid until the next call.
func (l *Lines) read() ([]byte, error) {
	l.line = l.line[:0]
	l.number++
	for {
		part, err := l.in.ReadSlice('\n')
		l.line = append(l.line, part...)
		switch {
		case len(l.line) > MaxLine:
			return nil, fmt.Errorf("line %d is longer than %d MiB", l.number, MaxLine>>20)
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(l.line) > 0:
			return l.line, nil
		default:
			return l.line, err
		}
	}
}
