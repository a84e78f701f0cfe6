package demux

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/culprit-http/culprit/internal/output/folder"
)

// row is a gap: how many fragments or bytes are missing at an offset of a file.
type row struct {
	file    string
	offset  int64
	missing uint64
	unit    string
}

// gapList is the file with the list of gaps. There is none without gaps.
type gapList struct {
	name string
	file folder.File
	w    *bufio.Writer
}

// gapsHead is the first line of the list.
const gapsHead = "file\toffset\tmissing\tunit\n"

// add adds a gap.
func (g *gapList) add(in Folder, r *row) error {
	if g.w == nil {
		if err := g.create(in); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(g.w, "%s\t%d\t%d\t%s\n", r.file, r.offset, r.missing, r.unit)
	return err
}

// create makes the file, beside those of other recordings.
func (g *gapList) create(in Folder) error {
	name := gapsName
	for n := 2; ; n++ {
		file, err := in.Create(name)
		switch {
		case errors.Is(err, fs.ErrExist) && n <= maxGapsNames:
			name = fmt.Sprintf("gaps.%d.tsv", n)
			continue
		case err != nil:
			return err
		}
		g.name, g.file, g.w = name, file, bufio.NewWriter(file)
		_, err = g.w.WriteString(gapsHead)
		return err
	}
}

func (g *gapList) flush() error {
	if g.w == nil {
		return nil
	}
	return g.w.Flush()
}

// close ends the list.
func (g *gapList) close(in Folder) error {
	if g.w == nil {
		return nil
	}
	err := g.flush()
	if err = errors.Join(err, g.file.Close()); err != nil {
		return err
	}
	g.w = nil
	return in.Finish(g.name, time.Time{})
}
