package config

import (
	"math"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	for want, change := range map[string]func(r *Replay){
		"":                                  func(*Replay) {},
		"culprit never guesses it":          func(r *Replay) { r.To = "" },
		"want a URL such as":                func(r *Replay) { r.To = "127.0.0.1:80" },
		"want http:// or https://":          func(r *Replay) { r.To = "ftp://x" },
		"names no host":                     func(r *Replay) { r.To = "http://:80" },
		"requests bring the rest":           func(r *Replay) { r.To = "http://x/?a" },
		"70000 is no port":                  func(r *Replay) { r.To = "http://x:70000" },
		`--speed "fast"`:                    func(r *Replay) { r.Speed = "fast" },
		`--speed "-1"`:                      func(r *Replay) { r.Speed = "-1" },
		`--speed "NaN"`:                     func(r *Replay) { r.Speed = "NaN" },
		"--rate -1":                         func(r *Replay) { r.Rate = -1 },
		"--rate NaN":                        func(r *Replay) { r.Rate = math.NaN() },
		"--rate and --speed exclude":        func(r *Replay) { r.Rate, r.Speed = 1, "2" },
		"--concurrency -1":                  func(r *Replay) { r.Concurrency = -1 },
		"--timeout 0s":                      func(r *Replay) { r.Timeout = 0 },
		`--http "3"`:                        func(r *Replay) { r.HTTP = "3" },
		"--max-body 0":                      func(r *Replay) { r.MaxBody = 0 },
		"--rows -1":                         func(r *Replay) { r.Rows = -1 },
		`--color "red"`:                     func(r *Replay) { r.Color = "red" },
		"nothing to read":                   func(r *Replay) { r.Inputs = nil },
		"--last, --from and --until are":    func(r *Replay) { r.From = "1h" },
		"--last and --from or --until":      func(r *Replay) { r.Store, r.From, r.Last = "x", "1h", 1 },
		"leave out --carry":                 func(r *Replay) { r.Raw, r.To, r.Carry = true, "x:1", []string{"json:$.a"} },
		"leave out --where":                 func(r *Replay) { r.Raw, r.To, r.Where = true, "x:1", "status == 200" },
		"--raw goes to HOST:PORT":           func(r *Replay) { r.Raw, r.To = true, "ftp://x:1" },
		"names no port":                     func(r *Replay) { r.Raw, r.To = true, "tcp://x" },
		"with --raw, it has no path":        func(r *Replay) { r.Raw, r.To = true, "tcp://x:1/a" },
		`--to "x": want a URL such as http`: func(r *Replay) { r.Raw, r.To = true, "x" },
	} {
		r := DefaultReplay()
		r.Inputs, r.To = []string{"a.pcap"}, "http://127.0.0.1:8080/base"
		change(&r)
		if err := r.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestReplayTarget(t *testing.T) {
	for _, c := range []struct {
		raw      bool
		to, want string
	}{
		{false, "HTTP://x:80/a", "http://x:80/a"}, {false, "https://[::1]", "https://[::1]"}, {true, "x:1", "tcp://x:1"}, {true, "[::1]:1", "tcp://[::1]:1"},
		{true, "http://x", "tcp://x:80"}, {true, "https://x", "tls://x:443"}, {true, "tls://x:1", "tls://x:1"},
	} {
		r := Replay{Raw: c.raw, To: c.to}
		if u, err := r.Target(); err != nil || u.String() != c.want {
			t.Errorf("%s: %v, %v", c.to, u, err)
		}
	}
	for speed, want := range map[string]float64{"1": 1, "2.5": 2.5, "10x": 10, "0": 0, "max": 0} {
		r := Replay{Speed: speed}
		if f, err := r.Factor(); f != want || err != nil {
			t.Errorf("%s: %v %v", speed, f, err)
		}
	}
	for _, c := range []struct {
		r    Replay
		want int
	}{{Replay{Speed: "1"}, 1000}, {Replay{Speed: "max"}, 16}, {Replay{Speed: "max", Rate: 5}, 1000}, {Replay{Speed: "max", Concurrency: 3}, 3}} {
		if got := c.r.Connections(); got != c.want {
			t.Errorf("%+v: %d", c.r, got)
		}
	}
}
