package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// setup runs a command of culprit setup.
func setup(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd := newSetup()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), notes.String(), err
}

// fakeCluster answers as a cluster does that has nothing yet, and keeps what is put.
func fakeCluster(t *testing.T, root string) (url string, put map[string]json.RawMessage, auth *string) {
	t.Helper()
	put, auth = map[string]json.RawMessage{}, new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*auth = r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/":
			io.WriteString(w, root)
		case r.Method == http.MethodPut:
			body, err := io.ReadAll(r.Body)
			if err != nil || !json.Valid(body) {
				t.Errorf("%s: %s, %v", r.URL, body, err)
			}
			put[r.URL.RequestURI()] = body
			io.WriteString(w, `{"acknowledged":true}`)
		case strings.HasPrefix(r.URL.Path, "/_index_template/_simulate/"):
			io.WriteString(w, "{}")
		case strings.HasPrefix(r.URL.Path, "/_plugins/_ism/policies/old"):
			io.WriteString(w, `{"_id":"old","_version":3,"_seq_no":7,"_primary_term":2,"policy":{}}`)
		default:
			missing := "resource_not_found_exception"
			if root == openSearch3 {
				missing = "status_exception"
			}
			w.WriteHeader(404)
			fmt.Fprintf(w, `{"error":{"type":%q,"reason":"Policy not found"},"status":404}`, missing)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, put, auth
}

const (
	elastic9    = `{"version":{"number":"9.2.1","build_flavor":"default"},"tagline":"You Know, for Search"}`
	openSearch3 = `{"version":{"distribution":"opensearch","number":"3.1.0"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`
)

// The templates and the lifecycle are put in the form of the product, under the names that were asked for.
func TestSetupElastic(t *testing.T) {
	for _, test := range []struct {
		root, args, want string
		paths            []string // each with a text that must be in what is put there
	}{
		{elastic9, "", "Elasticsearch 9.2.1\nlifecycle policy culprit: an index is deleted 30 days", []string{
			`/_ilm/policy/culprit "min_age":"30d"`, `/_index_template/culprit-exchanges "lifecycle.name":"culprit"`, `/_index_template/culprit-exchanges "flattened"`,
			`/_index_template/culprit-exchanges "wildcard"`, `/_index_template/culprit-rollups "histogram"`}},
		{openSearch3, "--keep-days 7", "OpenSearch 3.1.0\n", []string{
			`/_plugins/_ism/policies/culprit "min_index_age":"7d"`, `/_plugins/_ism/policies/culprit "culprit-rollups-*"`, `/_index_template/culprit-exchanges "flat_object"`}},
		{openSearch3, "--index old", "index template old-rollups", []string{`/_plugins/_ism/policies/old?if_primary_term=2&if_seq_no=7 "old-exchanges-*"`}},
		{elastic9, "--keep-days 0 --index web", "no lifecycle", []string{`/_index_template/web-exchanges "web-exchanges-*"`, `/_index_template/web-rollups "web-rollups-*"`}},
	} {
		url, put, _ := fakeCluster(t, test.root)
		stdout, stderr, err := setup(t, append([]string{"elastic", url}, strings.Fields(test.args)...)...)
		if err != nil || stderr != "" || !strings.Contains(stdout, test.want) {
			t.Errorf("%s: %v\n%s%s", test.args, err, stdout, stderr)
		}
		for _, p := range test.paths {
			path, want, _ := strings.Cut(p, " ")
			if !bytes.Contains(put[path], []byte(want)) {
				t.Errorf("%s: %s: %.2000s, want %s", test.args, path, put[path], want)
			}
		}
		if lifecycle := strings.Contains(fmt.Sprint(put), "lifecycle.name"); lifecycle && (test.root == openSearch3 || strings.Contains(test.args, "--keep-days 0")) {
			t.Errorf("%s: a template names a lifecycle policy", test.args)
		}
	}
}

// A dry run shows what it would put, and puts nothing.
func TestSetupDryRun(t *testing.T) {
	url, put, _ := fakeCluster(t, elastic9)
	stdout, _, err := setup(t, "elastic", url, "--dry-run")
	if err != nil || len(put) > 0 || !strings.Contains(stdout, "PUT /_ilm/policy/culprit\n{\n") || !strings.Contains(stdout, "PUT /_index_template/culprit-rollups\n{\n") {
		t.Errorf("put %d, %v\n%.300s", len(put), err, stdout)
	}
}

// Credentials come from the URL, from its settings, or from flags, and never into messages.
func TestSetupCredentials(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	basic := "Basic dTpzM2NyZXQ=" // u:s3cret
	for _, test := range []struct{ url, args, want string }{
		{"http://u:s3cret@HOST", "", basic},
		{"http://HOST?user=u&password=s3cret", "", basic},
		{"http://HOST?user=u&password_file=" + secret, "", basic},
		{"http://HOST", "--user u --password-file " + secret, basic},
		{"http://HOST", "--api-key-file " + secret, "ApiKey s3cret"},
	} {
		url, _, auth := fakeCluster(t, elastic9)
		stdout, stderr, err := setup(t, append([]string{"elastic", strings.Replace(test.url, "HOST", strings.TrimPrefix(url, "http://"), 1)}, strings.Fields(test.args)...)...)
		if err != nil || *auth != test.want || strings.Contains(stdout+stderr, "s3cret") {
			t.Errorf("%s %s: %q, %v\n%s%s", test.url, test.args, *auth, err, stdout, stderr)
		}
	}
}

func TestSetupUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"elastic", "want one URL"},
		{"elastic ftp://h", "want a URL such as"},
		{"elastic http://u:s3cret@h:1?nosuch=1", "there is no setting nosuch"},
		{"elastic http://h:1 --index Upper", "lower-case"},
		{"elastic http://h:1 --keep-days 99999", "want a number from 0 to 3650"},
		{"elastic http://h:1 --user u --api-key-file /nosuch", "no such file"},
		{"kibana http://h:1 --keep-days 3", "unknown flag"},
		{"grafana", "there are setup elastic and setup kibana"},
	} {
		_, _, err := setup(t, strings.Fields(test.args)...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "elastic=") {
			t.Errorf("%s: %v", test.args, err)
		}
	}
	if _, _, err := setup(t, "elastic", "http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1: ") {
		t.Errorf("nobody listens: %v", err)
	}
}

// The dashboards of the product and its version are loaded, and what is wrong with one of them is told.
func TestSetupKibana(t *testing.T) {
	for _, test := range []struct {
		version, answer, want, problem string
	}{
		{"8.19.0", `{"success":true,"successCount":3}`, "Kibana 8.19.0: loaded 3 objects", ""},
		{"2.19.1", `{"success":true,"successCount":1}`, "OpenSearch Dashboards 2.19.1: loaded 1 object\n", ""},
		{"9.0.0", `{"success":false,"successCount":2,"errors":[{"id":"m1","type":"map","error":{"type":"unsupported_type"}},
			{"id":"d1","type":"dashboard","error":{"type":"missing_references","references":[{"type":"index-pattern","id":"p1"}]}}]}`,
			"Kibana 9.0.0: loaded 2 objects", "map m1: unsupported type\nculprit: dashboard d1: missing references, index-pattern p1\n"},
		{"8.19.0", `{"success":false}`, "loaded 0 objects", "it has failed"},
	} {
		var got string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/s/ops/api/status" {
				fmt.Fprintf(w, `{"name":"k","version":{"number":%q}}`, test.version)
				return
			}
			if r.URL.RequestURI() != "/s/ops/api/saved_objects/_import?overwrite=true" || r.Header.Get("Kbn-Xsrf") == "" || r.Header.Get("Osd-Xsrf") == "" {
				w.WriteHeader(400)
				io.WriteString(w, `{"statusCode":400,"error":"Bad Request","message":"Request must contain a kbn-xsrf header."}`)
				return
			}
			f, header, err := r.FormFile("file")
			if err != nil || !strings.HasSuffix(header.Filename, ".ndjson") {
				t.Errorf("%v", err)
				return
			}
			b, err := io.ReadAll(f)
			if err != nil {
				t.Error(err)
			}
			got = string(b)
			io.WriteString(w, test.answer)
		}))
		stdout, stderr, err := setup(t, "kibana", s.URL+"/s/ops", "--index", "web")
		s.Close()
		if (err != nil) != (test.problem != "") || !strings.Contains(stdout, test.want) || !strings.Contains(stderr, test.problem) {
			t.Errorf("%s: %v\n%s%s", test.version, err, stdout, stderr)
		}
		if !strings.Contains(got, "web-exchanges-*") || strings.Contains(got, "culprit-exchanges-*") {
			t.Errorf("%s: objects: %.200s", test.version, got)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(401)
		io.WriteString(w, `{"statusCode":401,"error":"Unauthorized","message":"unable to authenticate"}`)
	}))
	defer s.Close()
	_, _, err := setup(t, "kibana", s.URL)
	status := (*statusError)(nil)
	if !errors.As(err, &status) || status.status != exitFailed || !strings.Contains(err.Error(), "unable to authenticate: check user and password") {
		t.Errorf("%v", err)
	}
}
