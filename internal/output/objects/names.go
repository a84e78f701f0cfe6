package objects

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxExtension is the longest extension that is taken from a name that the sender chose.
const maxExtension = 8

// extensions are those of media types. Where several are in use, it is the one that tcpflow has, but for audio/mpeg (mpga), audio/mp4 (mp4a) and
// video/mp4 (m4v), where nobody expects that.
var extensions = map[string]string{
	"text/plain": "txt", "text/html": "html", "text/css": "css", "text/csv": "csv", "text/calendar": "ics", "text/xml": "xml", "text/javascript": "js",
	"text/markdown": "md", "text/vcard": "vcf", "text/event-stream": "txt", "text/yaml": "yaml", "text/x-component": "htc",

	"application/json": "json", "text/json": "json", "text/x-json": "json", "application/x-ndjson": "ndjson", "application/graphql": "graphql",
	"application/javascript": "js", "application/x-javascript": "js", "application/ecmascript": "ecma",
	"application/xml": "xml", "application/xhtml+xml": "xhtml", "application/atom+xml": "atom", "application/rss+xml": "rss",
	"application/dash+xml": "mpd", "application/xml-dtd": "dtd", "application/vnd.google-earth.kml+xml": "kml", "application/yaml": "yaml", "application/x-yaml": "yaml",
	"application/toml": "toml", "application/sql": "sql", "application/x-sh": "sh", "application/x-www-form-urlencoded": "txt", "message/rfc822": "eml",

	"application/pdf": "pdf", "application/rtf": "rtf", "application/postscript": "ps", "application/epub+zip": "epub", "application/msword": "doc",
	"application/vnd.ms-excel": "xls", "application/vnd.ms-powerpoint": "ppt", "application/vnd.oasis.opendocument.text": "odt",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   "docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         "xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",

	"application/zip": "zip", "application/gzip": "gz", "application/x-gzip": "gz", "application/x-tar": "tar", "application/x-bzip2": "bz2", "application/x-xz": "xz",
	"application/zstd": "zst", "application/x-7z-compressed": "7z", "application/vnd.rar": "rar", "application/x-rar-compressed": "rar",
	"application/vnd.ms-cab-compressed": "cab", "application/java-archive": "jar", "application/java-vm": "class",
	"application/vnd.android.package-archive": "apk", "application/x-debian-package": "deb", "application/x-iso9660-image": "iso",
	"application/x-msdownload": "exe", "application/x-dosexec": "exe", "application/wasm": "wasm", "application/x-shockwave-flash": "swf",

	"application/octet-stream": "bin", "binary/octet-stream": "bin", "application/x-protobuf": "pb", "application/protobuf": "pb", "application/cbor": "cbor",
	"application/msgpack": "msgpack", "application/grpc": "grpc", "application/grpc-web": "grpc", "application/dns-message": "dns",
	"application/pkix-cert": "cer", "application/x-x509-ca-cert": "crt", "application/x-pem-file": "pem", "application/pgp-signature": "asc",

	"font/woff": "woff", "font/woff2": "woff2", "font/ttf": "ttf", "font/otf": "otf", "application/font-woff": "woff", "application/x-font-woff": "woff",
	"application/x-font-ttf": "ttf", "application/vnd.ms-fontobject": "eot",

	"image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg", "image/bmp": "bmp",
	"image/tiff": "tiff", "image/x-icon": "ico", "image/vnd.microsoft.icon": "ico", "image/avif": "avif", "image/heic": "heic",

	"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/aac": "aac", "audio/ogg": "ogg", "audio/wav": "wav", "audio/x-wav": "wav", "audio/webm": "weba",
	"audio/flac": "flac", "application/ogg": "ogx", "application/vnd.apple.mpegurl": "m3u8",
	"video/mp4": "mp4", "video/mpeg": "mpg", "video/webm": "webm", "video/ogg": "ogv", "video/quicktime": "mov", "video/x-msvideo": "avi", "video/x-flv": "flv",
	"video/mp2t": "ts",
}

// suffixes are the extensions of types that say what they are made of (RFC 6839, RFC 8081), by their structured suffix.
var suffixes = map[string]string{"json": "json", "xml": "xml", "yaml": "yaml", "cbor": "cbor", "zip": "zip", "gzip": "gz"}

// Extension returns the extension, without a dot, of the file of what begins with b, whose Content-Type is mediaType. Without a type, or with one
// that says nothing, the content decides. It is never empty, and has letters and digits alone.
func Extension(mediaType string, b []byte) string {
	t, _, _ := strings.Cut(mediaType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	if e := extensions[t]; e != "" && e != "bin" {
		return e
	}
	if i := strings.LastIndexByte(t, '+'); i >= 0 {
		if e := suffixes[t[i+1:]]; e != "" {
			return e
		}
		if e := extensions[t[:i]]; e != "" { // application/grpc+proto
			return e
		}
	}
	switch {
	case t == "" || t == "application/octet-stream" || t == "binary/octet-stream" || t == "application/unknown":
		return sniff(b)
	case strings.HasPrefix(t, "text/"):
		return "txt"
	}
	return "bin"
}

// signatures are what kinds of content begin with, where nothing else is likely to (WHATWG MIME Sniffing §6, and the formats themselves).
// Of text, the case doesn't matter, and neither does white space before it.
var signatures = [...]struct {
	at           int
	begins, with string
	text         bool
}{
	{0, "\x89PNG\r\n\x1a\n", "png", false},
	{0, "\xff\xd8\xff", "jpg", false},
	{0, "GIF87a", "gif", false},
	{0, "GIF89a", "gif", false},
	{8, "WEBPVP", "webp", false},
	{8, "WAVE", "wav", false},
	{8, "AVI ", "avi", false},
	{4, "ftyp", "mp4", false},
	{0, "\x1aE\xdf\xa3", "webm", false},
	{0, "OggS", "ogx", false},
	{0, "ID3", "mp3", false},
	{0, "fLaC", "flac", false},
	{0, "%PDF-", "pdf", false},
	{0, "%!PS-Adobe-", "ps", false},
	{0, "\x1f\x8b\x08", "gz", false},
	{0, "PK\x03\x04", "zip", false},
	{0, "BZh", "bz2", false},
	{0, "\xfd7zXZ\x00", "xz", false},
	{0, "\x28\xb5\x2f\xfd", "zst", false},
	{0, "7z\xbc\xaf\x27\x1c", "7z", false},
	{0, "Rar!\x1a\x07", "rar", false},
	{0, "MSCF\x00\x00\x00\x00", "cab", false},
	{257, "ustar", "tar", false},
	{0, "!<arch>\ndebian", "deb", false},
	{0, "\x00asm", "wasm", false},
	{0, "wOFF", "woff", false},
	{0, "wOF2", "woff2", false},
	{0, "OTTO", "otf", false},
	{0, "\x00\x01\x00\x00\x00", "ttf", false},
	{0, "\x00\x00\x01\x00", "ico", false},
	{0, "\xca\xfe\xba\xbe", "class", false},
	{0, "<!doctype html", "html", true},
	{0, "<html", "html", true},
	{0, "<head", "html", true},
	{0, "<body", "html", true},
	{0, "<svg", "svg", true},
	{0, "<?xml", "xml", true},
	{0, "{", "json", true},
	{0, "[", "json", true},
}

// sniff finds out what begins with b.
func sniff(b []byte) string {
	b = b[:min(len(b), sniffed)]
	readable := text(b)
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	for _, s := range &signatures {
		switch {
		case s.text && readable && len(trimmed) >= len(s.begins) && strings.EqualFold(string(trimmed[:len(s.begins)]), s.begins):
			return s.with
		case !s.text && len(b) >= s.at+len(s.begins) && string(b[s.at:s.at+len(s.begins)]) == s.begins:
			return s.with
		}
	}
	if readable && len(b) > 0 {
		return "txt"
	}
	return "bin"
}

// sniffed is how much of a body decides what it is, in bytes.
const sniffed = 512

// text reports whether the beginning of something is text in UTF-8, of which the last character may be cut off.
func text(b []byte) bool {
	b = b[:min(len(b), sniffed)]
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return !utf8.FullRune(b)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' {
			return false
		}
		b = b[n:]
	}
	return true
}

// hint returns the extension of a name that the sender chose; empty if it has none that can be one. Nothing else of the name is used.
func hint(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	e := strings.TrimPrefix(path.Ext(name), ".")
	if e == "" || len(e) > maxExtension || len(e)+1 == len(name) {
		return ""
	}
	for _, c := range []byte(e) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return ""
		}
	}
	return strings.ToLower(e)
}

// coded are the extensions of content codings.
var coded = map[string]string{"gzip": "gz", "x-gzip": "gz", "deflate": "zz", "x-deflate": "zz", "br": "br", "zstd": "zst", "compress": "Z", "x-compress": "Z", "snappy": "sz"}

// codedExtension returns the extension of what is still coded.
func codedExtension(coding string) string {
	if i := strings.LastIndexByte(coding, ','); i >= 0 {
		coding = coding[i+1:]
	}
	if e := coded[strings.ToLower(strings.TrimSpace(coding))]; e != "" {
		return e
	}
	return "coded"
}

// number appends n with three digits at least.
func number(dst []byte, n uint64) []byte {
	for least := uint64(100); n < least && least > 1; least /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, n, 10)
}
