// Command make writes the dashboards for Kibana, OpenSearch Dashboards and Grafana, from the tables in this folder: go generate ./deploy.
//
// Most panels are visualizations by aggregations: what Kibana calls "aggregation based" is the one form that Kibana from 7.14 on and OpenSearch
// Dashboards have in common, and whose query follows from the object, so that tests can ask it. (Lens is Kibana's alone.) Where a panel
// needs sums of differences or shares, it is a Vega-Lite specification, which both know, too.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) > 2 {
		fmt.Fprintln(os.Stderr, "usage: make [FOLDER]")
		os.Exit(2)
	}
	folder := "."
	if len(os.Args) == 2 {
		folder = os.Args[1]
	}
	for path, content := range outputs() {
		if err := os.WriteFile(filepath.Join(folder, path), content, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// outputs are all files, by their path within the folder deploy.
func outputs() map[string][]byte {
	all := map[string][]byte{}
	for _, f := range forms {
		all[f.path] = f.file()
	}
	for path, d := range boards() {
		all[path] = d
	}
	return all
}
