//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

const (
	chromeWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
	chromeMac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"
	edgeWindows   = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0"
	firefoxLinux  = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
	firefoxWin    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0"
	safariMac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
	safariPhone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
	safariTablet  = "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1"
	chromeAndroid = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"
	shopApp       = "ShopApp/5.2.1 (Android 14; Pixel 7) okhttp/4.12.0"
)

var (
	desktops  = []weighted[string]{{30, chromeWindows}, {12, chromeMac}, {10, edgeWindows}, {10, firefoxLinux}, {8, firefoxWin}, {14, safariMac}, {4, safariTablet}}
	handhelds = []weighted[string]{{55, safariPhone}, {45, chromeAndroid}}
	homes     = []weighted[string]{{50, "europe"}, {21, "america"}, {13, "asia"}, {16, "mobile"}}
	languages = []weighted[string]{{5, "en-GB,en;q=0.8"}, {6, "de-DE,de;q=0.9,en;q=0.6"}, {3, "fr-FR,fr;q=0.8"}, {5, "en-US,en;q=0.7"}}
	words     = []string{"lamp", "chair", "blue chair", "shelf", "desk", "oak", "wool", "sofa"}
)

// browser is a visitor's: it knows what it has loaded before.
type browser struct {
	*client
	etags map[string]string
	fresh map[string]bool // loaded in this visit
}

const (
	visitEvery = 2500 * time.Millisecond
	pageAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

// visitors come one after the other, each to look at some pages.
func (s *story) visitors(ctx context.Context, r *rand.Rand) {
	s.often(ctx, r, 0, visitEvery, func(int) {
		s.act(r, func(r *rand.Rand) { s.visit(ctx, r) })
	})
}

func (s *story) visit(ctx context.Context, r *rand.Rand) {
	home := choose(r, homes)
	agent := choose(r, desktops)
	if home == "mobile" || r.Float64() < 0.15 {
		agent = choose(r, handhelds)
	}
	b := &browser{client: s.client(r, home, s.address(r, home), agent), etags: map[string]string{}, fresh: map[string]bool{}}
	defer b.leave()
	b.headers.Set("Accept-Encoding", "gzip, deflate, br")
	b.headers.Set("Accept-Language", choose(r, languages))
	if r.Float64() < 0.3 { // was here before
		for _, path := range shared {
			b.etags[path] = etag(s.files[path[1:]])
		}
	}
	path, referer, site := "/", "", "none"
	if r.Float64() < 0.35 {
		path, referer, site = fmt.Sprintf("/products/%d", 1+r.IntN(products)), "https://search.example/", "cross-site"
	}
	if r.Float64() < 0.04 {
		path = "/old-shop"
	}
	for pages := 3 + r.IntN(5); pages > 0; pages-- {
		b.view(ctx, path, referer, site)
		if s.now() > lastVisitor+10*time.Second || !pause(ctx, time.Duration(1.5e9+r.Float64()*3.5e9)) {
			return
		}
		referer, site = "http://shop.example"+path, "same-origin"
		path = b.next(ctx, path, referer)
	}
}

// shared is what every page needs.
var shared = []string{"/static/site.css", "/static/app.js", "/static/logo.svg", "/static/paper.svg", "/static/text.woff2", "/favicon.ico"}

// etag is what nginx makes of a static file's date and length.
func etag(content []byte) string { return fmt.Sprintf(`"%x-%x"`, staticDate.Unix(), len(content)) }

// destinations are how browsers ask for what pages refer to, by the end of its name: Sec-Fetch-Dest and Accept.
var destinations = map[string][2]string{
	".css": {"style", "text/css,*/*;q=0.1"}, ".js": {"script", "*/*"}, ".svg": {"image", "image/avif,image/webp,image/*,*/*;q=0.8"},
	".jpg": {"image", "image/avif,image/webp,image/*,*/*;q=0.8"}, ".ico": {"image", "image/avif,image/webp,image/*,*/*;q=0.8"}, ".woff2": {"font", "*/*"},
}

// resource loads what a page refers to, unless the browser has it.
func (b *browser) resource(ctx context.Context, path, referer string) {
	b.mu.Lock()
	known, etag := b.fresh[path], b.etags[path]
	b.fresh[path] = true
	b.mu.Unlock()
	if known {
		return
	}
	d := destinations[path[strings.LastIndexByte(path, '.'):]]
	h := map[string]string{"Accept": d[1], "Referer": referer, "Sec-Fetch-Dest": d[0], "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}
	if d[0] == "font" || d[0] == "script" { // modules and fonts are asked for with CORS
		h["Sec-Fetch-Mode"] = "cors"
	}
	if etag != "" {
		h["If-None-Match"] = etag
	}
	b.do(ctx, request{path: path, headers: h})
}

// fetch is what a script of the page asks for.
func (b *browser) fetch(ctx context.Context, q request, referer string) (status int) {
	h := map[string]string{"Accept": "*/*", "Referer": referer, "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
	for name, value := range q.headers {
		h[name] = value
	}
	q.headers = b.traced(h)
	status, _ = b.do(ctx, q)
	return status
}

// together calls functions at once, and waits for them.
func together(all ...func()) {
	var wg sync.WaitGroup
	for _, f := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f()
		}()
	}
	wg.Wait()
}

// pictures and calls are what pages show and ask for, by their path.
func pictures(path string) []int {
	switch {
	case path == "/", path == "/old-shop":
		return []int{1, 2, 3, 4, 5, 6}
	case strings.HasPrefix(path, "/search"):
		return []int{8, 9, 10, 11}
	case strings.HasPrefix(path, "/products/"):
		id, _ := strconv.Atoi(path[len("/products/"):])
		return []int{id, id%products + 1}
	case path == "/cart":
		return []int{7}
	}
	return nil
}

// view loads a page: the document, what it refers to, and what its script asks for.
func (b *browser) view(ctx context.Context, path, referer, site string) {
	h := map[string]string{"Accept": pageAccept, "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": site,
		"Sec-Fetch-User": "?1", "Upgrade-Insecure-Requests": "1"}
	if referer != "" {
		h["Referer"] = referer
	}
	status, _ := b.do(ctx, request{path: path, headers: h})
	for try := 0; status >= 502 && try < 2; try++ { // whoever sees an error page tries again
		if !pause(ctx, 2*time.Second) {
			return
		}
		status, _ = b.do(ctx, request{path: path, headers: h})
	}
	if status != 200 {
		return
	}
	page := "http://shop.example" + path
	if path == "/old-shop" {
		page = "http://shop.example/"
	}
	var load []func()
	for _, p := range []string{"/static/site.css", "/static/app.js", "/static/logo.svg"} {
		load = append(load, func() { b.resource(ctx, p, page) })
	}
	shown := pictures(path)
	for _, id := range shown {
		load = append(load, func() { b.resource(ctx, fmt.Sprintf("/img/%d.jpg", id), page) })
	}
	together(load...)
	style := "http://shop.example/static/site.css"
	load = []func(){
		func() { b.resource(ctx, "/static/text.woff2", style) }, func() { b.resource(ctx, "/static/paper.svg", style) },
		func() { b.resource(ctx, "/favicon.ico", page) },
	}
	for _, id := range shown[:min(2, len(shown))] {
		load = append(load, func() { b.fetch(ctx, request{path: fmt.Sprintf("/api/stock/%d", id)}, page) })
	}
	together(load...)
}

// next does what a visitor does on a page, and returns where that leads to.
func (b *browser) next(ctx context.Context, path, referer string) string {
	r := b.random
	switch {
	case path == "/cart":
		return "/checkout"
	case path == "/checkout":
		coupon := ""
		if r.Float64() < 0.4 {
			coupon = "WINTER26"
		}
		q := request{method: "POST", path: "/api/orders", headers: map[string]string{"Content-Type": "application/json", "Origin": "http://shop.example"},
			body: fmt.Sprintf(`{"product":%d,"quantity":1,"coupon":%q}`, 1+r.IntN(products), coupon)}
		if b.fetch(ctx, q, referer) >= 500 && pause(ctx, 1500*time.Millisecond) { // clicks again
			b.fetch(ctx, q, referer)
		}
		return "/account"
	case strings.HasPrefix(path, "/products/") && r.Float64() < 0.12:
		// Left by going elsewhere: the news end in the middle.
		news, cancel := context.WithTimeout(ctx, time.Duration(4e9+r.Float64()*14e9))
		defer cancel()
		b.fetch(news, request{path: "/events", headers: map[string]string{"Accept": "text/event-stream"}}, referer)
		return "/"
	case strings.HasPrefix(path, "/products/") && r.Float64() < 0.07:
		b.chat(ctx, referer)
		return "/"
	case strings.HasPrefix(path, "/products/") && r.Float64() < 0.12:
		b.do(ctx, request{path: "/download/catalogue.csv", headers: map[string]string{"Accept": pageAccept, "Referer": referer, "Sec-Fetch-Dest": "document",
			"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}, read: 30_000 + r.Int64N(40_000)})
		return "/search?q=catalogue"
	case strings.HasPrefix(path, "/products/") && r.Float64() < 0.4:
		b.do(ctx, request{method: "POST", path: "/cart", headers: map[string]string{"Accept": pageAccept, "Referer": referer, "Sec-Fetch-Dest": "document",
			"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Origin": "http://shop.example", "Content-Type": "application/x-www-form-urlencoded"},
			body: fmt.Sprintf("product=%d&quantity=%d", 1+r.IntN(products), 1+r.IntN(3))})
		return "/cart"
	case path == "/account" && r.Float64() < 0.5:
		b.login(ctx, referer, "correct horse")
		return "/"
	case r.Float64() < 0.25:
		return "/search?q=" + strings.ReplaceAll(words[r.IntN(len(words))], " ", "+")
	}
	return fmt.Sprintf("/products/%d", 1+r.IntN(products))
}

func (b *browser) login(ctx context.Context, referer, password string) {
	b.do(ctx, request{method: "POST", path: "/login", headers: map[string]string{"Accept": pageAccept, "Referer": referer, "Sec-Fetch-Dest": "document",
		"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"},
		body: "name=visitor%40shop.example&password=" + strings.ReplaceAll(password, " ", "+")})
}

// chat says some things over a WebSocket.
func (b *browser) chat(ctx context.Context, referer string) {
	config, err := websocket.NewConfig("ws://shop.example/chat", "http://shop.example")
	if err != nil {
		b.story.failed(err.Error())
		return
	}
	config.Header.Set("User-Agent", b.agent)
	config.Header.Set("Referer", referer)
	conn, err := b.dial(ctx, "tcp", "")
	if err != nil {
		b.story.failed(reason(err))
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	c, err := websocket.NewClient(config, conn)
	if err != nil {
		b.story.failed("chat: " + reason(err))
		return
	}
	for i := range 3 + b.random.IntN(4) {
		var answer string
		if websocket.Message.Send(c, fmt.Sprintf("question %d", i)) != nil || websocket.Message.Receive(c, &answer) != nil {
			b.story.failed("chat broke off")
			return
		}
		if !pause(ctx, time.Duration(0.5e9+b.random.Float64()*1e9)) {
			return
		}
	}
	_ = c.Close()
}

const phoneEvery = 5 * time.Second

// phones run the shop's app, over the lossy link: only data, and photographs that are too large at times.
func (s *story) phones(ctx context.Context, r *rand.Rand) {
	s.often(ctx, r, time.Second, phoneEvery, func(int) {
		s.act(r, func(r *rand.Rand) {
			c := s.client(r, "mobile", s.address(r, "mobile"), shopApp)
			defer c.leave()
			c.headers.Set("Accept-Encoding", "gzip")
			c.headers.Set("Authorization", "Bearer "+goodToken)
			c.do(ctx, request{path: "/api/products", headers: c.traced(nil)})
			for range 3 + r.IntN(4) {
				c.do(ctx, request{path: fmt.Sprintf("/api/stock/%d", 1+r.IntN(products)), headers: c.traced(nil)})
				if !pause(ctx, time.Duration(0.5e9+r.Float64()*2e9)) {
					return
				}
			}
			if r.Float64() < 0.25 { // long enough for segments to be lost and sent again in its course
				c.do(ctx, request{path: "/download/catalogue.csv", headers: c.traced(nil)})
			}
			if r.Float64() < 0.8 {
				size := 6_000 + r.IntN(22_000)
				headers := map[string]string{"Content-Type": "image/jpeg"}
				if r.Float64() < 0.4 {
					size = 60_000 + r.IntN(140_000)
				}
				if r.Float64() < 0.3 { // asks first
					headers["Expect"] = "100-continue"
				}
				c.do(ctx, request{method: "POST", path: "/upload", headers: c.traced(headers), body: photograph(size)})
			}
		})
	})
}

// photograph is as long as one, and takes little room in the capture.
func photograph(size int) string {
	return "\xff\xd8\xff\xe0" + strings.Repeat("the same few pixels of a wall, ", size/31+1)[:size-4]
}

// partners are programs that ask the API: one of them with a token that has expired.
func (s *story) partners(ctx context.Context, r *rand.Rand) {
	network := s.network.regions["america"].v4
	good := s.client(r, "america", nth(network, 10), "python-requests/2.32.3")
	good.headers.Set("Authorization", "Bearer "+goodToken)
	stale := s.client(r, "america", nth(network, 11), "Apache-HttpClient/4.5.14 (Java/17.0.12)")
	stale.headers.Set("Authorization", "Bearer "+staleToken)
	for _, c := range []*client{good, stale} {
		c.headers.Set("Accept", "application/json")
		c.headers.Set("Accept-Encoding", "gzip, deflate")
	}
	s.act(r, func(r *rand.Rand) {
		defer stale.leave()
		s.often(ctx, r, 3*time.Second, 4500*time.Millisecond, func(int) { stale.do(ctx, request{path: "/api/products"}) })
	})
	defer good.leave()
	s.often(ctx, r, 0, 900*time.Millisecond, func(i int) {
		path := fmt.Sprintf("/api/orders/%d", 40_000+r.IntN(90))
		if i%5 == 0 {
			path = "/api/products?page=" + strconv.Itoa(i/5)
		}
		status, _ := good.do(ctx, request{path: path, headers: good.traced(nil)})
		if status >= 502 && pause(ctx, 500*time.Millisecond) {
			good.do(ctx, request{path: path, headers: good.traced(nil)})
		}
	})
}

// office is where reports are looked at, which take their time, and an export that takes too long.
func (s *story) office(ctx context.Context, r *rand.Rand) {
	c := s.client(r, "europe", nth(s.network.regions["europe"].v4, 250), firefoxLinux)
	defer c.leave()
	c.headers.Set("Authorization", "Bearer "+goodToken)
	c.headers.Set("Accept", "application/json")
	c.headers.Set("Accept-Encoding", "gzip, deflate")
	s.often(ctx, r, 0, 5*time.Second, func(i int) {
		switch {
		case i%8 == 5:
			s.act(r, func(*rand.Rand) {
				c.do(ctx, request{path: "/api/export?month=10", headers: map[string]string{"Referer": "http://shop.example/account"}})
			})
		case i%8 == 7: // some of a file
			c.do(ctx, request{path: "/download/manual.pdf", headers: map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", 4096*(i%6), 4096*(i%6)+8191), "Accept-Encoding": "identity"}})
		case i%8 == 3: // given up before the answer is there
			c.do(ctx, request{path: "/api/report?week=44", headers: map[string]string{"Referer": "http://shop.example/account"}, within: 700 * time.Millisecond})
		default:
			c.do(ctx, request{path: fmt.Sprintf("/api/report?week=%d", 30+i%15), headers: c.traced(map[string]string{"Referer": "http://shop.example/account"})})
		}
	})
}
