package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What is in a cluster already stays unless it is older or was to be replaced; a lifecycle that somebody has chosen is kept,
// and one that is asked for gets into templates that have none.
func TestSetupKeepsWhatIsThere(t *testing.T) {
	const no = "-" // nothing is put
	for _, test := range []struct {
		opensearch bool
		version    int    // of the template that is there; 0 and no policy: none
		policy     string // that it names
		there      bool   // the policy of our name is there
		keep       int
		replace    bool

		put       string // what the template that is put names, or no
		lifecycle bool   // a policy is put
	}{
		{put: ""},
		{keep: 7, put: "culprit", lifecycle: true},
		{keep: 7, there: true, put: "culprit"},
		{keep: 7, there: true, replace: true, put: "culprit", lifecycle: true},
		{version: TemplateVersion, put: no},
		{version: TemplateVersion, policy: "theirs", put: no},
		{version: TemplateVersion, policy: "theirs", keep: 7, put: no, lifecycle: true},
		{version: TemplateVersion, keep: 7, put: "culprit", lifecycle: true},
		{version: TemplateVersion, policy: "culprit", there: true, keep: 7, put: no},
		{version: TemplateVersion, policy: "theirs", keep: 7, replace: true, put: "culprit", lifecycle: true},
		{version: TemplateVersion, policy: "culprit", replace: true, put: ""},
		{version: TemplateVersion - 1, policy: "theirs", put: "theirs"},
		{version: TemplateVersion + 1, keep: 7, replace: true, there: true, put: no, lifecycle: true},
		{opensearch: true, keep: 7, put: "", lifecycle: true},
		{opensearch: true, keep: 7, there: true, version: TemplateVersion, put: no},
		{opensearch: true, keep: 7, there: true, version: TemplateVersion, replace: true, put: "", lifecycle: true},
	} {
		templates, lifecycle := 0, false
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			isPolicy := strings.HasPrefix(r.URL.Path, "/_ilm/policy/") || strings.HasPrefix(r.URL.Path, "/_plugins/_ism/policies/")
			switch {
			case r.URL.Path == "/" && test.opensearch:
				io.WriteString(w, `{"version":{"number":"2.19.1","distribution":"opensearch"}}`)
			case r.URL.Path == "/":
				io.WriteString(w, `{"version":{"number":"8.19.0"}}`)
			case isPolicy && r.Method == http.MethodPut:
				if test.opensearch && test.there != (r.URL.RawQuery == "if_primary_term=2&if_seq_no=7") {
					t.Errorf("%+v: %s", test, r.URL)
				}
				lifecycle = true
				io.WriteString(w, "{}")
			case isPolicy && test.there:
				io.WriteString(w, `{"_seq_no":7,"_primary_term":2}`)
			case r.Method == http.MethodGet && !isPolicy && (test.version > 0 || test.policy != ""):
				fmt.Fprintf(w, `{"index_templates":[{"name":"x","index_template":{"version":%d,"template":{"settings":{"index":{"lifecycle":{"name":%q}}}}}}]}`, test.version, test.policy)
			case r.Method == http.MethodGet:
				w.WriteHeader(404)
				missing := map[bool]string{false: "resource_not_found_exception", true: "status_exception"}
				fmt.Fprintf(w, `{"error":{"type":%q,"reason":"none"}}`, missing[test.opensearch])
			default:
				templates++
				var body struct {
					Template struct {
						Settings struct {
							Index map[string]any
						}
					}
				}
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				name, _ := body.Template.Settings.Index["lifecycle.name"].(string)
				if name != test.put {
					t.Errorf("%+v: %s names the policy %q", test, r.URL, name)
				}
				io.WriteString(w, "{}")
			}
		})
		c := newTestClient(t, Options{NoCompression: true}, s)
		steps, err := c.Setup(context.Background(), Setup{Keep: test.keep, Replace: test.replace})
		if err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		if want := map[bool]int{true: 0, false: 2}[test.put == no]; templates != want || lifecycle != test.lifecycle {
			t.Errorf("%+v: %d templates were put, a policy: %v\n%+v", test, templates, lifecycle, steps)
		}
	}
}

// A cluster without lifecycles gets the templates all the same, and one where the user may not is an error that says how to
// go on.
func TestSetupWithoutLifecycle(t *testing.T) {
	for status, fails := range map[int]bool{400: false, 404: false, 405: false, 410: false, 403: true} {
		said := map[bool]string{false: `"no handler found for uri"`, true: `{"type":"index_not_found_exception","reason":"no such index [_ilm]"}`}[status == 404]
		put := 0
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/":
				io.WriteString(w, `{"version":{"number":"8.19.0"}}`)
			case strings.HasPrefix(r.URL.Path, "/_ilm/"):
				w.WriteHeader(status)
				fmt.Fprintf(w, `{"error":%s}`, said)
			case r.Method == http.MethodGet:
				w.WriteHeader(404)
			default:
				put++
				b, _ := io.ReadAll(r.Body)
				if strings.Contains(string(b), "lifecycle.name") {
					t.Errorf("%d: the template names a policy that isn't there", status)
				}
				io.WriteString(w, "{}")
			}
		})
		steps, err := newTestClient(t, Options{NoCompression: true}, s).Setup(context.Background(), Setup{Keep: 7})
		if (err != nil) != fails || fails && !strings.Contains(err.Error(), "keep_days: 0") || !fails && (put != 2 || !steps[0].Problem) {
			t.Errorf("%d: put %d, %v\n%+v", status, put, err, steps)
		}
	}
}
