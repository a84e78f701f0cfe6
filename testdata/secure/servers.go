//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// site is a server with its certificate.
type site struct {
	name, address string
	// days is how long the certificate is still good when the story begins.
	days int
	// oldest and newest version of TLS; 0 is what Go has.
	oldest, newest uint16
	http1          bool
	// suites of TLS 1.2.
	suites []uint16
	// personal: clients must show a certificate.
	personal bool
}

var sites = []site{
	{name: "shop.example", address: shopAddress + ":443", days: 320},
	{name: "chat.shop.example", address: shopAddress + ":8443", days: 320, http1: true},
	{name: "api.shop.example", address: apiAddress + ":443", days: 21},
	{name: "staff.shop.example", address: apiAddress + ":8443", days: 320, personal: true, oldest: tls.VersionTLS13},
	{name: "pay.example", address: legacyAddress + ":443", days: 60},
	{name: "legacy.shop.example", address: legacyAddress + ":8443", days: 12, newest: tls.VersionTLS12, http1: true,
		suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
	{name: "old.shop.example", address: legacyAddress + ":9443", days: -3, newest: tls.VersionTLS12, http1: true},
}

func (s *story) now() time.Time { return begin.Add(time.Since(s.began)) }

// authority makes what signs all certificates.
func (s *story) authority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Shop Example Root", Organization: []string{"Shop Example"}},
		NotBefore: begin.AddDate(-2, 0, 0), NotAfter: begin.AddDate(8, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if s.root, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	s.rootKey = key
	s.trusted = x509.NewCertPool()
	s.trusted.AddCert(s.root)
	return nil
}

func (s *story) certificate(t site, serial int64) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: t.name}, DNSNames: []string{t.name},
		NotBefore: begin.AddDate(0, -3, 0), NotAfter: begin.AddDate(0, 0, t.days).Add(12 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, s.root, key.Public(), s.rootKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// serve starts all servers.
func (s *story) serve() error {
	if err := s.authority(); err != nil {
		return err
	}
	for i, t := range sites {
		c, err := s.certificate(t, int64(100+i))
		if err != nil {
			return err
		}
		config := &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: t.oldest, MaxVersion: t.newest, CipherSuites: t.suites, NextProtos: []string{"h2", "http/1.1"}, Time: s.now}
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(!t.http1)
		if t.http1 {
			config.NextProtos = []string{"http/1.1"}
		}
		if t.personal {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, s.trusted
		}
		l, err := s.network.servers.Listen("tcp4", t.address)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: http.HandlerFunc(s.answer), ErrorLog: log.New(io.Discard, "", 0), TLSConfig: config, Protocols: &protocols}
		s.servers = append(s.servers, server)
		go func() {
			if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				panic(err)
			}
		}()
	}
	return nil
}

func (s *story) close() {
	for _, c := range s.transports {
		c.CloseIdleConnections()
	}
	for _, server := range s.servers {
		server.Shutdown(context.Background())
	}
}

// answer is what all servers answer, and counts it.
func (s *story) answer(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	s.count(func(c *counted) { c.Requests[host]++ })
	h := w.Header()
	h.Set("Date", s.now().UTC().Format(http.TimeFormat))
	body := func(status int, kind, text string) {
		h.Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
	switch {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		s.call(w, r)
	case r.URL.Path == "/":
		body(200, "text/html", "<!doctype html><title>Shop</title><link rel=stylesheet href=/shop.css><script src=/shop.js></script>"+strings.Repeat("<p>A product", 20))
	case r.URL.Path == "/shop.css":
		body(200, "text/css", strings.Repeat("p { margin: 0 }\n", 40))
	case r.URL.Path == "/shop.js":
		body(200, "text/javascript", strings.Repeat("console.log('shop');\n", 40))
	case strings.HasPrefix(r.URL.Path, "/api/products/"):
		time.Sleep(15 * time.Millisecond)
		body(200, "application/json", `{"id": 17, "name": "Lamp", "price": 49.9}`)
	case r.URL.Path == "/api/report":
		select {
		case <-time.After(400 * time.Millisecond):
			body(200, "application/json", `{"rows": 12}`)
		case <-r.Context().Done():
		}
	case r.URL.Path == "/news":
		h.Set("Content-Type", "text/event-stream")
		for i := range 4 {
			fmt.Fprintf(w, "event: price\nid: %d\ndata: {\"product\": %d, \"price\": %d}\n\n", i, 10+i, 20+i)
			http.NewResponseController(w).Flush()
			time.Sleep(30 * time.Millisecond)
		}
	case r.URL.Path == "/graphql":
		var q struct{ OperationName string }
		json.NewDecoder(r.Body).Decode(&q)
		if q.OperationName == "PlaceOrder" {
			time.Sleep(80 * time.Millisecond)
		}
		s.count(func(c *counted) { c.Operations[q.OperationName]++ })
		body(200, "application/json", `{"data": {"ok": true}}`)
	case r.URL.Path == "/rpc":
		var q struct{ Method string }
		json.NewDecoder(r.Body).Decode(&q)
		s.count(func(c *counted) { c.Operations[q.Method]++ })
		body(200, "application/json", `{"jsonrpc": "2.0", "id": 1, "result": 12}`)
	case r.URL.Path == "/chat", r.URL.Path == "/feed":
		s.chat(w, r)
	case r.URL.Path == "/stock.csv":
		body(200, "text/csv", "id,left\n17,3\n")
	default:
		body(404, "text/plain", "not found\n")
	}
}

// call answers calls of gRPC, whose messages are written by hand: the field 1 of each is a text.
func (s *story) call(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	status := "0"
	message := func(text string) {
		w.Write(grpcMessage(text))
		http.NewResponseController(w).Flush()
	}
	trailer := func(code, text string) {
		status = code
		h.Set(http.TrailerPrefix+"Grpc-Status", code)
		if text != "" {
			h.Set(http.TrailerPrefix+"Grpc-Message", text)
		}
	}
	switch method := r.URL.Path[1:]; method {
	case "shop.Stock/Get":
		time.Sleep(10 * time.Millisecond)
		message("3 left")
		trailer("0", "")
	case "shop.Stock/Watch":
		for i := range 5 {
			message(fmt.Sprintf("%d left", 5-i))
			time.Sleep(20 * time.Millisecond)
		}
		trailer("0", "")
	case "shop.Orders/Import":
		message(fmt.Sprintf("%d bytes taken", len(asked)))
		trailer("0", "")
	case "shop.Orders/Place":
		time.Sleep(60 * time.Millisecond)
		status = "14"
		h.Set("Grpc-Status", "14") // nothing but trailers
		h.Set("Grpc-Message", "no payment service: connection refused%0Atry later")
		w.WriteHeader(200)
	default:
		status = "12"
		h.Set("Grpc-Status", "12")
		h.Set("Grpc-Message", "unknown method")
		w.WriteHeader(200)
	}
	s.count(func(c *counted) { c.Calls[r.URL.Path[1:]+" "+status]++ })
}

func grpcMessage(text string) []byte {
	m := append([]byte{0x0a, byte(len(text))}, text...)
	return append([]byte{0, 0, 0, 0, byte(len(m))}, m...)
}

// chat answers each message; the feed tells three prices, and fails.
func (s *story) chat(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer c.CloseNow()
	if r.URL.Path == "/feed" {
		for i := range 3 {
			c.Write(r.Context(), websocket.MessageBinary, []byte{byte(i), 0xff, 0})
			s.count(func(c *counted) { c.Messages["feed, server"]++ })
			time.Sleep(20 * time.Millisecond)
		}
		c.Close(websocket.StatusInternalError, "price source is gone")
		return
	}
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil {
			return
		}
		time.Sleep(15 * time.Millisecond)
		s.count(func(c *counted) { c.Messages["chat, server"]++ })
		if c.Write(r.Context(), kind, append([]byte("you said: "), text...)) != nil {
			return
		}
	}
}
