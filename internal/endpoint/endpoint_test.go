package endpoint

import (
	"strings"
	"testing"
)

func TestParseURLs(t *testing.T) {
	urls, auth, err := ParseURLs("https://u:p%20w@a/x/, http://b:1", []string{"https", "http"}, 9200)
	if err != nil || len(urls) != 2 || urls[0].String() != "https://a:9200/x" || urls[1].String() != "http://b:1" || auth != (Auth{User: "u", Password: "p w"}) {
		t.Errorf("%v, %+v, %v", urls, auth, err)
	}
	for _, bad := range []string{"", "es:9200", "https://", "ftp://a", "https://a?x=1", "https://a,,", "https://u:secret@", "https://u:secret/x@a",
		"https://u:12/secret@a", "https://u:12?secret@a", "https://u:12#secret@a", "https://u:%zzsecret@a", "https://u:secret,x@a", "https://u:1,secret@a", "https://secret a"} {
		_, _, err := ParseURLs(bad, []string{"https", "http"}, 9200)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestWhichURL: of several, the error says which.
func TestWhichURL(t *testing.T) {
	_, _, err := ParseURLs("https://a,ftp://b", []string{"https"}, 0)
	if err == nil || !strings.HasPrefix(err.Error(), "URL 2 of 2: ") {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	for _, c := range []struct {
		tls  TLS
		want string
	}{{TLS{CA: "x"}, "ca:"}, {TLS{Cert: "x"}, "needs both"}, {TLS{Cert: "x", Key: "y"}, "cert and key:"}} {
		if _, err := c.tls.Config(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.tls, err)
		}
	}
	if c, err := (&TLS{}).Config(); err != nil || c.InsecureSkipVerify || c.RootCAs != nil {
		t.Errorf("%+v, %v", c, err)
	}
}
