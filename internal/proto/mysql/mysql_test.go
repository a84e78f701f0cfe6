package mysql

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

const (
	more     = autocommit | statusMoreResults
	changed  = autocommit | statusSessionChanged
	noParams = "\x00\x00"
)

// prepared answers PREPARE of a statement.
func prepared(number, columns, params int, byEOF bool) string {
	s := packet(1, "\x00"+le32(number)+le16(columns)+le16(params)+"\x00"+le16(0))
	sequence := byte(2)
	for _, n := range []int{params, columns} {
		for range n {
			s += column(sequence, "c", typeLong, 0)
			sequence++
		}
		if n > 0 && byEOF {
			s += eof(sequence, autocommit)
			sequence++
		}
	}
	return s
}

// execute is COM_STMT_EXECUTE with the rest of it.
func execute(number int, rest string) string {
	return packet(0, "\x17"+le32(number)+"\x00"+le32(1)+rest)
}

// binarySet is a result of a binary row: an integer, and NULL.
func binarySet(byEOF bool) string {
	s := packet(1, "\x02") + column(2, "id", typeLong, 0) + column(3, "name", 253, 0)
	sequence := byte(4)
	if byEOF {
		s += eof(4, autocommit)
		sequence++
	}
	s += packet(sequence, "\x00\x08"+le32(-5)) + packet(sequence+1, "\x00\x00"+le32(6)+text("six"))
	if byEOF {
		return s + eof(sequence+2, autocommit)
	}
	return s + endOK(sequence+2, autocommit)
}

func cases() []prototest.Case {
	all := func(name, script, want string) prototest.Case {
		return prototest.Case{Name: name, Script: script, Want: want}
	}
	resumed := func(name, script, want string) prototest.Case {
		return prototest.Case{Name: name, Script: script, Want: want, Resumed: true}
	}
	return []prototest.Case{
		all("a login and a query, with EOF", in(capsBase,
			">"+query("select name, n from t where id = 7"), "<"+set(1, true, autocommit),
			">"+packet(0, "\x0e"), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x01"), ">close fin", "<close fin"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT select name, n from t where id = 7 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 39 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 114 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> request PING at 113 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 5 body 0
			< response 0 at 203 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request one-way QUIT at 118 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 5 body 0`),
		all("without EOF", in(capsNew,
			">"+query("/* app */ (SELECT 1)"), "<"+set(1, false, autocommit|statusInTransaction),
			">"+query("SELECT nothing"), "<"+packet(1, "\x01")+column(2, "a", 3, 0)+endOK(3, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT /* app */ (SELECT 1) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 25 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = open
			> request SELECT SELECT nothing at 99 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 19 body 0
			< response 0 at 196 head 0 rendered
			<   columns = 1
			< end whole size 50 body 0
			<   transaction = idle`),
		all("pipelined", in(capsNew,
			">"+query("INSERT INTO t VALUES (1)")+query("SELECT 1")+query("nonsense"),
			"<"+ok(1, 1, 4711, autocommit, 2)+set(1, false, autocommit)+fail(1, 1064, "42000", "You have an error")), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request INSERT INSERT INTO t VALUES (1) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 29 body 0
			> request SELECT SELECT 1 at 103 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			> request NONSENSE nonsense at 116 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 none
			<   affected_rows = 1
			<   insert_id = 4711
			<   warnings = 2
			<   transaction = idle
			< end whole size 13 body 0
			< response 0 at 102 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			< response 0 at 209 head 0 none
			<   error_code = 1064
			<   sqlstate = 42000
			<   error_message = You have an error
			< end whole size 30 body 0`),
		all("errors", in(capsBase,
			">"+query("selekt"), "<"+fail(1, 1064, "42000", "You have an error in your SQL syntax"),
			">"+query("SELECT sleep(9)"), "<"+packet(1, "\x01")+column(2, "a", 3, 0)+eof(3, autocommit)+row(4, "1")+fail(5, 1317, "70100", "interrupted"),
			">"+packet(0, "\x02nowhere"), "<"+fail(1, 1049, "", "Unknown database"),
		), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELEKT selekt at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 11 body 0
			< response 0 at 89 head 0 none
			<   error_code = 1064
			<   sqlstate = 42000
			<   error_message = You have an error in your SQL syntax
			< end whole size 49 body 0
			> request SELECT SELECT sleep(9) at 85 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 20 body 0
			< response 0 at 138 head 0 rendered
			<   columns = 1
			< "1\n"
			< end whole size 78 body 2 parts 1 of 2 largest 2
			<   error_code = 1317
			<   sqlstate = 70100
			<   error_message = interrupted
			> request INIT_DB USE nowhere at 105 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 12 body 0
			< response 0 at 216 head 0 none
			<   error_code = 1049
			<   error_message = Unknown database
			< end whole size 23 body 0`),
		all("a refused login", lines("<"+greeting10(capsBase), ">"+response41(1, capsBase, "bob", ""),
			"<"+packet(2, "\xfemysql_native_password\x00salt\x00"), ">"+packet(3, "twenty bytes of hash"),
			"<"+fail(4, 1045, "28000", "Access denied for user 'bob'"), "<close fin", ">close fin"), `
			> request LOGIN at 0 head 0 none
			>   user = bob
			> end whole size 70 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 73 body 0
			<   error_code = 1045
			<   sqlstate = 28000
			<   error_message = Access denied for user 'bob'`),
		all("steps of an authentication", lines("<"+greeting10(capsNew), ">"+response41(1, capsNew, "ann", "shop"),
			"<"+packet(2, "\x01\x04"), ">"+packet(3, "\x02"), "<"+packet(4, "\x01-----BEGIN PUBLIC KEY-----"), ">"+packet(5, "encrypted"),
			"<"+ok(6, 0, 0, autocommit, 0), ">"+query("DO 1"), "<"+ok(1, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 48 body 0
			> request DO DO 1 at 92 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 9 body 0
			< response 0 at 126 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("no login at all", lines("<"+packet(0, "\xff"+le16(1040)+"#08004Too many connections"), "<close fin"), `
			< response 0 one-way LOGIN at 0 head 0 none
			<   error_code = 1040
			<   sqlstate = 08004
			<   error_message = Too many connections
			< end whole size 33 body 0`),
		all("an old server and client", lines("<"+packet(0, "\x093.23.58\x00"+le32(5)+"saltsalt\x00"),
			">"+packet(1, le16(capConnectWithDB)+"\x00\x00\x00ann\x00scramble\x00shop\x00"), "<"+packet(2, "\x00\x00\x00"+le16(autocommit)+le16(0)),
			">"+query("SELECT 1"), "<"+set(1, true, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 27 body 0
			< response 0 at 26 head 0 none
			<   server_version = 3.23.58
			<   session = 5
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 27 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 37 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 114 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("TLS", lines("<"+greeting10(capsNew|capSSL), ">"+packet(1, response41(1, capsNew|capSSL, "", "")[4:36])+"\x16\x03\x01"), `
			handover to "tls" at > 36 < 78`),
		all("within TLS", lines(">"+response41(2, capsNew|capSSL, "ann", "shop"), "<"+ok(3, 0, 0, autocommit, 0),
			">"+query("SELECT 1"), "<"+set(1, false, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 0 head 0 none
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 11 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("the session's database", in(capsNew|capSessionTrack,
			">"+packet(0, "\x02stock"), "<"+ok(1, 0, 0, autocommit, 0),
			">"+query("use `a``b`;"), "<"+ok(1, 0, 0, autocommit, 0),
			">"+query("CALL elsewhere()"),
			"<"+packet(1, "\x00\x00\x00"+le16(changed)+le16(0)+"\x00"+text("\x05\x02on"+"\x01"+text(text("other")))),
			">"+query("USE nowhere"), "<"+fail(1, 1049, "42000", "Unknown database 'nowhere'"),
			">"+query("DO 1"), "<"+ok(1, 0, 0, autocommit, 0)), "> request LOGIN at 0 head 0 none\n>   user = ann\n>   database = shop\n> end whole size 74 body 0\n< response 0 at 78 head 0 none\n<   server_version = 8.0.36\n<   session = 77\n< end whole size 11 body 0\n> request INIT_DB USE stock at 74 head 0 none\n>   user = ann\n>   database = shop\n> end whole size 10 body 0\n< response 0 at 89 head 0 none\n<   transaction = idle\n< end whole size 11 body 0\n> request USE use `a``b`; at 84 head 0 none\n>   user = ann\n>   database = stock\n> end whole size 16 body 0\n< response 0 at 100 head 0 none\n<   affected_rows = \n<   transaction = idle\n< end whole size 11 body 0\n> request CALL CALL elsewhere() at 100 head 0 none\n>   user = ann\n>   database = a`b\n> end whole size 21 body 0\n< response 0 at 111 head 0 none\n<   affected_rows = \n<   transaction = idle\n< end whole size 25 body 0\n> request USE USE nowhere at 121 head 0 none\n>   user = ann\n>   database = other\n> end whole size 16 body 0\n< response 0 at 136 head 0 none\n<   error_code = 1049\n<   sqlstate = 42000\n<   error_message = Unknown database 'nowhere'\n< end whole size 39 body 0\n> request DO DO 1 at 137 head 0 none\n>   user = ann\n>   database = other\n> end whole size 9 body 0\n< response 0 at 175 head 0 none\n<   affected_rows = \n<   transaction = idle\n< end whole size 11 body 0"),
		all("another user", in(capsNew,
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(1, 1, 1, false),
			">"+packet(0, "\x11"+"bob\x00"+"\x06secret"+"stock\x00"+le16(45)+"mysql_native_password\x00"),
			"<"+packet(1, "\xfemysql_native_password\x00salt\x00"), ">"+packet(2, "hash"), "<"+ok(3, 0, 0, autocommit, 0),
			">"+execute(2, `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT(?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 89 head 0 none
			<   columns = 1
			< end whole size 84 body 0
			> request CHANGE_USER at 88 head 0 none
			>   user = bob
			>   database = stock
			> end whole size 46 body 0
			< response 0 at 173 head 0 none
			< end whole size 43 body 0
			> request ? ? at 142 head 0 none [statement-unknown]
			>   prepared = 2
			>   user = bob
			>   database = stock
			> end whole size 14 body 0 [statement-unknown]
			< response 0 at 216 head 0 none
			<   error_code = 1243
			<   sqlstate = HY000
			<   error_message = Unknown prepared statement handler
			< end whole size 47 body 0
			> request RESET_CONNECTION at 156 head 0 none
			>   user = bob
			>   database = stock
			> end whole size 5 body 0
			< response 0 at 263 head 0 none
			<   transaction = idle
			< end whole size 11 body 0`), "<"+fail(1, 1243, "HY000", "Unknown prepared statement handler"),
			">"+packet(0, "\x1f"), "<"+ok(1, 0, 0, autocommit, 0)), ""),
		all("prepared", in(capsBase,
			">"+packet(0, "\x16"+"select(id=?or(name=?))"), "<"+prepared(3, 2, 2, true),
			">"+execute(3, "\x00\x01"+"\x03\x00\xfd\x00"+le32(-7)+text("it's")), "<"+binarySet(true),
			">"+execute(3, "\x02\x00"+le32(8)), "<"+binarySet(true),
			">"+packet(0, "\x18"+le32(3)+le16(1)+"long "), ">"+packet(0, "\x18"+le32(3)+le16(1)+"data"),
			">"+execute(3, "\x00\x00"+le32(9)), "<"+ok(1, 3, 0, autocommit, 0),
			">"+packet(0, "\x1a"+le32(3)), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x19"+le32(3)),
			">"+execute(77, "\x00\x00"+le32(9)), "<"+fail(1, 1243, "HY000", "Unknown prepared statement handler"),
			">"+packet(0, "\x16"+"bad ?"), "<"+fail(1, 1064, "42000", "no"),
			">"+packet(0, "\x16"+"COMMIT"), "<"+prepared(4, 0, 0, true),
			">"+execute(4, ""), "<"+ok(1, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE select(id=?or(name=?)) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 27 body 0
			< response 0 at 89 head 0 none
			<   columns = 2
			< end whole size 170 body 0
			> request SELECT select(id=?or(name=?)) at 101 head 0 none
			>   prepared = 3
			>   parameter = -7
			>   parameter = it's
			>   user = ann
			>   database = shop
			> end whole size 29 body 0
			< response 0 at 259 head 0 rendered
			<   columns = 2
			< "-5\t\\N\n6\tsix\n"
			< end whole size 123 body 16 parts 2 of 16 largest 10
			<   transaction = idle
			> request SELECT select(id=?or(name=?)) at 130 head 0 none
			>   prepared = 3
			>   parameter = 8
			>   parameter = NULL
			>   user = ann
			>   database = shop
			> end whole size 20 body 0
			< response 0 at 382 head 0 rendered
			<   columns = 2
			< "-5\t\\N\n6\tsix\n"
			< end whole size 123 body 16 parts 2 of 16 largest 10
			<   transaction = idle
			> request one-way SEND_LONG_DATA select(id=?or(name=?)) at 150 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 16 body 0
			> request one-way SEND_LONG_DATA select(id=?or(name=?)) at 166 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 15 body 0
			> request SELECT select(id=?or(name=?)) at 181 head 0 none
			>   prepared = 3
			>   parameter = 9
			>   parameter = long data
			>   user = ann
			>   database = shop
			> end whole size 20 body 0
			< response 0 at 505 head 0 none
			<   affected_rows = 3
			<   transaction = idle
			< end whole size 11 body 0
			> request RESET select(id=?or(name=?)) at 201 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 9 body 0
			< response 0 at 516 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request one-way CLOSE select(id=?or(name=?)) at 210 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 9 body 0
			> request ? ? at 219 head 0 none [statement-unknown]
			>   prepared = 77
			>   user = ann
			>   database = shop
			> end whole size 20 body 0 [statement-unknown]
			< response 0 at 527 head 0 none
			<   error_code = 1243
			<   sqlstate = HY000
			<   error_message = Unknown prepared statement handler
			< end whole size 47 body 0
			> request PREPARE bad ? at 239 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 10 body 0
			< response 0 at 574 head 0 none
			<   error_code = 1064
			<   sqlstate = 42000
			<   error_message = no
			< end whole size 15 body 0
			> request PREPARE COMMIT at 249 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 11 body 0
			< response 0 at 589 head 0 none
			<   columns = 
			< end whole size 16 body 0
			> request COMMIT COMMIT at 260 head 0 none
			>   prepared = 4
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 605 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("prepared, without EOF", in(capsNew,
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(3, 2, 1, false),
			">"+execute(3, "\x00\x01"+"\x03\x80"+le32(7)), "<"+binarySet(false)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT(?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 89 head 0 none
			<   columns = 2
			< end whole size 118 body 0
			> request SELECT SELECT(?) at 88 head 0 none
			>   prepared = 3
			>   parameter = 7
			>   user = ann
			>   database = shop
			> end whole size 22 body 0
			< response 0 at 207 head 0 rendered
			<   columns = 2
			< "-5\t\\N\n6\tsix\n"
			< end whole size 116 body 16 parts 2 of 16 largest 10
			<   transaction = idle`),
		all("every type", in(capsNew,
			">"+packet(0, "\x16"+"CALL(?,?,?,?,?,?,?,?,?,?,?,?)"), "<"+prepared(3, 0, 12, false),
			">"+execute(3, noParams+"\x01"+"\x01\x00\x02\x80\x08\x00\x08\x80\x04\x00\x05\x00\x0a\x00\x0c\x00\x0c\x00\x0b\x00\x06\x00\xf6\x00"+
				"\xff"+"\xff\xff"+le64(-1)+le64(-1)+"\x00\x00\xc0\x3f"+"\x00\x00\x00\x00\x00\x00\x04\x40"+
				"\x04"+le16(2024)+"\x02\x1d"+"\x0b"+le16(2024)+"\x02\x1d\x0c\x1e\x00"+le32(500)+"\x00"+
				"\x0c\x01"+le32(1)+"\x02\x03\x04"+le32(0)+text("12.50")), "<"+ok(1, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE CALL(?,?,?,?,?,?,?,?,?,?,?,?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 34 body 0
			< response 0 at 89 head 0 none
			<   columns = 
			< end whole size 424 body 0
			> request CALL CALL(?,?,?,?,?,?,?,?,?,?,?,?) at 108 head 0 none
			>   prepared = 3
			>   parameter = -1
			>   parameter = 65535
			>   parameter = -1
			>   parameter = 18446744073709551615
			>   parameter = 1.5
			>   parameter = 2.5
			>   parameter = 2024-02-29
			>   parameter = 2024-02-29 12:30:00.000500
			>   parameter = 0000-00-00 00:00:00
			>   parameter = -26:03:04
			>   parameter = NULL
			>   parameter = 12.50
			>   user = ann
			>   database = shop
			> end whole size 109 body 0
			< response 0 at 513 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("parameters that aren't whole", in(capsNew,
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(3, 1, 1, false),
			">"+execute(3, "\x00\x01"+"\x03\x00\x07"), "<"+fail(1, 1210, "HY000", "no"),
			">"+execute(3, `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT(?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 89 head 0 none
			<   columns = 1
			< end whole size 84 body 0
			> request SELECT SELECT(?) at 88 head 0 none [bad-value]
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 19 body 0 [bad-value]
			< response 0 at 173 head 0 none
			<   error_code = 1210
			<   sqlstate = HY000
			<   error_message = no
			< end whole size 15 body 0
			> request SELECT SELECT(?) at 107 head 0 none [bad-value]
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 14 body 0 [bad-value]
			< response 0 at 188 head 0 none
			<   error_code = 1210
			<   sqlstate = HY000
			<   error_message = no
			< end whole size 15 body 0
			> request EXECUTE at 121 head 0 none [bad-value]
			>   user = ann
			>   database = shop
			> end whole size 6 body 0 [bad-value]
			< response 0 at 203 head 0 none
			<   error_code = 1210
			<   sqlstate = HY000
			<   error_message = no
			< end whole size 15 body 0`), "<"+fail(1, 1210, "HY000", "no"),
			">"+packet(0, "\x17\x01"), "<"+fail(1, 1210, "HY000", "no")), ""),
		all("prepared and executed at once", in(capsNew&^capLongPassword|capMariaCacheMetadata,
			">"+packet(0, "\x16"+"SELECT('?',?)#?")+execute(lastPrepared, "\x00\x01"+"\x03\x00"+le32(7)),
			"<"+prepared(3, 2, 1, false)+packet(1, "\x02\x00")+packet(2, "\x00\x00"+le32(1)+le32(2))+endOK(3, autocommit),
			">"+execute(3, "\x00\x00"+le32(8)),
			"<"+packet(1, "\x01\x01")+column(2, "a", typeLong, 0)+packet(3, "\x00\x00"+le32(1))+endOK(4, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT('?',?)#? at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 20 body 0
			> request SELECT SELECT('?',?)#? at 94 head 0 none
			>   prepared = last
			>   parameter = 7
			>   user = ann
			>   database = shop
			> end whole size 22 body 0
			< response 0 at 89 head 0 none
			<   columns = 2
			< end whole size 118 body 0
			< response 0 at 207 head 0 rendered
			<   columns = 2
			< "1\t2\n"
			< end whole size 31 body 10 parts 1 of 10 largest 10
			<   transaction = idle
			> request SELECT SELECT('?',?)#? at 116 head 0 none
			>   prepared = 3
			>   parameter = 8
			>   user = ann
			>   database = shop
			> end whole size 20 body 0
			< response 0 at 238 head 0 rendered
			<   columns = 1
			< "1\n"
			< end whole size 61 body 6 parts 1 of 6 largest 6
			<   transaction = idle`),
		all("in bulk", in(capsNew&^capLongPassword,
			">"+packet(0, "\x16"+"INSERT(?,?)"), "<"+prepared(3, 0, 2, false),
			">"+packet(0, "\xfa"+le32(3)+le16(128)+"\x03\x00\xfd\x00"+"\x00"+le32(1)+"\x00"+text("one")+"\x00"+le32(2)+"\x01"+"\x02\x03"),
			"<"+ok(1, 3, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE INSERT(?,?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 16 body 0
			< response 0 at 89 head 0 none
			<   columns = 
			< end whole size 84 body 0
			> request INSERT INSERT(?,?) at 90 head 0 none
			>   prepared = 3
			>   parameter = 1
			>   parameter = one
			>   parameter = 2
			>   parameter = NULL
			>   parameter = DEFAULT
			>   parameter = IGNORE
			>   user = ann
			>   database = shop
			> end whole size 33 body 0
			< response 0 at 173 head 0 none
			<   affected_rows = 3
			<   transaction = idle
			< end whole size 11 body 0`),
		all("a cursor", in(capsBase,
			">"+packet(0, "\x16"+"SELECT(1)"), "<"+prepared(3, 1, 0, true),
			">"+packet(0, "\x17"+le32(3)+"\x01"+le32(1)),
			"<"+packet(1, "\x01")+column(2, "id", typeLong, 0)+eof(3, autocommit|statusCursor),
			">"+packet(0, "\x1c"+le32(3)+le32(2)), "<"+packet(1, "\x00\x00"+le32(1))+packet(2, "\x00\x00"+le32(2))+eof(3, autocommit|statusCursor),
			">"+packet(0, "\x1c"+le32(3)+le32(2)), "<"+eof(1, autocommit|128)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT(1) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 89 head 0 none
			<   columns = 1
			< end whole size 59 body 0
			> request SELECT SELECT(1) at 88 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 148 head 0 rendered
			<   columns = 1
			< end whole size 50 body 0
			<   transaction = idle
			> request FETCH SELECT(1) at 102 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 198 head 0 rendered
			< "1\n2\n"
			< end whole size 29 body 12 parts 2 of 12 largest 6
			<   transaction = idle
			> request FETCH SELECT(1) at 115 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 227 head 0 rendered
			< end whole size 9 body 0
			<   transaction = idle`),
		all("several results", in(capsNew,
			">"+query("UPDATE t SET n = 1; SELECT 1; SELECT 2; DELETE FROM t"),
			"<"+ok(1, 2, 0, more, 0)+set(2, false, more)+set(8, false, more)+ok(14, 3, 0, autocommit, 0),
			">"+query("CALL p()"), "<"+set(1, false, more)+ok(7, 0, 0, autocommit, 0),
			">"+query("SELECT 1; selekt"), "<"+set(1, false, more)+fail(7, 1064, "42000", "no")), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request UPDATE UPDATE t SET n = 1; SELECT 1; SELECT 2; DELETE FROM t at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 58 body 0
			< response 0 at 89 head 0 none
			< "a\\tb\t\\N\nb\t2\na\\tb\t\\N\nb\t2\n"
			< end whole size 236 body 18 parts 4 of 18 largest 5
			<   affected_rows = 5
			<   results = 4
			<   transaction = idle
			> request CALL CALL p() at 132 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 325 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 118 body 9 parts 2 of 9 largest 5
			<   affected_rows = 
			<   results = 2
			<   transaction = idle
			> request SELECT SELECT 1; selekt at 145 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 21 body 0
			< response 0 at 443 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 122 body 9 parts 2 of 9 largest 5
			<   error_code = 1064
			<   sqlstate = 42000
			<   error_message = no
			<   transaction = idle`),
		all("a file of the client", in(capsNew,
			">"+query("load data local infile 'x' into table t"), "<"+packet(1, "\xfbx"),
			">"+packet(2, "one\n")+packet(3, "two\n")+packet(4, ""), "<"+ok(5, 2, 0, autocommit, 0),
			">"+query("LOAD DATA LOCAL INFILE 'y' INTO TABLE t"), "<"+fail(1, 1148, "42000", "not allowed"),
			">"+query("LOAD DATA INFILE 'z' INTO TABLE t"), "<"+ok(1, 5, 0, autocommit, 0),
			">"+query("SELECT 1"), "<"+set(1, false, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request LOAD load data local infile 'x' into table t at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 64 body 0
			< response 0 at 95 head 0 none
			<   affected_rows = 2
			<   transaction = idle
			< end whole size 11 body 0
			> request LOAD LOAD DATA LOCAL INFILE 'y' INTO TABLE t at 138 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 44 body 0
			< response 0 at 106 head 0 none
			<   error_code = 1148
			<   sqlstate = 42000
			<   error_message = not allowed
			< end whole size 24 body 0
			> request LOAD LOAD DATA INFILE 'z' INTO TABLE t at 182 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 38 body 0
			< response 0 at 130 head 0 none
			<   affected_rows = 5
			<   transaction = idle
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 220 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 141 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("a file of the client, and then silence", in(capsNew,
			">"+query("LOAD DATA LOCAL INFILE 'x' INTO TABLE t"), "<"+packet(1, "\xfbx"), ">"+packet(2, "one\n")+packet(3, ""), ">close fin", "<close fin"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request LOAD LOAD DATA LOCAL INFILE 'x' INTO TABLE t at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 56 body 0`),
		all("query attributes", in(capsNew|capQueryAttributes,
			">"+packet(0, "\x03\x00\x01SELECT 1"), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x03\x02\x01\x02\x01"+"\xfe\x00"+text("trace")+"\x03\x00"+text("n")+text("abc")+"SELECT 2"), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x03\x02\x01\x00\x01"+"\xfe\x00"+text("trace")), "<"+fail(1, 1210, "HY000", "no"),
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(3, 1, 1, false),
			">"+packet(0, "\x17"+le32(3)+"\x08"+le32(1)+"\x02\x00\x01"+"\x03\x00"+text("")+"\xfe\x00"+text("trace")+le32(5)+text("abc")),
			"<"+binarySet(false)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 15 body 0
			< response 0 at 89 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request SELECT SELECT 2 at 89 head 0 none
			>   parameter = trace=abc
			>   parameter = n=NULL
			>   user = ann
			>   database = shop
			> end whole size 33 body 0
			< response 0 at 100 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request QUERY at 122 head 0 none [bad-value]
			>   user = ann
			>   database = shop
			> end whole size 17 body 0 [bad-value]
			< response 0 at 111 head 0 none
			<   error_code = 1210
			<   sqlstate = HY000
			<   error_message = no
			< end whole size 15 body 0
			> request PREPARE SELECT(?) at 139 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 126 head 0 none
			<   columns = 1
			< end whole size 84 body 0
			> request SELECT SELECT(?) at 153 head 0 none
			>   prepared = 3
			>   parameter = 5
			>   parameter = trace=abc
			>   user = ann
			>   database = shop
			> end whole size 36 body 0
			< response 0 at 210 head 0 rendered
			<   columns = 2
			< "-5\t\\N\n6\tsix\n"
			< end whole size 116 body 16 parts 2 of 16 largest 10
			<   transaction = idle`),
		all("other commands", in(capsNew,
			">"+packet(0, "\x09"), "<"+packet(1, "Uptime: 5  Threads: 1"),
			">"+packet(0, "\x04t\x00%"), "<"+column(1, "a", 3, 0)+column(2, "b", 3, 0)+endOK(3, autocommit),
			">"+packet(0, "\x0c"+le32(12)), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x1b\x01\x00"), "<"+endOK(1, autocommit),
			">"+packet(0, "\x05new"), "<"+ok(1, 1, 0, autocommit, 0),
			">"+packet(0, "\x0a"), "<"+set(1, false, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request STATISTICS at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 5 body 0
			< response 0 at 89 head 0 rendered
			< "Uptime: 5  Threads: 1"
			< end whole size 25 body 21 parts 1 of 21 largest 21
			> request FIELD_LIST t at 79 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 8 body 0
			< response 0 at 114 head 0 none
			< end whole size 79 body 0
			<   columns = 2
			<   transaction = idle
			> request PROCESS_KILL KILL 12 at 87 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 9 body 0
			< response 0 at 193 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request SET_OPTION MULTI_STATEMENTS_OFF at 96 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 7 body 0
			< response 0 at 204 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request CREATE_DB CREATE DATABASE new at 103 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 8 body 0
			< response 0 at 215 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request PROCESS_INFO at 111 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 5 body 0
			< response 0 at 226 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("a replica", in(capsNew,
			">"+packet(0, "\x15"+le32(2)+"\x00\x00\x00"+le16(3306)+le32(0)+le32(0)), "<"+ok(1, 0, 0, autocommit, 0),
			">"+packet(0, "\x12"+le32(4)+le16(0)+le32(2)+"binlog.000001"), "<"+packet(1, "\x00event"), "<"+packet(2, "\x00event")), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request REGISTER_SLAVE at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 22 body 0
			< response 0 at 89 head 0 none
			<   transaction = idle
			< end whole size 11 body 0
			> request blocks BINLOG_DUMP at 96 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 28 body 0
			< response 0 at 100 head 0 none
			< end whole size 10 body 0
			stop`),
		all("a replica that is refused", in(capsNew,
			">"+packet(0, "\x12"+le32(4)+le16(0)+le32(2)+"binlog.000001"), "<"+fail(1, 1236, "HY000", "Could not find first log file")), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request blocks BINLOG_DUMP at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 28 body 0
			< response 0 at 89 head 0 none
			<   error_code = 1236
			<   sqlstate = HY000
			<   error_message = Could not find first log file
			< end whole size 42 body 0
			stop`),
		all("progress", in(capsNew,
			">"+query("ALTER TABLE t FORCE"), "<"+packet(1, "\xff\xff\xff\x01\x01\x02\x10\x00\x00"+text("copy"))+ok(2, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request ALTER ALTER TABLE t FORCE at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 24 body 0
			< response 0 at 107 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("killed", in(capsNew,
			">"+query("SELECT 1"), "<"+set(1, false, autocommit), "<"+fail(0, 4031, "HY000", "The client was disconnected"), "<close fin"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			< response 0 one-way ERROR at 196 head 0 none
			<   error_code = 4031
			<   sqlstate = HY000
			<   error_message = The client was disconnected
			< end whole size 40 body 0`),
		all("compressed with zlib", in(capsNew|capCompress,
			">"+squeezed(0, "zlib", query("SELECT '" + strings.Repeat("x", 300) + "'")[:100])+squeezed(1, "zlib", query("SELECT '" + strings.Repeat("x", 300) + "'")[100:]),
			"<"+squeezed(2, "zlib", set(1, false, autocommit)[:50])+squeezed(3, "zlib", set(1, false, autocommit)[50:]),
			">"+squeezed(0, "", query("SELECT 1")), "<"+squeezed(1, "zlib", set(1, false, autocommit))), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' at 74 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 58 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 136 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> request SELECT SELECT 1 at 132 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 20 body 0
			< response 0 at 225 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 99 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("compressed with zstd", in(capsNew|capZstd,
			">"+squeezed(0, "zstd", query("SELECT 1"))+squeezed(0, "", query("SELECT 2")), "<"+squeezed(1, "zstd", set(1, false, autocommit))+squeezed(1, "zstd", set(1, false, autocommit))), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zstd
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zstd
			> end whole size 33 body 0
			> request SELECT SELECT 2 at 107 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zstd
			> end whole size 20 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 104 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			< response 0 at 193 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 104 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("compressed, and isn't what it says", in(capsNew|capCompress,
			">"+squeezed(0, "", query("SELECT 1")), "<"+"\x05\x00\x00\x01\x20\x00\x00hello"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 20 body 0
			< lost`),
		all("compressed, and empty where there should be something", in(capsNew|capCompress,
			">"+squeezed(0, "", query("SELECT 1")), "<"+"\x00\x00\x00\x01\x20\x00\x00"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 20 body 0
			< lost`),
		{
			Name: "an outer packet that is too large", Limits: &proto.Limits{MaxStatement: 1000, MaxMessage: 100, MaxFields: 10},
			Script: in(capsNew|capCompress,
				">"+squeezed(0, "", query("SELECT 1")),
				"<"+squeezed(1, "", packet(1, "\x01")+column(2, "a", 253, 0))+squeezed(2, "", "\xac\x0d\x00\x03\xfc\xa9\x0d"+strings.Repeat("x", 50))+
					squeezed(3, "", strings.Repeat("x", 3000))+squeezed(4, "", strings.Repeat("x", 97))+squeezed(5, "", strings.Repeat("x", 97))+
					squeezed(6, "", strings.Repeat("x", 97))+squeezed(7, "", strings.Repeat("x", 97))+squeezed(8, "", strings.Repeat("x", 59)+endOK(4, autocommit))),
			Want: `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			>   compression = zlib
			> end whole size 20 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 1
			< end whole size 3610 body 3500 parts 1 of 3500 largest 3500
			<   transaction = idle missing 3000`,
		},
		{
			Name: "a statement beyond the limit", Limits: &proto.Limits{MaxStatement: 20, MaxFields: 10},
			Script: in(capsNew,
				">"+query("SELECT 'fifteen xxx'"), "<"+ok(1, 0, 0, autocommit, 0),
				">"+query("SELECT 'sixteen xxxx'"), "<"+ok(1, 0, 0, autocommit, 0),
				">"+query("SELECT '"+strings.Repeat("x", overhead+100)+"'"), "<"+ok(1, 0, 0, autocommit, 0),
				">"+packet(0, "\x16"+"SELECT(?,?,?)#a_long_comment"), "<"+prepared(3, 3, 3, false),
				">"+execute(3, "\x00\x01"+"\xfd\x00\xfd\x00\xfd\x00"+text("twelve bytes")+text("twelve bytes")+text("twelve bytes")), "<"+ok(1, 0, 0, autocommit, 0),
				">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(4, 1, 1, false),
				">"+packet(0, "\x18"+le32(4)+le16(0)+strings.Repeat("y", 100)),
				">"+execute(4, "\x00\x01"+"\xfd\x00"), "<"+ok(1, 0, 0, autocommit, 0)),
			Want: `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 'fifteen xxx' at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 25 body 0
			< response 0 at 89 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request SELECT SELECT 'sixteen xxxx at 99 head 0 none [statement-cut]
			>   user = ann
			>   database = shop
			> end whole size 26 body 0 [statement-cut]
			< response 0 at 100 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request SELECT SELECT 'xxxxxxxxxxxx at 125 head 0 none [statement-cut]
			>   user = ann
			>   database = shop
			> end whole size 8306 body 0 [statement-cut]
			< response 0 at 111 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request PREPARE SELECT(?,?,?)#a_long at 8431 head 0 none [statement-cut]
			>   user = ann
			>   database = shop
			> end whole size 33 body 0 [statement-cut]
			< response 0 at 122 head 0 none
			<   columns = 3
			< end whole size 220 body 0
			> request SELECT SELECT(?,?,?)#a_long at 8464 head 0 none [statement-cut]
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 61 body 0 [statement-cut]
			< response 0 at 342 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0
			> request PREPARE SELECT(?) at 8525 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 353 head 0 none
			<   columns = 1
			< end whole size 84 body 0
			> request one-way SEND_LONG_DATA SELECT(?) at 8539 head 0 none
			>   prepared = 4
			>   user = ann
			>   database = shop
			> end whole size 111 body 0
			> request SELECT SELECT(?) at 8650 head 0 none
			>   prepared = 4
			>   parameter = yyyyyyyyyy
			>   user = ann
			>   database = shop
			> end whole size 18 body 0
			< response 0 at 437 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`,
		},
		{
			Name: "a body beyond what is wanted", MaxBody: 12,
			Script: in(capsNew,
				">"+query("SELECT 1"), "<"+packet(1, "\x01")+column(2, "a", 253, 0)+row(3, "seven..")+row(4, strings.Repeat("x", 3000))+row(5, "more")+endOK(6, autocommit)),
			Want: `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 1
			< "seven..\nxxxx"
			< end whole size 3078 body 3016 parts 3 of 3016 largest 3003
			<   transaction = idle`,
		},
		all("missing bytes in a row", in(capsNew,
			">"+query("SELECT 1"), "<"+packet(1, "\x01")+column(2, "a", 253, 0)+row(3, "first")+"\x0b\x00\x00\x04\x0aabc", "<gap 4",
			"<efg"+row(5, "last")+endOK(6, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 1
			< "first\nlast\n"
			< end whole size 84 body 22 parts 3 of 22 largest 11
			<   transaction = idle missing 4`),
		all("missing bytes elsewhere", in(capsNew,
			">"+query("SELECT 1"), "<"+packet(1, "\x01")+column(2, "a", 253, 0)+row(3, "first"), "<gap 40",
			"<"+row(9, "cut off here"),
			">"+query("SELECT 2"), "<"+set(1, false, autocommit),
			">gap 13", ">"+query("SELECT 4"), "<"+set(1, false, autocommit)[:30], "<gap 77", "<"+set(1, false, autocommit)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 1
			< "first\n"
			< end broken size 49 body 6 parts 1 of 6 largest 6
			< lost
			> request SELECT SELECT 2 at 87 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 195 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> lost
			> request SELECT SELECT 4 at 113 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 302 head 0 rendered
			<   columns = 2
			< end broken size 30 body 0
			< lost`),
		all("several at once after a loss", in(capsNew,
			">gap 13", ">"+query("SELECT 1")+query("DO 1"), "<"+set(1, false, autocommit)+ok(1, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> lost
			> request SELECT SELECT 1 at 87 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			> request DO DO 1 at 100 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 9 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			< response 0 at 196 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("an answer to what was lost", in(capsNew,
			">"+query("SELECT 1"), "<"+set(1, false, autocommit)[:50], ">gap 9", ">"+query("SELECT 2"), "<"+set(1, false, autocommit)[50:]+ok(1, 5, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			> lost
			> request SELECT SELECT 2 at 96 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			< lost`),
		all("a piece of a parameter is missing", in(capsNew,
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(3, 1, 1, false),
			">"+packet(0, "\x18"+le32(3)+le16(0)+"long "), ">gap 15", ">"+execute(3, "\x00\x01"+"\xfd\x00"), "<"+ok(1, 0, 0, autocommit, 0)), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request PREPARE SELECT(?) at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 14 body 0
			< response 0 at 89 head 0 none
			<   columns = 1
			< end whole size 84 body 0
			> request one-way SEND_LONG_DATA SELECT(?) at 88 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 16 body 0
			> lost
			> request SELECT SELECT(?) at 119 head 0 none
			>   prepared = 3
			>   user = ann
			>   database = shop
			> end whole size 18 body 0
			< response 0 at 173 head 0 none
			<   affected_rows = 
			<   transaction = idle
			< end whole size 11 body 0`),
		all("a packet that can't be", in(capsNew,
			">"+query("SELECT 1"), "<"+packet(1, "\x02")+column(2, "a", 253, 0)+packet(3, `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 78 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 89 head 0 rendered
			<   columns = 2
			< end broken size 39 body 0 [bad-frame]
			< lost
			> request SELECT SELECT 2 at 87 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 132 head 0 none
			< end whole size 6 body 0
			> lost
			> request SELECT SELECT 3 at 109 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 138 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> lost
			> request PING at 135 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 5 body 0
			< lost`),
			">"+query("SELECT 2"), "<"+packet(1, "\x00\x00"),
			">"+packet(0, "\x77what"), ">"+query("SELECT 3"), "<"+set(1, false, autocommit),
			">"+packet(5, "\x03SELECT 4"), ">"+packet(0, "\x0e"), "<"+packet(1, "\x17")), ""),
		all("not a login", lines("<"+packet(0, "\x0b1.2"), ">"+packet(0, "hello")), `
			< lost
			> lost`),
		resumed("picked up in the middle, with EOF", lines(
			"<"+row(9, "end of a result"), ">"+query("SELECT 1"), "<"+set(1, true, autocommit),
			">"+packet(0, "\x16"+"SELECT(?)"), "<"+prepared(3, 1, 1, true), ">"+execute(9, "\x00\x01\x03\x00"+le32(1)), "<"+binarySet(true)), `
			resumed
			> request SELECT SELECT 1 at 0 head 0 none
			> end whole size 13 body 0
			< response 0 at 20 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 114 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> request PREPARE SELECT(?) at 13 head 0 none
			> end whole size 14 body 0
			< response 0 at 134 head 0 none
			<   columns = 1
			< end whole size 102 body 0
			> request ? ? at 27 head 0 none [statement-unknown]
			>   prepared = 9
			> end whole size 22 body 0 [statement-unknown]
			< response 0 at 236 head 0 rendered
			<   columns = 2
			< "-5\t\\N\n6\tsix\n"
			< end whole size 123 body 16 parts 2 of 16 largest 10
			<   transaction = idle`),
		resumed("picked up in the middle, a statement first", lines(
			">"+packet(0, "\x03\x00\x01SELECT 1"), "<"+set(1, false, autocommit),
			">"+packet(0, "\x16"+"SET @a = ?"), "<"+prepared(3, 0, 1, false), ">"+query("SELECT 1"), "<"+set(1, false, autocommit)), `
			resumed
			> request SELECT SELECT 1 at 0 head 0 none
			> end whole size 15 body 0
			< response 0 at 0 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> request PREPARE SET @a = ? at 15 head 0 none
			> end whole size 15 body 0
			< response 0 at 107 head 0 none
			<   columns = 
			< end whole size 50 body 0
			> request SELECT SELECT 1 at 30 head 0 none
			> end whole size 13 body 0
			< response 0 at 157 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		resumed("picked up in a prepared statement, EOF not yet known", lines(
			">"+packet(0, "\x16"+"SET @a = ?"), "<"+prepared(3, 0, 1, true), ">"+query("SELECT 1"), "<"+set(1, true, autocommit)), `
			resumed
			> request PREPARE SET @a = ? at 0 head 0 none
			> end whole size 15 body 0
			< response 0 at 0 head 0 none
			<   columns = 
			< end whole size 50 body 0
			> request SELECT SELECT 1 at 15 head 0 none
			> end whole size 13 body 0
			< response 0 at 59 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 114 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		resumed("picked up in the middle, compressed", lines(
			">"+squeezed(0, "", query("SELECT 1")), "<"+squeezed(1, "zlib", set(1, false, autocommit)),
			">"+squeezed(0, "zlib", query("SELECT '"+strings.Repeat("x", 300)+"'")), "<"+squeezed(1, "zlib", set(1, false, autocommit))), `
			resumed
			> request SELECT SELECT 1 at 0 head 0 none
			> end whole size 20 body 0
			< response 0 at 0 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 99 body 9 parts 2 of 9 largest 5
			<   transaction = idle
			> request SELECT SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' at 20 head 0 none
			> end whole size 38 body 0
			< response 0 at 99 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 99 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		resumed("picked up at an execution of what isn't known", lines(
			">"+execute(7, "\x00\x01"+"\x03\x00"+le32(7)), "<"+packet(1, "\x01")+column(2, "a", typeLong, 0)+packet(3, "\x00\x00"+le32(5))+endOK(4, autocommit),
			">"+execute(7, "\x00\x00"+le32(8)), "<"+ok(1, 1, 0, autocommit, 0)), `
			resumed
			> request ? ? at 0 head 0 none [statement-unknown]
			>   prepared = 7
			> end whole size 22 body 0 [statement-unknown]
			< response 0 at 0 head 0 rendered
			<   columns = 1
			< "5\n"
			< end whole size 60 body 6 parts 1 of 6 largest 6
			<   transaction = idle
			> request ? ? at 22 head 0 none [statement-unknown]
			>   prepared = 7
			> end whole size 20 body 0 [statement-unknown]
			< response 0 at 60 head 0 none
			<   affected_rows = 1
			<   transaction = idle
			< end whole size 11 body 0`),
		resumed("picked up before an empty result", lines(
			">"+query("SELECT a FROM t"), "<"+packet(1, "\x01")+column(2, "a", typeLong, 0)+endOK(3, autocommit), ">"+query("DO 1"), "<"+ok(1, 0, 0, autocommit, 0)), `
			resumed
			> request SELECT SELECT a FROM t at 0 head 0 none
			> end whole size 20 body 0
			< response 0 at 0 head 0 rendered
			<   columns = 1
			< end whole size 50 body 0
			<   transaction = idle
			> request DO DO 1 at 20 head 0 none
			> end whole size 9 body 0
			< response 0 at 50 head 0 none
			<   affected_rows =
			<   transaction = idle
			< end whole size 11 body 0`),
		resumed("picked up at the login", lines(append([]string{"<" + row(9, "end of another session")}, enter(capsNew)...)...)+lines(
			">"+query("SELECT 1"), "<"+set(1, false, autocommit)), `
			resumed
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			< response 0 at 105 head 0 none
			<   server_version = 8.0.36
			<   session = 77
			< end whole size 11 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			< response 0 at 116 head 0 rendered
			<   columns = 2
			< "a\\tb\t\\N\nb\t2\n"
			< end whole size 107 body 9 parts 2 of 9 largest 5
			<   transaction = idle`),
		all("one direction", lines(">"+response41(1, capsNew, "ann", "shop"), ">"+query("SELECT 1"), ">"+query("SELECT 2"), ">close fin"), `
			> request LOGIN at 0 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 74 body 0
			> request SELECT SELECT 1 at 74 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0
			> request SELECT SELECT 2 at 87 head 0 none
			>   user = ann
			>   database = shop
			> end whole size 13 body 0`),
		all("the other direction", lines("<"+greeting10(capsNew), "<"+ok(2, 0, 0, autocommit, 0), "<"+set(1, false, autocommit)), `
			< lost`),
	}
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases()) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases()) }
