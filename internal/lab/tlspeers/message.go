//go:build linux

package tlspeers

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Said is a request and its response as the ends have it, in plain text.
type Said struct {
	Method, Target    string
	Status            int
	Request, Response []byte // bodies
}

// Digits returns n bytes of a body, the same for the same name. They are digits, so that no program takes them for a
// command.
func Digits(name string, n int) []byte {
	b := make([]byte, n)
	s := uint32(len(name))
	for i := range name {
		s = s*31 + uint32(name[i])
	}
	for i := range b {
		s = s*1664525 + 1013904223
		b[i] = '0' + byte(s>>28)%10
	}
	return b
}

// answer is what the test's servers say: as many digits as the query asks for with size, and what they think the length
// of the request's body is.
func answer(target *url.URL, request []byte) (status int, body []byte) {
	n, err := strconv.Atoi(target.Query().Get("size"))
	if err != nil || !bytes.Equal(request, Digits(target.Path, len(request))) {
		return http.StatusBadRequest, nil
	}
	return http.StatusOK, Digits(target.Path+"!", n)
}

// serve answers requests that come on r until its end.
func serve(r io.Reader, w io.Writer) error {
	in := bufio.NewReader(r)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return err
		}
		status, answered := answer(request.URL, body)
		head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", status, http.StatusText(status), len(answered))
		if _, err := w.Write(append([]byte(head), answered...)); err != nil {
			return err
		}
	}
}

// plain returns a request in HTTP/1.1, POST if it has a body.
func plain(target string, body []byte) (method string, request []byte) {
	method = http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", method, target, ServerName, len(body))
	if body == nil {
		head = fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, target, ServerName)
	}
	return method, append([]byte(head), body...)
}
