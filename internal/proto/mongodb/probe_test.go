package mongodb

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		probe       proto.Match
		role        proto.Role
	}{
		{"a command", ask(1, d{"hello", 1, "$db", "admin"}), proto.Yes, proto.Client},
		{"a reply", reply(1, 7, d{"ok", 1.0}), proto.Yes, proto.Server},
		{"a sequence first", packet(1, 0, opMsg, le32(0)+sequence("documents", d{"a", 1})+"\x00"+bson(d{"insert", "c"})), proto.Yes, proto.Client},
		{"compressed", compressed(2, ask(1, d{"hello", 1, "$db", "admin"})), proto.Yes, proto.Client},
		{"a compressed reply", compressed(1, reply(1, 7, d{"ok", 1.0, "x", "xxxxxxxxxxxxxxxx"})), proto.Yes, proto.Server},
		{"an old query", packet(1, 0, opQuery, le32(4)+"admin.$cmd\x00"+le32(0)+le32(-1)+bson(d{"isMaster", 1})), proto.Yes, proto.Client},
		{"its reply", packet(1, 1, opReply, le32(8)+le64(0)+le32(0)+le32(1)+bson(d{"ok", 1.0})), proto.Yes, proto.Server},
		{"an old insert", packet(1, 0, opInsert, le32(0)+"t.c\x00"+bson(d{"a", 1})), proto.Yes, proto.Client},
		{"killed cursors", packet(1, 0, opKillCursors, le32(0)+le32(1)+le64(5)), proto.Yes, proto.Client},

		{"nothing", "", proto.NeedMore, proto.AnyRole},
		{"a length", le32(50), proto.NeedMore, proto.AnyRole},
		{"a header", ask(1, d{"hello", 1, "$db", "admin"})[:headerSize], proto.NeedMore, proto.AnyRole},

		{"another opcode", packet(1, 0, 2269, "0123456789abcdef"), proto.No, proto.AnyRole},
		{"another opcode's header", packet(1, 0, 2269, "0123456789abcdef")[:headerSize], proto.No, proto.AnyRole},
		{"too short", le32(15) + le32(1) + le32(0) + le32(opMsg) + "0123456789", proto.No, proto.AnyRole},
		{"too long", le32(maxLength+1) + le32(1) + le32(0) + le32(opMsg) + "0123456789", proto.No, proto.AnyRole},
		{"unknown flags", packet(1, 0, opMsg, le32(4)+"\x00"+bson(d{"a", 1})), proto.No, proto.AnyRole},
		{"an unknown section", packet(1, 0, opMsg, le32(0)+"\x05"+bson(d{"a", 1})), proto.No, proto.AnyRole},
		{"an unknown type", packet(1, 0, opMsg, le32(0)+"\x00"+le32(9)+"\x77a\x00\x00"), proto.No, proto.AnyRole},
		{"a document that is longer than the message", packet(1, 0, opMsg, le32(0)+"\x00"+le32(99)+"\x10a\x00\x00"), proto.No, proto.AnyRole},
		{"no collection", packet(1, 0, opQuery, le32(0)+"\x01\x02\x03\x04\x05\x06\x07\x08"), proto.No, proto.AnyRole},
		{"an unknown compression", packet(1, 0, opCompressed, le32(opMsg)+le32(50)+"\x09garbage"), proto.No, proto.AnyRole},
		{"an answer that asks", packet(1, 5, opQuery, le32(0)+"t.c\x00"+le32(0)+le32(0)), proto.No, proto.AnyRole},
		{"HTTP", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", proto.No, proto.AnyRole},
		{"MySQL", "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff", proto.No, proto.AnyRole},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefghijklmnop", proto.No, proto.AnyRole},
	} {
		match, role := Probe([]byte(c.bytes))
		if match != c.probe || role != c.role {
			t.Errorf("%s: Probe says %d, %d", c.name, match, role)
		}
		resumed, _ := Resume([]byte(c.bytes))
		if (resumed == proto.Yes) != (c.probe == proto.Yes) || resumed == proto.NeedMore {
			t.Errorf("%s: Resume says %d", c.name, resumed)
		}
		if c.probe == proto.Yes {
			for n := range len(c.bytes) {
				if match, _ := Probe([]byte(c.bytes[:n])); match == proto.No {
					t.Errorf("%s: Probe refuses its first %d bytes", c.name, n)
				}
			}
		}
	}
}
