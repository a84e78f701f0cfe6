package http2

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/proto"
)

// lines returns the fields of a block.
func (h *block) lines() (out []string) {
	for _, f := range h.fields {
		text := fmt.Sprintf("%s: %s", h.raw[f.Name.Off:][:f.Name.Len], h.raw[f.Value.Off:][:f.Value.Len])
		if f.Flags&proto.Sensitive != 0 {
			text += " (sensitive)"
		}
		if f.Flags&proto.Obscure != 0 {
			text += " (obscure)"
		}
		out = append(out, text)
	}
	return out
}

// The examples of RFC 7541 appendix C, with the sizes of the table after each.
func TestExamples(t *testing.T) {
	requests := [3]string{
		":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
		":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
		":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value",
	}
	responses := [3]string{
		":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com",
		":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com",
		":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\ncontent-encoding: gzip\n" +
			"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
	}
	for _, c := range []struct {
		name   string
		size   int
		blocks []string
		want   []string
		sizes  []int
	}{
		{"C.2.1", startSize, []string{"400a637573746f6d2d6b65790d637573746f6d2d686561646572"}, []string{"custom-key: custom-header"}, []int{55}},
		{"C.2.2", startSize, []string{"040c2f73616d706c652f70617468"}, []string{":path: /sample/path"}, []int{0}},
		{"C.2.3", startSize, []string{"100870617373776f726406736563726574"}, []string{"password: secret (sensitive)"}, []int{0}},
		{"C.2.4", startSize, []string{"82"}, []string{":method: GET"}, []int{0}},
		{"C.3", startSize, []string{
			"828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
			"828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
		}, requests[:], []int{57, 110, 164}},
		{"C.4", startSize, []string{
			"828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
		}, requests[:], []int{57, 110, 164}},
		{"C.5", 256, []string{
			"4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
			"4803333037c1c0bf",
			"88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b" +
				"206d61782d6167653d333630303b2076657273696f6e3d31",
		}, responses[:], []int{222, 222, 215}},
		{"C.6", 256, []string{
			"488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3", "4883640effc1c0bf",
			"88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
		}, responses[:], []int{222, 222, 215}},
	} {
		var table table
		table.reset()
		table.resize(c.size)
		var h block
		for i, text := range c.blocks {
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			h.reset(limits())
			if err := h.decode(&table, b); err != nil {
				t.Errorf("%s, block %d: %v", c.name, i+1, err)
			}
			if got := strings.Join(h.lines(), "\n"); got != c.want[i] {
				t.Errorf("%s, block %d: got\n%s\nwant\n%s", c.name, i+1, got, c.want[i])
			}
			if table.size != c.sizes[i] {
				t.Errorf("%s, block %d: a table of %d, want %d", c.name, i+1, table.size, c.sizes[i])
			}
		}
	}
	for _, c := range []struct {
		bits int
		b    string
		want uint64
	}{{5, "\x0a", 10}, {5, "\x1f\x9a\x0a", 1337}, {8, "\x2a", 42}} {
		if v, n, err := number([]byte(c.b), c.bits); v != c.want || n != len(c.b) || err != nil {
			t.Errorf("number of %q: %d, %d bytes, %v", c.b, v, n, err)
		}
	}
}

// FuzzBlock compares with the decoder of golang.org/x/net: the same fields, and errors in the same blocks. Each block begins
// with its length. The exceptions: a second size update at the beginning of a block, which the specification allows.
func FuzzBlock(f *testing.F) {
	f.Add([]byte("\x0d\x82\x86\x84\x41\x08a.example\x02\xbe\xbf"))
	f.Add([]byte("\x05\x3f\x00\x40\x01a\x01b\x04\x20\xbe\x82\x84"))
	f.Add([]byte("\x11\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x03\x3f\xe1\x1f\x01\xbe"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var table table
		table.reset()
		var h block
		var want []string
		other := hpack.NewDecoder(startSize, func(f hpack.HeaderField) {
			text := f.Name + ": " + f.Value
			if f.Sensitive {
				text += " (sensitive)"
			}
			want = append(want, text)
		})
		for len(in) > 0 {
			n := min(int(in[0]), len(in)-1)
			b := in[1 : 1+n]
			in = in[1+n:]
			if len(b) > 1 && b[0]&0xe0 == sizeUpdate {
				if _, n, err := number(b, sizeBits); err == nil && n < len(b) && b[n]&0xe0 == sizeUpdate {
					return
				}
			}
			want = nil
			all := limits()
			all.MaxFields = 256 // more than a block of the test can have
			h.reset(all)
			err := h.decode(&table, b)
			_, otherErr := other.Write(b)
			if otherErr == nil {
				otherErr = other.Close()
			}
			if (err == nil) != (otherErr == nil) {
				t.Fatalf("%x: %v, the other says %v", b, err, otherErr)
			}
			if got := h.lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%x: got\n%q\nwant\n%q", b, got, want)
			}
			if err != nil {
				return
			}
		}
	})
}

// After a loss nothing is shown that wasn't sent, and what was sent since is known when it is referred to.
func TestTableAfterLoss(t *testing.T) {
	obscure := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var sent strings.Builder
		encoder := hpack.NewEncoder(&sent)
		allowed := uint32(startSize)
		var table table
		table.reset()
		if r.IntN(2) == 0 {
			allowed = 64 << 10
			table.allowed = 64 << 10
			encoder.SetMaxDynamicTableSizeLimit(64 << 10)
		}
		if r.IntN(4) == 0 {
			table.forget()
			table.allowed = 0
		}
		known := map[string]bool{} // what was sent since the loss, and certainly is in the sender's table
		for i := range 60 {
			if r.IntN(8) == 0 {
				encoder.SetMaxDynamicTableSize(uint32(r.IntN(int(allowed))))
				clear(known)
			}
			sent.Reset()
			var fields []hpack.HeaderField
			for range 1 + r.IntN(8) {
				f := hpack.HeaderField{Name: fmt.Sprintf("x-%d", r.IntN(12)), Value: strings.Repeat("v", r.IntN(60)) + fmt.Sprint(r.IntN(20)), Sensitive: r.IntN(20) == 0}
				fields = append(fields, f)
				encoder.WriteField(f)
			}
			if r.IntN(10) == 0 {
				table.forget()
				clear(known)
				continue
			}
			var h block
			h.reset(limits())
			if err := h.decode(&table, []byte(sent.String())); err != nil {
				t.Fatalf("seed %d, block %d: %v", seed, i, err)
			}
			if len(h.fields) != len(fields) {
				t.Fatalf("seed %d, block %d: %d fields, want %d", seed, i, len(h.fields), len(fields))
			}
			for k, f := range h.fields {
				name, value := string(h.raw[f.Name.Off:][:f.Name.Len]), string(h.raw[f.Value.Off:][:f.Value.Len])
				if f.Flags&proto.Obscure != 0 {
					obscure++
					if name != "?" || value != "?" && value != fields[k].Value || known[fields[k].Name] {
						t.Fatalf("seed %d, block %d: %s: %s for %v", seed, i, name, value, fields[k])
					}
				} else if name != fields[k].Name || value != fields[k].Value {
					t.Fatalf("seed %d, block %d: %s: %s for %v", seed, i, name, value, fields[k])
				}
			}
			// The names of the last block are known in the next: they fill no table of the usual size.
			clear(known)
			for k, f := range h.fields {
				if f.Flags&proto.Obscure == 0 && !fields[k].Sensitive && k >= len(fields)-2 {
					known[fields[k].Name] = true
				}
			}
		}
	}
	if obscure == 0 {
		t.Error("nothing was lost")
	}
}

// The table is kept small whatever the sender is allowed, and what goes too early is shown as unknown.
func TestTableLimit(t *testing.T) {
	var table table
	table.reset()
	table.allowed = 1 << 30
	table.resize(1 << 30)
	var h block
	value := strings.Repeat("x", 1000)
	for i := range 1000 {
		f := field{name: fmt.Appendf(nil, "n%d", i), value: []byte(value)}
		table.add(&f)
		if table.size > maxTable || table.cost() > 4*maxTable {
			t.Fatalf("a size of %d, %d bytes", table.size, table.cost())
		}
	}
	h.reset(limits())
	if err := h.decode(&table, []byte{0xbe, 0xff, 0xe8, 0x06}); err != nil { // the newest, and the 936th
		t.Fatal(err)
	}
	if got := strings.Join(h.lines(), ", "); got != "n999: "+value+", ?: ? (obscure)" {
		t.Errorf("got %s", got)
	}
	table.resize(0)
	h.reset(limits())
	if err := h.decode(&table, []byte{0xbe}); err == nil {
		t.Error("an empty table has an entry")
	}
}
