package generate

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// country is where clients are. Cities are "city/region", the first with the most clients.
type country struct {
	code, name string
	weight     float64
	// rtt is the median round trip to its clients, in milliseconds.
	rtt      float64
	language string
	cities   string
}

var countries = []country{
	{"US", "America", 24, 95, "en-US,en;q=0.9", "New York/New York,Los Angeles/California,Chicago/Illinois,Dallas/Texas,Ashburn/Virginia"},
	{"DE", "Germany", 11, 14, "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "Berlin/Land Berlin,Frankfurt am Main/Hesse,Munich/Bavaria"},
	{"GB", "Britain", 8, 22, "en-GB,en-US;q=0.9,en;q=0.8", "London/England,Manchester/England,Edinburgh/Scotland"},
	{"FR", "France", 7, 18, "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7", "Paris/Île-de-France,Lyon/Auvergne-Rhône-Alpes"},
	{"IN", "India", 6, 160, "en-IN,en-GB;q=0.9,en-US;q=0.8,en;q=0.7,hi;q=0.6", "Mumbai/Maharashtra,Bengaluru/Karnataka,Delhi/Delhi"},
	{"BR", "Brazil", 5, 210, "pt-BR,pt;q=0.9,en-US;q=0.8,en;q=0.7", "São Paulo/São Paulo,Rio de Janeiro/Rio de Janeiro"},
	{"JP", "Japan", 4, 235, "ja,en-US;q=0.9,en;q=0.8", "Tokyo/Tokyo,Osaka/Osaka"},
	{"CA", "Canada", 4, 105, "en-CA,en;q=0.9,fr-CA;q=0.8", "Toronto/Ontario,Montreal/Quebec"},
	{"IT", "Italy", 4, 26, "it-IT,it;q=0.9,en-US;q=0.8,en;q=0.7", "Milan/Lombardy,Rome/Lazio"},
	{"ES", "Spain", 4, 34, "es-ES,es;q=0.9,en;q=0.8", "Madrid/Madrid,Barcelona/Catalonia"},
	{"NL", "Netherlands", 4, 10, "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7", "Amsterdam/North Holland,Rotterdam/South Holland"},
	{"PL", "Poland", 3, 28, "pl-PL,pl;q=0.9,en-US;q=0.8,en;q=0.7", "Warsaw/Mazovia,Kraków/Lesser Poland"},
	{"AU", "Australia", 3, 280, "en-AU,en;q=0.9", "Sydney/New South Wales,Melbourne/Victoria"},
	{"MX", "Mexico", 3, 140, "es-MX,es;q=0.9,en;q=0.8", "Mexico City/Mexico City,Monterrey/Nuevo León"},
	{"KR", "Korea", 2.5, 250, "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "Seoul/Seoul,Busan/Busan"},
	{"SE", "Sweden", 2, 30, "sv-SE,sv;q=0.9,en-US;q=0.8,en;q=0.7", "Stockholm/Stockholm,Gothenburg/Västra Götaland"},
	{"CH", "Switzerland", 2, 16, "de-CH,de;q=0.9,fr-CH;q=0.8,en;q=0.7", "Zurich/Zurich,Geneva/Geneva"},
	{"AT", "Austria", 2, 19, "de-AT,de;q=0.9,en;q=0.8", "Vienna/Vienna,Graz/Styria"},
	{"BE", "Belgium", 2, 13, "nl-BE,nl;q=0.9,fr-BE;q=0.8,en;q=0.7", "Brussels/Brussels Capital,Antwerp/Flanders"},
	{"TR", "Turkey", 2, 55, "tr-TR,tr;q=0.9,en-US;q=0.8,en;q=0.7", "Istanbul/Istanbul,Ankara/Ankara"},
	{"ID", "Indonesia", 2, 205, "id-ID,id;q=0.9,en-US;q=0.8,en;q=0.7", "Jakarta/Jakarta,Surabaya/East Java"},
	{"CN", "China", 2, 240, "zh-CN,zh;q=0.9,en;q=0.8", "Shanghai/Shanghai,Beijing/Beijing,Shenzhen/Guangdong"},
	{"SG", "Singapore", 1.5, 170, "en-SG,en;q=0.9,zh-CN;q=0.8", "Singapore/Singapore"},
	{"IE", "Ireland", 1.5, 26, "en-IE,en;q=0.9", "Dublin/Leinster"},
	{"DK", "Denmark", 1.2, 22, "da-DK,da;q=0.9,en-US;q=0.8,en;q=0.7", "Copenhagen/Capital Region"},
	{"NO", "Norway", 1.2, 34, "nb-NO,nb;q=0.9,en-US;q=0.8,en;q=0.7", "Oslo/Oslo"},
	{"FI", "Finland", 1.1, 36, "fi-FI,fi;q=0.9,en-US;q=0.8,en;q=0.7", "Helsinki/Uusimaa"},
	{"PT", "Portugal", 1.1, 40, "pt-PT,pt;q=0.9,en;q=0.8", "Lisbon/Lisbon,Porto/Porto"},
	{"CZ", "Czechia", 1.1, 20, "cs-CZ,cs;q=0.9,en;q=0.8", "Prague/Prague,Brno/South Moravia"},
	{"RO", "Romania", 1, 38, "ro-RO,ro;q=0.9,en-US;q=0.8,en;q=0.7", "Bucharest/Bucharest,Cluj-Napoca/Cluj"},
	{"GR", "Greece", 0.9, 46, "el-GR,el;q=0.9,en;q=0.8", "Athens/Attica"},
	{"HU", "Hungary", 0.9, 26, "hu-HU,hu;q=0.9,en-US;q=0.8,en;q=0.7", "Budapest/Budapest"},
	{"UA", "Ukraine", 0.9, 44, "uk-UA,uk;q=0.9,en-US;q=0.8,en;q=0.7", "Kyiv/Kyiv City,Lviv/Lviv"},
	{"ZA", "South Africa", 0.9, 175, "en-ZA,en;q=0.9", "Johannesburg/Gauteng,Cape Town/Western Cape"},
	{"AR", "Argentina", 0.9, 230, "es-AR,es;q=0.9,en;q=0.8", "Buenos Aires/Buenos Aires F.D."},
	{"CL", "Chile", 0.7, 225, "es-CL,es;q=0.9,en;q=0.8", "Santiago/Santiago Metropolitan"},
	{"CO", "Colombia", 0.8, 165, "es-CO,es;q=0.9,en;q=0.8", "Bogotá/Bogota D.C.,Medellín/Antioquia"},
	{"PE", "Peru", 0.5, 190, "es-PE,es;q=0.9,en;q=0.8", "Lima/Lima"},
	{"VN", "Vietnam", 0.9, 215, "vi-VN,vi;q=0.9,en-US;q=0.8,en;q=0.7", "Ho Chi Minh City/Ho Chi Minh,Hanoi/Hanoi"},
	{"TH", "Thailand", 0.8, 200, "th-TH,th;q=0.9,en;q=0.8", "Bangkok/Bangkok"},
	{"PH", "Philippines", 0.8, 210, "en-PH,en-US;q=0.9,en;q=0.8,fil;q=0.7", "Quezon City/Metro Manila,Cebu City/Central Visayas"},
	{"MY", "Malaysia", 0.7, 185, "en-MY,en;q=0.9,ms;q=0.8", "Kuala Lumpur/Kuala Lumpur"},
	{"TW", "Taiwan", 0.7, 245, "zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7", "Taipei/Taipei City"},
	{"HK", "Hong Kong", 0.7, 200, "zh-HK,zh;q=0.9,en;q=0.8", "Hong Kong/Kowloon"},
	{"NZ", "New Zealand", 0.5, 285, "en-NZ,en;q=0.9", "Auckland/Auckland"},
	{"IL", "Israel", 0.7, 58, "he-IL,he;q=0.9,en-US;q=0.8,en;q=0.7", "Tel Aviv/Tel Aviv"},
	{"AE", "Emirates", 0.6, 110, "en-AE,en;q=0.9,ar;q=0.8", "Dubai/Dubai"},
	{"SA", "Saudi Arabia", 0.6, 105, "ar-SA,ar;q=0.9,en;q=0.8", "Riyadh/Riyadh Region"},
	{"EG", "Egypt", 0.6, 62, "ar-EG,ar;q=0.9,en;q=0.8", "Cairo/Cairo"},
	{"NG", "Nigeria", 0.5, 115, "en-NG,en;q=0.9", "Lagos/Lagos"},
	{"KE", "Kenya", 0.4, 150, "en-KE,en;q=0.9,sw;q=0.8", "Nairobi/Nairobi"},
	{"MA", "Morocco", 0.4, 50, "fr-MA,fr;q=0.9,ar;q=0.8", "Casablanca/Casablanca-Settat"},
	{"PK", "Pakistan", 0.5, 140, "en-PK,en;q=0.9,ur;q=0.8", "Karachi/Sindh,Lahore/Punjab"},
	{"BD", "Bangladesh", 0.4, 185, "bn-BD,bn;q=0.9,en;q=0.8", "Dhaka/Dhaka"},
	{"BG", "Bulgaria", 0.5, 36, "bg-BG,bg;q=0.9,en;q=0.8", "Sofia/Sofia-Capital"},
	{"RS", "Serbia", 0.4, 32, "sr-RS,sr;q=0.9,en;q=0.8", "Belgrade/Central Serbia"},
	{"HR", "Croatia", 0.4, 28, "hr-HR,hr;q=0.9,en;q=0.8", "Zagreb/City of Zagreb"},
	{"SK", "Slovakia", 0.4, 24, "sk-SK,sk;q=0.9,cs;q=0.8,en;q=0.7", "Bratislava/Bratislava"},
	{"LT", "Lithuania", 0.3, 36, "lt-LT,lt;q=0.9,en;q=0.8", "Vilnius/Vilnius"},
	{"EE", "Estonia", 0.3, 38, "et-EE,et;q=0.9,en;q=0.8", "Tallinn/Harju"},
}

// networks are the names of a country's access networks, the largest first; their numbers are made up.
var networks = []string{"% Telecom", "% Mobile AG", "% Cable Communications", "Vodanet %", "Fibernet % Ltd", "% Broadband Services", "University Network of %"}

// hosters are where programs and crawlers are, with the countries of their data centres.
var hosters = []struct {
	number    uint32
	name      string
	countries string
}{
	{16509, "AMAZON-02", "US DE IE SG JP"}, {14618, "AMAZON-AES", "US"}, {15169, "GOOGLE", "US BE NL"},
	{396982, "GOOGLE-CLOUD-PLATFORM", "US BE DE SG"}, {8075, "MICROSOFT-CORP-MSN-AS-BLOCK", "US NL IE"}, {24940, "Hetzner Online GmbH", "DE FI"},
	{16276, "OVH SAS", "FR CA PL"}, {14061, "DIGITALOCEAN-ASN", "US NL DE SG"}, {13335, "CLOUDFLARENET", "US GB"},
	{20940, "Akamai International B.V.", "US NL"}, {63949, "Akamai Connected Cloud", "US GB"}, {45102, "Alibaba US Technology Co., Ltd.", "CN SG"},
	{132203, "Tencent Building, Kejizhongyi Avenue", "CN HK"}, {31898, "ORACLE-BMC-31898", "US DE"}, {32934, "FACEBOOK", "US IE"},
	{13238, "YANDEX LLC", "FI"}, {12876, "SCALEWAY S.A.S.", "FR NL"}, {51167, "Contabo GmbH", "DE"}, {60781, "LeaseWeb Netherlands B.V.", "NL"},
	{20473, "AS-VULTR", "US JP AU"},
}

// client is one address that asks, and what is behind it.
type client struct {
	addr    packet.Addr
	place   *exchange.Place
	service string // of internal ones
	domain  string
	agent   *agent
	// language is the value of accept-language; seed makes its cookies and credentials.
	language string
	seed     uint64
	// rtt is the median round trip to it, in nanoseconds.
	rtt float64
	// forwarded is the address that a proxy in front of it tells, when not zero.
	forwarded packet.Addr
}

// internalShare is the share of clients that are services of the same network.
const internalShare = 0.004

// asn is one autonomous system with its places and addresses.
type asn struct {
	places  []*exchange.Place
	country *country
	block   uint32
}

func newClients(r *rand.Rand, n int, agents []agent, services []*server) []client {
	access := make([][]asn, len(countries))
	var clouds []asn
	weights := make([]float64, len(countries))
	byCode := map[string]*country{}
	block := uint32(0)
	add := func(list *[]asn, c *country, number uint32, organization string) {
		a := asn{country: c, block: block}
		block += 4
		for city := range strings.SplitSeq(c.cities, ",") {
			name, region, _ := strings.Cut(city, "/")
			a.places = append(a.places, &exchange.Place{Country: c.code, Region: region, City: name, ASNumber: number, ASOrganization: organization})
		}
		*list = append(*list, a)
	}
	for i := range countries {
		c := &countries[i]
		byCode[c.code], weights[i] = c, c.weight
		for k, name := range networks {
			add(&access[i], c, uint32(200_000+i*64+k*7+r.IntN(7)), strings.ReplaceAll(name, "%", c.name))
		}
	}
	for _, h := range hosters {
		for code := range strings.FieldsSeq(h.countries) {
			add(&clouds, byCode[code], h.number, h.name)
		}
	}
	where, network := newAlias(weights), newAlias(zipf(len(networks), 0.9))
	cities := make([]alias, 6)
	for i := 1; i < len(cities); i++ {
		cities[i] = newAlias(zipf(i, 0.7))
	}
	of := newAlias(zipf(len(agents), 1))
	var libraries []*agent
	for i := range agents {
		if agents[i].style == library {
			libraries = append(libraries, &agents[i])
		}
	}
	proxies := make([]packet.Addr, 64)
	for i := range proxies {
		proxies[i] = address4(uint32(i), uint32(r.Uint32()))
	}

	clients := make([]client, n)
	taken := make(map[packet.Addr]bool, n)
	for i := range clients {
		c := &clients[i]
		c.seed = r.Uint64()
		if r.Float64() < internalShare {
			s := services[r.IntN(len(services))]
			c.agent, c.service, c.rtt, c.language = libraries[s.index%len(libraries)], s.name, 2e5, "*"
			for c.addr == (packet.Addr{}) || taken[c.addr] {
				c.addr = packet4(10, 20, byte(s.index), byte(2+r.IntN(250)))
			}
			taken[c.addr] = true
			continue
		}
		c.agent = &agents[of.draw(r)]
		var a *asn
		if c.agent.style == library || c.agent.style == crawler {
			a = &clouds[r.IntN(len(clouds))]
		} else {
			a = &access[where.draw(r)][network.draw(r)]
		}
		c.place = a.places[cities[len(a.places)].draw(r)]
		c.language = a.country.language
		c.rtt = logNormal{a.country.rtt * 1e6, 0.25}.draw(r)
		for c.addr == (packet.Addr{}) || taken[c.addr] {
			if a.block%3 > 0 && r.IntN(4) == 0 {
				binary.BigEndian.PutUint64(c.addr[:], 0x2a02<<48|uint64(a.block)<<32|uint64(r.Uint32()))
				binary.BigEndian.PutUint64(c.addr[8:], r.Uint64())
			} else {
				c.addr = address4(a.block+uint32(r.IntN(4)), r.Uint32())
			}
		}
		taken[c.addr] = true
		switch r.IntN(20) {
		case 0, 1, 2, 3, 4, 5: // a carrier's or a company's proxy, which tells for whom it asks
			c.forwarded = address4(a.block, r.Uint32())
		case 6:
			c.forwarded = proxies[r.IntN(len(proxies))]
		case 7:
			c.domain = "host-" + strings.ReplaceAll(c.addr.String(), ":", "-") + ".dyn.example.net"
		}
	}
	return clients
}

// address4 returns an address of one of the /16 networks that aren't reserved.
func address4(network, host uint32) packet.Addr {
	first := network * 167 % (180 * 256) // 167 is prime, so that networks don't stand in a row
	a, b := byte(first>>8)+20, byte(first)
	if a >= 127 {
		a++
	}
	if a == 172 || a == 192 || a == 169 || a == 198 {
		a = 2 + a%7
	}
	return packet4(a, b, byte(host>>8), byte(host))
}

func packet4(a, b, c, d byte) packet.Addr {
	return packet.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}
