package objects

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

func message(flags byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
}

func TestExtract(t *testing.T) {
	long := noise(3 * SpillAt)
	form := "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../../etc/cron.d/x.PNG\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n" +
		"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x--\r\n"
	parted := map[string]string{"-part-01.txt": "hello", "-part-02.png": "\x89PNG\r\n\x1a\n", "-part-04.json": "{}"}
	grpc := func(coding string) *follow.Message {
		m := request("application/grpc+proto")
		m.MessageCoding = coding
		return m
	}
	for _, c := range []struct {
		name string
		m    *follow.Message
		body string
		// want are the files beside the body's own, which is NUMBER and an extension.
		want map[string]string
		note string
	}{
		{"parts", request("multipart/form-data; boundary=x"), form, parted, ""},
		{"parts of what is coded", response("multipart/form-data; boundary=\"x\"", "gzip"), gzipped(form), parted, ""},
		{"a long part", request("multipart/mixed; boundary=x"), "--x\n\n" + long + "\n--x\n\nb\n--x--", map[string]string{"-part-01.txt": long, "-part-02.txt": "b"}, ""},
		{"a boundary within a line isn't one", request("multipart/mixed; boundary=x"), "--x\r\n\r\na--x\r\n --x\r\n--xy\r\n--x--", map[string]string{"-part-01.txt": "a--x\r\n --x\r\n--xy"}, ""},
		{"nor one in the middle of a very long line", request("multipart/mixed; boundary=x"), "--x\r\n\r\n" + strings.Repeat("a", lineBuffer) + "--x\r\n--x--",
			map[string]string{"-part-01.txt": strings.Repeat("a", lineBuffer) + "--x"}, ""},
		{"no end", request("multipart/mixed; boundary=x"), "--x\r\n\r\na\r\nb\r\n", map[string]string{"-part-01.txt.incomplete": "a\r\nb\r\n"}, "no end"},
		{"no boundary", request("multipart/mixed"), "--x\r\n\r\na\r\n--x--", map[string]string{}, ""},
		{"no type", request(""), "--x\r\n\r\na\r\n--x--", map[string]string{}, ""},
		{"hints that are none", request("multipart/mixed; boundary=x"), "--x\r\nContent-Disposition: attachment; filename=\"a.b/c\"\r\n\r\na\r\n" +
			"--x\r\nContent-Disposition: attachment; filename=\".bashrc\"\r\n\r\na\r\n--x\r\nContent-Disposition: attachment; filename=\"a.\\xffb\"\r\n\r\na\r\n--x--",
			map[string]string{"-part-01.txt": "a", "-part-02.txt": "a", "-part-03.txt": "a"}, ""},
		{"messages", grpc(""), message(0, "hello") + message(0, "") + message(0, "world"), map[string]string{"-message-01.bin": "hello", "-message-03.bin": "world"}, ""},
		{"compressed messages", grpc("gzip"), message(1, gzipped("hello")) + message(0, "world"), map[string]string{"-message-01.bin": "hello", "-message-02.bin": "world"}, ""},
		{"messages compressed in a way that isn't known", grpc("snappy"), message(1, "hello"), map[string]string{"-message-01.bin.sz": "hello"}, ""},
		{"a long message", grpc("gzip"), message(1, gzipped(long)) + message(0, long), map[string]string{"-message-01.bin": long, "-message-02.bin": long}, ""},
		{"a message that isn't there to its end", grpc(""), message(0, "hello")[:8], map[string]string{"-message-01.bin.incomplete": "hel"}, "within a message"},
		{"a prefix that isn't there to its end", grpc(""), message(0, "hello") + "\x00\x00", map[string]string{"-message-01.bin": "hello"}, "within the prefix"},
		{"no messages", grpc(""), "hello, world", map[string]string{}, "isn't made of messages"},
		{"gRPC-Web", request("application/grpc-web"), message(0, "a") + message(0x80, "grpc-status: 0\r\n"), map[string]string{"-message-01.bin": "a"}, ""},
	} {
		for _, piece := range []int{1 << 20, 1000} {
			t.Run(fmt.Sprint(c.name, " ", piece), func(t *testing.T) {
				s := open(t, Options{Parts: true, Messages: true})
				m := *c.m
				s.whole(&m, c.body, piece)
				stem := []string{"asks", "answers"}[m.Dir] + "-HTTPBODY-001"
				got := s.contents()
				want := map[string]string{}
				for name, text := range c.want {
					want[stem+name] = text
				}
				for name := range got {
					if strings.HasPrefix(name, stem+".") {
						delete(got, name)
					}
				}
				if !maps.Equal(got, want) {
					t.Errorf("got  %.300q\nwant %.300q", got, want)
				}
				if c.note == "" && len(s.notes) > 0 || c.note != "" && (len(s.notes) == 0 || !strings.Contains(s.notes[0], c.note)) {
					t.Errorf("told of %q", s.notes)
				}
			})
		}
	}
}

// nowhere is a Folder whose files are in memory.
type nowhere struct{ files map[string]*memory }

type memory struct{ text []byte }

func (n *nowhere) Create(name string) (folder.File, error) {
	if n.files[name] != nil || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is there, or leads elsewhere", name)
	}
	n.files[name] = &memory{}
	return n.files[name], nil
}
func (n *nowhere) Reopen(name string) (folder.File, error) { return n.files[name], nil }
func (n *nowhere) Remove(name string) error                { delete(n.files, name); return nil }
func (n *nowhere) Finish(string, time.Time) error          { return nil }
func (n *nowhere) FinishAs(a, b string, _ time.Time) error {
	n.files[b] = n.files[a]
	delete(n.files, a)
	return nil
}
func (m *memory) Write([]byte) (int, error)      { panic("not used") }
func (m *memory) Seek(int64, int) (int64, error) { panic("not used") }
func (m *memory) Close() error                   { return nil }
func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if need := int(at) + len(p); need > len(m.text) {
		m.text = append(m.text, make([]byte, need-len(m.text))...)
	}
	return copy(m.text[at:], p), nil
}
func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	n := copy(p, m.text[min(at, int64(len(m.text))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// split returns what a multipart body makes in memory: the sizes of the parts that aren't empty.
func split(t *testing.T, mediaType, text string, o Options) (sizes []int64, files map[string]*memory) {
	t.Helper()
	n := &nowhere{map[string]*memory{}}
	o.Kept = func(o *Object) error {
		if o.Part {
			sizes = append(sizes, o.Size)
		}
		return nil
	}
	k := New(n, o)
	k.spillAt = 64
	m := request(mediaType)
	m.MessageCoding = "gzip"
	m.Ended = proto.Whole
	for _, c := range []follow.Chunk{{Step: follow.Begin}, {Step: follow.Body, Data: []byte(text)}, {Step: follow.End}} {
		c.Message, c.Flow = m, one
		if err := k.Chunk(&c, "asks"); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	return sizes, n.files
}

// FuzzParts: the parts are those that body.Multipart describes.
func FuzzParts(f *testing.F) {
	f.Add("--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\n\r\n\r\n--x \t\r\nA: b\r\n\r\na\nb\r\n--x--")
	f.Add("preamble\n--x\n\na\n--xy\n--x--z")
	f.Add("--x\r\nno end of the head")
	f.Add("--x\r\n\r\n\r\n\r\n--x\r\n\r\nlast")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10<<10 {
			return
		}
		const mediaType = "multipart/mixed; boundary=x"
		var want []int64
		parts := body.Multipart([]byte(mediaType), []byte(text))
		if len(parts) == body.MaxParts {
			return // it describes no more
		}
		for _, p := range parts {
			if p.Bytes > 0 {
				want = append(want, p.Bytes)
			}
		}
		if got, _ := split(t, mediaType, text, Options{Parts: true}); !slices.Equal(got, want) {
			t.Errorf("parts of %v bytes, want %v, of %q", got, want, text)
		}
	})
}

// FuzzMessages: what isn't compressed is found again, one behind the other, and nothing panics.
func FuzzMessages(f *testing.F) {
	f.Add(message(0, "hello") + message(0, "world"))
	f.Add(message(1, gzipped("hello")) + message(0, "world"))
	f.Add(message(0, "hello")[:7])
	f.Fuzz(func(t *testing.T, text string) {
		var want []int64
		plain := true
		for b := text; len(b) >= 5 && b[0] <= 1; {
			n := int64(binary.BigEndian.Uint32([]byte(b[1:5])))
			plain = plain && b[0] == 0
			have := min(n, int64(len(b)-5))
			if have > 0 {
				want = append(want, have)
			}
			b = b[5+have:]
		}
		got, files := split(t, "application/grpc", text, Options{Messages: true})
		if plain && !slices.Equal(got, want) {
			t.Errorf("messages of %v bytes, want %v, of %q", got, want, text)
		}
		if b := files["asks-HTTPBODY-001.grpc"]; len(text) > 0 && (b == nil || string(b.text) != text) {
			t.Errorf("the body isn't what was sent")
		}
	})
}

func TestExtension(t *testing.T) {
	for _, c := range []struct{ mediaType, begins, want string }{
		{"text/html", "", "html"}, {"TEXT/HTML ; charset=x", "", "html"}, {"text/x-unheard-of", "", "txt"}, {"application/problem+json", "", "json"},
		{"image/svg+xml", "", "svg"}, {"application/soap+xml;a=b", "", "xml"}, {"application/grpc+proto", "", "grpc"}, {"x", "{}", "bin"}, {"a/../../b", "", "bin"},
		{"", "", "bin"}, {"", " \n{\"a\": 1}", "json"}, {"", "{\x00", "bin"}, {"", "hello", "txt"}, {"", "h\xc3\xa9llo", "txt"}, {"", "h\xffllo", "bin"},
		{"", "<!DOCTYPE html>", "html"}, {"", "  <HTML>", "html"}, {"", "<?xml version", "xml"}, {"", "\x89PNG\r\n\x1a\n", "png"}, {"", "%PDF-1.4", "pdf"},
		{"", "RIFF1234WEBPVP8 ", "webp"}, {"application/octet-stream", "PK\x03\x04", "zip"}, {"application/octet-stream", "\x00", "bin"},
		{"", strings.Repeat("a", sniffed-1) + "\xc3\xa9", "txt"},
	} {
		if got := Extension(c.mediaType, []byte(c.begins)); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.mediaType, c.begins, got, c.want)
		}
	}
}
