// Package timing says which calls a request caused, from when they were made: it knows times, peers and endpoints, and
// nothing that identifies a request.
//
// # Theory of operation
//
// Each tap is looked at alone, with its own clock. It is asked (requests) and asks others (calls). A call may belong to
// each request that was under way when it began, or to none. Which one is a question to all of them together, since a
// request makes the calls that its op needs, once each, in its own rhythm.
//
// A plan is what is known of the requests of one op. Its measures are gaps: from the request's begin to each call's, from
// the end of the call before, from one begin to the next, from one end to the next, from the last end to the request's
// (measure.go). For each, it holds how much likelier a gap is within one request than by chance, as a histogram of
// logarithms in bins of about a fifth of the gap (gap.go); ticks of a coarse clock have a bin of their own. To these come
// the usual numbers of calls, and, where a program with one thread keeps it, the order of the requests (order.go).
//
// Chance is made, not assumed: two requests that are known are laid over each other with some shift, and one's call is
// exchanged for the other's. That is the very mistake to be avoided, at any load, and it needs no overlap to have been
// seen. Since the measures repeat each other, a logistic regression weighs them so that the mistakes are told from what
// was so (fit.go). The sum of the weighted logarithms is the score of a request with its calls.
//
// All calls together have a most probable assignment, and many that are nearly as good. A Markov chain wanders among
// them: one call changes its request, two like calls are exchanged, or all that two requests did from some time on
// (sample.go). How often a call had which request is the probability that it is its own: the confidence is counted, not
// guessed. A last, cold part of the walk says which of those that are about as good is chosen.
//
// Nothing is known at first. The first requests of a tap are held until there are enough of them; then assigning and
// learning take turns, from measures that hang on the request alone to all of them (tap.go). The first assignments are made
// class by class, each the best of all for the class as a whole (assign.go). From then on, a plan learns from what is
// decided.
//
//	events -> newer --watermark--> window --vote, when a call is older than half the delay--> links
//	                                 ^                                    |
//	                               plans <--- examples, once a request's calls are decided
//
// # Where it comes from
//
// Convolution of the delays seen at each box, and messages that nest (Aguilera et al., SOSP 2003); the most probable
// parent by learned delays (Reynolds et al., WAP5, WWW 2006); a call graph, delays between calls that follow each other, and
// the assignment of whole sets of calls at a time, in iterations (Ashok et al., TraceWeaver, SIGCOMM 2024). Learning a
// density by telling it from noise made on purpose: Gutmann and Hyvärinen, AISTATS 2010.
//
// # What it can't know
//
// Requests that begin within a gap's own variation of each other and do alike: either assignment is as good, and the
// confidence says so. Calls that begin after their request has ended belong to nobody here. What a program does differently
// each time has no rhythm to be learned.
package timing
