package dns

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// Media types of DNS over HTTP: messages as they are (RFC 8484 §6), and the JSON that some resolvers offer.
const (
	mediaMessage = "application/dns-message"
	mediaJSON    = "application/dns-json"
)

// media returns the media type of an HTTP message, without parameters, empty when it isn't one of DNS.
func media(m *proto.Message) string {
	typ, _, _ := bytes.Cut(m.Field("content-type"), []byte(";"))
	for _, known := range [...]string{mediaMessage, mediaJSON} {
		if proto.EqualFold(bytes.TrimSpace(typ), known) {
			return known
		}
	}
	return ""
}

// WantsBody reports whether the body of an HTTP request or response is DNS, so that Describe needs it, or its first MaxMessage
// bytes. It looks at the head.
func WantsBody(m *proto.Message) bool { return media(m) != "" }

// Describe adds the facts of DNS to an HTTP request and its response, if that is what they carry, and reports whether it
// is. question and answer are their bodies without content codings; nil, or cut short, when they weren't kept. The
// messages own their Raw. Their status stays what says whether HTTP succeeded: an error of DNS is among the facts, but not as
// proto.FactError.
func Describe(request *proto.Message, question []byte, response *proto.Message, answer []byte, limits *proto.Limits) bool {
	if media(response) == mediaJSON {
		return describeJSON(request, response, answer, limits)
	}
	asks, answers := media(request) == mediaMessage, media(response) == mediaMessage
	if !asks && !answers {
		return false
	}
	if !asks {
		question = fromTarget(request.Bytes(request.Target))
	}
	d := describer{variant: &ordinary, limits: limits}
	ok := d.carried(request, question, false)
	if answers && d.carried(response, answer, true) {
		ok = true
	}
	return ok
}

// fromTarget returns the message in a request target (RFC 8484 §4.1), nil when there is none.
func fromTarget(target []byte) []byte {
	_, query, _ := bytes.Cut(target, []byte("?"))
	for parameter := range bytes.SplitSeq(query, []byte("&")) {
		value, ok := bytes.CutPrefix(parameter, []byte("dns="))
		if !ok || len(value) > base64.RawURLEncoding.EncodedLen(MaxMessage) {
			continue
		}
		if b, err := base64.RawURLEncoding.AppendDecode(nil, bytes.TrimRight(value, "=")); err == nil {
			return b
		}
	}
	return nil
}

// carried adds the facts of the message in a body.
func (d *describer) carried(to *proto.Message, b []byte, response bool) bool {
	if len(b) < headerSize || len(b) > MaxMessage || !d.parse(b, false) || d.malformed || d.content.response() != response {
		return false
	}
	var m proto.Message
	d.question(&m)
	if response {
		d.response(&m)
	} else {
		d.request(&m)
	}
	m.Facts = slices.DeleteFunc(m.Facts, func(f proto.Fact) bool {
		return f.Name == proto.FactError || f.Name == proto.FactErrorText
	})
	base := uint32(len(to.Raw))
	to.Raw = append(to.Raw, m.Raw...)
	for _, f := range m.Facts {
		f.Value.Off += base
		to.Facts = append(to.Facts, f)
	}
	to.Anomalies |= m.Anomalies
	return true
}

// describeJSON adds the facts of an answer in JSON, which repeats its question.
func describeJSON(request, response *proto.Message, answer []byte, limits *proto.Limits) bool {
	var j struct {
		Status         *uint16
		AA, TC, RD, RA bool
		AD, CD         bool
		Question       []struct {
			Name string `json:"name"`
			Type uint16 `json:"type"`
		}
		Answer []struct {
			Name string `json:"name"`
			Type uint16 `json:"type"`
			TTL  uint32
			Data string `json:"data"`
		}
	}
	if len(answer) > MaxMessage || json.Unmarshal(answer, &j) != nil || j.Status == nil || len(j.Question) == 0 {
		return false
	}
	typed := func(m *proto.Message, name string, typ uint16) {
		from := len(m.Raw)
		m.Raw = appendType(m.Raw, typ)
		say(m, name, from)
	}
	request.Say(factName, text(j.Question[0].Name))
	typed(request, factType, j.Question[0].Type)
	from := len(response.Raw)
	response.Raw = appendRcode(response.Raw, *j.Status)
	say(response, factRcode, from)
	for i, set := range [...]bool{j.AA, j.TC, j.RD, j.RA, j.AD, j.CD} {
		if set {
			response.Say(factFlag, []byte(flags[i].name))
		}
	}
	response.Count(factAnswers, int64(len(j.Answer)))
	left := limits.MaxStatement
	for i, a := range j.Answer {
		if left -= len(a.Name) + len(a.Data); left < 0 || i >= limits.MaxFields {
			response.Anomalies.Set(proto.TooManyFields)
			break
		}
		response.Say(factOwner, text(a.Name))
		typed(response, factAnswerType, a.Type)
		response.Say(factTTL, strconv.AppendUint(nil, uint64(a.TTL), 10))
		response.Say(factData, text(a.Data))
		if addr, err := netip.ParseAddr(a.Data); err == nil && (a.Type == typeA || a.Type == typeAAAA) {
			response.Say(factResolved, addr.AppendTo(nil))
		}
	}
	return true
}

// text returns a name without its final dot.
func text(name string) []byte {
	if n := len(name); n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	return []byte(name)
}
