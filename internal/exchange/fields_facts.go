package exchange

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Fact says which fact of a message a field shows.
type Fact struct {
	Of   proto.Kind
	Name string
}

// Facts are the fields that show a fact that parsers tell of a message.
var Facts = map[string]Fact{
	"db.namespace":                    {proto.Request, "database"},
	"db.user":                         {proto.Request, "user"},
	"db.query.parameters":             {proto.Request, "parameter"},
	"db.response.status_code":         {proto.Response, proto.FactError},
	"db.response.affected_rows":       {proto.Response, "affected_rows"},
	"mysql.affected_rows":             {proto.Response, "affected_rows"},
	"mysql.insert_id":                 {proto.Response, "insert_id"},
	"mysql.num_fields":                {proto.Response, "columns"},
	"mysql.warnings":                  {proto.Response, "warnings"},
	"mysql.error_code":                {proto.Response, proto.FactError},
	"mysql.sqlstate":                  {proto.Response, "sqlstate"},
	"mysql.error_message":             {proto.Response, proto.FactErrorText},
	"pgsql.num_fields":                {proto.Response, "columns"},
	"pgsql.command_tag":               {proto.Response, "command_tag"},
	"pgsql.error_code":                {proto.Response, proto.FactError},
	"pgsql.error_severity":            {proto.Response, "severity"},
	"pgsql.error_message":             {proto.Response, proto.FactErrorText},
	"redis.error":                     {proto.Response, proto.FactErrorText},
	"redis.redirect":                  {proto.Response, "redirect"},
	"mongodb.fullCollectionName":      {proto.Request, "full_collection"},
	"mongodb.cursorId":                {proto.Response, "cursor"},
	"mongodb.numberToSkip":            {proto.Request, "skip"},
	"mongodb.numberToReturn":          {proto.Request, "limit"},
	"mongodb.startingFrom":            {proto.Response, "starting_from"},
	"mongodb.error":                   {proto.Response, proto.FactErrorText},
	"memcache.protocol_type":          {proto.Request, "protocol_type"},
	"memcache.request.opcode":         {proto.Request, "opcode"},
	"memcache.request.opaque":         {proto.Request, "opaque"},
	"memcache.request.keys":           {proto.Request, "key"},
	"memcache.request.bytes":          {proto.Request, "value_bytes"},
	"memcache.request.exptime":        {proto.Request, "exptime"},
	"memcache.request.noreply":        {proto.Request, "noreply"},
	"memcache.response.status":        {proto.Response, "status"},
	"memcache.response.hits":          {proto.Response, "hits"},
	"memcache.response.misses":        {proto.Response, "misses"},
	"memcache.response.error_msg":     {proto.Response, proto.FactErrorText},
	"dns.id":                          {proto.Request, "id"},
	"dns.op_code":                     {proto.Request, "opcode"},
	"dns.question.name":               {proto.Request, "name"},
	"dns.question.type":               {proto.Request, "type"},
	"dns.question.class":              {proto.Request, "class"},
	"dns.response_code":               {proto.Response, "rcode"},
	"dns.header_flags":                {proto.Response, "flag"},
	"dns.answers_count":               {proto.Response, "answers"},
	"dns.authorities_count":           {proto.Response, "authorities"},
	"dns.additionals_count":           {proto.Response, "additionals"},
	"dns.answers.name":                {proto.Response, "answer_name"},
	"dns.answers.type":                {proto.Response, "answer_type"},
	"dns.answers.ttl":                 {proto.Response, "answer_ttl"},
	"dns.answers.data":                {proto.Response, "answer_data"},
	"dns.resolved_ip":                 {proto.Response, "resolved_ip"},
	"dns.opt.version":                 {proto.Response, "edns_version"},
	"dns.opt.do":                      {proto.Request, "edns_do"},
	"dns.opt.udp_size":                {proto.Request, "edns_size"},
	"dns.opt.client_subnet":           {proto.Request, "edns_subnet"},
	"culprit.db.hits":                 {proto.Response, "hits"},
	"culprit.db.misses":               {proto.Response, "misses"},
	"culprit.db.results":              {proto.Response, "results"},
	"culprit.db.transaction":          {proto.Response, "transaction"},
	"culprit.db.prepared":             {proto.Request, "prepared"},
	"culprit.db.notices":              {proto.Response, "notice"},
	"culprit.db.compression":          {proto.Request, "compression"},
	"culprit.db.server_version":       {proto.Response, "server_version"},
	"culprit.db.session":              {proto.Response, "session"},
	"culprit.dns.error_message":       {proto.Response, proto.FactErrorText},
	"culprit.cgi.script":              {proto.Request, "script"},
	"culprit.cgi.remote_ip":           {proto.Request, "remote_ip"},
	"culprit.cgi.remote_port":         {proto.Request, "remote_port"},
	"culprit.fastcgi.role":            {proto.Request, "role"},
	"culprit.fastcgi.app_status":      {proto.Response, "app_status"},
	"culprit.fastcgi.protocol_status": {proto.Response, "protocol_status"},
	"culprit.fastcgi.stderr":          {proto.Response, "stderr"},
}

// fact makes the field of a fact. alias may be empty.
func fact(name, alias, typ, unit string, kind ValueKind, meaning string) Field {
	of := Facts[name]
	f := Field{Name: name, Type: typ, Unit: unit, Kind: kind, Meaning: meaning, Source: fromRequest}
	if alias != "" {
		f.Aliases = []string{alias}
	}
	if of.Of == proto.Response {
		f.Source = fromResponse
	}
	f.Get = func(x *Exchange, v *Value) {
		m := &x.Request
		switch {
		case of.Of == proto.Response && x.HasResponse:
			m = &x.Response
		case of.Of == proto.Request && x.HasRequest:
		case of.Of == proto.Request && x.Family == Names && x.HasResponse: // which repeats the question
			m = &x.Response
		default:
			return
		}
		v.fact(m, kind, of.Name)
	}
	return f
}

// fact gives what a message says by that name.
func (v *Value) fact(m *proto.Message, kind ValueKind, name string) {
	if kind == List {
		for i := range m.Facts {
			if f := &m.Facts[i]; f.Name == name {
				v.Kind = List
				v.List = append(v.List, string(m.Bytes(f.Value)))
			}
		}
		return
	}
	f := m.Fact(name)
	switch {
	case f == nil:
	case kind == Text:
		v.optionalBytes(m.Bytes(f.Value))
	default:
		v.Kind, v.Int = kind, f.Number
	}
}

// returnedRows gives the number of rows that came back.
func returnedRows(x *Exchange, v *Value) {
	if n, ok := x.Rows(); ok {
		v.int(n)
	}
}

// content gives the beginning of a result as text.
func content(x *Exchange, v *Value) {
	if x.HasResponse {
		v.body(&x.ResponseBody)
	}
}

// errorText gives why the exchange isn't complete, or else what the server says of its error.
func (v *Value) errorText(x *Exchange) {
	if x.Reason != "" || !x.HasResponse {
		v.optional(x.Reason)
		return
	}
	v.optionalBytes(x.Response.FactText(proto.FactErrorText))
}

// end and endPort give an end of the connection that a proxy passed on.
func (v *Value) end(p *proto.Proxied, of func(p *proto.Proxied) netip.AddrPort) {
	if p == nil {
		return
	}
	if a := of(p); a.IsValid() {
		v.ip(packet.Addr(a.Addr().As16()))
	}
}

func (v *Value) endPort(p *proto.Proxied, of func(p *proto.Proxied) netip.AddrPort) {
	if p == nil {
		return
	}
	if a := of(p); a.IsValid() {
		v.int(int64(a.Port()))
	}
}

// proxied gives one of the texts of a proxy.
func (v *Value) proxied(x *Exchange, text func(p *proto.Proxied) string) {
	if x.Proxied != nil {
		v.optional(text(x.Proxied))
	}
}

// registeredDomain returns what was registered of the name that was asked for, empty when that can't be told.
func (x *Exchange) registeredDomain() string {
	name := strings.ToLower(string(x.asked("name", "")))
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return ""
	}
	return domain
}

// icmpNames are what ICMP errors say, by type and code (RFC 792, RFC 1812 §5.2.7.1), and those of ICMPv6 (RFC 4443 §3).
var icmpNames = map[[2]uint8]string{
	{3, 0}: "network unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
	{3, 4}: "packet too big", {3, 5}: "source route failed", {3, 6}: "network unknown", {3, 7}: "host unknown",
	{3, 8}: "source host isolated", {3, 11}: "network unreachable", {3, 12}: "host unreachable", {3, 14}: "precedence violation", {3, 15}: "precedence cutoff",
	{3, 9}: "network prohibited", {3, 10}: "host prohibited", {3, 13}: "prohibited by a filter",
	{4, 0}: "source quench", {5, 0}: "redirect", {5, 1}: "redirect", {11, 0}: "hop limit exceeded", {11, 1}: "fragments missing",
	{12, 0}: "parameter problem",
}

var icmp6Names = map[[2]uint8]string{
	{1, 0}: "no route", {1, 1}: "prohibited by a filter", {1, 2}: "beyond the scope of the source", {1, 3}: "host unreachable",
	{1, 4}: "port unreachable", {1, 5}: "source address failed policy", {1, 6}: "route rejected", {2, 0}: "packet too big",
	{3, 0}: "hop limit exceeded", {3, 1}: "fragments missing", {4, 0}: "parameter problem", {4, 1}: "unknown next header",
}

// ICMPName says what an ICMP error says.
func ICMPName(e *proto.ICMPError) string {
	names := icmpNames
	if e.V6 {
		names = icmp6Names
	}
	if name := names[[2]uint8{e.Type, e.Code}]; name != "" {
		return name
	}
	if name := names[[2]uint8{e.Type, 0}]; name != "" {
		return name
	}
	return "ICMP error"
}

// ICMPNamed returns the first kind of ICMP error of a name, as ICMPName gives it.
func ICMPNamed(name string) (v6 bool, typ, code uint8) {
	for _, v6 := range [...]bool{false, true} {
		e := proto.ICMPError{V6: v6}
		for t := range uint8(16) {
			for c := range uint8(16) {
				if e.Type, e.Code = t, c; ICMPName(&e) == name {
					return v6, t, c
				}
			}
		}
	}
	return false, 0, 0
}
