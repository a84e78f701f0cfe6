package config

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
	}{
		{"0", 0}, {"1", 1}, {"65536", 64 << 10}, {"1B", 1}, {"64KiB", 64 << 10}, {"64K", 64 << 10}, {"10MB", 10_000_000},
		{"1.5MiB", 3 << 19}, {"2 GiB", 2 << 30}, {" 1GB ", 1e9}, {"1M", 1 << 20}, {"1G", 1 << 30}, {"3KB", 3000},
	} {
		var s Size
		if err := s.Set(c.text); err != nil || s != c.want {
			t.Errorf("%q: got %d, %v; want %d", c.text, int64(s), err, int64(c.want))
		}
	}
	for _, text := range []string{"", "KiB", "-1", "ten", "1TiB", "1KiBB", "NaN", "Inf", "1e300", "9999999999GiB", "1 2"} {
		s := Size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q: got %d, %v", text, int64(s), err)
		}
	}
}

func TestSizeReadsBack(t *testing.T) {
	for _, c := range []struct {
		size Size
		want string
	}{{0, "0"}, {1023, "1023"}, {1 << 10, "1KiB"}, {512 << 20, "512MiB"}, {3 << 30, "3GiB"}, {10_000_000, "10000000"}, {1 << 40, "1024GiB"}} {
		got := c.size.String()
		var back Size
		if err := back.Set(got); got != c.want || err != nil || back != c.size {
			t.Errorf("%d: %q reads back as %d, %v", int64(c.size), got, int64(back), err)
		}
	}
	if got := Size(-1).String(); got != "" {
		t.Errorf("a size that wasn't told shows as %q", got)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(c *Trace)
		want   string // in the error; empty: none
	}{
		{func(c *Trace) {}, ""},
		{func(c *Trace) { c.Inputs = nil }, "-r FILE"},
		{func(c *Trace) { c.Memory = 1 << 20 }, "--memory 1MiB"},
		{func(c *Trace) { c.MaxBody = 64 << 20 }, "--max-body 64MiB"},
		{func(c *Trace) { c.MaxBody = 32 << 20 }, ""},
		{func(c *Trace) { c.MaxHead = 1 }, "--max-head 1"},
		{func(c *Trace) { c.MaxHead = 16 << 20 }, "--max-head 16MiB"},
		{func(c *Trace) { c.MaxFields = 0 }, "--max-fields 0"},
		{func(c *Trace) { c.MaxFields = 10001 }, "--max-fields 10001"},
		{func(c *Trace) { c.MaxWaiting = 0 }, "--max-waiting 0"},
		{func(c *Trace) { c.MaxMessage = 1023 }, "--max-message 1023"},
		{func(c *Trace) { c.MaxMessage = 17 << 20 }, "--max-message 17MiB"},
		{func(c *Trace) { c.MaxMessage = 16 << 20 }, ""},
		{func(c *Trace) { c.Inputs, c.Live.Interfaces, c.Memory = nil, []string{"lo"}, 64<<20 }, ""}, // the defaults fit the least memory
		{func(c *Trace) { c.MaxStreams = 0 }, "--max-streams 0"},
		{func(c *Trace) { c.MaxStreams = 1<<20 + 1 }, "--max-streams 1048577"},
		{func(c *Trace) { c.MaxStatement = 255 }, "--max-statement 255"},
		{func(c *Trace) { c.MaxStatement = 1<<20 + 1 }, "--max-statement 1048577"},
		{func(c *Trace) { c.MaxStatement = 256 }, ""},
		{func(c *Trace) { c.MaxStatement = 1 << 20 }, ""},
		{func(c *Trace) { c.Flows = "" }, `--flows "": none, failed, unknown, all`},
		{func(c *Trace) { c.Flows = "some" }, `--flows "some"`},
		{func(c *Trace) { c.Flows = "none" }, ""},
		{func(c *Trace) { c.Flows = "all" }, ""},
		{func(c *Trace) { c.FlowPeriod = -time.Second }, "--flow-period -1s"},
		{func(c *Trace) { c.FlowPeriod = 0 }, ""},
		{func(c *Trace) { c.HopWait = -1 }, "--hop-wait -1ns: up to 5m"},
		{func(c *Trace) { c.HopWait = time.Hour }, "--hop-wait 1h0m0s: up to 5m"},
		{func(c *Trace) { c.HopWait = time.Minute }, ""},
		{func(c *Trace) { c.Keylogs = []string{"a", "none"} }, "--keylog none excludes others"},
		{func(c *Trace) { c.Keylogs = []string{""} }, "--keylog needs"},
		{func(c *Trace) { c.Keylogs = []string{"none"} }, ""},
		{func(c *Trace) { c.PendingAfter = -time.Second }, "--pending-after -1s"},
		{func(c *Trace) { c.PendingAfter = 0 }, ""},
		{func(c *Trace) { c.ExchangeTimeout = 0 }, "--exchange-timeout 0s"},
		{func(c *Trace) { c.Workers = -1 }, "--workers -1"},
		{func(c *Trace) { c.Workers = 64 }, ""},
		{func(c *Trace) { c.NoHeaders, c.Headers = true, []string{"host"} }, "--headers"},
		{func(c *Trace) { c.Color = "" }, `--color ""`},
		{func(c *Trace) { c.DecodeAs = []string{"x"} }, `--decode-as "x"`},
	} {
		trace := DefaultTrace()
		trace.Inputs = []string{"a.pcap"}
		c.change(&trace)
		err := trace.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v, want no error", err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("got %v, want an error with %s", err, c.want)
		}
	}
}

func TestHints(t *testing.T) {
	trace := Capture{DecodeAs: []string{"8000=http", "1080=socks", "8000=tls"}}
	got, err := trace.Hints()
	if want := map[uint16]string{8000: "tls", 1080: "socks"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "=", "8000", "8000=", "=http", "0=http", "65536=http", "http=8000", "-1=http"} {
		trace.DecodeAs = []string{bad}
		if _, err := trace.Hints(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	for _, c := range []struct {
		given       []string
		environment string
		want        string
	}{
		{nil, "", ""}, {nil, "env", "env"}, {[]string{"a", "b"}, "env", "a b"}, {[]string{"none"}, "env", ""}, {[]string{"./none"}, "", "./none"},
	} {
		capture := Capture{Keylogs: c.given}
		if got, err := capture.KeyFiles(c.environment); err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q and %q: %q, %v; want %q", c.given, c.environment, got, err, c.want)
		}
	}
}

func TestWorkerCount(t *testing.T) {
	trace := Capture{Workers: 3}
	if n := trace.WorkerCount(); n != 3 {
		t.Error(n)
	}
	trace.Workers = 0
	if n := trace.WorkerCount(); n < 1 || n > 64 {
		t.Error(n)
	}
}

// TestFlowChoices: of which flows there are records when nobody says.
func TestFlowChoices(t *testing.T) {
	trace, agent, serve := DefaultTrace(), DefaultAgent(), DefaultServe()
	if trace.Flows != "failed" || agent.Flows != "unknown" || serve.Flows != "unknown" {
		t.Errorf("trace %s, agent %s, serve %s", trace.Flows, agent.Flows, serve.Flows)
	}
	if trace.FlowPeriod != time.Minute || trace.MaxStatement != 16<<10 {
		t.Errorf("a period of %v, %v of a statement", trace.FlowPeriod, trace.MaxStatement)
	}
}
