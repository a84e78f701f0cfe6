package config

import "time"

// Shipping is what commands can be told whose outputs deliver over the network.
type Shipping struct {
	// Spool is the folder in which queues are kept; empty: trace keeps them in memory, agent where DefaultSpool says.
	Spool string
	// Sample is the share of exchanges that is kept, as in 10%; empty: all. Of those that SampleKeep selects, and of those that
	// take SampleSlow or longer, all are kept; 0: no time is.
	Sample, SampleKeep string
	SampleSlow         time.Duration
	// NoRollups: what all exchanges amount to isn't delivered beside them.
	NoRollups bool
	// Agent: the command is agent, which shows nothing unless told, and FileOutputs are those of its configuration.
	Agent       bool
	FileOutputs []Output
}

// DefaultSampleSlow is the duration from which on all exchanges are kept where only a share is.
const DefaultSampleSlow = time.Second
