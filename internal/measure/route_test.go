package measure

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func route(t testing.TB, r *Routes, path string) string {
	t.Helper()
	return string(r.Append(nil, []byte(path)))
}

func newRoutes(t testing.TB, rules ...string) *Routes {
	t.Helper()
	r, err := NewRoutes(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var routeCases = []struct{ path, want string }{
	// The shape of a path.
	{"", ""},
	{"*", "*"},
	{"/", "/"},
	{"//", "/"},
	{"/users", "/users"},
	{"/users/", "/users"},
	{"//users///x//", "/users/x"},
	{"/users?id=5", "/users"},
	{"/users#top", "/users%23top"},
	{"users/7", "/users/{id}"},
	{"/a/../b/./c", "/a/../b/./c"},
	{"/cart;jsessionid=8F3A/items;a=1;b=2", "/cart/items"},
	{"/;x=1/", "/"},

	// Numbers.
	{"/users/7", "/users/{id}"},
	{"/users/7/posts/12345678901234567890123", "/users/{id}/posts/{id}"},
	{"/order-7", "/order-{id}"},
	{"/PROJ-1234/comments", "/PROJ-{id}/comments"},
	{"/Users(5)/Posts", "/Users({id})/Posts"},
	{"/map/48.8566,2.3522", "/map/{id}"},
	{"/ids/1,2,3", "/ids/{id}"},
	{"/hosts/10.0.0.7", "/hosts/{id}"},
	{"/-5", "/-{id}"},
	{"/user1234", "/user{id}"},
	{"/user1234-5678", "/user{id}"},
	{"/2024summary", "/{id}"},
	{"/a1b2345", "/a{id}"},
	{"/abcdefabcdefabcd1234x", "/{id}"},
	{"/page2", "/page2"},
	{"/s3/mp4/oauth2/sha256", "/s3/mp4/oauth2/sha256"},

	// Versions.
	{"/api/v1/users", "/api/v1/users"},
	{"/v2.1/x", "/v2.1/x"},
	{"/apis/apps/v1beta1", "/apis/apps/v1beta1"},
	{"/V2", "/V2"},
	{"/v20240101", "/v{id}"},
	{"/releases/1.2.3", "/releases/{id}"},

	// Ids.
	{"/o/550e8400-e29b-41d4-a716-446655440000", "/o/{id}"},
	{"/o/550E8400-E29B-41D4-A716-446655440000.json", "/o/{id}.json"},
	{"/o/urn:uuid:550e8400-e29b-41d4-a716-446655440000", "/o/urn:uuid:{id}"},
	{"/o/507f1f77bcf86cd799439011", "/o/{id}"},
	{"/c/3f2a9c81", "/c/{id}"},
	{"/c/deadbeef", "/c/deadbeef"},
	{"/c/deadbeefdeadbeef", "/c/{id}"},
	{"/c/facade", "/c/facade"},
	{"/c/0x52908400098527886E0F7030069857D2E4169EE7", "/c/{id}"},
	{"/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/u/{id}"},
	{"/u/cjld2cjxh0000qzrmn831i7rn", "/u/{id}"},
	{"/u/abc1def2ghi3", "/u/{id}"},
	{"/u/abc1defg2ghi", "/u/abc1defg2ghi"},
	{"/watch/dQw4w9WgXcQ", "/watch/{id}"},
	{"/n/V1StGXR8_Z5jdHi6B-myT", "/n/{id}"},
	{"/v1/customers/cus_NffrFeUfNV2Hib", "/v1/customers/cus_{id}"},
	{"/k/" + strings.Repeat("ab", 20) + "1z", "/k/{id}"},
	{"/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U", "/t/{id}"},
	{"/t/\xe2\x80\xa6[redacted 15 #4f2a]/x", "/t/{id}/x"},

	// Names.
	{"/pkg.Service/GetUserByIdV2AndName", "/pkg.Service/GetUserByIdV2AndName"},
	{"/docs/JavaScript2020Guide", "/docs/JavaScript{id}"},
	{"/i18nGetText", "/i18nGetText"},
	{"/blog/my-first-post", "/blog/my-first-post"},
	{"/internationalization", "/internationalization"},
	{"/SHIPPING2DAY", "/SHIPPING2DAY"},
	{"/@types/node", "/@types/node"},

	// Dates.
	{"/logs/2024-05-06", "/logs/{date}"},
	{"/logs/2024-05", "/logs/{date}"},
	{"/logs/2024-05-06T10:42:07Z", "/logs/{date}"},
	{"/logs/2024-05-06T10%3a42%3a07.123%2B02%3A00", "/logs/{date}"},
	{"/logs/2024/05/06", "/logs/{id}/{id}/{id}"},
	{"/logs/2024-17-06", "/logs/{id}"},
	{"/logs/2024-05-06-backup", "/logs/{id}-backup"},

	// Mailboxes.
	{"/users/alice@shop.example", "/users/{email}"},
	{"/users/a.b+c%40shop.example/x", "/users/{email}/x"},
	{"/users/alice@home", "/users/alice@home"},

	// Files.
	{"/img/123.png", "/img/{id}.png"},
	{"/static/app.3f2a9c81.js", "/static/app.{id}.js"},
	{"/static/jquery-3.6.0.min.js", "/static/jquery-{id}.min.js"},

	// Percent-encoding.
	{"/caf%c3%a9", "/caf%C3%A9"},
	{"/caf\xc3\xa9", "/caf%C3%A9"},
	{"/%75sers/%37", "/users/{id}"},
	{"/a%2fb/100%", "/a%2Fb/{id}%25"},
	{"/%4%31", "/%25{id}"},
	{"/a b\x1b[2J\"<x>", "/a%20b%1B%5B2J%22%3Cx%3E"},
	{"/x%", "/x%25"},
	{"/a%3ab:c", "/a%3Ab:c"},

	// Placeholders stay what they are.
	{"/users/{id}/{name}", "/users/{id}/{name}"},

	// Limits.
	{"/" + strings.Repeat("x", MaxRouteSegment), "/" + strings.Repeat("x", MaxRouteSegment)},
	{"/" + strings.Repeat("x", MaxRouteSegment+1), "/{id}"},
	{"/" + strings.Repeat("-x", 5000), "/{id}"},
	{strings.Repeat("/a", MaxRouteSegments), strings.Repeat("/a", MaxRouteSegments)},
	{strings.Repeat("/a", MaxRouteSegments+1), strings.Repeat("/a", MaxRouteSegments) + "/*"},
	{strings.Repeat("/a", 10000), strings.Repeat("/a", MaxRouteSegments) + "/*"},
}

func TestRoutes(t *testing.T) {
	r := newRoutes(t)
	for _, c := range routeCases {
		if got := route(t, r, c.path); got != c.want {
			t.Errorf("%.100q: got %q, want %q", c.path, got, c.want)
		}
		if again := route(t, r, c.want); again != c.want {
			t.Errorf("the route of %q is %q", c.want, again)
		}
	}
}

func TestRouteRules(t *testing.T) {
	r := newRoutes(t, "/api/users/{id}/posts/{post}", "/api/users/me", "/shop/{name}", "/shop/special",
		"/static/*", "/img/{name}.png", "/thumb-{size}", "/v1/{year}-report/x", "/caf%C3%A9/{x}", "/", "/shop/{name}")
	for _, c := range []struct{ path, want string }{
		{"/api/users/alice/posts/hello", "/api/users/{id}/posts/{post}"},
		{"/api/users/alice/posts/hello/", "/api/users/{id}/posts/{post}"},
		{"/api//users/alice;x=1/posts/hello?a=b", "/api/users/{id}/posts/{post}"},
		{"/api/users/alice/posts", "/api/users/alice/posts"},
		{"/api/users/alice/posts/a/b", "/api/users/alice/posts/a/b"},
		{"/api/users/me", "/api/users/me"},
		{"/shop/special", "/shop/special"}, // its own route, though another rule comes first
		{"/shop/other", "/shop/{name}"},
		{"/%73hop/%2f", "/shop/{name}"},
		{"/static", "/static"},
		{"/static/", "/static"},
		{"/static/a", "/static/*"},
		{"/static/a/b/7", "/static/*"},
		{"/static" + strings.Repeat("/a", 100), "/static/*"},
		{"/img/cat.png", "/img/{name}.png"},
		{"/img/.png", "/img/.png"},
		{"/img/cat.jpg", "/img/cat.jpg"},
		{"/thumb-big", "/thumb-{size}"},
		{"/v1/last-report/x", "/v1/{year}-report/x"},
		{"/caf%c3%a9/7", "/caf%C3%A9/{x}"},
		{"/caf\xc3\xa9/7", "/caf%C3%A9/{x}"},
		{"//", "/"},
		{"/else/7", "/else/{id}"},
		{"/shop/" + strings.Repeat("\xff", 2000), "/shop/{name}"},
	} {
		if got := route(t, r, c.path); got != c.want {
			t.Errorf("%.100q: got %q, want %q", c.path, got, c.want)
		}
	}
}

func TestRouteRuleErrors(t *testing.T) {
	for _, c := range []struct{ rule, says string }{
		{"", "must begin with /"},
		{"users/{id}", "must begin with /"},
		{"/users?x=1", "without parameters"},
		{"/users;x", "without parameters"},
		{"/a//b", "empty segment"},
		{"/a/", "empty segment"},
		{"/a/*/b", "only be the last"},
		{"/a*", "only be the last"},
		{"/{a}{b}", "one {name}"},
		{"/{a", "one {name}"},
		{"/a}", "one {name}"},
		{"/}{", "one {name}"},
		{"/{}", "one {name}"},
		{"/{{a}}", "one {name}"},
		{"/{a b}", "letters, digits"},
		{"/caf\xc3\xa9", "/caf%C3%A9"[1:]},
		{"/a%2fb", "a%2Fb"},
		{"/a b", "a%20b"},
		{"/" + strings.Repeat("x", MaxRouteSegment+1), "too long"},
		{"/" + strings.Repeat("x", 4000), "segment"},
		{strings.Repeat("/a", MaxRouteSegments+1), "too long"},
	} {
		_, err := NewRoutes([]string{"/ok", c.rule})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.rule)) {
			t.Errorf("%.60q: got %v, want an error that says %q", c.rule, err, c.says)
		}
	}
	if _, err := NewRoutes(make([]string, MaxRouteRules+1)); err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Errorf("too many rules: %v", err)
	}
	if _, err := NewRoutes([]string{strings.Repeat("/a", MaxRouteSegments) + "/*"}); err != nil {
		t.Error(err)
	}
}

// Hexadecimal ids are variable in either case, whatever digits they happen to have.
func TestRouteHex(t *testing.T) {
	r := newRoutes(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, 4+rnd.IntN(30))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		text := hex.EncodeToString(b)
		if len(b) < 8 && !strings.ContainsAny(text, "0123456789") {
			continue // may be a word
		}
		for _, s := range []string{text, strings.ToUpper(text)} {
			if got := route(t, r, "/x/"+s); got != "/x/{id}" {
				t.Fatalf("%s: %s", s, got)
			}
		}
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	for _, r := range []*Routes{newRoutes(t), newRoutes(t, "/api/{x}", "/static/*")} {
		buf := make([]byte, 0, MaxRoute)
		for _, c := range routeCases {
			path := []byte(c.path)
			if n := testing.AllocsPerRun(10, func() { r.Append(buf, path) }); n != 0 {
				t.Errorf("%.60q: %v allocations", c.path, n)
			}
		}
	}
}

// checkRoute holds what is true of every route: it is printable and short, its own route, the same however the path is
// written, and appended to what is there.
func checkRoute(t *testing.T, r *Routes, path []byte) {
	t.Helper()
	before := bytes.Clone(path)
	got := string(r.Append([]byte("x"), path))[1:]
	if !bytes.Equal(before, path) {
		t.Fatalf("%q was changed", before)
	}
	if len(got) > MaxRoute {
		t.Fatalf("%q: %d bytes: %q", path, len(got), got)
	}
	if got != "" && got != "*" && got[0] != '/' || !utf8.ValidString(got) {
		t.Fatalf("%q: %q", path, got)
	}
	for _, c := range []byte(got) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '\\' {
			t.Fatalf("%q: %q has %q", path, got, c)
		}
	}
	if again := string(r.Append(nil, []byte(got))); again != got {
		t.Fatalf("%q: the route of %q is %q", path, got, again)
	}
	if i := bytes.IndexByte(path, '?'); i < 0 && len(path) > 1 {
		if other := string(r.Append(nil, append(bytes.Clone(path), "//;a=b/?x=1"...))); other != got {
			t.Fatalf("%q: %q, with more slashes and parameters %q", path, got, other)
		}
	}
}

func TestRouteProperties(t *testing.T) {
	plain, ruled := newRoutes(t), fuzzRules(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"/", "/", "/", "a", "users", "7", "123", "-", ".", "_", "%", "%2f", "%41", "%4", "{id}", "{", "}", "@", "x.example", ";", "=", "(", ")", "*", " ", "\xff", "…",
		"550e8400-e29b-41d4-a716-446655440000", "3f2a9c81", "dQw4w9WgXcQ", "2024-05-06", "T10:00", "v1", "Aa", "static", "img", ".png", "[redacted 5]", strings.Repeat("q", 60)}
	for range 100_000 {
		var b []byte
		for range 1 + rnd.IntN(25) {
			b = append(b, pieces[rnd.IntN(len(pieces))]...)
		}
		checkRoute(t, plain, b)
		checkRoute(t, ruled, b)
	}
}

func fuzzRules(t testing.TB) *Routes {
	return newRoutes(t, "/static/{file}", "/static/*", "/img/{name}.png", "/a-{x}", "/{x}/users/{y}", "/{x}-a/*", strings.Repeat("/a", MaxRouteSegments)+"/*")
}

// Whatever the path is: the route is printable and short, and its own route.
func FuzzRoute(f *testing.F) {
	for _, c := range routeCases {
		f.Add([]byte(c.path))
	}
	plain, ruled := newRoutes(f), fuzzRules(f)
	f.Fuzz(func(t *testing.T, path []byte) {
		checkRoute(t, plain, path)
		checkRoute(t, ruled, path)
	})
}

// Whatever a rule says: it is refused, or its text is its own route.
func FuzzRouteRule(f *testing.F) {
	for _, s := range []string{"/", "/a/{b}", "/a/*", "/{a}.png", "/a//", "/%41", "/{}", "*"} {
		f.Add(s, "/a/b")
	}
	f.Fuzz(func(t *testing.T, rule, path string) {
		r, err := NewRoutes([]string{rule})
		if err != nil {
			return
		}
		if got := route(t, r, rule); got != rule {
			t.Fatalf("%q: %q", rule, got)
		}
		checkRoute(t, r, []byte(path))
	})
}

func BenchmarkRoute(b *testing.B) {
	many := make([]string, 0, 100)
	for i := range 100 {
		many = append(many, fmt.Sprintf("/api/v%d/things/{id}", i))
	}
	for _, c := range []struct {
		name string
		r    *Routes
	}{{"none", newRoutes(b)}, {"rules=100", newRoutes(b, many...)}} {
		for _, path := range []string{"/api/v1/users/12345/orders", "/static/js/app.3f2a9c81.js", "/o/550e8400-e29b-41d4-a716-446655440000/caf%c3%a9"} {
			b.Run(c.name+path, func(b *testing.B) {
				b.ReportAllocs()
				buf := make([]byte, 0, MaxRoute)
				p := []byte(path)
				for b.Loop() {
					c.r.Append(buf, p)
				}
			})
		}
	}
}

// What docs/enrichment.md says of paths is so.
func TestRouteDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/enrichment.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoutes(t)
	paths := regexp.MustCompile("`(/[^`]*)`")
	checked := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		from, to := paths.FindAllStringSubmatch(cells[2], -1), paths.FindAllStringSubmatch(cells[3], -1)
		if len(from) != len(to) {
			continue // no pair of paths
		}
		for i := range from {
			checked++
			if got := route(t, r, from[i][1]); got != to[i][1] {
				t.Errorf("%s: the document says %s, it is %s", from[i][1], to[i][1], got)
			}
		}
	}
	if checked < 12 {
		t.Errorf("only %d found", checked)
	}
}
