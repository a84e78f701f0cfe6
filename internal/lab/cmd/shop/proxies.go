//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// The edge: static files, limits, compression; the rest goes to the load balancer. Its log names routes,
// by regular expressions of its own.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 2048; }
http {
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	types {
		text/html html; text/css css; text/javascript js; image/svg+xml svg; image/jpeg jpg; font/woff2 woff2;
		text/csv csv; application/pdf pdf; text/plain txt; image/x-icon ico;
	}
	map $uri $route {
		default other;
		/ /; /search /search; /cart /cart; /checkout /checkout; /account /account; /login /login; /upload /upload;
		/events /events; /chat /chat; /api/orders /api/orders; /api/report /api/report; /api/export /api/export;
		/api/products /api/products; /robots.txt /robots.txt; /sitemap.xml /sitemap.xml; /favicon.ico /favicon.ico;
		"~^/products/[^/]+$" "/products/{id}";
		"~^/api/stock/[^/]+$" "/api/stock/{id}";
		"~^/api/orders/[^/]+$" "/api/orders/{id}";
		"~^/img/[^/]+\.jpg$" "/img/{id}.jpg";
		"~^/static/.+" "/static/*";
		"~^/download/.+" "/download/*";
	}
	map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
	map $http_x_request_id $request_name { default $http_x_request_id; "" $request_id; }
	log_format json escape=json '{"status":$status,"route":"$route","agent":"$http_user_agent","upstream":"$upstream_addr"}';
	server_tokens off;
	keepalive_timeout 65s;
	gzip on;
	gzip_vary on;
	gzip_proxied any;
	gzip_min_length 512;
	gzip_types text/css text/javascript image/svg+xml application/json;
	limit_req_zone $binary_remote_addr zone=login:1m rate=1r/s;
	limit_req_status 429;
	upstream lb {
		server LB;
		keepalive 32;
		keepalive_timeout 20s;
	}
	server {
		listen EDGE4;
		listen EDGE6;
		server_name shop.example;
		access_log access.log json;
		error_log error.log;
		root files;
		client_max_body_size 48k;
		proxy_http_version 1.1;
		proxy_bind EDGE_ADDRESS;
		proxy_read_timeout 30s;
		proxy_set_header Host $host;
		proxy_set_header Connection $connection_upgrade;
		proxy_set_header Upgrade $http_upgrade;
		proxy_set_header X-Forwarded-For $remote_addr;
		proxy_set_header X-Forwarded-Proto http;
		proxy_set_header X-Request-ID $request_name;
		proxy_set_header Via "1.1 edge";
		add_header X-Request-ID $request_name always;
		location / { proxy_pass http://lb; }
		location = /login { limit_req zone=login burst=4 nodelay; proxy_pass http://lb; }
		location = /upload { lingering_close off; proxy_pass http://lb; }
		location = /favicon.ico { expires 1d; }
		location = /robots.txt { }
		location /static/ { expires 1h; }
		location /img/ { expires 1h; }
		location /download/ { }
		location = /old-shop { return 301 /; }
		location ~ /\. { return 403; }
	}
}
`

// The load balancer. It tries a server again that refuses connections, but no other one: so that a server that goes
// away is seen.
const haproxyConfig = `
global
	log stdout format raw local0
	maxconn 500
defaults
	mode http
	log global
	option http-keep-alive
	http-reuse always
	retries 1
	timeout connect 2s
	timeout client 60s
	timeout server 5s
	timeout http-keep-alive 60s
	timeout tunnel 60s
	log-format '{"status":%ST,"server":"%s","milliseconds":%Ta}'
frontend shop
	bind LB
	http-request set-header Via "%[req.fhdr(via)], 1.1 lb"
	default_backend apps
backend apps
	balance roundrobin
	source LB_ADDRESS
	option httpchk
	http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host shop.example hdr User-Agent haproxy-check
	default-server check inter 2s fall 3 rise 2
	server app-1 APP1
	server app-2 APP2
`

func fill(config string) string {
	return strings.NewReplacer("EDGE4", edge4, "EDGE6", edge6, "EDGE_ADDRESS", host(edge4), "LB_ADDRESS", host(lb), "LB", lb,
		"APP1", appAddresses[0], "APP2", appAddresses[1]).Replace(config)
}

type nginx struct {
	*lab.Process
	folder string
}

// staticDate is when the static files were written, as far as clients can tell.
var staticDate = time.Date(2026, 10, 30, 16, 0, 0, 0, time.UTC)

func startNginx(n *lab.Namespace, work string, files map[string][]byte) (*nginx, error) {
	program, err := lab.Program("nginx")
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(work, "nginx")
	for name, content := range files {
		path := filepath.Join(folder, "files", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return nil, err
		}
		if err := os.Chtimes(path, staticDate, staticDate); err != nil {
			return nil, err
		}
	}
	config := fill(nginxConfig)
	if os.Geteuid() == 0 {
		config = "user root;" + config // there may be no other user here
	}
	config = strings.ReplaceAll(config, "root files;", "root "+filepath.Join(folder, "files")+";")
	if err := os.WriteFile(filepath.Join(folder, "nginx.conf"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-p", folder+"/", "-c", "nginx.conf", "-e", "error.log")
	cmd.Stderr = os.Stderr
	p, err := n.Start(cmd)
	if err != nil {
		return nil, err
	}
	if err := n.Listening(80, p); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "error.log"))
		return nil, fmt.Errorf("%w: %s", err, log)
	}
	return &nginx{p, folder}, nil
}

// log ends nginx once it is done with all requests, and returns what it has logged, and how many requests it has
// made: more than it was asked, when it has tried again.
func (g *nginx) log() (t tally, made int, err error) {
	t = newTally()
	if err := g.Stop(syscall.SIGQUIT); err != nil {
		return t, 0, fmt.Errorf("nginx: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(g.folder, "access.log"))
	if err != nil {
		return t, 0, err
	}
	for line := range bytes.Lines(b) {
		var a struct {
			Status                 int
			Route, Agent, Upstream string
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return t, 0, fmt.Errorf("nginx's access log: %w: %s", err, line)
		}
		if a.Status == 499 { // nginx's word for a client that went away; no such answer is sent
			a.Status = 0
		}
		t.add(a.Status)
		t.Routes[a.Route]++
		t.Agents[a.Agent]++
		made += strings.Count(a.Upstream, lb)
	}
	t.Slow = nil
	return t, made, nil
}

type haproxy struct {
	*lab.Process
	out *os.File
}

func startHAProxy(n *lab.Namespace, work string) (*haproxy, error) {
	program, err := lab.Program("haproxy")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(work, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(fill(haproxyConfig)), 0o644); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(work, "haproxy.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-db", "-f", path)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := n.Start(cmd)
	if err != nil {
		return nil, err
	}
	if err := n.Listening(8080, p); err != nil {
		said, _ := os.ReadFile(out.Name())
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	return &haproxy{p, out}, nil
}

// log ends HAProxy, and returns what it has logged of requests. made is how many it was asked: when a server closes
// a connection that was in use before, HAProxy closes that to its client without an answer, and logs nothing.
func (h *haproxy) log(made int) (tally, error) {
	t := newTally()
	defer h.out.Close()
	if err := h.Stop(syscall.SIGUSR1); err != nil {
		return t, fmt.Errorf("haproxy: %w", err)
	}
	b, err := os.ReadFile(h.out.Name())
	if err != nil {
		return t, err
	}
	for line := range bytes.Lines(b) {
		if line[0] != '{' { // such as that a server is down
			continue
		}
		var a struct {
			Status int
			Server string
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return t, fmt.Errorf("HAProxy's log: %w: %s", err, line)
		}
		t.add(a.Status)
	}
	for t.Requests < made {
		t.add(0)
	}
	t.Routes, t.Agents, t.Slow = nil, nil, nil
	return t, nil
}

// products is how many there are.
const products = 24

// staticFiles returns what nginx serves itself.
func staticFiles() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	files := map[string][]byte{
		"robots.txt":        []byte("User-agent: *\nDisallow: /api/\nDisallow: /cart\nSitemap: http://shop.example/sitemap.xml\n"),
		"favicon.ico":       append([]byte{0, 0, 1, 0}, noise(300)...),
		"static/site.css":   text("main > article.product:nth-child(%d) { margin: %dpx; background: url(/static/paper.svg) } \n", 40),
		"static/app.js":     text("export function step%d(cart) { return fetch('/api/stock/%d').then((answer) => answer.json()); }\n", 60),
		"static/logo.svg":   []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><circle cx="32" cy="32" r="30" fill="#264653"/></svg>`),
		"static/paper.svg":  []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8H0z" fill="#fefae0"/></svg>`),
		"static/text.woff2": append([]byte("wOF2"), noise(9000)...),
		// Long enough to be left half way, and not worth much room in the capture.
		"download/catalogue.csv": text("%d;shelf;an item of the catalogue that nobody reads to its end;%d.00;EUR\n", 3200),
		"download/manual.pdf":    append([]byte("%PDF-1.7\n"), text("%d 0 obj << /Type /Page /Parent 2 0 R /Contents %d 0 R >> endobj\n", 900)...),
	}
	for i := range products {
		files[fmt.Sprintf("img/%d.jpg", i+1)] = append([]byte{0xff, 0xd8, 0xff, 0xe0}, noise(1500+200*(i%8))...)
	}
	return files
}

// text repeats a line with two numbers in it.
func text(line string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, line, i+1, 7*i%100)
	}
	return b.Bytes()
}
