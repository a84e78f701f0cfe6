package kafka

import (
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/endpoint"
)

func TestParseBrokers(t *testing.T) {
	for _, test := range []struct {
		text    string
		want    []string
		encrypt bool
		auth    endpoint.Auth
	}{
		{"a", []string{"a:9092"}, false, endpoint.Auth{}},
		{"a:1, b ,[::1]:3", []string{"a:1", "b:9092", "[::1]:3"}, false, endpoint.Auth{}},
		{"tcp://a,b:2", []string{"a:9092", "b:2"}, false, endpoint.Auth{}},
		{"tls://u:p%2Cw@a,b", []string{"a:9092", "b:9092"}, true, endpoint.Auth{User: "u", Password: "p,w"}},
		{"tls://a,tls://b", []string{"a:9092", "b:9092"}, true, endpoint.Auth{}},
	} {
		brokers, encrypt, auth, err := ParseBrokers(test.text)
		if err != nil || !slices.Equal(brokers, test.want) || encrypt != test.encrypt || auth != test.auth {
			t.Errorf("%s: %v, %v, %+v, %v", test.text, brokers, encrypt, auth, err)
		}
	}
	for _, bad := range []string{"", "http://a", "tcp://", "a,,b", "a/topic", "tcp://a,tls://b", "a?x=1", "tcp://u:secret@", "tcp://u:secret@a/x", "u:secret://a"} {
		brokers, _, auth, err := ParseBrokers(bad)
		if err == nil || brokers != nil || auth != (endpoint.Auth{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %+v, %v", bad, brokers, auth, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"none", func(*Options) {}, ""},
		{"no broker", func(o *Options) { o.Brokers = nil }, "brokers:"},
		{"bad broker", func(o *Options) { o.Brokers = []string{"a:1", ":9092"} }, "brokers:"},
		{"compression", func(o *Options) { o.Compression = "brotli" }, "want one of gzip, lz4, none, snappy, zstd"},
		{"small", func(o *Options) { o.MaxMessageBytes = 10 }, "max_message_bytes:"},
		{"large", func(o *Options) { o.MaxMessageBytes = 1 << 30 }, "max_message_bytes:"},
		{"largest", func(o *Options) { o.MaxMessageBytes = maxMessageBytes }, ""},
		{"sasl", func(o *Options) { o.SASL, o.Endpoint.Auth.User = "gssapi", "u" }, "want one of scram-sha-512, scram-sha-256, plain"},
		{"sasl of nobody", func(o *Options) { o.SASL = "plain" }, "user:"},
		{"password of nobody", func(o *Options) { o.Endpoint.Auth.Password = "x" }, "user:"},
		{"token", func(o *Options) { o.Endpoint.Auth.Bearer = "x" }, "api_key and bearer:"},
		{"ca without TLS", func(o *Options) { o.Endpoint.TLS.Insecure = true }, "tls://"},
		{"bad ca", func(o *Options) { o.Encrypt, o.Endpoint.TLS.CA = true, "x" }, "ca:"},
		{"client", func(o *Options) { o.ClientID = "web-1" }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Brokers: []string{"127.0.0.1:1"}}
			test.set(&o)
			_, err := New(o)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
