package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/store"
)

// search answers with exchanges in their order: as one JSON object, or as NDJSON with format=ndjson.
func (s *Server) search(c *call) error {
	switch format := c.values.Get("format"); format {
	case "", "json":
	case "ndjson":
		return s.lines(c)
	default:
		return problems.parameter.about("format", "there is no format %s; there are json and ndjson", clip(format))
	}
	q, _, err := c.searching(s.options.QueryTimeout, DefaultLimit, store.MaxLimit)
	if err != nil {
		return err
	}
	return s.list(c, q, nil)
}

// list answers with the exchanges of one search, or fails with none, unless that is nil, when there are none.
func (s *Server) list(c *call, q *store.Search, none error) error {
	docs := newDocuments(q.Fields)
	c.w.Header().Set("Content-Type", "application/json")
	separator := `{"exchanges":[` + "\n"
	page, err := s.options.Store.Search(c.Context(), q, func(x *exchange.Exchange) error {
		if _, err := io.WriteString(c, separator); err != nil {
			return err
		}
		separator = ",\n"
		_, err := c.Write(docs.safeOf(x))
		return err
	})
	if err != nil {
		return searchError(err)
	}
	if separator[0] == '{' {
		if none != nil {
			return none
		}
		if _, err := io.WriteString(c, `{"exchanges":[`); err != nil {
			return err
		}
	}
	rest, err := json.Marshal(struct {
		Next text `json:"next"`
		Cost cost `json:"cost"`
	}{text(page.Next), costOf(page.Cost)})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, "],"+strings.TrimPrefix(string(rest), "{")+"\n"); err != nil {
		return err
	}
	return c.end()
}

// searchError says what is wrong with a search.
func searchError(err error) error {
	if errors.Is(err, store.ErrCursor) {
		return problems.cursor.about("after", "%v; take next of the page before, with the same question", err)
	}
	return err
}

// each calls found for the exchanges of a search that may have more than one page, up to limit. It returns where it
// would go on.
func (s *Server) each(ctx context.Context, q *store.Search, limit int, found func(x *exchange.Exchange) error) (next string, err error) {
	for page := *q; ; {
		page.Limit = min(limit, store.MaxLimit)
		n := 0
		p, err := s.options.Store.Search(ctx, &page, func(x *exchange.Exchange) error {
			n++
			return found(x)
		})
		if err != nil {
			return "", searchError(err)
		}
		if limit -= n; limit <= 0 || p.Next == "" || n == 0 {
			return p.Next, nil
		}
		page.After = p.Next
	}
}

// nextTrailer is the HTTP trailer of downloads that says where to go on: after=. It is missing behind the last.
const nextTrailer = "Culprit-Next"

func (s *Server) downloadNDJSON(c *call) error {
	c.attach("application/x-ndjson", "culprit.ndjson")
	return s.lines(c)
}

// lines answers with one document a line.
func (s *Server) lines(c *call) error {
	q, limit, err := c.searching(s.options.QueryTimeout, DefaultDownload, MaxDownload)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("Trailer", nextTrailer)
	docs := newDocuments(q.Fields)
	next, err := s.each(c.Context(), q, limit, func(x *exchange.Exchange) error {
		if _, err := c.Write(docs.of(x)); err != nil {
			return err
		}
		_, err := io.WriteString(c, "\n")
		return err
	})
	if err != nil {
		return err
	}
	return c.endAt(next)
}

func (s *Server) downloadHAR(c *call) error {
	q, limit, err := c.searching(s.options.QueryTimeout, DefaultDownload, MaxDownload)
	if err != nil {
		return err
	}
	c.attach("application/json", "culprit.har")
	c.w.Header().Set("Trailer", nextTrailer)
	archive := har.New(c, s.options.Version)
	next, err := s.each(c.Context(), q, limit, archive.Exchange)
	if err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return c.endAt(next)
}

// endAt ends an answer that has the trailer.
func (a *answer) endAt(next string) error {
	if err := a.flush(); err != nil { // a length would leave no room for it
		return err
	}
	if next != "" {
		a.w.Header().Set(nextTrailer, next)
	}
	return nil
}

// id gives the id in the path.
func (c *call) id() (id [exchange.IDSize]byte, err error) {
	id, ok := exchange.ParseID(c.PathValue("id"))
	if !ok {
		return id, problems.notFound.of("%s is no id of an exchange; event.id of a document is one", clip(c.PathValue("id")))
	}
	return id, nil
}

// exchange answers with one document.
func (s *Server) exchange(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	var doc []byte
	err = s.options.Store.Exchange(c.Context(), id, func(x *exchange.Exchange) error {
		doc = append(doc, newDocuments(nil).safeOf(x)...)
		return nil
	})
	if err != nil {
		return err
	}
	return c.send("application/json", append(doc, '\n'))
}

// trace answers with the exchanges of a trace, the first first.
func (s *Server) trace(c *call) error {
	id := c.PathValue("id")
	if len(id) != 16 && len(id) != 32 || strings.Trim(id, "0123456789abcdefABCDEF") != "" {
		return problems.notFound.of("%s is no id of a trace, which has 16 or 32 hexadecimal digits", clip(id))
	}
	q, _, err := c.searching(s.options.QueryTimeout, DefaultTrace, store.MaxLimit)
	if err != nil {
		return err
	}
	// The standard has lower case; what was sent may differ.
	in := &filter.In{Operand: filter.Operand{Field: exchange.Lookup("trace.id")}}
	for _, variant := range []string{strings.ToLower(id), strings.ToUpper(id)} {
		in.Values = append(in.Values, filter.Constant{Kind: exchange.Text, Text: variant})
	}
	q.Where, q.Ascending = in, true
	return s.list(c, q, problems.notFound.of("no exchange of trace %s is stored; it may be too old to be kept", clip(id)))
}

// DefaultTrace is how many exchanges of a trace are given, unless told.
const DefaultTrace = 1_000

// PacketSource finds the packets that carried an exchange. It is safe for concurrent use.
type PacketSource interface {
	// Of returns what writes the packets of an exchange as a pcapng file, and says how many they were: those of the
	// whole connection, or those of the exchange and what else belongs to understanding it. x is borrowed until Of
	// returns. What it returns is called once, and ends soon after its context is done.
	Of(x *exchange.Exchange, connection bool) func(ctx context.Context, w io.Writer) (packets int, err error)
}

// packets answers with the packets of an exchange. They can't be redacted.
func (s *Server) packets(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	connection, err := c.truth("connection")
	if err != nil {
		return err
	}
	switch {
	case s.options.Packets == nil:
		return problems.notKept.of("packets aren't kept; start culprit serve with --keep-packets SIZE")
	case !s.options.Reveal:
		return problems.notRevealed.of("packets hold secrets, which can't be redacted in them; start culprit serve with --reveal to download them")
	}
	var write func(ctx context.Context, w io.Writer) (int, error)
	err = s.options.Store.Exchange(c.Context(), id, func(x *exchange.Exchange) error {
		write = s.options.Packets.Of(x, connection)
		return nil
	})
	if err != nil {
		return err
	}
	c.attach("application/x-pcapng", strings.ToUpper(c.PathValue("id"))+".pcapng")
	n, err := write(c.Context(), c)
	switch {
	case err != nil:
		return err
	case n == 0 && !c.streaming:
		return problems.notKept.of("the packets of this exchange aren't kept any more, or never were; --keep-packets takes more room, and keeps them longer")
	}
	if c.Method == http.MethodHead {
		return c.empty(http.StatusOK)
	}
	return c.end()
}
