package replay_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/replay"
)

// shop is a server with answers of all kinds, and with faults that can be planted.
type shop struct{ planted bool }

// planted are the differences that a changed shop has, as kinds with their places, and how many of each are to be found for so many requests.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.URL.Query().Get("id"))
	plant := func(kind string) bool { return s.planted && r.URL.Query().Get("plant") == kind }
	w.Header().Set("X-Shop", "open")
	switch {
	case plant("header"):
		w.Header().Set("X-Shop", "closed")
	case plant("gone"):
		w.Header().Del("X-Shop")
	case plant("new"):
		w.Header().Set("X-New", "1")
	}
	switch r.URL.Path {
	case "/item":
		item := map[string]any{"id": id, "price": float64(id) * 1.5, "name": "item", "tags": []string{"a", "b"}, "time": time.Now().UnixNano()}
		switch {
		case plant("value"):
			item["price"] = float64(id)*1.5 + 1
		case plant("type"):
			item["id"] = strconv.Itoa(id)
		case plant("missing"):
			delete(item, "name")
		case plant("extra"):
			item["more"] = nil
		case plant("length"):
			item["tags"] = []string{"a", "b", "c"}
		}
		w.Header().Set("Content-Type", "application/json")
		if plant("status") {
			w.WriteHeader(500)
		}
		json.NewEncoder(w).Encode(item)
	case "/file":
		b := bytes.Repeat([]byte{byte(id), 2, 3, 4}, 300+id%50)
		if plant("byte") {
			b[len(b)/2] ^= 1
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(b)
			z.Close()
			return
		}
		w.Write(b)
	case "/slow":
		if s.planted {
			time.Sleep(20 * time.Millisecond)
		}
		io.WriteString(w, "slow")
	case "/moved":
		http.Redirect(w, r, "/item?id=1", http.StatusFound)
	case "/empty":
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// kindsPlanted are the plants, with what finds them.
var kindsPlanted = map[string]string{
	"header": "header value x-shop", "gone": "header missing x-shop", "new": "header extra x-new", "value": "JSON value $.price", "type": "JSON type $.id",
	"missing": "JSON missing $.name", "extra": "JSON extra $.more", "length": "JSON length $.tags", "status": "status ", "byte": "body ",
}

// recordShop has clients visit a shop, requests in all, and returns what was heard, with how many requests have each plant.
func recordShop(t testing.TB, requests int) (*wiretap, map[string]uint64) {
	t.Helper()
	w := newWiretap(t, serve(t, &shop{}))
	const clients = 20
	plants := make([]map[string]uint64, clients)
	names := slices.Sorted(maps.Keys(kindsPlanted))
	var all sync.WaitGroup
	for n := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			plants[n] = map[string]uint64{}
			r := rand.New(rand.NewPCG(1, uint64(n)))
			tr := &http.Transport{DisableCompression: true}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			for i := range requests / clients {
				plant := ""
				path := []string{"/item", "/item", "/file", "/file", "/slow", "/moved", "/empty", "/nowhere"}[r.IntN(8)]
				if r.IntN(100) == 0 {
					plant = names[r.IntN(len(names))]
					if path = "/item"; plant == "byte" {
						path = "/file"
					}
					plants[n][plant]++
				}
				method := "GET"
				if plant == "" && r.IntN(20) == 0 {
					method = "HEAD"
				}
				req, _ := http.NewRequest(method, fmt.Sprintf("%s%s?id=%d&n=%d&plant=%s", w.url(), path, r.IntN(200), i, plant), nil)
				if plant == "" && r.IntN(2) == 0 {
					req.Header.Set("Accept-Encoding", "gzip")
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
	}
	all.Wait()
	sum := map[string]uint64{}
	for _, p := range plants {
		for name, n := range p {
			sum[name] += n
		}
	}
	return w, sum
}

// 10,000 recorded exchanges against the same server: no difference. Against one with planted differences: each of them, and nothing else.
func TestPlantedDifferencesAreFound(t *testing.T) {
	requests := 10_000
	if testing.Short() {
		requests = 2000
	}
	w, plants := recordShop(t, requests)
	r := recordingOf(t, w, setup{})
	if r.Len() != requests {
		t.Fatalf("%d requests in the recording, want %d; left out: %v", r.Len(), requests, r.LeftOut)
	}
	ignore, err := replay.ParseIgnore("json:$.time")
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, "http://"+serve(t, &shop{}))
	o.Rules.Ignore = []replay.Ignore{ignore}
	s, _ := run(t, r, o)
	if s.Same != uint64(requests) || s.Different+s.Failed+s.Uncompared+s.Partly > 0 {
		for _, g := range s.Groups() {
			t.Errorf("%+v", *g)
		}
		t.Fatalf("the same server: %+v", s)
	}

	o = options(t, "http://"+serve(t, &shop{planted: true}))
	o.Rules.Ignore = []replay.Ignore{ignore}
	s, _ = run(t, r, o)
	want, all := map[string]uint64{}, uint64(0)
	for plant, n := range plants {
		want[kindsPlanted[plant]] += n
		all += n
	}
	got := map[string]uint64{}
	for _, g := range s.Groups() {
		got[g.Kind.String()+" "+g.Where] += g.Count
	}
	if !maps.Equal(got, want) {
		t.Errorf("found %v\nwant  %v", got, want)
	}
	if s.Different != all || s.Same != uint64(requests)-all {
		t.Errorf("%d differ and %d are the same, want %d that differ", s.Different, s.Same, all)
	}
	_, routes := s.Latencies()
	for _, l := range routes {
		slow := l.Route == "GET /slow" || l.Route == "HEAD /slow"
		if slow && l.Count >= 20 && l.Shift != replay.Slower {
			t.Errorf("%s isn't slower: %+v", l.Route, l)
		}
	}
}

// The same with nginx, which serves the same files, and then others; CULPRIT_SOAK=1 asks 12,000 times.
func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx isn't there: .ci/deps installs it")
	}
	dir := t.TempDir()
	files := func(name string, change func(i int, item map[string]any)) string {
		root := filepath.Join(dir, name)
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			item := map[string]any{"id": i, "price": float64(i) * 1.5, "list": []any{1, 2, map[string]any{"x": "y"}}}
			change(i, item)
			b, _ := json.Marshal(item)
			for name, b := range map[string][]byte{fmt.Sprintf("%d.json", i): b, fmt.Sprintf("%d.txt", i): bytes.Repeat([]byte(strconv.Itoa(i)), 2000)} {
				if err := os.WriteFile(filepath.Join(root, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		return root
	}
	start := func(root, more string) string {
		free, err := newListener()
		if err != nil {
			t.Fatal(err)
		}
		address := free.Addr().String()
		free.Close()
		home := root + ".nginx"
		if err := os.MkdirAll(home, 0o755); err != nil {
			t.Fatal(err)
		}
		conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http { access_log off; types { application/json json; text/plain txt; } gzip on; gzip_types application/json; gzip_min_length 1;
client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
server { listen %[2]s; root %[3]s; %[4]s } }`, home, address, root, more)
		if err := os.WriteFile(home+"/conf", []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(nginx, "-e", home+"/error.log", "-c", home+"/conf")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		for range 500 {
			if resp, err := http.Get("http://" + address + "/0.json"); err == nil {
				resp.Body.Close()
				return address
			}
			time.Sleep(10 * time.Millisecond) // until it listens
		}
		text, _ := os.ReadFile(home + "/error.log")
		t.Fatalf("nginx doesn't start: %s", text)
		return ""
	}
	same := files("same", func(int, map[string]any) {})
	w := newWiretap(t, start(same, ""))
	tr := &http.Transport{DisableCompression: true}
	each := 10 // times that each path is asked for
	if os.Getenv("CULPRIT_SOAK") != "" {
		each = 200
	}
	for i := range 60 * each {
		path := fmt.Sprintf("/%d.%s", i%60, []string{"json", "txt"}[i%2]) // some aren't there
		req, _ := http.NewRequest("GET", w.url()+path, nil)
		if i%3 == 0 {
			req.Header.Set("Accept-Encoding", "gzip")
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	tr.CloseIdleConnections()
	r := recordingOf(t, w, setup{})
	s, _ := run(t, r, options(t, "http://"+start(files("again", func(int, map[string]any) {}), "")))
	if s.Same != uint64(60*each) {
		t.Errorf("the same files: %+v", s)
	}
	changed := files("changed", func(i int, item map[string]any) {
		if i%10 == 4 {
			item["price"] = "free"
		}
		if i == 8 {
			item["list"] = []any{1, 2, map[string]any{"x": "z"}}
		}
	})
	s, _ = run(t, r, options(t, "http://"+start(changed, "location = /7.txt { return 403; } location = /9.txt { add_header X-Nine 9; }")))
	got := map[string]uint64{}
	for _, g := range s.Groups() {
		name := g.Kind.String() + " " + g.Where
		if g.Kind == replay.Status {
			name += g.Recorded + " " + g.Replayed
		}
		got[name] += g.Count
	}
	n := uint64(each)
	want := map[string]uint64{"JSON type $.price": 5 * n, "JSON value $.list[*].x": n, "status 200 403": n, "header extra x-nine": n} // /4, /14, ... /44; /8; /7; /9
	if !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if s.Different != 8*n || s.Same != 52*n {
		t.Errorf("%d differ and %d are the same, want %d and %d", s.Different, s.Same, 8*n, 52*n)
	}
}
