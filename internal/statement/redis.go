package statement

import "strings"

// redis are the commands of Redis, and where their keys are (the key specifications of its command table).
var redis = &vocabulary{number: 3, commands: redisCommands(), containers: set(redisContainers), other: &command{}, options: set(redisOptions)}

const redisContainers = "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SENTINEL SLOWLOG XGROUP XINFO"

// redisOptions are words that many commands take. As data they say nothing.
const redisOptions = "EX PX EXAT PXAT NX XX GT LT KEEPTTL COUNT MATCH LIMIT WITHSCORES WITHVALUES BLOCK GROUP NOACK BY REV ASC DESC ALPHA STORE WEIGHTS AGGREGATE " +
	"MAXLEN MINID LEFT RIGHT BEFORE AFTER INCR FIELDS TYPE REPLACE COPY KEYS"

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

func redisCommands() map[string]*command {
	m := map[string]*command{}
	for _, g := range []struct {
		words string
		command
	}{
		{"DECR DECRBY GET GETDEL GETEX GETRANGE INCR INCRBY INCRBYFLOAT SETRANGE STRLEN SUBSTR " +
			"BITCOUNT BITFIELD BITFIELD_RO BITPOS GETBIT SETBIT DUMP EXPIRE EXPIREAT EXPIRETIME MOVE PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PTTL RESTORE " +
			"SORT SORT_RO TTL TYPE HDEL HEXISTS HEXPIRE HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE " +
			"HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS LINDEX LINSERT LLEN LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM RPOP RPUSH RPUSHX " +
			"SADD SCARD SISMEMBER SMEMBERS SMISMEMBER SPOP SRANDMEMBER SREM SSCAN ZADD ZCARD ZCOUNT ZINCRBY ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN " +
			"ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX " +
			"ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEOSEARCH PFADD XACK XADD XAUTOCLAIM XCLAIM " +
			"XDEL XLEN XPENDING XRANGE XREVRANGE XTRIM XSETID PUBLISH SPUBLISH MESSAGE SMESSAGE " +
			"OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT MEMORY|USAGE XGROUP|CREATE XGROUP|CREATECONSUMER XGROUP|DELCONSUMER " +
			"XGROUP|DESTROY XGROUP|SETID XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM", command{first: 1, last: 1}},
		{"DEL EXISTS MGET SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK WATCH PFCOUNT PFMERGE SUBSCRIBE UNSUBSCRIBE " +
			"SSUBSCRIBE SUNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE INVALIDATE", command{first: 1, last: -1}},
		{"BLPOP BRPOP BZPOPMAX BZPOPMIN", command{first: 1, last: -2}},
		{"APPEND GETSET SET SETNX", command{first: 1, last: 1, stores: 1}},
		{"PSETEX SETEX", command{first: 1, last: 1, stores: 2}},
		{"MSET MSETNX", command{first: 1, last: -1, step: 2, stores: 1}},
		{"COPY LCS LMOVE BLMOVE BRPOPLPUSH RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE GEOSEARCHSTORE PMESSAGE", command{first: 1, last: 2}},
		{"BITOP", command{first: 2, last: -1}},
		{"EVAL EVAL_RO", command{count: 2, script: scriptText}},
		{"EVALSHA EVALSHA_RO", command{count: 2, script: scriptDigest}},
		{"FCALL FCALL_RO BLMPOP BZMPOP", command{count: 2}},
		{"LMPOP ZMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZUNION", command{count: 1}},
		{"ZDIFFSTORE ZINTERSTORE ZUNIONSTORE", command{first: 1, last: 1, count: 2}},
		{"XREAD XREADGROUP", command{behind: "STREAMS"}},
		{"MIGRATE", command{first: 3, last: 3, told: []telling{{"AUTH", 1}, {"AUTH2", 2}}}},
		{"AUTH", command{secret: 1}},
		{"HELLO", command{told: []telling{{"AUTH", 2}}}},
		{"CONFIG|SET", command{first: 1, last: -1, step: 2, stores: 1, told: []telling{{"requirepass", 1}, {"masterauth", 1}, {"primaryauth", 1}, {"tls-key-file-pass", 1}, {"tls-client-key-file-pass", 1}}}},
		{"CONFIG|GET", command{first: 1, last: -1}},
		{"ACL|SETUSER", command{first: 1, last: 1, rules: true}},
		// What is tried out is a command of its own; what modules are given, they alone can tell.
		{"ACL|DRYRUN", command{secret: 3}},
		{"MODULE|LOAD MODULE|LOADEX", command{secret: 2}},
		{"SENTINEL|SET", command{first: 1, last: 2, told: []telling{{"auth-pass", 1}, {"auth-user", 1}}}},
	} {
		for _, w := range strings.Fields(g.words) {
			c := g.command
			m[strings.ReplaceAll(w, "|", " ")] = &c
		}
	}
	return m
}

// memcached are the commands of memcached: those of its text, whose binary ones have the same names but for their
// endings. Their arguments are numbers and flags; the data follows them and isn't shown.
var memcached = &vocabulary{number: 4, commands: memcachedCommands(), other: &command{first: 1, last: 1}, all: true}

func memcachedCommands() map[string]*command {
	m := map[string]*command{}
	for _, g := range []struct {
		words string
		command
	}{
		{"GET GETS", command{first: 1, last: -1}},
		{"GAT GATS", command{first: 2, last: -1}},
		{"STATS FLUSH_ALL FLUSH VERBOSITY VERSION QUIT NOOP MN SLABS LRU LRU_CRAWLER WATCH SHUTDOWN CACHE_MEMLIMIT ME", command{}},
		{"SASL_AUTH SASL_STEP AUTH", command{secret: 1}},
	} {
		for _, w := range strings.Fields(g.words) {
			c := g.command
			m[w] = &c
		}
	}
	return m
}
