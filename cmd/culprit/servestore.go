package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/remote"
)

// inCluster reports whether --store names a cluster, and not a folder.
func inCluster(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && (scheme == "http" || scheme == "https")
}

// clusterStore is the store in a cluster that --store names: URLs, and settings as outputs have them.
type clusterStore struct {
	// name is what was named, without credentials.
	name    string
	cluster elastic.Options
	index   string
}

// clusterTimeout bounds a request to a cluster; questions have limits of their own.
const clusterTimeout = time.Hour

// readCluster reads --store URL[,URL...][?KEY=VALUE&...], and the files that settings name.
func readCluster(text string) (*clusterStore, error) {
	o, err := config.ParseOutput("--store="+text, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	s := &settings{output: &o}
	urls, auth, err := endpoint.ParseURLs(s.target(""), elastic.Schemes(), elastic.Port)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Text, err)
	}
	c := &clusterStore{
		name: o.Text, index: s.text("index", elastic.DefaultIndex),
		cluster: elastic.Options{URLs: urls, Endpoint: s.endpoint(nil, auth), Timeout: clusterTimeout},
	}
	return c, s.err()
}

// open opens the store. It has read nothing but whether it can be read.
func (c *clusterStore) open(ctx context.Context) (store.Reader, error) {
	client, err := elastic.New(c.cluster)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	s, err := remote.Open(ctx, client, remote.Options{Index: c.index, Now: time.Now})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return s, nil
}

// forFolders are the flags of serve that say what to put into a store on this machine, and how long it stays there. A cluster
// is filled by agents, and its lifecycle policy deletes.
var forFolders = []string{
	"read", "interface", "where", "max-body", "reveal", "literals", "keep-packets", "retain", "retain-size", "host-metrics",
}

// serveCluster serves what is in a cluster.
func (s *serving) serveCluster(ctx context.Context, cmd *cobra.Command) error {
	for _, name := range forFolders {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			return usage(fmt.Errorf("--%s doesn't go with --store URL, which shows what agents have put into a cluster (docs/store-elastic.md); leave it out, or name a folder", name))
		}
	}
	c, err := readCluster(s.config.Store)
	if err != nil {
		return usage(err)
	}
	if err := s.listen(); err != nil {
		return err
	}
	defer s.close()
	if err := s.drop(privilege.Options{User: s.config.Live.User, Network: true, Serve: true}); err != nil {
		return err
	}
	if s.reader, err = c.open(ctx); err != nil {
		return &statusError{exitFailed, err}
	}
	defer s.reader.Close()
	if err := s.openWeb(); err != nil {
		return usage(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	fmt.Fprintln(cmd.OutOrStdout(), s.url())
	select {
	case <-ctx.Done():
		return s.shut()
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return &statusError{exitFailed, fmt.Errorf("serving: %w", err)}
	}
}
