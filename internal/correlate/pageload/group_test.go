package pageload

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// sent is an exchange of a test, in one line: "START+DURATION METHOD URL [status] [name: value]...", in milliseconds since
// the begin; headers behind "|" are the answer's. The answer's first byte comes in the middle of the duration.
type sent string

// beginning is when the tests begin.
var beginning = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano()

const browser = "Mozilla/5.0 Firefox/140.0"

// exchange makes the exchange. Its id has the place in the test.
func (l sent) exchange(t testing.TB, i int) *exchange.Exchange {
	t.Helper()
	parts := strings.Split(string(l), "; ")
	var start, duration int64
	var method, url string
	status := 200
	if n, err := fmt.Sscanf(parts[0], "%d+%d %s %s %d", &start, &duration, &method, &url, &status); n < 4 {
		t.Fatalf("%s: %v", l, err)
	}
	host, path, _ := strings.Cut(url, "/")
	request := method + " /" + path + " HTTP/1.1\nHost: " + host
	response := fmt.Sprintf("HTTP/1.1 %d X", status)
	client, agent, mime := "10.0.0.7:50000", browser, "text/plain"
	grade := exchange.Complete
	stream, early, empty := false, false, false
	for _, h := range parts[1:] {
		switch name, value, _ := strings.Cut(h, ": "); name {
		case "client":
			client = value
		case "agent":
			agent = value
		case "type":
			mime = value
		case "nav": // as browsers ask for documents
			request += "\nAccept: text/html,*/*;q=0.8"
			mime = "text/html"
		case "fetch": // site/mode/dest
			v := strings.Split(value, "/")
			request += "\nSec-Fetch-Site: " + v[0] + "\nSec-Fetch-Mode: " + v[1] + "\nSec-Fetch-Dest: " + v[2]
			if v[1] == "navigate" {
				mime = "text/html"
			}
		case "unanswered":
			grade, response = exchange.Unanswered, ""
		case "onesided":
			grade, response = exchange.OneSided, ""
		case "early":
			early = true
		case "empty":
			empty = true
		case "aborted":
			grade = exchange.Aborted
		case "stream":
			stream = true
		case "ref":
			request += "\nReferer: http://" + value
		default:
			if answer, ok := strings.CutPrefix(h, "|"); ok {
				response += "\n" + answer
			} else {
				request += "\n" + h
			}
		}
	}
	if response != "" {
		response += "\nContent-Type: " + mime + "\n\n"
		if status != 204 && !empty {
			response += "hello"
		}
	}
	x := outputtest.Exchange(request+"\nUser-Agent: "+agent+"\n\n", response)
	x.Flow = outputtest.Flow(client, "10.0.0.2:80")
	x.Start.Time = beginning + start*1e6
	x.Timing.Connect, x.Timing.Send, x.Timing.Wait = -1, 0, duration*1e6/2
	x.Timing.Receive = duration*1e6 - x.Timing.Wait
	x.Timing.Duration = duration * 1e6
	x.Completed.Time = x.Start.Time + duration*1e6
	x.Grade, x.Stream = grade, stream
	if early {
		x.Interim = []exchange.Interim{{Status: 103, At: x.Start}}
	}
	x.KnownID = &[exchange.IDSize]byte{byte(i)}
	return x
}

// grouped groups the lines, and gives each page in one line: its URL, its load in milliseconds, and the members by their
// places, with why, the confidence when it isn't 1, and why they are apart from the load.
func grouped(t testing.TB, lines []sent) (text []string, pages []*Page, g *Grouper) {
	t.Helper()
	g = New(func(p *Page) { pages = append(pages, p) })
	for i, l := range lines {
		g.Add(l.exchange(t, i))
	}
	g.End()
	slices.SortStableFunc(pages, func(a, b *Page) int { return int(a.Start - b.Start) })
	for _, p := range pages {
		load := "?"
		if p.Load >= 0 {
			load = fmt.Sprint(p.Load / 1e6)
		}
		s := p.Host + p.Target + " " + load
		if !p.Complete {
			s += " incomplete"
		}
		s += ":"
		for i := range p.Resources {
			r := &p.Resources[i]
			s += fmt.Sprintf(" %d=%v", r.ID[0], r.Why)
			if r.Confidence != 1 {
				s += fmt.Sprintf("~%.2g", r.Confidence)
			}
			if r.Apart != Counts {
				s += "(" + r.Apart.String() + ")"
			}
		}
		text = append(text, s)
	}
	return text, pages, g
}

var groupings = []struct {
	name  string
	lines []sent
	want  []string
}{
	{"a page with a style sheet, its font, and a script", []sent{
		"0+40 GET shop/; fetch: none/navigate/document",
		"30+20 GET shop/a.css; ref: shop/; fetch: same-origin/no-cors/style",
		"35+50 GET shop/a.js; ref: shop/; fetch: same-origin/no-cors/script",
		"60+100 GET shop/f.woff; ref: shop/a.css; fetch: same-origin/cors/font",
	}, []string{"shop/ 160: 0=document 1=referer 2=referer 3=referer"}},
	{"without Sec-Fetch", []sent{
		"0+40 GET shop/x?y=1; nav",
		"30+20 GET shop/a.css; ref: shop/x?y=1",
	}, []string{"shop/x?y=1 50: 0=document 1=referer"}},
	{"redirects begin the load", []sent{
		"0+10 GET shop/old 302; nav; |Location: /b/mid#part",
		"20+10 GET shop/b/mid 301; nav; |Location: ../new?q=1",
		"40+10 GET shop/new?q=1; nav",
		"50+10 GET shop/a.css; ref: shop/new?q=1",
	}, []string{"shop/new?q=1 60: 0=redirect 1=redirect 2=document 3=referer"}},
	{"a redirect to another host, and one of a resource", []sent{
		"0+10 POST shop/login 303; nav; |Location: http://Home:80/",
		"20+10 GET home/; nav",
		"30+10 GET home/img 302; ref: home/; |Location: http://cdn/i.png",
		"40+20 GET cdn/i.png",
	}, []string{"home/ 60: 0=redirect 1=document 2=referer 3=redirect"}},
	{"a redirect that leads nowhere", []sent{
		"0+10 GET shop/old 301; nav; |Location: https://shop/secure",
	}, []string{"shop/old ? incomplete: 0=redirect"}},
	{"what a program follows", []sent{
		"0+10 GET shop/old 301; type: text/html; Accept: */*; |Location: /new",
		"20+10 GET shop/new; type: text/html; Accept: */*",
	}, []string{"shop/new 30: 0=redirect 1=document"}},
	{"two tabs with other pages", []sent{
		"0+40 GET shop/a; fetch: none/navigate/document",
		"10+40 GET shop/b; fetch: none/navigate/document",
		"40+20 GET shop/1; ref: shop/b; fetch: same-origin/no-cors/image",
		"41+20 GET shop/2; ref: shop/a; fetch: same-origin/no-cors/image",
	}, []string{"shop/a 61: 0=document 3=referer", "shop/b 50: 1=document 2=referer"}},
	{"two users behind one address have connections of their own", []sent{
		"0+40 GET shop/; nav; client: 10.0.0.7:1",
		"10+40 GET shop/; nav; client: 10.0.0.7:2",
		"45+20 GET shop/1; ref: shop/; client: 10.0.0.7:1",
		"46+20 GET shop/2; ref: shop/; client: 10.0.0.7:2",
		"47+20 GET shop/2; ref: shop/; client: 10.0.0.7:3",
		"48+20 GET shop/3; ref: shop/; client: 10.0.0.7:4",
	}, []string{"shop/ 67: 0=document 2=referer~0.7 4=referer~0.7", "shop/ 58: 1=document 3=referer~0.7 5=referer~0.5"}},
	{"other users: another address, user agent, or X-Forwarded-For", []sent{
		"0+40 GET shop/; nav",
		"50+10 GET shop/1; ref: shop/; client: 10.0.0.8:1",
		"50+10 GET shop/2; ref: shop/; agent: other",
		"50+10 GET shop/3; ref: shop/; X-Forwarded-For: 192.0.2.1",
	}, []string{"shop/ 40: 0=document"}},
	{"the same page again", []sent{
		"0+40 GET shop/; nav",
		"40+10 GET shop/1; ref: shop/",
		"1000+40 GET shop/; nav",
		"1010+10 GET shop/2; ref: shop/",
		"1040+10 GET shop/1; ref: shop/",
	}, []string{"shop/ 50: 0=document 1=referer 3=referer(late)", "shop/ 50: 2=document 4=referer~0.9"}},
	{"a referer cut to its origin", []sent{
		"0+40 GET shop/a; fetch: none/navigate/document",
		"1000+40 GET shop/b; fetch: none/navigate/document",
		"1050+10 GET cdn/1.js; ref: shop/; fetch: cross-site/no-cors/script",
		"1060+10 GET cdn/1; Origin: http://shop; fetch: cross-site/cors/empty",
	}, []string{"shop/a 40: 0=document", "shop/b 70: 1=document 2=referer-origin~0.72 3=referer-origin~0.72"}},
	{"a referer that a script made up", []sent{
		"0+40 GET shop/a; nav",
		"2000+10 GET shop/api; ref: shop/a/route",
	}, []string{"shop/a 40: 0=document 1=referer-origin~0.5(late)"}},
	{"no referer", []sent{
		"0+40 GET shop/a; fetch: none/navigate/document",
		"30+10 GET shop/1; fetch: same-origin/no-cors/image",
		"30+10 GET cdn/2; fetch: cross-site/no-cors/image",
		"30+10 GET cdn/3; fetch: none/no-cors/image",
		"3000+10 GET cdn/4; fetch: cross-site/no-cors/image",
	}, []string{"shop/a 40: 0=document 1=sec-fetch~0.6 2=sec-fetch~0.6"}},
	{"no referer and no Sec-Fetch", []sent{
		"0+40 GET shop/a; nav",
		"30+10 GET shop/1",
		"30+10 GET cdn/2",
		"3000+10 GET shop/3",
	}, []string{"shop/a 40: 0=document 1=time~0.4"}},
	{"a frame and what it needs", []sent{
		"0+40 GET shop/; fetch: none/navigate/document",
		"40+40 GET ads/f; ref: shop/; fetch: cross-site/navigate/iframe",
		"70+30 GET ads/i.png; ref: ads/f; fetch: same-origin/no-cors/image",
	}, []string{"shop/ 100: 0=document 1=referer-origin~0.8 2=referer"}},
	{"a frame without what embeds it", []sent{
		"40+40 GET ads/f; ref: shop/; fetch: cross-site/navigate/iframe",
	}, []string{"ads/f 40: 0=document"}},
	{"a frame without Sec-Fetch: its page goes on", []sent{
		"0+40 GET shop/; nav",
		"40+40 GET shop/f; nav; ref: shop/",
		"70+10 GET shop/f.png; ref: shop/f",
		"180+10 GET shop/1.png; ref: shop/",
	}, []string{"shop/ 190: 0=document 1=referer~0.6 2=referer~0.6 3=referer"}},
	{"a frame without Sec-Fetch: something of its page takes longer", []sent{
		"0+40 GET shop/; nav",
		"30+200 GET shop/slow; ref: shop/",
		"40+40 GET shop/f; nav; ref: shop/",
		"70+10 GET shop/f.png; ref: shop/f",
	}, []string{"shop/ 230: 0=document 1=referer 2=referer~0.6 3=referer"}},
	{"a click without Sec-Fetch: what was on its way still comes", []sent{
		"0+40 GET shop/; nav",
		"30+120 GET shop/early; ref: shop/",
		"40+40 GET shop/next; nav; ref: shop/",
		"70+10 GET shop/n.png; ref: shop/next",
	}, []string{"shop/ 150: 0=document 1=referer", "shop/next 40: 2=document 3=referer"}},
	{"a click while the page loads: nothing comes to it any more", []sent{
		"0+40 GET shop/; nav",
		"30+100 GET shop/slow; ref: shop/; aborted",
		"40+40 GET shop/next; nav; ref: shop/",
		"70+10 GET shop/n.png; ref: shop/next",
		"80+10 POST shop/log 204; ref: shop/",
	}, []string{"shop/ 40 incomplete: 0=document 1=referer 4=referer(beacon)", "shop/next 40: 2=document 3=referer"}},
	{"what forbids frames is none", []sent{
		"0+40 GET shop/; nav",
		"40+40 GET shop/next; nav; ref: shop/; |X-Frame-Options: DENY",
		"80+10 GET shop/1.png; ref: shop/",
	}, []string{"shop/ 90: 0=document 2=referer", "shop/next 40: 1=document"}},
	{"a click on a page that has loaded", []sent{
		"0+40 GET shop/; nav",
		"5000+40 GET shop/next; nav; ref: shop/",
		"5050+10 GET shop/1.png; ref: shop/",
	}, []string{"shop/ 40: 0=document 2=referer(late)", "shop/next 40: 1=document"}},
	{"a quiet moment ends the load, and a request before it doesn't", []sent{
		"0+40 GET shop/; nav",
		"540+10 GET shop/1; ref: shop/",
		"1050+10 GET shop/2; ref: shop/",
		"1561+10 GET shop/3; ref: shop/",
		"1562+10 GET shop/4; ref: shop/",
	}, []string{"shop/ 1060: 0=document 1=referer 2=referer 3=referer(late) 4=referer(late)"}},
	{"what is apart from the load", []sent{
		"0+40 GET shop/; fetch: none/navigate/document",
		"40+900 GET shop/favicon.ico 404; ref: shop/; fetch: same-origin/no-cors/image",
		"41+900 POST shop/log 200; ref: shop/; fetch: same-origin/no-cors/empty",
		"42+900 GET shop/next; ref: shop/; fetch: same-origin/no-cors/empty; Sec-Purpose: prefetch",
		"43+900 GET shop/film; ref: shop/; fetch: same-origin/no-cors/video",
		"44+900 GET shop/events; ref: shop/; fetch: same-origin/cors/empty; stream",
		"45+900 GET shop/sw.js; ref: shop/; fetch: same-origin/same-origin/serviceworker",
		"46+900 GET shop/a.zip; ref: shop/; fetch: same-origin/navigate/document; |Content-Disposition: attachment",
		"47+30 POST shop/api; ref: shop/; fetch: same-origin/cors/empty",
	}, []string{"shop/ 77: 0=document 1=referer(favicon) 2=referer(beacon) 3=referer(prefetch) 4=referer(media) 5=referer(stream) 6=referer(service-worker) 7=referer(download) 8=referer"}},
	{"a page without an answer", []sent{
		"0+40 GET shop/; nav; unanswered",
		"50+10 GET shop/1; ref: shop/",
	}, []string{"shop/ ? incomplete: 0=document"}},
	{"a resource without an answer", []sent{
		"0+40 GET shop/; nav",
		"30+9000 GET shop/1; ref: shop/; unanswered",
	}, []string{"shop/ 40 incomplete: 0=document 1=referer"}},
	{"nothing is asked for before the document begins to come", []sent{
		"0+100 GET shop/; nav",
		"49+10 GET shop/1; ref: shop/",
		"50+10 GET shop/2; ref: shop/",
	}, []string{"shop/ 100: 0=document 2=referer"}},
	{"a page ends", []sent{
		"0+40 GET shop/; nav",
		"30030+10 GET shop/1; ref: shop/",
		"60041+10 GET shop/2; ref: shop/",
	}, []string{"shop/ 40: 0=document 1=referer(late)"}},
	{"programs", []sent{
		"0+10 GET shop/; type: text/html; agent: curl/8",
		"10+10 GET shop/1; type: application/json; agent: curl/8",
		"20+10 GET shop/2; type: text/html; agent: curl/8; Accept: application/json",
	}, []string{"shop/ 10: 0=document"}},
	{"a part of a page that is HTML", []sent{
		"0+10 GET shop/; nav",
		"10+10 GET shop/part; type: text/html; Accept: */*; ref: shop/",
		"10+10 GET shop/ajax; nav; X-Requested-With: XMLHttpRequest; ref: shop/",
	}, []string{"shop/ 20: 0=document 1=referer 2=referer"}},
	{"a frame within a frame, and its redirect, without Sec-Fetch", []sent{
		"0+40 GET shop/; nav",
		"20+300 GET shop/slow.js; ref: shop/; aborted",
		"40+10 GET shop/f; nav; ref: shop/",
		"46+10 GET ads/g; nav; ref: shop/f",
		"52+20 GET ads/moved 302; ref: ads/g; |Location: /there",
		"160+20 GET shop/1; ref: shop/",
		"170+20 GET shop/2; ref: shop/f",
		"180+20 GET ads/there",
		"190+20 GET ads/3; Origin: http://ads",
	}, []string{"shop/ 210 incomplete: 0=document 1=referer 2=referer~0.6 3=referer~0.6 4=referer~0.6 5=referer 6=referer 7=redirect 8=referer-origin~0.8"}},
	{"a frame's origin", []sent{
		"0+40 GET shop/; fetch: none/navigate/document",
		"40+40 GET ads/f; ref: shop/; fetch: cross-site/navigate/iframe",
		"70+30 GET cdn/i.png; ref: ads/; fetch: cross-site/no-cors/image",
	}, []string{"shop/ 100: 0=document 1=referer-origin~0.8 2=referer-origin~0.8"}},
	{"frame-ancestors 'none' forbids frames", []sent{
		"0+40 GET shop/; nav",
		"40+40 GET shop/next; nav; ref: shop/; |Content-Security-Policy: frame-ancestors 'none'",
		"80+10 GET shop/1.png; ref: shop/",
	}, []string{"shop/ 90: 0=document 2=referer", "shop/next 40: 1=document"}},
	{"a page that goes on asking", []sent{
		"0+40 GET shop/; nav",
		"29000+10 GET shop/1; ref: shop/", "58000+10 GET shop/2; ref: shop/", "87000+10 GET shop/3; ref: shop/", "116000+10 GET shop/4; ref: shop/",
		"145000+10 GET shop/5; ref: shop/", "174000+10 GET shop/6; ref: shop/", "203000+10 GET shop/7; ref: shop/", "232000+10 GET shop/8; ref: shop/",
		"261000+10 GET shop/9; ref: shop/", "290000+10 GET shop/10; ref: shop/", "300001+10 GET shop/11; ref: shop/",
	}, []string{"shop/ 40: 0=document 1=referer(late) 2=referer(late) 3=referer(late) 4=referer(late) 5=referer(late) 6=referer(late) 7=referer(late) 8=referer(late) 9=referer(late) 10=referer(late)"}},
	{"what breaks after the load leaves it complete", []sent{
		"0+40 GET shop/; nav",
		"2000+10 GET shop/1; ref: shop/; aborted",
	}, []string{"shop/ 40: 0=document 1=referer(late)"}},
	{"a redirect too old", []sent{
		"0+10 GET shop/; nav",
		"10+10 GET shop/1 302; ref: shop/; |Location: http://cdn/2",
		"10021+10 GET cdn/2",
	}, []string{"shop/ 20: 0=document 1=referer"}},
	{"one direction alone", []sent{
		"0+40 GET shop/; nav; onesided",
		"10+10 GET shop/1; ref: shop/; onesided",
	}, []string{"shop/ ? incomplete: 0=document 1=referer"}},
	{"early hints", []sent{
		"0+400 GET shop/; nav; early",
		"10+10 GET shop/1; ref: shop/",
	}, []string{"shop/ 400: 0=document 1=referer"}},
	{"304 is no redirect", []sent{
		"0+40 GET shop/; nav; fetch: none/navigate/document; |Location: /x",
		"100+40 GET shop/x 304; nav; |Location: /y",
		"150+40 GET shop/y; nav",
	}, []string{"shop/ 40: 0=document", "shop/x 40: 1=document", "shop/y 40: 2=document"}},
	{"what begins no page", []sent{
		"0+10 POST shop/1; type: text/html",
		"10+10 GET shop/2 204; nav",
		"20+10 GET shop/3 205; nav",
		"30+10 GET shop/4; nav; |Content-Disposition: Attachment",
		"40+10 GET shop/5; nav; X-Requested-With: XMLHttpRequest",
		"50+10 GET shop/6; type: text/html; fetch: none/cors/empty",
	}, nil},
	{"what is apart from the load, without Sec-Fetch", []sent{
		"0+40 GET shop/; nav",
		"40+900 GET shop/next; ref: shop/; Purpose: prefetch",
		"41+900 GET shop/sw.js; ref: shop/; Service-Worker: script",
		"42+900 POST shop/ping; ref: shop/; Content-Type: text/ping",
		"43+900 POST shop/log; ref: shop/; empty",
		"44+900 GET shop/apple-touch-icon.png; ref: shop/",
		"45+20 POST shop/api; ref: shop/; empty; X-Requested-With: XMLHttpRequest",
		"46+20 POST shop/api; ref: shop/",
		"47+20 GET shop/empty; ref: shop/; empty",
	}, []string{"shop/ 67: 0=document 1=referer(prefetch) 2=referer(service-worker) 3=referer(beacon) 4=referer(beacon) 5=referer(favicon) 6=referer 7=referer 8=referer"}},
	{"a loop of redirects", slices.Repeat([]sent{"0+0 GET shop/loop 302; nav; |Location: /loop"}, 22),
		[]string{
			"shop/loop ? incomplete:" + strings.Join(func() (all []string) {
				for i := range MaxRedirects {
					all = append(all, fmt.Sprintf(" %d=redirect", i))
				}
				return all
			}(), ""),
			"shop/loop ? incomplete: 20=redirect 21=redirect",
		}},
}

func TestGrouping(t *testing.T) {
	for _, c := range groupings {
		t.Run(c.name, func(t *testing.T) {
			got, _, g := grouped(t, c.lines)
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if g.Assigned+g.Unassigned != len(c.lines) {
				t.Errorf("%d + %d of %d", g.Assigned, g.Unassigned, len(c.lines))
			}
			if g.held != 0 || len(g.clients) != 0 || g.order.Len() != 0 {
				t.Errorf("%d exchanges and %d clients are still held", g.held, len(g.clients))
			}
		})
	}
}

func TestConfidence(t *testing.T) {
	for _, c := range []struct {
		lines []sent
		want  float64
	}{
		{[]sent{"0+1 GET shop/; fetch: none/navigate/document"}, 1},
		{[]sent{"0+1 GET shop/; Sec-Fetch-Mode: navigate"}, 1},
		{[]sent{"0+1 GET shop/; nav"}, 0.9},
		{[]sent{"0+1 GET shop/; type: text/html; Upgrade-Insecure-Requests: 1; Accept: x"}, 0.9},
		{[]sent{"0+1 GET shop/; Upgrade-Insecure-Requests: 1"}, 0.7},
		{[]sent{"0+1 GET shop/; nav; unanswered"}, 0.7},
		{[]sent{"0+1 GET shop/; fetch: cross-site/navigate/iframe"}, 0.5},
		{[]sent{"0+1 GET shop/; type: application/xhtml+xml; Accept: */*"}, 0.4},
		// The origin of the Referer isn't the request's, which Sec-Fetch-Site says it is.
		{[]sent{"0+1 GET shop/; fetch: none/navigate/document", "1+1 GET cdn/1; ref: shop/; fetch: same-origin/cors/empty"}, (1 + 0.8*0.7) / 2},
		{[]sent{"0+1 GET shop/; fetch: none/navigate/document", "1+1 GET cdn/1; ref: shop/; fetch: cross-site/cors/empty"}, (1 + 0.8) / 2},
	} {
		_, pages, _ := grouped(t, c.lines)
		if len(pages) != 1 || math.Abs(pages[0].Confidence-c.want) > 1e-9 {
			t.Errorf("%s: want %v, got %+v", c.lines, c.want, pages)
		}
	}
}

func TestPage(t *testing.T) {
	_, pages, _ := grouped(t, []sent{
		"0+10 GET shop/old 302; nav; X-Forwarded-For: 192.0.2.1; |Location: /new",
		"20+40 GET Shop:80/new; nav; X-Forwarded-For: 192.0.2.1",
		"50+40 GET cdn/1 500; ref: shop/; X-Forwarded-For: 192.0.2.1",
	})
	if len(pages) != 1 {
		t.Fatalf("%d pages", len(pages))
	}
	p := pages[0]
	if p.Start != beginning || p.TTFB != 40e6 || p.Load != 90e6 || p.Document != 1 || !p.Complete || p.Prefetched ||
		p.Client.String() != "10.0.0.7" || p.ForwardedFor != "192.0.2.1" || p.UserAgent != browser || p.Host != "shop" {
		t.Errorf("%+v", p)
	}
	if want := 0.9 * (1 + 1 + 0.8) / 3; math.Abs(p.Confidence-want) > 1e-9 {
		t.Errorf("confidence %v, want %v", p.Confidence, want)
	}
	if r := p.Resources[2]; !r.Failed || !r.Whole || r.Status != 500 || r.Host != "cdn" || r.Target != "/1" || r.Method != "GET" ||
		r.Type != "text/plain" || r.Bytes == 0 || r.Start != beginning+50e6 || r.End != beginning+90e6 || !r.InLoad {
		t.Errorf("%+v", r)
	}
}

func TestPrefetchedPage(t *testing.T) {
	_, pages, _ := grouped(t, []sent{
		"0+10 GET shop/next; fetch: same-origin/navigate/document; ref: shop/; Sec-Purpose: prefetch;prerender",
		"20+10 GET shop/1; fetch: same-origin/no-cors/image; ref: shop/next; Sec-Purpose: prefetch;prerender",
	})
	if len(pages) != 1 || !pages[0].Prefetched || !pages[0].Resources[0].InLoad {
		t.Errorf("%+v", pages)
	}
}

// Limits hold, and what exceeds them is counted.
func TestLimits(t *testing.T) {
	t.Run("resources", func(t *testing.T) {
		lines := []sent{"0+0 GET shop/; nav"}
		for i := range MaxResources + 10 {
			lines = append(lines, sent(fmt.Sprintf("%d+1 GET shop/%d; ref: shop/", i, i)))
		}
		_, pages, _ := grouped(t, lines)
		if len(pages) != 1 || len(pages[0].Resources) != MaxResources || pages[0].LeftOut != 11 || pages[0].Complete {
			t.Errorf("%d pages, %d resources, %d left out", len(pages), len(pages[0].Resources), pages[0].LeftOut)
		}
	})
	t.Run("pages of a client", func(t *testing.T) {
		closed := 0
		g := New(func(*Page) { closed++ })
		for i := range MaxOpen + 3 {
			g.Add(sent(fmt.Sprintf("0+0 GET shop/%d; nav", i)).exchange(t, i))
		}
		if closed != 3 {
			t.Errorf("%d closed", closed)
		}
	})
	t.Run("clients", func(t *testing.T) {
		closed := 0
		g := New(func(*Page) { closed++ })
		for i := range MaxClients + 3 {
			g.Add(sent(fmt.Sprintf("0+0 GET shop/; nav; agent: %d", i)).exchange(t, 0))
		}
		if closed != 3 || len(g.clients) != MaxClients || g.order.Len() != MaxClients {
			t.Errorf("%d closed, %d clients", closed, len(g.clients))
		}
	})
	t.Run("exchanges", func(t *testing.T) {
		closed := 0
		g := New(func(*Page) { closed++ })
		for agent := 0; agent <= MaxHeld/1_000; agent++ {
			x := sent(fmt.Sprintf("0+0 GET shop/; nav; agent: %d", agent)).exchange(t, 0)
			g.Add(x)
			y := sent(fmt.Sprintf("0+0 GET shop/; ref: shop/; agent: %d", agent)).exchange(t, 0)
			for range 999 {
				g.Add(y)
			}
		}
		if closed != 1 || g.held > MaxHeld {
			t.Errorf("%d closed, %d held", closed, g.held)
		}
	})
	t.Run("texts", func(t *testing.T) {
		long := strings.Repeat("ü", 1<<20)
		_, pages, _ := grouped(t, []sent{
			sent("0+0 GET shop/" + long + "; nav; agent: " + long + "; X-Forwarded-For: " + long),
			sent("0+0 GET " + long + "/" + long + "; agent: " + long + "; X-Forwarded-For: " + long + "; ref: shop/" + long),
		})
		if len(pages) != 1 || len(pages[0].Resources) != 2 {
			t.Fatalf("%d pages", len(pages))
		}
		p := pages[0]
		for most, texts := range map[int][]string{
			MaxText: {p.Target, p.UserAgent}, MaxTarget: {p.ForwardedFor, p.Resources[1].Target}, MaxHost: {p.Resources[1].Host},
		} {
			for _, s := range texts {
				if len(s) > most+len("…") || !strings.HasSuffix(s, "ü…") {
					t.Errorf("%d bytes: %.40s", len(s), s)
				}
			}
		}
	})
	t.Run("silence", func(t *testing.T) {
		closed := 0
		g := New(func(*Page) { closed++ })
		g.Add(sent("0+0 GET shop/; nav; agent: a").exchange(t, 0))
		g.Add(sent("30001+0 GET shop/; agent: b").exchange(t, 0))
		if closed != 1 || len(g.clients) != 0 {
			t.Errorf("%d closed, %d clients", closed, len(g.clients))
		}
	})
}

// Neither a TLS session that wasn't read, nor what is said on a WebSocket, is a part of a page: the request of the WebSocket is.
func TestOtherKinds(t *testing.T) {
	g := New(func(p *Page) { t.Errorf("a page of %s", p.Target) })
	for _, x := range []*exchange.Exchange{outputtest.TLSRecord(), outputtest.Session(), outputtest.SessionMessage(0, "text", "hello")} {
		g.Add(x)
	}
	g.End()
	if g.Assigned+g.Unassigned > 0 {
		t.Errorf("%d in pages, %d in none", g.Assigned, g.Unassigned)
	}
}
