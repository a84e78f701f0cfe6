// Package deploy holds what is loaded into other programs: saved objects of Kibana and of OpenSearch Dashboards. They are made by
// the program in make.
package deploy

import (
	"bytes"
	"embed"
	"fmt"
	"strconv"
	"strings"
)

//go:generate go run ./make

//go:embed kibana/*.ndjson opensearch-dashboards/*.ndjson
var files embed.FS

// Product is a program that shows dashboards.
type Product uint8

// The products.
const (
	Kibana Product = iota
	OpenSearchDashboards
)

// String returns the product's name.
func (p Product) String() string {
	if p == OpenSearchDashboards {
		return "OpenSearch Dashboards"
	}
	return "Kibana"
}

// forms say which file a product of which version reads, from the newest on. Kibana takes objects of its own major version and of the
// one before it, and of no version that is newer than itself.
var forms = []struct {
	product      Product
	major, minor int
	path         string
}{
	{Kibana, 8, 8, "kibana/culprit.ndjson"},
	{Kibana, 7, 14, "kibana/culprit-7.ndjson"},
	{OpenSearchDashboards, 1, 0, "opensearch-dashboards/culprit.ndjson"},
}

// DefaultIndex is what the names of indices begin with unless they are set to begin otherwise.
const DefaultIndex = "culprit"

// SavedObjects returns the file for a product of a version, such as "8.19.0": its name, for people, and what to import, one saved object
// a line. The data views of the objects are of indices whose names begin with index.
func SavedObjects(p Product, version, index string) (name string, ndjson []byte, err error) {
	if index == "" || strings.ContainsAny(index, "\\/*?\"<>| ,#:\n") || strings.ToLower(index) != index {
		return "", nil, fmt.Errorf("no index can be named %q: small letters, digits, - and _ can", index)
	}
	major, minor, err := release(version)
	if err != nil {
		return "", nil, fmt.Errorf("%s says that it is version %q: %w", p, version, err)
	}
	var oldest string
	for _, f := range forms {
		if f.product != p {
			continue
		}
		if major > f.major || major == f.major && minor >= f.minor {
			if ndjson, err = files.ReadFile(f.path); err != nil {
				return "", nil, err
			}
			for _, kind := range []string{"-exchanges-*", "-rollups-*"} {
				ndjson = bytes.ReplaceAll(ndjson, []byte(DefaultIndex+kind), []byte(index+kind))
			}
			return f.path, ndjson, nil
		}
		oldest = fmt.Sprintf("%d.%d", f.major, f.minor)
	}
	return "", nil, fmt.Errorf("%s %s is too old for the dashboards: they need %s or newer", p, version, oldest)
}

// release returns the first two numbers of a version.
func release(version string) (major, minor int, err error) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, 0, strconv.ErrSyntax
	}
	if major, err = strconv.Atoi(parts[0]); err != nil {
		return 0, 0, err
	}
	minor, err = strconv.Atoi(parts[1])
	return major, minor, err
}
