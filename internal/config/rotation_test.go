package config

import (
	"strings"
	"testing"
	"time"
)

func TestRotation(t *testing.T) {
	for _, c := range []struct {
		text   string
		want   Rotation
		string string
		err    string
	}{
		{"10x100MB", Rotation{10, 100e6, 0}, "10x100000000", ""},
		{"10x100MiB", Rotation{10, 100 << 20, 0}, "10x100MiB", ""},
		{"24x1h", Rotation{24, 0, time.Hour}, "24x1h", ""},
		{"3x90s", Rotation{3, 0, 90 * time.Second}, "3x1m30s", ""},
		{"10x100MB,1h", Rotation{10, 100e6, time.Hour}, "10x100000000,1h", ""},
		{" 10 x 30m , 1GiB", Rotation{10, 1 << 30, 30 * time.Minute}, "10x1GiB,30m", ""},
		{"1x65536", Rotation{1, 65536, 0}, "1x64KiB", ""},
		{"1000x1M", Rotation{1000, 1 << 20, 0}, "1000x1MiB", ""},
		{"", Rotation{}, "", "want COUNTxSIZE"},
		{"10", Rotation{}, "", "want COUNTxSIZE"},
		{"x1h", Rotation{}, "", "want COUNTxSIZE"},
		{"-1x1h", Rotation{}, "", "want COUNTxSIZE"},
		{"10x", Rotation{}, "", `"" is neither a size nor a time`},
		{"10x1h,", Rotation{}, "", `"" is neither a size nor a time`},
		{"10xmuch", Rotation{}, "", `"much" is neither a size nor a time`},
		{"10x1h,2h", Rotation{}, "", "two times"},
		{"10x1MB,2MB", Rotation{}, "", "two sizes"},
		{"10x1MB,0", Rotation{}, "", "two sizes"},
		{"0x1h", Rotation{}, "", "0 files: from 1 to 1000"},
		{"1001x1h", Rotation{}, "", "1001 files"},
		{"10x0", Rotation{}, "", "0 a file: at least 64KiB"},
		{"10x10KB", Rotation{}, "", "10KB a file: at least 64KiB"},
		{"10x1ms", Rotation{}, "", "1ms a file: from 1s"},
		{"10x-1h", Rotation{}, "", "-1h0m0s a file: from 1s"},
		{"10x90000000GB", Rotation{}, "", "too much"},
	} {
		var r Rotation
		err := r.Set(c.text)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || r != (Rotation{}) {
				t.Errorf("%q gives %+v and the error %v, want %q", c.text, r, err, c.err)
			}
			continue
		}
		if err != nil || r != c.want || r.String() != c.string {
			t.Errorf("%q gives %+v, written %s, and %v", c.text, r, r.String(), err)
			continue
		}
		var again Rotation
		if err := again.Set(r.String()); err != nil || again != r {
			t.Errorf("%q read again gives %+v and %v", r.String(), again, err)
		}
	}
	if r := new(Rotation); r.Type() != "rotation" || r.String() != "" {
		t.Errorf("%q, %q", r.Type(), r)
	}
}
