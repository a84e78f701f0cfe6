package record

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Maker makes exchanges of rows: they have the same fields as those that were stored. It isn't safe for
// concurrent use.
type Maker struct {
	x         exchange.Exchange
	flow      proto.Flow
	tap       exchange.Tap
	id        [exchange.IDSize]byte
	processes [2]exchange.Process
	places    [2]exchange.Place
	agent     exchange.UserAgent
	session   session
	abort     proto.Abort
	event     exchange.SessionMessage
	period    exchange.Period
	proxied   proto.Proxied
	used      []bool
	// without tells, for requests and responses, that rows lack the headers though the message may have some.
	without [2]bool
	scratch []byte
}

// Only says which columns rows will have, as Needs returned them; nil, and all before the first call: all.
func (k *Maker) Only(columns []int) {
	for i, c := range [...]*messageColumns{&cols.request, &cols.response} {
		k.without[i] = columns != nil && !slices.Contains(columns, c.headers)
	}
}

// Exchange makes the exchange of a row. It is valid until the next call, and owns its memory.
func (k *Maker) Exchange(r *Row) *exchange.Exchange {
	x := &k.x
	request, response := x.Request, x.Response
	*x = exchange.Exchange{Interim: x.Interim[:0], Secrets: x.Secrets[:0]}
	x.Request, x.Response = request, response
	x.Request.Reset()
	x.Response.Reset()
	x.Request.Kind, x.Request.Dir = proto.Request, proto.Originator
	x.Response.Kind, x.Response.Dir = proto.Response, proto.Responder
	k.flow, k.tap, k.agent = proto.Flow{Proto: packet.ProtoTCP}, exchange.Tap{}, exchange.UserAgent{}
	k.processes, k.places = [2]exchange.Process{}, [2]exchange.Place{}
	k.abort, k.event, k.period, k.proxied = proto.Abort{}, exchange.SessionMessage{}, exchange.Period{}, proto.Proxied{}
	k.session.reset()
	x.Flow, x.Tap, x.Client = &k.flow, &k.tap, proto.Originator
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	x.Timing = exchange.UnknownTiming
	for _, col := range r.Present {
		if set := setters[col]; set != nil {
			set(k, &r.cells[col])
		}
	}
	k.finish(r)
	return x
}

// finish sets what follows from several columns.
func (k *Maker) finish(r *Row) {
	x := &k.x
	if x.Grade == exchange.Complete {
		x.Reason = "" // it was what the server says of an error, which is a fact
	}
	if x.Period != nil {
		x.Family = exchange.Other
		for d := range x.During {
			n, _ := r.Int([...]int{cols.request.bytes, cols.response.bytes}[d])
			x.During[d].Bytes = uint64(n)
		}
	} else {
		x.Response.OneWay = unasked(r, x.Family)
		k.finishMessage(r, &cols.request, &x.Request, &x.HasRequest, &x.RequestBody)
		k.finishMessage(r, &cols.response, &x.Response, &x.HasResponse, &x.ResponseBody)
	}

	x.Request.OneWay = x.HasRequest && !x.HasResponse && x.Stream && x.Grade == exchange.Complete &&
		(x.Family == exchange.Database || x.Family == exchange.Names)
	start := x.Start.Time
	if x.HasRequest {
		x.Request.First = clock.Mark{Time: start, Packet: x.FirstPacket}
		x.Request.Last = clock.Mark{Time: start + max(x.Timing.Send, 0) + max(x.Timing.Overlap, 0)}
	}
	if x.HasResponse {
		x.Response.First.Time = start
		if x.HasRequest && x.Timing.Send >= 0 {
			x.Response.First.Time += x.Timing.Send + max(x.Timing.Wait, 0)
		}
		x.Response.Last = clock.Mark{Time: x.Response.First.Time + max(x.Timing.Receive, 0), Packet: x.LastPacket}
	}
	x.Completed.Packet, x.Start.Packet = x.LastPacket, x.FirstPacket
	if x.Family == exchange.Names && !x.HasRequest {
		for i := range x.Request.Facts { // which the response repeats
			f := &x.Request.Facts[i]
			if f.Number != 0 || f.Value.Len == 0 {
				x.Response.Count(f.Name, f.Number)
			} else {
				x.Response.Say(f.Name, x.Request.Bytes(f.Value))
			}
		}
		x.Request.Reset()
	}
	if after, ok := r.Int(cols.firstRow); ok {
		x.Response.Parts.First = start + after
	}
	if age, ok := r.Int(cols.connectionAge); ok {
		k.flow.First.Packet = x.FirstPacket - uint64(age)
	}
	if c := r.Cell(cols.interimAt); c != nil {
		for i := range min(len(c.List), len(x.Interim)) {
			after, _ := strconv.ParseInt(string(c.List[i]), 10, 64)
			x.Interim[i].At.Time = start + after
		}
	}
	// The handshake's times are known by their differences.
	if x.Conn.SYNACK != 0 || x.Conn.Ready != 0 {
		client, server := x.Conn.Ready, x.Conn.SYNACK
		x.Conn.SYN = max(start-max(x.Timing.Idle, 0)-client-server, 1)
		x.Conn.SYNACK = x.Conn.SYN + server
		x.Conn.Ready = 0
		if client > 0 {
			x.Conn.Ready = x.Conn.SYNACK + client
		}
	}
	x.Blame.Failed = x.Blame.Who > exchange.Nobody && failures[x.Blame.Situation] && (x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered || x.Failed())
	k.finishProcesses(r)
	if x.TLS != nil || r.Cell(cols.tls.chain) != nil {
		k.tls()
		k.session.finish(r)
		for d, col := range cols.tls.bytes {
			if n, ok := r.Int(col); ok { // a record has all that was sent
				h := &x.Conn.Half[d]
				h.Bytes, h.Packets = uint64(n), x.During[d].Packets
			}
		}
	}
}

// unasked reports whether the response of a row is one that nobody asked for: there is no request, and either something is known that
// such a request would have, or nobody can say whether it went well.
func unasked(r *Row, f exchange.Family) bool {
	if r.Cell(cols.request.bytes) != nil || f != exchange.Database && f != exchange.Names {
		return false
	}
	return r.Cell(cols.verb) != nil || r.Cell(cols.statement) != nil || string(r.Text(cols.outcome)) == "unknown"
}

// finishMessage sets what is known of a message.
func (k *Maker) finishMessage(r *Row, c *messageColumns, m *proto.Message, has *bool, body *exchange.Body) {
	size, ok := r.Int(c.bytes)
	if *has = ok; !ok {
		return
	}
	m.End, m.Size = proto.Whole, size
	m.BodyBytes, _ = r.Int(c.body)
	m.HeadSize = m.Size - m.BodyBytes
	if cell := r.Cell(c.headBytes); cell != nil {
		m.HeadSize = cell.Int
	}
	m.MissingBytes, _ = r.Int(c.missing)
	span := func(text []byte) proto.Span {
		m.Raw = append(m.Raw, text...)
		return proto.Span{Off: uint32(len(m.Raw) - len(text)), Len: uint32(len(text))}
	}
	said := []byte(protocol(m.Version))
	if cell := r.Cell(c.protocol); cell != nil {
		said = cell.Text
		if digits, ok := bytes.CutPrefix(said, []byte("HTTP/")); ok && m.Kind == proto.Response {
			m.Version = version(digits)
		}
	}
	switch {
	case k.x.Family == exchange.Database:
		if m.Kind == proto.Request || m.OneWay {
			m.Method, m.Target = span(r.Text(cols.verb)), span(r.Text(cols.statement))
		}
	case k.x.Family != exchange.HTTP:
	case m.Kind == proto.Request:
		m.Method = span(r.Text(cols.method))
		m.Raw = append(m.Raw, ' ')
		m.Target = span(r.Text(cols.target))
		m.Raw = append(m.Raw, ' ')
		m.Proto = span(said)
	default:
		m.Proto = span(said)
		m.Raw = strconv.AppendInt(append(m.Raw, ' '), int64(m.Status), 10)
		m.Raw = append(m.Raw, ' ')
		m.Reason = span(r.Text(cols.reason))
	}
	k.fields(r, c, m)
	m.Length = -1
	if m.Framing == proto.ByLength {
		if n, err := strconv.ParseInt(string(m.Field("content-length")), 10, 64); err == nil && n >= 0 {
			m.Length = n
		}
	}
	if cell := r.Cell(c.content); cell != nil {
		body.Bytes = append([]byte{}, cell.Text...)
	}
	_, body.Cut = r.Int(c.cut)
	body.Undecoded = string(r.Text(c.undecoded))
}

// fields sets the header fields, in the order and the case in which they were sent, and the trailers.
func (k *Maker) fields(r *Row, c *messageColumns, m *proto.Message) {
	add := func(name, value []byte, flags proto.FieldFlags) {
		m.Raw = append(m.Raw, "\r\n"...)
		n := proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(name))}
		m.Raw = append(append(m.Raw, name...), ": "...)
		v := proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(value))}
		m.Raw = append(m.Raw, value...)
		m.Fields = append(m.Fields, proto.Field{Name: n, Value: v, Flags: flags})
	}
	if headers := r.Cell(c.headers); headers != nil {
		names := r.Text(c.names)
		k.used = append(k.used[:0], make([]bool, len(headers.Fields))...)
		for range headers.Fields {
			name, rest, _ := bytes.Cut(names, []byte("\n"))
			names = rest
			for i, f := range headers.Fields {
				if !k.used[i] && sameName(name, f.Name) {
					k.used[i] = true
					add(name, f.Value, 0)
					break
				}
			}
		}
		for i, f := range headers.Fields { // of which the names say nothing
			if !k.used[i] {
				add(f.Name, f.Value, 0)
			}
		}
	}
	if k.without[m.Kind] {
		k.makeUp(r, m, add)
	}
	if trailers := r.Cell(c.trailers); trailers != nil {
		for _, t := range trailers.List {
			name, value, _ := bytes.Cut(t, []byte(": "))
			add(name, value, proto.Trailer)
		}
	}
	if folded := r.Cell(c.folded); folded != nil {
		for _, text := range folded.List {
			if i, err := strconv.Atoi(string(text)); err == nil && 0 <= i && i < len(m.Fields) {
				m.Fields[i].Flags |= proto.Folded
			}
		}
	}
	m.Raw = append(m.Raw, "\r\n\r\n"...)
}

// makeUp adds the headers from which the values of columns follow.
func (k *Maker) makeUp(r *Row, m *proto.Message, add func(name, value []byte, flags proto.FieldFlags)) {
	for _, h := range headerColumns[m.Kind] {
		if c := r.Cell(h.col); c != nil {
			add(h.header, c.Text, 0)
		}
	}
	if m.Kind == proto.Request {
		k.makeUpRequest(r, m, add)
	} else {
		k.makeUpResponse(r, add)
	}
}

// makeUpRequest adds the headers of which the URL is made.
func (k *Maker) makeUpRequest(r *Row, m *proto.Message, add func(name, value []byte, flags proto.FieldFlags)) {
	if scheme := r.Text(schemeColumn); m.Version == 0x0200 && len(scheme) > 0 {
		add([]byte(":scheme"), scheme, 0)
	}
	if domain := r.Text(domainColumn); len(domain) > 0 {
		port, hasPort := r.Int(portColumn)
		k.scratch = appendAuthority(k.scratch[:0], domain, port, hasPort)
		add([]byte("host"), k.scratch, 0)
	}
}

// makeUpResponse adds the fields that tell how a call of gRPC ended.
func (k *Maker) makeUpResponse(r *Row, add func(name, value []byte, flags proto.FieldFlags)) {
	if status, ok := r.Int(statusColumn); ok {
		k.scratch = strconv.AppendInt(k.scratch[:0], status, 10)
		add([]byte("grpc-status"), k.scratch, proto.Trailer)
	}
	if message := r.Text(messageColumn); len(message) > 0 {
		// What is percent-decoded again.
		k.scratch = append(k.scratch[:0], bytes.ReplaceAll(message, []byte("%"), []byte("%25"))...)
		add([]byte("grpc-message"), k.scratch, proto.Trailer)
	}
}

// finishProcesses sets what the columns of the two processes don't tell: that there is one of which nothing is known,
// the arguments one by one, and what they run in.
func (k *Maker) finishProcesses(r *Row) {
	known, _ := r.Int(cols.processes)
	for d := range proto.Direction(2) {
		if known&(1<<d) != 0 {
			k.process(d)
		}
		if args := r.Cell(cols.args[d]); args != nil {
			p := k.process(d)
			p.Args = make([]string, len(args.List))
			for i, arg := range args.List {
				p.Args[i] = string(arg)
			}
		}
	}
	// The exchange is about the server's process, or else the client's.
	about, client := k.x.Process[proto.Responder], k.x.Process[proto.Originator]
	if about == nil {
		about = client
	}
	if about == nil {
		return
	}
	if client != nil && client != about {
		runsIn(r, client, &cols.clientProcess)
	}
	runsIn(r, about, &cols.process)
}

func runsIn(r *Row, p *exchange.Process, columns *[3]int) {
	p.ContainerID, p.PodUID, p.Unit = string(r.Text(columns[0])), string(r.Text(columns[1])), string(r.Text(columns[2]))
}

func (k *Maker) process(d proto.Direction) *exchange.Process {
	k.x.Process[d] = &k.processes[d]
	return &k.processes[d]
}

func (k *Maker) place(d proto.Direction) *exchange.Place {
	k.x.Enriched.Place[d] = &k.places[d]
	return &k.places[d]
}

func (k *Maker) userAgent() *exchange.UserAgent {
	k.x.Enriched.UserAgent = &k.agent
	return &k.agent
}

func (k *Maker) aborted() *proto.Abort {
	k.x.Abort = &k.abort
	return &k.abort
}

func (k *Maker) message() *exchange.SessionMessage {
	k.x.Message = &k.event
	return &k.event
}

// half returns the message that an end sent.
func (k *Maker) half(d proto.Direction) *proto.Message {
	if d == proto.Originator {
		return &k.x.Request
	}
	return &k.x.Response
}

// setter puts the value of one column into the exchange.
type setter func(k *Maker, c *Cell)

// setters are those of Columns; nil where a value follows from others.
var setters = makeSetters()

func makeSetters() (all [maxColumns]setter) {
	for name, set := range settersByName() {
		col := Index(name)
		if col < 0 {
			panic("no column " + name)
		}
		all[col] = set
	}
	return all
}

func text(at func(k *Maker) *string) setter {
	return func(k *Maker, c *Cell) { *at(k) = string(c.Text) }
}

func number64(at func(x *exchange.Exchange) *int64) setter {
	return func(k *Maker, c *Cell) { *at(&k.x) = c.Int }
}

// settersByName are the columns from which an exchange is made. The others follow from these.
func settersByName() map[string]setter {
	m := map[string]setter{
		"@timestamp": func(k *Maker, c *Cell) { k.x.Start.Time = c.Int },
		"event.id": func(k *Maker, c *Cell) {
			if id, ok := exchange.ParseID(string(c.Text)); ok {
				k.id = id
				k.x.KnownID = &k.id
			}
		},
		"event.duration":                  number64(func(x *exchange.Exchange) *int64 { return &x.Timing.Duration }),
		"event.end":                       number64(func(x *exchange.Exchange) *int64 { return &x.Completed.Time }),
		"observer.hostname":               text(func(k *Maker) *string { return &k.tap.Observer }),
		"observer.ingress.interface.name": text(func(k *Maker) *string { return &k.tap.Name }),
		"culprit.packets.tap":             text(func(k *Maker) *string { return &k.tap.Label }),
		"culprit.recorded":                text(func(k *Maker) *string { return &k.tap.Recorded }),
		"network.transport": func(k *Maker, c *Cell) {
			switch string(c.Text) {
			case "udp":
				k.flow.Proto = packet.ProtoUDP
			case "sctp":
				k.flow.Proto = packet.ProtoSCTP
			}
		},
		"network.protocol": func(k *Maker, c *Cell) {
			k.x.Protocol = string(c.Text)
			k.x.Family = exchange.FamilyOf(k.x.Protocol)
		},
		"culprit.stored.net": func(k *Maker, c *Cell) { k.flow.Net = uint32(c.Int) },

		"http.version": func(k *Maker, c *Cell) {
			k.x.Request.Version = version(c.Text)
			k.x.Response.Version = k.x.Request.Version
		},
		"http.response.status_code": func(k *Maker, c *Cell) { k.x.Response.Status = int(c.Int) },
		"culprit.http.interim": func(k *Maker, c *Cell) {
			for _, status := range c.List {
				n, _ := strconv.Atoi(string(status))
				k.x.Interim = append(k.x.Interim, exchange.Interim{Status: n})
			}
		},
		"culprit.http.stream_id": func(k *Maker, c *Cell) {
			k.x.Request.Stream, k.x.Response.Stream = uint64(c.Int), uint64(c.Int)
		},
		"culprit.http.pushed":            func(k *Maker, c *Cell) { k.x.Request.Pushed = c.Int != 0 },
		"culprit.http.reset.code":        text(func(k *Maker) *string { return &k.aborted().Name }),
		"culprit.http.reset.by":          func(k *Maker, c *Cell) { k.aborted().By = side(c.Text) },
		"culprit.http.reset.goaway":      func(k *Maker, c *Cell) { k.aborted().GoAway = c.Int != 0 },
		"culprit.http.request.stalled":   number64(func(x *exchange.Exchange) *int64 { return &x.Request.Stalled }),
		"culprit.http.response.stalled":  number64(func(x *exchange.Exchange) *int64 { return &x.Response.Stalled }),
		"culprit.operation.system":       text(func(k *Maker) *string { return &k.x.Operation.System }),
		"culprit.operation.kind":         text(func(k *Maker) *string { return &k.x.Operation.Kind }),
		"culprit.operation.names":        func(k *Maker, c *Cell) { k.x.Operation.Names = texts(c.List) },
		"culprit.message.kind":           text(func(k *Maker) *string { return &k.message().Kind }),
		"culprit.message.from":           func(k *Maker, c *Cell) { k.message().Dir = side(c.Text) },
		"culprit.message.index":          func(k *Maker, c *Cell) { k.message().Index = c.Int },
		"culprit.websocket.close_code":   func(k *Maker, c *Cell) { k.x.Closing.Code = int(c.Int) },
		"culprit.websocket.close_reason": text(func(k *Maker) *string { return &k.x.Closing.Reason }),
		"culprit.websocket.closed_by": func(k *Maker, c *Cell) {
			k.x.Closing.Seen, k.x.Closing.By = true, side(c.Text)
		},
		"culprit.http.connection_index":       func(k *Maker, c *Cell) { k.x.Index = uint32(c.Int) },
		"culprit.http.request.framing":        func(k *Maker, c *Cell) { k.x.Request.Framing = framing(c.Text) },
		"culprit.http.response.framing":       func(k *Maker, c *Cell) { k.x.Response.Framing = framing(c.Text) },
		"culprit.http.request.decoded_bytes":  number64(func(x *exchange.Exchange) *int64 { return &x.RequestBody.DecodedBytes }),
		"culprit.http.response.decoded_bytes": number64(func(x *exchange.Exchange) *int64 { return &x.ResponseBody.DecodedBytes }),
		"culprit.http.request.parts":          func(k *Maker, c *Cell) { k.x.RequestBody.Parts = parts(c.List) },
		"culprit.http.response.parts":         func(k *Maker, c *Cell) { k.x.ResponseBody.Parts = parts(c.List) },

		"service.name":                     text(func(k *Maker) *string { return &k.x.Enriched.Service[proto.Responder] }),
		"service.origin.name":              text(func(k *Maker) *string { return &k.x.Enriched.Service[proto.Originator] }),
		"user_agent.name":                  text(func(k *Maker) *string { return &k.userAgent().Name }),
		"user_agent.version":               text(func(k *Maker) *string { return &k.userAgent().Version }),
		"user_agent.os.name":               text(func(k *Maker) *string { return &k.userAgent().OS }),
		"user_agent.os.version":            text(func(k *Maker) *string { return &k.userAgent().OSVersion }),
		"user_agent.device.name":           text(func(k *Maker) *string { return &k.userAgent().Device }),
		"culprit.device":                   text(func(k *Maker) *string { return &k.userAgent().Kind }),
		"culprit.route":                    text(func(k *Maker) *string { return &k.x.Enriched.Route }),
		"error.message":                    text(func(k *Maker) *string { return &k.x.Reason }),
		"culprit.missing_bytes":            number64(func(x *exchange.Exchange) *int64 { return &x.MissingBytes }),
		"culprit.stream":                   func(k *Maker, c *Cell) { k.x.Stream = c.Int != 0 },
		"culprit.sample.weight":            func(k *Maker, c *Cell) { k.x.Weight = uint32(c.Int) },
		"culprit.packets.first":            func(k *Maker, c *Cell) { k.x.FirstPacket = uint64(c.Int) },
		"culprit.packets.last":             func(k *Maker, c *Cell) { k.x.LastPacket = uint64(c.Int) },
		"culprit.net.handshake.syns":       func(k *Maker, c *Cell) { k.x.Conn.SYNs = uint16(c.Int) },
		"culprit.net.handshake.client_rtt": number64(func(x *exchange.Exchange) *int64 { return &x.Conn.Ready }),
		"culprit.net.handshake.server_rtt": number64(func(x *exchange.Exchange) *int64 { return &x.Conn.SYNACK }),
		"culprit.secrets": func(k *Maker, c *Cell) {
			for _, s := range c.List {
				k.x.Secrets = append(k.x.Secrets, string(s))
			}
		},
		"culprit.grade": func(k *Maker, c *Cell) {
			for g := range exchange.Grades {
				if exchange.Grade(g).String() == string(c.Text) {
					k.x.Grade = exchange.Grade(g)
				}
			}
		},
		"culprit.anomalies": func(k *Maker, c *Cell) {
			for i := range proto.AnomalyTable {
				for _, name := range c.List {
					if proto.AnomalyTable[i].Name == string(name) {
						k.x.Anomalies.Set(proto.Anomaly(i))
					}
				}
			}
		},
		"culprit.net.closed.by": func(k *Maker, c *Cell) { k.x.Conn.By = side(c.Text) },
		"culprit.net.closed.how": func(k *Maker, c *Cell) {
			for why := proto.Open; why <= proto.CaptureEnded; why++ {
				if why.String() == string(c.Text) {
					k.x.Conn.Why = why
				}
			}
		},
	}
	timing := func(x *exchange.Exchange) *exchange.Timing { return &x.Timing }
	for name, at := range map[string]func(t *exchange.Timing) *int64{
		"idle": func(t *exchange.Timing) *int64 { return &t.Idle }, "connect": func(t *exchange.Timing) *int64 { return &t.Connect },
		"tls": func(t *exchange.Timing) *int64 { return &t.TLS }, "send": func(t *exchange.Timing) *int64 { return &t.Send },
		"wait": func(t *exchange.Timing) *int64 { return &t.Wait }, "receive": func(t *exchange.Timing) *int64 { return &t.Receive },
		"overlap": func(t *exchange.Timing) *int64 { return &t.Overlap }, "total": func(t *exchange.Timing) *int64 { return &t.Total },
	} {
		m["culprit.timing."+name] = number64(func(x *exchange.Exchange) *int64 { return at(timing(x)) })
	}
	maps.Copy(m, tlsSetters())
	maps.Copy(m, factSetters())
	maps.Copy(m, blameSetters())
	for d, end := range []string{proto.Originator: "client", proto.Responder: "server"} {
		d := proto.Direction(d)
		m[end+".ip"] = func(k *Maker, c *Cell) {
			if a, err := netip.ParseAddr(string(c.Text)); err == nil {
				k.flow.Addr[d] = a.As16()
			}
		}
		m[end+".port"] = func(k *Maker, c *Cell) { k.flow.Port[d] = uint16(c.Int) }
		m[end+".domain"] = text(func(k *Maker) *string { return &k.x.Enriched.Domain[d] })
		m[end+".geo.country_iso_code"] = text(func(k *Maker) *string { return &k.place(d).Country })
		m[end+".geo.region_name"] = text(func(k *Maker) *string { return &k.place(d).Region })
		m[end+".geo.city_name"] = text(func(k *Maker) *string { return &k.place(d).City })
		m[end+".geo.location"] = text(func(k *Maker) *string { return &k.place(d).Location })
		m[end+".as.number"] = func(k *Maker, c *Cell) { k.place(d).ASNumber = uint32(c.Int) }
		m[end+".as.organization.name"] = text(func(k *Maker) *string { return &k.place(d).ASOrganization })

		process := map[proto.Direction]string{proto.Originator: "source.process.", proto.Responder: "destination.process."}[d]
		m[process+"pid"] = func(k *Maker, c *Cell) { k.process(d).PID = int(c.Int) }
		m[process+"name"] = text(func(k *Maker) *string { return &k.process(d).Name })
		m[process+"executable"] = text(func(k *Maker) *string { return &k.process(d).Executable })
		m[process+"command_line"] = func(k *Maker, c *Cell) { k.process(d).Args = []string{string(c.Text)} }
		m[process+"user.name"] = text(func(k *Maker) *string { return &k.process(d).User })

		messages := "culprit.messages." + end + "."
		m[messages+"count"] = func(k *Maker, c *Cell) { k.half(d).Parts.Count = c.Int }
		m[messages+"bytes"] = func(k *Maker, c *Cell) { k.half(d).Parts.Bytes = c.Int }
		m[messages+"largest"] = func(k *Maker, c *Cell) { k.half(d).Parts.Largest = c.Int }
		m[messages+"compressed"] = func(k *Maker, c *Cell) { k.half(d).Parts.Compressed = c.Int }

		net := "culprit.net." + end + "."
		m[net+"rtt"] = func(k *Maker, c *Cell) { k.x.Conn.Half[d.Other()].RTT = c.Int }
		m[net+"mss"] = func(k *Maker, c *Cell) { k.x.Conn.Half[d].MSS = uint16(c.Int) }
		m[net+"packets"] = func(k *Maker, c *Cell) { k.x.During[d].Packets = uint64(c.Int) }
		m[net+"retransmits"] = func(k *Maker, c *Cell) { k.x.During[d].Retransmits = uint32(c.Int) }
		m[net+"out_of_order"] = func(k *Maker, c *Cell) { k.x.During[d].OutOfOrder = uint32(c.Int) }
		m[net+"duplicate_acks"] = func(k *Maker, c *Cell) { k.x.During[d].DupAcks = uint32(c.Int) }
		m[net+"zero_windows"] = func(k *Maker, c *Cell) { k.x.During[d].ZeroWindows = uint32(c.Int) }
	}
	return m
}

// side reads the name of an end: the client is always the originator.
func side(name []byte) proto.Direction {
	if string(name) == "server" {
		return proto.Responder
	}
	return proto.Originator
}

func texts(list [][]byte) []string {
	all := make([]string, len(list))
	for i, t := range list {
		all[i] = string(t)
	}
	return all
}

func framing(name []byte) proto.Framing {
	for f := proto.NoBody; f <= proto.Tunnel; f++ {
		if f.String() == string(name) {
			return f
		}
	}
	return proto.NoBody
}

// version reads a version as the field http.version has it.
func version(text []byte) uint16 {
	major, minor, _ := strings.Cut(string(text), ".")
	hi, _ := strconv.ParseUint(major, 10, 8)
	lo, _ := strconv.ParseUint(minor, 10, 8)
	return uint16(hi<<8 | lo)
}

func parts(list [][]byte) (all []exchange.Part) {
	for _, text := range list {
		all = append(all, exchange.ParsePart(string(text)))
	}
	return all
}
