package redis

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

var cases = []prototest.Case{
	{
		Name: "a command and its reply",
		Script: `
			> *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n
			< +OK\r\n
			> *2\r\n$3\r\nget\r\n$3\r\nkey\r\n
			< $5\r\nvalue\r\n`,
		Want: `
			> request SET SET key value at 0 head 0 none
			> end whole size 33 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			> request GET get key at 33 head 0 none
			> end whole size 22 body 0
			< response 0 at 5 head 0 rendered
			< ""value""
			< end whole size 11 body 5 parts 1 of 5 largest 5
			< hits = 1`,
	},
	{
		Name: "a pipeline",
		Script: `
			> *1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$4\r\nLLEN\r\n$1\r\nb\r\n$0\r\n\r\n
			< +PONG\r\n$-1\r\n-ERR wrong number of arguments for 'llen' command\r\n`,
		Want: `
			> request PING PING at 0 head 0 none
			> end whole size 14 body 0
			> request GET GET a at 14 head 0 none
			> end whole size 20 body 0
			> request LLEN LLEN b "" at 34 head 0 none
			> end whole size 27 body 0
			< response 0 at 0 head 0 none
			< "PONG"
			< end whole size 7 body 4
			< response 0 at 7 head 0 rendered
			< "(nil)"
			< end whole size 5 body 0
			< misses = 1
			< response 0 at 12 head 0 none
			< error_code = ERR
			< error_message = ERR wrong number of arguments for 'llen' command
			< end whole size 51 body 0`,
	},
	{
		Name: "a transaction",
		Script: `
			> *1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$4\r\nLPOP\r\n$1\r\nl\r\n$1\r\n1\r\n*1\r\n$4\r\nEXEC\r\n
			< +OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\n1\r\n*-1\r\n
			> *3\r\n$5\r\nBLPOP\r\n$1\r\nl\r\n$1\r\n0\r\n
			< *2\r\n$1\r\nl\r\n$1\r\nx\r\n
			>gap 1
			> x`,
		Want: `
			> request MULTI MULTI at 0 head 0 none
			> end whole size 15 body 0
			> request GET GET a at 15 head 0 none
			> end whole size 20 body 0
			> request LPOP LPOP l 1 at 35 head 0 none
			> end whole size 28 body 0
			> request EXEC EXEC at 63 head 0 none
			> end whole size 14 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 5 head 0 none
			< "QUEUED"
			< end whole size 9 body 6
			< response 0 at 14 head 0 none
			< "QUEUED"
			< end whole size 9 body 6
			< response 0 at 23 head 0 rendered
			< "1) "1"\n2) (nil)"
			< end whole size 16 body 1 parts 2 of 1 largest 1
			> request blocks BLPOP BLPOP l 0 at 77 head 0 none
			> end whole size 29 body 0
			< response 0 at 39 head 0 rendered
			< "1) "l"\n2) "x""
			< end whole size 18 body 2 parts 2 of 2 largest 1
			> lost`,
	},
	{
		Name: "nested replies and their text",
		Script: `
			> *1\r\n$7\r\nCOMMAND\r\n
			< *3\r\n*2\r\n$1\r\na\r\n:1\r\n*0\r\n*12\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n:10\r\n-ERR x\r\n_\r\n`,
		Want: `
			> request COMMAND COMMAND at 0 head 0 none
			> end whole size 17 body 0
			< response 0 at 0 head 0 rendered
			< "1) 1) "a"\n 2) (integer) 1\n2) (empty array)\n3) 1) (integer) 1\n 2) (integer) 2\n 3) (integer) 3\n 4) (integer) 4\n 5) (integer) 5\n 6) (integer) 6\n 7) (integer) 7\n 8) (integer) 8\n 9) (integer) 9\n 10) (integer) 10\n 11) (error) ERR x\n 12) (nil)"
			< end whole size 80 body 18 parts 3 of 18 largest 16`,
	},
	{
		Name: "RESP3",
		Script: `
			> *5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$6\r\nsecret\r\n
			< %3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.5\r\n+proto\r\n:3\r\n
			> *2\r\n$4\r\nHGET\r\n$1\r\na\r\n
			< ~2\r\n#t\r\n,1.5\r\n
			> *1\r\n$1\r\nx\r\n*1\r\n$1\r\ny\r\n*1\r\n$1\r\nz\r\n
			< |1\r\n+ttl\r\n:3600\r\n=8\r\ntxt:a"\nb\r\n(123456789012345678901234567890\r\n!9\r\nERR wrong\r\n
			> *1\r\n$1\r\nv\r\n
			< *?\r\n:1\r\n$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n|1\r\n+k\r\n$1\r\nv\r\n.\r\n
			>gap 1
			> x`,
		Want: `
			> request HELLO HELLO 3 AUTH bob \xe2\x80\xa6[redacted] at 0 head 0 none
			> user = bob
			> end whole size 53 body 0
			< response 0 at 0 head 0 rendered
			< "1# "server" => "redis"\n2# "version" => "7.2.5"\n3# proto => (integer) 3"
			< end whole size 63 body 29 parts 3 of 29 largest 12
			< server_version = 7.2.5
			> request HGET HGET a at 53 head 0 none
			> user = bob
			> end whole size 21 body 0
			< response 0 at 63 head 0 rendered
			< "1~ (true)\n2~ (double) 1.5"
			< end whole size 14 body 4 parts 2 of 4 largest 3
			< hits = 2
			> request X x at 74 head 0 none
			> user = bob
			> end whole size 11 body 0
			> request Y y at 85 head 0 none
			> user = bob
			> end whole size 11 body 0
			> request Z z at 96 head 0 none
			> user = bob
			> end whole size 11 body 0
			< response 0 at 77 head 0 rendered
			< "a"\nb"
			< end whole size 31 body 8 parts 1 of 8 largest 8
			< response 0 at 108 head 0 rendered
			< "123456789012345678901234567890"
			< end whole size 33 body 30 parts 1 of 30 largest 30
			< response 0 at 141 head 0 none
			< end whole size 15 body 0
			< error_code = ERR
			< error_message = ERR wrong
			> request V v at 107 head 0 none
			> user = bob
			> end whole size 11 body 0
			< response 0 at 156 head 0 rendered
			< "1) (integer) 1\n2) "abc""
			< end whole size 49 body 4 parts 2 of 4 largest 3
			> lost`,
	},
	{
		Name: "the database and the user",
		Script: `
			> *3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*1\r\n$6\r\nDBSIZE\r\n
			< +OK\r\n+OK\r\n:7\r\n
			> *2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n
			< -ERR DB index is out of range\r\n
			> *1\r\n$4\r\nPING\r\n
			< +PONG\r\n
			> *2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n
			< -WRONGPASS invalid\r\n
			> *1\r\n$5\r\nRESET\r\n
			< +RESET\r\n
			> *1\r\n$4\r\nPING\r\n
			< +PONG\r\n`,
		Want: `
			> request AUTH AUTH bob \xe2\x80\xa6[redacted] at 0 head 0 none
			> user = bob
			> end whole size 35 body 0
			> request SELECT SELECT 3 at 35 head 0 none
			> database = 3
			> end whole size 23 body 0
			> request DBSIZE DBSIZE at 58 head 0 none
			> database = 3
			> end whole size 16 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 5 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 10 head 0 rendered
			< "(integer) 7"
			< end whole size 4 body 1 parts 1 of 1 largest 1
			> request SELECT SELECT 99 at 74 head 0 none
			> database = 99
			> user = bob
			> end whole size 24 body 0
			< response 0 at 14 head 0 none
			< error_code = ERR
			< error_message = ERR DB index is out of range
			< end whole size 31 body 0
			> request PING PING at 98 head 0 none
			> database = 3
			> user = bob
			> end whole size 14 body 0
			< response 0 at 45 head 0 none
			< "PONG"
			< end whole size 7 body 4
			> request AUTH AUTH \xe2\x80\xa6[redacted] at 112 head 0 none
			> database = 3
			> user = default
			> end whole size 21 body 0
			< response 0 at 52 head 0 none
			< error_code = WRONGPASS
			< error_message = WRONGPASS invalid
			< end whole size 20 body 0
			> request RESET RESET at 133 head 0 none
			> end whole size 15 body 0
			< response 0 at 72 head 0 none
			< "RESET"
			< end whole size 8 body 5
			> request PING PING at 148 head 0 none
			> end whole size 14 body 0
			< response 0 at 80 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
	{
		Name: "subscriptions in RESP2",
		Script: `
			> *4\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n
			< *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n
			< *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n
			> *2\r\n$10\r\nPSUBSCRIBE\r\n$2\r\na*\r\n
			< *3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$2\r\nhi\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n
			< *4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\naa\r\n$0\r\n\r\n
			> *1\r\n$4\r\nPING\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n
			< *2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n
			> *1\r\n$12\r\nPUNSUBSCRIBE\r\n*2\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n
			< *3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:0\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n
			>gap 1
			> x`,
		Want: `
			> request SUBSCRIBE SUBSCRIBE a b a at 0 head 0 none
			> end whole size 40 body 0
			< response 0 at 0 head 0 rendered
			< "1) "subscribe"\n2) "a"\n3) (integer) 1\n1) "subscribe"\n2) "b"\n3) (integer) 2\n1) "subscribe"\n2) "a"\n3) (integer) 2"
			< end whole size 90 body 33 parts 3 of 33 largest 11
			< response 0 one-way MESSAGE a at 90 head 0 rendered
			< "1) "message"\n2) "a"\n3) "hello""
			< end whole size 35 body 13 parts 1 of 13 largest 13
			> request PSUBSCRIBE PSUBSCRIBE a* at 40 head 0 none
			> end whole size 29 body 0
			< response 0 one-way MESSAGE b at 125 head 0 rendered
			< "1) "message"\n2) "b"\n3) "hi""
			< end whole size 32 body 10 parts 1 of 10 largest 10
			< response 0 at 157 head 0 rendered
			< "1) "psubscribe"\n2) "a*"\n3) (integer) 3"
			< end whole size 33 body 13 parts 1 of 13 largest 13
			< response 0 one-way PMESSAGE aa at 190 head 0 rendered
			< "1) "pmessage"\n2) "a*"\n3) "aa"\n4) """
			< end whole size 40 body 12 parts 1 of 12 largest 12
			> request PING PING at 69 head 0 none
			> end whole size 14 body 0
			> request UNSUBSCRIBE UNSUBSCRIBE at 83 head 0 none
			> end whole size 22 body 0
			< response 0 at 230 head 0 rendered
			< "1) "pong"\n2) """
			< end whole size 20 body 4 parts 2 of 4 largest 4
			< response 0 at 250 head 0 rendered
			< "1) "unsubscribe"\n2) "a"\n3) (integer) 2\n1) "unsubscribe"\n2) "b"\n3) (integer) 1"
			< end whole size 66 body 26 parts 2 of 26 largest 13
			> request PUNSUBSCRIBE PUNSUBSCRIBE at 105 head 0 none
			> end whole size 23 body 0
			> request LRANGE LRANGE l at 128 head 0 none
			> end whole size 23 body 0
			< response 0 at 316 head 0 rendered
			< "1) "punsubscribe"\n2) "a*"\n3) (integer) 0"
			< end whole size 35 body 15 parts 1 of 15 largest 15
			< response 0 at 351 head 0 rendered
			< "1) "message"\n2) "a"\n3) "b""
			< end whole size 31 body 9 parts 3 of 9 largest 7
			> lost`,
	},
	{
		Name: "pushes in RESP3",
		Script: `
			> *2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n
			< %0\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n
			< >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n$1\r\nv\r\n
			< >2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nk\r\n$1\r\nl\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n>1\r\n$5\r\nother\r\n>1\r\n:1\r\n>0\r\n
			> *2\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n
			< *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n>3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n
			>gap 1
			> x`,
		Want: `
			> request HELLO HELLO 3 at 0 head 0 none
			> end whole size 22 body 0
			> request SUBSCRIBE SUBSCRIBE a b at 22 head 0 none
			> end whole size 33 body 0
			> request GET GET k at 55 head 0 none
			> end whole size 20 body 0
			< response 0 at 0 head 0 rendered
			< "(empty hash)"
			< end whole size 4 body 0
			< response 0 at 4 head 0 rendered
			< "1) "subscribe"\n2) "a"\n3) (integer) 1\n1) "subscribe"\n2) "b"\n3) (integer) 2"
			< end whole size 60 body 22 parts 2 of 22 largest 11
			< response 0 one-way MESSAGE a at 64 head 0 rendered
			< "1) "message"\n2) "a"\n3) "hello""
			< end whole size 35 body 13 parts 1 of 13 largest 13
			< response 0 at 99 head 0 rendered
			< ""v""
			< end whole size 7 body 1 parts 1 of 1 largest 1
			< hits = 1
			< response 0 one-way INVALIDATE k at 106 head 0 rendered
			< "1) "invalidate"\n2) 1) "k"\n 2) "l""
			< end whole size 39 body 12 parts 1 of 12 largest 12
			< response 0 one-way INVALIDATE at 145 head 0 rendered
			< "1) "invalidate"\n2) (nil)"
			< end whole size 24 body 10 parts 1 of 10 largest 10
			< response 0 one-way OTHER at 169 head 0 rendered
			< "1) "other""
			< end whole size 15 body 5 parts 1 of 5 largest 5
			< response 0 one-way 1 at 184 head 0 rendered
			< "1) (integer) 1"
			< end whole size 8 body 1 parts 1 of 1 largest 1
			< response 0 one-way PUSH at 192 head 0 rendered
			< "(empty push)"
			< end whole size 4 body 0 parts 1 of 0 largest 0
			> request LRANGE LRANGE l at 75 head 0 none
			> end whole size 23 body 0
			< response 0 at 196 head 0 rendered
			< "1) "message"\n2) "a"\n3) "b""
			< end whole size 31 body 9 parts 3 of 9 largest 7
			< response 0 one-way SUNSUBSCRIBE a at 227 head 0 rendered
			< "1) "sunsubscribe"\n2) "a"\n3) (integer) 0"
			< end whole size 34 body 14 parts 1 of 14 largest 14
			> lost`,
	},
	{
		Name: "some subscriptions end, and then all",
		Script: `
			> *3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\na\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n
			< *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n
			< *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n
			>gap 1
			> x`,
		Want: `
			> request SUBSCRIBE SUBSCRIBE a b at 0 head 0 none
			> end whole size 33 body 0
			> request UNSUBSCRIBE UNSUBSCRIBE a at 33 head 0 none
			> end whole size 29 body 0
			> request UNSUBSCRIBE UNSUBSCRIBE at 62 head 0 none
			> end whole size 22 body 0
			> request UNSUBSCRIBE UNSUBSCRIBE at 84 head 0 none
			> end whole size 22 body 0
			< response 0 at 0 head 0 rendered
			< "1) "subscribe"\n2) "a"\n3) (integer) 1\n1) "subscribe"\n2) "b"\n3) (integer) 2"
			< end whole size 60 body 22 parts 2 of 22 largest 11
			< response 0 at 60 head 0 rendered
			< "1) "unsubscribe"\n2) "a"\n3) (integer) 1"
			< end whole size 33 body 13 parts 1 of 13 largest 13
			< response 0 at 93 head 0 rendered
			< "1) "unsubscribe"\n2) "b"\n3) (integer) 0"
			< end whole size 33 body 13 parts 1 of 13 largest 13
			< response 0 at 126 head 0 rendered
			< "1) "unsubscribe"\n2) (nil)\n3) (integer) 0"
			< end whole size 31 body 12 parts 1 of 12 largest 12
			> lost`,
	},
	{
		Name: "a reply before the first command",
		Script: `
			< -LOADING Redis is loading the dataset in memory\r\n
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\n
			< $1\r\nb\r\n`,
		Want: `
			< response 0 at 0 head 0 none
			< error_code = LOADING
			< error_message = LOADING Redis is loading the dataset in memory
			< end whole size 49 body 0
			> request GET GET a at 0 head 0 none
			> end whole size 20 body 0
			< response 0 at 49 head 0 rendered
			< ""b""
			< end whole size 7 body 1 parts 1 of 1 largest 1
			< hits = 1`,
	},
	{
		Name: "the database isn't known after a loss",
		Script: `
			> *2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n
			< +OK\r\n
			>gap 30
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\n
			< $1\r\nb\r\n`,
		Want: `
			> request SELECT SELECT 3 at 0 head 0 none
			> database = 3
			> end whole size 23 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			> lost
			> request GET GET a at 53 head 0 none
			> end whole size 20 body 0
			< response 0 at 5 head 0 rendered
			< ""b""
			< end whole size 7 body 1 parts 1 of 1 largest 1`,
	},
	{
		Name: "a database that is selected without a reply",
		Script: `
			> CLIENT REPLY SKIP\r\nSELECT 2\r\nDBSIZE\r\n
			< :3\r\n
			>gap 1
			> x`,
		Want: `
			> request one-way CLIENT REPLY CLIENT REPLY SKIP at 0 head 0 none
			> end whole size 19 body 0
			> request one-way SELECT SELECT 2 at 19 head 0 none
			> database = 2
			> end whole size 10 body 0
			> request DBSIZE DBSIZE at 29 head 0 none
			> database = 2
			> end whole size 8 body 0
			< response 0 at 0 head 0 rendered
			< "(integer) 3"
			< end whole size 4 body 1 parts 1 of 1 largest 1
			> lost`,
	},
	{
		Name: "the server closes first",
		Script: `
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\n
			< $1\r\nb\r\n
			<close fin
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\n
			>close fin`,
	},
	{
		Name: "fewer confirmations than channels",
		Script: `
			> *3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$4\r\nQUIT\r\n
			< *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n+OK\r\n`,
		Want: `
			> request SUBSCRIBE SUBSCRIBE a b at 0 head 0 none
			> end whole size 33 body 0
			> request QUIT QUIT at 33 head 0 none
			> end whole size 14 body 0
			< response 0 at 0 head 0 rendered
			< "1) "subscribe"\n2) "a"\n3) (integer) 1\n"
			< end whole size 30 body 11 parts 1 of 11 largest 11 [bad-value]
			< response 0 at 30 head 0 none
			< "OK"
			< end whole size 5 body 2`,
	},
	{
		Name: "no replies wanted",
		Script: `
			> PING\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING\r\nCLIENT  reply skip\r\nGET a\r\nPING\r\n
			< +PONG\r\n+OK\r\n+PONG\r\n+PONG\r\n`,
		Want: `
			> request PING PING at 0 head 0 none
			> end whole size 6 body 0
			> request one-way CLIENT REPLY CLIENT REPLY OFF at 6 head 0 none
			> end whole size 18 body 0
			> request one-way PING PING at 24 head 0 none
			> end whole size 6 body 0
			> request one-way CLIENT REPLY CLIENT REPLY SKIP at 30 head 0 none
			> end whole size 19 body 0
			> request CLIENT REPLY CLIENT REPLY ON at 49 head 0 none
			> end whole size 17 body 0
			> request PING PING at 66 head 0 none
			> end whole size 6 body 0
			> request one-way CLIENT REPLY CLIENT reply skip at 72 head 0 none
			> end whole size 20 body 0
			> request one-way GET GET a at 92 head 0 none
			> end whole size 7 body 0
			> request PING PING at 99 head 0 none
			> end whole size 6 body 0
			< response 0 at 0 head 0 none
			< "PONG"
			< end whole size 7 body 4
			< response 0 at 7 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 12 head 0 none
			< "PONG"
			< end whole size 7 body 4
			< response 0 at 19 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
	{
		Name: "inline commands",
		Script: `
			> \r\n\nset k "a b\\x41\\n" 'it\\'s'\r\nauth secret\nconfig set requirepass hunter2 maxmemory 10\r\n
			< +OK\r\n-ERR x\r\n-NOAUTH\r\n
			>gap 3
			> more`,
		Want: `
			> request SET set k "a bA\\n" "it's" at 3 head 0 none
			> end whole size 27 body 0
			> request AUTH auth \xe2\x80\xa6[redacted] at 30 head 0 none
			> user = default
			> end whole size 12 body 0
			> request CONFIG SET config set requirepass \xe2\x80\xa6[redacted] maxmemory 10 at 42 head 0 none
			> end whole size 45 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 5 head 0 none
			< error_code = ERR
			< error_message = ERR x
			< end whole size 8 body 0
			< response 0 at 13 head 0 none
			< error_code = NOAUTH
			< error_message = NOAUTH
			< end whole size 9 body 0
			> lost`,
	},
	{
		Name: "secrets",
		Script: `
			> *3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$0\r\n\r\n
			> *8\r\n$7\r\nMIGRATE\r\n$1\r\nh\r\n$4\r\n6379\r\n$1\r\nk\r\n$1\r\n0\r\n$1\r\n9\r\n$5\r\nauth2\r\n$1\r\nu\r\n
			> *9\r\n$7\r\nMIGRATE\r\n$1\r\nh\r\n$4\r\n6379\r\n$1\r\nk\r\n$1\r\n0\r\n$1\r\n9\r\n$5\r\nAUTH2\r\n$1\r\nu\r\n$3\r\npwd\r\n
			> *8\r\n$7\r\nMIGRATE\r\n$1\r\nh\r\n$4\r\n6379\r\n$1\r\nk\r\n$1\r\n0\r\n$1\r\n9\r\n$4\r\nAUTH\r\n$3\r\npwd\r\n
			> *6\r\n$3\r\nACL\r\n$7\r\nsetuser\r\n$3\r\nbob\r\n$2\r\non\r\n$4\r\n>pwd\r\n$2\r\n~*\r\n
			> *7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nauth\r\n$4\r\nauth\r\n$4\r\nauth\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n`,
		Want: `
			> request AUTH AUTH bob \xe2\x80\xa6[redacted] at 0 head 0 none
			> user = bob
			> end whole size 29 body 0
			> request MIGRATE MIGRATE h 6379 k 0 9 auth2 u at 29 head 0 none
			> end whole size 73 body 0
			> request MIGRATE MIGRATE h 6379 k 0 9 AUTH2 u \xe2\x80\xa6[redacted] at 102 head 0 none
			> end whole size 82 body 0
			> request MIGRATE MIGRATE h 6379 k 0 9 AUTH \xe2\x80\xa6[redacted] at 184 head 0 none
			> end whole size 74 body 0
			> request ACL SETUSER ACL setuser bob on >\xe2\x80\xa6[redacted] ~* at 258 head 0 none
			> end whole size 61 body 0
			> request HELLO HELLO 3 auth auth \xe2\x80\xa6[redacted] SETNAME x at 319 head 0 none
			> user = auth
			> end whole size 72 body 0`,
	},
	{
		Name:   "long arguments, and a command beyond the limit",
		Limits: &proto.Limits{MaxStatement: 300, MaxStreams: 10}, MaxBody: 20,
		Script: `
			> *4\r\n$3\r\nSET\r\n$1\r\nk\r\n$300\r\n
			>repeat 300 y
			> \r\n$2\r\nNX\r\n*3\r\n$4\r\nEVAL\r\n$256\r\n
			>repeat 256 z
			> \r\n$60\r\n
			>repeat 60 a
			> \r\n
			< $-1\r\n$300\r\n
			>repeat 1 \n
			<repeat 300 y
			< \r\n`,
		Want: `
			> request SET SET k yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\xe2\x80\xa6[300] NX at 0 head 0 none
			> end whole size 336 body 0
			> request EVAL EVAL zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa at 336 head 0 none [statement-cut]
			> end whole size 345 body 0 [statement-cut]
			< response 0 at 0 head 0 rendered
			< "(nil)"
			< end whole size 5 body 0
			< response 0 at 5 head 0 rendered
			< ""yyyyyyyyyyyyyyyyyyy"
			< end whole size 308 body 300 parts 1 of 300 largest 300`,
	},
	{
		Name:   "characters are kept whole",
		Limits: &proto.Limits{MaxStatement: 12, MaxStreams: 10},
		Script: `
			> *3\r\n$3\r\nSET\r\n$7\r\nZürich\r\n$2\r\n\xff\x00\r\n*2\r\n$3\r\nGET\r\n$8\r\n1234567\xc3\r\n*2\r\n$3\r\nGET\r\n$9\r\n1234567ü\r\n
			>gap 1
			> x`,
		Want: `
			> request SET SET Z\xc3\xbcrich at 0 head 0 none [statement-cut]
			> end whole size 34 body 0 [statement-cut]
			> request GET GET "1234567 at 34 head 0 none [statement-cut]
			> end whole size 27 body 0 [statement-cut]
			> request GET GET 1234567 at 61 head 0 none [statement-cut]
			> end whole size 28 body 0 [statement-cut]
			> lost`,
	},
	{
		Name:   "more under way than the limit",
		Limits: &proto.Limits{MaxStatement: 300, MaxStreams: 2},
		Script: `
			> PING 0\r\n
			< +0\r\n
			> PING\r\nPING\r\nPING 3\r\nGET 4\r\nSUBSCRIBE 5\r\nPING 6\r\n
			< +1\r\n+2\r\n+3\r\n$1\r\n4\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\n5\r\n:1\r\n+6\r\n
			> PING 7\r\n
			< +7\r\n
			>gap 1
			> x`,
		Want: `
			> request PING PING 0 at 0 head 0 none
			> end whole size 8 body 0
			< response 0 at 0 head 0 none
			< "0"
			< end whole size 4 body 1
			> request PING PING at 8 head 0 none
			> end whole size 6 body 0
			> request PING PING at 14 head 0 none
			> end whole size 6 body 0
			> request one-way PING PING 3 at 20 head 0 none [stream-limit]
			> end whole size 8 body 0 [stream-limit]
			> request one-way GET GET 4 at 28 head 0 none [stream-limit]
			> end whole size 7 body 0 [stream-limit]
			> request SUBSCRIBE SUBSCRIBE 5 at 35 head 0 none
			> end whole size 13 body 0
			> request one-way PING PING 6 at 48 head 0 none [stream-limit]
			> end whole size 8 body 0 [stream-limit]
			< response 0 at 4 head 0 none
			< "1"
			< end whole size 4 body 1
			< response 0 at 8 head 0 none
			< "2"
			< end whole size 4 body 1
			< response 0 at 23 head 0 rendered
			< "1) "subscribe"\n2) "5"\n3) (integer) 1"
			< end whole size 30 body 11 parts 1 of 11 largest 11
			> request PING PING 7 at 56 head 0 none
			> end whole size 8 body 0
			< response 0 at 57 head 0 none
			< "7"
			< end whole size 4 body 1
			> lost`,
	},
	{
		Name: "redirections and other errors",
		Script: `
			> GET a\r\nGET b\r\nGET c\r\n
			< -MOVED 3999 127.0.0.1:6381\r\n-ASK 3999 127.0.0.1:6382\r\n-\r\n`,
		Want: `
			> request GET GET a at 0 head 0 none
			> end whole size 7 body 0
			> request GET GET b at 7 head 0 none
			> end whole size 7 body 0
			> request GET GET c at 14 head 0 none
			> end whole size 7 body 0
			< response 0 at 0 head 0 none
			< error_code = MOVED
			< error_message = MOVED 3999 127.0.0.1:6381
			< redirect = 127.0.0.1:6381
			< end whole size 28 body 0
			< response 0 at 28 head 0 none
			< error_code = ASK
			< error_message = ASK 3999 127.0.0.1:6382
			< redirect = 127.0.0.1:6382
			< end whole size 26 body 0
			< response 0 at 54 head 0 none
			< error_code =
			< error_message =
			< end whole size 3 body 0`,
	},
	{
		Name: "monitoring",
		Script: `
			> MONITOR\r\n
			< +OK\r\n+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n
			> RESET\r\n
			< +1339518083.107413 [0 127.0.0.1:60866] "get" "a"\r\n+RESET\r\n
			> ECHO x\r\n
			< +1339518083.107413 [0 127.0.0.1:60866] "get" "a"\r\n
			>gap 1
			> x`,
		Want: `
			> request MONITOR MONITOR at 0 head 0 none
			> end whole size 9 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 one-way MONITOR at 5 head 0 rendered
			< "1339518083.107412 [0 127.0.0.1:60866] "keys" "*""
			< end whole size 51 body 48 parts 1 of 48 largest 48
			> request RESET RESET at 9 head 0 none
			> end whole size 7 body 0
			< response 0 one-way MONITOR at 56 head 0 rendered
			< "1339518083.107413 [0 127.0.0.1:60866] "get" "a""
			< end whole size 50 body 47 parts 1 of 47 largest 47
			< response 0 at 106 head 0 none
			< "RESET"
			< end whole size 8 body 5
			> request ECHO ECHO x at 16 head 0 none
			> end whole size 8 body 0
			< response 0 at 114 head 0 none
			< "1339518083.107413 [0 127.0.0.1:60866] "get" "a""
			< end whole size 50 body 47
			> lost`,
	},
	{
		Name: "a replica",
		Script: `
			> *1\r\n$4\r\nPING\r\n
			< +PONG\r\n
			> *3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6380\r\n
			< +OK\r\n
			> *3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n
			< +FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 2443808505\r\n\n\n$5\r\nREDIS
			< *1\r\n$4\r\nPING\r\n`,
		Want: `
			> request PING PING at 0 head 0 none
			> end whole size 14 body 0
			< response 0 at 0 head 0 none
			< "PONG"
			< end whole size 7 body 4
			> request REPLCONF REPLCONF listening-port 6380 at 14 head 0 none
			> end whole size 49 body 0
			< response 0 at 7 head 0 none
			< "OK"
			< end whole size 5 body 2
			> request blocks PSYNC PSYNC ? -1 at 63 head 0 none
			> end whole size 30 body 0
			< response 0 at 12 head 0 rendered
			< "FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 2443808505"
			< end whole size 76 body 67 parts 1 of 5 largest 5
			stop`,
	},
	{
		Name: "a dump whose length isn't known",
		Script: `
			> *3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n
			< +FULLRESYNC 8de 24\r\n$EOF:0123456789012345678901234567890123456789\r\nREDIS01230123456789012345678901234567890123456789*1\r\n$4\r\nPING\r\n`,
		Want: `
			> request blocks PSYNC PSYNC ? -1 at 0 head 0 none
			> end whole size 30 body 0
			< response 0 at 0 head 0 rendered
			< "FULLRESYNC 8de 24"
			< end whole size 116 body 66 parts 1 of 49 largest 49
			stop`,
	},
	{
		Name: "a replica that goes on",
		Script: `
			> *3\r\n$5\r\nPSYNC\r\n$3\r\n8de\r\n$2\r\n24\r\n
			< +CONTINUE\r\n*1\r\n$4\r\nPING\r\n`,
		Want: `
			> request blocks PSYNC PSYNC 8de 24 at 0 head 0 none
			> end whole size 32 body 0
			< response 0 at 0 head 0 rendered
			< "CONTINUE"
			< end whole size 11 body 8
			stop`,
	},
	{
		Name: "an old replica",
		Script: `
			> SYNC\r\n
			< \n$5\r\nREDIS*1\r\n$4\r\nPING\r\n`,
		Want: `
			> request blocks SYNC SYNC at 0 head 0 none
			> end whole size 6 body 0
			< response 0 at 1 head 0 rendered
			< end whole size 9 body 5 parts 1 of 5 largest 5
			stop`,
	},
	{
		Name: "what isn't RESP",
		Script: `
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\nx\x00y
			< $1\r\naXX
			> *1\r\n$4\r\nPING\r\n
			< +PONG\r\n`,
		Want: `
			> request GET GET a at 0 head 0 none
			> end whole size 20 body 0
			> lost
			< response 0 at 0 head 0 rendered
			< ""a"
			< end broken size 5 body 1 [bad-value]
			< lost
			> request PING PING at 23 head 0 none
			> end whole size 14 body 0
			< response 0 at 7 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
	{
		Name: "nested too deep",
		Script: `
			> PING\r\n
			<repeat 33 *1\r\n
			< :1\r\n
			> PING\r\n
			< +PONG\r\n`,
		Want: `
			> request PING PING at 0 head 0 none
			> end whole size 6 body 0
			< response 0 at 0 head 0 rendered
			< "1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) 1) "
			< end broken size 132 body 0 [bad-value]
			< lost
			> request PING PING at 6 head 0 none
			> end whole size 6 body 0
			< response 0 at 136 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: `
			> the end of a value\r\n
			< the end of another\r\n
			> *2\r\n$3\r\nGET\r\n$1\r\na\r\n
			< $1\r\n1\r\n
			> *2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n
			< *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n`,
		Want: `
			resumed
			> request GET GET a at 20 head 0 none
			> end whole size 20 body 0
			< response 0 at 20 head 0 rendered
			< ""1""
			< end whole size 7 body 1 parts 1 of 1 largest 1
			> request SUBSCRIBE SUBSCRIBE a at 40 head 0 none
			> end whole size 26 body 0
			< response 0 at 27 head 0 rendered
			< "1) "subscribe"\n2) "a"\n3) (integer) 1"
			< end whole size 30 body 11 parts 1 of 11 largest 11
			< response 0 one-way MESSAGE a at 57 head 0 rendered
			< "1) "message"\n2) "a"\n3) "hello""
			< end whole size 35 body 13 parts 1 of 13 largest 13`,
	},
	{
		Name:    "the stream of a master, picked up in the middle",
		Resumed: true,
		Script: `
			> *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n
			< *3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$4\r\n1234\r\n`,
		Want: `
			resumed
			> request SELECT SELECT 0 at 0 head 0 none
			> end whole size 23 body 0
			> request SET SET a b at 23 head 0 none
			> end whole size 27 body 0
			stop`,
	},
	{
		Name: "missing bytes",
		Script: `
			> *3\r\n$3\r\nSET\r\n$1\r\na\r\n$400\r\n
			>repeat 300 x
			>gap 50
			>repeat 50 x
			> \r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n
			< +OK\r\n$400\r\nabc
			<gap 394
			< xyz\r\n
			> *2\r\n$3\r\nGET\r\n$1\r\n
			>gap 20
			> a\r\n
			> *2\r\n$3\r\nGET\r\n$1\r\nb\r\n
			< $1
			<gap 9
			< 1\r\n
			< $1\r\nb\r\n
			> *2\r\n$3\r\nGET\r\n$1\r\nb\r\n
			< $1\r\nb\r\n`,
		Want: `
			> request SET SET a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xe2\x80\xa6[400] at 0 head 0 none
			> end whole size 428 body 0 missing 50
			> request GET GET a at 428 head 0 none
			> end whole size 20 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 5 head 0 rendered
			< ""abc"
			< end whole size 408 body 400 parts 1 of 400 largest 400
			< hits = 1 missing 394
			> lost
			> request GET GET b at 488 head 0 none
			> end whole size 20 body 0
			< lost
			> request GET GET b at 508 head 0 none
			> end whole size 20 body 0
			< response 0 at 434 head 0 rendered
			< ""b""
			< end whole size 7 body 1 parts 1 of 1 largest 1`,
	},
	{
		Name: "what a replica acknowledges",
		Script: `
			> *3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n
			> *3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n
			>gap 1
			> x`,
		Want: `
			> request blocks PSYNC PSYNC ? -1 at 0 head 0 none
			> end whole size 30 body 0
			> request one-way REPLCONF REPLCONF ACK 0 at 30 head 0 none
			> end whole size 34 body 0
			> lost`,
	},
	{
		Name: "a transaction with commands that would wait",
		Script: `
			> *1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*3\r\n$5\r\nBLPOP\r\n$1\r\nl\r\n$1\r\n0\r\n*1\r\n$4\r\nEXEC\r\n*1\r\n$7\r\nDISCARD\r\n
			< +OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n-ERR DISCARD without MULTI\r\n
			> *6\r\n$5\r\nXREAD\r\n$5\r\nblock\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n$\r\n
			> *4\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n$\r\n
			>gap 1
			> x`,
		Want: `
			> request MULTI MULTI at 0 head 0 none
			> end whole size 15 body 0
			> request SELECT SELECT 2 at 15 head 0 none
			> database = 2
			> end whole size 23 body 0
			> request BLPOP BLPOP l 0 at 38 head 0 none
			> database = 2
			> end whole size 29 body 0
			> request EXEC EXEC at 67 head 0 none
			> database = 2
			> end whole size 14 body 0
			> request DISCARD DISCARD at 81 head 0 none
			> database = 2
			> end whole size 17 body 0
			< response 0 at 0 head 0 none
			< "OK"
			< end whole size 5 body 2
			< response 0 at 5 head 0 none
			< "QUEUED"
			< end whole size 9 body 6
			< response 0 at 14 head 0 none
			< "QUEUED"
			< end whole size 9 body 6
			< response 0 at 23 head 0 rendered
			< "(nil)"
			< end whole size 5 body 0
			< response 0 at 28 head 0 none
			< error_code = ERR
			< error_message = ERR DISCARD without MULTI
			< end whole size 28 body 0
			> request blocks XREAD XREAD block 0 STREAMS s $ at 98 head 0 none
			> end whole size 60 body 0
			> request XREAD XREAD STREAMS s $ at 158 head 0 none
			> end whole size 42 body 0
			> lost`,
	},
	{
		Name: "empty lines where there must be numbers",
		Script: `
			> *2\r\n\r\n
			> *1\r\n$4\r\nPING\r\n
			< \r\n
			> *1\r\n$4\r\nPING\r\n
			< +PONG\r\n`,
		Want: `
			> lost
			> request PING PING at 6 head 0 none
			> end whole size 14 body 0
			< lost
			> request PING PING at 20 head 0 none
			> end whole size 14 body 0
			< response 0 at 2 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
	{
		Name: "empty arrays aren't commands",
		Script: `
			> *0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n
			< +PONG\r\n+PONG\r\n`,
		Want: `
			> request PING PING at 9 head 0 none
			> end whole size 14 body 0
			< response 0 at 0 head 0 none
			< "PONG"
			< end whole size 7 body 4
			< response 0 at 7 head 0 none
			< "PONG"
			< end whole size 7 body 4`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

// TestReuse: a parser that was used before does what a new one does.
func TestReuse(t *testing.T) {
	var spare proto.Parser
	again := func(c *proto.Context) proto.Parser {
		c.Spare = spare
		spare = New(c)
		return spare
	}
	prototest.Run(t, again, cases)
}

// TestOneSide: where only the client was captured, and it acknowledges replies, its commands aren't taken for a deep pipeline.
func TestOneSide(t *testing.T) {
	p, c := newCounted()
	var at clock.Mark
	for range 2 * prototest.DefaultLimits().MaxStreams {
		at.Peer += int64(len("+PONG\r\n"))
		p.Data(proto.Originator, []byte("*1\r\n$4\r\nPING\r\n"), at)
		at.Offset += int64(len("*1\r\n$4\r\nPING\r\n"))
	}
	if c.requests == 0 || c.oneWay > 0 {
		t.Errorf("%d of %d commands go one way", c.oneWay, c.requests)
	}
}

// FuzzParser has limits that conversations reach.
func FuzzParser(f *testing.F) {
	limits := &proto.Limits{MaxStatement: 64, MaxStreams: 4}
	prototest.Fuzz(f, func(c *proto.Context) proto.Parser {
		c.Limits = limits
		return New(c)
	}, cases)
}
