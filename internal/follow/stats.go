package follow

import "github.com/culprit-http/culprit/internal/proto"

// Stats count what was shown or kept of half-streams.
type Stats struct {
	// HalfStreams are those of which there was something, Bytes what there was.
	HalfStreams, Bytes uint64
	// Holes are stretches that are missing, MissingBytes their bytes as far as their lengths are known.
	Holes, MissingBytes uint64
	// Undecrypted are half-streams that are encrypted and couldn't be read, UndecryptedBytes their bytes.
	Undecrypted, UndecryptedBytes uint64
}

// Add counts a chunk. first: there was nothing of the half-stream before.
func (s *Stats) Add(c *Chunk, first bool) {
	switch {
	case c.Close != proto.Open:
	case c.Undecrypted != "":
		s.Undecrypted++
		s.UndecryptedBytes += uint64(c.Gap)
	case c.Gap != 0:
		s.Holes++
		s.MissingBytes += uint64(max(c.Gap, 0))
	default:
		s.Bytes += uint64(len(c.Data))
		if first {
			s.HalfStreams++
		}
	}
}
