package exchange

// Family says what kind of protocol an exchange was spoken in: which fields it has, and how it is shown.
type Family uint8

// The families.
const (
	// HTTP is HTTP in any version and in other clothes, and what it turns into.
	HTTP Family = iota
	// Database is a database or a cache: statements and commands.
	Database
	// Names is DNS and what is like it: questions for names.
	Names
	// Secure is TLS of which nothing was read.
	Secure
	// Other protocols are recognised, if that, and not taken apart: there are records of their flows.
	Other
)

// families are those of the protocols with a parser.
var families = map[string]Family{
	"http": HTTP, "http2": HTTP, "websocket": HTTP, "fastcgi": HTTP, "uwsgi": HTTP,
	"mysql": Database, "postgresql": Database, "redis": Database, "memcached": Database, "mongodb": Database,
	"dns": Names, "mdns": Names, "llmnr": Names,
	"tls": Secure,
}

// FamilyOf returns the family of a protocol, by its name.
func FamilyOf(protocol string) Family {
	if f, ok := families[protocol]; ok {
		return f
	}
	return Other
}
