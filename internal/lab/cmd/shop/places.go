//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// place is where a network of the documentation ranges is said to be. None of it is true.
type place struct {
	network, country, region, city string
}

var madeUpPlaces = []place{
	{"203.0.113.0/26", "DE", "Berlin", "Berlin"},
	{"203.0.113.64/27", "DE", "Bavaria", "Munich"},
	{"203.0.113.96/27", "FR", "Île-de-France", "Paris"},
	{"203.0.113.128/27", "GB", "England", "London"},
	{"203.0.113.160/28", "NL", "North Holland", "Amsterdam"},
	{"203.0.113.176/28", "ES", "Madrid", "Madrid"},
	{"203.0.113.192/28", "IT", "Lombardy", "Milan"},
	{"203.0.113.208/28", "PL", "Masovia", "Warsaw"},
	{"203.0.113.224/28", "SE", "Stockholm", "Stockholm"},
	{"203.0.113.240/28", "DE", "Hamburg", "Hamburg"},
	{"2001:db8:e::/56", "DE", "Hesse", "Frankfurt am Main"},
	{"198.51.100.0/26", "US", "New York", "New York"},
	{"198.51.100.64/27", "US", "California", "San Francisco"},
	{"198.51.100.96/28", "CA", "Ontario", "Toronto"},
	{"198.51.100.112/28", "BR", "São Paulo", "São Paulo"},
	{"2001:db8:a::/48", "US", "Illinois", "Chicago"},
	{"198.51.100.128/26", "IN", "Maharashtra", "Mumbai"},
	{"198.51.100.192/27", "JP", "Tokyo", "Tokyo"},
	{"198.51.100.224/28", "AU", "New South Wales", "Sydney"},
	{"198.51.100.240/28", "SG", "", "Singapore"},
	{"2001:db8:5::/48", "JP", "Osaka", "Osaka"},
	{"192.0.2.0/26", "DE", "Berlin", "Berlin"},
	{"192.0.2.64/27", "FR", "Brittany", "Rennes"},
	{"192.0.2.96/27", "PL", "Lesser Poland", "Kraków"},
	{"2001:db8:40::/48", "FR", "Occitania", "Toulouse"},
	{"192.0.2.128/26", "US", "Virginia", "Ashburn"},
	{"192.0.2.192/26", "NL", "North Holland", "Amsterdam"},
	{"2001:db8:40f::/48", "US", "Virginia", "Ashburn"},
}

// places returns an MMDB file of the made-up places, the same each time.
func places() ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Made-up-City-ASN", Description: map[string]string{"en": "Made-up places of addresses for documentation"}, Languages: []string{"en"},
		IPVersion: 6, RecordSize: 24, IncludeReservedNetworks: true, BuildEpoch: begin.Unix(),
	})
	if err != nil {
		return nil, err
	}
	all := regions()
	for _, p := range madeUpPlaces {
		_, network, err := net.ParseCIDR(p.network)
		if err != nil {
			return nil, err
		}
		record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(p.country)}, "city": inEnglish(p.city)}
		if p.region != "" {
			record["subdivisions"] = mmdbtype.Slice{inEnglish(p.region)}
		}
		r := regionOf(all, network)
		if r == nil {
			return nil, fmt.Errorf("%s is in no region", p.network)
		}
		record["autonomous_system_number"] = mmdbtype.Uint32(r.asNumber)
		record["autonomous_system_organization"] = mmdbtype.String(r.asOrganization)
		if err := tree.Insert(network, record); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	_, err = tree.WriteTo(&b)
	return b.Bytes(), err
}

func inEnglish(name string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}}
}

// regionOf returns the region that has addresses of a network.
func regionOf(all []*region, network *net.IPNet) *region {
	for _, r := range all {
		if network.Contains(r.v6[0].AsSlice()) || r.v4.Contains(addr(network.IP)) {
			return r
		}
	}
	return nil
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
