//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	smallBody, largeBody = 1 << 10, 1 << 20
	// patience is after how long a program that doesn't do what it should is given up.
	patience = 10 * time.Second
)

// server is nginx with a process for each core.
type server struct {
	address string
	pid     int
}

// configuration serves /small and /large, and answers /id/N with N in a header field.
const configuration = `daemon off;
worker_processes auto;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	keepalive_requests 1000000000;
	sendfile on;
	open_file_cache max=16;
	server {
		listen 80 reuseport backlog=4096;
		root root;
		location ~ ^/id/(\d+)$ { add_header X-Id $1; return 200 "here\n"; }
	}
}
`

// cpu returns the CPU time that it has used so far.
func (s *server) cpu() time.Duration {
	cpu, _ := tree(s.pid)
	return cpu
}

// startServer starts nginx, and waits until it answers. It ends with its process namespace.
func startServer(ctx context.Context, n *network, dir string) (*server, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, errors.New("nginx isn't installed (.ci/deps installs it)")
		}
	}
	text := configuration
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // it would want to be another
	}
	root := filepath.Join(dir, "root")
	if err := errors.Join(
		os.Mkdir(root, 0o755),
		os.WriteFile(filepath.Join(root, "small"), bytes.Repeat([]byte("s"), smallBody), 0o644),
		os.WriteFile(filepath.Join(root, "large"), bytes.Repeat([]byte("l"), largeBody), 0o644),
		os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text), 0o644),
	); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	s := &server{address: net.JoinHostPort(n.address, "80"), pid: cmd.Process.Pid}
	for deadline := time.After(patience); ; {
		if c, err := net.Dial("tcp", s.address); err == nil {
			return s, c.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case err := <-exited:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			return nil, fmt.Errorf("nginx ended: %v\n%s", err, log)
		case <-deadline:
			return nil, errors.New("nginx doesn't answer")
		}
	}
}
