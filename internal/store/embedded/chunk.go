package embedded

import (
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// chunk is a segment that is being read. Its errors name the file.
type chunk struct {
	vector.Chunk
	file *file
}

func (c *chunk) err(err error) error {
	if err != nil {
		return &fileError{c.file, err}
	}
	return nil
}

func (c *chunk) Ints(col int) (vector.Ints, error) {
	v, err := c.Chunk.Ints(col)
	return v, c.err(err)
}

func (c *chunk) Texts(col int) (*vector.Texts, error) {
	v, err := c.Chunk.Texts(col)
	return v, c.err(err)
}

func (c *chunk) Lists(col int) (*vector.Lists, error) {
	v, err := c.Chunk.Lists(col)
	return v, c.err(err)
}

func (c *chunk) Headers(col int) (*vector.Headers, error) {
	v, err := c.Chunk.Headers(col)
	return v, c.err(err)
}

func (c *chunk) Row(r int, cols []int, into *record.Row) error {
	return c.err(c.Chunk.Row(r, cols, into))
}

// finder is what chunks of segments can do besides.
type finder interface {
	Find(col int, text []byte) (rows []int, err error)
	Has(col int, texts [][]byte, found map[string]bool) error
}

// Find returns the rows that have that text in a column.
func (c *chunk) Find(col int, text []byte) ([]int, error) {
	rows, err := c.Chunk.(finder).Find(col, text)
	return rows, c.err(err)
}

// has sets which of some texts are in a column.
func (c *chunk) has(col int, texts [][]byte, found map[string]bool) error {
	return c.err(c.Chunk.(finder).Has(col, texts, found))
}
