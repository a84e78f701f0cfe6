package enrich

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// MaxGeoIPFiles is how many GeoIP files may be given, MaxGeoIPSize how large one may be, in bytes.
	MaxGeoIPFiles = 8
	MaxGeoIPSize  = 1 << 30
	// MaxPlaces is how many places are remembered, at least half of it: one takes up to 500 bytes, usually 200.
	MaxPlaces = 16384
)

// geoIP is a set of GeoIP files, in the order in which they were given.
type geoIP struct {
	files []geoFile
	// places are the places by their records, which many addresses share.
	places recent[records, *exchange.Place]
}

type geoFile struct {
	reader *maxminddb.Reader
	free   func()
}

// records are where the files have what they know of an address; 0 where they know nothing.
type records [MaxGeoIPFiles]uintptr

// openGeoIP reads GeoIP files.
func openGeoIP(names []string) (*geoIP, error) {
	if len(names) > MaxGeoIPFiles {
		return nil, fmt.Errorf("%d GeoIP files, at most %d are possible", len(names), MaxGeoIPFiles)
	}
	g := &geoIP{places: newRecent[records, *exchange.Place](MaxPlaces / 2)}
	for _, name := range names {
		f, err := openGeoFile(name)
		if err != nil {
			g.close()
			return nil, fmt.Errorf("GeoIP file %s: %w", name, err)
		}
		g.files = append(g.files, f)
	}
	return g, nil
}

func openGeoFile(name string) (geoFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return geoFile{}, errors.Unwrap(err) // the caller names the file
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return geoFile{}, err
	case !info.Mode().IsRegular():
		return geoFile{}, errors.New("it isn't a regular file")
	case info.Size() == 0:
		return geoFile{}, errors.New("it is empty: download it again")
	case info.Size() > MaxGeoIPSize:
		return geoFile{}, fmt.Errorf("it has %d bytes, at most %d are read", info.Size(), MaxGeoIPSize)
	}
	b, free, err := readFile(f, int(info.Size()))
	if err != nil {
		return geoFile{}, fmt.Errorf("can't be read: %w", err)
	}
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		free()
		return geoFile{}, fmt.Errorf("it is damaged, or no MMDB file (.mmdb, unpacked): %w", err)
	}
	if err := check(r); err != nil {
		free()
		return geoFile{}, fmt.Errorf("it is damaged, download it again: %w", err)
	}
	return geoFile{r, free}, nil
}

// check looks for damage in all corners of a file: at the first address of each /16 of IPv4, and of each /16 and
// some more of the part of IPv6 that is in use. The reader could verify all of it, but takes seconds for a large file, and
// refuses the free ones for their metadata. Damage that isn't found here fails the look-up that meets it.
func check(r *maxminddb.Reader) error {
	var c counts
	seen := map[uintptr]bool{}
	try := func(a netip.Addr) error {
		found := r.Lookup(a)
		if err := found.Err(); err != nil {
			return err
		}
		if !found.Found() || seen[found.Offset()] {
			return nil
		}
		seen[found.Offset()] = true
		merge(new(exchange.Place), found, &c)
		if c.geoIPErrors.Load() > 0 {
			return fmt.Errorf("the record of %s can't be read", a)
		}
		return nil
	}
	for i := range 1 << 16 {
		if err := try(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i)})); err != nil {
			return err
		}
	}
	if r.Metadata.IPVersion != 6 {
		return nil
	}
	for i := range 1 << 13 {
		for _, a := range [...][16]byte{{0x20 | byte(i>>8), byte(i)}, {0x20, 0x01, byte(i >> 5), byte(i << 3)}} {
			if err := try(netip.AddrFrom16(a)); err != nil {
				return err
			}
		}
	}
	return nil
}

// close gives the memory of the files back. Places that were told stay.
func (g *geoIP) close() {
	for _, f := range g.files {
		f.free()
	}
	g.files = nil
}

// place returns where an address is, nil if no file knows.
func (g *geoIP) place(addr netip.Addr, c *counts) *exchange.Place {
	if len(g.files) == 0 || addr.IsLoopback() || addr.IsUnspecified() {
		return nil
	}
	var key records
	found := false
	for i, f := range g.files {
		if r := f.reader.Lookup(addr); r.Found() {
			// An offset may be 0.
			key[i] = r.Offset() + 1
			found = true
		} else if r.Err() != nil && !(addr.Is6() && f.reader.Metadata.IPVersion == 4) {
			c.geoIPErrors.Add(1)
		}
	}
	if !found {
		return nil
	}
	if p, ok := g.places.get(key); ok {
		return p
	}
	p := new(exchange.Place)
	for i, f := range g.files {
		if key[i] != 0 {
			merge(p, f.reader.LookupOffset(key[i]-1), c)
		}
	}
	if *p == (exchange.Place{}) {
		p = nil
	}
	g.places.put(key, p)
	return p
}

// Where records have what is wanted: as MaxMind has it, as the flat files of DB-IP and others, and as IPinfo. The
// first that is there counts.
var (
	countryPaths = [...][]any{{"country", "iso_code"}, {"country_code"}, {"country"}}
	regionPaths  = [...][]any{{"subdivisions", 0, "names", "en"}, {"state1"}, {"region"}}
	cityPaths    = [...][]any{{"city", "names", "en"}, {"city"}}
	latitudes    = [...][]any{{"location", "latitude"}, {"latitude"}}
	longitudes   = [...][]any{{"location", "longitude"}, {"longitude"}}
	numberPaths  = [...][]any{{"autonomous_system_number"}, {"traits", "autonomous_system_number"}}
	nameNumber   = []any{"asn"} // as text: AS64500
	orgPaths     = [...][]any{{"autonomous_system_organization"}, {"traits", "autonomous_system_organization"}, {"as_name"}}
)

// merge adds to a place what a record knows. The three parts of a location come from one file, or they would
// contradict each other: from the one that knows more of them, or else the first. So do the two of the system.
func merge(p *exchange.Place, r maxminddb.Result, c *counts) {
	q := exchange.Place{Region: first(r, regionPaths[:], c), City: first(r, cityPaths[:], c)}
	if q.Country = strings.ToUpper(first(r, countryPaths[:], c)); !isCountry(q.Country) {
		q.Country = ""
	}
	if known(&q) > known(p) {
		p.Country, p.Region, p.City, p.Location = q.Country, q.Region, q.City, location(r, c)
	}
	if p.ASNumber != 0 {
		return
	}
	for _, path := range numberPaths {
		if number(r, path, &p.ASNumber, c); p.ASNumber != 0 {
			break
		}
	}
	if p.ASNumber == 0 {
		if s, ok := strings.CutPrefix(first(r, [][]any{nameNumber}, c), "AS"); ok {
			n, _ := strconv.ParseUint(s, 10, 32) // 0, if it is no number
			p.ASNumber = uint32(n)
		}
	}
	if org := first(r, orgPaths[:], c); org != "" && (p.ASNumber != 0 || p.ASOrganization == "") {
		p.ASOrganization = org
	}
}

// known returns how much is known of a location.
func known(p *exchange.Place) (n int) {
	for _, s := range [...]string{p.Country, p.Region, p.City} {
		if s != "" {
			n++
		}
	}
	return n
}

// location returns "latitude,longitude", empty unless both are there and make sense.
func location(r maxminddb.Result, c *counts) string {
	degrees := func(paths [][]any, most float64) string {
		for _, path := range paths {
			at := math.NaN()
			if c.decoded(r.DecodePath(&at, path...)); math.Abs(at) <= most { // NaN isn't
				return strconv.FormatFloat(at, 'f', -1, 64)
			}
		}
		return ""
	}
	latitude, longitude := degrees(latitudes[:], 90), degrees(longitudes[:], 180)
	if latitude == "" || longitude == "" {
		return ""
	}
	return latitude + "," + longitude
}

func isCountry(s string) bool {
	return len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z'
}

// first returns the first text that is there. Other types at its place belong to another schema.
func first(r maxminddb.Result, paths [][]any, c *counts) string {
	for _, path := range paths {
		var s string
		c.decoded(r.DecodePath(&s, path...))
		if s = clean(s); s != "" {
			return s
		}
	}
	return ""
}

func number(r maxminddb.Result, path []any, n *uint32, c *counts) {
	c.decoded(r.DecodePath(n, path...))
}

// decoded counts an error that isn't another schema's.
func (c *counts) decoded(err error) {
	var invalid maxminddb.InvalidDatabaseError
	if errors.As(err, &invalid) {
		c.geoIPErrors.Add(1)
	}
}
