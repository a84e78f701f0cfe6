package otlp

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The page names every metric, and every attribute that isn't a field of the document.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/opentelemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{httpDuration, dbDuration, dnsDuration, exchangeDuration, exchangeWait, unknownService, otherMethod, "http.request.method_original", "server.address", "server.port",
		"error.type", "culprit.request.sent", "culprit.response.begun", "host.name", "container.id", "k8s.pod.uid", "culprit.rollup.status_class"}
	for i := range counters {
		names = append(names, counters[i].name)
	}
	for _, f := range spanFields {
		if f.attribute != f.field && !strings.HasPrefix(f.attribute, "http.response.") { // those go without saying
			names = append(names, f.attribute)
		}
	}
	for _, code := range callCodes {
		if code.fate != refuse {
			names = append(names, code.name)
		}
	}
	for _, status := range append(retried[:], misled[:]...) {
		names = append(names, fmt.Sprint(status))
	}
	for _, name := range names {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/opentelemetry.md doesn't tell of %s", name)
		}
	}
	if version := SchemaURL[strings.LastIndex(SchemaURL, "/")+1:]; !strings.Contains(string(page), "version "+strings.TrimSuffix(version, ".0")) {
		t.Errorf("docs/opentelemetry.md names another version of the conventions than %s", version)
	}
}

// What the pipelines of the collector's configuration name is there, and nothing else is.
func TestDeployedConfiguration(t *testing.T) {
	b, err := os.ReadFile("../../../deploy/otel/collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Extensions, Receivers, Processors, Exporters map[string]any
		Service                                      struct {
			Extensions []string
			Pipelines  map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	unused := map[string]bool{}
	for kind, all := range map[string]map[string]any{"extension": c.Extensions, "receiver": c.Receivers, "processor": c.Processors, "exporter": c.Exporters} {
		for name := range all {
			unused[kind+" "+name] = true
		}
	}
	used := map[string]bool{}
	use := func(kind string, names []string) {
		for _, name := range names {
			if used[kind+" "+name] = true; !unused[kind+" "+name] {
				t.Errorf("there is no %s %s", kind, name)
			}
		}
	}
	use("extension", c.Service.Extensions)
	for _, signal := range []string{Traces, Metrics} {
		p, ok := c.Service.Pipelines[signal]
		if !ok {
			t.Errorf("no pipeline takes %s", signal)
		}
		use("receiver", p.Receivers)
		use("processor", p.Processors)
		use("exporter", p.Exporters)
	}
	for name := range unused {
		if !used[name] {
			t.Errorf("nothing uses %s", name)
		}
	}
}
