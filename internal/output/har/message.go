package har

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/proto"
)

// unknownType is the media type of bodies whose type isn't known, as browsers write it.
const unknownType = "x-unknown"

const formType = "application/x-www-form-urlencoded"

func requestOf(x *exchange.Exchange) request {
	m := &x.Request
	if !x.HasRequest {
		return request{
			URL: baseURL(x) + "/", Cookies: []cookie{}, Headers: []pair{}, QueryString: []pair{}, HeadersSize: -1, BodySize: -1,
		}
	}
	r := request{
		Method:      text(m.Bytes(m.Method)),
		URL:         fullURL(x),
		HTTPVersion: text(m.Bytes(m.Proto)),
		Headers:     headers(m),
		Cookies:     []cookie{},
		QueryString: query(x.URL().Query),
		PostData:    postDataOf(m, &x.RequestBody),
		HeadersSize: m.HeadSize,
		BodySize:    m.BodyBytes,
	}
	eachField(m, "cookie", func(v []byte) {
		for _, p := range attributes(v) {
			r.Cookies = append(r.Cookies, cookie{Name: p.Name, Value: p.Value})
		}
	})
	return r
}

func responseOf(x *exchange.Exchange) response {
	m := &x.Response
	if !x.HasResponse {
		reason := "no response was seen"
		if x.Reason != "" {
			reason += ": " + text([]byte(x.Reason))
		}
		return response{
			Cookies: []cookie{}, Headers: []pair{}, Content: content{MimeType: unknownType}, HeadersSize: -1, BodySize: -1, Error: reason,
		}
	}
	r := response{
		Status:      max(m.Status, 0),
		StatusText:  text(m.Bytes(m.Reason)),
		HTTPVersion: text(m.Bytes(m.Proto)),
		Headers:     headers(m),
		Cookies:     []cookie{},
		Content:     contentOf(m, &x.ResponseBody),
		RedirectURL: text(m.Field("location")),
		HeadersSize: m.HeadSize,
		BodySize:    m.BodyBytes,
	}
	eachField(m, "set-cookie", func(v []byte) { r.Cookies = append(r.Cookies, setCookie(v)) })
	return r
}

// text gives bytes as JSON needs them. What isn't UTF-8 is read as ISO 8859-1, as browsers read
// headers: no byte is lost.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

func headers(m *proto.Message) []pair {
	out := make([]pair, 0, len(m.Fields))
	for i := range m.Fields {
		f := &m.Fields[i]
		out = append(out, pair{text(m.Bytes(f.Name)), text(m.Bytes(f.Value))})
	}
	return out
}

// eachField calls f with the value of each header field of a lower-case name.
func eachField(m *proto.Message, name string, f func(value []byte)) {
	for i := range m.Fields {
		if field := &m.Fields[i]; field.Flags&proto.Trailer == 0 && proto.EqualFold(m.Bytes(field.Name), name) {
			f(m.Bytes(field.Value))
		}
	}
}

// baseURL gives scheme and authority: of the target, or else the Host header, or else the server.
func baseURL(x *exchange.Exchange) string {
	u := x.URL()
	scheme := "http"
	switch {
	case len(u.Scheme) > 0:
		scheme = strings.ToLower(string(u.Scheme))
	case x.TLS != nil, x.Timing.TLS >= 0:
		scheme = "https"
	}
	if rest, ok := strings.CutPrefix(scheme, "http"); ok && output.KindOf(x) == output.Session {
		scheme = "ws" + rest // as browsers have it
	}
	authority := x.Flow.End(x.Server())
	if len(u.Host) > 0 {
		authority = string(u.Host)
		if strings.Contains(authority, ":") {
			authority = "[" + authority + "]"
		}
		if len(u.Port) > 0 {
			authority += ":" + string(u.Port)
		}
	}
	return scheme + "://" + escapeURL(authority)
}

// fullURL gives the request's target URI (RFC 9112 §3.3). The authority and asterisk forms have no
// path.
func fullURL(x *exchange.Exchange) string {
	u := x.URL()
	path := string(u.Path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + strings.TrimPrefix(path, "*")
	}
	if u.HasQuery {
		path += "?" + string(u.Query)
	}
	return baseURL(x) + escapeURL(path)
}

// escapeURL percent-encodes what no URL may hold: controls, space, quotes, angle brackets, and what
// isn't ASCII.
func escapeURL(s string) string {
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			const hex = "0123456789ABCDEF"
			out.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// query takes a query string or a form apart, and decodes it.
func query(b []byte) []pair {
	out := []pair{}
	for p := range bytes.SplitSeq(b, []byte("&")) {
		if len(p) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(p, []byte("="))
		out = append(out, pair{unescape(name), unescape(value)})
	}
	return out
}

// unescape undoes the form encoding, or leaves what is malformed as it is.
func unescape(b []byte) string {
	s, err := url.QueryUnescape(string(b))
	if err != nil {
		return text(b)
	}
	return text([]byte(s))
}

// attributes takes "a=1; b" apart.
func attributes(b []byte) []pair {
	var out []pair
	for p := range bytes.SplitSeq(b, []byte(";")) {
		name, value, _ := bytes.Cut(p, []byte("="))
		if name, value = bytes.TrimSpace(name), bytes.TrimSpace(value); len(name) > 0 || len(value) > 0 {
			out = append(out, pair{text(name), text(value)})
		}
	}
	return out
}

// setCookie reads a Set-Cookie header (RFC 6265 §4.1). Dates that aren't dates are left out.
func setCookie(b []byte) cookie {
	all := attributes(b)
	if len(all) == 0 {
		return cookie{}
	}
	c := cookie{Name: all[0].Name, Value: all[0].Value}
	for _, a := range all[1:] {
		switch strings.ToLower(a.Name) {
		case "path":
			c.Path = a.Value
		case "domain":
			c.Domain = a.Value
		case "samesite":
			c.SameSite = a.Value
		case "httponly":
			c.HTTPOnly = true
		case "secure":
			c.Secure = true
		case "expires":
			if t, err := http.ParseTime(a.Value); err == nil {
				c.Expires = t.UTC().Format(time.RFC3339)
			}
		}
	}
	return c
}

// postDataOf gives the request's body, nil when it has none. The specification wants either text or
// params; browsers write and read both.
func postDataOf(m *proto.Message, b *exchange.Body) *postData {
	if m.BodyBytes <= 0 && len(b.Bytes) == 0 {
		return nil
	}
	p := &postData{MimeType: text(m.Field("content-type")), Params: []param{}, Cut: b.Cut, Undecoded: text([]byte(b.Undecoded)), Comment: note(m, b)}
	p.Text, p.Encoding = bodyText(b)
	switch {
	case len(b.Parts) > 0:
		for _, part := range b.Parts {
			p.Params = append(p.Params, param{
				Name: text([]byte(part.Name)), FileName: text([]byte(part.Filename)), ContentType: text([]byte(part.Type)),
			})
		}
	case string(exchange.MediaType(m)) == formType && b.Undecoded == "" && !b.Cut:
		for _, f := range query(b.Bytes) {
			p.Params = append(p.Params, param{Name: f.Name, Value: f.Value})
		}
	}
	return p
}

func contentOf(m *proto.Message, b *exchange.Body) content {
	c := content{Size: m.BodyBytes, MimeType: text(m.Field("content-type")), Cut: b.Cut, Undecoded: text([]byte(b.Undecoded)), Comment: note(m, b)}
	if c.MimeType == "" {
		c.MimeType = unknownType
	}
	if b.DecodedBytes >= 0 {
		c.Size, c.Compression = b.DecodedBytes, b.DecodedBytes-m.BodyBytes
	}
	c.Text, c.Encoding = bodyText(b)
	return c
}

// bodyText gives a body as text, or encoded when it isn't text.
func bodyText(b *exchange.Body) (s, encoding string) {
	if utf8.Valid(b.Bytes) {
		return string(b.Bytes), ""
	}
	return base64.StdEncoding.EncodeToString(b.Bytes), "base64"
}

// note says why the body isn't all there.
func note(m *proto.Message, b *exchange.Body) string {
	switch {
	case m.BodyBytes > 0 && len(b.Bytes) == 0:
		return "the body wasn't kept (see --max-body)"
	case b.Undecoded != "":
		return text([]byte("the content coding couldn't be undone: " + b.Undecoded))
	case b.Cut:
		return "the body is cut (see --max-body)"
	case m.MissingBytes > 0:
		return "bytes of the body weren't captured"
	}
	return ""
}
