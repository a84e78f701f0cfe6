package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/own"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/packets"
	"github.com/culprit-http/culprit/internal/web"
	"github.com/culprit-http/culprit/internal/web/ui"
)

const (
	// storeMemory is what the store may take beside --memory: its tail, the one that is being written, questions, and the
	// queue before it.
	storeMemory = 768 << 20
	// questions may be answered at once, and each may take questionMemory: a column of header values is a hundred
	// megabytes.
	questions      = 2
	questionMemory = 160 << 20
	// endWithin is how long answers that are on their way may take at the end.
	endWithin = 2 * time.Second
	// cleanEvery is how often packets that are too old are looked for.
	cleanEvery = time.Minute
	// maxTokenFile is the largest size of a file with a token.
	maxTokenFile = 4 << 10
)

// packetsFolder is where packets are kept, in the folder of the store; storeNames is all that is there.
const packetsFolder = "packets"

var storeNames = []string{"culprit.lock", "format", "log", "segments", "damaged", packetsFolder, hostFolder}

func newServe() *cobra.Command {
	c := config.DefaultServe()
	cmd := &cobra.Command{
		Use:   "serve [-i IFACE | -r FILE] [FLAGS] [CAPTURE FILTER]",
		Short: "Store HTTP exchanges, and show them in a browser",
		Long: `Capture or import HTTP exchanges into a store on this machine, and show them in
a browser; without -i and -r, those stored before. It prints the URL to open.

Examples:
  culprit serve -i eth0 port 8000
  culprit serve -r capture.pcapng.zst --import-only
  culprit serve --config /etc/culprit.yaml
  culprit serve --store https://es:9200`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return serve(cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	addFlags(cmd, serveGroups(&c, new(string))...)
	return cmd
}

// serving is one run of culprit serve.
type serving struct {
	// preview lays bodies out, for several goroutines.
	preview *preview.Previewer
	capturing
	config *config.Serve
	dir    string

	store    *embedded.Engine
	reader   store.Reader // of what is shown
	ring     *packets.Ring
	keeper   *packets.Keeper
	intake   *intake
	host     hostMetrics
	listener net.Listener
	token    string
	web      *web.Server
	http     *http.Server
	// answering counts the requests that are being answered.
	answering sync.WaitGroup
	// on: packets are read, or were.
	on     bool
	status captureStatus
	flight inFlight
	// started is when the program was, self tells what it takes.
	started time.Time
	self    selfStatus
	// interrupted: the import was ended before its files were. unfinished exchanges were under way then.
	interrupted atomic.Bool
	unfinished  uint64
}

// serve runs the command.
func serve(cmd *cobra.Command, c *config.Serve) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if err := readEnvironment(cmd.Flags(), &c.Capture); err != nil {
		return usage(err)
	}
	path, _ := cmd.Flags().GetString(configFlag)
	if _, err := readConfig(cmd, path, &c.Capture, nil); err != nil {
		return usage(err)
	}
	c.Live.Complete(len(c.Inputs) > 0)
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	s := &serving{started: time.Now(), self: openSelfStatus(), config: c, capturing: capturing{config: &c.Capture, stderr: cmd.ErrOrStderr(), did: "given to the store"}}
	signalled, stop := untilSignal(true)
	defer stop()
	ctx, end := context.WithCancel(signalled)
	defer end()

	if inCluster(c.Store) {
		return s.serveCluster(ctx, cmd)
	}
	if err := s.prepare(ctx, cmd); err != nil {
		s.close()
		return err
	}
	err := s.work(ctx, end, cmd.OutOrStdout())
	if e := s.shut(); err == nil && e != nil {
		err = &statusError{exitFailed, e}
	}
	if err == nil && s.lossy {
		err = errLossy
	}
	return err
}

// prepare reads everything that the user said, and opens what needs privileges: all but the store.
func (s *serving) prepare(ctx context.Context, cmd *cobra.Command) error {
	c := s.config
	s.on = c.Live.On() || len(c.Inputs) > 0
	if err := s.parse(); err != nil {
		return err
	}
	var hides *redact.Redactor // the capture has its own, in another goroutine
	var err error
	if !c.Reveal {
		if hides, err = s.newRedactor(); err != nil {
			return err
		}
	}
	if s.preview, err = newPreviewer(c.Protosets, hides); err != nil {
		return err
	}
	if s.dir = c.Store; s.dir == "" {
		if s.dir, err = config.DefaultStore(os.Getenv, os.Getuid()); err != nil {
			return usage(err)
		}
	}
	if s.on {
		if err := s.openEnricher(); err != nil {
			return err
		}
	}
	if !c.ImportOnly {
		if err := s.listen(); err != nil {
			return err
		}
	}
	if err := handOverStore(s.dir, c.Live.User); err != nil {
		return &statusError{exitFailed, fmt.Errorf("the store's folder: %w", err)}
	}
	c.Live.Usage = c.HostMetrics
	if s.on {
		inputs, err := s.open(ctx, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if err := s.openHost(); err != nil {
			return err
		}
		if !s.live {
			s.progress = newProgress(s.stderr, inputs, false)
		}
		s.analysis(storeMemory + s.linkMemory())
		s.link()
		s.pipeline.Progress, s.pipeline.Watch = s.progressed, &s.status.watch
		if m, ok := s.sources[0].(capture.Measured); ok {
			s.status.source = m
		}
		if c.Reveal {
			s.warn("--reveal: secrets are stored and served as they were sent; what was stored with it isn't redacted later")
		}
		o := privilege.Options{User: c.Live.User, WritePaths: []string{s.dir}, ReadPaths: paths(inputs), Serve: !c.ImportOnly}
		return s.drop(o)
	}
	if err := s.openHost(); err != nil {
		return err
	}
	return s.drop(privilege.Options{User: c.Live.User, WritePaths: []string{s.dir}, Serve: true})
}

func paths(inputs []capture.Input) (all []string) {
	for _, in := range inputs {
		if in.Path != capture.Stdin {
			all = append(all, in.Path)
		}
	}
	return all
}

// makePrivate makes a folder for its owner alone, in folders that others can pass, as far as they aren't there.
func makePrivate(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// makeFolder makes the folder of a store, and refuses one with something else in it.
func makeFolder(dir string) error {
	if err := makePrivate(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(storeNames, e.Name()) {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s holds other things than a store: name a folder of its own with --store DIR", dir)
	}
	return nil
}

// listen opens the socket at which the API is served, and finds the token.
func (s *serving) listen() (err error) {
	c := s.config
	if s.token, err = token(c.TokenFile); err != nil {
		return &statusError{exitFailed, fmt.Errorf("--token-file: %w", err)}
	}
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return &statusError{exitFailed, fmt.Errorf("--listen %s: %w; another culprit may serve there; choose with --listen, port 0 is any that is free", c.Listen, err)}
	}
	if !c.Loopback() {
		s.warn("--listen %s: others can reach this, and what it serves isn't encrypted, nor is the token; put a proxy with TLS before it", c.Listen)
	}
	at := s.address()
	addresses := hostAddresses()
	s.capturing.own = own.Open()
	if s.capturing.own == nil {
		s.capturing.own = &own.Connections{}
	}
	s.capturing.own.Serve(at, addresses)
	return nil
}

// address is where connections are taken.
func (s *serving) address() netip.AddrPort {
	at := s.listener.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// hostAddresses are the addresses of this host, as far as they are known.
func hostAddresses() (all []netip.Addr) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all
}

// token reads the token from a file, which is made if it isn't there; without one it is new.
func token(path string) (string, error) {
	fresh := rand.Text()
	if path == "" {
		return fresh, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = io.WriteString(f, fresh+"\n")
		return fresh, errors.Join(err, f.Close())
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read %s: take that away with chmod 600", path)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	if err != nil {
		return "", err
	}
	found := strings.TrimSpace(string(text))
	if len(found) < web.MinToken {
		return "", fmt.Errorf("%s holds %d characters, and a token has at least %d; remove the file, and a new one is made", path, len(found), web.MinToken)
	}
	return found, nil
}

// openStore opens the store, and the ring of packets. It comes after the privileges are dropped: what is there, others
// may have written.
func (s *serving) openStore() (err error) {
	c := s.config
	var politely func()
	if c.Live.On() {
		// The thread that captures always finds a place to run Go code on, also while all processors have others, that yield.
		politely = yield
		runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	}
	s.store, err = embedded.Open(s.dir, embedded.Options{
		QueryMemory: questionMemory, Workers: runtime.NumCPU(), Yield: politely, MaxAge: time.Duration(c.Retain), MaxBytes: int64(c.RetainSize), Writer: "culprit " + version,
		Warn: func(text string) { s.warn("%s", text) },
	})
	s.reader = s.store
	if err == nil && c.KeepPackets > 0 && s.on {
		s.ring, err = packets.Open(filepath.Join(s.dir, packetsFolder), packets.Options{
			Limit: int64(c.KeepPackets), Application: "culprit " + version, OS: runtime.GOOS, Hardware: runtime.GOARCH,
		})
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; culprit runs as uid %d by now, who must be able to get there: name another folder with --store, or another user with --user", err, os.Geteuid())
	}
	return err
}

// work stores and serves until the end.
func (s *serving) work(ctx context.Context, end func(), stdout io.Writer) error {
	if err := s.openStore(); err != nil {
		return &statusError{exitFailed, err}
	}
	if err := s.openHostStore(); err != nil {
		return &statusError{exitFailed, err}
	}
	if s.on {
		s.intake = newIntake(s.store, !s.live, s.warn, nil)
		s.status.begin(s.config)
	}
	served := make(chan error, 1)
	if s.listener != nil {
		if err := s.openWeb(); err != nil {
			return usage(err)
		}
		go func() {
			err := s.http.Serve(s.listener)
			if !errors.Is(err, http.ErrServerClosed) {
				served <- fmt.Errorf("serving: %w", err)
				end() // nobody can ask any more
			}
		}()
		fmt.Fprintln(stdout, s.url())
	}
	if s.on {
		if err := s.fill(ctx); err != nil {
			return &statusError{exitFailed, err}
		}
	}
	if s.listener != nil {
		if s.on && ctx.Err() == nil {
			fmt.Fprintln(s.stderr, "culprit: all is read; it is served until Ctrl-C")
		}
		<-ctx.Done()
	}
	select {
	case err := <-served:
		return &statusError{exitFailed, err}
	default:
		return nil
	}
}

// openWeb makes what answers.
func (s *serving) openWeb() (err error) {
	c := s.config
	o := web.Options{Store: s.reader, UI: ui.Files(), Queries: questions, Reveal: c.Reveal, Token: s.token, Hosts: c.Names, Version: version, Now: time.Now, Preview: s.preview, Routes: c.Enrichment.Routes}
	if !c.Loopback() { // names can be made to lead here by others, addresses can't
		for _, a := range hostAddresses() {
			o.Hosts = append(o.Hosts, a.String())
		}
	}
	o.Process = s.process
	if s.on {
		o.Capture = s.state
		o.InFlight = func(ctx context.Context) (*web.InFlight, error) { return s.flight.get(ctx, &s.status.watch) }
	}
	if s.host.store != nil {
		o.Host = &s.host
	}
	switch dir := filepath.Join(s.dir, packetsFolder); {
	case s.store == nil: // a cluster has no packets
	case s.ring != nil:
		o.Packets = packetSource{s.ring.Write}
	case there(dir):
		o.Packets = packetSource{(&packets.Folder{Dir: dir, Application: "culprit " + version, OS: runtime.GOOS, Hardware: runtime.GOARCH}).Write}
	}
	if s.web, err = web.New(o); err != nil {
		return err
	}
	s.http = s.web.HTTPServer()
	inner := s.http.Handler
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.answering.Add(1)
		defer s.answering.Done()
		inner.ServeHTTP(w, r)
	})
	return nil
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// url is what a browser on this host opens.
func (s *serving) url() string {
	at := s.address()
	switch a := at.Addr(); {
	case a == netip.IPv6Unspecified(): // which takes both
		at = netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())
	case a.IsUnspecified():
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	return "http://" + at.String() + "/?token=" + s.token
}

// fill stores what is captured or imported, and says at the end what became of it.
func (s *serving) fill(ctx context.Context) error {
	c := s.config
	if s.progress != nil {
		s.progress.exchanges = s.intake.added.Load
	}
	if s.ring != nil {
		s.keeper = s.ring.Keeper(s.taps, s.live)
		s.pipeline.Recorder = s.keeper
		s.warn("%s", packets.RawWarning)
	}
	if s.ring != nil && c.Retain > 0 {
		defer s.forgetPackets()()
	}
	if !s.live { // other inputs have no other end
		s.pipeline.Interrupted = func() { s.interrupted.Store(true) }
	}
	if c.Live.On() {
		fmt.Fprintf(s.stderr, "culprit: capturing on %s\n", strings.Join(c.Live.Interfaces, ", "))
		ctx = context.Background() // the source ends, with what was captured
	}
	followed := s.follow()
	stats, err := s.run(ctx, s)
	followed()
	s.flight.forget()
	s.intake.close()
	if failure := s.intake.failure.Load(); err == nil && failure != nil && s.intake.waits {
		err = *failure // the last exchanges were the first that couldn't be stored
	}
	if s.keeper != nil {
		s.keeper.Close()
		s.ring.Flush()
	}
	if e := s.store.Sync(); err == nil {
		err = e
	}
	s.progress.clear()
	s.status.end(&stats, s.taps())
	s.account(&stats, err)
	switch {
	case err == nil:
		return nil
	case c.Live.On() || c.ImportOnly:
		return explainFull(err)
	}
	s.lose("the import has ended early, and what was read until then is served: %v", explainFull(err))
	return nil
}

// follow keeps the state of the capture up to date for those who ask, until what it returns is called.
func (s *serving) follow() (stop func()) {
	if s.web == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.status.follow(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// forgetPackets deletes packets that are older than the exchanges that are kept, until what it returns is called.
func (s *serving) forgetPackets() (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(cleanEvery)
		defer ticker.Stop()
		for {
			s.ring.DeleteBefore(time.Now().Add(-time.Duration(s.config.Retain)).UnixNano())
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// account says what became of the exchanges.
func (s *serving) account(stats *pipeline.Stats, failed error) {
	i := s.intake
	if n := i.dropped.Load(); n > 0 {
		s.lose("%s not stored: the store couldn't keep up", plural(n, "exchange"))
	}
	if n := i.failed.Load(); n > 0 {
		s.lose("%s not stored: %v", plural(n, "exchange"), *i.failure.Load())
	}
	if s.interrupted.Load() {
		s.lose("the import was interrupted; %s under way aren't stored: import again for the rest", plural(s.unfinished, "exchange"))
	}
	if s.ring != nil {
		if lost := s.ring.Lost(); lost != "" {
			s.lose("%s", lost)
		}
	}
	s.report(stats, failed)
	if len(s.config.Inputs) > 0 || s.config.Stats {
		fmt.Fprintf(s.stderr, "culprit: %s = stored %s + already stored %s + lost %s\n",
			plural(i.added.Load(), "exchange"), count(i.stored.Load()), count(i.known.Load()), count(i.lost()))
	}
}

// Exchanges implements pipeline.Receiver.
func (s *serving) Exchanges(done, waiting []*exchange.Exchange) error {
	for _, x := range done {
		s.status.grades[x.Grade].Add(1)
		// What was under way when the import was interrupted isn't as it was on the wire. It would pass for it, also
		// when the file is imported again.
		if s.interrupted.Load() && x.Conn.Why == proto.CaptureEnded {
			s.unfinished++
			continue
		}
		s.learn(x)
		if !s.count(s.choose(x)) {
			continue
		}
		s.host.note(x)
		x.Number = s.number
		s.finish(x)
		if err := s.intake.add(x); err != nil {
			return err
		}
		if s.web != nil {
			s.web.Publish(x)
		}
	}
	if s.web != nil {
		for _, x := range waiting {
			if c := s.choose(x); c.chosen() {
				s.finish(x)
				s.web.Waiting(x, waited(x))
			}
		}
	}
	s.status.note(&s.capturing)
	return nil
}

// Idle implements pipeline.Receiver.
func (s *serving) Idle() error {
	s.lookAfterKeeper()
	s.status.note(&s.capturing)
	if err := s.intake.failure.Load(); err != nil && s.intake.waits {
		return *err
	}
	return nil
}

// progressed is told of the packets so far, in the goroutine that reads them.
func (s *serving) progressed(received pipeline.Count) {
	s.progress.update(received)
	var taps []capture.Tap
	if len(s.sources) == 1 {
		taps = s.sources[0].Taps()
	}
	s.status.received(received, taps)
}

// shut ends what was begun, whatever fails: answers first, since they need the store.
func (s *serving) shut() error {
	var errs []error
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), endWithin)
		if s.http.Shutdown(ctx) != nil {
			s.http.Close()
		}
		answered := make(chan struct{})
		go func() {
			s.answering.Wait()
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(endWithin):
		}
		cancel()
	}
	if err := s.host.end(); err != nil {
		errs = append(errs, err)
	}
	if s.intake != nil {
		s.intake.close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the store: %w", err))
		}
		if status, err := s.store.Status(context.Background()); err == nil && status.Expired > 0 {
			fmt.Fprintf(s.stderr, "culprit: %s deleted by --retain and --retain-size\n", plural(uint64(status.Expired), "exchange"))
		}
	}
	if s.ring != nil {
		if err := s.ring.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the kept packets: %w", err))
		}
	}
	s.close()
	return errors.Join(errs...)
}

// close ends what prepare has opened.
func (s *serving) close() {
	if s.listener != nil {
		s.listener.Close()
	}
	s.host.close()
	s.self.close()
	s.capturing.close()
}

// packetSource implements web.PacketSource.
type packetSource struct {
	write func(w io.Writer, q packets.Query) (packets.Count, error)
}

// Of implements web.PacketSource.
func (p packetSource) Of(x *exchange.Exchange, connection bool) func(ctx context.Context, w io.Writer) (int, error) {
	q := packets.Of(x)
	q.Connection = connection
	return func(ctx context.Context, w io.Writer) (int, error) {
		n, err := p.write(until{ctx, w}, q)
		if errors.Is(err, packets.ErrGone) {
			return 0, nil
		}
		return int(n.Packets), err
	}
}

// until is a writer that fails when its context is done.
type until struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (u until) Write(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(b)
}

var _ store.Store = (*embedded.Engine)(nil)
