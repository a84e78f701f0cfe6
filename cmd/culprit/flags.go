package main

import "github.com/culprit-http/culprit/internal/config"

// The groups of flags that several commands have.

func inputFlags(c *config.Capture) flagGroup {
	g := newFlagGroup("Input")
	g.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, - for stdin; repeatable")
	g.StringArrayVarP(&c.Live.Interfaces, "interface", "i", nil, "capture on `IFACE`, any for all; repeatable")
	g.BoolVar(&c.Follow, "follow", false, "wait for more at the end of the files")
	g.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	g.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	g.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")
	g.StringArrayVar(&c.Protosets, "proto", nil, "descriptors of gRPC in `FILE`; repeatable")
	g.BoolVar(&c.Messages, "messages", false, "each message of a WebSocket, too")
	g.StringVar(&c.Flows, "flows", c.Flows, "records of `WHICH` flows: none, failed, unknown, all")
	return g
}

func liveFlags(c *config.Live) flagGroup {
	g := newFlagGroup("Live capture (docs/live.md)")
	g.StringVar(&c.Process, "process", "", "only what processes called `NAME` do")
	g.IntVar(&c.PID, "pid", 0, "only what process `N` does, in its network namespace")
	g.BoolVar(&c.Listening, "listening", false, "only what this host serves")
	g.StringVar(&c.NetNS, "netns", "", "in the network namespace `NAME`, a path, or pid:N")
	g.DurationVar(&c.Duration, "duration", 0, "end after `TIME`")
	return g
}

func tuningFlags(c *config.Live) flagGroup {
	g := newRareGroup("Live capture, in detail")
	g.BoolVar(&c.Promiscuous, "promisc", false, "also packets to other hosts")
	g.Var(&c.SnapLen, "snaplen", "`SIZE` to capture of each packet (default all)")
	g.Var(&c.Ring, "ring", "`SIZE` of an interface's ring")
	g.Var(&c.Block, "block", "`SIZE` of its blocks")
	g.DurationVar(&c.Retire, "retire", c.Retire, "`TIME` after which a block is read, full or not")
	g.IntVar(&c.Fanout, "fanout", c.Fanout, "`N` rings for each interface")
	g.BoolVar(&c.HardwareTime, "hardware-time", false, "times of the network card, where it has them")
	g.StringVar(&c.User, "user", "", "`USER` to become once all is open (default nobody, for root)")
	g.BoolVar(&c.NoProcess, "no-process", false, "don't look for the processes at the ends")
	g.BoolVar(&c.IncludeOwn, "include-own", false, "culprit's own connections, too")
	return g
}

func limitFlags(c *config.Capture) flagGroup {
	g := newRareGroup("Limits (docs/limits-and-loss.md)")
	g.DurationVar(&c.PendingAfter, "pending-after", c.PendingAfter, "live: show requests waiting `TIME`")
	g.DurationVar(&c.ExchangeTimeout, "exchange-timeout", c.ExchangeTimeout, "give up requests that wait `TIME`")
	g.Var(&c.MaxHead, "max-head", "`SIZE` of a message head")
	g.IntVar(&c.MaxFields, "max-fields", c.MaxFields, "`N` header fields per message")
	g.IntVar(&c.MaxWaiting, "max-waiting", c.MaxWaiting, "`N` waiting requests a connection")
	g.Var(&c.MaxMessage, "max-message", "`SIZE` of a message within a body")
	g.IntVar(&c.MaxStreams, "max-streams", c.MaxStreams, "`N` streams under way a connection")
	g.Var(&c.MaxStatement, "max-statement", "`SIZE` of a database's statement")
	g.DurationVar(&c.FlowPeriod, "flow-period", c.FlowPeriod, "a record of a long flow each `TIME`; 0: at its end")
	g.DurationVar(&c.HopWait, "hop-wait", 0, "link hops; requests may last `TIME` (docs/hops.md)")
	g.Var(&c.Memory, "memory", "`SIZE` that the process may take")
	g.IntVar(&c.Workers, "workers", 0, "`N` goroutines that analyse (default one a processor; live 1)")
	return g
}

// recordingFlags say what goes into files beside or instead of what was read.
func recordingFlags(g flagGroup, c *config.Trace) {
	g.BoolVar(&c.WithKeys, "with-keys", false, "pcapng: with the keys of its connections")
	g.BoolVar(&c.Ciphertext, "ciphertext", false, "stream, files: as sent, not decrypted")
	g.BoolVar(&c.Force, "force", false, "files: write over what is there")
	g.StringVar(&c.FileName, "file-name", "", "files: names by `TEMPLATE` (docs/follow.md)")
}

// knowledgeFlags say what is known beyond the packets. They include --config, whose value path gets.
func knowledgeFlags(c *config.Capture, path *string) flagGroup {
	g := newFlagGroup("What is known (docs/enrichment.md)")
	g.StringArrayVar(&c.Enrichment.GeoIP, "geoip", nil, "`FILE` (MMDB) that knows where addresses are; repeatable")
	g.BoolVar(&c.Enrichment.Resolve, "resolve", false, "look up names of addresses")
	g.StringVarP(path, configFlag, "c", "", "`FILE` with services, rules, options (docs/config.md)")
	return g
}

// shippingFlags say how outputs deliver over the network.
func shippingFlags(c *config.Shipping) flagGroup {
	g := newRareGroup("Delivery (docs/agent.md)")
	g.StringVar(&c.Sample, "sample", "", "deliver a `SHARE` of the exchanges, as in 10%, and all that failed")
	g.DurationVar(&c.SampleSlow, "sample-slow", c.SampleSlow, "and all that took `TIME` or longer")
	g.StringVar(&c.SampleKeep, "sample-keep", "", "and all for which `EXPR` holds")
	g.BoolVar(&c.NoRollups, "no-rollups", false, "don't deliver what all exchanges of a minute amount to")
	g.StringVar(&c.Spool, "spool", "", "keep what waits in the folder `DIR` (trace: default in memory)")
	return g
}

// serveGroups are the flags of serve; path gets the value of --config.
func serveGroups(c *config.Serve, path *string) []flagGroup {
	keep := newFlagGroup("What to store (docs/store.md)")
	keep.StringVar(&c.Store, "store", "", "in the folder `DIR`; or a cluster's URL, to show what it has (default ~/.local/share/culprit; root: /var/lib/culprit)")
	keep.StringVar(&c.Where, "where", "", "only those for which `EXPR` holds (docs/filter.md)")
	keep.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies (default 0)")
	keep.BoolVar(&c.Reveal, "reveal", false, "store and serve secrets: no redaction (docs/redaction.md)")
	keep.BoolVar(&c.Redaction.Literals, "literals", false, "store and serve literals of statements, and results; not secrets")
	keep.Var(&c.KeepPackets, "keep-packets", "`SIZE` of the ring of packets (docs/kept-packets.md; default none)")
	keep.Var(&c.Retain, "retain", "delete what is older than `TIME`, as in 7d (default never)")
	keep.Var(&c.RetainSize, "retain-size", "delete the oldest beyond `SIZE`; 0: never")
	keep.BoolVar(&c.HostMetrics, "host-metrics", false, "CPU, memory, pressure, network each second (docs/host-metrics.md)")

	serve := newFlagGroup("Serving (docs/serve.md)")
	serve.StringVar(&c.Listen, "listen", c.Listen, "at `ADDRESS:PORT`")
	serve.StringArrayVar(&c.Names, "allow-host", nil, "`NAME` by which others ask for it; repeatable")
	serve.StringVar(&c.TokenFile, "token-file", "", "`FILE` with the token (default a new one each time)")
	serve.BoolVar(&c.ImportOnly, "import-only", false, "serve nothing: read the files, and end")

	other := newFlagGroup("Other")
	other.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")
	return []flagGroup{
		inputFlags(&c.Capture), liveFlags(&c.Live), keep, serve, knowledgeFlags(&c.Capture, path), tuningFlags(&c.Live), limitFlags(&c.Capture), other,
	}
}
