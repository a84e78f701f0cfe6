package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/store"
)

// problemBase is what the types of problems begin with: where docs/api.md explains them.
const problemBase = "https://github.com/culprit-http/culprit/blob/main/docs/api.md#"

// problem is an answer that says what went wrong (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what to do, too.
	Detail string `json:"detail"`
	// Parameter is the one that is wrong. Position and Length are the part of it, in bytes, where that is known.
	Parameter string `json:"parameter,omitempty"`
	Position  *int   `json:"position,omitempty"`
	Length    *int   `json:"length,omitempty"`
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// kind is a kind of problem.
type kind struct {
	anchor, title string
	status        int
}

// problems are the kinds of problems.
var problems = struct {
	parameter, filter, cursor, token, origin, notRevealed, host, notFound, notKept, notBuilt, noRoute, method, body, tooLong, limit, tooMany, busy, closing, internal kind
}{
	kind{"bad-parameter", "A parameter is wrong", http.StatusBadRequest},
	kind{"bad-filter", "The filter is wrong", http.StatusBadRequest},
	kind{"bad-cursor", "The search can't go on there", http.StatusBadRequest},
	kind{"no-token", "The token is missing or wrong", http.StatusUnauthorized},
	kind{"foreign-origin", "Another site asks", http.StatusForbidden},
	kind{"not-revealed", "Raw data isn't served", http.StatusForbidden},
	kind{"wrong-host", "Another host is meant", http.StatusMisdirectedRequest},
	kind{"not-found", "It isn't stored", http.StatusNotFound},
	kind{"not-kept", "The packets aren't kept", http.StatusNotFound},
	kind{"not-built", "The user interface isn't built in", http.StatusNotFound},
	kind{"no-such-path", "There is nothing here", http.StatusNotFound},
	kind{"bad-method", "The method isn't allowed", http.StatusMethodNotAllowed},
	kind{"no-body", "There can't be a body", http.StatusRequestEntityTooLarge},
	kind{"too-long", "The query is too long", http.StatusRequestURITooLong},
	kind{"limit", "The question takes too much", http.StatusUnprocessableEntity},
	kind{"too-many", "Too much is asked at once", http.StatusTooManyRequests},
	kind{"busy", "The capture is busy", http.StatusServiceUnavailable},
	kind{"closing", "The server ends", http.StatusServiceUnavailable},
	kind{"failed", "The store failed", http.StatusInternalServerError},
}

// of makes a problem of the kind.
func (k kind) of(format string, args ...any) *problem {
	return &problem{Type: problemBase + k.anchor, Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...)}
}

// about makes a problem with a parameter.
func (k kind) about(name, format string, args ...any) *problem {
	p := k.of("%s: "+format, append([]any{name}, args...)...)
	p.Parameter = name
	return p
}

// problemOf makes a problem of any error.
func problemOf(err error) *problem {
	var p *problem
	var bad *badFilter
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &bad):
		p = problems.filter.about(bad.parameter, "%s", bad.err.Msg)
		p.Position, p.Length = &bad.err.Pos, &bad.err.Len
		return p
	case errors.Is(err, store.ErrNotFound):
		return problems.notFound.of("%v; it may be too old to be kept", err)
	case errors.Is(err, store.ErrLimit):
		return problems.limit.of("%v; ask about less time, with a narrower filter, or for fewer groups", err)
	case errors.Is(err, context.DeadlineExceeded):
		return problems.limit.of("it takes too long; ask about less time, or with a narrower filter")
	}
	return problems.internal.of("%v", err)
}

// challenge says how to be let in (RFC 6750).
const challenge = `Bearer realm="culprit"`

// writeProblem answers with a problem, if nothing was answered yet.
func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	h := w.Header()
	h.Del("Content-Disposition")
	h.Del("Trailer")
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // rather than reading the body
	}
	shown := *p
	shown.Detail = escape(shown.Detail)
	b, err := json.Marshal(&shown)
	if err != nil { // only texts and numbers are in it
		b = []byte(`{}`)
	}
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(b, '\n')) // the client has gone
	}
}

// clip quotes a text of the client's for a message, the beginning of a long one.
func clip(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		for s = s[:most]; !utf8.ValidString(s); {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return strconv.Quote(s)
}
