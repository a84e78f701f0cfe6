// Package har writes exchanges as an HTTP Archive, version 1.2
// (http://www.softwareishard.com/blog/har-12-spec/), that browsers' developer tools import.
package har

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/proto"
)

// Output writes exchanges to an archive. It implements output.Output. The archive is valid JSON once
// it is closed.
//
// An archive holds requests: a TLS session that wasn't read is left out, and so are the single messages of a WebSocket, whose
// session is an entry.
type Output struct {
	w       *bufio.Writer
	enc     *json.Encoder
	version string
	entries int
	closed  bool
}

// New returns an Output that writes to w. version is culprit's, for the archive's creator.
func New(w io.Writer, version string) *Output {
	o := &Output{w: bufio.NewWriterSize(w, 64<<10), version: version}
	o.enc = json.NewEncoder(o.w)
	o.enc.SetEscapeHTML(false)
	return o
}

// Exchange adds an entry. What isn't HTTP has no place in an archive.
func (o *Output) Exchange(x *exchange.Exchange) error {
	if kind := output.KindOf(x); kind != output.Exchange && kind != output.Session {
		return nil
	}
	if err := o.separate(); err != nil {
		return err
	}
	o.entries++
	return wrap(o.enc.Encode(entryOf(x)))
}

// Flush writes what is buffered. What has been written is then the beginning of an archive.
func (o *Output) Flush() error { return wrap(o.w.Flush()) }

// Close ends the archive, and writes what remains. Only the first call does so.
func (o *Output) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	if o.entries == 0 {
		if err := o.begin(); err != nil {
			return err
		}
	}
	if _, err := o.w.WriteString("]}}\n"); err != nil {
		return wrap(err)
	}
	return o.Flush()
}

// begin writes what comes before the entries. The list of pages is empty rather than left out:
// Firefox's importer needs it.
func (o *Output) begin() error {
	creator, err := json.Marshal(creator{Name: "culprit", Version: o.version})
	if err != nil {
		return wrap(err)
	}
	_, err = fmt.Fprintf(o.w, `{"log":{"version":"1.2","creator":%s,"pages":[],"entries":[`+"\n", creator)
	return wrap(err)
}

func (o *Output) separate() error {
	if o.entries == 0 {
		return o.begin()
	}
	return wrap(o.w.WriteByte(','))
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("har output: %w", err)
	}
	return nil
}

// The objects of the specification, in its order.
type (
	creator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	entry struct {
		StartedDateTime string   `json:"startedDateTime"`
		Time            float64  `json:"time"`
		Request         request  `json:"request"`
		Response        response `json:"response"`
		Cache           struct{} `json:"cache"`
		Timings         timings  `json:"timings"`
		ServerIPAddress string   `json:"serverIPAddress"`
		// Connection is the server's port, as browsers write it and read it; ConnectionID tells
		// connections apart.
		Connection   string   `json:"connection"`
		Comment      string   `json:"comment,omitempty"`
		ConnectionID string   `json:"_connectionId"`
		ID           string   `json:"_id"`
		Grade        string   `json:"_grade"`
		Anomalies    []string `json:"_anomalies,omitempty"`
		// Secrets are the fingerprints of what redaction hid. Stream: how long it took says nothing of the server's speed. Weight is how
		// many exchanges it stands for; 0: it wasn't sampled. Recorded says what recorded it, where that wasn't on the wire.
		Secrets  []string `json:"_secrets,omitempty"`
		Stream   bool     `json:"_stream,omitempty"`
		Weight   uint32   `json:"_weight,omitempty"`
		Recorded string   `json:"_recorded,omitempty"`
		// ResourceType is websocket for a session, as Chrome has it. StreamID is the number of the HTTP/2 stream.
		ResourceType string    `json:"_resourceType,omitempty"`
		StreamID     uint64    `json:"_streamId,omitempty"`
		TLS          *session  `json:"_tls,omitempty"`
		GRPC         *call     `json:"_grpc,omitempty"`
		Messages     *messages `json:"_messages,omitempty"`
		Blame        *blame    `json:"_blame,omitempty"`
		// Process is nil when neither end's process is known.
		Process *processes `json:"_process,omitempty"`
	}
	// blame is the verdict on an exchange that somebody made slow or fail. Time is what that took, in milliseconds.
	blame struct {
		Who        string   `json:"who"`
		Situation  string   `json:"situation,omitempty"`
		Time       float64  `json:"time,omitempty"`
		Confidence float64  `json:"confidence"`
		Upstream   string   `json:"upstream,omitempty"`
		Why        string   `json:"why,omitempty"`
		Evidence   []string `json:"evidence,omitempty"`
	}
	// session are the facts of a TLS session; what isn't known is left out.
	session struct {
		Version     string       `json:"version,omitempty"`
		Cipher      string       `json:"cipher,omitempty"`
		ServerName  string       `json:"serverName,omitempty"`
		ALPN        string       `json:"alpn,omitempty"`
		Resumption  string       `json:"resumption,omitempty"`
		Certificate *certificate `json:"certificate,omitempty"`
	}
	certificate struct {
		Subject   string   `json:"subject,omitempty"`
		Issuer    string   `json:"issuer,omitempty"`
		Names     []string `json:"names,omitempty"`
		NotBefore string   `json:"notBefore,omitempty"`
		NotAfter  string   `json:"notAfter,omitempty"`
		SHA256    string   `json:"sha256"`
	}
	call struct {
		Service string `json:"service,omitempty"`
		Method  string `json:"method,omitempty"`
		Status  string `json:"status,omitempty"`
		Message string `json:"message,omitempty"`
	}
	// messages count those of a session, or of a body that consists of messages.
	messages struct {
		Client  said     `json:"client"`
		Server  said     `json:"server"`
		Closing *closing `json:"closing,omitempty"`
	}
	said struct {
		Count int64 `json:"count"`
		Bytes int64 `json:"bytes"`
	}
	closing struct {
		By     string `json:"by"`
		Code   int    `json:"code,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	processes struct {
		Client *process `json:"client,omitempty"`
		Server *process `json:"server,omitempty"`
	}
	// process is exchange.Process; what isn't known is left out.
	process struct {
		PID         int      `json:"pid,omitempty"`
		Name        string   `json:"name,omitempty"`
		Executable  string   `json:"executable,omitempty"`
		Args        []string `json:"args,omitempty"`
		User        string   `json:"user,omitempty"`
		ContainerID string   `json:"containerId,omitempty"`
		PodUID      string   `json:"podUid,omitempty"`
		Unit        string   `json:"unit,omitempty"`
	}
	request struct {
		Method      string    `json:"method"`
		URL         string    `json:"url"`
		HTTPVersion string    `json:"httpVersion"`
		Cookies     []cookie  `json:"cookies"`
		Headers     []pair    `json:"headers"`
		QueryString []pair    `json:"queryString"`
		PostData    *postData `json:"postData,omitempty"`
		HeadersSize int64     `json:"headersSize"`
		BodySize    int64     `json:"bodySize"`
	}
	response struct {
		Status      int      `json:"status"`
		StatusText  string   `json:"statusText"`
		HTTPVersion string   `json:"httpVersion"`
		Cookies     []cookie `json:"cookies"`
		Headers     []pair   `json:"headers"`
		Content     content  `json:"content"`
		RedirectURL string   `json:"redirectURL"`
		HeadersSize int64    `json:"headersSize"`
		BodySize    int64    `json:"bodySize"`
		Error       string   `json:"_error,omitempty"`
	}
	pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	cookie struct {
		Name     string `json:"name"`
		Value    string `json:"value"`
		Path     string `json:"path,omitempty"`
		Domain   string `json:"domain,omitempty"`
		Expires  string `json:"expires,omitempty"`
		HTTPOnly bool   `json:"httpOnly,omitempty"`
		Secure   bool   `json:"secure,omitempty"`
		SameSite string `json:"sameSite,omitempty"`
	}
	postData struct {
		MimeType string  `json:"mimeType"`
		Params   []param `json:"params"`
		Text     string  `json:"text"`
		Encoding string  `json:"_encoding,omitempty"`
		// Cut and Undecoded say for programs what Comment says for people.
		Cut       bool   `json:"_cut,omitempty"`
		Undecoded string `json:"_undecoded,omitempty"`
		Comment   string `json:"comment,omitempty"`
	}
	param struct {
		Name        string `json:"name"`
		Value       string `json:"value,omitempty"`
		FileName    string `json:"fileName,omitempty"`
		ContentType string `json:"contentType,omitempty"`
	}
	content struct {
		Size        int64  `json:"size"`
		Compression int64  `json:"compression,omitempty"`
		MimeType    string `json:"mimeType"`
		Text        string `json:"text,omitempty"`
		Encoding    string `json:"encoding,omitempty"`
		Cut         bool   `json:"_cut,omitempty"`
		Undecoded   string `json:"_undecoded,omitempty"`
		Comment     string `json:"comment,omitempty"`
	}
	timings struct {
		Blocked float64 `json:"blocked"`
		DNS     float64 `json:"dns"`
		Connect float64 `json:"connect"`
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
		SSL     float64 `json:"ssl"`
	}
)

func entryOf(x *exchange.Exchange) *entry {
	e := &entry{
		StartedDateTime: time.Unix(0, x.Start.Time).UTC().Format("2006-01-02T15:04:05.000000Z"),
		Request:         requestOf(x),
		Response:        responseOf(x),
		Timings:         timingsOf(&x.Timing),
		ServerIPAddress: x.Flow.Addr[x.Server()].String(),
		Connection:      fmt.Sprint(x.Flow.Port[x.Server()]),
		ConnectionID:    fmt.Sprintf("%s#%d", x.Flow.End(x.Client), x.Flow.First.Packet),
		ID:              string(exchange.AppendID(nil, x.ID(x.Tap.Observer))),
		Grade:           x.Grade.String(),
		Secrets:         x.Secrets,
		Stream:          x.Stream,
		Weight:          x.Weight,
		Recorded:        x.Tap.Recorded,
		Comment:         text([]byte(x.Reason)),
		Process:         processesOf(x),
		StreamID:        x.StreamID(),
		TLS:             sessionOf(x.TLS),
		GRPC:            callOf(x),
		Messages:        messagesOf(x),
		Blame:           blameOf(x),
	}
	if name, _ := output.GRPCError(x); name != "" {
		e.Comment = strings.TrimPrefix(e.Comment+"; ", "; ") + "gRPC status " + name
	}
	if output.KindOf(x) == output.Session {
		e.ResourceType = "websocket"
		// What was said is no body.
		e.Request.BodySize, e.Request.PostData, e.Request.HeadersSize = -1, nil, -1
		e.Response.BodySize, e.Response.HeadersSize, e.Response.Content.Size, e.Response.Content.Comment = -1, -1, 0, ""
	}
	// The time of an exchange is the same in all outputs: first request byte to last response byte.
	e.Time = milliseconds(max(x.Timing.Send, 0) + max(x.Timing.Wait, 0) + max(x.Timing.Receive, 0))
	x.Anomalies.Each(func(a proto.Anomaly) { e.Anomalies = append(e.Anomalies, a.String()) })
	return e
}

// blameOf gives the verdict, nil when nobody is blamed.
func blameOf(x *exchange.Exchange) *blame {
	b := &x.Blame
	if b.Who <= exchange.Nobody {
		return nil
	}
	out := &blame{
		Who: b.Who.String(), Situation: b.Situation.String(), Time: milliseconds(b.Time), Confidence: b.Confidence, Upstream: text([]byte(b.Upstream)), Why: text([]byte(x.Why())),
	}
	for _, fact := range x.Proofs() {
		out.Evidence = append(out.Evidence, text([]byte(fact)))
	}
	return out
}

// sessionOf gives the facts of a TLS session, nil when there is none.
func sessionOf(t *proto.TLS) *session {
	if t == nil {
		return nil
	}
	s := &session{
		Version: exchange.TLSVersion(t.Version), Cipher: t.SuiteName, ServerName: text([]byte(t.ServerName)), ALPN: text([]byte(t.ALPN)), Resumption: t.Resumption,
	}
	if len(t.ServerChain) == 0 {
		return s
	}
	c := t.ServerChain[0]
	s.Certificate = &certificate{Subject: text([]byte(c.Subject)), Issuer: text([]byte(c.Issuer)), SHA256: c.SHA256}
	for _, name := range c.Names {
		s.Certificate.Names = append(s.Certificate.Names, text([]byte(name)))
	}
	if !c.Malformed {
		s.Certificate.NotBefore, s.Certificate.NotAfter = date(c.NotBefore), date(c.NotAfter)
	}
	return s
}

func date(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// callOf gives what is known of a gRPC call, nil when it isn't one.
func callOf(x *exchange.Exchange) *call {
	if !x.IsGRPC() {
		return nil
	}
	service, method := x.GRPCMethod()
	c := &call{Service: text(service), Method: text(method), Message: text([]byte(x.GRPCMessage()))}
	if code, ok := x.GRPCStatus(); ok {
		c.Status = exchange.GRPCStatusName(code)
	}
	return c
}

// messagesOf counts messages, nil when there are none.
func messagesOf(x *exchange.Exchange) *messages {
	client, server := &x.Request.Parts, &x.Response.Parts
	if output.KindOf(x) != output.Session && client.Count == 0 && server.Count == 0 {
		return nil
	}
	m := &messages{Client: said{client.Count, client.Bytes}, Server: said{server.Count, server.Bytes}}
	if c := &x.Closing; c.Seen {
		m.Closing = &closing{By: "server", Code: c.Code, Reason: text([]byte(c.Reason))}
		if c.By == x.Client {
			m.Closing.By = "client"
		}
	}
	return m
}

// processesOf gives the local processes at the ends, nil when neither is known.
func processesOf(x *exchange.Exchange) *processes {
	client, server := processOf(x.Process[x.Client]), processOf(x.Process[x.Server()])
	if client == nil && server == nil {
		return nil
	}
	return &processes{client, server}
}

func processOf(p *exchange.Process) *process {
	if p == nil {
		return nil
	}
	out := &process{
		PID: p.PID, Name: text([]byte(p.Name)), Executable: text([]byte(p.Executable)), User: text([]byte(p.User)),
		ContainerID: text([]byte(p.ContainerID)), PodUID: text([]byte(p.PodUID)), Unit: text([]byte(p.Unit)),
	}
	for _, arg := range p.Args {
		out.Args = append(out.Args, text([]byte(arg)))
	}
	return out
}

// timingsOf gives the phases in milliseconds. The specification wants send, wait and receive always,
// and -1 for others that don't apply; connect includes ssl.
func timingsOf(t *exchange.Timing) timings {
	out := timings{
		Blocked: optional(t.Idle), DNS: -1, Connect: optional(t.Connect), SSL: optional(t.TLS),
		Send: milliseconds(max(t.Send, 0)), Wait: milliseconds(max(t.Wait, 0)), Receive: milliseconds(max(t.Receive, 0)),
	}
	if t.TLS >= 0 {
		out.Connect = milliseconds(max(t.Connect, 0) + t.TLS)
	}
	return out
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }

func optional(ns int64) float64 {
	if ns < 0 {
		return -1
	}
	return milliseconds(ns)
}
