package mongodb

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

var cases = []prototest.Case{
	{
		Name: "a query and its documents",
		Script: up(ask(1, d{"find", "users", "filter", d{"age", d{"$gt", 30}}, "skip", 2, "limit", 3, "lsid", d{"id", 1}, "$db", "shop"})) +
			down(reply(7, 1, d{"cursor", d{"firstBatch", a{d{"_id", 1, "n", "x\ny"}, d{"_id", 2}}, "id", int64(99), "ns", "shop.users"}, "ok", 1.0})) +
			up(ask(2, d{"getMore", int64(99), "collection", "users", "batchSize", 10, "$db", "shop"})) +
			down(reply(8, 2, d{"cursor", d{"nextBatch", a{}, "id", int64(0), "ns", "shop.users"}, "ok", 1.0})),
		Want: `
			>2 request find shop.users.find({"filter":{"age":{"$gt":30}},"skip":2,"limit":3}) at 0 head 0 none
			>2   database = shop
			>2   full_collection = shop.users
			>2   skip = 2
			>2   limit = 3
			>2 end whole size 128 body 0
			<2 response 0 at 0 head 0 none
			<2 "{"_id":1,"n":"x\\ny"}\n{"_id":2}\n"
			<2 end whole size 144 body 39 parts 2 of 39 largest 25
			<2   cursor = 99
			>3 request getMore shop.users.getMore({"getMore":99,"collection":"users","batchSize":10}) at 128 head 0 none
			>3   database = shop
			>3   full_collection = shop.users
			>3   limit = 10
			>3 end whole size 94 body 0
			<3 response 0 at 144 head 0 none
			<3 end whole size 98 body 0`,
	},
	{
		Name: "what is written, acknowledged and not",
		Script: up(packet(1, 0, opMsg, le32(0)+"\x00"+bson(d{"insert", "fs.files", "ordered", true, "$db", "shop"})+sequence("documents", d{"a", 1}, d{"a", 2}))) +
			down(reply(7, 1, d{"n", 2, "ok", 1.0})) +
			up(packet(2, 0, opMsg, le32(1)+"\x00"+bson(d{"update", "c", "updates", a{d{"q", d{"a", 1}, "u", d{"$set", d{"b", 2}}}}, "$db", "shop"})+"sum!")) +
			down(packet(8, 2, opMsg, le32(1)+"\x00"+bson(d{"n", 5, "nModified", 3, "ok", 1.0})+"sum!")) +
			up(packet(3, 0, opMsg, le32(moreToCome)+"\x00"+bson(d{"delete", "c", "deletes", a{}, "$db", "shop"}))),
		Want: `
			>2 request insert shop.fs.files.insert({"ordered":true,"documents":[{"a":1},{"a":2}]}) at 0 head 0 none
			>2   database = shop
			>2   full_collection = shop.fs.files
			>2 end whole size 110 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 45 body 0
			<2   affected_rows = 2
			>3 request update shop.c.update({"updates":[{"q":{"a":1},"u":{"$set":{"b":2}}}]}) at 110 head 0 none
			>3   database = shop
			>3   full_collection = shop.c
			>3 end whole size 121 body 0
			<3 response 0 at 45 head 0 none
			<3 end whole size 64 body 0
			<3   affected_rows = 3
			>4 request one-way delete shop.c.delete({"deletes":[]}) at 231 head 0 none
			>4   database = shop
			>4   full_collection = shop.c
			>4 end whole size 68 body 0`,
	},
	{
		Name: "errors",
		Script: up(ask(1, d{"find", "c", "filter", d{"$bad", 1}, "$db", "t"})) +
			down(reply(7, 1, d{"ok", 0.0, "errmsg", "unknown top level operator: $bad", "code", 2, "codeName", "BadValue"})) +
			up(ask(2, d{"insert", "c", "documents", a{d{"_id", 1}}, "$db", "t"})) +
			down(reply(8, 2, d{"n", 0, "writeErrors", a{d{"index", 0, "code", 11000, "errmsg", "E11000 duplicate key"}, d{"index", 1, "code", 1, "errmsg", "x"}}, "ok", 1.0})) +
			up(ask(3, d{"nonsense", 1, "$db", "t"})) +
			down(reply(9, 3, d{"ok", 0.0})),
		Want: `
			>2 request find t.c.find({"filter":{"$bad":1}}) at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2 end whole size 72 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 116 body 0
			<2   error_code = BadValue
			<2   error_message = unknown top level operator: $bad
			>3 request insert t.c.insert({"documents":[{"_id":1}]}) at 72 head 0 none
			>3   database = t
			>3   full_collection = t.c
			>3 end whole size 84 body 0
			<3 response 0 at 116 head 0 none
			<3 end whole size 168 body 0
			<3   error_code = 11000
			<3   error_message = E11000 duplicate key
			<3   affected_rows =
			>4 request nonsense t.nonsense() at 156 head 0 none
			>4   database = t
			>4 end whole size 51 body 0
			<4 response 0 at 284 head 0 none
			<4 end whole size 38 body 0
			<4   error_code = error`,
	},
	{
		Name: "answers out of order",
		Script: up(ask(1, d{"ping", 1, "$db", "admin"}), ask(2, d{"distinct", "c", "key", "k", "$db", "t"}), ask(3, d{"findAndModify", "c", "remove", true, "$db", "t"})) +
			down(reply(8, 2, d{"values", a{"x", 1, nil, int64(5), 2.5, true}, "ok", 1.0}), reply(9, 3, d{"value", d{"_id", 1}, "ok", 1.0}), reply(7, 1, d{"ok", 1.0})),
		Want: `
			>2 request ping admin.ping() at 0 head 0 none
			>2   database = admin
			>2 end whole size 51 body 0
			>3 request distinct t.c.distinct({"key":"k"}) at 51 head 0 none
			>3   database = t
			>3   full_collection = t.c
			>3 end whole size 64 body 0
			>4 request findAndModify t.c.findAndModify({"remove":true}) at 115 head 0 none
			>4   database = t
			>4   full_collection = t.c
			>4 end whole size 67 body 0
			<3 response 0 at 0 head 0 none
			<3 ""x"\n1\nnull\n5\n2.5\ntrue\n"
			<3 end whole size 96 body 27 parts 6 of 27 largest 8
			<4 response 0 at 96 head 0 none
			<4 "{"_id":1}\n"
			<4 end whole size 59 body 14 parts 1 of 14 largest 14
			<2 response 0 at 155 head 0 none
			<2 end whole size 38 body 0`,
	},
	{
		Name: "logins show no secrets",
		Script: up(ask(1, d{"hello", 1, "client", d{"driver", d{"name", "x"}}, "speculativeAuthenticate", d{"saslStart", 1, "mechanism", "SCRAM-SHA-256", "payload", []byte("n,,n=bob,r=secret"), "db", "admin"}, "$db", "admin"})) +
			down(reply(7, 1, d{"isWritablePrimary", true, "ok", 1.0})) +
			up(ask(2, d{"saslContinue", 1, "conversationId", 1, "payload", []byte("c=secret"), "$db", "admin"})) +
			down(reply(8, 2, d{"ok", 0.0, "errmsg", "Authentication failed.", "code", 18, "codeName", "AuthenticationFailed"})) +
			up(ask(3, d{"createUser", "eve", "pwd", "secret", "roles", a{}, "$db", "admin"})),
		Want: `
			>2 request hello admin.hello() at 0 head 0 none
			>2   database = admin
			>2   user = bob
			>2 end whole size 209 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 58 body 0
			>3 request saslContinue admin.saslContinue({"conversationId":1}) at 209 head 0 none
			>3   database = admin
			>3   user = bob
			>3 end whole size 101 body 0
			<3 response 0 at 58 head 0 none
			<3 end whole size 118 body 0
			<3   error_code = AuthenticationFailed
			<3   error_message = Authentication failed.
			>4 request createUser admin.createUser({"createUser":"eve","roles":[]}) at 310 head 0 none
			>4   database = admin
			>4   user = bob
			>4 end whole size 89 body 0`,
	},
	{
		Name: "answered again and again",
		Script: up(packet(5, 0, opMsg, le32(exhaustAllowed)+"\x00"+bson(d{"hello", 1, "topologyVersion", d{"counter", int64(1)}, "maxAwaitTimeMS", int64(10000), "$db", "admin"}))) +
			down(packet(10, 5, opMsg, le32(moreToCome)+"\x00"+bson(d{"ok", 1.0}))) +
			down(packet(11, 10, opMsg, le32(moreToCome)+"\x00"+bson(d{"ok", 1.0}))) +
			down(packet(12, 11, opMsg, le32(0)+"\x00"+bson(d{"ok", 1.0}))),
		Want: `
			>6 request blocks hello admin.hello({"maxAwaitTimeMS":10000}) at 0 head 0 none
			>6   database = admin
			>6 end whole size 115 body 0
			<6 response 0 at 0 head 0 none
			<6 end whole size 38 body 0
			<4294967308 response 0 one-way hello admin.hello at 38 head 0 none
			<4294967308 end whole size 38 body 0
			<4294967309 response 0 one-way hello admin.hello at 76 head 0 none
			<4294967309 end whole size 38 body 0`,
	},
	{
		Name: "waiting for documents to come",
		Script: up(ask(1, d{"aggregate", "c", "pipeline", a{d{"$changeStream", d{}}}, "cursor", d{}, "$db", "t"})) +
			down(reply(7, 1, d{"cursor", d{"firstBatch", a{}, "id", int64(77)}, "ok", 1.0})) +
			up(ask(2, d{"getMore", int64(77), "collection", "c", "$db", "t"})) +
			down(reply(8, 2, d{"cursor", d{"nextBatch", a{d{"x", 1}}, "id", int64(77)}, "ok", 1.0})),
		Want: `
			>2 request aggregate t.c.aggregate({"pipeline":[{"$changeStream":{}}],"cursor":{}}) at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2 end whole size 110 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 80 body 0
			<2   cursor = 77
			>3 request getMore t.c.getMore({"getMore":77,"collection":"c"}) at 110 head 0 none
			>3   database = t
			>3   full_collection = t.c
			>3 end whole size 72 body 0
			<3 response 0 at 80 head 0 none
			<3 "{"x":1}\n"
			<3 end whole size 94 body 12 parts 1 of 12 largest 12
			<3   cursor = 77`,
	},
	{
		Name: "compressed",
		Script: up(compressed(1, ask(1, d{"find", "c", "filter", d{"a", strings.Repeat("x", 50)}, "$db", "t"}))) +
			down(compressed(1, reply(7, 1, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 50)}}, "id", int64(0)}, "ok", 1.0}))) +
			up(compressed(2, ask(2, d{"ping", 1, "$db", "t"}))) +
			down(compressed(2, reply(8, 2, d{"ok", 1.0}))) +
			up(compressed(3, ask(3, d{"ping", 1, "$db", "t"}))) +
			down(compressed(3, reply(9, 3, d{"ok", 0.0, "code", 5}))) +
			up(compressed(0, ask(4, d{"ping", 1, "$db", "t"}))) +
			up(packet(5, 0, opCompressed, le32(opMsg)+le32(50)+"\x02garbage"), packet(6, 0, opCompressed, le32(opMsg)+le32(50)+"\x09garbage")),
		Want: `
			>2 request find t.c.find({"filter":{"a":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}) at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2   compression = snappy
			>2 end whole size 82 body 0
			<2 response 0 at 0 head 0 none
			<2 "{"b":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}\n"
			<2 end whole size 105 body 63 parts 1 of 63 largest 63
			>3 request ping t.ping() at 82 head 0 none
			>3   database = t
			>3   compression = zlib
			>3 end whole size 69 body 0
			<3 response 0 at 105 head 0 none
			<3 end whole size 60 body 0
			>4 request ping t.ping() at 151 head 0 none
			>4   database = t
			>4   compression = zstd
			>4 end whole size 69 body 0
			<4 response 0 at 165 head 0 none
			<4 end whole size 70 body 0
			<4   error_code = 5
			>5 request ping t.ping() at 220 head 0 none
			>5   database = t
			>5   compression = noop
			>5 end whole size 56 body 0
			>6 request opcode_2013 opcode_2013() at 276 head 0 none [bad-frame]
			>6   compression = zlib
			>6 end whole size 32 body 0 [bad-frame]
			>7 request opcode_2013 opcode_2013() at 308 head 0 none [bad-frame]
			>7   compression = ?
			>7 end whole size 32 body 0 [bad-frame]`,
	},
	{
		Name: "the old way",
		Script: up(packet(1, 0, opQuery, le32(0)+"t.c\x00"+le32(2)+le32(3)+bson(d{"a", 1}))) +
			down(packet(7, 1, opReply, le32(8)+le64(55)+le32(4)+le32(2)+bson(d{"x", 1})+bson(d{"x", 2}))) +
			up(packet(2, 0, opGetMore, le32(0)+"t.c\x00"+le32(3)+le64(55))) +
			down(packet(8, 2, opReply, le32(cursorNotFound)+le64(0)+le32(0)+le32(0))) +
			up(packet(3, 0, opQuery, le32(0)+"admin.$cmd\x00"+le32(0)+le32(-1)+bson(d{"isMaster", 1}))) +
			down(packet(9, 3, opReply, le32(8)+le64(0)+le32(0)+le32(1)+bson(d{"ismaster", true, "ok", 1.0}))) +
			up(packet(4, 0, opQuery, le32(0)+"t.c\x00"+le32(0)+le32(0)+bson(d{"$query", d{"a", d{"$bad", 1}}}))) +
			down(packet(10, 4, opReply, le32(queryFailure)+le64(0)+le32(0)+le32(1)+bson(d{"$err", "bad operator", "code", 10068}))) +
			up(packet(5, 0, opInsert, le32(0)+"t.c\x00"+bson(d{"a", 1})+bson(d{"a", 2})), packet(6, 0, opUpdate, le32(0)+"t.c\x00"+le32(0)+bson(d{"a", 1})+bson(d{"a", 2})),
				packet(7, 0, opDelete, le32(0)+"t.c\x00"+le32(0)+bson(d{"a", 1})), packet(8, 0, opKillCursors, le32(0)+le32(1)+le64(55))),
		Want: `
			>2 request find t.c.find({"a":1}) at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2   skip = 2
			>2   limit = 3
			>2 end whole size 44 body 0
			<2 response 0 at 0 head 0 none
			<2 "{"x":1}\n{"x":2}\n"
			<2 end whole size 60 body 24 parts 2 of 24 largest 12
			<2   cursor = 55
			<2   starting_from = 4
			>3 request getMore t.c.getMore({"getMore":55}) at 44 head 0 none
			>3   database = t
			>3   full_collection = t.c
			>3   limit = 3
			>3 end whole size 36 body 0
			<3 response 0 at 60 head 0 none
			<3 end whole size 36 body 0
			<3   error_code = CursorNotFound
			>4 request isMaster admin.isMaster() at 80 head 0 none
			>4   database = admin
			>4   skip =
			>4   limit = -1
			>4 end whole size 58 body 0
			<4 response 0 at 96 head 0 none
			<4 end whole size 64 body 0
			>5 request find t.c.find({"$query":{"a":{"$bad":1}}}) at 138 head 0 none
			>5   database = t
			>5   full_collection = t.c
			>5   skip =
			>5 end whole size 68 body 0
			<5 response 0 at 160 head 0 none
			<5 end whole size 74 body 0
			<5   error_code = 10068
			<5   error_message = bad operator
			>6 request one-way insert t.c.insert({"documents":[{"a":1},{"a":2}]}) at 206 head 0 none
			>6   database = t
			>6   full_collection = t.c
			>6 end whole size 48 body 0
			>7 request one-way update t.c.update({"q":{"a":1},"u":{"a":2}}) at 254 head 0 none
			>7   database = t
			>7   full_collection = t.c
			>7 end whole size 52 body 0
			>8 request one-way delete t.c.delete({"q":{"a":1}}) at 306 head 0 none
			>8   database = t
			>8   full_collection = t.c
			>8 end whole size 40 body 0
			>9 request one-way killCursors killCursors() at 346 head 0 none
			>9 end whole size 32 body 0`,
	},
	{
		Name:    "longer than the limits",
		Limits:  &proto.Limits{MaxMessage: 120, MaxStatement: 40},
		MaxBody: 20,
		Script: up(ask(1, d{"find", "c", "filter", d{"a", strings.Repeat("x", 60)}, "$db", "t"})) +
			down(reply(7, 1, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 300)}, d{"b", 1}}, "id", int64(0)}, "ok", 1.0})) +
			up(ask(2, d{"find", "c", "filter", d{"a", strings.Repeat("x", 160)}, "$db", "t"})) +
			down(compressed(2, reply(8, 2, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 300)}}, "id", int64(0)}, "ok", 1.0}))),
		Want: `
			>2 request find ?.c.find({"filter":{"a":"xxxxxxxxxxxxxxx at 0 head 0 none [statement-cut]
			>2   full_collection = ?.c
			>2 end whole size 130 body 0 [statement-cut]
			<2 response 0 at 0 head 0 none
			<2 "{"b":"yyyyyyyyyyyyyy"
			<2 end whole size 411 body 325 parts 2 of 325 largest 313
			>3 request find ?.c.find({"filter":{"a":"xxxxxxxxxxxxxxx at 130 head 0 none [statement-cut]
			>3   full_collection = ?.c
			>3 end whole size 230 body 0 [statement-cut]
			<3 response 0 at 411 head 0 none [message-too-large]
			<3 end whole size 106 body 313 parts 1 of 313 largest 313 [message-too-large]`,
	},
	{
		Name: "malformed",
		Script: up(packet(1, 0, 2269, "what is this"), packet(2, 0, opMsg, le32(0)+"\x00"+le32(9)+"\x77a\x00\x00")) +
			down(packet(7, 1, opMsg, le32(0)+"\x00"+le32(20)+"\x02ok\x00"+le32(900)+"\x00\x00\x00\x00"), packet(8, 2, opMsg, ""), packet(9, 3, 77, "x")) +
			up("not a header at all"),
		Want: `
			>2 request opcode_2269 opcode_2269() at 0 head 0 none [bad-frame]
			>2 end whole size 28 body 0 [bad-frame]
			>3 request opcode_2013 opcode_2013() at 28 head 0 none [bad-frame]
			>3 end whole size 29 body 0 [bad-frame]
			<2 response 0 at 0 head 0 none
			<2 end whole size 37 body 0 [bad-value]
			<3 response 0 at 37 head 0 none
			<3 end whole size 16 body 0 [bad-value]
			<4 response 0 at 53 head 0 none [bad-frame]
			<4 end whole size 17 body 0 [bad-frame]
			> lost`,
	},
	{
		Name:   "numbers that aren't of changes, and what goes beyond limits",
		Limits: &proto.Limits{MaxMessage: 200, MaxStatement: 100},
		Script: up(ask(1, d{"count", "c", "$db", "t"})) +
			down(reply(7, 1, d{"n", 5, "ok", 1.0})) +
			up(ask(2, d{"find", "c", "$db", "t"})) +
			down(compressed(1, reply(8, 2, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 300)}}, "id", int64(0)}, "ok", 1.0}))) +
			up(ask(3, d{"ping", 1, "$db", "t"})) +
			down(packet(9, 3, opMsg, le32(0)+"\x00"+le32(20)+"\x10n\x00"+le32(1)+"\x00"+"\x10m\x00"+le32(1))) +
			up(le32(maxLength+1)+le32(4)+le32(0)+le32(opMsg)+"0123456789"),
		Want: `
			>2 request count t.c.count() at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2 end whole size 50 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 45 body 0
			>3 request find t.c.find() at 50 head 0 none
			>3   database = t
			>3   full_collection = t.c
			>3 end whole size 49 body 0
			<3 response 0 at 45 head 0 none [message-too-large]
			<3 end whole size 117 body 0 [message-too-large]
			>4 request ping t.ping() at 99 head 0 none
			>4   database = t
			>4 end whole size 47 body 0
			<4 response 0 at 162 head 0 none
			<4 end whole size 40 body 0 [bad-value]
			> lost`,
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: up("tail of something") + up(ask(2, d{"ping", 1, "$db", "t"})) +
			down("tail") + down(reply(8, 2, d{"ok", 1.0}), reply(9, 1, d{"ok", 1.0})) +
			down(packet(10, 0x55, opReply, le32(8)+le64(0)+le32(0)+le32(1)+bson(d{"code", 5}))),
		Want: `
			resumed
			>3 request ping t.ping() at 17 head 0 none
			>3   database = t
			>3 end whole size 47 body 0
			<3 response 0 at 4 head 0 none
			<3 end whole size 38 body 0
			<2 response 0 at 42 head 0 none
			<2 end whole size 38 body 0
			<86 response 0 at 80 head 0 none
			<86 end whole size 51 body 0`,
	},
	{
		Name: "bytes are missing",
		Script: up(ask(1, d{"find", "c", "$db", "t"})) +
			down(reply(7, 1, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 40)}}, "id", int64(0)}, "ok", 1.0})[:100]) +
			"<gap 20\n" +
			down(reply(7, 1, d{"cursor", d{"firstBatch", a{d{"b", strings.Repeat("y", 40)}}, "id", int64(0)}, "ok", 1.0})[120:]) +
			up(ask(2, d{"ping", 1, "$db", "t"})) +
			down(reply(8, 2, d{"ok", 1.0})),
		Want: `
			>2 request find t.c.find() at 0 head 0 none
			>2   database = t
			>2   full_collection = t.c
			>2 end whole size 49 body 0
			<2 response 0 at 0 head 0 none
			<2 end whole size 136 body 53 parts 1 of 53 largest 53 missing 20
			>3 request ping t.ping() at 49 head 0 none
			>3   database = t
			>3 end whole size 47 body 0
			<3 response 0 at 136 head 0 none
			<3 end whole size 38 body 0`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }
