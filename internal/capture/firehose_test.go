package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/firehose"
)

// said is a fragment of conversation a, b, c ...: its direction, its place, and its text, which is empty for an end. The time is in
// milliseconds.
type said struct {
	who   byte
	dir   firehose.Dir
	time  int64
	count uint64
	text  string
}

const (
	ask    = firehose.Request
	answer = firehose.Response
)

func hose(list ...said) (b []byte) {
	for _, s := range list {
		f := firehose.Fragment{UUID: uuidOf(s.who), Dir: s.dir, Time: 1_700_000_000_000_000 + s.time*1000, Count: s.count, End: s.text == "", Data: []byte(s.text)}
		b = f.Append(b)
	}
	return b
}

func uuidOf(who byte) firehose.UUID { return firehose.UUID{0: who, 6: 0x40, 8: 0x80} }

// talk is a whole conversation.
func talk(who byte, at int64) []said {
	return []said{
		{who, ask, at, 0, "GET / HTTP/1.1\r\n"}, {who, ask, at, 1, "\r\n"}, {who, answer, at + 2, 0, "HTTP/1.1 204 No Content\r\n\r\n"},
		{who, answer, at + 5, 1, ""}, {who, ask, at + 5, 2, ""},
	}
}

const (
	asked    = "GET / HTTP/1.1\r\n\r\n"
	answered = "HTTP/1.1 204 No Content\r\n\r\n"
)

// heard is what packets say, read by hand: by connection, what either side says, in the order of the packets: "<" and ">" begin what the
// client and the server say, "[n]" is a hole, "." the end of a side, and "S" a handshake's packet.
func heard(t *testing.T, s Source) map[string]string {
	t.Helper()
	all, next, speaks := map[string]string{}, map[string]uint32{}, map[string]string{}
	for {
		var r Record
		err := s.Next(&r)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(r.Data[12:])), binary.BigEndian.Uint16(r.Data[20:]))
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(r.Data[16:])), binary.BigEndian.Uint16(r.Data[22:]))
		seq, flags := binary.BigEndian.Uint32(r.Data[24:]), r.Data[33]
		data := string(r.Data[20+int(r.Data[32]>>4)*4:])
		key, side := src.String()+" "+dst.String(), "<"
		if dst.Port() > src.Port() {
			key, side = dst.String()+" "+src.String(), ">"
		}
		key = strings.TrimPrefix(s.Taps()[r.Tap].Name+" "+key, " ")
		text := ""
		if flags&2 != 0 {
			all[key] += "S"
			next[key+side] = seq + 1
			continue
		}
		if want, ok := next[key+side]; ok && seq > want {
			text = fmt.Sprintf("[%d]", seq-want)
		}
		text += data
		next[key+side] = seq + uint32(len(data))
		if flags&1 != 0 {
			text += "."
			next[key+side]++
		}
		if text == "" {
			continue // an acknowledgement
		}
		if speaks[key] != side {
			all[key] += side
			speaks[key] = side
		}
		all[key] += text
	}
}

const firstEnds, secondEnds = "192.0.2.1:10000 198.51.100.1:80", "192.0.2.1:10001 198.51.100.1:80"

const whole = "SS<" + asked + ">" + answered + ".<."

func writeAll(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func only(list []said, dir firehose.Dir) (of []said) {
	for _, s := range list {
		if s.dir == dir {
			of = append(of, s)
		}
	}
	return of
}

func TestFirehose(t *testing.T) {
	first, second := talk('a', 10), talk('b', 11)
	both := slices.Concat(first[:2], second[:2], first[2:], second[2:])
	// Another process has written its fragments late.
	late := slices.Concat(only(second, ask), only(first, ask))
	for _, c := range []struct {
		name     string
		files    map[string]string
		inputs   []string
		want     map[string]string
		warnings []string
		notes    int
	}{
		{"one", map[string]string{"x": string(hose(first...))}, []string{"x"}, map[string]string{firstEnds: whole}, nil, 1},
		{"two at once", map[string]string{"x": string(hose(both...))}, []string{"x"}, map[string]string{firstEnds: whole, secondEnds: whole}, nil, 1},
		{"two files", map[string]string{"x": string(hose(only(both, ask)...)), "y": string(hose(only(both, answer)...))}, []string{"x", "y"},
			map[string]string{firstEnds: whole, secondEnds: whole}, nil, 1},
		{"two files, the other way round", map[string]string{"x": string(hose(only(both, ask)...)), "y": string(hose(only(both, answer)...))}, []string{"y", "x"},
			map[string]string{firstEnds: whole, secondEnds: whole}, nil, 1},
		{"two files, one out of order", map[string]string{"x": string(hose(late...)), "y": string(hose(only(both, answer)...))}, []string{"x", "y"},
			map[string]string{firstEnds: whole, secondEnds: whole}, nil, 1},
		{"two files, one begins when the other has ended", map[string]string{"x": string(hose(only(first, ask)...)), "y": string(hose(said{'a', answer, 12, 0, answered}, said{'a', answer, 15, 1, ""}))},
			[]string{"x", "y"}, map[string]string{firstEnds: whole}, nil, 1},
		{"one direction begins late", map[string]string{"x": string(hose(said{'a', ask, 1, 0, asked}, said{'a', ask, 2, 1, ""}, said{'a', answer, 4000, 0, answered}, said{'a', answer, 4001, 1, ""}))},
			[]string{"x"}, map[string]string{firstEnds: whole}, nil, 1},
		{"one direction begins too late", map[string]string{"x": string(hose(said{'a', ask, 1, 0, asked}, said{'a', ask, 2, 1, ""}, said{'b', ask, 6000, 0, "x"}, said{'b', ask, 6000, 1, ""},
			said{'a', answer, 6001, 0, answered}, said{'a', answer, 6002, 1, ""}))},
			[]string{"x"}, map[string]string{firstEnds: "SS<" + asked + ">.<.", secondEnds: "SS<x>.<.", "192.0.2.1:10002 198.51.100.1:80": "SS>" + answered + ".<."}, nil, 1},
		{"the parts of one", map[string]string{"x": string(hose(first[:1]...)), "y": string(hose(first[1:]...))}, []string{"x", "y"}, map[string]string{firstEnds: whole}, nil, 1},
		{"named", map[string]string{"x": string(hose(first...)), "y": string(hose(second...))}, []string{"in=x", "out=y"},
			map[string]string{"in " + firstEnds: whole, "out " + firstEnds: whole}, nil, 2},
		{"one direction", map[string]string{"x": string(hose(only(first, ask)...))}, []string{"x"}, map[string]string{firstEnds: "SS<" + asked + ">.<."}, nil, 1},
		{"no end", map[string]string{"x": string(hose(first[:3]...))}, []string{"x"}, map[string]string{firstEnds: "SS<" + asked + ">" + answered},
			[]string{"x: 2 recorded streams, 2 without the mark of their end"}, 1},
		{"a hole", map[string]string{"x": string(hose(said{'a', ask, 1, 0, "ab"}, said{'a', ask, 1, 3, "cd"}, said{'a', answer, 2, 0, "ef"}, said{'a', answer, 2, 2, ""}, said{'a', ask, 1, 4, ""}))},
			[]string{"x"}, map[string]string{firstEnds: "SS<ab>ef<[2]cd>[1].<."}, []string{"x: 2 recorded streams, 2 with missing fragments (3 fragments missing)"}, 1},
		{"no beginning", map[string]string{"x": string(hose(said{'a', ask, 1, 3, "cd"}, said{'a', answer, 2, 7, "ef"}, said{'a', answer, 2, 8, ""}, said{'a', ask, 1, 4, ""}))},
			[]string{"x"}, map[string]string{firstEnds: "<cd>ef.<."}, []string{"x: 2 recorded streams, 2 without their beginning (10 fragments missing)"}, 1},
		{"again", map[string]string{"x": string(hose(slices.Concat(first[:2], first[:2], first[2:])...))}, []string{"x"}, map[string]string{firstEnds: whole}, nil, 1},
		{"out of order", map[string]string{"x": string(hose(first[1], first[0], first[2], first[3], first[4]))}, []string{"x"}, map[string]string{firstEnds: whole}, nil, 1},
		{"a UUID again", map[string]string{"x": string(hose(slices.Concat(first, talk('a', 20))...))}, []string{"x"},
			map[string]string{firstEnds: whole, secondEnds: whole}, nil, 1},
		{"HTTP/2, the wrong way round", map[string]string{"x": string(hose(said{'a', answer, 1, 0, "PRI * HTTP/2.0\r\n"}, said{'a', ask, 2, 0, "settings"}))}, []string{"x"},
			map[string]string{firstEnds: "SS<PRI * HTTP/2.0\r\n>settings"}, []string{"x: 2 recorded streams, 2 without the mark of their end"}, 1},
		{"nothing but damage", map[string]string{"x": "rubbish\r\n" + string(hose(first[:1]...))[:50]}, nil, nil, nil, 0},
		{"nothing but damage in a file of another kind", map[string]string{"x": "\x7fELF\r\n" + string(hose(first[:1]...))}, nil, nil, nil, 0},
		{"damage before the first", map[string]string{"x": "{rubbish\r\n" + string(hose(first...))}, []string{"x"}, map[string]string{firstEnds: whole},
			[]string{"x: damaged in 1 place: bytes that are no fragment at offset 0; 10 bytes skipped", "x: 2 recorded streams, 2 behind damage, maybe forged"}, 1},
		{"damage behind the first", map[string]string{"x": string(hose(first[:2]...)) + "rubbish\r\n" + string(hose(first[2:]...))}, []string{"x"}, map[string]string{firstEnds: whole},
			[]string{"x: damaged in 1 place: bytes that are no fragment at offset 139; 9 bytes skipped"}, 1},
		{"cut off", map[string]string{"x": string(hose(first[:3]...))[:160]}, []string{"x"}, map[string]string{firstEnds: "SS<" + asked},
			[]string{"x: damaged in 1 place: the stream ends within a fragment at offset 139; 21 bytes skipped", "x: 1 recorded stream, 1 without the mark of their end"}, 1},
		{"addresses", map[string]string{"x": string(hose(both...)), "x" + SideFile: "{}\n[\nnull\n" +
			fmt.Sprintf("{\"uuid\":%q,\"client\":\"x\",\"server\":\"10.0.0.2:80\"}\n", uuidOf('a')) +
			fmt.Sprintf("{\"uuid\":%q,\"client\":\"10.0.0.7:4711\",\"server\":\"10.0.0.2:80\",\"tls\":false}\n", strings.ToUpper(uuidOf('b').String())) +
			fmt.Sprintf("{\"uuid\":%q,\"client\":\"10.0.0.8:4712\",\"server\":\"10.0.0.2:80\",\"started\":\"2026\"}\n{\"uuid\":", uuidOf('a'))},
			[]string{"x"}, map[string]string{"10.0.0.8:4712 10.0.0.2:80": whole, "10.0.0.7:4711 10.0.0.2:80": whole}, nil, 0},
	} {
		dir := writeAll(t, c.files)
		var inputs []Input
		for _, in := range c.inputs {
			name, path, ok := strings.Cut(in, "=")
			if !ok {
				name, path = "", in
			}
			inputs = append(inputs, Input{Tap: name, Path: filepath.Join(dir, path)})
		}
		if inputs == nil {
			if _, err := Open([]Input{{Path: filepath.Join(dir, "x")}}, Options{}); err == nil {
				t.Errorf("%s: it is opened", c.name)
			}
			continue
		}
		s, err := Open(inputs, Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := heard(t, s)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s: heard\n%q, want\n%q", c.name, got, c.want)
		}
		var warnings []string
		for _, w := range s.Warnings() {
			warnings = append(warnings, strings.TrimPrefix(w, dir+"/"))
		}
		if !slices.Equal(warnings, c.warnings) {
			t.Errorf("%s: warnings\n%q, want\n%q", c.name, warnings, c.warnings)
		}
		if n := s.(Noted).Notes(); len(n) != c.notes {
			t.Errorf("%s: notes %q", c.name, n)
		}
		for _, tap := range s.Taps() {
			if tap.Recorded != RecordedByServer || tap.Received == 0 {
				t.Errorf("%s: tap %+v", c.name, tap)
			}
		}
		s.Close()
	}
}

// A stream is told from other text by its first fragment, also where that is all that has come.
func TestFirehoseLive(t *testing.T) {
	r, w := pipe(t)
	s := open(t, Options{Follow: true, Stdin: r}, Input{Path: Stdin})
	idle(t, s)
	put(t, w, hose(said{'a', ask, 1, 0, "GET /"})[:40])
	idle(t, s)
	put(t, w, hose(said{'a', ask, 1, 0, "GET /"})[40:])
	packets := 0
	for ; packets < 4; packets++ {
		var r Record
		if err := s.Next(&r); err != nil {
			t.Fatal(packets, err)
		}
	}
	idle(t, s)
	put(t, w, hose(said{'a', ask, 2, 1, ""}))
	w.Close()
	if got := heard(t, s); len(got) != 1 {
		t.Errorf("heard %q at the end", got)
	}
}

// Who keeps a packet, keeps its bytes.
func TestFirehoseRetained(t *testing.T) {
	var list []said
	for i := range uint64(300) {
		list = append(list, said{'a', ask, int64(i), i, strings.Repeat(string(rune('a'+i%26)), 4000)})
	}
	s := open(t, Options{}, Input{Path: filepath.Join(writeAll(t, map[string]string{"x": string(hose(list...))}), "x")})
	type kept struct {
		data  []byte
		copy  string
		block *Block
	}
	var all []kept
	var r Record
	for s.Next(&r) == nil {
		if len(all)%3 == 0 {
			r.Block.Retain()
		}
		all = append(all, kept{r.Data, string(r.Data), r.Block})
	}
	for i, k := range all {
		if i%3 == 0 && string(k.data) != k.copy {
			t.Fatalf("packet %d was overwritten", i)
		}
	}
	if len(all) < 300 {
		t.Errorf("%d packets", len(all))
	}
}

// Captures and recordings are read together, in order of time.
func TestFirehoseAmongCaptures(t *testing.T) {
	ms := int64(1_700_000_000_000)
	frames := simplePcap(pkt{time: (ms + 9) * 1e6, data: "before"}, pkt{time: (ms + 11) * 1e6, data: "meanwhile"}, pkt{time: (ms + 99) * 1e6, data: "after"})
	dir := writeAll(t, map[string]string{"x": string(frames), "y": string(hose(talk('a', 10)...))})
	for _, inputs := range [][]Input{
		{{Path: filepath.Join(dir, "x")}, {Path: filepath.Join(dir, "y")}},
		{{Path: filepath.Join(dir, "y"), Tap: "same"}, {Path: filepath.Join(dir, "x"), Tap: "same"}},
	} {
		s := open(t, Options{}, inputs...)
		var r Record
		last, plain, made := int64(0), 0, 0
		for {
			err := s.Next(&r)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Time < last {
				t.Errorf("a packet of %d comes after %d", r.Time, last)
			}
			last = r.Time
			if s.Taps()[r.Tap].Recorded == "" {
				plain++
			} else {
				made++
			}
		}
		if plain != 3 || made < 8 || len(s.Taps()) != 2 {
			t.Errorf("%d packets captured, %d made, of %d taps", plain, made, len(s.Taps()))
		}
	}
}

// Addresses are used again when there are no others, and what isn't asked for is forgotten.
func TestAddresses(t *testing.T) {
	a := addresses{next: clientsMadeUp*portsMadeUp - 1}
	if c, _ := a.of(firehose.UUID{}); c.String() != "192.0.2.254:59999" {
		t.Errorf("the last client is %v", c)
	}
	if c, _ := a.of(firehose.UUID{}); c.String() != "192.0.2.1:10000" {
		t.Errorf("the client behind the last is %v", c)
	}
	for i := range uint32(maxKnownEnds + 10) {
		u := firehose.UUID{}
		binary.BigEndian.PutUint32(u[:], i)
		a.learn(fmt.Appendf(nil, `{"uuid":%q,"client":"10.0.0.1:1","server":"10.0.0.2:2"}`, u))
	}
	if len(a.known) != maxKnownEnds || len(a.order) != maxKnownEnds {
		t.Errorf("%d addresses are kept", len(a.known))
	}
}

func FuzzFirehose(f *testing.F) {
	for _, list := range [][]said{talk('a', 1), slices.Concat(talk('a', 1)[:2], talk('b', 2), talk('a', 1)[2:]), talk('a', 1)[2:], {{'a', ask, 1, 0, strings.Repeat("x", 20000)}, {'a', ask, 2, 9, "y"}}} {
		b := hose(list...)
		f.Add(b)
		f.Add(b[:len(b)-20])
		f.Add(append(b, b...))
		f.Add(append(append(b[:len(b):len(b)], "rubbish"...), b...))
	}
	f.Fuzz(checkBytes)
}
