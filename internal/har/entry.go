package har

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// entry is what is read of an entry. Names that begin with an underscore are custom fields: those of Chromium, of Playwright, and our own.
type entry struct {
	StartedDateTime text     `json:"startedDateTime"`
	Time            number   `json:"time"`
	Request         request  `json:"request"`
	Response        response `json:"response"`
	Timings         timings  `json:"timings"`
	ServerIPAddress text     `json:"serverIPAddress"`
	// Connection is an id of the connection, or else the server's port, or a list such as ClientPort:1;EgressPort:2 (Fiddler).
	Connection   text `json:"connection"`
	Comment      text `json:"comment"`
	ConnectionID text `json:"_connectionId"`
	ServerPort   text `json:"_serverPort"`
	ResourceType text `json:"_resourceType"`
	FromCache    text `json:"_fromCache"`

	ID        text     `json:"_id"`
	Grade     text     `json:"_grade"`
	Recorded  text     `json:"_recorded"`
	Anomalies []text   `json:"_anomalies"`
	Secrets   []text   `json:"_secrets"`
	StreamID  number   `json:"_streamId"`
	Stream    bool     `json:"_stream"`
	Weight    number   `json:"_weight"`
	TLS       *session `json:"_tls"`
}

type request struct {
	Method      text     `json:"method"`
	URL         text     `json:"url"`
	HTTPVersion text     `json:"httpVersion"`
	Headers     []pair   `json:"headers"`
	PostData    postData `json:"postData"`
	HeadersSize number   `json:"headersSize"`
	BodySize    number   `json:"bodySize"`
}

type response struct {
	Status      number  `json:"status"`
	StatusText  text    `json:"statusText"`
	HTTPVersion text    `json:"httpVersion"`
	Headers     []pair  `json:"headers"`
	Content     content `json:"content"`
	HeadersSize number  `json:"headersSize"`
	BodySize    number  `json:"bodySize"`
	Error       text    `json:"_error"`
}

type pair struct {
	Name  text `json:"name"`
	Value text `json:"value"`
}

type postData struct {
	MimeType text    `json:"mimeType"`
	Params   []param `json:"params"`
	Text     text    `json:"text"`
	// Encoding is where the text isn't the body itself: base64.
	Encoding  text `json:"encoding"`
	Own       text `json:"_encoding"`
	Cut       bool `json:"_cut"`
	Undecoded text `json:"_undecoded"`
}

type param struct {
	Name     text `json:"name"`
	Value    text `json:"value"`
	FileName text `json:"fileName"`
}

type content struct {
	Size        number `json:"size"`
	Compression number `json:"compression"`
	Text        text   `json:"text"`
	Encoding    text   `json:"encoding"`
	Cut         bool   `json:"_cut"`
	Undecoded   text   `json:"_undecoded"`
}

type timings struct {
	Blocked number `json:"blocked"`
	DNS     number `json:"dns"`
	Connect number `json:"connect"`
	Send    number `json:"send"`
	Wait    number `json:"wait"`
	Receive number `json:"receive"`
	SSL     number `json:"ssl"`
}

type session struct {
	Version    text `json:"version"`
	Cipher     text `json:"cipher"`
	ServerName text `json:"serverName"`
	ALPN       text `json:"alpn"`
	Resumption text `json:"resumption"`
}

// text is a string, or what somebody wrote instead: a number or a boolean as it stands there. Anything else is empty.
type text string

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		var s string
		if err := json.Unmarshal(b, &s); err == nil {
			*t = text(s)
		}
	case '{', '[', 'n':
	default:
		*t = text(b)
	}
	return nil
}

// number is a number, or a text that holds one. known: it was there.
type number struct {
	value float64
	known bool
}

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(b), `" `), 64)
	*n = number{}
	if err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
		*n = number{v, true}
	}
	return nil
}

// maxNumber is the largest number that is taken for a size: beyond it a float doesn't hold each.
const maxNumber = 1 << 53

// size returns a number of bytes, -1 where that isn't known.
func (n number) size() int64 {
	if !n.known || n.value < 0 || n.value > maxNumber {
		return -1
	}
	return int64(n.value)
}

// maxTime is the longest time that is taken for one: a year, in milliseconds.
const maxTime = 366 * 24 * 3600 * 1e3

// time returns milliseconds in nanoseconds, -1 where they aren't known or don't apply.
func (n number) time() int64 {
	if !n.known || n.value < 0 || n.value > maxTime {
		return -1
	}
	return int64(math.Round(n.value * 1e6))
}

// layouts are those of dates beside RFC 3339: zones without a colon, or none, which is UTC then.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"}

// date reads a date, in nanoseconds since 1970.
func (t text) date() (ns int64, ok bool) {
	for _, layout := range layouts {
		at, err := time.Parse(layout, strings.TrimSpace(string(t)))
		if err != nil {
			continue
		}
		if y := at.Year(); y < 1970 || y > 2261 { // beyond what nanoseconds reach
			return 0, false
		}
		return max(at.UnixNano(), 0), true
	}
	return 0, false
}
