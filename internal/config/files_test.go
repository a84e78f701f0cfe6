package config

import (
	"strings"
	"testing"
)

// TestFiles: settings that ask for what others leave out are refused, and what they say tells why.
func TestFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Files) error
		want string
	}{
		{"the defaults", func(*Files) error { return nil }, ""},
		{"digests", func(f *Files) error { return f.SetHash("md5") }, ""},
		{"another digest", func(f *Files) error { return f.SetHash("crc") }, `"crc": want md5, sha256`},
		{"digests without a report", func(f *Files) error { f.Report = false; return f.SetHash("sha256") }, "report=no leaves that out"},
		{"no report", func(f *Files) error { f.Report = false; return nil }, ""},
		{"messages without bodies", func(f *Files) error { f.Bodies = false; return f.SetObject("messages") }, ""},
		{"parts without bodies", func(f *Files) error { f.Bodies = false; return f.SetObject("parts") }, "bodies=no leaves them out"},
		{"gRPC without bodies", func(f *Files) error { f.Bodies = false; return f.SetObject("grpc") }, "bodies=no leaves them out"},
		{"another object", func(f *Files) error { return f.SetObject("images") }, `"images": want parts, grpc, messages`},
	} {
		f := DefaultFiles()
		err := c.set(&f)
		if err == nil {
			err = f.Validate()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
