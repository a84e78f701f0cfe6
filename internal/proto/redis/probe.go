package redis

import (
	"bytes"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

// knownNames are the commands of Redis and Valkey without those of modules, which have a dot in their names.
var knownNames = func() map[string]bool {
	known := map[string]bool{}
	for _, name := range strings.Fields(names) {
		known[name] = true
	}
	return known
}()

const names = "ACL APPEND ASKING AUTH BGREWRITEAOF BGSAVE BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMPOP BLPOP BRPOP " +
	"BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT CLUSTER COMMAND CONFIG COPY DBSIZE DEBUG DECR DECRBY DEL DELIFEQ " +
	"DISCARD DUMP ECHO EVAL EVALSHA EVALSHA_RO EVAL_RO EXEC EXISTS EXPIRE EXPIREAT EXPIRETIME FAILOVER FCALL FCALL_RO " +
	"FLUSHALL FLUSHDB FUNCTION GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO " +
	"GEORADIUS_RO GEOSEARCH GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS HEXPIRE HGET " +
	"HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE HPTTL HRANDFIELD HSCAN HSET " +
	"HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LASTSAVE LATENCY LCS LINDEX LINSERT LLEN " +
	"LMOVE LMPOP LOLWUT LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MEMORY MGET MIGRATE MODULE MONITOR MOVE MSET " +
	"MSETNX MULTI OBJECT PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PFCOUNT PFDEBUG PFMERGE PFSELFTEST PING PSETEX " +
	"PSUBSCRIBE PSYNC PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE RENAME RENAMENX REPLCONF " +
	"REPLICAOF RESET RESTORE RESTORE-ASKING ROLE RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SCAN SCARD SCRIPT SDIFF " +
	"SDIFFSTORE SELECT SENTINEL SET SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTER SINTERCARD SINTERSTORE SISMEMBER " +
	"SLAVEOF SLOWLOG SMEMBERS SMISMEMBER SMOVE SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN SSUBSCRIBE STRLEN " +
	"SUBSCRIBE SUBSTR SUNION SUNIONSTORE SUNSUBSCRIBE SWAPDB SYNC TIME TOUCH TTL TYPE UNLINK UNSUBSCRIBE UNWATCH VADD " +
	"VSIM WAIT WATCH XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP XINFO XLEN XPENDING XRANGE XREAD " +
	"XREADGROUP XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE " +
	"ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM " +
	"ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE " +
	"ZUNION ZUNIONSTORE"

// numbered are the commands among them that are followed by a number, so that a word of another protocol isn't taken for one.
var numbered = map[string]bool{"HELLO": true, "SELECT": true}

// answers are the beginnings of replies that no neighbour's servers begin with.
var answers = [...]string{
	"+PONG\r\n", "+QUEUED\r\n", "-NOAUTH ", "-WRONGPASS ", "-WRONGTYPE ", "-MOVED ", "-ASK ", "-LOADING ", "-DENIED Redis", "-NOPERM ",
	"-ERR unknown command", "-ERR wrong number of arguments",
}

// Probe implements proto.Protocol. A client begins with an array of strings, or with lines of text, which alone tell little.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) == 0 {
		return proto.NeedMore, proto.AnyRole
	}
	switch c := b[0]; {
	case c == '*':
		kind, match := secondLine(b)
		if match != proto.Yes {
			return match, proto.AnyRole
		}
		if kind == '$' {
			return proto.Yes, proto.Client
		}
		return proto.Yes, proto.Server
	case c == '+' || c == '-':
		best := proto.No
		for _, a := range answers {
			n := min(len(b), len(a))
			if string(b[:n]) != a[:n] {
				continue
			}
			if n == len(a) {
				return proto.Yes, proto.Server
			}
			best = proto.NeedMore
		}
		return best, proto.AnyRole
	case c == ':':
		line, rest, whole := cutLine(b)
		if _, ok := number(line[1:]); ok && whole && (len(rest) == 0 || valueKinds[rest[0]] != 0) {
			return proto.Yes, proto.Server
		}
		return proto.No, proto.AnyRole
	case c == '$' || c == '%' || c == '|' || c == '~':
		if _, n, ok := tokens(b); ok && n > 0 {
			return proto.Yes, proto.Server
		}
		return proto.No, proto.AnyRole
	}
	return probeLine(b)
}

// secondLine returns the type byte of the second line of an array, if what stands before is its first.
func secondLine(b []byte) (kind byte, match proto.Match) {
	i := 1
	for i < len(b) && i < 9 && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	const end = "\r\n"
	rest := b[i:]
	n := min(len(rest), len(end))
	switch {
	case i == 1 && len(b) > 1, b[min(1, len(b)-1)] == '0', string(rest[:n]) != end[:n]:
		return 0, proto.No
	case len(rest) <= len(end):
		return 0, proto.NeedMore
	}
	kind = rest[len(end)]
	if valueKinds[kind] == 0 {
		return 0, proto.No
	}
	return kind, proto.Yes
}

// sureLines is how many lines of text that are all commands are believed without an answer: clients that load data send many at once.
// In lower case they may be beanstalkd's (touch 12).
const sureLines = 3

// probeLine looks whether b begins with inline commands. One alone may be another protocol's: clamd, IRC and NATS have a PING, SMTP an
// AUTH. So the answer decides, see ProbeBoth.
func probeLine(b []byte) (proto.Match, proto.Role) {
	for range sureLines {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		match := inlineCommand(line, whole)
		if match != proto.Yes {
			return match, proto.AnyRole
		}
		if c := line[0]; c < 'A' || c > 'Z' {
			return proto.NeedMore, proto.AnyRole
		}
		b = rest
	}
	return proto.Yes, proto.Client
}

// inlineCommand looks whether a line of text, its end left out, may be a command. whole: all of it has come.
func inlineCommand(line []byte, whole bool) proto.Match {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	name, rest, further := bytes.Cut(line, []byte{' '})
	switch {
	case len(name) > maxName || !isText(line):
		return proto.No
	case !whole && !further:
		if len(line) == 0 || isLetters(name) {
			return proto.NeedMore
		}
		return proto.No
	case !isKnown(name):
		return proto.No
	}
	upper := string(bytes.ToUpper(name))
	if upper == "INFO" && len(rest) > 0 && !isLetters(rest) {
		return proto.No // it is the greeting of NATS: INFO {
	}
	if numbered[upper] {
		if word, _, more := bytes.Cut(rest, []byte{' '}); !isNumber(word) && (whole || more) {
			return proto.No
		}
	}
	if !whole {
		return proto.NeedMore
	}
	// A start line of HTTP, SIP and the like ends with a version.
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	if i := bytes.IndexByte(last, '/'); i > 0 && isLetters(last[:i]) && i+1 < len(last) && isNumber(last[i+1:i+2]) {
		return proto.No
	}
	return proto.Yes
}

// ProbeBoth implements proto.Protocol: an inline command, and what can only be a reply to it.
func ProbeBoth(asked, answered []byte) proto.Match {
	line, _, whole := bytes.Cut(asked, []byte{'\n'})
	if inlineCommand(line, whole) != proto.Yes {
		return proto.NeedMore
	}
	if len(answered) == 0 {
		return proto.Yes
	}
	kind := answered[0]
	if shape := valueKinds[kind]; shape == 0 || shape == 'e' {
		return proto.No
	}
	reply, _, whole := cutLine(answered)
	switch text := reply[1:]; {
	case !whole && bytes.IndexByte(answered, '\n') < 0:
		return proto.NeedMore
	case !whole, !isLine(kind, text), kind == '+' && (len(text) == 0 || text[0] == ' '):
		return proto.No // "+ " is how SASL goes on
	}
	return proto.Yes
}

func isLetters(b []byte) bool {
	for _, c := range b {
		if c |= 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(b) > 0
}

func isNumber(b []byte) bool {
	n, ok := number(b)
	return ok && n >= 0
}

// Resume implements proto.Protocol: an array of strings of which the first is a command, or a reply that is more than a line.
func Resume(b []byte) (proto.Match, proto.Role) {
	const enough = 1 << 10
	return resume(b[:min(len(b), enough)])
}

func resume(b []byte) (proto.Match, proto.Role) {
	if len(b) < 2 || bytes.IndexByte([]byte("*$%~>"), b[0]) < 0 {
		return proto.No, proto.AnyRole
	}
	first, n, ok := tokens(b)
	switch {
	case !ok || n < 2 && b[0] != '$' || n == 0:
		return proto.No, proto.AnyRole
	case b[0] == '*' && isKnown(first):
		return proto.Yes, proto.Client
	case b[0] == '$' && len(first) == 0:
		return proto.No, proto.AnyRole // too little to be sure
	}
	return proto.Yes, proto.Server
}

// isKnown reports whether a word is a command.
func isKnown(word []byte) bool {
	if len(word) == 0 || len(word) > maxName {
		return false
	}
	if i := bytes.IndexByte(word, '.'); i > 0 {
		return isLetters(word[:i]) && isLetters(word[i+1:])
	}
	return knownNames[string(bytes.ToUpper(word))]
}

// plausible reports whether a segment is replies, from its first byte on.
func plausible(b []byte) bool {
	_, n, ok := tokens(b)
	return ok && n > 0
}

// tokens takes b apart into lines and strings. It returns the first string if it stands first or second, and how many are whole; not
// ok when b can't be RESP. The last may be incomplete.
func tokens(b []byte) (first []byte, n int, ok bool) {
	for len(b) > 0 {
		kind := b[0]
		if kind == '\n' && n > 0 {
			b = b[1:] // which the parser passes over, too
			continue
		}
		if valueKinds[kind] == 0 {
			return nil, n, false
		}
		line, rest, whole := cutLine(b)
		text := line[1:]
		if !whole {
			return first, n, len(text) <= maxNumberLine && (valueKinds[kind] == 't' || isDigits(text)) || kind == '+' || kind == '-'
		}
		if !isLine(kind, text) {
			return nil, n, false
		}
		b = rest
		if valueKinds[kind] == 's' && text[0] != '-' && text[0] != '?' {
			size, _ := number(text) // which isLine made sure of
			if int64(len(b)) < size+2 {
				return first, n, true
			}
			if b[size] != '\r' || b[size+1] != '\n' {
				return nil, n, false
			}
			if n < 2 && first == nil {
				first = b[:size]
			}
			b = b[size+2:]
		}
		n++
	}
	return first, n, true
}

// isLine reports whether a text may follow a type byte.
func isLine(kind byte, text []byte) bool {
	switch kind {
	case '+':
		return isText(text)
	case '-':
		return len(text) > 0 && 'A' <= text[0] && text[0] <= 'Z' && isText(text)
	case '_', '.':
		return len(text) == 0
	case '#':
		return len(text) == 1 && (text[0] == 't' || text[0] == 'f')
	case ',':
		return len(text) > 0 && len(text) <= maxNumberLine
	case '(':
		return len(text) > 0
	}
	if len(text) == 1 && text[0] == '?' {
		return valueKinds[kind] != 't'
	}
	size, ok := number(text)
	return ok && (kind == ':' || size >= -1 && size <= maxBulk)
}

// isDigits reports whether a text may be the beginning of a number.
func isDigits(text []byte) bool {
	for i, c := range text {
		if (c < '0' || c > '9') && c != '\r' && c != '?' && (c != '-' || i > 0) {
			return false
		}
	}
	return true
}

// cutLine returns the line that b begins with, without its end, and what follows.
func cutLine(b []byte) (line, rest []byte, whole bool) {
	i := bytes.Index(b, []byte("\r\n"))
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+2:], true
}
