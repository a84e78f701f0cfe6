package enrich

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// answer makes a DNS message: shop.example leads by an alias to 10.0.0.2, the server of the exchanges of outputtest.
func answer(t testing.TB, change func(m *dnsmessage.Message)) []byte {
	t.Helper()
	name, alias := dnsmessage.MustNewName("Shop.example."), dnsmessage.MustNewName("lb.example.")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.CNAMEResource{CNAME: alias}},
			{Header: dnsmessage.ResourceHeader{Name: alias, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 2}}},
		},
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLearnDNS(t *testing.T) {
	for what, c := range map[string]struct {
		change func(m *dnsmessage.Message)
		cut    int
		want   string
	}{
		"an answer":           {want: "shop.example"},
		"a question":          {change: func(m *dnsmessage.Message) { m.Response = false }},
		"no such name":        {change: func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }},
		"asked for a mailer":  {change: func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }},
		"a message cut short": {cut: 3},
	} {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n\n")
		b := answer(t, c.change)
		e.LearnDNS(b[:len(b)-c.cut], x.Start.Time)
		e.Exchange(x)
		if got := x.Enriched.Domain[x.Server()]; got != c.want {
			t.Errorf("%s: the server is %q, want %q", what, got, c.want)
		}
		e.Close()
	}
}

// FuzzDNS: whatever a message is, it is looked at to an end, and teaches no more addresses than are looked at.
func FuzzDNS(f *testing.F) {
	f.Add(answer(f, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		e.LearnDNS(b, 1)
		if c := e.Counters(); c.Learned+c.LearnedSkipped > maxAnswers {
			t.Errorf("%+v", c)
		}
	})
}
