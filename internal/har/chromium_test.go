package har_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/har"
)

// browser is a Chromium whose developer tools are open in a page of their own. It is spoken to by the DevTools protocol over a pipe: messages of JSON that
// end with a zero byte.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	id      int
	session string
}

// openDevTools starts Chromium, and skips the test where there is none.
func openDevTools(t *testing.T) *browser {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Skip("there is no chromium, whose HAR importer this test runs; .ci/deps installs it")
	}
	fromTest, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, toTest, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless", "--disable-gpu", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "about:blank"}
	if os.Geteuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // which doesn't start as root
	}
	cmd := exec.Command(path, args...)
	cmd.ExtraFiles = []*os.File{fromTest, toTest} // 3 and 4, as the option wants
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fromTest.Close()
	toTest.Close()
	hung := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }) // reading then ends
	b := &browser{t: t, to: to, from: bufio.NewReaderSize(from, 1<<20)}
	t.Cleanup(func() {
		fmt.Fprintf(to, `{"id":%d,"method":"Browser.close"}`+"\x00", b.id+1)
		to.Close()
		_ = cmd.Wait() // before its folder is removed
		hung.Stop()
		from.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "devtools://devtools/bundled/devtools_app.html"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	return b
}

// call calls a method of the protocol, and waits for the answer.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.id++
	message := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("chromium has ended while %s was under way: %v", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.id {
			continue // an event
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error)
		}
		if err := json.Unmarshal(answer.Result, result); err != nil {
			b.t.Fatal(err)
		}
		return
	}
}

// imported is what Chromium makes of an archive: Error, or Requests.
type imported struct {
	Error    string
	Requests []struct {
		Method, URL, StatusText, MimeType, Remote, Body string
		Status                                          int
		Duration                                        float64
		Sent, Received                                  int
	}
}

// importer runs the very modules that the network panel runs for a file that is dropped on it.
const importer = `(async () => {
	const text = %s;
	try {
		const har = await import('devtools://devtools/bundled/models/har/har.js');
		const root = new har.HARFormat.HARRoot(JSON.parse(text));
		const requests = [];
		for (const r of har.Importer.Importer.requestsFromHARLog(root.log)) {
			const content = await r.requestContentData();
			requests.push({
				method: r.requestMethod, url: r.url(), status: r.statusCode, statusText: r.statusText, mimeType: r.mimeType, remote: r.remoteAddress(), duration: r.duration,
				sent: r.requestHeaders().length, received: r.responseHeaders.length, body: 'error' in content ? '' : content.isTextContent ? content.text : content.base64,
			});
		}
		return {requests};
	} catch (e) {
		return {error: String(e)};
	}
})()`

// load has an archive imported.
func (b *browser) load(archive []byte) (i imported) {
	b.t.Helper()
	text, err := json.Marshal(string(archive))
	if err != nil {
		b.t.Fatal(err)
	}
	var result struct {
		Result           struct{ Value imported }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": fmt.Sprintf(importer, text), "awaitPromise": true, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("the developer tools: %s", result.ExceptionDetails)
	}
	return result.Result.Value
}

// Chromium's own importer takes archives of ours without an error, and shows what they say.
func TestChromiumImportsOurArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	b := openDevTools(t)
	archives := map[string][]byte{"an empty one": write(t, nil)}
	for _, name := range []string{"demo.pcap", "secure/secure.pcapng", "databases/databases.pcapng"} {
		archives[name] = archiveOf(t, filepath.Join("..", "..", "testdata", name))
	}
	goldens, err := filepath.Glob(filepath.Join("..", "output", "har", "testdata", "*.har"))
	if err != nil || len(goldens) < 4 {
		t.Fatalf("%d archives: %v", len(goldens), err)
	}
	for _, path := range goldens {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[path] = text
	}
	for name, archive := range archives {
		got := b.load(archive)
		want := entriesOf(t, archive)
		slices.SortStableFunc(want, func(a, b map[string]any) int { // as the importer does, whose dates have milliseconds
			const milliseconds = len("2026-11-21T10:00:00.000")
			return cmp.Compare(a["startedDateTime"].(string)[:milliseconds], b["startedDateTime"].(string)[:milliseconds])
		})
		if got.Error != "" || len(got.Requests) != len(want) {
			t.Errorf("%s: %d requests of %d, %s", name, len(got.Requests), len(want), got.Error)
			continue
		}
		for i, r := range got.Requests {
			request, response := want[i]["request"].(map[string]any), want[i]["response"].(map[string]any)
			content := response["content"].(map[string]any)
			body, _ := content["text"].(string)
			for _, c := range []struct {
				what      string
				got, want any
			}{
				{"method", r.Method, request["method"]}, {"status", float64(r.Status), response["status"]}, {"status text", r.StatusText, response["statusText"]},
				{"header fields of the request", r.Sent, len(request["headers"].([]any))}, {"header fields of the response", r.Received, len(response["headers"].([]any))},
				{"body", plainBody(r.Body, content["encoding"]), plainBody(body, content["encoding"])},
			} {
				if c.got != c.want {
					t.Errorf("%s, entry %d, %v: %s is %v, want %v", name, i+1, request["url"], c.what, c.got, c.want)
				}
			}
			if u := request["url"].(string); !strings.HasPrefix(r.URL, u[:min(len(u), 8)]) {
				t.Errorf("%s, entry %d: URL %s of %s", name, i+1, r.URL, u)
			}
			timings := want[i]["timings"].(map[string]any)
			sum := 0.0
			for _, phase := range []string{"blocked", "dns", "connect", "send", "wait", "receive"} {
				sum += max(timings[phase].(float64), 0)
			}
			if math.Abs(r.Duration*1e3-sum) > 0.01 {
				t.Errorf("%s, entry %d: it took %v ms, want %v", name, i+1, r.Duration*1e3, sum)
			}
		}
	}

	// What isn't an archive is refused, or the test would prove nothing.
	sound := string(write(t, readAll(t, newReaderOf(archives["demo.pcap"]))[:1]))
	if i := b.load([]byte(sound)); i.Error != "" || len(i.Requests) != 1 {
		t.Fatalf("%+v", i)
	}
	for _, field := range []string{"log", "creator", "entries", "startedDateTime", "time", "request", "response", "timings", "status", "content", "send", "wait", "receive"} {
		broken := strings.Replace(sound, `"`+field+`":`, `"x-`+field+`":`, 1)
		if i := b.load([]byte(broken)); i.Error == "" {
			t.Errorf("an archive without %s is imported", field)
		}
	}
}

// plainBody undoes base64, where the archive says so.
func plainBody(body string, encoding any) string {
	if encoding != "base64" {
		return body
	}
	plain, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return body
	}
	return string(plain)
}

// newReaderOf reads an archive of ours.
func newReaderOf(archive []byte) *har.Reader {
	return har.NewReader(bytes.NewReader(archive), har.Options{MaxBody: -1})
}
