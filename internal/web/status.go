package web

import "time"

// stored says what is stored.
type stored struct {
	Exchanges int64 `json:"exchanges"`
	// First and Last are absent when nothing is stored.
	First      *stamp `json:"first,omitempty"`
	Last       *stamp `json:"last,omitempty"`
	Bytes      int64  `json:"bytes"`
	LogBytes   int64  `json:"log_bytes"`
	Segments   int    `json:"segments"`
	Tail       int64  `json:"tail"`
	Damaged    int    `json:"damaged"`
	Lost       int64  `json:"lost"`
	Duplicates int64  `json:"duplicates"`
	Expired    int64  `json:"expired"`
	// Problem says what is wrong at the moment; empty: nothing.
	Problem text `json:"problem"`
}

// Process is what the program itself takes. What the system doesn't tell is null.
type Process struct {
	// CPU is the time of processors that it has had, of itself and of the system on its behalf, in nanoseconds.
	CPU *int64 `json:"cpu"`
	// RSS is its memory, in bytes, PeakRSS the most that it was.
	RSS     *int64 `json:"rss"`
	PeakRSS *int64 `json:"peak_rss"`
	Threads *int   `json:"threads"`

	Goroutines int `json:"goroutines"`
	// Started is when it was started, Uptime how long ago that is, in nanoseconds.
	Started time.Time `json:"started"`
	Uptime  int64     `json:"uptime"`
}

// status answers with what is stored, what is captured, and who watches.
func (s *Server) status(c *call) error {
	st, err := s.options.Store.Status(c.Context())
	if err != nil {
		return err
	}
	answer := struct {
		Version string `json:"version"`
		Now     stamp  `json:"now"`
		// Packets: they are kept, and Reveal: they can be downloaded.
		Packets bool   `json:"packets"`
		Reveal  bool   `json:"reveal"`
		Store   stored `json:"store"`
		// Capture is null when there is none.
		Capture any       `json:"capture"`
		Live    liveState `json:"live"`
		Process *Process  `json:"process"`
	}{
		Version: s.options.Version, Now: stamp(c.now.UnixNano()), Packets: s.options.Packets != nil, Reveal: s.options.Reveal,
		Store: stored{
			Exchanges: st.Exchanges, Bytes: st.Bytes, LogBytes: st.LogBytes, Segments: st.Segments, Tail: st.Tail,
			Damaged: st.Damaged, Lost: st.Lost, Duplicates: st.Duplicates, Expired: st.Expired, Problem: text(st.Problem),
		},
		Live: s.feed.state(),
	}
	if st.Exchanges > 0 {
		first, last := stamp(st.First), stamp(st.Last)
		answer.Store.First, answer.Store.Last = &first, &last
	}
	if s.options.Capture != nil {
		answer.Capture = s.options.Capture()
	}
	if s.options.Process != nil {
		p := s.options.Process()
		answer.Process = &p
	}
	return c.json(&answer)
}
