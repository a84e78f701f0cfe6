//go:build linux

// Command shop makes the sample capture of testdata/sample: a small shop behind two proxies, its visitors, and
// what goes wrong in six minutes. nginx, HAProxy and app servers of our own run in network namespaces, and clients
// on links that delay and lose ask them, by a script. It takes as long as the story does.
//
//	go run ./internal/lab/cmd/shop -o testdata/sample
//	go run ./internal/lab/cmd/shop -o /tmp/sample -duration 30s      # the same, closer together: a minute and a half
//
// It writes
//
//	shop.pcapng.zst   what the proxies' host sends and receives, moved in time to 2026-11-02 09:30:00 UTC
//	expected.json     what nginx, HAProxy and the app servers say that they did
//	places.mmdb       made-up places of the clients' addresses
//
// Who does what, and when, follows from the seed; how long things take follows from the machine, so that two
// runs differ in the number of exchanges.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// wholeStory is how long the story is as it is written down.
const wholeStory = 6 * time.Minute

// begin is when the story is said to have happened.
var begin = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

func main() {
	folder := flag.String("o", "", "the folder to write to")
	duration := flag.Duration("duration", wholeStory, "how long the story takes: a shorter one is told faster")
	seed := flag.Uint64("seed", 1, "who does what, and when")
	placesOnly := flag.Bool("places", false, "write places.mmdb only")
	flag.Parse()
	if *folder == "" || flag.NArg() > 0 || *duration < time.Second {
		flag.Usage()
		os.Exit(2)
	}
	if *placesOnly {
		os.Exit(status(writePlaces(*folder)))
	}
	os.Exit(lab.Run(func() int {
		return status(errors.Join(run(*folder, *duration, *seed), writePlaces(*folder)))
	}))
}

// status is the exit status of a run that ended with err, which it shows.
func status(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "shop:", err)
	return 1
}

func writePlaces(folder string) error {
	b, err := places()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "places.mmdb"), b, 0o644)
}

func run(folder string, duration time.Duration, seed uint64) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work, err := os.MkdirTemp("", "culprit-shop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := build(l, seed)
	if err != nil {
		return err
	}
	var taps []*lab.Recording
	for _, t := range tapNames {
		r, err := n.proxies.Record(t)
		if err != nil {
			return err
		}
		taps = append(taps, r)
	}
	began := time.Now()

	s := &story{began: began, pace: float64(duration) / float64(wholeStory), seed: seed, files: staticFiles(), network: n}
	var apps []*app
	for i, space := range n.apps {
		a := newApp(space, appAddresses[i], seed+uint64(i))
		apps = append(apps, a)
		if err := a.serve(); err != nil {
			return err
		}
	}
	h, err := startHAProxy(n.proxies, work)
	if err != nil {
		return err
	}
	g, err := startNginx(n.proxies, work, s.files)
	if err != nil {
		return err
	}
	if err := s.run(ctx, apps); err != nil {
		return err
	}

	// The clients are done. What they left open ends before those whom it leads to.
	var e expected
	made := 0
	if e.Edge, made, err = g.log(); err != nil {
		return err
	}
	if e.LB, err = h.log(made); err != nil {
		return err
	}
	for _, a := range apps {
		e.Apps = append(e.Apps, a.close())
	}
	if err := lab.Settle(append(n.clients(), n.proxies, n.apps[0], n.apps[1])...); err != nil {
		return err
	}
	e.Retransmitted, err = n.retransmitted()
	if err != nil {
		return err
	}
	var recordings [][]byte
	for _, r := range taps {
		pcap, _, err := r.Stop()
		if err != nil {
			return err
		}
		recordings = append(recordings, pcap)
	}
	size, packets, err := writeCapture(filepath.Join(folder, "shop.pcapng.zst"), recordings, begin.Sub(began))
	if err != nil {
		return err
	}
	if err := e.write(filepath.Join(folder, "expected.json")); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d packets, %d bytes; requests: edge %d, lb %d, %s %d, %s %d; what clients couldn't do: %v\n", packets, size,
		e.Edge.Requests, e.LB.Requests, apps[0].space.Name, e.Apps[0].Requests, apps[1].space.Name, e.Apps[1].Requests, s.trouble())
	return nil
}
