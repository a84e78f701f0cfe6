package operation

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
)

// parameters reads the query of a URL: a request of GraphQL by GET.
func (f *found) parameters(text []byte) {
	if len(text) > maxQuery || !bytes.Contains(text, []byte("query=")) && !bytes.Contains(text, []byte("operationName=")) {
		return
	}
	// What can be read is, whatever is wrong with the rest.
	values, _ := url.ParseQuery(string(text))
	name := values.Get("operationName")
	if text := values.Get("query"); text != "" {
		f.graphQL(text, name, false)
		return
	}
	if name != "" && (f.hinted || strings.Contains(values.Get("extensions"), `"persistedQuery"`)) {
		f.add(GraphQL, "", name)
	}
}

// form reads a form: a request of GraphQL has the parameters of a URL. Many clients send JSON as a form.
func (f found) form(_, body []byte) found {
	if start := bytes.TrimLeft(body, " \t\r\n"); bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("[")) {
		return f.json(nil, body)
	}
	f.parameters(body)
	return f
}

// multipart reads an upload of GraphQL: its part "operations" is a request or a batch
// (https://github.com/jaydenseric/graphql-multipart-request-spec).
func (f found) multipart(contentType, body []byte) found {
	_, params, _ := mime.ParseMediaType(string(contentType))
	if params["boundary"] == "" {
		return f
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := r.NextPart()
		if err != nil {
			return f
		}
		if part.FormName() == "operations" {
			b, _ := io.ReadAll(part) // the body may end within it
			return f.json(nil, b)
		}
	}
}
