//go:build linux

package tlspeers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// WriteSite prepares a folder for nginx, and returns its arguments. At secure addresses it speaks TLS 1.2 and 1.3, HTTP/1.1
// and HTTP/2; at plain addresses HTTP/1.1; at bare ones HTTP/2 without TLS. It serves Digits of the path, as many as the
// path's last element says, for the sizes given; takes what is sent to /upload; and answers 404 to the rest.
func WriteSite(folder string, c Certificates, secure, plain, bare []string, sizes ...int) (arguments []string, err error) {
	root := filepath.Join(folder, "root", "digits")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		name := strconv.Itoa(n)
		if err := os.WriteFile(filepath.Join(root, name), Digits("/digits/"+name, n), 0o644); err != nil {
			return nil, err
		}
	}
	var listen strings.Builder
	for _, group := range []struct {
		addresses []string
		how       string
	}{{secure, " ssl http2"}, {plain, ""}, {bare, " http2"}} {
		for _, a := range group.addresses {
			fmt.Fprintf(&listen, "listen %s%s; ", a, group.how)
		}
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // or it couldn't read the folder
	}
	config := user + `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	default_type text/plain;
	client_max_body_size 0;
	keepalive_requests 100000;
	server {
		` + listen.String() + `
		server_name ` + ServerName + `;
		ssl_certificate ` + c.Cert("rsa") + `; ssl_certificate_key ` + c.Key("rsa") + `;
		ssl_certificate ` + c.Cert("ecdsa") + `; ssl_certificate_key ` + c.Key("ecdsa") + `;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_early_data on;
		root ` + filepath.Join(folder, "root") + `;
		location = /upload {
			proxy_pass http://unix:` + filepath.Join(folder, "upload.sock") + `:;
			proxy_request_buffering on;
		}
	}
	server {
		listen unix:` + filepath.Join(folder, "upload.sock") + `;
		location / { return 200 "taken\n"; }
	}
}
`
	path := filepath.Join(folder, "nginx.conf")
	err = errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(path, []byte(config), 0o644))
	return []string{"-p", folder + "/", "-c", "nginx.conf", "-e", "error.log"}, err
}
