package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReadCluster(t *testing.T) {
	t.Setenv("ES_KEY", "c2VjcmV0")
	c, err := readCluster("https://es1:9200,https://es2?api_key=${ES_KEY}&index=shop&insecure=true")
	if err != nil {
		t.Fatal(err)
	}
	if c.index != "shop" || len(c.cluster.URLs) != 2 || c.cluster.URLs[1].Host != "es2:9200" || c.cluster.Endpoint.Auth.APIKey != "c2VjcmV0" || !c.cluster.Endpoint.TLS.Insecure {
		t.Errorf("it is read as %+v", c)
	}
	if c, err = readCluster("http://user:secret@es:9200"); err != nil || strings.Contains(c.name, "secret") || c.cluster.Endpoint.Auth.Password != "secret" {
		t.Errorf("with a user, it is %+v: %v", c, err)
	}
	for text, want := range map[string]string{
		"http://": "want a URL", "http://es:9200?colour=red": "there is no setting colour", "http://es:9200?index=a&index=b": "twice", "https://es?ca=/nowhere": "/nowhere",
	} {
		if _, err := readCluster(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for name, want := range map[string]bool{"/var/lib/culprit": false, "http": false, "http://es": true, "https://es": true, "ftp://x": false, "": false} {
		if inCluster(name) != want {
			t.Errorf("%q is in a cluster: %v", name, !want)
		}
	}
}

// What says how to fill a store on this machine doesn't go with a cluster.
func TestServeClusterRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-r", "x.pcap"}, {"-i", "eth0"}, {"--retain", "7d"}, {"--keep-packets", "1GiB"}, {"--where", "status == 200"},
	} {
		cmd := newServe()
		cmd.SetArgs(append([]string{"--store", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"}, args...))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "doesn't go with --store URL") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// The error of a cluster that refuses reaches the user, with advice and without credentials.
func TestClusterRefuses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}`)
	}))
	defer server.Close()
	c, err := readCluster(strings.Replace(server.URL, "://", "://me:secret@", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.open(context.Background()); err == nil || !strings.Contains(err.Error(), "check user and password") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
