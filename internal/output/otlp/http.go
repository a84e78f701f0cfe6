package otlp

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// mediaType is that of requests and answers over HTTP.
const mediaType = "application/x-protobuf"

// overHTTP is OTLP/HTTP with binary protobuf.
type overHTTP struct {
	u      *url.URL
	packed bool
}

func (*overHTTP) head() int { return 0 }

func (p *overHTTP) request(signal int, body []byte) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, p.u.String()+signals[signal].path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", mediaType)
	if p.packed {
		r.Header.Set("Content-Encoding", "gzip")
	}
	return r, nil
}

func (*overHTTP) read(_ int, r *http.Response) (a answer, err error) {
	// An answer that is cut off, or too long, is read as far as it goes: the status says it all.
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	binary := strings.HasPrefix(r.Header.Get("Content-Type"), mediaType)
	if r.StatusCode/100 == 2 {
		if binary {
			a = readAnswer(b)
		}
		return a, nil
	}
	message := plain(b)
	if binary {
		message = readStatus(b).message
	}
	return a, httpError(r, message)
}
