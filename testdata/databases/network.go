//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// Addresses, for documentation all of them (RFC 5737).
const (
	visitor = "192.0.2.11"
	proxy   = "192.0.2.2"

	appAddress = "198.51.100.10"

	mariaAddress    = "198.51.100.20"
	postgresAddress = "198.51.100.30"
	redisAddress    = "198.51.100.40"
	namesAddress    = "198.51.100.53"
	// Nobody listens at deafAddress, which has a host, and mute never answers.
	deafAddress = "198.51.100.54"
	muteAddress = "198.51.100.55"
)

// delay is that of the link between the switch and the host of the data, one way.
const delay = 400 * time.Microsecond

// network is three hosts on one switch: those who ask the application, the application, and what it asks.
type network struct{ clients, app, data *lab.Namespace }

func build(l *lab.Lab) (*network, error) {
	spaces := map[string]*lab.Namespace{}
	for _, name := range []string{"clients", "app", "data", "switch", "cable"} {
		n, err := l.Namespace(name)
		if err != nil {
			return nil, err
		}
		spaces[name] = n
	}
	n := &network{clients: spaces["clients"], app: spaces["app"], data: spaces["data"]}
	for _, h := range []struct {
		space     *lab.Namespace
		at        *lab.Namespace
		port      string
		addresses []string
	}{
		{n.clients, spaces["switch"], "p1", []string{visitor + "/24", proxy + "/24"}},
		{n.app, spaces["switch"], "p2", []string{appAddress + "/24"}},
		{n.data, spaces["cable"], "b", []string{mariaAddress + "/24", postgresAddress + "/24", redisAddress + "/24", namesAddress + "/24", deafAddress + "/24", muteAddress + "/24"}},
	} {
		if err := lab.Veth(lab.End{Namespace: h.space, Interface: "lan", Addresses: h.addresses}, lab.End{Namespace: h.at, Interface: h.port}); err != nil {
			return nil, err
		}
		if err := h.space.Offload("lan", false); err != nil {
			return nil, err
		}
	}
	a, b := lab.End{Namespace: spaces["cable"], Interface: "a"}, lab.End{Namespace: spaces["cable"], Interface: "b"}
	if err := lab.Veth(lab.End{Namespace: spaces["switch"], Interface: "p3"}, a); err != nil {
		return nil, err
	}
	if _, err := (lab.Link{A: a, B: b, Delay: delay}).Run(); err != nil {
		return nil, err
	}
	return n, errors.Join(spaces["switch"].Bridge("bridge", []string{"p1", "p2", "p3"}),
		n.clients.IP("route add 198.51.100.0/24 dev lan"), n.app.IP("route add 192.0.2.0/24 dev lan"))
}

// from connects from a host.
func from(n *lab.Namespace) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) { return n.Dial(network, address) }
}

// serve starts MariaDB, PostgreSQL, Redis and dnsmasq on the host of the data.
func (n *network) serve(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // where Debian has them, outside of PATH
	if len(found) == 0 {
		return errors.New("PostgreSQL isn't installed")
	}
	postgres := found[len(found)-1]
	owner, err := unprivileged("postgres")
	if err != nil {
		return err
	}
	maria, pg := filepath.Join(dir, "maria"), filepath.Join(dir, "pg")
	if err := os.Mkdir(pg, 0o700); err != nil {
		return err
	}
	if err := os.Chown(pg, int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	for _, c := range []*exec.Cmd{
		exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+maria, "--auth-root-authentication-method=normal", "--skip-test-db"),
		as(owner, pg, exec.Command(filepath.Join(postgres, "initdb"), "-D", pg, "-U", "shop", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8")),
	} {
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c.Path, err, out)
		}
	}
	rules, err := os.OpenFile(filepath.Join(pg, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := rules.WriteString("host all all 198.51.100.0/24 trust\n"); err != nil {
		return err
	}
	if err := rules.Close(); err != nil {
		return err
	}
	for _, p := range []struct {
		address string
		command *exec.Cmd
	}{
		{mariaAddress + ":3306", exec.Command("mariadbd", "--no-defaults", "--user=root", "--datadir="+maria, "--bind-address="+mariaAddress, "--port=3306",
			"--socket="+filepath.Join(dir, "socket"), "--skip-name-resolve", "--init-file="+filepath.Join(dir, "init.sql"))},
		{postgresAddress + ":5432", as(owner, pg, exec.Command(filepath.Join(postgres, "postgres"), "-D", pg, "-c", "listen_addresses="+postgresAddress,
			"-c", "unix_socket_directories=", "-c", "fsync=off"))},
		{redisAddress + ":6379", exec.Command("redis-server", "--bind", redisAddress, "--protected-mode", "no", "--save", "", "--dir", dir)},
		{"", exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts", "--bind-interfaces",
			"--listen-address="+namesAddress, "--local=/shop.example/", "--host-record=db.shop.example,"+mariaAddress, "--host-record=stats.shop.example,"+postgresAddress,
			"--host-record=cache.shop.example,"+redisAddress, "--cname=orders.shop.example,db.shop.example", "--txt-record=shop.example,v=spf1 -all", "--local-ttl=60")},
	} {
		if p.address == mariaAddress+":3306" {
			init := "CREATE DATABASE shop;\nCREATE USER shop@'%' IDENTIFIED BY 'secret-of-the-shop';\nGRANT ALL ON shop.* TO shop@'%';\n"
			if err := os.WriteFile(filepath.Join(dir, "init.sql"), []byte(init), 0o644); err != nil {
				return err
			}
		}
		if _, err := n.data.Start(p.command); err != nil {
			return err
		}
		if p.address != "" {
			if err := n.await(p.address); err != nil {
				return err
			}
		}
	}
	return nil
}

// await waits until a server listens.
func (n *network) await(address string) error {
	for deadline := time.Now().Add(lab.Patience); ; {
		c, err := n.app.Dial("tcp4", address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// unprivileged is a user that PostgreSQL runs as: it refuses root.
func unprivileged(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func as(owner *syscall.Credential, dir string, c *exec.Cmd) *exec.Cmd {
	c.Dir = dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	return c
}
