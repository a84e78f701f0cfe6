package enrich

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
)

func TestAgents(t *testing.T) {
	for _, c := range []struct {
		header string
		want   exchange.UserAgent
	}{
		// Browsers.
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
			exchange.UserAgent{Name: "Chrome", Version: "120.0.0.0", OS: "Linux", Kind: desktop}},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
			exchange.UserAgent{Name: "Firefox", Version: "121.0", OS: "Windows", OSVersion: "10.0", Kind: desktop}},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
			exchange.UserAgent{Name: "Safari", Version: "17.2", OS: "iOS", OSVersion: "17.2", Device: "iPhone", Kind: mobile}},
		{"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
			exchange.UserAgent{Name: "Safari", Version: "16.6", OS: "iOS", OSVersion: "16.6", Device: "iPad", Kind: tablet}},
		{"Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
			exchange.UserAgent{Name: "Chrome", Version: "120.0.0.0", OS: "Android", OSVersion: "14", Device: "SM-S918B", Kind: mobile}},
		// Bots, and what probes.
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", exchange.UserAgent{Name: "Googlebot", Version: "2.1", Kind: bot}},
		{"GPTBot/1.0 (+https://openai.com/gptbot)", exchange.UserAgent{Name: "GPTBot", Version: "1.0", Kind: bot}},
		{"kube-probe/1.29", exchange.UserAgent{Name: "kube-probe", Version: "1.29", Kind: bot}},
		{"ELB-HealthChecker/2.0", exchange.UserAgent{Name: "ELB-HealthChecker", Version: "2.0", Kind: bot}},
		{"Prometheus/2.45.0", exchange.UserAgent{Name: "Prometheus", Version: "2.45.0", Kind: bot}},
		// Programs and libraries.
		{"curl/8.5.0", exchange.UserAgent{Name: "curl", Version: "8.5.0"}},
		{"Go-http-client/1.1", exchange.UserAgent{Name: "Go-http-client", Version: "1.1"}},
		{"python-requests/2.31.0", exchange.UserAgent{Name: "python-requests", Version: "2.31.0"}},
		{"okhttp/4.12.0", exchange.UserAgent{Name: "okhttp", Version: "4.12.0"}},
		{"Apache-HttpClient/4.5.13 (Java/17.0.2)", exchange.UserAgent{Name: "Apache-HttpClient", Version: "4.5.13"}},
		{"Boto3/1.26.0 Python/3.9.1 Linux/5.15 Botocore/1.29", exchange.UserAgent{Name: "Boto3", Version: "1.26.0", OS: "Linux", OSVersion: "5.15"}},
		{"my client 2.3", exchange.UserAgent{Name: "my client 2.3"}},
		{"node", exchange.UserAgent{Name: "node"}},
		{"Mozilla/5.0", exchange.UserAgent{Name: "Mozilla", Version: "5.0"}},
		// What isn't meant well.
		{"/", exchange.UserAgent{}},
		{"x\x1by\xff\x7f\u0085/1\n", exchange.UserAgent{Name: "xy", Version: "1"}},
		{"many/1 " + strings.Repeat("(;", 200) + "Android", exchange.UserAgent{Name: "many", Version: "1"}},
		{strings.Repeat("x", 500), exchange.UserAgent{Name: strings.Repeat("x", maxText)}},
	} {
		if got := *parseAgent(c.header); got != c.want {
			t.Errorf("%.60q:\n got %+v\nwant %+v", c.header, got, c.want)
		}
	}
}

func TestAgentsAreRemembered(t *testing.T) {
	a, c := newAgents(), new(counts)
	one := a.agent([]byte("curl/8.5.0"), c)
	if one == nil || a.agent([]byte("curl/8.5.0"), c) != one || c.userAgents.Load() != 1 {
		t.Errorf("parsed %d times", c.userAgents.Load())
	}
	if a.agent(nil, c) != nil {
		t.Error("an empty header is a user agent")
	}
	long := []byte("long/1 " + strings.Repeat("x", 100_000))
	if got := a.agent(long, c); got.Name != "long" || a.agent(long, c) != got {
		t.Errorf("a long one: %+v", got)
	}
	for i := range 4 * MaxUserAgents {
		a.agent(fmt.Appendf(nil, "random/%d %s", i, long[:600]), c)
	}
	if n := a.known.len(); n > MaxUserAgents {
		t.Errorf("%d are remembered", n)
	}
	for k := range a.known.young {
		if len(k) > MaxUserAgent {
			t.Fatalf("a key has %d bytes", len(k))
		}
	}
}

// What is used goes on being remembered, whatever else comes.
func TestRecent(t *testing.T) {
	r := newRecent[int, string](10)
	r.put(-1, "used")
	for i := range 1000 {
		r.put(i, "once")
		if v, ok := r.get(-1); !ok || v != "used" {
			t.Fatalf("forgotten after %d others", i)
		}
		if r.len() > 20 {
			t.Fatalf("%d entries", r.len())
		}
	}
	if _, ok := r.get(0); ok {
		t.Error("an old one is remembered")
	}
	if r.reset(); r.len() != 0 {
		t.Error("not empty")
	}
}

// Whatever the header is: its texts are short, printable, and no larger than that.
func FuzzAgent(f *testing.F) {
	for _, s := range []string{"curl/8.5.0", "Mozilla/5.0 (Linux; Android 13; Pixel 7 Build/TQ3A) Version/4.0 [FBAN/x;FBAV/1]", "a/b/c (http://x) [;;] CrOS x86_64 1 2", "Android", "(;Android"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if len(header) > MaxUserAgent {
			header = header[:MaxUserAgent]
		}
		u := parseAgent(header)
		for _, s := range []string{u.Name, u.Version, u.OS, u.OSVersion, u.Device} {
			if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\n\r\x7f") {
				t.Errorf("%q: %q", header, s)
			}
		}
	})
}
