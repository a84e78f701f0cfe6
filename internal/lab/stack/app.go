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

// app is the application. For every request it asks the cache for the session of the cookie, and the database, with queries that name what the
// request names, as most do: a product, or the session.
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
		"INSERT INTO shop.products SELECT seq, CONCAT('product ', seq), seq * 7 FROM shop.seq_1_to_100", "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, product INT, session VARCHAR(40), INDEX (session))",
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

// maxOrder is the longest order, in bytes.
const maxOrder = 20

// idHeader has the request's id.
const idHeader = "X-Request-ID"

// work asks for the session, makes the queries one after the other, and thinks in between.
func (a *app) work(w http.ResponseWriter, r *http.Request, queries ...string) {
	id := r.Header.Get(idHeader)
	err := a.get(id, "session:"+session(r))
	// One connection for the whole request, as with a transaction.
	c := <-a.queries
	for _, q := range queries {
		think(2)
		if err == nil {
			err = query(r.Context(), c, id, q)
		}
	}
	a.queries <- c
	think(3)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, strings.Repeat("<p>", 300))
}

// session returns the client's, from its cookie.
func session(r *http.Request) string {
	c, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, c.Value)
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
	a.work(w, r, fmt.Sprintf("SELECT product, COUNT(*) FROM shop.orders WHERE session = '%s' GROUP BY product", session(r)))
}

func (a *app) search(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("q"))
	if err != nil {
		http.Error(w, "no such product", http.StatusBadRequest)
		return
	}
	a.work(w, r, fmt.Sprintf("SELECT name, SLEEP(0.0005) FROM shop.products WHERE name LIKE '%%%d%%' LIMIT 8", n))
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxOrder))
	if err != nil {
		return
	}
	product, err := strconv.Atoi(string(body))
	if err != nil {
		http.Error(w, "no such product", http.StatusBadRequest)
		return
	}
	a.work(w, r, fmt.Sprintf("INSERT INTO shop.orders (product, session) VALUES (%d, '%s')", product, session(r)),
		fmt.Sprintf("SELECT MAX(id) FROM shop.orders WHERE session = '%s'", session(r)))
}

// query makes a query, with the request's id in a comment, and reads the result.
func query(ctx context.Context, c *sql.Conn, id, query string) error {
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
