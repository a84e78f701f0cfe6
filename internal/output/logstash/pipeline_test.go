package logstash

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

const pipelines = "../../../deploy/logstash"

// pipeline returns the texts of the pipeline's files, without comments, by name.
func pipeline(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(pipelines + "/*.conf")
	if err != nil || len(paths) != 5 {
		t.Fatal(paths, err)
	}
	texts := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(path)] = regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(string(b), "")
	}
	return texts
}

// Every field that the pipeline asks for is culprit's, or known to be Logstash's.
func TestPipelineFields(t *testing.T) {
	known := map[string]bool{ // what Logstash adds, or what only the pipeline does
		"@version": true, "event.original": true, "tags": true, "_doc_count": true, "user_agent.os.full": true,
		"@metadata.beat": true, "@metadata.documents": true,
	}
	for i := range exchange.Fields {
		for name := exchange.Fields[i].Name; name != ""; {
			known[name] = true
			name = name[:max(strings.LastIndexByte(name, '.'), 0)]
		}
	}
	reference := regexp.MustCompile(`\[[@A-Za-z_][\w@]*\](?:\[[@A-Za-z_][\w@]*\])*`)
	seen := 0
	for name, text := range pipeline(t) {
		for _, r := range reference.FindAllString(text, -1) {
			seen++
			if field := strings.NewReplacer("][", ".", "[", "", "]", "").Replace(r); !known[field] {
				t.Errorf("%s: there is no field %s", name, field)
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d fields were found", seen)
	}
}

// What the pipeline's parts are made of is whole: sections, plugins and settings, as Logstash's grammar has them.
func TestPipelineGrammar(t *testing.T) {
	for name, text := range pipeline(t) {
		p := parser{rest: text}
		if err := p.section(); err != "" {
			t.Errorf("%s: %s at %.40q", name, err, p.rest)
		}
	}
	for _, bad := range []string{
		"input {", "input { tcp { port 1 } }", "input { tcp { port => } }", "filters { }", "output { if [a] { x { } }", "filter { if { x { } } }",
		`filter { x { a => "b } }`, `filter { x { a => ["b" } }`, `filter { x { a => { "b" "c" } } }`, "filter { x }", `filter { x { a => "${B:%{c}}" } }`,
	} {
		if p := (parser{rest: bad}); p.section() == "" {
			t.Errorf("%s: that is no pipeline", bad)
		}
	}
}

// parser follows the part of Logstash's grammar that the pipeline uses. Its methods return what is wrong.
type parser struct{ rest string }

// take takes what matches at the beginning, and the space after it.
func (p *parser) take(pattern string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t\n")
	found := regexp.MustCompile(`^(?:` + pattern + `)`).FindString(p.rest)
	p.rest = p.rest[len(found):]
	return found != ""
}

func (p *parser) section() string {
	if !p.take(`(input|filter|output)\b`) || !p.take(`\{`) {
		return "want a section"
	}
	if err := p.block(); err != "" {
		return err
	}
	if p.take(`\S`) {
		return "want the end"
	}
	return ""
}

// block is plugins and branches up to a brace.
func (p *parser) block() string {
	const condition = `(!?\[[^{}]*\]|"[^"]*"|\s|==|in|and|or|not)+`
	for !p.take(`\}`) {
		switch {
		case p.take(`if\b`):
			if !p.take(condition) || !p.take(`\{`) {
				return "want a condition"
			}
			if err := p.block(); err != "" {
				return err
			}
		case p.take(`else\b`):
			if !p.take(`\{`) {
				return "want a block"
			}
			if err := p.block(); err != "" {
				return err
			}
		case p.take(`\w+`):
			if err := p.plugin(); err != "" {
				return err
			}
		default:
			return "want a plugin"
		}
	}
	return ""
}

// text is a quoted text, in which the default of a variable has no braces, since Logstash ends it at the first.
const text = `"(?:\$\{\w+(?::[^{}"]*)?\}|%\{[^{}"]+\}|[^"{}])*"`

func (p *parser) plugin() string {
	if !p.take(`\{`) {
		return "want the settings of a plugin"
	}
	for !p.take(`\}`) {
		if !p.take(`\w+`) || !p.take(`=>`) {
			return "want a setting"
		}
		switch {
		case p.take(text), p.take(`\w+`), p.take(`\[\s*(` + text + `(\s*,\s*` + text + `)*)?\s*\]`), p.take(`\{(\s*` + text + `\s*=>\s*` + text + `)+\s*\}`):
		default:
			return "want a value"
		}
	}
	return ""
}
