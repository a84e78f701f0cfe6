package synth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Services returns the scenarios of what applications wait for: databases, caches, name servers. Their Truth counts commands,
// statements and questions, and logins too.
func Services() []Scenario {
	return []Scenario{
		{"redis", "SET and GET in pipelines of 16, on 32 connections", Redis},
		{"mysql", "text queries with 3 rows of 3 columns, on 32 connections", MySQL},
		{"postgres", "a prepared statement, Bind to Sync, with 3 rows of 3 columns, on 32 connections", PostgreSQL},
		{"dns", "A questions with one answer, from 1,000 ports", LookupsOnFewPorts},
		{"dns-ports", "A questions with one answer, each from a port of its own", LookupsOnManyPorts},
	}
}

// clients is how many connections an application has to its database.
const clients = 32

// clientsOf opens connections to a database. Each says hello, and then makes what ask adds until the capture has its size.
func (s *scenario) clientsOf(server string, hello, ask func(c *Conn)) {
	to := netip.MustParseAddrPort(server)
	for i := range clients {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 95, 1, byte(2 + i%4)}), uint16(41000+i))
		c := s.dial(s.between(0, 10*time.Millisecond), from, to, lan())
		if hello != nil {
			hello(c)
		}
		closing := false
		c.Next = func(c *Conn) {
			switch {
			case s.Written() < s.size:
				ask(c)
			case !closing:
				closing = true
				c.Close(Client)
				c.RecvEnd(Server)
				c.Close(Server)
			}
		}
	}
}

// said has the client send something and the server answer it, and counts that as n exchanges.
func (s *scenario) said(c *Conn, n int, request, response []byte) {
	s.truth.Exchanges += n
	c.Exchange(request, s.between(30*time.Microsecond, 200*time.Microsecond), response)
	c.Call(Client, func() { s.truth.Answered += n })
}

// Redis makes pipelines of SET and GET in RESP2.
func Redis(w io.Writer, size int64, o Options) (Truth, error) {
	const pipeline, keys = 16, 10_000
	s := newScenario(w, size, o)
	values := make([][]byte, 64)
	for i := range values {
		values[i] = s.text(20 + s.rand.IntN(80))
	}
	bulk := func(b, value []byte) []byte { return fmt.Appendf(b, "$%d\r\n%s\r\n", len(value), value) }
	s.clientsOf("10.95.0.1:6379", nil, func(c *Conn) {
		var request, response []byte
		for range pipeline / 2 {
			key, value := fmt.Appendf(nil, "session:%d", s.rand.IntN(keys)), values[s.rand.IntN(len(values))]
			request = bulk(bulk(append(request, "*3\r\n$3\r\nSET\r\n"...), key), value)
			request = bulk(append(request, "*2\r\n$3\r\nGET\r\n"...), key)
			response = bulk(append(response, "+OK\r\n"...), value)
		}
		s.said(c, pipeline, request, response)
	})
	return s.finish()
}

// product is a row of a table of products.
type product struct{ id, name, price string }

// found returns three rows.
func (s *scenario) found() (rows [3]product) {
	for i := range rows {
		n := s.rand.IntN(100_000)
		rows[i] = product{fmt.Sprint(n), fmt.Sprintf("Enamel mug, %d ml", n%700), fmt.Sprintf("%d.%02d", n%90, n%100)}
	}
	return rows
}

// What a MySQL client and server tell of themselves.
const (
	clientConnectWithDB    = 1 << 3
	clientProtocol41       = 1 << 9
	clientSecureConnection = 1 << 15
	clientPluginAuth       = 1 << 19
	clientDeprecateEOF     = 1 << 24
	mysqlAbilities         = uint32(clientConnectWithDB | clientProtocol41 | clientSecureConnection | clientPluginAuth | clientDeprecateEOF)
	mysqlCharset           = 45 // utf8mb4_general_ci
	mysqlAutocommit        = 2
	mysqlPlugin            = "mysql_native_password\x00"
)

// mysqlPacket appends a packet of MySQL.
func mysqlPacket(b []byte, number byte, payload []byte) []byte {
	n := len(payload)
	return append(append(b, byte(n), byte(n>>8), byte(n>>16), number), payload...)
}

// counted appends strings with their lengths before them, as MySQL and DNS have short ones.
func counted(b []byte, all ...string) []byte {
	for _, text := range all {
		b = append(append(b, byte(len(text))), text...)
	}
	return b
}

// mysqlLogin has a client log in.
func (s *scenario) mysqlLogin(c *Conn) {
	nonce := bytes.Repeat([]byte{'n'}, 20)
	greeting := append([]byte{10}, "8.0.36\x00\x07\x00\x00\x00"...)
	greeting = append(append(greeting, nonce[:8]...), 0, byte(mysqlAbilities&0xff), byte(mysqlAbilities>>8&0xff), mysqlCharset, mysqlAutocommit, 0)
	greeting = append(greeting, byte(mysqlAbilities>>16&0xff), byte(mysqlAbilities>>24), byte(len(nonce)+1))
	greeting = append(append(append(greeting, make([]byte, 10)...), nonce[8:]...), 0)
	greeting = append(greeting, mysqlPlugin...)
	answer := binary.LittleEndian.AppendUint32(nil, mysqlAbilities)
	answer = append(append(answer, 0, 0, 0, 1, mysqlCharset), make([]byte, 23)...)
	answer = append(append(answer, "shop\x00\x14"...), bytes.Repeat([]byte{'p'}, 20)...)
	answer = append(append(answer, "shop\x00"...), mysqlPlugin...)
	greeting = mysqlPacket(nil, 0, greeting)
	c.Send(Server, greeting)
	c.Recv(Client, len(greeting))
	s.said(c, 1, mysqlPacket(nil, 1, answer), mysqlPacket(nil, 2, []byte{0, 0, 0, mysqlAutocommit, 0, 0, 0}))
}

// MySQL makes queries as text.
func MySQL(w io.Writer, size int64, o Options) (Truth, error) {
	const (
		comQuery                        = 3
		typeLong, typeVarString, typeNo = 3, 253, 246 // the last is DECIMAL
	)
	s := newScenario(w, size, o)
	head := mysqlPacket(nil, 1, []byte{3})
	for i, column := range []struct {
		name string
		typ  byte
	}{{"id", typeLong}, {"name", typeVarString}, {"price", typeNo}} {
		b := counted(nil, "def", "shop", "products", "products", column.name, column.name)
		head = mysqlPacket(head, byte(2+i), append(b, 12, mysqlCharset, 0, 0, 1, 0, 0, column.typ, 0, 0, 0, 0, 0))
	}
	s.clientsOf("10.95.0.1:3306", s.mysqlLogin, func(c *Conn) {
		rows := s.found()
		query := fmt.Appendf([]byte{comQuery}, "SELECT id, name, price FROM products WHERE id IN (%s, %s, %s)", rows[0].id, rows[1].id, rows[2].id)
		response := bytes.Clone(head)
		for i, row := range rows {
			response = mysqlPacket(response, byte(5+i), counted(nil, row.id, row.name, row.price))
		}
		s.said(c, 1, mysqlPacket(nil, 0, query), mysqlPacket(response, 8, []byte{0xfe, 0, 0, mysqlAutocommit, 0, 0, 0}))
	})
	return s.finish()
}

// pgMessage appends a message of PostgreSQL.
func pgMessage(b []byte, typ byte, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, typ), uint32(4+len(payload)))
	return append(b, payload...)
}

// pgValues appends values with their lengths before them, and before those how many there are.
func pgValues(b []byte, all ...string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(all)))
	for _, text := range all {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

// PostgreSQL makes a prepared statement on each connection, and uses it again and again.
func PostgreSQL(w io.Writer, size int64, o Options) (Truth, error) {
	const oidInt4, oidText, oidNumeric = 23, 25, 1700
	s := newScenario(w, size, o)
	ready := pgMessage(nil, 'Z', []byte{'I'})
	columns := binary.BigEndian.AppendUint16(nil, 3)
	for i, column := range []struct {
		name string
		oid  uint32
		size uint16
	}{{"id", oidInt4, 4}, {"name", oidText, 0xffff}, {"price", oidNumeric, 0xffff}} {
		columns = binary.BigEndian.AppendUint32(append(append(columns, column.name...), 0), 16385) // of the table
		columns = binary.BigEndian.AppendUint16(columns, uint16(i+1))
		columns = binary.BigEndian.AppendUint32(columns, column.oid)
		columns = append(binary.BigEndian.AppendUint16(columns, column.size), 0xff, 0xff, 0xff, 0xff, 0, 0)
	}
	columns = pgMessage(nil, 'T', columns)

	startup := append([]byte{0, 3, 0, 0}, "user\x00shop\x00database\x00shop\x00\x00"...)
	startup = append(binary.BigEndian.AppendUint32(nil, uint32(4+len(startup))), startup...)
	welcome := pgMessage(nil, 'R', make([]byte, 4))
	welcome = pgMessage(welcome, 'S', []byte("server_version\x0015.6\x00"))
	welcome = pgMessage(welcome, 'S', []byte("client_encoding\x00UTF8\x00"))
	welcome = append(pgMessage(welcome, 'K', make([]byte, 8)), ready...)

	parse := append([]byte("S_1\x00SELECT id, name, price FROM products WHERE id IN ($1, $2, $3)\x00"), 0, 0)
	parse = pgMessage(pgMessage(pgMessage(nil, 'P', parse), 'D', []byte("SS_1\x00")), 'S', nil)
	parameters := binary.BigEndian.AppendUint16(nil, 3)
	for range 3 {
		parameters = binary.BigEndian.AppendUint32(parameters, oidInt4)
	}
	parsed := append(append(pgMessage(pgMessage(nil, '1', nil), 't', parameters), columns...), ready...)

	s.clientsOf("10.95.0.1:5432", func(c *Conn) {
		s.said(c, 1, startup, welcome)
		s.said(c, 1, parse, parsed)
	}, func(c *Conn) {
		rows := s.found()
		bind := pgValues([]byte("\x00S_1\x00\x00\x00"), rows[0].id, rows[1].id, rows[2].id)
		request := pgMessage(nil, 'B', append(bind, 0, 0))
		request = pgMessage(pgMessage(pgMessage(request, 'D', []byte("P\x00")), 'E', make([]byte, 5)), 'S', nil)
		response := append(pgMessage(nil, '2', nil), columns...)
		for _, row := range rows {
			response = pgMessage(response, 'D', pgValues(nil, row.id, row.name, row.price))
		}
		s.said(c, 1, request, append(pgMessage(response, 'C', []byte("SELECT 3\x00")), ready...))
	})
	return s.finish()
}

// LookupsOnFewPorts makes questions to a name server from 1,000 ports, used in turn.
func LookupsOnFewPorts(w io.Writer, size int64, o Options) (Truth, error) {
	return lookups(w, size, o, func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 95, 2, 2}), uint16(20_000+n%1000))
	})
}

// LookupsOnManyPorts makes questions to a name server, as resolvers do against forgers: 50,000 ports of each of 200 clients, before one
// is used again.
func LookupsOnManyPorts(w io.Writer, size int64, o Options) (Truth, error) {
	const ports, hosts = 50_000, 200
	return lookups(w, size, o, func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 95, 2, byte(2 + n/ports%hosts)}), uint16(10_000+n*7919%ports))
	})
}

// lookups makes 50,000 questions a second, and their answers a little later.
func lookups(w io.Writer, size int64, o Options, client func(n int) netip.AddrPort) (Truth, error) {
	const (
		every          = 20 * time.Microsecond
		names          = 5000
		wanted, given  = 0x0100, 0x8180 // recursion; recursion, and the answer
		typeA, classIN = 1, 1
		timeToLive     = 300
		toQuestion     = 0xc00c // a pointer to the name of the question
		one            = 1
	)
	s := newScenario(w, size, o)
	server := netip.MustParseAddrPort("10.95.0.53:53")
	var ask func()
	ask = func() {
		if s.Written() >= s.size {
			return
		}
		from, name := client(s.truth.Exchanges), s.rand.IntN(names)
		s.truth.Exchanges++
		m := binary.BigEndian.AppendUint16(make([]byte, 0, 96), uint16(s.rand.Uint32()))
		m = append(m, wanted>>8, wanted&0xff, 0, one, 0, 0, 0, 0, 0, 0)
		m = counted(m, fmt.Sprintf("item-%d", name), "shop", "example")
		m = append(m, 0, 0, typeA, 0, classIN)
		s.Datagram(s.Now(), from, server, bytes.Clone(m))
		binary.BigEndian.PutUint16(m[2:], given)
		m[7] = one
		m = append(binary.BigEndian.AppendUint16(m, toQuestion), 0, typeA, 0, classIN)
		m = append(binary.BigEndian.AppendUint32(m, timeToLive), 0, 4, 192, 0, byte(name>>8), byte(name))
		at := s.Now() + s.between(50*time.Microsecond, 500*time.Microsecond)
		s.Datagram(at, server, from, m)
		s.At(at, func() { s.truth.Answered++ })
		s.At(s.Now()+every, ask)
	}
	s.At(0, ask)
	return s.finish()
}
