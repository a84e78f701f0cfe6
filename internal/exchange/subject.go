package exchange

import (
	"github.com/culprit-http/culprit/internal/proto"
)

// Verb returns what the exchange does, in a word or two: the method, the kind of the statement or the command, the type of the
// records asked for. It is empty where that isn't known.
func (x *Exchange) Verb() []byte {
	switch x.Family {
	case HTTP:
		if x.HasRequest {
			return x.Request.Bytes(x.Request.Method)
		}
	case Database:
		switch {
		case x.Statement.Operation != "":
			return []byte(x.Statement.Operation)
		case x.HasRequest:
			return x.Request.Bytes(x.Request.Method)
		case x.Response.OneWay:
			return x.Response.Bytes(x.Response.Method)
		}
	case Names:
		if op := x.asked("opcode", ""); len(op) > 0 && string(op) != "QUERY" {
			return op
		}
		return x.asked("type", "answer_type")
	}
	return nil
}

// Subject returns what the exchange is about: the request's target, the statement or command, the name asked for. It is empty
// where that isn't known.
func (x *Exchange) Subject() []byte {
	switch x.Family {
	case HTTP:
		if x.HasRequest {
			return x.Request.Bytes(x.Request.Target)
		}
	case Database:
		switch {
		case x.HasRequest:
			return x.Request.Bytes(x.Request.Target)
		case x.Response.OneWay:
			return x.Response.Bytes(x.Response.Target)
		}
	case Names:
		return x.asked("name", "answer_name")
	}
	return nil
}

// asked returns what the question says by one name, which the response repeats, or else the first answer by another.
func (x *Exchange) asked(question, answer string) []byte {
	if x.HasRequest {
		if b := x.Request.FactText(question); len(b) > 0 {
			return b
		}
	}
	if !x.HasResponse {
		return nil
	}
	if b := x.Response.FactText(question); len(b) > 0 {
		return b
	}
	return x.Response.FactText(answer)
}

// Answers returns what the response to a question for a name says, nil when there is none: one text an answer.
func (x *Exchange) Answers() (all [][]byte) {
	if !x.HasResponse {
		return nil
	}
	for i := range x.Response.Facts {
		if f := &x.Response.Facts[i]; f.Name == "answer_data" {
			all = append(all, x.Response.Bytes(f.Value))
		}
	}
	return all
}

// Rows returns how many rows, documents or values came back; ok: there was a result that has any number of them.
func (x *Exchange) Rows() (n int64, ok bool) {
	if !x.HasResponse || x.Response.Framing != proto.Rendered {
		return 0, false
	}
	return x.Response.Parts.Count, true
}
