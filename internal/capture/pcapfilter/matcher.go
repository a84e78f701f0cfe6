package pcapfilter

import (
	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// Matcher runs a filter on the packets of files, which may be of several link types. Each is compiled
// when its first packet comes; after that a packet costs no allocation. It isn't safe for concurrent
// use.
type Matcher struct {
	filter   *Filter
	programs map[capture.LinkType][]bpf.RawInstruction
	link     capture.LinkType     // of the packet before
	code     []bpf.RawInstruction // its program; nil before the first packet
	err      error
}

// Matcher returns a new Matcher of the filter.
func (f *Filter) Matcher() *Matcher {
	return &Matcher{filter: f, programs: make(map[capture.LinkType][]bpf.RawInstruction)}
}

// Match reports whether the filter passes a packet. data is what was captured of it from the link
// layer on, wireLen its length on the wire. A packet of a link type for which the filter can't be
// compiled isn't passed: see Err.
func (m *Matcher) Match(link capture.LinkType, data []byte, wireLen int) bool {
	if link != m.link || m.code == nil {
		m.choose(link)
	}
	return run(m.code, data, uint32(wireLen)) != 0
}

// Err returns why the filter couldn't be compiled for the first of the link types for which it
// couldn't, a *LinkError, or nil. The caller asks after Match has rejected a packet of a link type
// that is new to it, or at the end.
func (m *Matcher) Err() error { return m.err }

// choose makes the program of a link type the current one.
func (m *Matcher) choose(link capture.LinkType) {
	code, ok := m.programs[link]
	if !ok {
		var err error
		if code, err = m.compile(link); err != nil {
			code = []bpf.RawInstruction{{Op: retK}}
			if m.err == nil {
				m.err = err
			}
		}
		m.programs[link] = code
	}
	m.link, m.code = link, code
}

func (m *Matcher) compile(link capture.LinkType) ([]bpf.RawInstruction, error) {
	program, err := m.filter.Compile(link, Options{})
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(program)
}
