package stream_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/stream"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

var _ interface {
	output.Output
	output.Headline
} = (*stream.Output)(nil)

var (
	flow  = outputtest.Flow("10.0.0.7:51022", "10.0.0.2:80")
	other = outputtest.Flow("[2001:db8::7]:51023", "[2001:db8::2]:80")
	at    = clock.Mark{Time: time.Date(2024, 5, 6, 10, 42, 7, 118_000_000, time.UTC).UnixNano()}
)

func data(f *proto.Flow, d proto.Direction, text string) follow.Chunk {
	return follow.Chunk{Flow: f, Dir: d, At: at, Data: []byte(text)}
}

func ask(text string) follow.Chunk    { return data(flow, proto.Originator, text) }
func answer(text string) follow.Chunk { return data(flow, proto.Responder, text) }

func show(t *testing.T, o stream.Options, chunks ...follow.Chunk) string {
	t.Helper()
	var b bytes.Buffer
	out := stream.New(&b, o)
	for i := range chunks {
		if err := out.Chunks(chunks[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	asks    = "── 10.0.0.7:51022 → 10.0.0.2:80  2024-05-06T10:42:07.118000Z  connection 1\n"
	answers = "── 10.0.0.2:80 → 10.0.0.7:51022  2024-05-06T10:42:07.118000Z  connection 1\n"
	others  = "── [2001:db8::7]:51023 → [2001:db8::2]:80  2024-05-06T10:42:07.118000Z  connection 2\n"
)

func TestShown(t *testing.T) {
	with := func(c follow.Chunk, change func(c *follow.Chunk)) follow.Chunk {
		change(&c)
		return c
	}
	hole := func(n int64) follow.Chunk { return follow.Chunk{Flow: flow, At: at, Gap: n} }
	end := func(why proto.CloseReason) follow.Chunk {
		return follow.Chunk{Flow: flow, Dir: proto.Responder, At: at, Close: why, Over: true}
	}
	for _, c := range []struct {
		name   string
		form   stream.Form
		chunks []follow.Chunk
		want   string
	}{
		{"who sends is said where that changes", stream.Auto, []follow.Chunk{ask("a\nb"), ask("c\r\n"), answer("d\n"), data(other, 0, "e\n"), answer("f")},
			asks + "a\nbc\n" + answers + "d\n" + others + "e\n" + answers + "f\n"},
		{"what is decrypted is another source", stream.Auto, []follow.Chunk{ask("a\n"), with(ask("b\n"), func(c *follow.Chunk) { c.Inner = true })},
			asks + "a\n" + strings.Replace(asks, "1\n", "1, decrypted\n", 1) + "b\n"},
		{"a tap that has a name", stream.Auto, []follow.Chunk{with(ask("a"), func(c *follow.Chunk) { c.Tap = &exchange.Tap{Name: "\x1bproxy", Label: "x"} })},
			strings.Replace(asks, "1\n", "1, tap \\x1bproxy\n", 1) + "a\n"},
		{"line ends in two segments, and CRs that end no line", stream.Auto, []follow.Chunk{ask("a\r"), ask("\nb\r"), ask("c\rd\r"), answer("e\r")},
			asks + "a\nb\\x0dc\\x0dd\\x0d\n" + answers + "e\\x0d\n"},
		{"a CR alone", stream.Auto, []follow.Chunk{ask("\r"), answer("\n")}, asks + "\\x0d\n" + answers + "\n"},
		{"nothing steers the terminal", stream.Text, []follow.Chunk{ask("\x1b]0;x\x07\u202e\x00\xff\tö")},
			asks + "\\x1b]0;x\\x07\\xe2\\x80\\xae\\x00\\xff\tö\n"},
		{"nothing passes for a line of the output's own", stream.Auto, []follow.Chunk{ask(asks + " ── a"), ask("── b\n─"), ask("─ c")},
			asks + "\\xe2\\x94\\x80" + asks[len("─"):] + " ── a── b\n\\xe2\\x94\\x80─ c\n"},
		{"text, and then what isn't", stream.Auto, []follow.Chunk{answer("HTTP/1.1 200 OK\r\n\r\n\x1f\x8b\x08\x00abcdefghijklmnop"), answer("x\n")},
			answers + "HTTP/1.1 200 OK\n\n" +
				"00000013  1f 8b 08 00 61 62 63 64  65 66 67 68 69 6a 6b 6c  |....abcdefghijkl|\n" +
				"00000023  6d 6e 6f 70                                       |mnop|\nx\n"},
		{"what isn't text, behind a line that was begun", stream.Auto, []follow.Chunk{ask("a"), ask("\x00")},
			asks + "a\n00000001  00                                                |.|\n"},
		{"all in hexadecimal", stream.Hex, []follow.Chunk{ask("GET / HTTP/1.1\r\n"), ask("a")},
			asks + "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n" +
				"00000010  61                                                |a|\n"},
		{"holes", stream.Hex, []follow.Chunk{ask("a"), hole(1448), ask("b"), hole(1), hole(proto.Unknown)},
			asks + "00000000  61                                                |a|\n── [1,448 bytes missing]\n" +
				"000005a9  62                                                |b|\n── [1 byte missing]\n── [bytes missing; how many isn't known]\n"},
		{"a hole within a line", stream.Auto, []follow.Chunk{ask("a"), hole(1448), ask("b")}, asks + "a\n── [1,448 bytes missing]\nb\n"},
		{"not decrypted", stream.Auto, []follow.Chunk{with(hole(5312), func(c *follow.Chunk) { c.Undecrypted = "no key\x1b" })},
			asks + "── [5,312 bytes not decrypted: no key\\x1b]\n"},
		{"ends", stream.Auto, []follow.Chunk{ask("a"), end(proto.Reset), data(other, 0, "b"), ask("c"), end(proto.Finished), ask("d")},
			asks + "a\n" + answers + "── [reset]\n" + others + "b\n" + strings.Replace(asks, "1\n", "3\n", 1) + "c\n" + strings.Replace(asks, "1\n", "4\n", 1) + "d\n"},
		{"an end of which nothing came", stream.Auto, []follow.Chunk{end(proto.Reset), ask("a")}, asks + "a\n"},
		{"nothing", stream.Auto, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(t, stream.Options{Form: c.form}, c.chunks...); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestTerminal: on a terminal the rule has its width, times are local, and the two sides have styles.
func TestTerminal(t *testing.T) {
	zone := time.FixedZone("", 3600)
	got := show(t, stream.Options{Form: stream.Auto, Terminal: terminal.Terminal{Width: 70, Color: true}, Location: zone}, ask("a\n"), answer("b\n"))
	want := "\x1b[2m── 10.0.0.7:51022 → 10.0.0.2:80  11:42:07.118  connection 1 ──────────\x1b[0m\n\x1b[35ma\x1b[0m\n" +
		"\x1b[2m── 10.0.0.2:80 → 10.0.0.7:51022  11:42:07.118  connection 1 ──────────\x1b[0m\nb\n"
	if strings.ReplaceAll(got, "\x1b[0m", "") != strings.ReplaceAll(want, "\x1b[0m", "") {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	for line := range strings.Lines(got) {
		if strings.Contains(line, "──") && terminal.Width([]byte(strings.NewReplacer("\x1b[2m", "", "\x1b[0m", "", "\n", "").Replace(line))) != 70 {
			t.Errorf("%q isn't 70 columns wide", line)
		}
	}
}

// TestCharacters: characters that segments cut are text, and so are whole ones; what can't be text isn't.
func TestCharacters(t *testing.T) {
	for _, c := range []struct {
		text string
		hex  bool
	}{
		{"häßlich", false}, {"日本", false}, {"\xe6\x97", false}, {"\x97\xa5 and on", false}, {"\xa5", false}, {"🙂", false},
		{"a\xffb", true}, {"a\xe6b", true}, {"abcd\x97", true}, {"\x00", true}, {"\x7f", true}, {"\u0085", true}, {"\x1b[31m", false}, {"\t", false},
	} {
		if got := strings.Contains(show(t, stream.Options{Form: stream.Auto}, ask(c.text)), "00000000  "); got != c.hex {
			t.Errorf("%q is shown in hexadecimal: %v", c.text, got)
		}
	}
}

func TestStats(t *testing.T) {
	out := stream.New(&bytes.Buffer{}, stream.Options{Form: stream.Auto})
	chunks := []follow.Chunk{
		ask("abc"), ask("d"), answer("e"), {Flow: flow, Gap: 100}, {Flow: flow, Gap: proto.Unknown}, {Flow: other, Gap: 7, Undecrypted: "x"},
		{Flow: flow, Close: proto.Reset}, {Flow: flow, Dir: proto.Responder, Close: proto.Reset, Over: true},
	}
	if err := out.Chunks(chunks); err != nil {
		t.Fatal(err)
	}
	want := follow.Stats{HalfStreams: 2, Bytes: 5, Holes: 2, MissingBytes: 100, Undecrypted: 1, UndecryptedBytes: 7}
	if got := out.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

type broken struct{}

var errBroken = errors.New("nobody reads")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestErrors(t *testing.T) {
	out := stream.New(broken{}, stream.Options{Form: stream.Auto})
	var err error
	for range 100 {
		if err = out.Chunks([]follow.Chunk{ask(strings.Repeat("a", 4096))}); err != nil {
			break
		}
	}
	if !errors.Is(err, errBroken) || !errors.Is(out.Flush(), errBroken) || !errors.Is(out.Close(), errBroken) {
		t.Errorf("a broken pipe gives %v", err)
	}
}
