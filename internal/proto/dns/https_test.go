package dns

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// overHTTP makes a message of HTTP with a field.
func overHTTP(target, contentType string) *proto.Message {
	const name = "Content-Type"
	m := &proto.Message{Raw: []byte(target + name + contentType), Target: proto.Span{Len: uint32(len(target))}}
	if contentType != "" {
		at := uint32(len(target))
		m.Fields = []proto.Field{{Name: proto.Span{Off: at, Len: uint32(len(name))}, Value: proto.Span{Off: at + uint32(len(name)), Len: uint32(len(contentType))}}}
	}
	return m
}

// facts are those of a message, as text.
func facts(m *proto.Message) string {
	var list []string
	for _, f := range m.Facts {
		if f.Value.Len == 0 {
			list = append(list, fmt.Sprintf("%s=%d", f.Name, f.Number))
		} else {
			list = append(list, fmt.Sprintf("%s=%s", f.Name, m.Bytes(f.Value)))
		}
	}
	return strings.Join(list, " ")
}

func TestDescribe(t *testing.T) {
	query, reply := ask(0, "www.example A"), answer(0, 3, "www.example A")
	get := "/dns-query?x=1&dns=" + base64.RawURLEncoding.EncodeToString([]byte(query))
	const j = `{"Status":0,"TC":false,"RD":true,"RA":true,"AD":false,"CD":false,"Question":[{"name":"www.example.","type":28}],` +
		`"Answer":[{"name":"www.example.","type":5,"TTL":60,"data":"web.example."},{"name":"web.example.","type":28,"TTL":300,"data":"2001:db8::1"}]}`
	asked := "id=0 opcode=QUERY name=www.example type=A class=IN"
	answered := asked + " rcode=NXDOMAIN flag=RD flag=RA answers=0 authorities=0 additionals=0"
	for _, c := range []struct {
		name, target, asks, question, answers, answer string
		ok                                            bool
		request, response                             string
	}{
		{"POST", "/dns-query", mediaMessage, query, "Application/DNS-Message; x=y", reply, true, asked, answered},
		{"GET", get, "", "", mediaMessage, reply, true, asked, answered},
		{"GET, and something else came back", get, "", "", "text/html", "<p>", false, "", ""},
		{"GET, padded", get + "==", "", "", mediaMessage, reply, true, asked, answered},
		{"an answer whose body wasn't kept", get, "", "", mediaMessage, "", true, asked, ""},
		{"an error of HTTP", "/dns-query", mediaMessage, query, "text/plain", "busy", true, asked, ""},
		{"a body that isn't DNS", "/dns-query", mediaMessage, "hello, I am no message", mediaMessage, "neither am I, whatever", false, "", ""},
		{"an answer where the question should be", "/dns-query", mediaMessage, reply, mediaMessage, query, false, "", ""},
		{"JSON", "/resolve?name=www.example&type=AAAA", "", "", mediaJSON, j, true, "name=www.example type=AAAA",
			"rcode=NOERROR flag=RD flag=RA answers=2 answer_name=www.example answer_type=CNAME answer_ttl=60 answer_data=web.example " +
				"answer_name=web.example answer_type=AAAA answer_ttl=300 answer_data=2001:db8::1 resolved_ip=2001:db8::1"},
		{"JSON with an address that isn't one", "/", "", "", mediaJSON, `{"Status":0,"Question":[{"name":".","type":1}],"Answer":[{"name":"a","type":1,"TTL":1,"data":"x"}]}`, true,
			"name=. type=A", "rcode=NOERROR answers=1 answer_name=a answer_type=A answer_ttl=1 answer_data=x"},
		{"JSON of something else", "/", "", "", mediaJSON, `{"a":1}`, false, "", ""},
		{"JSON without a question", "/", "", "", mediaJSON, `{"Status":0}`, false, "", ""},
		{"neither", "/", "text/plain", "x", "text/plain", "y", false, "", ""},
	} {
		q, r := overHTTP(c.target, c.asks), overHTTP("", c.answers)
		if ok := Describe(q, []byte(c.question), r, []byte(c.answer), prototest.DefaultLimits()); ok != c.ok {
			t.Errorf("%s: %v", c.name, ok)
		}
		if got := facts(q); got != c.request {
			t.Errorf("%s: the request says\n%s, not\n%s", c.name, got, c.request)
		}
		if got := facts(r); got != c.response {
			t.Errorf("%s: the response says\n%s, not\n%s", c.name, got, c.response)
		}
		if string(q.Bytes(q.Target)) != c.target || q.Method.Len != 0 {
			t.Errorf("%s: the request line was changed", c.name)
		}
		if WantsBody(q) != (c.asks == mediaMessage) {
			t.Errorf("%s: whether the question is wanted", c.name)
		}
	}
}
