package synth

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

const ms = time.Millisecond

// Demo tells a small story for people to look at: sixteen seconds of a shop's web server, whose
// visitors have good and bad moments. Its size is what it is.
func Demo(w io.Writer, _ int64, o Options) (Truth, error) {
	d := demo{
		scenario: newScenario(w, 0, o),
		server:   netip.MustParseAddrPort("10.0.0.2:8000"),
		near:     Path{Client: 110 * time.Microsecond, Server: 40 * time.Microsecond},
		far:      Path{Client: 38 * ms, Server: 40 * time.Microsecond, Rate: 2_500_000},
	}
	for _, chapter := range []func() error{
		d.names, d.visit, d.keyExpired, d.upload, d.slowReport, d.badGateway, d.order, d.avatar,
		d.pipelined, d.hungExport, d.phone, d.ipv6, d.login, d.healthChecks, d.unreadable,
	} {
		if err := chapter(); err != nil {
			return Truth{}, err
		}
	}
	return d.finish()
}

type demo struct {
	*scenario
	server    netip.AddrPort
	near, far Path
}

func (d *demo) from(at time.Duration, client string, path Path) *Conn {
	return d.dial(at, netip.MustParseAddrPort(client), d.server, path)
}

// quit closes a connection from the client's side.
func quit(c *Conn) {
	c.Close(Client)
	c.RecvEnd(Server)
	c.Close(Server)
}

const browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=8c1f2ab07d\r\n"

func request(method, target, more string) []byte {
	return []byte(method + " " + target + " HTTP/1.1\r\nHost: shop.example\r\n" + more + "\r\n")
}

// reply returns a response with a length.
func reply(status, mediaType, body, more string) (head, content []byte) {
	return webHead(status, mediaType, len(body), more), []byte(body)
}

// get adds a GET to a connection, answered after think.
func (d *demo) get(c *Conn, target, more string, think time.Duration, head, body []byte) {
	d.exchange(c, request("GET", target, more), think, head, body)
}

// names looks the shop up, and its Ethernet address.
func (d *demo) names() error {
	client, resolver := netip.MustParseAddrPort("10.0.0.7:49311"), netip.MustParseAddrPort("10.0.0.1:53")
	const question = "\x04shop\x07example\x00\x00\x01\x00\x01" // A, IN
	const answer = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02"
	d.Datagram(2*ms, client, resolver, []byte("\x1d\x0f\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"+question))
	d.Datagram(9*ms, resolver, client, []byte("\x1d\x0f\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"+question+answer))
	d.Frame(10*ms, appendARP(nil, client.Addr(), d.server.Addr()))
	return nil
}

// visit is a browser's keep-alive connection: the page comes in chunks, compressed.
func (d *demo) visit() error {
	page, err := compressed("<!doctype html><title>Shop</title><h1>Spring sale</h1>" +
		string(bytes.Repeat([]byte("<li>Bicycle bell, brass, 12.90</li>\n"), 40)))
	if err != nil {
		return err
	}
	var chunks []byte
	for part := range slices.Chunk(page, 64) {
		chunks = fmt.Appendf(chunks, "%x\r\n%s\r\n", len(part), part)
	}
	chunks = append(chunks, "0\r\n\r\n"...)

	c := d.from(11*ms, "10.0.0.7:51020", d.near)
	d.truth.Exchanges++
	c.Exchange(request("GET", "/", browser), 42*ms, []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"+
		"Content-Type: text/html\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"), chunks)
	d.answered(c, Client, len(page))
	c.Wait(Client, 31*ms)
	css, body := reply("200 OK", "text/css", "body{font:16px/1.5 sans-serif}h1{color:#246}", "ETag: \"5f1\"\r\n")
	d.get(c, "/static/shop.css", browser, 1*ms, css, body)
	d.get(c, "/static/logo.svg", browser+"If-None-Match: \"3c9\"\r\n", 1*ms,
		[]byte("HTTP/1.1 304 Not Modified\r\nServer: nginx/1.22.1\r\nETag: \"3c9\"\r\n\r\n"), nil)
	missing, body := reply("404 Not Found", "text/html", "<h1>404 Not Found</h1>\n", "")
	d.get(c, "/favicon.ico", browser, 1*ms, missing, body)
	for page := 1; page <= 4; page++ {
		c.Wait(Client, 900*ms)
		head, body := reply("200 OK", "application/json", fmt.Sprintf(`{"page":%d,"products":[{"id":17,"name":"Bicycle bell","price":12.9}]}`, page), "")
		d.get(c, fmt.Sprint("/api/products?page=", page), browser, time.Duration(8+3*page)*ms, head, body)
	}
	d.exchange(c, request("HEAD", "/api/products", browser), 6*ms,
		[]byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: application/json\r\nContent-Length: 48213\r\n\r\n"), nil)
	c.Wait(Client, 2*time.Second)
	quit(c)
	return nil
}

func compressed(s string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// keyExpired is a client whose token is no longer good.
func (d *demo) keyExpired() error {
	c := d.from(118*ms, "10.0.0.7:51022", d.near)
	head, body := reply("401 Unauthorized", "application/json", `{"error": "key expired"}`, "WWW-Authenticate: Bearer\r\n")
	for range 2 {
		d.get(c, "/api/transactions?investor_id=7", "User-Agent: ledger/2.1\r\nAuthorization: Bearer 3b1c-7f20-a9e4\r\n", 17*ms, head, body)
		c.Wait(Client, 700*ms)
	}
	quit(c)
	return nil
}

// upload is a big upload that the server refuses while it goes on, and then resets.
func (d *demo) upload() error {
	const declared, taken = 12_478_054, 33 << 10
	c := d.from(140*ms, "10.0.0.9:40112", d.near)
	head := request("POST", "/upload", fmt.Sprintf("User-Agent: curl/8.5.0\r\nContent-Type: application/zip\r\nContent-Length: %d\r\n", declared))
	content := d.text(taken)
	answer, body := reply("413 Content Too Large", "text/html", "<h1>413 Content Too Large</h1>\n", "Connection: close\r\n")
	d.truth.Exchanges++
	c.Send(Client, head, content)
	c.Recv(Server, len(head)+taken)
	c.Wait(Server, 186*ms)
	c.Send(Server, answer, body)
	d.answered(c, Server, len(body))
	c.Wait(Server, 5*ms)
	c.Reset(Server)
	return nil
}

// slowReport is an answer that the server took long to make.
func (d *demo) slowReport() error {
	c := d.from(1200*ms, "10.0.0.21:52600", d.near)
	head, body := reply("200 OK", "text/csv", "month,orders\n2025-01,512\n2025-02,498\n", "")
	d.get(c, "/api/report?year=2025", browser, 1800*ms, head, body)
	quit(c)
	return nil
}

// badGateway is a proxy whose upstream is away, then back.
func (d *demo) badGateway() error {
	c := d.from(2400*ms, "10.0.0.21:52604", d.near)
	head, body := reply("502 Bad Gateway", "text/html", "<h1>502 Bad Gateway</h1>\n", "")
	d.get(c, "/api/stock/17", browser, 3*ms, head, body)
	c.Wait(Client, time.Second)
	head, body = reply("200 OK", "application/json", `{"id":17,"stock":4}`, "")
	d.get(c, "/api/stock/17", browser, 12*ms, head, body)
	quit(c)
	return nil
}

// order fails once, and is tried again.
func (d *demo) order() error {
	const order = `{"product":17,"count":2,"card":"4111111111111111"}`
	send := request("POST", "/api/orders", fmt.Sprintf("%sContent-Type: application/json\r\nContent-Length: %d\r\n", browser, len(order)))
	send = append(send, order...)
	c := d.from(3100*ms, "10.0.0.9:40120", d.near)
	head, body := reply("500 Internal Server Error", "application/json", `{"error":"deadlock, try again"}`, "")
	d.exchange(c, send, 240*ms, head, body)
	c.Wait(Client, 500*ms)
	head, body = reply("201 Created", "application/json", `{"order":90412}`, "Location: /api/orders/90412\r\n")
	d.exchange(c, send, 35*ms, head, body)
	quit(c)
	return nil
}

// avatar asks before it sends: Expect: 100-continue.
func (d *demo) avatar() error {
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"
	content := d.text(3000)
	ask := request("PUT", "/api/avatars/7", fmt.Sprintf("User-Agent: curl/8.5.0\r\nContent-Type: image/png\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", len(content)))
	c := d.from(4300*ms, "10.0.0.9:40122", d.near)
	d.truth.Exchanges++
	c.Send(Client, ask)
	c.Recv(Client, len(interim))
	c.Send(Client, content)
	c.Recv(Server, len(ask))
	c.Wait(Server, 4*ms)
	c.Send(Server, []byte(interim))
	c.Recv(Server, len(content))
	c.Wait(Server, 21*ms)
	head, _ := reply("204 No Content", "image/png", "", "")
	head = bytes.Replace(head, []byte("Content-Length: 0\r\n"), nil, 1)
	c.Send(Server, head)
	c.Recv(Client, len(head))
	d.answered(c, Client, 0)
	quit(c)
	return nil
}

// pipelined sends two requests at once.
func (d *demo) pipelined() error {
	c := d.from(5200*ms, "10.0.0.14:33810", d.near)
	both := append(request("GET", "/api/cart", browser), request("GET", "/api/user", browser)...)
	cart, cartBody := reply("200 OK", "application/json", `{"items":[{"id":17,"count":2}]}`, "")
	user, userBody := reply("200 OK", "application/json", `{"name":"Ada","tier":"gold"}`, "")
	d.truth.Exchanges += 2
	c.Send(Client, both)
	c.Recv(Client, len(cart)+len(cartBody))
	d.answered(c, Client, len(cartBody))
	c.Recv(Client, len(user)+len(userBody))
	d.answered(c, Client, len(userBody))
	c.Recv(Server, len(both))
	c.Wait(Server, 5*ms)
	c.Send(Server, cart, cartBody)
	c.Wait(Server, 14*ms)
	c.Send(Server, user, userBody)
	quit(c)
	return nil
}

// hungExport never gets an answer, and nobody gives up.
func (d *demo) hungExport() error {
	c := d.from(3600*ms, "10.0.0.21:52610", d.near)
	d.truth.Exchanges++
	c.Send(Client, request("GET", "/api/export?format=csv", browser))
	return nil
}

// phone is a visitor far away whose network loses packets, once on either side of the tap.
func (d *demo) phone() error {
	picture := append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), d.text(14_000)...)
	c := d.from(6*time.Second, "203.0.113.40:61022", d.far)
	c.Lose(Server, 1, true)
	c.Lose(Server, 5, false)
	d.get(c, "/images/hero.jpg", browser, 2*ms, webHead("200 OK", "image/jpeg", len(picture), ""), picture)
	c.Wait(Client, 300*ms)
	head, body := reply("200 OK", "application/json", `{"page":1,"products":[]}`, "")
	d.get(c, "/api/products?page=1&q=bell", browser, 9*ms, head, body)
	quit(c)
	return nil
}

// ipv6 is a visitor over IPv6, who wants a part of a file.
func (d *demo) ipv6() error {
	c := d.dial(7*time.Second, netip.MustParseAddrPort("[2001:db8::7]:50110"), netip.MustParseAddrPort("[2001:db8::2]:8000"), d.near)
	head, body := reply("206 Partial Content", "application/pdf", string(d.text(1024)), "Content-Range: bytes 0-1023/80213\r\n")
	d.get(c, "/catalogue.pdf", browser+"Range: bytes=0-1023\r\n", 2*ms, head, body)
	quit(c)
	return nil
}

// login posts a form; the server closes, as the client wished.
func (d *demo) login() error {
	const form = "user=ada&password=correct+horse"
	c := d.from(8500*ms, "10.0.0.14:33822", d.near)
	send := request("POST", "/login", fmt.Sprintf("%sConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n", browser, len(form)))
	head, body := reply("302 Found", "text/html", "", "Location: /account\r\nSet-Cookie: session=77aa01bc; HttpOnly\r\nConnection: close\r\n")
	d.exchange(c, append(send, form...), 88*ms, head, body)
	c.Close(Server)
	c.RecvEnd(Client)
	c.Close(Client)
	return nil
}

// healthChecks come every second, each on a connection of its own.
func (d *demo) healthChecks() error {
	for i := range 16 {
		c := d.from(time.Duration(i)*time.Second+505*ms, fmt.Sprint("10.0.0.1:", 44100+2*i), d.near)
		head, body := reply("200 OK", "text/plain", "ok\n", "Connection: close\r\n")
		d.get(c, "/healthz", "User-Agent: HAProxy\r\nConnection: close\r\n", ms, head, body)
		c.Close(Server)
		c.RecvEnd(Client)
		c.Close(Client)
	}
	return nil
}

// unreadable is a TLS connection. What it says is random: nobody has the keys.
func (d *demo) unreadable() error {
	c := d.dial(2*time.Second, netip.MustParseAddrPort("10.0.0.14:47002"), netip.MustParseAddrPort("10.0.0.2:443"), d.near)
	hello := d.clientHello("shop.example")
	const serverHello, finished, answer = 122, 1200, 900
	c.Send(Client, hello)
	c.Recv(Client, serverHello)
	c.Send(Client, d.record(23, finished))
	c.Recv(Client, answer)
	quit(c)
	c.Recv(Server, len(hello))
	first := d.record(22, serverHello)
	copy(first[5:], []byte{2, 0, 0, serverHello - 9, 3, 3}) // ServerHello, TLS 1.2's version
	c.Send(Server, first)
	c.Recv(Server, finished)
	c.Wait(Server, 11*ms)
	c.Send(Server, d.record(23, answer))
	return nil
}

// record returns a TLS record of n bytes with its header (RFC 8446 §5.1), filled at random.
func (d *demo) record(kind byte, n int) []byte {
	return append([]byte{kind, 3, 3, byte((n - 5) >> 8), byte(n - 5)}, d.random(n-5)...)
}

func (d *demo) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.rand.Uint32())
	}
	return b
}

// clientHello returns a TLS 1.3 ClientHello in its record (RFC 8446 §4.1.2).
func (d *demo) clientHello(name string) []byte {
	var extensions []byte
	for _, e := range []struct {
		kind uint16
		data []byte
	}{
		{0, lengths(append([]byte{0}, lengths([]byte(name), 2)...), 2)},        // server_name
		{10, []byte{0, 4, 0, 0x1d, 0, 0x17}},                                   // supported_groups: x25519, secp256r1
		{13, []byte{0, 6, 4, 3, 8, 4, 4, 1}},                                   // signature_algorithms
		{16, lengths([]byte("\x02h2\x08http/1.1"), 2)},                         // application_layer_protocol_negotiation
		{43, []byte{4, 3, 4, 3, 3}},                                            // supported_versions: 1.3, 1.2
		{51, lengths(append([]byte{0, 0x1d}, lengths(d.random(32), 2)...), 2)}, // key_share
	} {
		extensions = binary.BigEndian.AppendUint16(extensions, e.kind)
		extensions = append(extensions, lengths(e.data, 2)...)
	}
	body := append([]byte{3, 3}, d.random(32)...)                // legacy_version, random
	body = append(body, lengths(d.random(32), 1)...)             // legacy_session_id
	body = append(body, lengths([]byte{0x13, 1, 0x13, 2}, 2)...) // cipher_suites
	body = append(body, 1, 0)                                    // legacy_compression_methods
	body = append(body, lengths(extensions, 2)...)
	handshake := append([]byte{1}, lengths(body, 3)...)
	return append([]byte{22, 3, 1}, lengths(handshake, 2)...)
}

// lengths puts the length of b, in n bytes, before it.
func lengths(b []byte, n int) []byte {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(b)))
	return append(length[8-n:], b...)
}
