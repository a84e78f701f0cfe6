//go:build linux

package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// checkConfig has culprit read a configuration, and returns what holds with it.
func checkConfig(t *testing.T, culprit, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(culprit, "config", "check", path)
	cmd.Env = append(os.Environ(), "NODE_IP=192.0.2.1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return string(out)
}

func build(t *testing.T) string {
	t.Helper()
	culprit := filepath.Join(t.TempDir(), "culprit")
	if out, err := exec.Command("go", "build", "-o", culprit, "../cmd/culprit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return culprit
}

// comment is a setting that an example has in a comment: no space follows the sign, or that of the indentation, where prose has one.
var comment = regexp.MustCompile(`(?m)^( *)#(  \S|\S)`)

// TestAgentConfigurations: the examples are configurations that culprit takes, also with all that is in their comments.
func TestAgentConfigurations(t *testing.T) {
	culprit := build(t)
	text, err := os.ReadFile("systemd/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkConfig(t, culprit, string(text))
	dir := t.TempDir()
	key := filepath.Join(dir, "api-key")
	if err := os.WriteFile(key, []byte("a2V5OnNlY3JldA==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := comment.ReplaceAllString(string(text), "$1$2")
	all = strings.NewReplacer("/etc/culprit/api-key", key, "      ca: /etc/culprit/ca.pem\n", "").Replace(all)
	if held := checkConfig(t, culprit, all); !strings.Contains(held, "10%") || !strings.Contains(held, "checkout") || !strings.Contains(held, "tcp port 80") {
		t.Errorf("what is in comments doesn't hold: %s", held)
	}

	configuration := ""
	for _, o := range manifests(t) {
		if o.Kind == "ConfigMap" {
			configuration = o.Data["agent.yaml"]
		}
	}
	if held := checkConfig(t, culprit, strings.ReplaceAll(configuration, "/run/secrets/culprit/api-key", key)); !strings.Contains(held, "any") {
		t.Errorf("the ConfigMap: %s", held)
	}
}

// manifest is an object of Kubernetes, as far as it is looked at.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Data map[string]string
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []struct {
					Args            []string
					SecurityContext struct {
						Capabilities struct{ Add, Drop []string }
					} `yaml:"securityContext"`
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name      string
					ConfigMap struct{ Name string } `yaml:"configMap"`
				}
			}
		}
	}
}

func manifests(t *testing.T) (all []manifest) {
	t.Helper()
	text, err := os.ReadFile("kubernetes/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range bytes.Split(text, []byte("\n---\n")) {
		var o manifest
		if err := yaml.Unmarshal(part, &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// TestManifests: what the objects of the DaemonSet call each other is what they are called, and volumes are mounted.
func TestManifests(t *testing.T) {
	kinds := map[string]*manifest{}
	all := manifests(t)
	for i := range all {
		kinds[all[i].Kind] = &all[i]
	}
	set, configMap, namespace := kinds["DaemonSet"], kinds["ConfigMap"], kinds["Namespace"]
	if set == nil || configMap == nil || namespace == nil || len(all) != 3 {
		t.Fatalf("%d objects: %v", len(all), kinds)
	}
	if set.Metadata.Namespace != namespace.Metadata.Name || configMap.Metadata.Namespace != namespace.Metadata.Name {
		t.Error("the objects are in other namespaces")
	}
	pod := set.Spec.Template
	for name, value := range set.Spec.Selector.MatchLabels {
		if pod.Metadata.Labels[name] != value {
			t.Errorf("the pods have no label %s=%s", name, value)
		}
	}
	mounts := map[string]string{}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	for _, v := range pod.Spec.Volumes {
		if mounts[v.Name] == "" {
			t.Errorf("the volume %s isn't mounted", v.Name)
		}
		if v.Name == "config" && v.ConfigMap.Name != configMap.Metadata.Name {
			t.Errorf("the configuration is in %s", v.ConfigMap.Name)
		}
		delete(mounts, v.Name)
	}
	if len(mounts) != 0 {
		t.Errorf("mounts without volumes: %v", mounts)
	}
	if c := pod.Spec.Containers[0]; strings.Join(c.Args, " ") != "agent -c /etc/culprit/agent.yaml" || configMap.Data["agent.yaml"] == "" ||
		!strings.Contains(strings.Join(c.SecurityContext.Capabilities.Add, " "), "NET_RAW") {
		t.Errorf("%+v", c)
	}
}

// TestUnit has systemd read the unit.
func TestUnit(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing; it is in Debian's package systemd")
	}
	unit, err := os.ReadFile("systemd/culprit-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	// It wants the program to be there.
	path := filepath.Join(t.TempDir(), "culprit-agent.service")
	if err := os.WriteFile(path, bytes.ReplaceAll(unit, []byte("/usr/local/bin/culprit"), []byte("/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
