package web

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The file has the routes that there are, with their parameters and ways of access.
func TestOpenAPIRoutes(t *testing.T) {
	doc := description(t)
	all := map[string]route{}
	for _, r := range routes() {
		all[strings.TrimSuffix(r.path, "{$}")] = r
	}
	for path, item := range doc.Paths.Map() {
		r, ok := all[path]
		if !ok {
			t.Errorf("%s isn't handled", path)
			continue
		}
		delete(all, path)
		if len(item.Operations()) != 1 || item.Get == nil {
			t.Errorf("%s has more than GET", path)
			continue
		}
		var params []string
		for _, p := range item.Get.Parameters {
			switch p.Value.In {
			case "query":
				params = append(params, p.Value.Name)
			case "path":
				if !strings.Contains(path, "{"+p.Value.Name+"}") {
					t.Errorf("%s has no %s", path, p.Value.Name)
				}
			}
		}
		slices.Sort(params)
		if want := slices.Sorted(slices.Values(r.params)); !slices.Equal(params, want) {
			t.Errorf("%s: the file has the parameters %v, the handler %v", path, params, want)
		}
		security := doc.Security
		if item.Get.Security != nil {
			security = *item.Get.Security
		}
		inQuery := slices.ContainsFunc(security, func(s openapi3.SecurityRequirement) bool { _, ok := s["query"]; return ok })
		if (len(security) == 0) != (r.access == public) || inQuery != (r.access == linked || r.access == page) {
			t.Errorf("%s: the file says %v", path, security)
		}
	}
	for path := range all {
		t.Errorf("%s isn't in the file", path)
	}
}

// What the handlers answer is what the file says: the status, the media type and the JSON.
func TestOpenAPIResponses(t *testing.T) {
	doc := description(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *Options) { o.Packets, o.Reveal = packets{"pcapng"}, true })
	hidden := serve(t, func(o *Options) { o.Packets = packets{"pcapng"} })
	id := dig(ask(t, s, "/api/exchanges?limit=1"), "exchanges", 0, "event", "id").(string)
	pageID := dig(ask(t, s, "/api/pages?limit=1"), "pages", 0, "id").(string)
	const scope = "where=status+%3E+100&text=a&from=-1h&to=now"
	covered := map[string]bool{}
	check := func(s *Server, r *http.Request, status int) {
		t.Helper()
		w := do(s, r)
		if w.Code != status {
			t.Errorf("%s: %d: %s", r.URL, w.Code, w.Body)
			return
		}
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s: %v", r.URL, err)
			return
		}
		covered[route.Path] = covered[route.Path] || status == 200
		options := &openapi3filter.Options{
			IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			// Only JSON has more to it than its media type.
			ExcludeResponseBody: !strings.Contains(w.Header().Get("Content-Type"), "json") || strings.Contains(w.Header().Get("Content-Type"), "ndjson"),
		}
		input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
		if status == 200 {
			if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
				t.Errorf("%s: the request isn't one of the file: %v", r.URL, err)
			}
		}
		response := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: w.Code, Header: w.Header(), Body: io.NopCloser(w.Body), Options: options,
		}
		if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
			t.Errorf("%s: %v", r.URL, err)
		}
		response2 := route.Operation.Responses.Status(w.Code)
		if response2 == nil {
			response2 = route.Operation.Responses.Default()
		}
		mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		if response2.Value.Content != nil && response2.Value.Content[mediaType] == nil {
			t.Errorf("%s: the file has no %s", r.URL, mediaType)
		}
	}
	for _, target := range []string{
		"/", "/search?x=1", "/exchange/1", "/assets/app-1.css", "/assets/land-2.json", "/healthz", "/api/openapi.yaml", "/api/status", "/api/fields", "/api/filter?where=status+==+200", "/api/filter?where=nope", "/api/filter",
		"/api/exchanges", "/api/exchanges?" + scope + "&fields=status,path&sort=duration&ascending=true&limit=3", "/api/exchanges?format=ndjson",
		"/api/exchanges.ndjson?limit=1000000", "/api/exchanges.har?" + scope, "/api/exchanges/" + id, "/api/exchanges/" + id + "/bodies", "/api/exchanges/" + id + "/packets?connection=true",
		"/api/trace/4bf92f3577b34da6a3ce929d0e0e4736?limit=2&fields=status", "/api/histogram?" + scope + "&group=class(status)&metric=p50(duration),rate&limit=1", "/api/histogram?interval=1m",
		"/api/heatmap?" + scope + "&buckets=10", "/api/aggregate?" + scope + "&interval=5m&group=route,status&metric=p99(duration),distinct(client)&sort=count&limit=3",
		"/api/aggregate?where=status+==+1&metric=min(duration)", "/api/terms?field=route&metric=errors&sort=errors", "/api/terms?field=culprit.stream",
		"/api/differences?selection=status==503", "/api/differences?" + scope + "&selection=duration%3E1s&fields=route,magnitude(size)&limit=1",
		"/api/pages", "/api/pages?" + scope + "&confidence=0.4&limit=2", "/api/pages/" + pageID,
		"/api/host?last=1h&interval=5m", "/api/cardinality?field=client&last=1h", "/api/complete?field=status&prefix=2&limit=1",
		"/api/statements", "/api/statements?" + scope + "&by=qname&sort=p99&limit=2", "/api/statements?by=table", "/api/repeats", "/api/repeats?" + scope + "&least=2&confidence=0.5&limit=2",
		"/api/traces/" + id, "/api/routes", "/api/routes?" + scope + "&limit=2",
		"/api/inflight", "/api/inflight?where=has(status)&limit=1&fields=status",
	} {
		check(s, request(target), 200)
	}
	covered["/api/live"] = true // TestLive
	shopping := orderedShop(t)
	for _, target := range []string{"/api/statements?limit=2", "/api/statements?by=qname", "/api/statements?by=verb&sort=rows_max", "/api/repeats", "/api/repeats?least=2", "/api/differences?selection=duration%3E1ms"} {
		check(shopping, request(target), 200)
	}
	chain := chained(3)
	linked := serve(t, func(o *Options) { o.Store = storeOf(t, chain) })
	for _, target := range []string{"/api/traces/" + string(idText(chain[4].ID(chain[4].Tap.Observer))), "/api/routes"} {
		check(linked, request(target), 200)
	}
	check(s, request("/?token="+testToken), 303)
	check(s, request("/search/x?token="+testToken), 303)
	check(s, request("/api/status", "Authorization: "), 401)
	check(s, request("/api/status", "Origin: null"), 403)
	check(s, request("/api/exchanges?where=stauts", ""), 400)
	check(s, request("/api/exchanges/00000000000000000000000000"), 404)
	check(hidden, request("/api/exchanges/"+id+"/packets"), 403)
	empty := serve(t, func(o *Options) { o.Store, o.Capture, o.Process, o.InFlight = storeOf(t, nil), nil, nil, nil })
	for _, target := range []string{"/api/status", "/api/exchanges", "/api/histogram", "/api/heatmap", "/api/terms?field=path", "/api/cardinality?field=path", "/api/aggregate", "/api/differences?selection=has(status)", "/api/pages", "/api/routes"} {
		check(empty, request(target), 200)
	}
	for path := range doc.Paths.Map() {
		if !covered[path] {
			t.Errorf("%s wasn't tried", path)
		}
	}
}
