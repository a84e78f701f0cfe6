package web

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

var update = flag.Bool("update", false, "write the answers of docs/api.md")

const guide = "../../docs/api.md"

// example is a line of the guide that asks something: the path, and what jq makes of the answer.
var example = regexp.MustCompile(`^\$ api '([^']+)' \| jq (-c )?'?(\.[a-z]*)(\[\])?'?$`)

// steady says the same of the store and of pages whatever the engine, so that the guide changes with the API only.
type steady struct{ store.Reader }

func (s steady) Status(ctx context.Context) (*store.Status, error) {
	st, err := s.Reader.Status(ctx)
	if err == nil {
		st.Bytes, st.LogBytes = 20_480, 20_480
	}
	return st, err
}

func (s steady) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	page, err := s.Reader.Search(ctx, q, found)
	if err == nil && page.Next != "" {
		page.Next = "Y29udGludWUgaGVyZQ"
	}
	return page, err
}

// guided gives the server that answers an example: the shop, what it asks for its orders, or what goes through its proxy.
func guided(t *testing.T) func(target string) *Server {
	plain := serve(t, func(o *Options) { o.Store = steady{o.Store} })
	others := serve(t, func(o *Options) { o.Store = steady{storeOf(t, orders())} })
	linked := serve(t, func(o *Options) { o.Store = steady{storeOf(t, chained(3))} })
	return func(target string) *Server {
		if strings.HasPrefix(target, "/api/traces") || strings.HasPrefix(target, "/api/routes") {
			return linked
		}
		if strings.HasPrefix(target, "/api/statements") || strings.HasPrefix(target, "/api/repeats") {
			return others
		}
		return plain
	}
}

// The answers in the guide are those that the handlers give.
func TestGuide(t *testing.T) {
	old, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	s := guided(t)
	var out strings.Builder
	console, asked := false, 0
	for line := range strings.Lines(string(old)) {
		line = strings.TrimSuffix(line, "\n")
		m := example.FindStringSubmatch(line)
		switch {
		case line == "```console":
			console = true
		case line == "```":
			console = false
		case console && m == nil:
			continue // the answer as it was
		}
		out.WriteString(line + "\n")
		if !console || m == nil {
			continue
		}
		asked++
		// curl sends quotes and the like as they are.
		w := do(s(m[1]), request(strings.NewReplacer(`"`, "%22", ">", "%3E").Replace(m[1])))
		for _, v := range selected(t, bytes.TrimSpace(w.Body.Bytes()), strings.TrimPrefix(m[3], "."), m[4] != "") {
			var text bytes.Buffer
			if m[2] != "" {
				err = json.Compact(&text, v)
			} else {
				err = json.Indent(&text, v, "", "  ")
			}
			if err != nil {
				t.Fatal(err)
			}
			// jq decodes what needn't be escaped.
			out.WriteString(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(text.String()) + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(guide, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if asked < 10 || out.String() != string(old) {
		t.Errorf("docs/api.md isn't what the handlers answer (go test ./internal/web -run TestGuide -update writes it):\n%s", &out)
	}
}

// selected gives the member of an object, or its elements.
func selected(t *testing.T, doc []byte, member string, each bool) (all []json.RawMessage) {
	t.Helper()
	if member == "" {
		return []json.RawMessage{doc}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(doc, &object); err != nil || object[member] == nil {
		t.Fatalf("no %s in %s", member, doc)
	}
	if !each {
		return []json.RawMessage{object[member]}
	}
	if err := json.Unmarshal(object[member], &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// The guide explains every kind of problem, under the anchor that its type has.
func TestGuideExplainsProblems(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(problems)
	for i := range v.NumField() {
		anchor := v.Field(i).Field(0).String()
		if !strings.Contains(string(text), `<a id="`+anchor+`"></a>`+"`"+anchor+"`") {
			t.Errorf("docs/api.md doesn't explain %s", anchor)
		}
	}
}

// jq itself, where it is there, makes the same of an answer as the test of the guide.
func TestGuideAgainstJQ(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq isn't installed; apt-get install jq")
	}
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	s := guided(t)
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	for _, b := range blocks {
		var want, got strings.Builder
		for line := range strings.Lines(b[1]) {
			m := example.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				want.WriteString(line)
				continue
			}
			w := do(s(m[1]), request(strings.NewReplacer(`"`, "%22", ">", "%3E").Replace(m[1])))
			args := []string{m[3] + m[4]}
			if m[2] != "" {
				args = append([]string{"-c"}, args...)
			}
			cmd := exec.Command(jq, args...)
			cmd.Stdin = w.Body
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got.Write(out)
		}
		if got.String() != want.String() {
			t.Errorf("jq: %s\nthe guide: %s", &got, &want)
		}
	}
}
