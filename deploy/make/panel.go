package main

import "slices"

// source is where a panel's data come from.
type source string

// The sources, by the ids of their data views.
const (
	// exchanges are documents of exchanges, those that sampling kept. Documents that stand for several count as several
	// (_doc_count), in buckets; sums, averages and percentiles of their fields don't know.
	exchanges source = "culprit-exchanges"
	// rollups are counts of all exchanges, by minute.
	rollups source = "culprit-rollups"
)

// pattern is which indices a source has.
func (s source) pattern() string { return string(s) + "-*" }

// panel is what a dashboard shows.
type panel struct {
	id, title   string
	description string
	from        source
	// query is in the syntax of Lucene; empty: all documents.
	query        string
	chart        chart
	axis         string // what the values are
	aggregations []aggregation
	// text is that of a text or of a Vega specification, which have no aggregations of their own.
	text string
}

// Queries.
const (
	// timed are exchanges that have a duration that means something.
	timed  = "_exists_:event.duration AND NOT culprit.stream:true AND NOT culprit.grade:onesided"
	slow   = "event.duration:>=1000000000 AND NOT culprit.stream:true AND NOT culprit.grade:onesided"
	failed = "event.outcome:failure"
	// blamed are exchanges that somebody made slow or fail.
	blamed = "_exists_:culprit.blame.who AND NOT culprit.blame.who:none"
	// slowStatements are those of databases that took 100 ms.
	slowStatements = databases + " AND event.duration:>=100000000 AND NOT culprit.stream:true"
	// http, databases and names tell the families of protocols apart.
	http      = "network.protocol:(http OR http2 OR fastcgi OR uwsgi)"
	databases = "network.protocol:(mysql OR postgresql OR redis OR memcached OR mongodb)"
	names     = "network.protocol:(dns OR mdns OR llmnr)"
)

// ofRequests are the panels that count requests of HTTP, and nothing else.
var ofRequests = []string{"requests", "requests-by-class", "errors-by-service", "services", "routes-by-time", "routes-within", "time-parts", "errors", "errors-by-class",
	"routes-with-errors", "hosts", "methods", "routes", "slow", "slow-routes", "slow-services", "slow-clients", "percentiles", "waits", "route-percentiles"}

// What a document without the field is called.
const (
	unnamed    = "(unnamed)"
	noResponse = "(no final response)"
	noRoute    = "(no route)"
	noHost     = "(no host)"
	noTemplate = "(no statement)"
)

// onlyUnsampled is said of panels over documents whose answers sampling would change.
const onlyUnsampled = "Over the exchanges that are stored: right where all are, not where a sample is (docs/sampling.md)."

// weighted is said of panels that count documents.
const weighted = "Counts exchanges; those that stand for several in a sample count as several."

// complete is said of panels over rollups.
const complete = "Over all exchanges, sampled or not."

// panels are all of them, but those that one product shows in its own way.
func panels(p product) []panel {
	all := []panel{
		{id: "requests", title: "Requests", description: complete, from: rollups, chart: numbers, aggregations: []aggregation{
			sum("culprit.rollup.count", "requests"), sum("culprit.rollup.errors", "errors"), maximum("culprit.rollup.duration_max", "slowest"),
			sum("culprit.rollup.response_bytes", "sent by servers")}},
		{id: "requests-by-class", title: "Requests by status class", description: complete, from: rollups, chart: stacks, axis: "requests", aggregations: []aggregation{
			sum("culprit.rollup.count", "requests"), by(top(6, "culprit.rollup.status_class", "Status", noResponse)), overTime("m")}},
		{id: "errors-by-service", title: "Errors by service", description: complete, from: rollups, chart: lines, axis: "errors", aggregations: []aggregation{
			sum("culprit.rollup.errors", "errors"), by(top(10, "service.name", "Service", unnamed)), overTime("m")}},
		{id: "services", title: "Services", description: complete, from: rollups, chart: table, aggregations: []aggregation{
			sum("culprit.rollup.count", "Requests"), sum("culprit.rollup.errors", "Errors"), sum("culprit.rollup.duration_sum", "Total time"),
			maximum("culprit.rollup.duration_max", "Slowest"), sum("culprit.rollup.response_bytes", "Sent"), top(50, "service.name", "Service", unnamed)}},
		{id: "routes-by-time", title: "Routes by total time", description: complete, from: rollups, chart: table, aggregations: []aggregation{
			sum("culprit.rollup.duration_sum", "Total time"), sum("culprit.rollup.count", "Requests"), sum("culprit.rollup.errors", "Errors"),
			maximum("culprit.rollup.duration_max", "Slowest"), top(100, "culprit.route", "Route", noRoute)}},
		{id: "heat-map", title: "Response times: how many took how long", description: complete, from: rollups, chart: vega, text: heatMap()},
		{id: "within", title: "Share of requests within", description: complete, from: rollups, chart: vega, text: shares()},
		{id: "routes-within", title: "Requests within, by route", description: complete + " Each column counts what took at most that long.", from: rollups, chart: table,
			aggregations: []aggregation{sum("culprit.rollup.timed", "Requests"), sum("culprit.rollup.within.100ms", "100 ms"), sum("culprit.rollup.within.500ms", "500 ms"),
				sum("culprit.rollup.within.1s", "1 s"), sum("culprit.rollup.within.5s", "5 s"), sum("culprit.rollup.within.10s", "10 s"), top(100, "culprit.route", "Route", noRoute)}},
		{id: "time-parts", title: "Where the time goes, on average", description: onlyUnsampled, from: exchanges, query: timed, chart: stacks, axis: "time", aggregations: []aggregation{
			average("culprit.timing.connect", "connect"), average("culprit.timing.tls", "TLS"), average("culprit.timing.send", "send"),
			average("culprit.timing.wait", "wait"), average("culprit.timing.receive", "receive"), overTime("auto")}},

		{id: "blame-over-time", title: "Time lost, by who is to blame", description: onlyUnsampled, from: exchanges, query: blamed, chart: stacks, axis: "time", aggregations: []aggregation{
			sum("culprit.blame.time", "time lost"), by(top(10, "culprit.blame.who", "Who", "")), overTime("auto")}},
		{id: "culprits", title: "Culprits", description: onlyUnsampled, from: exchanges, query: blamed, chart: table, aggregations: []aggregation{
			sum("culprit.blame.time", "Time lost"), count("Exchanges"), maximum("culprit.blame.time", "Longest"), top(30, "culprit.blame.situation", "Situation", ""),
			top(5, "culprit.blame.who", "Who", "")}},
		{id: "blamed-over-time", title: "Exchanges that somebody is to blame for", description: weighted, from: exchanges, query: blamed, chart: stacks, axis: "exchanges", aggregations: []aggregation{
			count("exchanges"), by(top(10, "culprit.blame.who", "Who", "")), overTime("auto")}},
		{id: "blamed-routes", title: "Routes by time lost", description: onlyUnsampled, from: exchanges, query: blamed, chart: table, aggregations: []aggregation{
			sum("culprit.blame.time", "Time lost"), count("Exchanges"), maximum("culprit.blame.time", "Longest"), top(50, "culprit.route", "Route", noRoute), top(3, "culprit.blame.who", "Who", "")}},
		{id: "blamed-servers", title: "Servers by time lost", description: onlyUnsampled, from: exchanges, query: blamed, chart: table, aggregations: []aggregation{
			sum("culprit.blame.time", "Time lost"), count("Exchanges"), maximum("culprit.blame.time", "Longest"), top(50, "server.ip", "Server", ""), top(3, "culprit.blame.situation", "Situation", "")}},

		{id: "errors", title: "Errors", description: complete, from: rollups, chart: numbers, aggregations: []aggregation{
			sum("culprit.rollup.count", "requests"), errorCases()}},
		{id: "errors-by-class", title: "Errors by status class", description: complete, from: rollups, chart: stacks, axis: "requests", aggregations: []aggregation{
			sum("culprit.rollup.count", "requests"), errorCases(), overTime("m")}},
		{id: "statuses", title: "Statuses from 400", description: weighted, from: exchanges, query: "http.response.status_code:>=400", chart: stacks, axis: "exchanges",
			aggregations: []aggregation{count("exchanges"), by(top(15, "http.response.status_code", "Status", "")), overTime("auto")}},
		{id: "routes-with-errors", title: "Routes with errors", description: complete, from: rollups, query: "culprit.rollup.errors:>0", chart: table, aggregations: []aggregation{
			sum("culprit.rollup.errors", "Errors"), top(50, "culprit.route", "Route", noRoute), top(3, "culprit.rollup.status_class", "Status", noResponse)}},
		{id: "services-with-errors", title: "Statuses by service", description: weighted, from: exchanges, query: failed, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(20, "service.name", "Service", unnamed), top(10, "http.response.status_code", "Status", "")}},
		{id: "clients-with-errors", title: "Clients with errors", description: weighted, from: exchanges, query: failed, chart: table, aggregations: []aggregation{
			count("Exchanges"), distinct("culprit.route", "Routes"), top(50, "client.ip", "Client", ""), top(3, "user_agent.name", "User agent", unnamed)}},
		{id: "incomplete", title: "Exchanges that aren't complete", description: weighted, from: exchanges, query: "NOT culprit.grade:complete", chart: table, aggregations: []aggregation{
			count("Exchanges"), top(10, "culprit.grade", "Grade", ""), top(5, "service.name", "Service", unnamed)}},

		{id: "outcomes", title: "Exchanges by outcome", description: weighted, from: exchanges, chart: stacks, axis: "exchanges", aggregations: []aggregation{
			count("exchanges"), by(top(3, "event.outcome", "Outcome", "")), overTime("auto")}},
		{id: "hosts", title: "Hosts", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(50, "url.domain", "Host", noHost)}},
		{id: "methods", title: "Methods", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(20, "http.request.method", "Method", "(no request)")}},
		{id: "routes", title: "Routes", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(100, "culprit.route", "Route", noRoute)}},
		{id: "clients", title: "Clients", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(100, "client.ip", "Client", "")}},
		{id: "taps", title: "Taps", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), top(20, "observer.hostname", "Observer", "(file)"), top(20, "observer.ingress.interface.name", "Tap", unnamed)}},

		{id: "types-over-time", title: "Responses by content type", description: weighted, from: exchanges, query: "_exists_:http.response.status_code", chart: stacks, axis: "exchanges",
			aggregations: []aggregation{count("exchanges"), by(top(10, "http.response.mime_type", "Type", "(no body)")), overTime("auto")}},
		{id: "bytes", title: "Bytes", description: complete, from: rollups, chart: lines, axis: "bytes", aggregations: []aggregation{
			sum("culprit.rollup.request_bytes", "sent by clients"), sum("culprit.rollup.response_bytes", "sent by servers"), overTime("m")}},
		{id: "types", title: "Content types of responses", description: onlyUnsampled, from: exchanges, query: "_exists_:http.response.mime_type", chart: table, aggregations: []aggregation{
			sum("http.response.body.bytes", "Bytes"), count("Exchanges"), average("http.response.body.bytes", "Average"), maximum("http.response.body.bytes", "Largest"),
			top(50, "http.response.mime_type", "Type", "")}},
		{id: "type-sizes", title: "Sizes of responses", description: onlyUnsampled, from: exchanges, query: "_exists_:http.response.mime_type", chart: table, aggregations: []aggregation{
			count("Exchanges"), percentiles("http.response.body.bytes", "Size", 50, 90, 99), top(50, "http.response.mime_type", "Type", "")}},
		{id: "request-types", title: "Content types of requests", description: onlyUnsampled, from: exchanges, query: "_exists_:http.request.mime_type", chart: table, aggregations: []aggregation{
			sum("http.request.body.bytes", "Bytes"), count("Exchanges"), maximum("http.request.body.bytes", "Largest"), top(50, "http.request.mime_type", "Type", "")}},

		{id: "slow", title: "Requests of one second and more, by service", description: weighted, from: exchanges, query: slow, chart: stacks, axis: "exchanges", aggregations: []aggregation{
			count("exchanges"), by(top(10, "service.name", "Service", unnamed)), overTime("auto")}},
		{id: "slow-routes", title: "Slow routes", description: weighted, from: exchanges, query: slow, chart: table, aggregations: []aggregation{
			count("Exchanges"), maximum("event.duration", "Slowest"), maximum("culprit.timing.wait", "Longest wait"), maximum("culprit.timing.receive", "Longest receive"),
			top(50, "culprit.route", "Route", noRoute)}},
		{id: "slow-services", title: "Slow services", description: weighted, from: exchanges, query: slow, chart: table, aggregations: []aggregation{
			count("Exchanges"), maximum("event.duration", "Slowest"), maximum("culprit.net.server.rtt", "Longest round trip"), top(20, "service.name", "Service", unnamed)}},
		{id: "slow-clients", title: "Clients that waited", description: weighted, from: exchanges, query: slow, chart: table, aggregations: []aggregation{
			count("Exchanges"), maximum("event.duration", "Slowest"), top(50, "client.ip", "Client", "")}},

		{id: "countries", title: "Countries", description: weighted, from: exchanges, query: "_exists_:client.geo.country_iso_code", chart: table, aggregations: []aggregation{
			count("Exchanges"), distinct("client.ip", "Clients"), top(100, "client.geo.country_iso_code", "Country", "")}},
		{id: "cities", title: "Cities", description: weighted, from: exchanges, query: "_exists_:client.geo.city_name", chart: table, aggregations: []aggregation{
			count("Exchanges"), top(100, "client.geo.city_name", "City", "")}},
		{id: "networks", title: "Networks", description: weighted, from: exchanges, query: "_exists_:client.as.number", chart: table, aggregations: []aggregation{
			count("Exchanges"), distinct("client.ip", "Clients"), top(50, "client.as.organization.name", "Network", unnamed)}},
		{id: "user-agents", title: "User agents", description: weighted, from: exchanges, chart: table, aggregations: []aggregation{
			count("Exchanges"), distinct("client.ip", "Clients"), top(50, "user_agent.name", "User agent", unnamed), top(3, "user_agent.os.name", "System", "(not told)")}},
		{id: "devices", title: "Kinds of client", description: weighted, from: exchanges, chart: rows, axis: "exchanges", aggregations: []aggregation{
			count("exchanges"), bars(top(5, "culprit.device", "Kind", "(not told)"))}},

		{id: "connections", title: "Exchanges on new connections and on those in use", description: weighted, from: exchanges, chart: stacks, axis: "exchanges", aggregations: []aggregation{
			count("exchanges"), cases([2]string{"first of its connection", "culprit.http.connection_index:0"}, [2]string{"on a connection in use", "culprit.http.connection_index:>0"}),
			overTime("auto")}},
		{id: "connect-times", title: "Time to connect", description: onlyUnsampled, from: exchanges, query: "_exists_:culprit.timing.connect", chart: lines, axis: "time", aggregations: []aggregation{
			percentiles("culprit.timing.connect", "connect", 50, 99), maximum("culprit.timing.connect", "longest"), overTime("auto")}},
		{id: "servers", title: "Servers: losses", description: onlyUnsampled + " Segments sent again, and windows closed, while exchanges lasted.", from: exchanges, chart: table, aggregations: []aggregation{
			sum("culprit.net.server.retransmits", "Sent again by server"), sum("culprit.net.client.retransmits", "Sent again by client"),
			sum("culprit.net.server.zero_windows", "Closed windows of server"), sum("culprit.net.client.zero_windows", "Closed windows of client"), count("Exchanges"), top(50, "server.ip", "Server", "")}},
		{id: "round-trips", title: "Servers: round trips", description: onlyUnsampled, from: exchanges, query: "_exists_:culprit.net.server.rtt", chart: table, aggregations: []aggregation{
			count("Exchanges"), percentiles("culprit.net.server.rtt", "tap to server and back", 50, 99), percentiles("culprit.net.client.rtt", "tap to client and back", 50, 99),
			top(50, "server.ip", "Server", "")}},
		{id: "closed", title: "How connections ended", description: weighted, from: exchanges, query: "_exists_:culprit.net.closed.how", chart: table, aggregations: []aggregation{
			count("Exchanges"), top(10, "culprit.net.closed.how", "How", ""), top(3, "culprit.net.closed.by", "By", "(nobody)"), top(10, "service.name", "Service", unnamed)}},
		{id: "syns", title: "Connections that took more than one SYN", description: weighted, from: exchanges, query: "culprit.net.handshake.syns:>1", chart: table, aggregations: []aggregation{
			count("Exchanges"), maximum("culprit.net.handshake.syns", "Most SYNs"), maximum("culprit.timing.connect", "Longest connect"), top(50, "server.ip", "Server", "")}},
		{id: "db-totals", title: "Statements", description: complete, from: rollups, query: databases, chart: numbers, aggregations: []aggregation{
			sum("culprit.rollup.count", "statements"), sum("culprit.rollup.errors", "errors"), maximum("culprit.rollup.duration_max", "slowest"),
			sum("culprit.rollup.response_bytes", "sent by servers")}},
		{id: "db-by-system", title: "Statements by system", description: complete, from: rollups, query: databases, chart: stacks, axis: "statements", aggregations: []aggregation{
			sum("culprit.rollup.count", "statements"), by(top(6, "network.protocol", "System", "")), overTime("m")}},
		{id: "db-time", title: "Time spent in databases", description: complete, from: rollups, query: databases, chart: stacks, axis: "time", aggregations: []aggregation{
			sum("culprit.rollup.duration_sum", "time"), by(top(6, "network.protocol", "System", "")), overTime("m")}},
		{id: "db-templates", title: "Statements by total time", description: complete, from: rollups, query: databases, chart: table, aggregations: []aggregation{
			sum("culprit.rollup.duration_sum", "Total time"), sum("culprit.rollup.count", "Statements"), sum("culprit.rollup.errors", "Errors"),
			maximum("culprit.rollup.duration_max", "Slowest"), top(100, "db.query.summary", "Statement", noTemplate), top(1, "network.protocol", "System", "")}},
		{id: "db-errors", title: "Errors of databases", description: weighted, from: exchanges, query: within(databases, failed), chart: table, aggregations: []aggregation{
			count("Statements"), top(10, "network.protocol", "System", ""), top(20, "db.response.status_code", "Code", "(broke)"), top(5, "db.query.summary", "Statement", noTemplate)}},
		{id: "db-slow", title: "Statements of 100 ms and more", description: weighted, from: exchanges, query: slowStatements, chart: table, aggregations: []aggregation{
			count("Statements"), maximum("event.duration", "Slowest"), maximum("culprit.db.first_row", "Longest to the first row"), top(50, "db.query.summary", "Statement", noTemplate)}},
		{id: "db-rows", title: "Rows by statement", description: onlyUnsampled, from: exchanges, query: within(databases, "_exists_:db.response.returned_rows"), chart: table, aggregations: []aggregation{
			sum("db.response.returned_rows", "Rows"), maximum("db.response.returned_rows", "Most"), sum("culprit.db.returned_bytes", "Bytes"), count("Statements"),
			top(50, "db.query.summary", "Statement", noTemplate)}},
		{id: "dns-codes", title: "Questions for names, by what was answered", description: weighted, from: exchanges, query: names, chart: stacks, axis: "questions", aggregations: []aggregation{
			count("questions"), by(top(8, "dns.response_code", "Code", "(nothing)")), overTime("auto")}},
		{id: "dns-names", title: "Names", description: weighted, from: exchanges, query: names, chart: table, aggregations: []aggregation{
			count("Questions"), maximum("event.duration", "Slowest"), top(50, "dns.question.name", "Name", ""), top(3, "dns.response_code", "Code", "(nothing)")}},
		{id: "dns-types", title: "Questions by type", description: complete, from: rollups, query: names, chart: table, aggregations: []aggregation{
			sum("culprit.rollup.count", "Questions"), sum("culprit.rollup.errors", "Errors"), maximum("culprit.rollup.duration_max", "Slowest"), top(20, "dns.question.type", "Type", "")}},
		{id: "anomalies", title: "Anomalies", description: weighted, from: exchanges, query: "_exists_:culprit.anomalies", chart: table, aggregations: []aggregation{
			count("Exchanges"), top(50, "culprit.anomalies", "Anomaly", ""), top(5, "service.name", "Service", unnamed)}},
	}
	all = append(all, p.own...)
	for i := range all {
		if p := &all[i]; slices.Contains(ofRequests, p.id) {
			p.query = within(http, p.query)
		}
	}
	all = append(all, panel{id: "dashboards", title: "Dashboards", from: exchanges, chart: text, text: links()})
	return all
}

// within is a query for what matches both.
func within(family, query string) string {
	if query == "" {
		return family
	}
	return family + " AND " + query
}

// errorCases are the classes of errors among rollups.
func errorCases() aggregation {
	return cases([2]string{"4xx", "culprit.rollup.status_class:4xx"}, [2]string{"5xx", "culprit.rollup.status_class:5xx"}, [2]string{"no final response", "NOT _exists_:culprit.rollup.status_class"})
}

// ofKibana are panels over the type histogram, which has percentiles of counts.
var ofKibana = []panel{
	{id: "percentiles", title: "Response times", description: complete, from: rollups, chart: lines, axis: "time", aggregations: []aggregation{
		percentiles("culprit.rollup.duration", "duration", 50, 90, 99), overTime("m")}},
	{id: "waits", title: "Time to the first byte of the response", description: complete, from: rollups, chart: lines, axis: "time", aggregations: []aggregation{
		percentiles("culprit.rollup.wait", "wait", 50, 90, 99), overTime("m")}},
	{id: "route-percentiles", title: "Response times by route", description: complete, from: rollups, chart: table, aggregations: []aggregation{
		sum("culprit.rollup.timed", "Requests"), percentiles("culprit.rollup.duration", "duration", 50, 90, 99), maximum("culprit.rollup.duration_max", "Slowest"),
		top(100, "culprit.route", "Route", noRoute)}},
}

// ofOpenSearch are panels in place of those: OpenSearch has no type histogram.
var ofOpenSearch = []panel{
	{id: "percentiles", title: "Response times, where all exchanges are stored", description: onlyUnsampled, from: exchanges, query: timed, chart: lines, axis: "time", aggregations: []aggregation{
		percentiles("event.duration", "duration", 50, 90, 99), overTime("auto")}},
	{id: "waits", title: "Time to the first byte of the response, where all exchanges are stored", description: onlyUnsampled, from: exchanges, query: timed, chart: lines, axis: "time", aggregations: []aggregation{
		percentiles("culprit.timing.wait", "wait", 50, 90, 99), overTime("auto")}},
	{id: "route-percentiles", title: "Response times by route, where all exchanges are stored", description: onlyUnsampled, from: exchanges, query: timed, chart: table, aggregations: []aggregation{
		count("Requests"), percentiles("event.duration", "duration", 50, 90, 99), maximum("event.duration", "Slowest"), top(100, "culprit.route", "Route", noRoute)}},
	{id: "map", title: "Clients by place", description: weighted, from: exchanges, query: "_exists_:client.geo.location", chart: places, aggregations: []aggregation{
		count("exchanges"), {"geohash_grid", "segment", params{"field": "client.geo.location", "autoPrecision": true, "precision": 2, "useGeocentroid": true, "isFilteredByCollar": true}}}},
}

// search is a saved search.
type search struct {
	id, title, description string
	query                  string
	columns                []string
	sort                   [2]string
}

var searches = []search{
	{"all", "Exchanges", "Exchanges, latest first.", "", []string{"client.ip", "service.name", "http.request.method", "url.domain", "url.original", "http.response.status_code",
		"http.response.body.bytes", "event.duration", "culprit.grade"}, [2]string{"@timestamp", "desc"}},
	{"failed", "Exchanges that failed", "Exchanges with statuses from 400, and those that broke, latest first.", failed, []string{"client.ip", "service.name", "http.request.method", "url.domain",
		"url.original", "http.response.status_code", "error.message", "event.duration", "trace.id"}, [2]string{"@timestamp", "desc"}},
	{"slowest", "Slow exchanges", "Exchanges that took a second or more, slowest first.", slow, []string{"event.duration", "culprit.timing.connect", "culprit.timing.send", "culprit.timing.wait",
		"culprit.timing.receive", "service.name", "http.request.method", "url.domain", "url.original", "http.response.status_code"}, [2]string{"event.duration", "desc"}},
	{"blamed", "Exchanges that lost time", "Exchanges that somebody made slow, those that lost most first. What failed is in the dashboard of errors.", within(blamed, "_exists_:culprit.blame.time"), []string{"culprit.blame.who", "culprit.blame.situation", "culprit.blame.time",
		"culprit.blame.why", "culprit.blame.confidence", "client.ip", "service.name", "http.request.method", "url.domain", "url.original", "http.response.status_code"}, [2]string{"culprit.blame.time", "desc"}},
	{"statements", "Slow statements", "Statements that took 100 ms or more, slowest first.", slowStatements,
		[]string{"event.duration", "culprit.db.first_row", "network.protocol", "db.namespace", "db.query.text", "db.response.returned_rows", "db.response.status_code", "client.ip", "server.ip"}, [2]string{"event.duration", "desc"}},
	{"broken", "Connections that broke", "Exchanges that aren't complete, latest first.", "NOT culprit.grade:complete", []string{"client.ip", "server.ip", "service.name", "culprit.grade", "error.message",
		"culprit.net.closed.by", "culprit.net.closed.how", "culprit.missing_bytes", "culprit.net.server.retransmits"}, [2]string{"@timestamp", "desc"}},
}

// place is a panel on a dashboard, w of 48 columns wide and h rows high. Panels stand from left to right and then below each other.
type place struct {
	kind string // visualization, search or map
	id   string
	w, h int
}

// dashboard is one page.
type dashboard struct {
	id, title   string
	description string
	places      []place
}

func dashboards(p product) []dashboard {
	return []dashboard{
		{"overview", "Overview", "How much there is, how much of it fails, and how long it takes.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "requests", 48, 7}, {"visualization", "requests-by-class", 24, 13}, {"visualization", "errors-by-service", 24, 13},
			{"visualization", "percentiles", 24, 13}, {"visualization", "heat-map", 24, 13}, {"visualization", "blame-over-time", 24, 13}, {"visualization", "culprits", 24, 13}, {"visualization", "services", 24, 16}, {"visualization", "routes-by-time", 24, 16}}},
		{"blame", "Blame", "Who made exchanges slow or fail, and how much time that took.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "blame-over-time", 24, 14}, {"visualization", "blamed-over-time", 24, 14}, {"visualization", "culprits", 48, 16}, {"visualization", "blamed-routes", 24, 16},
			{"visualization", "blamed-servers", 24, 16}, {"search", "blamed", 48, 24}}},
		{"search", "Search", "Exchanges one by one: a click on a value makes a filter of it.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "outcomes", 48, 10}, {"visualization", "hosts", 12, 14}, {"visualization", "routes", 12, 14}, {"visualization", "methods", 8, 14}, {"visualization", "clients", 8, 14},
			{"visualization", "taps", 8, 14}, {"search", "all", 48, 26}}},
		{"response-times", "Response times", "How long responses take, by route, and where the time goes.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "percentiles", 24, 14}, {"visualization", "waits", 24, 14}, {"visualization", "heat-map", 24, 14}, {"visualization", "within", 24, 14},
			{"visualization", "route-percentiles", 24, 18}, {"visualization", "routes-within", 24, 18}, {"visualization", "time-parts", 48, 14}}},
		{"errors", "Errors", "Statuses 4xx and 5xx, and exchanges without an answer: where, and for whom.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "errors", 16, 9}, {"visualization", "errors-by-class", 32, 9}, {"visualization", "statuses", 24, 14}, {"visualization", "routes-with-errors", 24, 14},
			{"visualization", "services-with-errors", 16, 16}, {"visualization", "clients-with-errors", 16, 16}, {"visualization", "incomplete", 16, 16}, {"search", "failed", 48, 22}}},
		{"content-types", "Content types", "What is sent, and how large it is.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "types-over-time", 24, 14}, {"visualization", "bytes", 24, 14}, {"visualization", "types", 24, 18}, {"visualization", "type-sizes", 24, 18},
			{"visualization", "request-types", 24, 14}}},
		{"slow-requests", "Slow requests", "Exchanges that took a second or more.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "slow", 48, 12}, {"visualization", "slow-routes", 24, 16}, {"visualization", "slow-services", 12, 16}, {"visualization", "slow-clients", 12, 16}, {"search", "slowest", 48, 24}}},
		{"clients-map", "Clients map", "Where clients are, and what they are. Places need --geoip.", []place{
			{"visualization", "dashboards", 48, 4},
			{p.mapType, "map", 32, 24}, {"visualization", "countries", 16, 24}, {"visualization", "cities", 16, 16}, {"visualization", "networks", 16, 16}, {"visualization", "devices", 16, 16},
			{"visualization", "user-agents", 48, 16}}},
		{"databases", "Databases", "What databases and caches are asked: how often, how long it takes, what fails.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "db-totals", 48, 7}, {"visualization", "db-by-system", 24, 13}, {"visualization", "db-time", 24, 13}, {"visualization", "db-templates", 48, 18},
			{"visualization", "db-slow", 24, 16}, {"visualization", "db-rows", 24, 16}, {"visualization", "db-errors", 48, 14}, {"search", "statements", 48, 22}}},
		{"names", "DNS", "Questions for names: what was answered, and how long it took.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "dns-codes", 32, 14}, {"visualization", "dns-types", 16, 14}, {"visualization", "dns-names", 48, 20}}},
		{"connections", "Connections", "What the network does: connects, losses, round trips, and how connections end.", []place{
			{"visualization", "dashboards", 48, 4},
			{"visualization", "connections", 24, 13}, {"visualization", "connect-times", 24, 13}, {"visualization", "servers", 24, 16}, {"visualization", "round-trips", 24, 16},
			{"visualization", "closed", 16, 16}, {"visualization", "syns", 16, 16}, {"visualization", "anomalies", 16, 16}, {"search", "broken", 48, 20}}},
	}
}

// links are the text with links to all dashboards.
func links() string {
	out := ""
	for i, d := range dashboards(product{}) {
		if i > 0 {
			out += " · "
		}
		out += "[" + d.title + "](#/view/culprit-" + d.id + ")"
	}
	return out
}
