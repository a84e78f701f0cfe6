//go:build linux

package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/culprit-http/culprit/internal/lab"
)

// counted is what the application counted itself: the truth for tests.
type counted struct {
	// Requests that the application answered, by path.
	Requests map[string]int `json:"requests"`
	// Statements of each database that the story sends, beside logins and what drivers do by themselves, and Failed those that failed.
	Statements map[string]int `json:"statements"`
	Failed     map[string]int `json:"failed"`
	// Questions for names, by name and type.
	Questions map[string]int `json:"questions"`
	// Orders of the customer whose orders are listed: one more statement for each.
	Orders int `json:"orders"`
}

const orders = 30

type story struct {
	network *network
	counted counted

	maria  *sql.DB
	pg     *pgx.Conn
	redis  *redis
	waiter *redis
}

// prepare makes the tables. Nothing of it is recorded.
func (s *story) prepare() error {
	s.counted = counted{Requests: map[string]int{}, Statements: map[string]int{}, Failed: map[string]int{}, Questions: map[string]int{}, Orders: orders}
	db, err := s.open()
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range []string{
		"CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(80), price DECIMAL(8,2))",
		"CREATE TABLE orders (id INT PRIMARY KEY, customer INT)",
		"CREATE TABLE order_items (order_id INT, product_id INT, amount INT)",
		"INSERT INTO products SELECT seq, CONCAT('lamp no. ', seq), 9.90 + seq FROM seq_1_to_40",
		fmt.Sprintf("INSERT INTO orders SELECT seq, 7 FROM seq_1_to_%d", orders),
		fmt.Sprintf("INSERT INTO order_items SELECT seq, seq MOD 40 + 1, 2 FROM seq_1_to_%d", orders),
	} {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	ctx := context.Background()
	pg, err := s.connect(ctx)
	for deadline := time.Now().Add(lab.Patience); err != nil; pg, err = s.connect(ctx) {
		if time.Now().After(deadline) { // it listens before it is ready
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	defer pg.Close(ctx)
	_, err = pg.Exec(ctx, "CREATE TABLE visits (id SERIAL PRIMARY KEY, page TEXT UNIQUE, hits INT); INSERT INTO visits (page, hits) SELECT '/products/' || n, n FROM generate_series(1, 200) n")
	return err
}

func (s *story) open() (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = "shop", "secret-of-the-shop", "shop"
	c.Net, c.Addr = "tcp", mariaAddress+":3306"
	c.InterpolateParams = true
	c.DialFunc = from(s.network.app)
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

func (s *story) connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("host=" + postgresAddress + " port=5432 user=shop dbname=postgres sslmode=disable")
	if err != nil {
		return nil, err
	}
	c.DialFunc = from(s.network.app)
	return pgx.ConnectConfig(ctx, c)
}

// tell lets visitors ask the application, which asks its databases.
func (s *story) tell() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, q := range []struct{ name, server string }{
		{"orders.shop.example", namesAddress}, {"stats.shop.example", namesAddress}, {"cache.shop.example", namesAddress},
		{"pay.shop.example", namesAddress}, {"pay.shop.example", deafAddress},
	} {
		s.resolve(ctx, q.name, q.server)
	}
	if err := s.mute(); err != nil {
		return err
	}
	if s.maria, err = s.open(); err != nil {
		return err
	}
	defer s.maria.Close()
	if s.pg, err = s.connect(ctx); err != nil {
		return err
	}
	defer s.pg.Close(ctx)
	if s.redis, err = s.dial(); err != nil {
		return err
	}
	defer s.redis.Close()
	l, err := s.network.app.Listen("tcp4", appAddress+":8080")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler()}
	done := make(chan error, 1)
	go func() { done <- server.Serve(proxied{l}) }()
	c := &http.Client{Transport: &http.Transport{DialContext: from(s.network.clients)}}
	for i := range 3 {
		for _, path := range []string{fmt.Sprintf("/products/%d", 3+i), fmt.Sprintf("/products/%d", 3), "/visit"} {
			if err := s.get(c, path); err != nil {
				return err
			}
		}
	}
	for _, path := range []string{"/orders", "/report", "/broken", "/wrong", "/orders"} {
		if err := s.get(c, path); err != nil {
			return err
		}
	}
	// One whom a proxy passes on.
	behind := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := s.network.clients.Dial(network, address)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.77 "+appAddress+" 40000 8080\r\n")
		}
		return c, err
	}}}
	if err := s.get(behind, "/products/5"); err != nil {
		return err
	}
	// What nobody knows.
	if err := s.telemetry(); err != nil {
		return err
	}
	c.CloseIdleConnections()
	behind.CloseIdleConnections()
	if err := s.wait(); err != nil {
		return err
	}
	err = server.Shutdown(ctx)
	return errors.Join(err, ignore(<-done, http.ErrServerClosed))
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (s *story) get(c *http.Client, path string) error {
	r, err := c.Get("http://" + appAddress + ":8080" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	s.counted.Requests[path]++
	return err
}

// handler is the application.
func (s *story) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.PathValue("id"))
		key := fmt.Sprintf("product:%d", id)
		if text := s.ask("GET", key); text != "" {
			io.WriteString(w, text)
			return
		}
		var name, price string
		if err := s.row("SELECT name, price FROM products WHERE id = ?", id).Scan(&name, &price); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.ask("SET", key, name+" "+price, "EX", "60")
		fmt.Fprintln(w, name, price)
	})
	mux.HandleFunc("GET /visit", func(w http.ResponseWriter, r *http.Request) {
		s.counted.Statements["postgresql"]++
		tag, err := s.pg.Exec(r.Context(), "UPDATE visits SET hits = hits + 1 WHERE page = $1", "/products/3")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, tag.RowsAffected())
	})
	// One statement for the list, and one more for each of its rows.
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		for _, id := range s.list("SELECT id FROM orders WHERE customer = ?", 7) {
			fmt.Fprintln(w, s.list("SELECT product_id FROM order_items WHERE order_id = ?", id))
		}
	})
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, r *http.Request) {
		s.counted.Statements["postgresql"]++
		rows, err := s.pg.Query(r.Context(), "SELECT page, hits, pg_sleep(0.001) FROM visits WHERE hits > $1 ORDER BY hits DESC -- <script>alert(1)</script>", 20)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			n++
		}
		fmt.Fprintln(w, n)
	})
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, r *http.Request) {
		s.counted.Statements["postgresql"]++
		s.counted.Failed["postgresql"]++
		if _, err := s.pg.Exec(r.Context(), "INSERT INTO visits (page, hits) VALUES ($1, $2)", "/products/3", 1); err != nil {
			http.Error(w, "it is there already", http.StatusConflict)
		}
	})
	mux.HandleFunc("GET /wrong", func(w http.ResponseWriter, r *http.Request) {
		s.counted.Failed["mysql"]++
		s.counted.Failed["redis"]++
		s.list("SELECT id FROM `<img src=x onerror=alert(1)>` WHERE name = 'Nobody'")
		s.ask("LPUSH", "product:3", "x")
		http.Error(w, "nothing works", http.StatusInternalServerError)
	})
	return mux
}

func (s *story) row(query string, args ...any) *sql.Row {
	s.counted.Statements["mysql"]++
	return s.maria.QueryRow(query, args...)
}

func (s *story) list(query string, args ...any) (all []int) {
	s.counted.Statements["mysql"]++
	rows, err := s.maria.Query(query, args...)
	if err != nil {
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if rows.Scan(&n) == nil {
			all = append(all, n)
		}
	}
	return all
}

// resolve asks a server of names.
func (s *story) resolve(ctx context.Context, name, server string) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return s.network.app.Dial("udp4", server+":53")
	}
	if server == namesAddress {
		s.counted.Questions[name+" A"]++
		s.counted.Questions[name+" AAAA"]++
	}
	r := net.Resolver{PreferGo: true, Dial: dial}
	_, _ = r.LookupIPAddr(ctx, name+".")
}

// mute asks a server that never answers, twice.
func (s *story) mute() error {
	server, err := s.network.data.Listen("tcp4", muteAddress+":53") // so that the host is known to be there
	if err != nil {
		return err
	}
	defer server.Close()
	var sink net.PacketConn
	if err := s.network.data.Do(func() (err error) { sink, err = net.ListenPacket("udp4", muteAddress+":53"); return err }); err != nil {
		return err
	}
	defer sink.Close()
	c, err := s.network.app.Dial("udp4", muteAddress+":53")
	if err != nil {
		return err
	}
	defer c.Close()
	question := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04slow\x04shop\x07example\x00\x00\x01\x00\x01")
	for range 2 {
		if _, err := c.Write(question); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// telemetry sends something of its own to a server of its own.
func (s *story) telemetry() error {
	l, err := s.network.data.Listen("tcp4", muteAddress+":7777")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}()
	c, err := s.network.app.Dial("tcp4", muteAddress+":7777")
	if err != nil {
		return err
	}
	for i := range 5 {
		if _, err := c.Write([]byte{0xfa, byte(i), 0x00, 0x17, 0xee, 0x01, 0x80, byte(i)}); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return c.Close()
}

// wait is a worker that waits for a job, and gets one.
func (s *story) wait() error {
	w, err := s.dial()
	if err != nil {
		return err
	}
	defer w.Close()
	s.counted.Statements["redis"] += 2
	if _, err := io.WriteString(w, words("BLPOP", "jobs", "5")); err != nil {
		return err
	}
	time.Sleep(150 * time.Millisecond)
	if _, err := s.redis.do("RPUSH", "jobs", "mail 17"); err != nil {
		return err
	}
	_, err = w.read()
	return err
}

// redis is a connection to Redis, which is as much of a client as the story needs.
type redis struct {
	net.Conn
	r *bufio.Reader
}

func (s *story) dial() (*redis, error) {
	c, err := s.network.app.Dial("tcp4", redisAddress+":6379")
	if err != nil {
		return nil, err
	}
	return &redis{c, bufio.NewReader(c)}, nil
}

func (s *story) ask(command ...string) string {
	s.counted.Statements["redis"]++
	text, _ := s.redis.do(command...)
	return text
}

// words is a command in RESP.
func words(command ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, w := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

func (c *redis) do(command ...string) (string, error) {
	if _, err := io.WriteString(c, words(command...)); err != nil {
		return "", err
	}
	return c.read()
}

func (c *redis) read() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line[1:])
	switch {
	case line[0] == '$' && n >= 0:
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.r, b)
		return string(b[:n]), err
	case line[0] == '*':
		var all []string
		for range n {
			text, err := c.read()
			if err != nil {
				return "", err
			}
			all = append(all, text)
		}
		return strings.Join(all, " "), nil
	case line[0] == '+', line[0] == ':':
		return line[1:], nil
	}
	return "", nil
}

// proxied takes the line off that the PROXY protocol puts before a connection.
type proxied struct{ net.Listener }

func (l proxied) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &unwrapped{Conn: c, r: bufio.NewReader(c)}, nil
}

type unwrapped struct {
	net.Conn
	r       *bufio.Reader
	started bool
}

func (c *unwrapped) Read(b []byte) (int, error) {
	if !c.started {
		c.started = true
		if first, err := c.r.Peek(6); err == nil && string(first) == "PROXY " {
			if _, err := c.r.ReadString('\n'); err != nil {
				return 0, err
			}
		}
	}
	return c.r.Read(b)
}
