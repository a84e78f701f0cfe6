package main

import "github.com/culprit-http/culprit/internal/pipeline"

// limit is one whose hits the pipeline counts. Names are those of docs/limits-and-loss.md.
type limit struct {
	name string
	// what says what was done when it was hit.
	what  string
	count func(s *pipeline.Stats) uint64
	// quiet: the report at the end doesn't list it.
	quiet bool
}

// limits are those that the pipeline counts.
var limits = [...]limit{
	{"max waiting", "requests given up because too many waited on their connection (--max-waiting)",
		func(s *pipeline.Stats) uint64 { return s.Overflow }, false},
	{"exchange timeout", "requests given up because no answer came (--exchange-timeout)",
		func(s *pipeline.Stats) uint64 { return s.TimedOut }, false},
	{"memory budget", "connections forgotten because there was no memory for more (--memory)",
		func(s *pipeline.Stats) uint64 { return s.BudgetEvicted }, false},
	{"connections evicted", "connections forgotten because there were too many",
		func(s *pipeline.Stats) uint64 { return s.TCP.Evicted }, false},
	{"idle connections", "open connections forgotten because nothing more came",
		func(s *pipeline.Stats) uint64 { return s.TCP.TimedOut }, false},
	{"held segments", "holes given up because too much was held behind them",
		func(s *pipeline.Stats) uint64 { return s.TCP.HeldLimit }, false},
	{"interim responses", "interim responses (1xx) not kept because an exchange had too many",
		func(s *pipeline.Stats) uint64 { return s.Interim }, false},
	{"keys awaited", "TLS connections given up because there was no room to wait for their keys",
		func(s *pipeline.Stats) uint64 { return s.TLS.Overflow }, false},
	{"key wait", "TLS connections given up because their keys didn't come in time",
		func(s *pipeline.Stats) uint64 { return s.TLS.TimedOut }, false},
	{"clock jumps", "steps of the capture's time that were too large to be believed",
		func(s *pipeline.Stats) uint64 { return s.ClockJumps }, false},
	{"linking", "exchanges shown before it was known what caused them, since too many waited (--hop-wait)",
		func(s *pipeline.Stats) uint64 { return s.Unlinked }, false},
	{"udp flows", "UDP flows forgotten because there were too many",
		func(s *pipeline.Stats) uint64 { return s.UDP.Evicted }, false},
	{"sctp associations", "SCTP associations forgotten because there were too many",
		func(s *pipeline.Stats) uint64 { return s.SCTP.Evicted }, true},
	{"sctp chunks", "SCTP chunks refused because their association had too many streams",
		func(s *pipeline.Stats) uint64 { return s.SCTP.Refused }, true},
	{"sctp held bytes", "holes in SCTP given up because too much was held behind them",
		func(s *pipeline.Stats) uint64 { return s.SCTP.HeldLimit }, true},
	{"sctp jumps", "steps of SCTP chunks that were too large to be waited for",
		func(s *pipeline.Stats) uint64 { return s.SCTP.Jumps }, true},
	{"idle associations", "SCTP associations forgotten because nothing more came",
		func(s *pipeline.Stats) uint64 { return s.SCTP.TimedOut }, true},
}
