//go:build linux

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Sizes are those of the files that Nginx serves under /size/, in bytes, by name.
var sizes = map[string]int64{"0": 0, "100": 100, "4K": 4 << 10, "100K": 100 << 10, "1M": 1 << 20, "16M": 16 << 20}

// locations is what Nginx serves. Every response to a request with id=... in its query has that in X-Id.
//
//	/echo?id=X      200, the id and the target, so that a response tells which request it answers
//	/size/NAME      a file of that size: 0, 100, 4K, 100K, 1M, 16M
//	/status/404     likewise 301, 403, 500
//	/close          200, and then nginx closes the connection
//	/upload         takes a body of any length, all of it before it answers 200
//	/silent         closes the connection without an answer; the log says 444
const locations = `
		add_header X-Id $arg_id always;
		default_type application/octet-stream;
		location = /echo { default_type text/plain; return 200 "id=$arg_id target=$request_uri\n"; }
		location /size/ { alias files/; }
		location = /status/301 { return 301 /elsewhere; }
		location = /status/403 { return 403; }
		location = /status/404 { return 404; }
		location = /status/500 { return 500; }
		location = /close { keepalive_timeout 0; return 200 "bye\n"; }
		location = /silent { return 444; }
		location = /upload {
			client_max_body_size 0;
			proxy_pass http://unix:upload.sock:;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_request_buffering on;
			proxy_hide_header X-Id;
		}
`

// accessFormat makes nginx write a JSON object for each request.
const accessFormat = `'{"address":"$remote_addr","port":$remote_port,"nth":$connection_requests,"method":"$request_method","target":"$request_uri",'
	'"status":$status,"sent":$bytes_sent,"body":$body_bytes_sent,"length":$request_length}'`

// Access is a line of nginx's access log: what nginx knows of a request. Port is the client's; Nth counts the
// requests of the connection, from 1. Sent is the length of the response, Body that of its body as it was
// sent, Length that of the request; all in bytes.
type Access struct {
	Address            string
	Port, Nth          int
	Method, Target     string
	Status             int
	Sent, Body, Length int64
}

// Nginx is a running nginx.
type Nginx struct {
	*Process
	folder string
}

// Nginx starts nginx in the namespace, listening on addresses such as 10.1.0.2:80 and [fd00::2]:80, with its
// files in an empty folder, and waits until it answers. What it serves is at locations, in nginx.go.
func (n *Namespace) Nginx(folder string, addresses ...string) (*Nginx, error) {
	program, err := Program("nginx")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(folder, "files"), 0o755); err != nil {
		return nil, err
	}
	for name, size := range sizes {
		path := filepath.Join(folder, "files", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
			return nil, err
		}
	}
	var listen strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&listen, "listen %s;\n", a)
	}
	// It stays who it is: there may be no other user here. Its one process serves.
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	config := user + `
daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
	log_format json escape=json ` + accessFormat + `;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	client_header_timeout 1h; client_body_timeout 1h; keepalive_timeout 1h; send_timeout 1h;
	keepalive_requests 1000000000;
	server {
		` + listen.String() + `
		access_log access.log json;
		` + locations + `
	}
	server {
		listen unix:` + filepath.Join(folder, "upload.sock") + `;
		access_log off;
		client_max_body_size 0;
		location / { default_type text/plain; return 200 "taken\n"; }
	}
}
`
	config = strings.ReplaceAll(config, "unix:upload.sock", "unix:"+filepath.Join(folder, "upload.sock"))
	config = strings.ReplaceAll(config, "alias files/", "alias "+filepath.Join(folder, "files")+"/")
	if err := os.WriteFile(filepath.Join(folder, "nginx.conf"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-p", folder+"/", "-c", "nginx.conf", "-e", "error.log")
	cmd.Stderr = os.Stderr
	p, err := n.Start(cmd)
	if err != nil {
		return nil, err
	}
	s := &Nginx{Process: p, folder: folder}
	for _, a := range addresses {
		if err := n.answers(a, p); err != nil {
			log, _ := os.ReadFile(filepath.Join(folder, "error.log"))
			return nil, fmt.Errorf("nginx: %w: %s", err, log)
		}
	}
	return s, nil
}

// answers waits until an address takes connections, for as long as the process lives.
func (n *Namespace) answers(address string, p *Process) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(Patience); ; {
		var c net.Conn
		var err error
		if c, err = n.Dial("tcp", address); err == nil {
			return c.Close()
		}
		select {
		case <-poll.C:
		case <-p.Ended():
			return fmt.Errorf("ended: %w", p.Wait())
		case <-late:
			return err
		}
	}
}

// Log ends nginx, and returns what it has logged, in the order in which it was done with the requests.
func (s *Nginx) Log() (all []Access, err error) {
	if err := s.Stop(syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("nginx: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(s.folder, "access.log"))
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(b) {
		var a Access
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("nginx's access log: %w: %s", err, line)
		}
		all = append(all, a)
	}
	return all, nil
}
