package packets

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// fragmented is a capture whose larger packets are cut into fragments, of IPv4.
func fragmented(t testing.TB) (out []capture.Record) {
	t.Helper()
	for _, r := range scenario(t, "demo", 0) {
		frames := [][]byte{r.Data}
		if len(r.Data) > 434 && r.Data[14]>>4 == 4 && r.Data[14]&15 == 5 {
			frames = cutUp(r.Data)
		}
		for i, f := range frames {
			c := r
			c.Time += int64(i)
			c.Data, c.WireLen, c.Number = f, len(f), uint64(len(out)+1)
			out = append(out, c)
		}
	}
	return out
}

// cutUp cuts an Ethernet frame with an IPv4 packet into fragments.
func cutUp(frame []byte) (out [][]byte) {
	be := binary.BigEndian
	ip, payload := frame[14:34], frame[34:]
	const size = 400
	for at := 0; at < len(payload); at += size {
		part := payload[at:min(at+size, len(payload))]
		b := append(bytes.Clone(frame[:14]), ip...)
		h := b[14:]
		be.PutUint16(h[2:], uint16(20+len(part)))
		be.PutUint16(h[6:], uint16(at/8))
		if at+size < len(payload) {
			h[6] |= 0x20
		}
		h[10], h[11] = 0, 0
		sum := uint32(0)
		for i := 0; i < len(h); i += 2 {
			sum += uint32(be.Uint16(h[i:]))
		}
		sum = sum>>16 + sum&0xffff
		be.PutUint16(h[10:], ^uint16(sum+sum>>16))
		out = append(out, append(b, part...))
	}
	return out
}

// inNetworks is a capture that is seen twice, in two VLANs, with half a microsecond between the copies.
func inNetworks(all []capture.Record) (out []capture.Record) {
	for _, r := range all {
		for vlan := range 2 {
			c := r
			c.Data = slices.Concat(r.Data[:12], []byte{0x81, 0, 0, byte(10 + vlan)}, r.Data[12:])
			c.Number, c.WireLen, c.Time = uint64(len(out)+1), r.WireLen+4, r.Time+int64(vlan)*500
			out = append(out, c)
		}
	}
	return out
}

// TestFragments: the fragments of an exchange are there again, with all it needs.
func TestFragments(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	src := fragmented(t)
	all := keep(t, r, source1(src))
	if missing := again(t, r.Write, all, false); len(missing) > 0 {
		t.Errorf("%d of %d are missing", len(missing), len(all))
	}
	if missing := again(t, r.Write, all, true); len(missing) > 0 {
		t.Errorf("with their connection, %d of %d are missing", len(missing), len(all))
	}
	if c := r.Counters(); c.Written+c.Other != uint64(len(src)) || c.Other > 10 {
		t.Errorf("%+v of %d", c, len(src))
	}
}

// TestFragmentsAreBounded: fragments of datagrams that never become whole are let go of.
func TestFragmentsAreBounded(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	src := fragmented(t)
	i := slices.IndexFunc(src, func(r capture.Record) bool { return r.Data[14]>>4 == 4 && r.Data[20]&0x20 != 0 })
	k := r.Keeper(source1(nil).Taps, false)
	for n := range 10 * maxFragments {
		k.Packet(&src[i], nil, nil)
		if len(k.fragments) > maxFragments {
			t.Fatalf("%d fragments wait after %d", len(k.fragments), n)
		}
	}
	late := src[i]
	late.Time += fragmentTime + 1
	k.Packet(&late, nil, nil)
	if len(k.fragments) != 1 {
		t.Errorf("%d fragments wait", len(k.fragments))
	}
	huge := late
	huge.Data = append(bytes.Clone(late.Data), make([]byte, maxFragment)...)
	k.Packet(&huge, nil, nil)
	k.Close()
	if c := r.Counters(); len(k.fragments) != 0 || c.Other != 10*maxFragments+2 {
		t.Errorf("%+v", c)
	}
}

// TestNetworks: of connections with the same ends in two networks, each exchange gets the packets of its own.
func TestNetworks(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	all := keep(t, r, source1(inNetworks(scenario(t, "demo", 0))))
	if missing := again(t, r.Write, all, false); len(missing) > 0 {
		t.Errorf("%d of %d are missing", len(missing), len(all))
	}
	dir := t.TempDir()
	for i := range all {
		name, _ := place(t, dir, r.Write, all[i].query)
		var vlan byte
		for _, p := range packetsOf(t, openFile(t, name)) {
			if vlan == 0 {
				vlan = p.Data[15]
			}
			if p.Data[15] != vlan {
				t.Fatalf("exchange %d has packets of VLAN %d and of VLAN %d", i, vlan, p.Data[15])
			}
		}
	}
}

// TestTaps: of an exchange that was seen at two taps, each observation gets the packets of its own tap, even when the
// taps have no names that tell them apart.
func TestTaps(t *testing.T) {
	for _, taps := range [][]capture.Tap{{{Name: "eth0"}, {Name: "eth1"}}, {{File: "/x/a.pcap"}, {File: "/x/a.pcap"}}} {
		var src []capture.Record
		for _, p := range scenario(t, "demo", 0) {
			for tap := range uint32(2) {
				c := p
				c.Tap, c.Number, c.Time = tap, uint64(len(src)+1), p.Time+int64(tap)*700
				src = append(src, c)
			}
		}
		r := openRing(t, t.TempDir(), testOptions())
		all := keep(t, r, &memory{records: src, taps: taps})
		dir := t.TempDir()
		for i := range all {
			name, count := place(t, dir, r.Write, all[i].query)
			back := openFile(t, name)
			if got := len(packetsOf(t, back)); len(back.Taps()) != 1 || uint64(got) != count.Packets {
				t.Fatalf("%+v: exchange %d has packets of %d taps", taps, i, len(back.Taps()))
			}
			if want := taps[0].Name; want != "" && back.Taps()[0].Name != all[i].query.Tap {
				t.Errorf("the tap is %q, want %q", back.Taps()[0].Name, all[i].query.Tap)
			}
		}
		if len(all) == 0 || len(all)%2 != 0 {
			t.Errorf("%d exchanges", len(all))
		}
	}
}

// TestReadTwice: a capture that was imported twice doesn't give its packets twice.
func TestReadTwice(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	src := scenario(t, "demo", 0)
	all := keep(t, r, source1(src))
	var once []Count
	for i := range all {
		_, n := place(t, t.TempDir(), r.Write, all[i].query)
		once = append(once, n)
	}
	keep(t, r, source1(src))
	for i := range all {
		if _, n := place(t, t.TempDir(), r.Write, all[i].query); n.Packets != once[i].Packets {
			t.Errorf("exchange %d: %d packets, %d when it was imported once", i, n.Packets, once[i].Packets)
		}
	}
}

// TestPortsUsedAgain: the packets of another connection with the same ends aren't taken.
func TestPortsUsedAgain(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	src := scenario(t, "demo", 0)
	last := src[len(src)-1]
	n := len(src)
	for _, p := range src[:n] {
		p.Time += last.Time - src[0].Time + 1
		p.Number = uint64(len(src) + 1)
		p.Data = moved(p.Data) // but for those of IPv6
		src = append(src, p)
	}
	all := keep(t, r, source1(src))
	if missing := again(t, r.Write, all, false); len(missing) > 0 {
		t.Errorf("%d of %d are missing", len(missing), len(all))
	}
	dir := t.TempDir()
	for i := range all {
		q := all[i].query
		q.Connection = true
		if all[i].grade != exchange.Complete || q.Proto == packet.ProtoUDP {
			continue // the other connection may be what ended it; a flow of UDP lasts until it is silent for long
		}
		name, _ := place(t, dir, r.Write, q)
		first := q.Start <= last.Time
		for _, p := range packetsOf(t, openFile(t, name)) {
			if (p.Time <= last.Time) != first {
				t.Fatalf("exchange %d has packets of two connections: %+v", i, all[i])
			}
		}
	}
}

// moved returns a frame with other sequence numbers.
func moved(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= 54 && b[14]>>4 == 4 && b[23] == 6 {
		tcp := b[14+int(b[14]&15)*4:]
		for _, at := range []int{4, 8} {
			v := binary.BigEndian.Uint32(tcp[at:])
			if at == 4 || v != 0 {
				binary.BigEndian.PutUint32(tcp[at:], v+1<<20)
			}
		}
	}
	return b
}

// TestWhole: with Connection, an exchange comes with its whole connection, in order.
func TestWhole(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	all := keep(t, r, source1(scenario(t, "small", 1<<20)))
	dir := t.TempDir()
	byFlow := map[string]int{}
	for i := range all {
		byFlow[string(all[i].query.Addr[0][:])+string(binary.BigEndian.AppendUint16(nil, all[i].query.Port[0]))]++
	}
	for i := range all[:min(len(all), 50)] {
		q := all[i].query
		q.Connection = true
		name, _ := place(t, dir, r.Write, q)
		got := trace(t, openFile(t, name), nil)
		if want := byFlow[string(q.Addr[0][:])+string(binary.BigEndian.AppendUint16(nil, q.Port[0]))]; len(got) != want {
			t.Fatalf("exchange %d: %d exchanges, the connection has %d", i, len(got), want)
		}
		for _, x := range got {
			if x.grade != exchange.Complete {
				t.Errorf("exchange %d: %+v", i, x)
			}
			if x.query.Start == q.Start && (x.timing != all[i].timing || x.index != all[i].index) {
				t.Errorf("exchange %d: %+v, want %+v", i, x.timing, all[i].timing)
			}
		}
	}
}
