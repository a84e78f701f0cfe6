package body

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"
)

func TestMultipart(t *testing.T) {
	const form = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"photo.jpg\"\r\nContent-Type: Image/JPEG; q=1\r\n\r\n\xff\xd8\r\n--xy\r\n\r\n--x--\r\nepilogue"
	parts := []Part{{Name: "a", Bytes: 5}, {Name: "f", Filename: "photo.jpg", Type: "image/jpeg", Bytes: 10}}
	for _, c := range []struct {
		name, contentType, body string
		want                    []Part
	}{
		{"form", `multipart/form-data; boundary=x`, form, parts},
		{"quoted boundary", `Multipart/Form-Data; charset=utf-8; boundary="x"`, form, parts},
		{"bare LF", `multipart/form-data; boundary=x`, strings.ReplaceAll(form, "\r", ""), []Part{parts[0], {Name: "f", Filename: "photo.jpg", Type: "image/jpeg", Bytes: 8}}},
		{"preamble", `multipart/mixed; boundary=x`, "not --x\r\na part\r\n" + form, parts},
		{"cut in the last part", `multipart/form-data; boundary=x`, form[:len(form)-23], []Part{parts[0], {Name: "f", Filename: "photo.jpg", Type: "image/jpeg", Bytes: 4}}},
		{"cut in a header", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=\"a\"", []Part{{Name: "a"}}},
		{"cut after a boundary", `multipart/form-data; boundary=x`, "--x", nil},
		{"byte ranges", `multipart/byteranges; boundary=x`, "\r\n--x\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--x--\r\n", []Part{{Type: "text/plain", Bytes: 3}}},
		{"no header", `multipart/mixed; boundary=x`, "--x\r\n\r\nabc\r\n--x--", []Part{{Bytes: 3}}},
		{"empty part", `multipart/mixed; boundary=x`, "--x\r\n\r\n\r\n--x--", []Part{{}}},
		{"folded header", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data;\r\n\tname=a\r\n\r\nv\r\n--x--", []Part{{Name: "a", Bytes: 1}}},
		{"white space behind the boundary", `multipart/form-data; boundary=x`, "--x \t\r\n\r\nv\r\n--x--", []Part{{Bytes: 1}}},
		{"boundary that should be quoted", `multipart/form-data; boundary=a=b c; x`, "--a=b c\r\n\r\nv\r\n--a=b c--", []Part{{Bytes: 1}}},
		{"unquoted file name", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=a; filename=my photo.jpg\r\n\r\nv\r\n--x--", []Part{{Name: "a", Filename: "my photo.jpg", Bytes: 1}}},
		{"Windows path", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=a; filename=\"C:\\dir\\f.txt\"\r\n\r\nv\r\n--x--", []Part{{Name: "a", Filename: `C:\dir\f.txt`, Bytes: 1}}},
		{"encoded file name", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''na%C3%AFve\r\n\r\nv\r\n--x--", []Part{{Name: "a", Filename: "naïve", Bytes: 1}}},
		{"a name twice", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=\"a\"; name=b\r\n\r\nv\r\n--x--", []Part{{Name: "a", Bytes: 1}}},
		{"long name", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=" + strings.Repeat("n", 999) + "\r\n\r\nv\r\n--x--", []Part{{Name: strings.Repeat("n", maxText), Bytes: 1}}},
		{"header too long", `multipart/form-data; boundary=x`, "--x\r\nContent-Disposition: form-data; name=a\r\nX: " + strings.Repeat("n", maxPartHead) + "\r\n\r\nv\r\n--x--", []Part{{Bytes: 1}}},
		{"not multipart", `text/plain; boundary=x`, form, nil},
		{"no boundary", `multipart/form-data`, form, nil},
		{"boundary too long", `multipart/form-data; boundary=` + strings.Repeat("x", maxBoundary+1), form, nil},
		{"other boundary", `multipart/form-data; boundary=y`, form, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Multipart([]byte(c.contentType), []byte(c.body)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// What the standard library writes is described as it was written.
func TestMultipartWriter(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	var want []Part
	for i := range MaxParts + 1 {
		content := strings.Repeat("\r\n--", i)
		p := Part{Name: fmt.Sprintf("field %d", i), Bytes: int64(len(content))}
		if i%2 == 0 {
			p.Filename, p.Type = fmt.Sprintf(`a "%d".bin`, i), "application/octet-stream"
			part, _ := w.CreateFormFile(p.Name, p.Filename)
			part.Write([]byte(content))
		} else {
			w.WriteField(p.Name, content)
		}
		want = append(want, p)
	}
	w.Close()
	got := Multipart([]byte(w.FormDataContentType()), b.Bytes())
	if want = want[:MaxParts]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Any bytes: no panic, no more than MaxParts parts, and never more content than there are bytes.
func FuzzMultipart(f *testing.F) {
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--x--")
	f.Add("multipart/mixed; boundary=a=b; x", "--a=b\n\n\n--a=b\nContent-Type: a/b;\n c=d\n\nx")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		parts := Multipart([]byte(contentType), []byte(body))
		var sum int64
		for _, p := range parts {
			if p.Bytes < 0 || len(p.Name) > maxText || len(p.Filename) > maxText || len(p.Type) > maxText {
				t.Fatalf("%+v", p)
			}
			sum += p.Bytes
		}
		if len(parts) > MaxParts || sum > int64(len(body)) {
			t.Fatalf("%d parts of %d bytes in %d", len(parts), sum, len(body))
		}
	})
}
