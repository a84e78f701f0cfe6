//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	googlebot = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/130.0.0.0 Safari/537.36"
	bingbot   = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
	uptimeBot = "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"
	nikto     = "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)"
	sqlmap    = "sqlmap/1.8.9#stable (https://sqlmap.org)"
	masscan   = "masscan/1.3 (https://github.com/robertdavidgraham/masscan)"
	zgrab     = "Mozilla/5.0 zgrab/0.x"
)

// crawlers read what there is, as robots.txt lets them, and one looks whether the shop is up.
func (s *story) crawlers(ctx context.Context, r *rand.Rand) {
	network := s.network.regions["hosting"].v4
	for i, agent := range []string{googlebot, bingbot} {
		s.act(r, func(r *rand.Rand) {
			c := s.client(r, "hosting", nth(network, 4+i), agent)
			defer c.leave()
			c.headers.Set("Accept-Encoding", "gzip, deflate")
			c.headers.Set("From", "bot@search.example")
			from := time.Duration(5+20*i) * time.Second
			s.often(ctx, r, from, 3*time.Second, func(i int) {
				path := fmt.Sprintf("/products/%d", 1+i%products)
				switch {
				case i%25 == 0:
					path = "/robots.txt"
				case i%25 == 1:
					path = "/sitemap.xml"
				case i%9 == 8:
					path = fmt.Sprintf("/products/%d", 900+i) // was there once
				}
				c.do(ctx, request{path: path})
			})
		})
	}
	c := s.client(r, "hosting", nth(network, 20), uptimeBot)
	defer c.leave()
	s.often(ctx, r, 0, 8*time.Second, func(int) { c.do(ctx, request{method: "HEAD", path: "/"}) })
}

// holes are what scanners look for. None of it is here.
var holes = []string{
	"/wp-login.php", "/wp-admin/", "/wp-content/plugins/", "/xmlrpc.php", "/.env", "/.git/config", "/.git/HEAD", "/.aws/credentials", "/phpmyadmin/",
	"/phpMyAdmin/index.php", "/pma/", "/admin/", "/admin.php", "/administrator/", "/manager/html", "/server-status", "/actuator/env", "/actuator/health",
	"/config.php", "/backup.sql", "/backup.zip", "/db.sql", "/dump.sql", "/shell.php", "/cgi-bin/test.cgi", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
	"/solr/admin/info/system", "/console/", "/owa/auth/logon.aspx", "/autodiscover/autodiscover.xml", "/boaform/admin/formLogin", "/HNAP1/", "/setup.cgi",
	"/telescope/requests", "/_ignition/execute-solution", "/.well-known/security.txt", "/login.action", "/struts2-showcase/", "/index.php?s=/index/think",
}

// scanners look for holes: some all the time and one by one, one all at once.
func (s *story) scanners(ctx context.Context, r *rand.Rand) {
	network := s.network.regions["hosting"].v4
	s.act(r, func(r *rand.Rand) {
		agents := []string{masscan, zgrab, "python-requests/2.27.1", "Go-http-client/1.1"}
		s.often(ctx, r, 8*time.Second, 7*time.Second, func(i int) {
			c := s.client(r, "hosting", nth(network, 70+i%5), agents[i%len(agents)])
			defer c.leave()
			c.do(ctx, request{path: holes[r.IntN(len(holes))]})
		})
	})
	if !s.until(ctx, scanFrom) {
		return
	}
	c := s.client(r, "hosting", nth(network, 77), nikto)
	defer c.leave()
	for range 4 {
		for _, path := range holes {
			c.do(ctx, request{path: path})
			if !pause(ctx, time.Duration(20e6+r.Float64()*100e6)) {
				return
			}
		}
	}
	c.agent = sqlmap
	for i := range 30 {
		c.do(ctx, request{path: fmt.Sprintf("/search?q=1%%27%%20UNION%%20SELECT%%20%d--", i)})
		c.do(ctx, request{path: fmt.Sprintf("/products/%d%%20AND%%20%d=%d", 1+i%products, 1000+i, 1000+i)})
	}
}

// stuffing is somebody with a list of names and passwords that were stolen elsewhere.
func (s *story) stuffing(ctx context.Context, r *rand.Rand) {
	if !s.until(ctx, stuffingFrom) {
		return
	}
	for k := range 3 {
		s.act(r, func(r *rand.Rand) {
			c := s.client(r, "hosting", nth(s.network.regions["hosting"].v4, 90+k), chromeWindows)
			defer c.leave()
			for i := range 45 {
				c.do(ctx, request{method: "POST", path: "/login", headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
					body: fmt.Sprintf("name=user%d%%40mail.example&password=winter%d", 45*k+i, i)})
				if !pause(ctx, time.Duration(150e6+r.Float64()*500e6)) {
					return
				}
			}
		})
	}
}
