package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
)

// databases counts the statements of databases and caches, and the questions for names. Its labels have values of closed sets, but
// for services, which the configuration names.
type databases struct {
	statements, rows, lookups *prometheus.CounterVec
	durations, answers        *prometheus.HistogramVec
}

// The words that are told apart: kinds of statements and commands, types of DNS records, and what DNS answers.
var (
	operations = words(`select insert update delete replace merge call with begin start commit rollback savepoint set show use create
		alter drop truncate explain copy lock analyze vacuum load do values grant revoke declare fetch close execute listen notify
		login prepare ping cancel
		get gets gat mget mset setnx setex getset getdel getex append prepend add cas strlen incr incrby decr decrby exists del unlink
		expire pexpire ttl pttl persist type scan keys touch
		hget hset hmget hmset hgetall hdel hexists hincrby hlen hscan lpush rpush lpop rpop lrange llen lindex ltrim blpop brpop sadd srem
		smembers sismember scard zadd zrem zrange zrangebyscore zscore zcard zincrby xadd xread xreadgroup xack publish subscribe psubscribe
		message pmessage multi exec discard watch eval evalsha fcall info client config auth hello quit
		mg ms md ma mn stats version flush_all
		find aggregate count distinct findandmodify getmore killcursors ismaster listcollections createindexes bulkwrite`)
	types  = words("a aaaa cname mx ns ptr soa srv txt https svcb caa any axfr ixfr ds dnskey naptr update notify")
	rcodes = words("noerror nxdomain servfail refused formerr notimp yxdomain nxrrset notauth notzone badvers badcookie")
)

func words(list string) map[string]bool {
	all := map[string]bool{}
	for word := range strings.FieldsSeq(list) {
		all[word] = true
	}
	return all
}

// newDatabases returns counters that have counted nothing, in a registry.
func newDatabases(to *prometheus.Registry, buckets []float64) *databases {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: bucketFactor, NativeHistogramMaxBucketNumber: maxBuckets, NativeHistogramMinResetDuration: bucketsRestart,
		}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	d := &databases{
		statements: counter("culprit_db_statements_total", "Statements and commands of databases and caches, by what came of them.", "service", "system", "operation", "outcome"),
		rows:       counter("culprit_db_rows_total", "Rows, documents and values that came back.", "service", "system", "operation"),
		durations:  histogram("culprit_db_duration_seconds", "First byte of the statement to last byte of its result.", "service", "system", "operation"),
		lookups:    counter("culprit_dns_lookups_total", "Questions for names, by what was answered; none: nothing.", "service", "type", "rcode"),
		answers:    histogram("culprit_dns_duration_seconds", "Question to answer.", "service"),
	}
	to.MustRegister(d.statements, d.rows, d.durations, d.lookups, d.answers)
	return d
}

// oneOf returns a word in lower case, if it is one of those that are told apart.
func oneOf(word string, all map[string]bool) string {
	if word = strings.ToLower(word); all[word] {
		return word
	}
	return other
}

// count counts a statement, or a question for a name.
func (d *databases) count(x *exchange.Exchange) {
	service := label(x.Enriched.Service[x.Server()])
	timed := !x.Stream && x.Timing.Duration >= 0
	took := time.Duration(x.Timing.Duration).Seconds()
	if output.KindOf(x) == output.Lookup {
		rcode := "none"
		if x.HasResponse {
			rcode = oneOf(string(x.Response.FactText("rcode")), rcodes)
		}
		d.lookups.WithLabelValues(service, oneOf(string(x.Verb()), types), rcode).Inc()
		if timed {
			d.answers.WithLabelValues(service).Observe(took)
		}
		return
	}
	verb, _, _ := strings.Cut(string(x.Verb()), " ")
	verb = oneOf(verb, operations)
	d.statements.WithLabelValues(service, x.Protocol, verb, x.Outcome()).Inc()
	if rows, ok := x.Rows(); ok {
		d.rows.WithLabelValues(service, x.Protocol, verb).Add(float64(rows))
	}
	if timed {
		d.durations.WithLabelValues(service, x.Protocol, verb).Observe(took)
	}
}
