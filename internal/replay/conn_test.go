package replay

import (
	"io"
	"net"
	"time"
)

// reading is a connection of which only Read is used.
type reading struct {
	net.Conn
	r io.Reader
}

func (c *reading) Read(b []byte) (int, error) { return c.r.Read(b) }

func fixed() time.Time { return time.Unix(0, 1) }
