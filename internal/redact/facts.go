package redact

import (
	"github.com/culprit-http/culprit/internal/proto"
)

// content says what the text of a fact may hold.
type content uint8

const (
	// freeText is what people or programs write: secrets may stand anywhere in it. So it is for facts that aren't known here.
	freeText content = iota
	// fixedText is one of the words of a protocol, an address or a number.
	fixedText
	// nameText is a name that somebody gave.
	nameText
	// keyText is the key of a cache.
	keyText
	// literalText is data, which only --literals shows.
	literalText
	// serverText is what a server says, noticeText what it says unasked.
	serverText
	noticeText
)

// facts are the facts of which parsers tell the text, by their names in proto.Fact.
var facts = map[string]content{
	"database": nameText, "user": nameText, "db_user": nameText, "full_collection": nameText, "prepared": nameText, "key": keyText,
	"parameter": literalText, "notice": noticeText, proto.FactErrorText: serverText, proto.FactError: nameText,
	"sqlstate": fixedText, "severity": fixedText, "command_tag": nameText, "transaction": fixedText, "compression": fixedText,
	"server_version": freeText, "session": fixedText, "redirect": nameText, "protocol_type": fixedText, "opcode": fixedText, "status": nameText,
	"name": nameText, "type": fixedText, "class": fixedText, "rcode": fixedText, "flag": fixedText,
	"answer_name": nameText, "answer_type": fixedText, "answer_ttl": fixedText, "answer_data": freeText, "resolved_ip": fixedText, "edns_subnet": fixedText,
	"script": freeText, "remote_ip": nameText, "role": fixedText, "protocol_status": fixedText, "stderr": freeText,
}

// factFinders find the secrets of each content; nil: there are none but by the patterns of the user.
var factFinders = [...]finder{
	freeText:    (*Redactor).labelled,
	fixedText:   nil,
	nameText:    (*Redactor).fieldText,
	keyText:     func(r *Redactor, v []byte) { r.keys(v, 0, len(v)) },
	literalText: (*Redactor).data,
	serverText:  (*Redactor).serverText,
	noticeText:  (*Redactor).notice,
}

// facts hides the secrets of what a message tells in facts.
func (r *Redactor) facts(m *proto.Message) {
	parameter := 0
	for i := range m.Facts {
		f := &m.Facts[i]
		if f.Value.Len == 0 {
			continue // a number
		}
		c := facts[f.Name]
		find := factFinders[c]
		switch {
		case c == literalText:
			parameter++
			for _, secret := range r.secretParameters {
				if secret == parameter {
					find = (*Redactor).whole
				}
			}
		case find == nil && len(r.patterns) > 0:
			find = nothing
		case find == nil:
			continue
		}
		f.Value = r.rewrite(m, f.Value, find)
	}
}
