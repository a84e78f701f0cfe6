package config

import (
	"strings"
	"testing"
)

func TestServeValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *Serve)
		want   string
	}{
		"nothing":              {func(*Serve) {}, ""},
		"files":                {func(s *Serve) { s.Inputs, s.ImportOnly = []string{"a"}, true }, ""},
		"user without capture": {func(s *Serve) { s.Live.User = "culprit" }, ""},
		"no limits":            {func(s *Serve) { s.RetainSize, s.KeepPackets = 0, 0 }, ""},
		"import of nothing":    {func(s *Serve) { s.ImportOnly = true }, "--import-only needs files"},
		"import that follows":  {func(s *Serve) { s.Inputs, s.ImportOnly, s.Follow = []string{"a"}, true, true }, "--import-only ends"},
		"import that measures": {func(s *Serve) { s.Inputs, s.ImportOnly, s.HostMetrics = []string{"a"}, true, true }, "--host-metrics measures"},
		"host alone":           {func(s *Serve) { s.HostMetrics = true }, ""},
		"filter of nothing":    {func(s *Serve) { s.CaptureFilter = "port 80" }, "a capture filter needs packets"},
		"few packets":          {func(s *Serve) { s.KeepPackets = 1000 }, "--keep-packets 1000: at least 1MiB"},
		"little room":          {func(s *Serve) { s.RetainSize = 1000 }, "--retain-size 1000: at least 1MiB"},
		"large bodies":         {func(s *Serve) { s.MaxBody, s.Memory = 8<<20, 4<<30 }, "--max-body 8MiB is too much for a store: at most 4MiB"},
		"large heads":          {func(s *Serve) { s.MaxHead, s.Memory = 1<<20, 4<<30 }, "--max-head 1MiB is too much for a store: at most 512KiB"},
		"both inputs":          {func(s *Serve) { s.Inputs, s.Live.Interfaces = []string{"a"}, []string{"lo"} }, "-i and -r"},
		"no address":           {func(s *Serve) { s.Listen = "9870" }, "--listen"},
		"a name":               {func(s *Serve) { s.Listen = "example.com:80" }, "--listen"},
		"a port":               {func(s *Serve) { s.Listen = "127.0.0.1:70000" }, "--listen"},
	} {
		s := DefaultServe()
		c.change(&s)
		err := s.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:0": true, "127.8.9.1:1": true, "[::1]:9870": true, "localhost:1": true,
		":9870": false, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false,
	} {
		if s := (Serve{Listen: listen}); s.Loopback() != want || checkListen(listen) != nil {
			t.Errorf("%s: %v %v", listen, s.Loopback(), checkListen(listen))
		}
	}
}
