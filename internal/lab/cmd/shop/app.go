//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"github.com/culprit-http/culprit/internal/lab"
)

// app is one of the two app servers.
type app struct {
	space   *lab.Namespace
	address string
	// version is what it says that it is.
	version atomic.Value
	// slow: its database is slow to say what is in stock. broken: it can't take orders that have a coupon, and
	// breaks off at photographs.
	slow, broken atomic.Bool

	mu     sync.Mutex
	random *rand.Rand
	server *http.Server
	tally  tally
	open   sync.WaitGroup
	orders int
}

func newApp(space *lab.Namespace, address string, seed uint64) *app {
	a := &app{space: space, address: address, random: rand.New(rand.NewPCG(seed, 99)), tally: newTally()}
	a.version.Store("2.4.1")
	return a
}

// thinking is how long a route takes, more or less.
var thinking = map[string]time.Duration{
	"/": 12 * time.Millisecond, "/products/{id}": 9 * time.Millisecond, "/search": 38 * time.Millisecond, "/cart": 7 * time.Millisecond,
	"/checkout": 18 * time.Millisecond, "/account": 11 * time.Millisecond, "/login": 85 * time.Millisecond, "/upload": 25 * time.Millisecond,
	"/api/orders": 60 * time.Millisecond, "/api/orders/{id}": 8 * time.Millisecond, "/api/stock/{id}": 6 * time.Millisecond,
	"/api/products": 14 * time.Millisecond, "/api/report": 1600 * time.Millisecond, "/api/export": 9 * time.Second,
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]http.HandlerFunc{
		"GET /{$}":             func(w http.ResponseWriter, r *http.Request) { a.page(w, r, "Shop", 1, 2, 3, 4, 5, 6) },
		"GET /products/{id}":   a.product,
		"GET /search":          a.search,
		"GET /cart":            func(w http.ResponseWriter, r *http.Request) { a.page(w, r, "Cart", 7) },
		"POST /cart":           func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/cart", http.StatusSeeOther) },
		"GET /checkout":        func(w http.ResponseWriter, r *http.Request) { a.page(w, r, "Checkout") },
		"GET /account":         func(w http.ResponseWriter, r *http.Request) { a.page(w, r, "Account") },
		"GET /login":           func(w http.ResponseWriter, r *http.Request) { a.page(w, r, "Login") },
		"POST /login":          a.login,
		"POST /upload":         a.upload,
		"GET /events":          a.events,
		"GET /chat":            websocket.Server{Handler: echo}.ServeHTTP,
		"GET /api/products":    a.list,
		"GET /api/stock/{id}":  a.stock,
		"POST /api/orders":     a.order,
		"GET /api/orders/{id}": a.orderState,
		"GET /api/report":      a.report,
		"GET /api/export":      a.report,
		"GET /healthz":         func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") },
		"GET /sitemap.xml": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			for i := range products {
				fmt.Fprintf(w, "<url><loc>http://shop.example/products/%d</loc></url>\n", i+1)
			}
		},
		"/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, "<!doctype html><title>%s</title><p>There is nothing here.</p>\n", http.StatusText(http.StatusNotFound))
		},
	} {
		mux.HandleFunc(pattern, f)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.open.Add(1)
		defer a.open.Done()
		began := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		s.Header().Set("Server", "shop/"+a.version.Load().(string))
		_, pattern := mux.Handler(r)
		route := routeOf(pattern)
		answered := false
		defer func() { // also when the handler panics
			if !answered && !s.begun {
				s.status = 0
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.tally.add(s.status)
			a.tally.Routes[route]++
			if time.Since(began) >= slow && s.status != 0 && s.status != http.StatusSwitchingProtocols && route != "/events" {
				a.tally.Slow[route]++
			}
		}()
		if a.think(r, route) {
			mux.ServeHTTP(s, r)
			answered = s.status == http.StatusSwitchingProtocols || r.Context().Err() == nil // else who asked is gone
		}
	})
}

// routeOf returns the route of a pattern: without the method, and other for what is nothing.
func routeOf(pattern string) string {
	_, path, hasMethod := strings.Cut(pattern, " ")
	switch {
	case !hasMethod:
		return "other"
	case path == "/{$}":
		return "/"
	}
	return path
}

// think takes the time that a route takes. It reports whether whoever asked is still there.
func (a *app) think(r *http.Request, route string) bool {
	a.mu.Lock()
	x, y := a.random.ExpFloat64(), a.random.NormFloat64()
	a.mu.Unlock()
	d := time.Duration(float64(thinking[route]) * (0.6 + 0.4*math.Min(x, 4)))
	if a.slow.Load() && route == "/api/stock/{id}" {
		d = time.Duration(1.4e9 + 0.25e9*math.Max(-2, math.Min(y, 3)))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// statusWriter remembers the status, and whether anything was sent before the handler had ended.
type statusWriter struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Flush() {
	s.begun = true
	_ = http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.status = http.StatusSwitchingProtocols
	return http.NewResponseController(s.ResponseWriter).Hijack()
}

// page writes an HTML page that shows some products.
func (a *app) page(w http.ResponseWriter, r *http.Request, title string, shown ...int) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if _, err := r.Cookie("sid"); err != nil {
		a.mu.Lock()
		id := a.random.Uint64()
		a.mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: fmt.Sprintf("%016x", id), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><head><title>%s</title><link rel=\"stylesheet\" href=\"/static/site.css\">"+
		"<script type=\"module\" src=\"/static/app.js\"></script></head>\n<body><img src=\"/static/logo.svg\" alt=\"Shop\"><main>\n", title)
	for _, p := range shown {
		fmt.Fprintf(w, "<article class=\"product\"><a href=\"/products/%d\"><img src=\"/img/%d.jpg\" alt=\"\" loading=\"lazy\"><h2>Product %d</h2></a>"+
			"<p class=\"price\">%d.95 EUR</p><button data-stock=\"/api/stock/%d\">Add to the cart</button></article>\n", p, p, p, 3*p, p)
	}
	io.WriteString(w, "</main><footer>An example shop. It sells nothing.</footer></body></html>\n")
}

func (a *app) product(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > products {
		http.NotFound(w, r)
		return
	}
	a.page(w, r, "Product", id, id%products+1)
}

func (a *app) search(w http.ResponseWriter, r *http.Request) {
	if q := r.URL.Query().Get("q"); strings.ContainsAny(q, "'<;") {
		http.Error(w, "no such words", http.StatusBadRequest)
		return
	}
	a.page(w, r, "Search", 8, 9, 10, 11)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("password") != "correct horse" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "wrong name or password\n")
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func (a *app) upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, "the upload broke off", http.StatusBadRequest)
		return
	}
	if a.broken.Load() {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "%d bytes\n", n)
}

// events sends news for a while, one every two seconds.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for i := range 8 {
		fmt.Fprintf(w, "event: sale\nid: %d\ndata: {\"product\":%d,\"left\":%d}\n\n", i, i%products+1, 40-i)
		http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// echo is the chat: it says what it is told.
func echo(c *websocket.Conn) {
	for {
		var m string
		if websocket.Message.Receive(c, &m) != nil || websocket.Message.Send(c, "you said "+m) != nil {
			return
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (a *app) list(w http.ResponseWriter, r *http.Request) {
	if !authorised(w, r) {
		return
	}
	type item struct {
		ID    int    `json:"id"`
		Name  string `json:"name"`
		Price string `json:"price"`
	}
	var all []item
	for i := range 12 {
		all = append(all, item{i + 1, fmt.Sprintf("Product %d", i+1), fmt.Sprintf("%d.95", 3*i+3)})
	}
	writeJSON(w, http.StatusOK, all)
}

func (a *app) stock(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > products {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such product"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"product": id, "left": 7 * id % 50})
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	var o struct {
		Product int
		Coupon  string
	}
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "not an order"})
		return
	}
	if o.Coupon != "" && a.broken.Load() {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "coupon: nil pointer"})
		return
	}
	a.mu.Lock()
	a.orders++
	n := 40_000 + a.orders
	a.mu.Unlock()
	w.Header().Set("Location", fmt.Sprintf("/api/orders/%d", n))
	writeJSON(w, http.StatusCreated, map[string]int{"order": n, "product": o.Product})
}

func (a *app) orderState(w http.ResponseWriter, r *http.Request) {
	if authorised(w, r) {
		writeJSON(w, http.StatusOK, map[string]string{"order": r.PathValue("id"), "state": "paid"})
	}
}

func (a *app) report(w http.ResponseWriter, r *http.Request) {
	if authorised(w, r) {
		writeJSON(w, http.StatusOK, map[string]int{"orders": 1234, "turnover": 56789})
	}
}

// goodToken is what API clients are to send, staleToken what one of them sends.
const (
	goodToken  = "example-token-of-november-4711"
	staleToken = "example-token-of-october-0815"
)

func authorised(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Authorization") == "Bearer "+goodToken {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="shop", error="invalid_token"`)
	writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "the token has expired"})
	return false
}

// serve makes it answer, at first and after stop.
func (a *app) serve() error {
	var l net.Listener
	err := a.space.Do(func() (err error) {
		l, err = (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", a.address)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", a.space.Name, err)
	}
	s := &http.Server{Handler: a.handler()}
	a.mu.Lock()
	a.server = s
	a.mu.Unlock()
	go s.Serve(l) // ends with ErrServerClosed
	return nil
}

// stop ends it in the midst of its work: connections break off, new ones are refused.
func (a *app) stop() {
	a.mu.Lock()
	s := a.server
	a.mu.Unlock()
	s.Close()
	a.open.Wait()
}

// close ends it, and returns what it has done.
func (a *app) close() tally {
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tally.Agents = nil
	return a.tally
}
