package web

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/preview"
)

// Bounds of what is shown of a body.
const (
	// PreviewLines is how many lines of a body are given, PreviewLineBytes how long each may be, in bytes.
	PreviewLines     = 2_000
	PreviewLineBytes = 4_096
	// PreviewColumns is the width that bodies are laid out for.
	PreviewColumns = 100
)

// body is a body as people read it.
type body struct {
	Form   text   `json:"form"`
	Lines  []text `json:"lines"`
	Notes  []text `json:"notes"`
	Kind   text   `json:"kind,omitempty"`
	SHA256 text   `json:"sha256,omitempty"`
	// Cut: the body is longer than what was kept of it.
	Cut bool `json:"cut"`
}

// bodies answers with the bodies of an exchange, laid out by their media types; null where nothing of one was kept.
func (s *Server) bodies(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	var answer struct {
		Request  *body `json:"request"`
		Response *body `json:"response"`
	}
	err = s.options.Store.Exchange(c.Context(), id, func(x *exchange.Exchange) error {
		answer.Request = s.bodyOf(x, false, &x.RequestBody)
		answer.Response = s.bodyOf(x, true, &x.ResponseBody)
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(answer)
}

func (s *Server) bodyOf(x *exchange.Exchange, response bool, b *exchange.Body) *body {
	if len(b.Bytes) == 0 {
		return nil
	}
	p := s.options.Preview.Preview(x, response, preview.Limits{Columns: PreviewColumns, Lines: PreviewLines, LineBytes: PreviewLineBytes})
	return &body{Form: text(p.Form), Lines: shown(p.Lines), Notes: shown(p.Notes), Kind: text(p.Kind), SHA256: text(p.SHA256), Cut: b.Cut}
}

func shown(lines []string) []text {
	all := make([]text, len(lines))
	for i, line := range lines {
		all[i] = text(line)
	}
	return all
}
