package capture

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCorpus reads every capture of the shared corpus to its end. With -v it prints what it counted, to
// be compared with that of others (capinfos -T -m -c).
func TestCorpus(t *testing.T) {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus/files")
	}
	root := filepath.Join(shared, "corpus", "files")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".keys") {
			return err
		}
		files++
		s, err := Open([]Input{{Path: path}}, Options{})
		if err != nil {
			t.Errorf("Open: %v", err)
			return nil
		}
		defer s.Close()
		n, bytes := 0, 0
		var r Record
		for err = s.Next(&r); err == nil; err = s.Next(&r) {
			n++
			bytes += len(r.Data)
			if r.WireLen < len(r.Data) || r.Time < 0 {
				t.Errorf("%s: record %d: time %d, %d bytes of %d", path, n, r.Time, len(r.Data), r.WireLen)
			}
		}
		if err != io.EOF {
			t.Errorf("Next: %v", err)
		}
		t.Logf("COUNT\t%s\t%d\t%d\t%d taps\t%s", path, n, bytes, len(s.Taps()), strings.Join(s.Warnings(), "; "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("no captures in %s", root)
	}
}
