//go:build linux

package stack

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/culprit-http/culprit/internal/lab"
)

// backends is how many connections the app has to its database and to its cache, each.
const backends = 24

// app is the application. For every request it asks the cache for the session of the cookie, and the database.
type app struct {
	server  *http.Server
	queries chan *sql.Conn
	caches  chan *cache

	mu sync.Mutex
	// asked are the requests' ids by the port of a connection to the cache, one for each command on it, in order.
	asked map[int][]string
}

// cache is a connection to Redis.
type cache struct {
	net.Conn
	r    *bufio.Reader
	port int
}

func newApp(n *lab.Namespace) (*app, error) {
	a := &app{queries: make(chan *sql.Conn, backends), caches: make(chan *cache, backends), asked: map[int][]string{}}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.InterpolateParams, config.Logger = "tcp", fmt.Sprintf("127.0.0.1:%d", MariaDBPort), "root", true, &mysql.NopLogger{}
	config.DialFunc = func(_ context.Context, network, address string) (net.Conn, error) { return n.Dial(network, address) }
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	for _, s := range []string{
		"CREATE DATABASE shop", "CREATE TABLE shop.products (id INT PRIMARY KEY, name VARCHAR(40), price INT)",
		"INSERT INTO shop.products SELECT seq, CONCAT('product ', seq), seq * 7 FROM shop.seq_1_to_50", "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, product INT)",
	} {
		if _, err := db.Exec(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	for range backends {
		c, err := db.Conn(context.Background())
		if err != nil {
			return nil, err
		}
		a.queries <- c
		r, err := n.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", RedisPort))
		if err != nil {
			return nil, err
		}
		a.caches <- &cache{r, bufio.NewReader(r), r.LocalAddr().(*net.TCPAddr).Port}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", a.product)
	mux.HandleFunc("GET /cart", a.cart)
	mux.HandleFunc("GET /search", a.search)
	mux.HandleFunc("POST /orders", a.order)
	mux.HandleFunc("GET /static/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write(make([]byte, 4000))
	})
	a.server = &http.Server{Handler: mux}
	return a, nil
}

// idHeader has the request's id.
const idHeader = "X-Request-ID"

// work asks for the session, makes the queries one after the other, and thinks in between.
func (a *app) work(w http.ResponseWriter, r *http.Request, queries ...string) {
	id := r.Header.Get(idHeader)
	session := "0"
	if c, err := r.Cookie("session"); err == nil {
		session = c.Value
	}
	err := a.get(id, "session:"+session)
	for _, q := range queries {
		think(2)
		if err == nil {
			err = a.query(r.Context(), id, q)
		}
	}
	think(3)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, strings.Repeat("<p>", 300))
}

// think takes some time, of about that many milliseconds.
func think(milliseconds float64) {
	time.Sleep(time.Duration(rand.ExpFloat64() * milliseconds * float64(time.Millisecond)))
}

func (a *app) product(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	a.work(w, r, fmt.Sprintf("SELECT name, price FROM shop.products WHERE id = %d", id), fmt.Sprintf("SELECT COUNT(*) FROM shop.orders WHERE product = %d", id))
}

func (a *app) cart(w http.ResponseWriter, r *http.Request) {
	a.work(w, r, "SELECT id, name FROM shop.products WHERE id IN (3, 5, 8)")
}

func (a *app) search(w http.ResponseWriter, r *http.Request) {
	a.work(w, r, fmt.Sprintf("SELECT name, SLEEP(0.0005) FROM shop.products WHERE name LIKE '%%%d%%' LIMIT 8", len(r.URL.RawQuery)))
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.work(w, r, fmt.Sprintf("INSERT INTO shop.orders (product) VALUES (%d)", len(body)), "SELECT MAX(id) FROM shop.orders")
}

// query makes a query, with the request's id in a comment, and reads the result.
func (a *app) query(ctx context.Context, id, query string) error {
	c := <-a.queries
	defer func() { a.queries <- c }()
	rows, err := c.QueryContext(ctx, fmt.Sprintf("%s /*request_id='%s'*/", query, id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// get asks the cache for a key.
func (a *app) get(id, key string) error {
	c := <-a.caches
	defer func() { a.caches <- c }()
	a.mu.Lock()
	a.asked[c.port] = append(a.asked[c.port], id)
	a.mu.Unlock()
	if _, err := fmt.Fprintf(c, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return err
	}
	_, err := c.r.ReadString('\n') // nothing is there: $-1
	return err
}
