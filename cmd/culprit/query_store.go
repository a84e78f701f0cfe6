package main

import (
	"runtime"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
)

// openEmbedded opens the embedded store in a folder for reading. It implements storeOpener.
func openEmbedded(dir string) (store.Reader, error) {
	r, err := embedded.OpenReader(dir, embedded.Options{Workers: runtime.NumCPU()})
	if err != nil {
		return nil, err
	}
	return r, nil
}
