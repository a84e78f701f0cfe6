package enrich

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/culprit-http/culprit/internal/exchange"
)

// mmdb makes an MMDB file of networks and their records.
func mmdb(t testing.TB, version int, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", IPVersion: version, RecordSize: 24, IncludeReservedNetworks: true, BuildEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	for network, r := range records {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, r); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return write(t, b.Bytes())
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func named(name string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{"de": mmdbtype.String("auf deutsch"), "en": mmdbtype.String(name)}, "geoname_id": mmdbtype.Uint32(7)}
}

func country(code string) mmdbtype.Map {
	return mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("its name")}}
}

// The schemas that files have.
func nestedCity(t testing.TB) string {
	return mmdb(t, 6, map[string]mmdbtype.Map{
		"192.0.2.0/24": {"country": country("DE"), "subdivisions": mmdbtype.Slice{named("Bavaria"), named("Upper Bavaria")}, "city": named("Munich"), "location": mmdbtype.Map{"latitude": mmdbtype.Float64(48.15), "longitude": mmdbtype.Float64(-11)}},
		// A record that knows the country only.
		"198.51.100.0/24": {"country": country("FR"), "registered_country": country("US")},
		"2001:db8::/32":   {"country": country("JP")},
		"10.1.0.0/16":     {"country": country("AT"), "city": named("Office")},
	})
}

func nestedASN(t testing.TB) string {
	return mmdb(t, 6, map[string]mmdbtype.Map{
		"192.0.0.0/16": {"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example Transit")},
	})
}

func TestPlaces(t *testing.T) {
	city, asn := nestedCity(t), nestedASN(t)
	flatCity := mmdb(t, 4, map[string]mmdbtype.Map{
		"192.0.2.0/24":    {"country_code": mmdbtype.String("de"), "state1": mmdbtype.String("Berlin"), "city": mmdbtype.String("Spandau"), "latitude": mmdbtype.Float32(52.5), "longitude": mmdbtype.Float32(200)},
		"198.51.100.0/24": {"country_code": mmdbtype.String("BE"), "state1": mmdbtype.String("Flanders"), "city": mmdbtype.String("Ghent"), "latitude": mmdbtype.Float32(51.25), "longitude": mmdbtype.Float32(3.5)},
		"203.0.113.0/24":  {"country_code": mmdbtype.String("ZZZ"), "city": mmdbtype.String("")},
	})
	flatASN := mmdb(t, 6, map[string]mmdbtype.Map{
		"192.0.2.0/24":   {"autonomous_system_number": mmdbtype.Uint32(64501), "autonomous_system_organization": mmdbtype.String("Flat")},
		"203.0.113.0/24": {"autonomous_system_number": mmdbtype.String("64502"), "autonomous_system_organization": mmdbtype.String("Who\x1b[2J")},
	})
	traits := mmdb(t, 6, map[string]mmdbtype.Map{
		"192.0.2.0/24": {"country": country("IT"), "traits": mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64503), "autonomous_system_organization": mmdbtype.String("ISP")}},
	})
	textual := mmdb(t, 6, map[string]mmdbtype.Map{
		"192.0.2.0/24":   {"asn": mmdbtype.String("AS64504"), "as_name": mmdbtype.String("Text"), "country": mmdbtype.String("Spain"), "country_code": mmdbtype.String("ES")},
		"203.0.113.0/24": {"asn": mmdbtype.String("ASx"), "country": mmdbtype.String("PT"), "region": mmdbtype.String("Porto")},
	})
	munich := exchange.Place{Country: "DE", Region: "Bavaria", City: "Munich", Location: "48.15,-11"}
	both := munich
	both.ASNumber, both.ASOrganization = 64500, "Example Transit"
	for _, c := range []struct {
		name  string
		files []string
		addr  string
		want  *exchange.Place
	}{
		{"nested city", []string{city}, "192.0.2.7", &munich},
		{"nested country", []string{city}, "198.51.100.7", &exchange.Place{Country: "FR"}},
		{"nested IPv6", []string{city}, "2001:db8::7", &exchange.Place{Country: "JP"}},
		{"a file of one's own networks", []string{city}, "10.1.2.3", &exchange.Place{Country: "AT", City: "Office"}},
		{"nested ASN", []string{asn}, "192.0.2.7", &exchange.Place{ASNumber: 64500, ASOrganization: "Example Transit"}},
		{"city and ASN", []string{city, asn}, "192.0.2.7", &both},
		{"ASN and city", []string{asn, city}, "192.0.2.7", &both},
		{"one of two", []string{city, asn}, "198.51.100.7", &exchange.Place{Country: "FR"}},
		{"none", []string{city, asn}, "203.0.113.7", nil},
		{"loopback", []string{city}, "127.0.0.1", nil},
		{"flat city", []string{flatCity}, "192.0.2.7", &exchange.Place{Country: "DE", Region: "Berlin", City: "Spandau"}},
		{"flat ASN", []string{flatASN}, "192.0.2.7", &exchange.Place{ASNumber: 64501, ASOrganization: "Flat"}},
		{"IPv6 in a file of IPv4", []string{flatCity}, "2001:db8::7", nil},
		{"what is no country", []string{flatCity}, "203.0.113.7", nil},
		{"a number as text", []string{flatASN}, "203.0.113.7", &exchange.Place{ASOrganization: "Who[2J"}},
		{"traits", []string{traits}, "192.0.2.7", &exchange.Place{Country: "IT", ASNumber: 64503, ASOrganization: "ISP"}},
		{"AS as text", []string{textual}, "192.0.2.7", &exchange.Place{Country: "ES", ASNumber: 64504, ASOrganization: "Text"}},
		{"country as text", []string{textual}, "203.0.113.7", &exchange.Place{Country: "PT", Region: "Porto"}},
		// Of the location, the file that knows more; then the first.
		{"the more detailed", []string{city, flatCity}, "198.51.100.7", &exchange.Place{Country: "BE", Region: "Flanders", City: "Ghent", Location: "51.25,3.5"}},
		{"the first", []string{flatCity, city}, "192.0.2.7", &exchange.Place{Country: "DE", Region: "Berlin", City: "Spandau"}},
		{"the first AS", []string{traits, asn}, "192.0.2.7", &exchange.Place{Country: "IT", ASNumber: 64503, ASOrganization: "ISP"}},
	} {
		g, err := openGeoIP(c.files)
		if err != nil {
			t.Fatal(c.name, err)
		}
		var n counts
		got := g.place(netip.MustParseAddr(c.addr), &n)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if n.geoIPErrors.Load() != 0 {
			t.Errorf("%s: %d errors", c.name, n.geoIPErrors.Load())
		}
		if again := g.place(netip.MustParseAddr(c.addr), &n); again != got {
			t.Errorf("%s: the same place is another", c.name)
		}
		g.close()
	}
}

// A file that can't be used is refused when it is opened, in words.
func TestBadGeoIPFiles(t *testing.T) {
	good, err := os.ReadFile(nestedCity(t))
	if err != nil {
		t.Fatal(err)
	}
	overwritten := bytes.Clone(good)
	data := bytes.Index(good, []byte("iso_code"))
	for i := range 100 {
		overwritten[data+i] = 0xff
	}
	for _, c := range []struct{ name, path, says string }{
		{"missing", filepath.Join(t.TempDir(), "no.mmdb"), "no such file"},
		{"folder", t.TempDir(), "regular file"},
		{"empty", write(t, nil), "empty"},
		{"text", write(t, []byte("<html>404</html>")), "no MMDB file"},
		{"cut", write(t, good[:len(good)/2]), "no MMDB file"},
		{"overwritten", write(t, overwritten), "damaged, download it again"},
	} {
		_, err := New(Options{GeoIP: []string{c.path}})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Count(err.Error(), c.path) > 1 {
			t.Errorf("%s: names the file twice: %v", c.name, err)
		}
	}
	if _, err := New(Options{GeoIP: make([]string, MaxGeoIPFiles+1)}); err == nil || !strings.Contains(err.Error(), "at most 8") {
		t.Error(err)
	}
}

// Whatever is wrong in a file: it is refused, or look-ups give something or nothing.
func TestDamagedGeoIP(t *testing.T) {
	good, err := os.ReadFile(nestedCity(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(5, 6))
	opened := 0
	for i := range 300 {
		b := bytes.Clone(good)
		for range 1 + rnd.IntN(3) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
		path := filepath.Join(dir, "x.mmdb")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := openGeoIP([]string{path})
		if err != nil {
			continue
		}
		opened++
		var n counts
		for _, a := range []string{"192.0.2.7", "198.51.100.7", "2001:db8::7", "8.8.8.8", "::1:2"} {
			if p := g.place(netip.MustParseAddr(a), &n); p != nil && len(p.City) > maxText {
				t.Fatalf("%d: %+v", i, p)
			}
		}
		g.close()
	}
	if opened == 0 {
		t.Error("no file was opened: nothing was tested")
	}
}
