package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// answer is the answer to one request. What is written is held back up to streamBuffer, so that an error that comes
// early enough gets its status; one that comes later cuts the connection, so that nobody takes a part for the whole.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	buf     []byte
	// streaming: a part has been sent.
	streaming bool
}

func newAnswer(w http.ResponseWriter, r *http.Request) answer {
	return answer{w: w, r: r, control: http.NewResponseController(w)}
}

// Write implements io.Writer. It fails when the client has gone, or takes nothing.
func (a *answer) Write(b []byte) (int, error) {
	a.buf = append(a.buf, b...)
	if len(a.buf) < streamBuffer {
		return len(b), nil
	}
	return len(b), a.flush()
}

// errGone is the error of a client that has gone.
var errGone = errors.New("the client has gone")

func (a *answer) flush() error {
	a.streaming = true
	a.extend()
	for b := a.buf; len(b) > 0; {
		part := b[:min(len(b), streamBuffer)]
		if _, err := a.w.Write(part); err != nil {
			return errGone
		}
		b = b[len(part):]
	}
	a.buf = a.buf[:0]
	return nil
}

// extend gives the client time to take what is written next. A connection keeps its deadline from one request to the
// next, so that each answer sets it anew.
func (a *answer) extend() {
	_ = a.control.SetWriteDeadline(time.Now().Add(WriteTimeout)) // recorders of tests have none
}

// end sends what is held back.
func (a *answer) end() error {
	if !a.streaming {
		a.w.Header().Set("Content-Length", strconv.Itoa(len(a.buf)))
	}
	return a.flush()
}

// send answers with one text.
func (a *answer) send(mediaType string, b []byte) error {
	a.w.Header().Set("Content-Type", mediaType)
	if _, err := a.Write(b); err != nil {
		return err
	}
	return a.end()
}

// empty answers with a status alone.
func (a *answer) empty(status int) error {
	a.streaming = true
	a.extend()
	a.w.WriteHeader(status)
	return nil
}

// json answers with the JSON of v, in which <, > and & are escaped.
func (a *answer) json(v any) error {
	a.w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(a).Encode(v); err != nil {
		return err
	}
	return a.end()
}

// attach makes the answer a file.
func (a *answer) attach(mediaType, name string) {
	a.w.Header().Set("Content-Type", mediaType)
	a.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

// fail ends the answer with an error. It panics with http.ErrAbortHandler, which cuts the connection, when a part of
// the answer was sent.
func (a *answer) fail(err error) {
	if a.streaming {
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, context.Canceled) && a.r.Context().Err() != nil {
		return // nobody is there to read it
	}
	a.extend()
	writeProblem(a.w, a.r, problemOf(err))
}

// htmlSafe escapes what could begin markup in a JSON document, which stays the same document.
func htmlSafe(dst *bytes.Buffer, doc []byte) []byte {
	dst.Reset()
	json.HTMLEscape(dst, doc)
	return dst.Bytes()
}
