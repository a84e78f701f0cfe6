package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// certificate makes a server's, signed by itself, and its PEM.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestTLS(t *testing.T) {
	server, ca := certificate(t, "127.0.0.1")
	_, otherCA := certificate(t, "kafka.example")
	c := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server}}))
	for _, test := range []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"ca", func(o *Options) { o.Encrypt, o.Endpoint.TLS.CA = true, ca }, ""},
		{"insecure", func(o *Options) { o.Encrypt, o.Endpoint.TLS.Insecure = true, true }, ""},
		{"other ca", func(o *Options) { o.Encrypt, o.Endpoint.TLS.CA = true, otherCA }, "certificate signed by unknown authority"},
		{"other name", func(o *Options) { o.Encrypt, o.Endpoint.TLS.CA, o.Endpoint.TLS.ServerName = true, ca, "elsewhere" }, "elsewhere"},
		{"none", nil, "is TLS missing?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSender(t, c, test.set)
			_, err := s.Send(context.Background(), numberedBatch(0, 1))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestServerName(t *testing.T) {
	server, ca := certificate(t, "kafka.example")
	c := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server}}))
	s := newSender(t, c, func(o *Options) {
		o.Encrypt, o.Endpoint.TLS.CA, o.Endpoint.TLS.ServerName = true, ca, "kafka.example"
	})
	deliver(t, s, numberedBatch(0, 10))
}

// offerOnly makes a cluster refuse all mechanisms but one: kfake knows all of them.
func offerOnly(c *kfake.Cluster, mechanism string) {
	c.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.SASLHandshakeRequest).Mechanism == mechanism {
			return nil, nil, false
		}
		no := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		no.ErrorCode, no.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{mechanism}
		return no, nil, true
	})
}

func TestSASL(t *testing.T) {
	server, ca := certificate(t, "127.0.0.1")
	encrypted := kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server}})
	for _, test := range []struct {
		name, there string
		encrypt     bool
		set         func(*Options)
		want        string
	}{
		{"any", "SCRAM-SHA-512", false, nil, ""},
		{"any", "SCRAM-SHA-256", false, nil, ""},
		{"any", "PLAIN", true, nil, ""},
		{"told", "PLAIN", false, func(o *Options) { o.SASL = "plain" }, ""},
		{"told", "SCRAM-SHA-256", false, func(o *Options) { o.SASL = "scram-sha-256" }, ""},
		{"told", "SCRAM-SHA-512", false, func(o *Options) { o.SASL = "scram-sha-512" }, ""},
		{"in the clear", "PLAIN", false, nil, "set sasl to"},
		{"wrong one", "SCRAM-SHA-512", false, func(o *Options) { o.SASL = "plain" }, "set sasl to"},
		{"password", "SCRAM-SHA-512", false, func(o *Options) { o.Endpoint.Auth.Password = "wrong" }, "check user and password"},
		{"password", "PLAIN", true, func(o *Options) { o.Endpoint.Auth.Password = "wrong" }, "check user and password"},
		// kfake closes the connection then, as proxies do.
		{"hung up", "PLAIN", true, func(o *Options) { o.Endpoint.Auth.Password = "wrong" }, "check user, password and sasl"},
		{"nobody", "SCRAM-SHA-512", false, func(o *Options) { o.Endpoint.Auth.User, o.Endpoint.Auth.Password = "", "" }, "is SASL missing?"},
	} {
		t.Run(test.name+" "+test.there, func(t *testing.T) {
			options := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(test.there, "agent", "secret")}
			if test.encrypt {
				options = append(options, encrypted)
			}
			c := newCluster(t, options...)
			offerOnly(c, test.there)
			if test.name == "password" {
				c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
			}
			s := newSender(t, c, func(o *Options) {
				o.Endpoint.Auth.User, o.Endpoint.Auth.Password = "agent", "secret"
				if test.encrypt {
					o.Encrypt, o.Endpoint.TLS.CA = true, ca
				}
				if test.set != nil {
					test.set(o)
				}
			})
			_, err := s.Send(context.Background(), numberedBatch(0, 3))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// A user without the right to write hears which one is missing.
func TestACL(t *testing.T) {
	describe := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: DefaultTopic, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}
	write := describe
	write.Operation = kmsg.ACLOperationWrite
	c := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"),
		kfake.User("PLAIN", "nobody", "secret"), kfake.User("PLAIN", "reader", "secret", describe), kfake.User("PLAIN", "agent", "secret", describe, write))
	for user, want := range map[string]string{"nobody": "user nobody needs", "reader": "user reader needs the operation Write on topics " + DefaultTopic, "agent": ""} {
		s := newSender(t, c, func(o *Options) {
			o.SASL, o.Endpoint.Auth.User, o.Endpoint.Auth.Password = "plain", user, "secret"
		})
		_, err := s.Send(context.Background(), numberedBatch(0, 3))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", user, err, want)
		}
	}
	once(t, counts(t, consume(t, c.ListenAddrs(), DefaultTopic, kgo.SASL(plain.Auth{User: "admin", Pass: "secret"}.AsMechanism()))), 3)
}
