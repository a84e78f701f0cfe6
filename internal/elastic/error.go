package elastic

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Error is an answer of a cluster that isn't a success.
type Error struct {
	// URL is the node that was asked, without credentials; Method and Path what it was asked.
	URL, Method, Path string
	// Status is the status of HTTP.
	Status int
	// Type is the cluster's name of what is wrong, such as "index_not_found_exception"; Reason says it for people, with
	// its causes. Each is empty where the answer isn't a cluster's.
	Type, Reason string
	// RetryAfter is when to try again, as the answer says; 0: it doesn't.
	RetryAfter time.Duration

	// elastic: the answer says that it is Elasticsearch's.
	elastic bool
}

// maxReason is how much of a reason is shown.
const maxReason = 500

// OfContent reports whether the error may be due to what was sent: the cluster answered, and not that it is busy, or doesn't
// know who asks.
func (e *Error) OfContent() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return false
	case http.StatusInternalServerError, http.StatusNotImplemented:
		return true
	}
	return e.Status >= 400 && e.Status < 500
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s %s: %d %s", e.URL, e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Type != "" || e.Reason != "" {
		text += ": " + Explain(e.Type, e.Reason)
	}
	if advice := Advice(e.Status, e.Type, e.Reason); advice != "" {
		text += ": " + advice
	}
	return text
}

// Explain joins type and reason of an error, and bounds them.
func Explain(kind, reason string) string {
	text := kind
	switch {
	case kind == "":
		text = reason
	case reason != "":
		text += ": " + reason
	}
	return printable(text, maxReason)
}

// ofNode reports whether another node may do better: what stands before this one doesn't reach it, or it has no master.
func (e *Error) ofNode() bool {
	return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
}

// The types of errors that are told apart.
const (
	typeSecurity = "security_exception"
	typeBlocked  = "cluster_block_exception"
	typeLimit    = "validation_exception"
	typeClosed   = "index_closed_exception"
	typeNoIndex  = "index_not_found_exception"
	typeName     = "invalid_index_name_exception"
)

// OfIndex reports whether an error of that type is about an index, the user or the cluster, and not about a document: once
// that is mended, the same document is taken.
func OfIndex(kind string) bool {
	switch kind {
	case typeSecurity, typeBlocked, typeLimit, typeClosed, typeNoIndex, typeName:
		return true
	}
	return false
}

// advices say what the user can do. The first that fits holds.
var advices = []struct {
	status int    // 0: any
	kind   string // empty: any
	reason string // what the reason contains
	text   string
}{
	{401, "", "", "check user and password, or the API key"},
	{0, typeBlocked, "read-only", "the index takes no documents: a disk may be too full (free space, and the cluster lifts that by itself), or somebody has set index.blocks"},
	{0, typeBlocked, "", "the cluster takes no documents at the moment: look at its health"},
	{403, "", "", "the user, role or API key lacks a privilege: docs/elasticsearch.md lists those that are needed"},
	{0, typeLimit, "shards", "the cluster has as many shards as it may: delete old indices, or raise cluster.max_shards_per_node"},
	{0, typeClosed, "", "open the index, or delete it"},
	{404, typeNoIndex, "", "there is no such index, and the cluster doesn't make it: look at action.auto_create_index"},
	{413, "", "", "the cluster takes no request of that size: look at http.max_content_length, and at what stands before it"},
	{429, "", "", "the cluster has more to do than it can"},
	{503, "", "", "the cluster isn't ready: look at its health"},
}

// Advice says what the user can do about an error; empty: nothing that is known.
func Advice(status int, kind, reason string) string {
	for _, a := range advices {
		if (a.status == 0 || a.status == status) && (a.kind == "" || a.kind == kind) && strings.Contains(reason, a.reason) {
			return a.text
		}
	}
	if status >= 300 && status < 400 {
		return "the server sends elsewhere; give the address to which it does"
	}
	return ""
}

// cause is an error in the form of Elasticsearch.
type cause struct {
	Type, Reason string
	CausedBy     *cause   `json:"caused_by"`
	RootCause    []*cause `json:"root_cause"`
}

// text returns the reason with its causes.
func (c *cause) text() string {
	text := c.Reason
	for n := c.CausedBy; n != nil && len(text) < maxReason; n = n.CausedBy {
		if n.Reason != "" && !strings.Contains(text, n.Reason) {
			text += ": " + n.Reason
		}
	}
	return text
}

// refusal makes the error of an answer.
func refusal(node *url.URL, r *Request, response *http.Response, text []byte) *Error {
	e := &Error{URL: node.Redacted(), Method: r.Method, Path: r.Path, Status: response.StatusCode, elastic: response.Header.Get("X-Elastic-Product") == "Elasticsearch"}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	var answer struct {
		Error   json.RawMessage
		Message string // Kibana's
	}
	if json.Unmarshal(text, &answer) != nil {
		e.Reason = printable(string(text), 200) // a proxy's page, perhaps
		return e
	}
	var c cause
	if json.Unmarshal(answer.Error, &c) != nil {
		_ = json.Unmarshal(answer.Error, &e.Reason) // Kibana's, and some of the oldest, are texts
		if answer.Message != "" {
			e.Reason = answer.Message
		}
		return e
	}
	e.Type, e.Reason = c.Type, c.text()
	// What failed on all shards is told by its causes only.
	if len(c.RootCause) > 0 && (e.Reason == "" || e.Type == "search_phase_execution_exception") {
		root := c.RootCause[0]
		e.Type, e.Reason = root.Type, root.text()
	}
	return e
}

// printable bounds a text of the other side, and leaves out what a terminal would obey.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return strings.TrimSpace(text)
}

// unreachable explains the error of a connection.
func unreachable(node *url.URL, err error) error {
	var (
		wrapped   *url.Error
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		record    tls.RecordHeaderError
	)
	if errors.As(err, &wrapped) {
		err = wrapped.Err // it has the address, and perhaps credentials
	}
	advice := ""
	switch {
	case errors.As(err, &authority):
		advice = ": give the certificate that signs the server's by the setting ca"
	case errors.As(err, &name):
		advice = ": use the name that the certificate is for, or the setting server_name"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		advice = ": the server speaks without TLS; use http://"
	}
	return fmt.Errorf("%s: %w%s", node.Redacted(), err, advice)
}
