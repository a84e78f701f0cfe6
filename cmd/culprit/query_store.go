package main

import (
	"runtime"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
)

// openEmbedded opens the embedded store in a folder for reading. It implements storeOpener. Questions yield to a capture that
// may be under way on this machine.
func openEmbedded(dir string) (store.Reader, error) {
	r, err := embedded.OpenReader(dir, embedded.Options{Workers: runtime.NumCPU(), Yield: yield})
	if err != nil {
		return nil, err
	}
	return r, nil
}
