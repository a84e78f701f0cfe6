package memcached

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

var cases = []prototest.Case{
	{
		Name: "a value is stored and read",
		Script: `
			> set session:42 5 3600 6\r\nab\r\ncd\r\n
			< STORED\r\n
			> get session:42\r\n
			< VALUE session:42 5 6\r\nab\r\ncd\r\nEND\r\n
			> quit\r\n
			>close fin
			<close fin`,
		Want: `
			>1 request set set session:42 5 3600 6 at 0 head 0 none
			>1   key = session:42
			>1   exptime = 3600
			>1   protocol_type = text
			>1   value_bytes = 6
			>1 end whole size 33 body 0
			<1 response 0 at 0 head 0 none
			<1   status = STORED
			<1 end whole size 8 body 0
			>2 request get get session:42 at 33 head 0 none
			>2   key = session:42
			>2   protocol_type = text
			>2 end whole size 16 body 0
			<2 response 0 at 8 head 0 rendered
			<2 "session:42\tab\r\ncd\n"
			<2 end whole size 35 body 6 parts 1 of 6 largest 6
			<2   status = END
			<2   hits = 1
			<2   misses =
			>3 request one-way quit quit at 49 head 0 none
			>3   protocol_type = text
			>3 end whole size 6 body 0`,
	},
	{
		Name: "many keys, some of which aren't there",
		Script: `
			> gets x k1 k2 y\r\n
			< VALUE k1 0 1 77\r\na\r\nVALUE k2 0 0 78\r\n\r\nEND\r\n
			> get nothing\r\n
			< END\r\n
			> gat 100 a b\r\n
			< VALUE a 0 3\r\nxyz\r\nEND\r\n`,
		Want: `
			>1 request gets gets x k1 k2 y at 0 head 0 none
			>1   key = x
			>1   key = k1
			>1   key = k2
			>1   key = y
			>1   protocol_type = text
			>1 end whole size 16 body 0
			<1 response 0 at 0 head 0 rendered
			<1 "k1\ta\nk2\t\n"
			<1 end whole size 44 body 1 parts 2 of 1 largest 1
			<1   status = END
			<1   hits = 2
			<1   misses = 2
			>2 request get get nothing at 16 head 0 none
			>2   key = nothing
			>2   protocol_type = text
			>2 end whole size 13 body 0
			<2 response 0 at 44 head 0 rendered
			<2   status = END
			<2   hits =
			<2   misses = 1
			<2 end whole size 5 body 0
			>3 request gat gat 100 a b at 29 head 0 none
			>3   exptime = 100
			>3   key = a
			>3   key = b
			>3   protocol_type = text
			>3 end whole size 13 body 0
			<3 response 0 at 49 head 0 rendered
			<3 "a\txyz\n"
			<3 end whole size 23 body 3 parts 1 of 3 largest 3
			<3   status = END
			<3   hits = 1
			<3   misses = 1`,
	},
	{
		Name: "counting, deleting, touching",
		Script: `
			> incr n 5\r\ndecr n 1\r\nincr m 1\r\n
			< 10\r\n9\r\nNOT_FOUND\r\n
			> delete n\r\ndelete n\r\ntouch a 10\r\ncas a 0 0 1 9\r\nx\r\n
			< DELETED\r\nNOT_FOUND\r\nTOUCHED\r\nEXISTS\r\n`,
		Want: `
			>1 request incr incr n 5 at 0 head 0 none
			>1   key = n
			>1   protocol_type = text
			>1 end whole size 10 body 0
			>2 request decr decr n 1 at 10 head 0 none
			>2   key = n
			>2   protocol_type = text
			>2 end whole size 10 body 0
			>3 request incr incr m 1 at 20 head 0 none
			>3   key = m
			>3   protocol_type = text
			>3 end whole size 10 body 0
			<1 response 0 at 0 head 0 rendered
			<1   hits = 1
			<1 "10\n"
			<1 end whole size 4 body 2 parts 1 of 2 largest 2
			<2 response 0 at 4 head 0 rendered
			<2   hits = 1
			<2 "9\n"
			<2 end whole size 3 body 1 parts 1 of 1 largest 1
			<3 response 0 at 7 head 0 none
			<3   status = NOT_FOUND
			<3   misses = 1
			<3 end whole size 11 body 0
			>4 request delete delete n at 30 head 0 none
			>4   key = n
			>4   protocol_type = text
			>4 end whole size 10 body 0
			>5 request delete delete n at 40 head 0 none
			>5   key = n
			>5   protocol_type = text
			>5 end whole size 10 body 0
			>6 request touch touch a 10 at 50 head 0 none
			>6   key = a
			>6   exptime = 10
			>6   protocol_type = text
			>6 end whole size 12 body 0
			>7 request cas cas a 0 0 1 9 at 62 head 0 none
			>7   key = a
			>7   exptime =
			>7   protocol_type = text
			>7   value_bytes = 1
			>7 end whole size 18 body 0
			<4 response 0 at 18 head 0 none
			<4   status = DELETED
			<4   hits = 1
			<4 end whole size 9 body 0
			<5 response 0 at 27 head 0 none
			<5   status = NOT_FOUND
			<5   misses = 1
			<5 end whole size 11 body 0
			<6 response 0 at 38 head 0 none
			<6   status = TOUCHED
			<6   hits = 1
			<6 end whole size 9 body 0
			<7 response 0 at 47 head 0 none
			<7   status = EXISTS
			<7 end whole size 8 body 0`,
	},
	{
		Name: "nobody wants an answer",
		Script: `
			> set a 0 0 1 noreply\r\nx\r\nincr a 1 noreply\r\ndelete a noreply\r\nget a\r\n
			< END\r\n`,
		Want: `
			>1 request one-way set set a 0 0 1 noreply at 0 head 0 none
			>1   key = a
			>1   exptime =
			>1   noreply = 1
			>1   protocol_type = text
			>1   value_bytes = 1
			>1 end whole size 24 body 0
			>2 request one-way incr incr a 1 noreply at 24 head 0 none
			>2   key = a
			>2   noreply = 1
			>2   protocol_type = text
			>2 end whole size 18 body 0
			>3 request one-way delete delete a noreply at 42 head 0 none
			>3   key = a
			>3   noreply = 1
			>3   protocol_type = text
			>3 end whole size 18 body 0
			>4 request get get a at 60 head 0 none
			>4   key = a
			>4   protocol_type = text
			>4 end whole size 7 body 0
			<4 response 0 at 0 head 0 rendered
			<4   status = END
			<4   hits =
			<4   misses = 1
			<4 end whole size 5 body 0`,
	},
	{
		Name: "errors",
		Script: `
			> incr a 1\r\n
			< CLIENT_ERROR cannot increment or decrement non-numeric value\r\n
			> set big 0 0 3\r\nabc\r\n
			< SERVER_ERROR out of memory storing object\r\n
			> frobnicate\r\nget\r\n
			< ERROR\r\nERROR\r\n
			> get a b\r\n
			< VALUE a 0 1\r\nx\r\nSERVER_ERROR out of memory writing get response\r\n`,
		Want: `
			>1 request incr incr a 1 at 0 head 0 none
			>1   key = a
			>1   protocol_type = text
			>1 end whole size 10 body 0
			<1 response 0 at 0 head 0 none
			<1   status = CLIENT_ERROR
			<1   error_code = CLIENT_ERROR
			<1   error_message = cannot increment or decrement non-numeric value
			<1 end whole size 62 body 0
			>2 request set set big 0 0 3 at 10 head 0 none
			>2   key = big
			>2   exptime =
			>2   protocol_type = text
			>2   value_bytes = 3
			>2 end whole size 20 body 0
			<2 response 0 at 62 head 0 none
			<2   status = SERVER_ERROR
			<2   error_code = SERVER_ERROR
			<2   error_message = out of memory storing object
			<2 end whole size 43 body 0
			>3 request frobnicate frobnicate at 30 head 0 none [bad-start-line]
			>3   protocol_type = text
			>3 end whole size 12 body 0 [bad-start-line]
			>4 request get get at 42 head 0 none [bad-start-line]
			>4   protocol_type = text
			>4 end whole size 5 body 0 [bad-start-line]
			<3 response 0 at 105 head 0 none
			<3   status = ERROR
			<3   error_code = ERROR
			<3 end whole size 7 body 0
			<4 response 0 at 112 head 0 none
			<4   status = ERROR
			<4   error_code = ERROR
			<4 end whole size 7 body 0
			>5 request get get a b at 47 head 0 none
			>5   key = a
			>5   key = b
			>5   protocol_type = text
			>5 end whole size 9 body 0
			<5 response 0 at 119 head 0 rendered
			<5 "a\tx\n"
			<5 end whole size 65 body 1 parts 1 of 1 largest 1
			<5   status = SERVER_ERROR
			<5   error_code = SERVER_ERROR
			<5   error_message = out of memory writing get response`,
	},
	{
		Name: "what operators ask",
		Script: `
			> stats\r\n
			< STAT pid 1234\r\nSTAT version 1.6.18\r\nEND\r\n
			> version\r\nflush_all 10\r\nverbosity 1\r\nstats reset\r\n
			< VERSION 1.6.18\r\nOK\r\nOK\r\nRESET\r\n
			> lru_crawler metadump all\r\n
			< key=foo exp=-1 la=1 cas=2 fetch=no cls=1 size=65\r\nEND\r\n
			> stats cachedump 1 10\r\n
			< ITEM foo [1 b; 0 s]\r\nEND\r\n`,
		Want: `
			>1 request stats stats at 0 head 0 none
			>1   protocol_type = text
			>1 end whole size 7 body 0
			<1 response 0 at 0 head 0 rendered
			<1 "pid\t1234\nversion\t1.6.18\n"
			<1 end whole size 41 body 22 parts 2 of 22 largest 14
			<1   status = END
			>2 request version version at 7 head 0 none
			>2   protocol_type = text
			>2 end whole size 9 body 0
			>3 request flush_all flush_all 10 at 16 head 0 none
			>3   protocol_type = text
			>3 end whole size 14 body 0
			>4 request verbosity verbosity 1 at 30 head 0 none
			>4   protocol_type = text
			>4 end whole size 13 body 0
			>5 request stats stats reset at 43 head 0 none
			>5   protocol_type = text
			>5 end whole size 13 body 0
			<2 response 0 at 41 head 0 rendered
			<2   status = VERSION
			<2 "1.6.18\n"
			<2 end whole size 16 body 6 parts 1 of 6 largest 6
			<3 response 0 at 57 head 0 none
			<3   status = OK
			<3 end whole size 4 body 0
			<4 response 0 at 61 head 0 none
			<4   status = OK
			<4 end whole size 4 body 0
			<5 response 0 at 65 head 0 none
			<5   status = RESET
			<5 end whole size 7 body 0
			>6 request lru_crawler lru_crawler metadump all at 56 head 0 none
			>6   protocol_type = text
			>6 end whole size 26 body 0
			<6 response 0 at 72 head 0 rendered
			<6 "key=foo exp=-1 la=1 cas=2 fetch=no cls=1 size=65\n"
			<6 end whole size 55 body 48 parts 1 of 48 largest 48
			<6   status = END
			>7 request stats stats cachedump 1 10 at 82 head 0 none
			>7   protocol_type = text
			>7 end whole size 22 body 0
			<7 response 0 at 127 head 0 rendered
			<7 "foo\t[1 b; 0 s]\n"
			<7 end whole size 26 body 14 parts 1 of 14 largest 14
			<7   status = END`,
	},
	{
		Name: "a watcher",
		Script: `
			> watch fetchers\r\n
			< OK\r\nts=1.5 gid=1 type=item_get key=foo status=not_found\r\n
			< ts=1.6 gid=2 type=item_get key=foo status=found\r\n`,
		Want: `
			>1 request watch watch fetchers at 0 head 0 none
			>1   protocol_type = text
			>1 end whole size 16 body 0
			<1 response 0 at 0 head 0 none
			<1   status = OK
			<1 end whole size 4 body 0
			<2 response 0 one-way watch ts=1.5 gid=1 type=item_get key=foo status=not_found at 4 head 0 none
			<2 end whole size 53 body 0
			<3 response 0 one-way watch ts=1.6 gid=2 type=item_get key=foo status=found at 57 head 0 none
			<3 end whole size 49 body 0`,
	},
	{
		Name: "meta commands",
		Script: `
			> ms foo 3 T60 F5\r\nbar\r\nmg foo v t\r\nmg none v\r\nma n D2\r\nmd foo q\r\nmn\r\nme foo\r\n
			< HD\r\nVA 3 t60\r\nbar\r\nEN\r\nNF\r\nMN\r\nME foo exp=-1\r\n`,
		Want: `
			>1 request ms ms foo 3 T60 F5 at 0 head 0 none
			>1   key = foo
			>1   exptime = 60
			>1   protocol_type = meta
			>1   value_bytes = 3
			>1 end whole size 22 body 0
			>2 request mg mg foo v t at 22 head 0 none
			>2   key = foo
			>2   protocol_type = meta
			>2 end whole size 12 body 0
			>3 request mg mg none v at 34 head 0 none
			>3   key = none
			>3   protocol_type = meta
			>3 end whole size 11 body 0
			>4 request ma ma n D2 at 45 head 0 none
			>4   key = n
			>4   protocol_type = meta
			>4 end whole size 9 body 0
			>5 request md md foo q at 54 head 0 none
			>5   key = foo
			>5   noreply = 1
			>5   protocol_type = meta
			>5 end whole size 10 body 0
			>6 request mn mn at 64 head 0 none
			>6   protocol_type = meta
			>6 end whole size 4 body 0
			>7 request me me foo at 68 head 0 none
			>7   key = foo
			>7   protocol_type = meta
			>7 end whole size 8 body 0
			<1 response 0 at 0 head 0 none
			<1   status = HD
			<1 end whole size 4 body 0
			<2 response 0 at 4 head 0 rendered
			<2   status = VA
			<2   hits = 1
			<2 "bar\n"
			<2 end whole size 15 body 3 parts 1 of 3 largest 3
			<3 response 0 at 19 head 0 none
			<3   status = EN
			<3   misses = 1
			<3 end whole size 4 body 0
			<4 response 0 at 23 head 0 none
			<4   status = NF
			<4   misses = 1
			<4 end whole size 4 body 0
			<5 response 0 blocks at 27 head 0 none
			<5 end whole size 0 body 0
			<6 response 0 at 27 head 0 none
			<6   status = MN
			<6 end whole size 4 body 0
			<7 response 0 at 31 head 0 rendered
			<7   status = ME
			<7 "foo exp=-1\n"
			<7 end whole size 15 body 10 parts 1 of 10 largest 10`,
	},
	{
		Name: "quiet meta commands, with and without opaque tokens",
		Script: `
			> mg a v q Oa\r\nmg b v q Ob\r\nmg c v q Oc\r\nmn\r\n
			< VA 1 Ob\r\nx\r\nMN\r\n
			> ms a 1 q\r\n1\r\nms b 1 q\r\n2\r\nmg a v\r\n
			< VA 1\r\n1\r\n
			> mg a v q\r\nmg b v q\r\nmn\r\n
			< VA 1\r\n1\r\nMN\r\n`,
		Want: `
			>1 request mg mg a v q Oa at 0 head 0 none
			>1   key = a
			>1   noreply = 1
			>1   protocol_type = meta
			>1 end whole size 13 body 0
			>2 request mg mg b v q Ob at 13 head 0 none
			>2   key = b
			>2   noreply = 1
			>2   protocol_type = meta
			>2 end whole size 13 body 0
			>3 request mg mg c v q Oc at 26 head 0 none
			>3   key = c
			>3   noreply = 1
			>3   protocol_type = meta
			>3 end whole size 13 body 0
			>4 request mn mn at 39 head 0 none
			>4   protocol_type = meta
			>4 end whole size 4 body 0
			<1 response 0 blocks at 0 head 0 none
			<1   misses = 1
			<1 end whole size 0 body 0
			<2 response 0 at 0 head 0 rendered
			<2   status = VA
			<2   hits = 1
			<2 "x\n"
			<2 end whole size 12 body 1 parts 1 of 1 largest 1
			<3 response 0 blocks at 12 head 0 none
			<3   misses = 1
			<3 end whole size 0 body 0
			<4 response 0 at 12 head 0 none
			<4   status = MN
			<4 end whole size 4 body 0
			>5 request ms ms a 1 q at 43 head 0 none
			>5   key = a
			>5   noreply = 1
			>5   protocol_type = meta
			>5   value_bytes = 1
			>5 end whole size 13 body 0
			>6 request ms ms b 1 q at 56 head 0 none
			>6   key = b
			>6   noreply = 1
			>6   protocol_type = meta
			>6   value_bytes = 1
			>6 end whole size 13 body 0
			>7 request mg mg a v at 69 head 0 none
			>7   key = a
			>7   protocol_type = meta
			>7 end whole size 8 body 0
			<5 response 0 blocks at 16 head 0 none
			<5 end whole size 0 body 0
			<6 response 0 blocks at 16 head 0 none
			<6 end whole size 0 body 0
			<7 response 0 at 16 head 0 rendered
			<7   status = VA
			<7   hits = 1
			<7 "1\n"
			<7 end whole size 9 body 1 parts 1 of 1 largest 1
			>8 request mg mg a v q at 77 head 0 none
			>8   key = a
			>8   noreply = 1
			>8   protocol_type = meta
			>8 end whole size 10 body 0
			>9 request mg mg b v q at 87 head 0 none
			>9   key = b
			>9   noreply = 1
			>9   protocol_type = meta
			>9 end whole size 10 body 0
			>10 request mn mn at 97 head 0 none
			>10   protocol_type = meta
			>10 end whole size 4 body 0
			<8 response 0 at 25 head 0 rendered [ambiguous-pairing]
			<8   status = VA
			<8   hits = 1
			<8 "1\n"
			<8 end whole size 9 body 1 parts 1 of 1 largest 1 [ambiguous-pairing]
			<9 response 0 blocks at 34 head 0 none
			<9   misses = 1
			<9 end whole size 0 body 0
			<10 response 0 at 34 head 0 none
			<10   status = MN
			<10 end whole size 4 body 0`,
	},
	{
		Name: "what nobody ended is answered by the close",
		Script: `
			> ms a 1 q\r\n1\r\nms b 1 q\r\n2\r\n
			>close fin
			<close fin`,
		Want: `
			>1 request ms ms a 1 q at 0 head 0 none
			>1   key = a
			>1   noreply = 1
			>1   protocol_type = meta
			>1   value_bytes = 1
			>1 end whole size 13 body 0
			>2 request ms ms b 1 q at 13 head 0 none
			>2   key = b
			>2   noreply = 1
			>2   protocol_type = meta
			>2   value_bytes = 1
			>2 end whole size 13 body 0
			<1 response 0 blocks at 0 head 0 close
			<1 end whole size 0 body 0
			<2 response 0 blocks at 0 head 0 close
			<2 end whole size 0 body 0`,
	},
	{
		Name: "binary: stored, read, missed, counted",
		Script: `
			> \x80\x01\x00\x01\x08\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x0e\x10kabc
			< \x81\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07
			> \x80\x0c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00k
			< \x81\x0c\x00\x01\x04\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x05kabc
			> \x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00x
			< \x81\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00Not found
			> \x80\x05\x00\x01\x14\x00\x00\x00\x00\x00\x00\x15\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x3cn
			< \x81\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x07
			> \x80\x55\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00
			< \x81\x55\x00\x00\x00\x00\x00\x81\x00\x00\x00\x0f\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00Unknown command`,
		Want: `
			>1 request set set k 5 3600 3 at 0 head 0 none
			>1   key = k
			>1   protocol_type = binary
			>1   opcode = Set
			>1   opaque = 1
			>1   value_bytes = 3
			>1   exptime = 3600
			>1 end whole size 36 body 0
			<1 response 0 at 0 head 0 none
			<1   status = No error
			<1 end whole size 24 body 0
			>2 request get get k at 36 head 0 none
			>2   key = k
			>2   protocol_type = binary
			>2   opcode = GetK
			>2   opaque = 2
			>2 end whole size 25 body 0
			<2 response 0 at 24 head 0 rendered
			<2   status = No error
			<2   hits = 1
			<2 "k\tabc\n"
			<2 end whole size 32 body 3 parts 1 of 3 largest 3
			>3 request get get x at 61 head 0 none
			>3   key = x
			>3   protocol_type = binary
			>3   opcode = Get
			>3   opaque = 3
			>3 end whole size 25 body 0
			<3 response 0 at 56 head 0 none
			<3   status = Key not found
			<3   misses = 1
			<3 end whole size 33 body 0
			>4 request incr incr n 2 at 86 head 0 none
			>4   key = n
			>4   protocol_type = binary
			>4   opcode = Increment
			>4   opaque = 4
			>4   exptime = 60
			>4 end whole size 45 body 0
			<4 response 0 at 89 head 0 rendered
			<4   status = No error
			<4   hits = 1
			<4 "7\n"
			<4 end whole size 32 body 8 parts 1 of 8 largest 8
			>5 request 0x55 0x55 at 131 head 0 none [bad-frame]
			>5   protocol_type = binary
			>5   opaque = 5
			>5 end whole size 24 body 0 [bad-frame]
			<5 response 0 at 121 head 0 none
			<5   status = Unknown command
			<5   error_code = 0x81
			<5   error_message = Unknown command
			<5 end whole size 39 body 0`,
	},
	{
		Name: "binary: quiet requests, and a barrier",
		Script: `
			> \x80\x0d\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00a\x80\x0d\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00b\x80\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00
			< \x81\x0d\x00\x01\x04\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00bxy\x81\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00
			> \x80\x17\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00`,
		Want: `
			>1 request get get a at 0 head 0 none
			>1   key = a
			>1   protocol_type = binary
			>1   opcode = GetKQ
			>1   opaque =
			>1   noreply = 1
			>1 end whole size 25 body 0
			>2 request get get b at 25 head 0 none
			>2   key = b
			>2   protocol_type = binary
			>2   opcode = GetKQ
			>2   opaque = 1
			>2   noreply = 1
			>2 end whole size 25 body 0
			>3 request noop noop at 50 head 0 none
			>3   protocol_type = binary
			>3   opcode = NoOp
			>3   opaque = 2
			>3 end whole size 24 body 0
			<1 response 0 blocks at 0 head 0 none
			<1   misses = 1
			<1 end whole size 0 body 0
			<2 response 0 at 0 head 0 rendered
			<2   status = No error
			<2   hits = 1
			<2 "b\txy\n"
			<2 end whole size 31 body 2 parts 1 of 2 largest 2
			<3 response 0 at 31 head 0 none
			<3   status = No error
			<3 end whole size 24 body 0
			>4 request one-way quit quit at 74 head 0 none
			>4   protocol_type = binary
			>4   opcode = QuitQ
			>4   opaque = 3
			>4   noreply = 1
			>4 end whole size 24 body 0`,
	},
	{
		Name: "binary: statistics, a login whose password isn't told",
		Script: `
			> \x80\x21\x00\x05\x00\x00\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00PLAIN\x00user\x00pass
			< \x81\x21\x00\x00\x00\x00\x00\x20\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Auth failure.
			> \x80\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00
			< \x81\x10\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00pid42\x81\x10\x00\x07\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00versionx.y\x81\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00
			> \x80\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00
			< \x81\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x001.6.18`,
		Want: `
			>1 request sasl_auth sasl_auth PLAIN at 0 head 0 none
			>1   protocol_type = binary
			>1   opcode = SASL Auth
			>1   opaque =
			>1 end whole size 39 body 0
			<1 response 0 at 0 head 0 none
			<1   status = Authentication error
			<1   error_code = 0x20
			<1   error_message = Auth failure.
			<1 end whole size 37 body 0
			>2 request stats stats at 39 head 0 none
			>2   protocol_type = binary
			>2   opcode = Stat
			>2   opaque = 9
			>2 end whole size 24 body 0
			<2 response 0 at 37 head 0 rendered
			<2 "pid\t42\nversion\tx.y\n"
			<2 end whole size 87 body 15 parts 2 of 15 largest 10
			<2   status = No error
			>3 request version version at 63 head 0 none
			>3   protocol_type = binary
			>3   opcode = Version
			>3   opaque = 9
			>3 end whole size 24 body 0
			<3 response 0 at 124 head 0 rendered
			<3   status = No error
			<3 "1.6.18\n"
			<3 end whole size 30 body 6 parts 1 of 6 largest 6`,
	},
	{
		Name: "binary: a login that succeeds",
		Script: `
			> \x80\x21\x00\x05\x00\x00\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00PLAIN\x00user\x00pass
			< \x81\x21\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Authenticated`,
		Want: `
			>1 request sasl_auth sasl_auth PLAIN at 0 head 0 none
			>1   protocol_type = binary
			>1   opcode = SASL Auth
			>1   opaque =
			>1 end whole size 39 body 0
			<1 response 0 at 0 head 0 rendered
			<1   status = No error
			<1 "Authenticated\n"
			<1 end whole size 37 body 13`,
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: `
			> xyz\r\n
			< \r\nEND\r\n
			> get a\r\n
			< VALUE a 0 1\r\nx\r\nEND\r\n
			> get b\r\n
			< END\r\n`,
		Want: `
			resumed
			>1 request get get a at 5 head 0 none
			>1   key = a
			>1   protocol_type = text
			>1 end whole size 7 body 0
			<1 response 0 at 7 head 0 rendered
			<1 "a\tx\n"
			<1 end whole size 21 body 1 parts 1 of 1 largest 1
			<1   status = END
			<1   hits = 1
			<1   misses =
			>2 request get get b at 12 head 0 none
			>2   key = b
			>2   protocol_type = text
			>2 end whole size 7 body 0
			<2 response 0 at 28 head 0 rendered
			<2   status = END
			<2   hits =
			<2   misses = 1
			<2 end whole size 5 body 0`,
	},
	{
		Name: "bytes are missing",
		Script: `
			> set a 0 0 10\r\n
			>gap 4
			> 567890\r\n
			< STORED\r\n
			> get b\r\n
			< VALUE b 0 10\r\nab
			<gap 30
			> get c\r\n
			< VALUE c 0 1\r\nx\r\nEND\r\n
			> delete c\r\n
			< DELETED\r\n`,
		Want: `
			>1 request set set a 0 0 10 at 0 head 0 none
			>1   key = a
			>1   exptime =
			>1   protocol_type = text
			>1   value_bytes = 10
			>1 end whole size 26 body 0 missing 4
			<1 response 0 at 0 head 0 none
			<1   status = STORED
			<1 end whole size 8 body 0
			>2 request get get b at 26 head 0 none
			>2   key = b
			>2   protocol_type = text
			>2 end whole size 7 body 0
			<2 response 0 at 8 head 0 rendered
			<2 "b\tab"
			<2 end broken size 16 body 2 parts 1 of 10 largest 10
			< lost
			>3 request get get c at 33 head 0 none
			>3   key = c
			>3   protocol_type = text
			>3 end whole size 7 body 0
			<3 response 0 at 54 head 0 rendered
			<3 "c\tx\n"
			<3 end whole size 21 body 1 parts 1 of 1 largest 1
			<3   status = END
			<3   hits = 1
			<3   misses =
			>4 request delete delete c at 40 head 0 none
			>4   key = c
			>4   protocol_type = text
			>4 end whole size 10 body 0
			<4 response 0 at 75 head 0 none
			<4   status = DELETED
			<4   hits = 1
			<4 end whole size 9 body 0`,
	},
	{
		Name:   "too long a line, too many keys, too long a statement",
		Limits: &proto.Limits{MaxHead: 40, MaxFields: 3, MaxStatement: 20, MaxStreams: 10},
		Script: `
			> get aaaaaaaa bbbbbbbb cccccccc dddddddd eeeeeeee\r\nget a b c d\r\nget aaaaaaaaaaaaaaaaaaaaaaaa\r\n
			< END\r\nEND\r\nEND\r\n`,
		Want: `
			>1 request get get aaaaaaaa bbbbbbb at 0 head 0 none [head-too-large statement-cut]
			>1   key = aaaaaaaa
			>1   protocol_type = text
			>1 end whole size 50 body 0 [head-too-large statement-cut]
			>2 request get get a b c d at 50 head 0 none [too-many-fields]
			>2   key = a
			>2   key = b
			>2   key = c
			>2   protocol_type = text
			>2 end whole size 13 body 0 [too-many-fields]
			>3 request get get aaaaaaaaaaaaaaaa at 63 head 0 none [statement-cut]
			>3   protocol_type = text
			>3 end whole size 30 body 0 [statement-cut]
			<1 response 0 at 0 head 0 rendered
			<1   status = END
			<1   hits =
			<1 end whole size 5 body 0
			<2 response 0 at 5 head 0 rendered
			<2   status = END
			<2   hits =
			<2   misses = 4
			<2 end whole size 5 body 0
			<3 response 0 at 10 head 0 rendered
			<3   status = END
			<3   hits =
			<3   misses = 1
			<3 end whole size 5 body 0`,
	},
	{
		Name: "malformed",
		Script: `
			> set a 0 0 x\r\nget a\n
			< CLIENT_ERROR bad data chunk\r\nEND\r\n
			> set a 0 0 1\r\nxyz\r\n
			< CLIENT_ERROR bad data chunk\r\n`,
		Want: `
			>1 request set set a 0 0 x at 0 head 0 none [bad-length]
			>1   key = a
			>1   exptime =
			>1   protocol_type = text
			>1 end whole size 13 body 0 [bad-length]
			>2 request get get a at 13 head 0 none [line-end-lf]
			>2   key = a
			>2   protocol_type = text
			>2 end whole size 6 body 0 [line-end-lf]
			<1 response 0 at 0 head 0 none
			<1   status = CLIENT_ERROR
			<1   error_code = CLIENT_ERROR
			<1   error_message = bad data chunk
			<1 end whole size 29 body 0
			<2 response 0 at 29 head 0 rendered
			<2   status = END
			<2   hits =
			<2   misses = 1
			<2 end whole size 5 body 0
			>3 request set set a 0 0 1 at 19 head 0 none
			>3   key = a
			>3   exptime =
			>3   protocol_type = text
			>3   value_bytes = 1
			>3 end broken size 14 body 0 [bad-value]
			> lost
			<4 response 0 at 34 head 0 none [ambiguous-pairing]
			<4   status = CLIENT_ERROR
			<4   error_code = CLIENT_ERROR
			<4   error_message = bad data chunk
			<4 end whole size 29 body 0 [ambiguous-pairing]`,
	},
	{
		Name: "answers that can't be",
		Script: `
			> get a\r\nincr n 1\r\n
			< 5\r\n
			> get b\r\n
			< END\r\n`,
		Want: `
			>1 request get get a at 0 head 0 none
			>1   key = a
			>1   protocol_type = text
			>1 end whole size 7 body 0
			>2 request incr incr n 1 at 7 head 0 none
			>2   key = n
			>2   protocol_type = text
			>2 end whole size 10 body 0
			<3 response 0 at 0 head 0 rendered
			<3 "5\n"
			<3 end whole size 3 body 1 parts 1 of 1 largest 1
			>4 request get get b at 17 head 0 none
			>4   key = b
			>4   protocol_type = text
			>4 end whole size 7 body 0
			<5 response 0 at 3 head 0 rendered [ambiguous-pairing]
			<5   status = END
			<5 end whole size 5 body 0 [ambiguous-pairing]`,
	},
	{
		Name: "binary: a counter that isn't to be made, statistics that something else interrupts",
		Script: `
			> \x80\x05\x00\x01\x14\x00\x00\x00\x00\x00\x00\x15\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffn
			< \x81\x05\x00\x00\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00Not found
			> \x80\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00
			< \x81\x10\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00pid42\x81\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00`,
		Want: `
			>1 request incr incr n 2 at 0 head 0 none
			>1   key = n
			>1   protocol_type = binary
			>1   opcode = Increment
			>1   opaque = 4
			>1 end whole size 45 body 0
			<1 response 0 at 0 head 0 none
			<1   status = Key not found
			<1   misses = 1
			<1 end whole size 33 body 0
			>2 request stats stats at 45 head 0 none
			>2   protocol_type = binary
			>2   opcode = Stat
			>2   opaque = 9
			>2 end whole size 24 body 0
			<2 response 0 at 33 head 0 rendered
			<2 "pid\t42\n"
			<2 end broken size 29 body 5 parts 1 of 5 largest 5
			< lost`,
	},
	{
		Name:   "the responder asks",
		Client: proto.Responder,
		Script: `
			< get a\r\n
			> END\r\n`,
		Want: `
			<1 request get get a at 0 head 0 none
			<1   key = a
			<1   protocol_type = text
			<1 end whole size 7 body 0
			>1 response 0 at 0 head 0 rendered
			>1   status = END
			>1   hits =
			>1   misses = 1
			>1 end whole size 5 body 0`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

// packed writes a packet of the binary protocol into a script.
func packed(magic, opcode, opaque byte, key string) string {
	b := []byte(header(magic, opcode, len(key), 0, 0, len(key)))
	b[15] = opaque
	var text strings.Builder
	for _, c := range append(b, key...) {
		fmt.Fprintf(&text, `\x%02x`, c)
	}
	return text.String()
}

// limited are conversations in which more is asked than is waited for. What is beyond the limit depends on all before, so that they
// aren't what they were where bytes are missing.
var limited = []prototest.Case{
	{
		Name: "text",
		Script: `
			> get a\r\nget b\r\nget c\r\nset d 0 0 1\r\nx\r\nget e\r\n
			< END\r\nEND\r\nVALUE c 0 1\r\nC\r\nEND\r\nSTORED\r\n
			> get f\r\n
			< END\r\nEND\r\n
			> get g\r\n
			< END\r\n`,
		Want: `
			>1 request get get a at 0 head 0 none
			>1   key = a
			>1   protocol_type = text
			>1 end whole size 7 body 0
			>2 request get get b at 7 head 0 none
			>2   key = b
			>2   protocol_type = text
			>2 end whole size 7 body 0
			>3 request one-way get get c at 14 head 0 none [stream-limit]
			>3   key = c
			>3   protocol_type = text
			>3 end whole size 7 body 0 [stream-limit]
			>4 request one-way set set d 0 0 1 at 21 head 0 none [stream-limit]
			>4   key = d
			>4   exptime = 
			>4   protocol_type = text
			>4   value_bytes = 1
			>4 end whole size 16 body 0 [stream-limit]
			>5 request one-way get get e at 37 head 0 none [stream-limit]
			>5   key = e
			>5   protocol_type = text
			>5 end whole size 7 body 0 [stream-limit]
			<1 response 0 at 0 head 0 rendered
			<1   status = END
			<1   hits = 
			<1   misses = 1
			<1 end whole size 5 body 0
			<2 response 0 at 5 head 0 rendered
			<2   status = END
			<2   hits = 
			<2   misses = 1
			<2 end whole size 5 body 0
			>6 request get get f at 44 head 0 none
			>6   key = f
			>6   protocol_type = text
			>6 end whole size 7 body 0
			<6 response 0 at 44 head 0 rendered
			<6   status = END
			<6   hits = 
			<6   misses = 1
			<6 end whole size 5 body 0
			>7 request get get g at 51 head 0 none
			>7   key = g
			>7   protocol_type = text
			>7 end whole size 7 body 0
			<7 response 0 at 49 head 0 rendered
			<7   status = END
			<7   hits = 
			<7   misses = 1
			<7 end whole size 5 body 0`,
	},
	{
		Name: "quiet meta commands",
		Script: `
			> mg a v\r\nmg b v\r\nmg c v q\r\nmg d v q\r\nmn\r\n
			< EN\r\nEN\r\nVA 1\r\nD\r\nMN\r\n
			> get g\r\n
			< END\r\n`,
		Want: `
			>1 request mg mg a v at 0 head 0 none
			>1   key = a
			>1   protocol_type = meta
			>1 end whole size 8 body 0
			>2 request mg mg b v at 8 head 0 none
			>2   key = b
			>2   protocol_type = meta
			>2 end whole size 8 body 0
			>3 request one-way mg mg c v q at 16 head 0 none [stream-limit]
			>3   key = c
			>3   noreply = 1
			>3   protocol_type = meta
			>3 end whole size 10 body 0 [stream-limit]
			>4 request one-way mg mg d v q at 26 head 0 none [stream-limit]
			>4   key = d
			>4   noreply = 1
			>4   protocol_type = meta
			>4 end whole size 10 body 0 [stream-limit]
			>5 request one-way mn mn at 36 head 0 none [stream-limit]
			>5   protocol_type = meta
			>5 end whole size 4 body 0 [stream-limit]
			<1 response 0 at 0 head 0 none
			<1   status = EN
			<1   misses = 1
			<1 end whole size 4 body 0
			<2 response 0 at 4 head 0 none
			<2   status = EN
			<2   misses = 1
			<2 end whole size 4 body 0
			>6 request get get g at 40 head 0 none
			>6   key = g
			>6   protocol_type = text
			>6 end whole size 7 body 0
			<6 response 0 at 21 head 0 rendered
			<6   status = END
			<6   hits = 
			<6   misses = 1
			<6 end whole size 5 body 0`,
	},
	{
		Name: "quiet binary requests",
		Script: "> " + packed(magicRequest, 0x09, 1, "a") + packed(magicRequest, 0x09, 2, "b") + packed(magicRequest, 0x09, 3, "c") + packed(magicRequest, 0x0a, 4, "") +
			"\n< " + packed(magicResponse, 0x09, 1, "") + packed(magicResponse, 0x09, 3, "") + packed(magicResponse, 0x0a, 4, "") +
			"\n> " + packed(magicRequest, 0x0a, 5, "") + "\n< " + packed(magicResponse, 0x0a, 5, ""),
		Want: `
			>1 request get get a at 0 head 0 none
			>1   key = a
			>1   protocol_type = binary
			>1   opcode = GetQ
			>1   opaque = 1
			>1   noreply = 1
			>1 end whole size 25 body 0
			>2 request get get b at 25 head 0 none
			>2   key = b
			>2   protocol_type = binary
			>2   opcode = GetQ
			>2   opaque = 2
			>2   noreply = 1
			>2 end whole size 25 body 0
			>3 request one-way get get c at 50 head 0 none [stream-limit]
			>3   key = c
			>3   protocol_type = binary
			>3   opcode = GetQ
			>3   opaque = 3
			>3   noreply = 1
			>3 end whole size 25 body 0 [stream-limit]
			>4 request one-way noop noop at 75 head 0 none [stream-limit]
			>4   protocol_type = binary
			>4   opcode = NoOp
			>4   opaque = 4
			>4 end whole size 24 body 0 [stream-limit]
			<1 response 0 at 0 head 0 rendered
			<1   status = No error
			<1   hits = 1
			<1 end whole size 24 body 0 parts 1 of 0 largest 0
			<2 response 0 blocks at 24 head 0 none
			<2   misses = 1
			<2 end whole size 0 body 0
			>5 request noop noop at 99 head 0 none
			>5   protocol_type = binary
			>5   opcode = NoOp
			>5   opaque = 5
			>5 end whole size 24 body 0
			<5 response 0 at 72 head 0 none
			<5   status = No error
			<5 end whole size 24 body 0`,
	},
}

func TestLimit(t *testing.T) {
	for _, c := range limited {
		c.Limits = limits(2)
		r, err := prototest.Play(New, c)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if got, want := strings.Fields(r.Text()), strings.Fields(c.Want); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.Name, r.Text(), c.Want)
		}
	}
}
