//go:build linux

package tlspeers

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// Server is openssl s_server. It decrypts and encrypts; what it is asked, the test answers. It takes one connection after
// the other.
type Server struct {
	*Process
	Address string
}

// StartServer starts one with options of s_server.
func StartServer(options ...string) (*Server, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	p, err := Start("", nil, "openssl", append([]string{"s_server", "-quiet", "-accept", address}, options...)...)
	if err != nil {
		return nil, err
	}
	go func() {
		_ = serve(p.stdout, p.stdin) // it ends with the process
		_, _ = io.Copy(io.Discard, p.stdout)
	}()
	return &Server{p, address}, nil
}

// Client is openssl s_client, with one connection.
type Client struct {
	*Process
	in *bufio.Reader
	// All is what was said.
	All []Said
}

// StartClient starts one with options of s_client.
func StartClient(address string, options ...string) (*Client, error) {
	// It ends with its input, not with the connection; so capital letters at the beginning of its input are commands.
	p, err := Start("", nil, "openssl", append([]string{"s_client", "-quiet", "-no_ign_eof", "-servername", ServerName, "-connect", address}, options...)...)
	if err != nil {
		return nil, err
	}
	return &Client{Process: p, in: bufio.NewReader(p.stdout)}, nil
}

// Ask sends a request, and waits for the response. A body of nil is none.
func (c *Client) Ask(target string, body []byte) error {
	method, request := plain(target, body)
	if _, err := c.stdin.Write(request); err != nil {
		return fmt.Errorf("s_client: %w: %s", err, c.said)
	}
	return c.receive(method, target, body)
}

// Early prepares a request for the option -early_data, in a file.
func Early(file, target string, body []byte) error {
	_, request := plain(target, body)
	return os.WriteFile(file, request, 0o600)
}

// ReceiveEarly waits for the response to a request that Early has prepared.
func (c *Client) ReceiveEarly(target string, body []byte) error {
	method, _ := plain(target, body)
	return c.receive(method, target, body)
}

func (c *Client) receive(method, target string, body []byte) error {
	response, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("s_client: no response to %s: %w: %s", target, err, c.said)
	}
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("s_client: %w: %s", err, c.said)
	}
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if status, want := answer(u, body); status != response.StatusCode || string(want) != string(got) {
		return fmt.Errorf("s_client got %d and %d bytes instead of %d and %d", response.StatusCode, len(got), status, len(want))
	}
	c.All = append(c.All, Said{method, target, response.StatusCode, body, got})
	return nil
}

// The commands of s_client, and what it says when it obeys.
const (
	UpdateKeys     = "k" // updates the client's
	UpdateAllKeys  = "K" // and asks the server to update its own
	Renegotiate    = "R"
	keysUpdated    = "KEYUPDATE"
	isRenegotiated = "RENEGOTIATING"
)

// Command makes s_client do something. It was done when Ask returns the next time.
func (c *Client) Command(letter string) error {
	word := keysUpdated
	if letter == Renegotiate {
		word = isRenegotiated
	}
	before := c.said.count(word)
	if _, err := io.WriteString(c.stdin, letter+"\n"); err != nil {
		return fmt.Errorf("s_client: %w: %s", err, c.said)
	}
	return c.said.has(word, before+1)
}
