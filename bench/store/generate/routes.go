package generate

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// idKind is the form of the ids in a route.
type idKind uint8

const (
	number idKind = iota
	uuid
	hex
)

// kind says what a service serves.
type kind uint8

const (
	api kind = iota
	pages
	assets
)

// services are all services. Resources are "name:id:sub": a collection, the form of its ids, and what an item has
// below it.
var services = []struct {
	name      string
	host      string
	port      uint16
	kind      kind
	software  string
	prefix    string
	resources string
}{
	{"storefront", "www.shop.example", 80, pages, "nginx/1.26.1", "", "products:number:reviews categories:number:products blog:number:comments stores:number:hours account:uuid:orders"},
	{"assets", "static.shop.example", 80, assets, "nginx/1.26.1", "", "js:hex:js css:hex:css img:hex:webp fonts:hex:woff2 media:hex:jpg"},
	{"checkout", "api.shop.example", 8080, api, "envoy", "/api/v2", "carts:uuid:items orders:number:lines payments:uuid:refunds shipments:number:events vouchers:hex:uses"},
	{"catalog", "api.shop.example", 8081, api, "envoy", "/api/v2", "products:number:variants brands:number:products collections:number:products attributes:number:values media:uuid:renditions"},
	{"search", "search.shop.example", 9000, api, "gunicorn", "/v1", "queries:uuid:results suggestions:hex:clicks facets:number:values synonyms:number:terms indexes:number:stats"},
	{"users", "api.shop.example", 8082, api, "envoy", "/api/v2", "users:uuid:sessions profiles:uuid:avatar addresses:number:history devices:hex:tokens consents:number:changes"},
	{"inventory", "inventory.svc.example", 8080, api, "Jetty(11.0.20)", "/v1", "stock:number:movements warehouses:number:bins reservations:uuid:lines suppliers:number:offers counts:number:differences"},
	{"pricing", "pricing.svc.example", 8080, api, "Kestrel", "/v1", "prices:number:history rules:number:conditions discounts:hex:uses currencies:number:rates taxes:number:zones"},
	{"recommendations", "reco.svc.example", 8000, api, "uvicorn", "/v3", "items:number:similar visitors:uuid:picks models:hex:scores campaigns:number:slots feeds:number:entries"},
	{"notifications", "notify.svc.example", 8080, api, "envoy", "/v1", "messages:uuid:deliveries templates:number:versions subscriptions:uuid:topics channels:number:members digests:number:entries"},
	{"auth", "login.shop.example", 8080, api, "nginx/1.24.0", "/oauth2", "clients:uuid:grants keys:hex:rotations sessions:uuid:events challenges:hex:attempts policies:number:rules"},
	{"billing", "billing.svc.example", 8080, api, "Jetty(11.0.20)", "/v1", "invoices:number:lines accounts:uuid:balances transactions:uuid:entries plans:number:prices dunning:number:steps"},
	{"analytics", "collect.shop.example", 80, api, "Caddy", "/t", "events:uuid:properties visits:uuid:pages goals:number:hits funnels:number:steps beacons:hex:ack"},
	{"media", "media.shop.example", 8080, api, "Apache/2.4.59 (Debian)", "/m", "images:hex:crops videos:uuid:segments uploads:uuid:parts albums:number:images thumbnails:hex:sizes"},
	{"reviews", "api.shop.example", 8083, api, "Werkzeug/3.0.3 Python/3.12.3", "/api/v2", "reviews:number:votes questions:number:answers ratings:number:histogram reports:uuid:notes authors:uuid:badges"},
	{"shipping", "shipping.svc.example", 8080, api, "Kestrel", "/v1", "parcels:hex:events carriers:number:rates labels:uuid:pages pickups:number:slots zones:number:postcodes"},
	{"support", "help.shop.example", 80, pages, "Apache/2.4.59 (Debian)", "/help", "articles:number:votes topics:number:articles tickets:uuid:messages guides:number:steps status:number:updates"},
	{"partners", "partners.shop.example", 8443, api, "Kong/3.6.1", "/p/v1", "offers:uuid:clicks feeds:number:items payouts:number:lines merchants:uuid:catalogs integrations:hex:attempts"},
	{"flags", "flags.svc.example", 8080, api, "", "/v1", "flags:number:variants segments:number:rules environments:hex:flags experiments:uuid:results overrides:number:targets"},
	{"admin", "admin.shop.example", 8080, pages, "Microsoft-IIS/10.0", "/admin", "dashboards:number:widgets audits:uuid:entries exports:hex:rows roles:number:members jobs:number:runs"},
}

// server is one service and the address at which it answers.
type server struct {
	name, host, software string
	index                int
	kind                 kind
	addr                 packet.Addr
	port                 uint16
	domain               string
	// slow is how much slower than others it is.
	slow float64
	// weight is its share of all exchanges, workers are its local processes, when it runs on the capturing host.
	weight  float64
	workers []*exchange.Process
	rtt     float64
	// slots are its connections in Generator.connections: from slots[0] to slots[1].
	slots [2]int
}

// route is a kind of request.
type route struct {
	server *server
	// text is the template; parts are what stands between its ids.
	text  string
	parts []string
	ids   idKind
	// space is how many different ids there are.
	space float64
	// seed makes its ids, etags and dates.
	seed uint64

	methods   []string
	method    alias
	mime      string
	size      logNormal
	duration  logNormal
	cache     string
	query     bool // on its collections
	validates bool // it sends etags
	compress  bool
	// upTo are the shares of the classes 2xx, 3xx and 4xx, added up; what is left is 5xx.
	upTo [3]float64
}

const (
	// localShare is about the share of exchanges whose server is a process of the capturing host.
	localShare = 0.3
	// redirected, refused and failed are the shares of 3xx, 4xx and 5xx.
	redirected, refused, failed = 0.05, 0.04, 0.01
)

func newServers(r *rand.Rand) []*server {
	servers := make([]*server, len(services))
	for i, s := range services {
		servers[i] = &server{name: s.name, host: s.host, software: s.software, index: i, kind: s.kind, port: s.port,
			addr: packet4(10, 20, byte(i), 1), domain: s.name + "-1.dc1.example", slow: logNormal{1, 0.5}.draw(r), rtt: logNormal{180_000, 0.3}.draw(r)}
	}
	return servers
}

// newRoutes makes three routes of each resource, and says how often each is asked for.
func newRoutes(r *rand.Rand, servers []*server) ([]route, alias) {
	var routes []route
	for i, s := range services {
		for resource := range strings.FieldsSeq(s.resources) {
			f := strings.Split(resource, ":")
			name, sub := f[0], f[2]
			ids := map[string]idKind{"number": number, "uuid": uuid, "hex": hex}[f[1]]
			collection := s.prefix + "/" + name
			shapes := [3]string{collection, collection + "/{id}", collection + "/{id}/" + sub}
			if s.kind == assets {
				shapes = [3]string{"/" + name + "/{id}." + sub, "/" + name + "/vendor/{id}." + sub, "/" + name + "/legacy/{id}." + sub}
			}
			for k, text := range shapes {
				routes = append(routes, newRoute(r, servers[i], text, ids, k))
			}
		}
	}
	weights := zipf(len(routes), 1)
	r.Shuffle(len(routes), func(i, k int) { routes[i], routes[k] = routes[k], routes[i] })
	share(weights)
	outcomes(r, routes, weights)
	for i := range routes {
		routes[i].server.weight += weights[i]
	}
	runLocally(r, servers)
	return routes, newAlias(weights)
}

func newRoute(r *rand.Rand, s *server, text string, ids idKind, shape int) route {
	t := route{server: s, text: text, parts: strings.Split(text, "{id}"), ids: ids, seed: r.Uint64(),
		space:    math.Exp(6 + 7*r.Float64()), // 400 to 440,000
		duration: logNormal{logNormal{15e6, 0.9}.draw(r) * s.slow, 0.7}}
	switch s.kind {
	case assets:
		t.space = 300
		t.methods, t.method = []string{http.MethodGet}, newAlias([]float64{1})
		t.mime = map[string]string{"js": "text/javascript", "css": "text/css", "webp": "image/webp", "woff2": "font/woff2", "jpg": "image/jpeg"}[text[strings.LastIndexByte(text, '.')+1:]]
		t.size, t.duration.median = logNormal{18_000, 1.1}, t.duration.median/20
		t.cache, t.validates = "public, max-age=31536000, immutable", true
		t.compress = strings.HasPrefix(t.mime, "text/")
	case pages:
		t.methods, t.method = []string{http.MethodGet, http.MethodPost, http.MethodHead}, newAlias([]float64{94, 5, 1})
		t.mime, t.size, t.cache, t.compress = "text/html; charset=utf-8", logNormal{14_000, 0.8}, "private, no-cache", true
		t.query = shape == 0
	default:
		t.mime, t.size, t.cache = "application/json", logNormal{logNormal{1500, 0.8}.draw(r), 0.9}, "no-store"
		t.compress = r.IntN(3) == 0
		t.validates = r.IntN(3) > 0
		t.query = shape != 1
		if t.validates {
			t.cache = "private, max-age=0, must-revalidate"
		}
		switch shape {
		case 0:
			t.methods, t.method = []string{http.MethodGet, http.MethodPost, http.MethodOptions}, newAlias([]float64{70, 28, 2})
		case 1:
			t.methods, t.method = []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead}, newAlias([]float64{82, 7, 6, 4, 1})
		default:
			t.methods, t.method = []string{http.MethodGet, http.MethodPost}, newAlias([]float64{80, 20})
		}
	}
	return t
}

// share makes weights add up to 1.
func share(weights []float64) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for i := range weights {
		weights[i] /= sum
	}
}

// outcomes gives each route shares of statuses of its own, so that those of all are as wanted.
func outcomes(r *rand.Rand, routes []route, weights []float64) {
	for class, want := range [3]float64{redirected, refused, failed} {
		shares := make([]float64, len(routes))
		mean := 0.0
		for i := range routes {
			shares[i] = logNormal{1, 0.8}.draw(r)
			if class == 0 && !routes[i].validates && routes[i].server.kind != pages {
				shares[i] *= 0.1 // nothing to be unchanged, nowhere to be sent
			}
			mean += shares[i] * weights[i]
		}
		for i := range routes {
			routes[i].upTo[class] = min(shares[i]/mean*want, 0.3)
		}
	}
	for i := range routes {
		u := &routes[i].upTo
		s3, s4, s5 := u[0], u[1], u[2]
		u[0], u[1], u[2] = 1-s3-s4-s5, 1-s4-s5, 1-s5
	}
}

// runLocally gives some servers processes on the capturing host: some containers, some systemd units.
func runLocally(r *rand.Rand, servers []*server) {
	sum := 0.0
	for _, i := range r.Perm(len(servers)) {
		s := servers[i]
		if sum+s.weight > localShare*1.2 {
			continue
		}
		sum += s.weight
		container := make([]byte, 0, 64)
		for range 4 {
			container = appendHex(container, r.Uint64(), 16)
		}
		pod := appendUUID(nil, r.Uint64(), r.Uint64())
		for range 4 {
			p := &exchange.Process{PID: 1000 + r.IntN(60_000), Name: s.name, Executable: "/srv/" + s.name + "/bin/" + s.name, User: s.name, Listening: true,
				Args: []string{"/srv/" + s.name + "/bin/" + s.name, "--config", "/etc/" + s.name + "/config.yaml", "--port", strconv.Itoa(int(s.port))}}
			if i%2 == 0 {
				p.ContainerID, p.PodUID = string(container), string(pod)
			} else {
				p.Unit = s.name + ".service"
			}
			s.workers = append(s.workers, p)
		}
	}
}

// appendPath appends the path of a request for some id of the route, which it returns. Small ids are the most
// frequent.
func (t *route) appendPath(dst []byte, r *rand.Rand) (path []byte, id uint64) {
	u := r.Float64()
	id = uint64(t.space*u*u*u) + 1
	for i, part := range t.parts {
		if i > 0 {
			switch n := mix(t.seed + id); t.ids {
			case number:
				dst = strconv.AppendUint(dst, 10_000+id*37, 10)
			case uuid:
				dst = appendUUID(dst, n, mix(n))
			case hex:
				dst = appendHex(dst, n, 12)
			}
		}
		dst = append(dst, part...)
	}
	return dst, id
}
