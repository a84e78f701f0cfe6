// Package ui holds the user interface of culprit serve as make builds it from web/: each file in its gzip form alone, named
// NAME.gz. Without a build there is none, so that the program compiles without Node.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files are index.html.gz and assets/NAME.gz; none of them is there when the interface wasn't built.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // the path is a constant
		panic(err)
	}
	return files
}
