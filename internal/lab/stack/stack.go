//go:build linux

// Package stack records a chain of real programs on one machine at work, with the truth of which request caused which:
//
//	client -> HAProxy -> Varnish -> nginx -> app -> MariaDB and Redis
//
// It is recorded once, with a request's id in a header of every request and in a comment of every statement. Then the same packets are
// written twice: as they were, and with the ids gone. So the truth is known of both, and the second is as hard as any traffic without ids:
// paths come again and again, connections are shared, and at each hop many requests are under way at once.
package stack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/culprit-http/culprit/internal/lab"
)

// The ports of the hops, all on the loopback interface.
const (
	HAProxyPort = 8000
	VarnishPort = 8001
	NginxPort   = 8002
	AppPort     = 8003
	MariaDBPort = 3306
	RedisPort   = 6379
)

// Parents are the hops that make requests of each hop, by port; 0: the client.
func Parents() map[int]int {
	return map[int]int{
		HAProxyPort: 0, VarnishPort: HAProxyPort, NginxPort: VarnishPort, AppPort: NginxPort, MariaDBPort: AppPort, RedisPort: AppPort,
	}
}

// The programs' configurations. Varnish caches what is under /static/; nginx answers /about by itself.
const (
	haproxyConfig = `
defaults
	mode http
	option http-keep-alive
	option forwardfor
	http-reuse always
	timeout connect 5s
	timeout client 60s
	timeout server 60s
frontend edge
	bind 127.0.0.1:8000
	default_backend cache
backend cache
	server varnish 127.0.0.1:8001
`
	varnishConfig = `
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "8002"; }
sub vcl_recv {
	if (req.url !~ "^/static/") { return (pass); }
	unset req.http.Cookie;
}
`
	nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 2048; }
http {
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	access_log off;
	keepalive_requests 1000000;
	upstream app { server 127.0.0.1:8003; keepalive 64; }
	server {
		listen 127.0.0.1:8002;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		location = /about { return 200 "About us\n"; }
		location / { proxy_pass http://app; }
	}
}
`
)

// stack is the chain at work.
type stack struct {
	host *lab.Namespace
	work string
	app  *app
}

func start(l *lab.Lab, work string) (*stack, error) {
	s := &stack{work: work}
	var err error
	if s.host, err = l.Namespace("host"); err != nil {
		return nil, err
	}
	for _, start := range []func() error{s.mariaDB, s.redis, s.serveApp, s.nginx, s.varnish, s.haproxy} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// run starts a program with arguments, in a folder of its own with one file in it, and waits until it listens on a port.
func (s *stack) run(port uint16, name, file, content string, arguments func(folder, file string) []string) error {
	path, err := lab.Program(name)
	if err != nil {
		return err
	}
	folder := filepath.Join(s.work, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file = filepath.Join(folder, file)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return err
	}
	cmd := exec.Command(path, arguments(folder, file)...)
	cmd.Dir = folder
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := s.host.Start(cmd)
	if err != nil {
		return err
	}
	if err := s.host.Listening(port, p); err != nil {
		p.Kill() // then all that it says has been read
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return nil
}

func (s *stack) haproxy() error {
	return s.run(HAProxyPort, "haproxy", "haproxy.cfg", haproxyConfig, func(_, file string) []string { return []string{"-q", "-db", "-f", file} })
}

func (s *stack) varnish() error {
	return s.run(VarnishPort, "varnishd", "cache.vcl", varnishConfig, func(folder, file string) []string {
		return []string{"-F", "-j", "none", "-n", filepath.Join(folder, "work"), "-a", fmt.Sprintf("127.0.0.1:%d", VarnishPort), "-f", file, "-s", "default,16m"}
	})
}

func (s *stack) nginx() error {
	config := nginxConfig
	if os.Geteuid() == 0 {
		config = "user root;" + config // there may be no other user here
	}
	return s.run(NginxPort, "nginx", "nginx.conf", config, func(folder, _ string) []string {
		return []string{"-p", folder + "/", "-c", "nginx.conf", "-e", "error.log"}
	})
}

func (s *stack) redis() error {
	return s.run(RedisPort, "redis-server", "redis.conf", fmt.Sprintf("bind 127.0.0.1\nport %d\nsave \"\"\nappendonly no\n", RedisPort), func(folder, file string) []string {
		return []string{file}
	})
}

func (s *stack) mariaDB() error {
	install, err := lab.Program("mariadb-install-db")
	if err != nil {
		return err
	}
	data := filepath.Join(s.work, "data")
	common := []string{"--no-defaults", "--datadir=" + data}
	if os.Getuid() == 0 {
		common = append(common, "--user=root")
	}
	if out, err := exec.Command(install, append(common, "--auth-root-authentication-method=normal", "--skip-test-db")...).CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	return s.run(MariaDBPort, "mariadbd", "empty", "", func(folder, _ string) []string {
		return append(common, "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", MariaDBPort), "--socket="+filepath.Join(folder, "s"), "--skip-name-resolve")
	})
}

func (s *stack) serveApp() error {
	a, err := newApp(s.host)
	if err != nil {
		return err
	}
	s.app = a
	l, err := s.host.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", AppPort))
	if err != nil {
		return err
	}
	go func() { _ = a.server.Serve(l) }() // until the end
	return nil
}
