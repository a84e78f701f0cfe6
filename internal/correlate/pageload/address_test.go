package pageload

import (
	"hash/maphash"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/output/outputtest"
)

func TestAddressOf(t *testing.T) {
	for _, c := range []struct{ target, host, want string }{
		{"/a?b=1", "Shop.Example", "shop.example/a?b=1"},
		{"/a?", "shop:80", "shop/a?"},
		{"/a", "shop:443", "shop/a"},
		{"/a", "shop:8080", "shop:8080/a"},
		{"http://shop:80/a", "proxy:3128", "shop/a"},
		{"http://shop", "proxy", "shop/"},
		{"http://joe@shop?x", "proxy", "shop/?x"},
		{"/a", "[::1]:8080", "[::1]:8080/a"},
		{"/a", "[::1]:80", "[::1]/a"},
		{"*", "shop", "shop*"},
		{"/a", "", "/a"},
	} {
		x := outputtest.Exchange("GET "+c.target+" HTTP/1.1\nHost: "+c.host+"\n\n", "")
		if a := addressOf(x); a.authority+a.target != c.want {
			t.Errorf("%s of %s: %s", c.target, c.host, a)
		}
	}
}

func TestAbsolute(t *testing.T) {
	for text, want := range map[string]string{
		"http://Shop:80/a?b":                       "shop/a?b",
		"HTTPS://shop:443":                         "shop/",
		"http://joe:x@shop/a":                      "shop/a",
		"http://[::1]:81/a":                        "[::1]:81/a",
		"http://shop?x":                            "shop/?x",
		"http://shop/?t=…[redacted 3 #4f2a]&x=/?@": "shop/?t=…[redacted 3 #4f2a]&x=/?@",
		"ftp://shop/":                              "",
		"about:client":                             "",
		"http://":                                  "",
		"/a":                                       "",
		"":                                         "",
	} {
		if a, ok := absolute([]byte(text)); ok != (want != "") || ok && a.authority+a.target != want {
			t.Errorf("%q: %v, %v", text, a, ok)
		}
	}
}

func TestResolve(t *testing.T) {
	for location, want := range map[string]string{
		"/x":                              "shop:81/x",
		"y?q=1#part":                      "shop:81/a/y?q=1",
		"../y":                            "shop:81/y",
		"?z":                              "shop:81/a/b?z",
		"//Other/x":                       "other/x",
		"https://other:443":               "other/",
		"http://other/ä b":                "other/%C3%A4%20b",
		"/cb?token=…[redacted 3 #4f2a]&x": "shop:81/cb?token=…[redacted 3 #4f2a]&x",
		"//o/?t=…[redacted 3 #4f2a]":      "o/?t=…[redacted 3 #4f2a]",
		"http://o/?t=…[redacted 3 #4f2a]": "o/?t=…[redacted 3 #4f2a]",
		"mailto:joe@shop":                 "",
		"http://[":                        "",
		"\x00":                            "",
	} {
		from := address{"shop:81", "/a/b?c"}
		if a, ok := from.resolve([]byte(location)); ok != (want != "") || ok && a.authority+a.target != want {
			t.Errorf("%q: %v, %v", location, a, ok)
		}
	}
}

func TestHashTellsPartsApart(t *testing.T) {
	h := hasher(maphash.MakeSeed())
	if h.of("a", "b") == h.of("ab") || h.of("a", "b") == h.of("ab", "") {
		t.Error("the hash mixes parts up")
	}
}

// Whatever is sent, grouping ends, keeps its limits, and has each exchange once.
func FuzzGrouper(f *testing.F) {
	f.Add("GET / HTTP/1.1\nHost: a\nAccept: text/html\n\nGET /x HTTP/1.1\nHost: a\nReferer: http://a/", "HTTP/1.1 302 X\nLocation: /x\n\n", uint16(40))
	f.Add("GET /x HTTP/1.1\nHost: a\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", "HTTP/1.1 200 OK\nContent-Type: text/html\n\n", uint16(9000))
	f.Fuzz(func(t *testing.T, requests, response string, step uint16) {
		pages, members := 0, 0
		g := New(func(p *Page) {
			pages++
			members += len(p.Resources) + p.LeftOut
			if p.Document >= len(p.Resources) || p.Load < -1 || p.Confidence < 0 || p.Confidence > 1 || len(p.Resources) > MaxResources {
				t.Errorf("%+v", p)
			}
			for i := range p.Resources {
				if r := &p.Resources[i]; r.Start < p.Start || r.InLoad != (r.Apart == Counts) {
					t.Errorf("%+v", r)
				}
			}
		})
		texts := strings.Split(requests, "\n\n")
		if len(texts) > 64 {
			return
		}
		at, n := int64(1e18), 0
		for range 3 {
			for _, text := range texts {
				if strings.Count(strings.SplitN(text, "\n", 2)[0], " ") < 2 {
					continue // the helper needs a start line
				}
				x := outputtest.Exchange(text+"\n\n", response)
				x.Start.Time = at
				at += int64(step) * 1e6
				g.Add(x)
				n++
			}
		}
		g.End()
		if members != g.Assigned || g.Assigned+g.Unassigned != n || g.held != 0 || len(g.clients) != 0 {
			t.Errorf("%d exchanges: %d assigned, %d in pages, %d unassigned; %d held", n, g.Assigned, members, g.Unassigned, g.held)
		}
	})
}
