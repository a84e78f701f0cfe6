package pageload

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// patience is after how long a browser that doesn't do what it should is given up.
const patience = 60 * time.Second

// site is a web site that knows the truth: each URL that it makes up has the number of the page that it is for. It logs
// the exchanges.
type site struct {
	server *http.Server
	port   string
	// shop and other are two origins of it.
	shop, other string

	mu   sync.Mutex
	log  []*exchange.Exchange
	urls []string
	// done has a channel for each page, closed when its scripts are.
	done map[string]chan struct{}
	over chan struct{}
}

// head is what pages have in common: %[1]s is the page, %[2]s another origin, %[3]s the script's end.
const head = `<!doctype html><title>Page %[1]s</title>%[4]s
<link rel=icon href="/favicon.ico?page=%[1]s">
<link rel=stylesheet href="/style.css?page=%[1]s">
<script src="/script.js?page=%[1]s"></script>
<body class=a>Page %[1]s
<img src="/slow.png?page=%[1]s"><img src="/moved.png?page=%[1]s"><img src="%[2]s/ad.png?page=%[1]s">
<iframe src="/frame?page=%[1]s"></iframe>
<link rel=prefetch href="/ahead?page=%[1]s">
<script>
const events = new EventSource('/events?page=%[1]s');
addEventListener('load', async () => {
	await (await fetch('/api/list?page=%[1]s')).text();
	await (await fetch('/api/save?page=%[1]s', {method: 'POST', body: '{"a":1}', headers: {'Content-Type': 'application/json'}})).text();
	navigator.sendBeacon('/beacon?page=%[1]s', 'seen');
	setTimeout(() => { fetch('/api/late?page=%[1]s').then(r => r.text()).then(() => { events.close(); navigator.sendBeacon('/done?page=%[1]s'); %[3]s }) }, 1000);
});
</script>`

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("page") == "" {
		http.NotFound(w, r) // what the browser asks for by itself
		return
	}
	started := time.Now()
	l := &logged{ResponseWriter: w, status: 200}
	l.Header().Set("Cache-Control", "no-store")
	s.answer(l, r)
	ended := time.Now()
	if l.first.IsZero() {
		l.first = ended
	}
	var request, response strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(&request)
	fmt.Fprintf(&response, "HTTP/1.1 %d X\n", l.status)
	_ = l.Header().Write(&response)
	body := strings.Repeat("x", l.bytes)
	x := outputtest.Exchange(request.String()+"\n", response.String()+"\n"+body)
	x.Flow = outputtest.Flow(r.RemoteAddr, "127.0.0.1:"+s.port)
	x.Start.Time = started.UnixNano()
	x.Timing = exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Wait: l.first.Sub(started).Nanoseconds(), Receive: ended.Sub(l.first).Nanoseconds()}
	x.Timing.Duration = x.Timing.Wait + x.Timing.Receive
	x.Timing.Total = x.Timing.Duration
	x.Completed.Time = ended.UnixNano()
	x.Stream = l.Header().Get("Content-Type") == "text/event-stream"
	if r.Context().Err() != nil {
		x.Grade = exchange.Aborted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.KnownID = &[exchange.IDSize]byte{byte(len(s.log) >> 8), byte(len(s.log))}
	s.log = append(s.log, x)
	s.urls = append(s.urls, r.Host+r.RequestURI)
	if done := s.done[r.URL.Query().Get("page")]; r.URL.Path == "/done" && done != nil {
		close(done)
	}
}

// logged notes what is answered.
type logged struct {
	http.ResponseWriter
	status, bytes int
	first         time.Time
}

func (l *logged) WriteHeader(status int) {
	l.status, l.first = status, time.Now()
	l.ResponseWriter.WriteHeader(status)
}

func (l *logged) Write(b []byte) (int, error) {
	if l.first.IsZero() {
		l.first = time.Now()
	}
	l.bytes += len(b)
	return l.ResponseWriter.Write(b)
}

func (s *site) answer(w *logged, r *http.Request) {
	page := r.URL.Query().Get("page")
	give := func(mediaType, text string) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, text)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	other := s.other
	if "http://"+r.Host == s.other {
		other = s.shop
	}
	show := func(script, meta string) { give("text/html", fmt.Sprintf(head, page, other, script, meta)) }
	switch r.URL.Path {
	case "/start":
		http.Redirect(w, r, "/middle?page="+page, http.StatusFound)
	case "/middle":
		http.Redirect(w, r, "shop?page="+page, http.StatusMovedPermanently)
	case "/shop":
		show("", "")
	case "/origin":
		show("", `<meta name=referrer content=origin>`)
	case "/secret":
		show("", `<meta name=referrer content=no-referrer>`)
	case "/clicks": // goes to another page when all is done
		show(`location.href = '/shop?page=`+r.URL.Query().Get("next")+`'`, "")
	case "/leads": // goes there at once
		give("text/html", `<!doctype html><script src="/script.js?page=`+page+`"></script><script>location.replace('/shop?page=`+r.URL.Query().Get("next")+`')</script>`)
	case "/style.css":
		give("text/css", `@font-face { font-family: f; src: url(/font.woff2?page=`+page+`) } body { background: url(/back.png?page=`+page+`); font-family: f }`)
	case "/script.js":
		give("text/javascript", `fetch('/api/early?page=`+page+`')`)
	case "/frame":
		give("text/html", `<img src="/inner.png?page=`+page+`">framed`)
	case "/moved.png":
		http.Redirect(w, r, "/target.png?page="+page, http.StatusFound)
	case "/slow.png":
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
		}
		give("image/png", "")
	case "/events":
		give("text/event-stream", ": hello\n\n")
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		select {
		case <-s.over:
		case <-r.Context().Done():
		}
	case "/beacon", "/done":
		w.WriteHeader(http.StatusNoContent)
	case "/favicon.ico":
		http.NotFound(w, r)
	case "/font.woff2":
		give("font/woff2", "no font")
	case "/ahead":
		give("text/html", "ahead")
	default:
		if strings.HasPrefix(r.URL.Path, "/api/") {
			give("application/json", `{"ok":true}`)
			return
		}
		give("image/png", "no picture")
	}
}

func newSite(t *testing.T, shop, other string) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &site{port: port, shop: "http://" + shop + ":" + port, other: "http://" + other + ":" + port, done: map[string]chan struct{}{}, over: make(chan struct{})}
	s.server = &http.Server{Handler: s}
	go func() { _ = s.server.Serve(l) }()
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

// chromium starts a browser, and returns where it takes orders.
func chromium(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium isn't installed; apt-get install chromium")
	}
	folder := t.TempDir()
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable", "--user-data-dir="+folder, "--remote-debugging-port=0",
		"--host-resolver-rules=MAP *.test 127.0.0.1", "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ready, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	give := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer give.Stop()
	var said strings.Builder
	for b := make([]byte, 4096); ; {
		n, err := ready.Read(b)
		said.Write(b[:n])
		if _, rest, found := strings.Cut(said.String(), "DevTools listening on ws://"); found && strings.Contains(rest, "/") {
			go func() { _, _ = io.Copy(io.Discard, ready) }()
			return "http://" + rest[:strings.IndexByte(rest, '/')]
		}
		if err != nil {
			t.Fatalf("chromium doesn't start: %v\n%s", err, &said)
		}
	}
}

// load has the browser load pages of the site at once, and waits until they and those that follow are done.
func (s *site) load(t *testing.T, orders string, pages, follow []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wait := follow
	s.mu.Lock()
	for _, p := range pages {
		u, err := url.Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		if u.Path != "/leads" {
			wait = append(wait, u.Query().Get("page"))
		}
	}
	for _, page := range wait {
		s.done[page] = make(chan struct{})
	}
	s.mu.Unlock()
	for _, p := range pages {
		r, err := http.NewRequestWithContext(ctx, "PUT", orders+"/json/new?"+url.QueryEscape(s.shop+p), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Fatalf("chromium: %s", answer.Status)
		}
	}
	for _, page := range wait {
		select {
		case <-s.done[page]:
		case <-ctx.Done():
			t.Fatalf("page %s isn't done", page)
		}
	}
}

// exchanges ends the site, and returns what it logged in the order of time, and the truth: the page of each id.
func (s *site) exchanges(t *testing.T) (all []*exchange.Exchange, urls map[[exchange.IDSize]byte]string) {
	t.Helper()
	close(s.over)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	urls = map[[exchange.IDSize]byte]string{}
	for i, x := range s.log {
		urls[*x.KnownID] = s.urls[i]
	}
	all = slices.Clone(s.log)
	slices.SortStableFunc(all, func(a, b *exchange.Exchange) int { return int(a.Start.Time - b.Start.Time) })
	return all, urls
}

func pageOf(u string) string {
	_, query, _ := strings.Cut(u, "?")
	v, _ := url.ParseQuery(query)
	return v.Get("page")
}

// A browser loads pages, and what is inferred is what the site knows. Browsers send Sec-Fetch-* to the loopback, and,
// without TLS, to nobody else.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes half a minute; run without -short")
	}
	for _, c := range []struct {
		name, shop, other string
		modern            bool
	}{
		{"with Sec-Fetch", "127.0.0.1", "localhost", true},
		{"without", "shop.test", "cdn.test", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			orders := chromium(t)
			s := newSite(t, c.shop, c.other)
			s.load(t, orders, []string{"/start?page=1"}, nil)
			s.load(t, orders, []string{"/shop?page=2", "/start?page=3"}, nil)
			s.load(t, orders, []string{"/clicks?page=4&next=5"}, []string{"5"})
			s.load(t, orders, []string{"/origin?page=6"}, nil)
			s.load(t, orders, []string{"/secret?page=7"}, nil)
			s.load(t, orders, []string{"/leads?page=8&next=9"}, []string{"9"})
			all, urls := s.exchanges(t)
			check(t, all, urls, c.modern)
		})
	}
}

// documents are the paths that windows show; what they need has others.
var documents = []string{"/shop", "/origin", "/secret", "/clicks", "/leads"}

// aparts are the paths of what a load doesn't wait for.
var aparts = map[string]Apart{"/events": Stream, "/beacon": Beacon, "/done": Beacon, "/favicon.ico": Favicon}

func check(t *testing.T, all []*exchange.Exchange, urls map[[exchange.IDSize]byte]string, modern bool) {
	var pages []*Page
	g := New(func(p *Page) { pages = append(pages, p) })
	for _, x := range all {
		if has := len(x.Request.Field("sec-fetch-site")) > 0; has != modern {
			t.Fatalf("%s: Sec-Fetch-Site: %v", x.Request.Raw, has)
		}
		g.Add(x)
	}
	g.End()
	path := func(id [exchange.IDSize]byte) string {
		_, rest, _ := strings.Cut(urls[id], "/")
		rest, _, _ = strings.Cut(rest, "?")
		return "/" + rest
	}
	wrong, shown := 0, map[string]int{}
	for _, p := range pages {
		own := pageOf(p.Target)
		for i := range p.Resources {
			r := &p.Resources[i]
			if pageOf(urls[r.ID]) != own {
				wrong++
				t.Logf("page %s has %s by %v, confidence %.2f", own, urls[r.ID], r.Why, r.Confidence)
				if r.Why <= Referer || r.Confidence > 0.6 {
					t.Error("that was too sure")
				}
			}
			if slices.Contains(documents, path(r.ID)) {
				shown[own]++
				if i != p.Document {
					t.Errorf("%s is taken for a part of page %s", urls[r.ID], own)
				}
			}
			if want, ok := aparts[path(r.ID)]; ok && r.Apart != want {
				t.Errorf("%s is %q, want %q", urls[r.ID], r.Apart, want)
			}
			if modern && path(r.ID) == "/ahead" && r.Apart != Prefetch {
				t.Errorf("%s is %q, want %q", urls[r.ID], r.Apart, Prefetch)
			}
		}
		t.Logf("page %s: %d exchanges, load %v, complete %v, confidence %.2f", own, len(p.Resources), time.Duration(p.Load), p.Complete, p.Confidence)
	}
	for page := range 9 {
		if n := shown[fmt.Sprint(page+1)]; n != 1 {
			t.Errorf("page %d was found %d times", page+1, n)
		}
	}
	t.Logf("%d exchanges, %d pages, %d with the wrong page, %d with none", len(all), len(pages), wrong, g.Unassigned)
	// What two tabs ask of a third party at once can't be told apart, nor what a page without Referer does later.
	most := 6
	if modern {
		most = 3
	}
	if wrong+g.Unassigned > most {
		t.Errorf("that is more than %d", most)
	}
	// Without Sec-Fetch, a frame may be a page of its own.
	if modern && len(pages) != 9 {
		t.Errorf("%d pages", len(pages))
	}
}
