// Package pageload groups exchanges into page loads: a document, the redirects that led to it, and what the browser
// fetched for it.
//
// Nothing on the wire says which page a request is for. What is said here is inferred, of the client's address, its
// User-Agent, Referer, Sec-Fetch-* and time, and each membership says of what and how sure. docs/pages.md explains
// the rules and what misleads them.
package pageload

import (
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// Times that the rules go by.
const (
	// Quiet is the pause, with nothing under way, that ends the load of a page.
	Quiet = 500 * time.Millisecond
	// Leave is how long a browser that goes elsewhere still gets what the page before asked for, after the next answer began.
	Leave = 100 * time.Millisecond
	// MaxIdle is how long after the last of its exchanges a page takes further ones.
	MaxIdle = 30 * time.Second
	// MaxAge is how long after its begin a page takes further exchanges.
	MaxAge = 5 * time.Minute
	// MaxRedirect is how long after a redirect its target may be asked for.
	MaxRedirect = 10 * time.Second
)

// Limits of memory.
const (
	// MaxClients is how many clients have open pages at once; the one that was silent longest gives way.
	MaxClients = 4_096
	// MaxOpen is how many pages of one client are open at once; the oldest gives way.
	MaxOpen = 16
	// MaxResources is how many exchanges a page holds. Further ones are counted in Page.LeftOut.
	MaxResources = 1_000
	// MaxRedirects is how many redirects may lead to a document, as in browsers; the next one begins a page.
	MaxRedirects = 20
	// MaxHeld is how many exchanges all open pages hold; the client that was silent longest gives way.
	MaxHeld = 50_000
	// MaxText is how many bytes are kept of a document's target and of a user agent, MaxTarget of a resource's
	// target and of other texts, MaxHost of an authority. What is longer is cut, and ends with an ellipsis.
	MaxText   = 2_048
	MaxTarget = 512
	MaxHost   = 255
)

// Page is one page load, as it was inferred. Its times are nanoseconds since 1970.
type Page struct {
	// Host is the authority that the document was asked for, Target its path and query, as sent.
	Host, Target string
	// Client is the address that asked. ForwardedFor is what X-Forwarded-For said of whom it asked for.
	Client       packet.Addr
	ForwardedFor string
	// UserAgent is the header, Browser the program that it means, where that is known.
	UserAgent, Browser string
	// Start is the first byte of the first request: of the redirect that the load began with, or else of the document.
	Start int64
	// Load is from Start to the last byte of the last resource that began within the load; -1: the document's answer
	// wasn't seen. TTFB is from Start to the first byte of the document's answer, likewise.
	Load, TTFB int64
	// Resources are the exchanges of the page in the order of their start: redirects, the document, and the rest.
	Resources []Resource
	// Document is the index of the document, or, when it wasn't seen, of the last redirect.
	Document int
	// LeftOut is how many exchanges more there were than MaxResources.
	LeftOut int
	// Complete: the document and all that belongs to the load was answered and seen whole.
	Complete bool
	// Prefetched: the browser loaded it ahead, and it may never have been shown.
	Prefetched bool
	// Confidence, from 0 to 1, is that of the document being one, times the mean of the memberships.
	Confidence float64
}

// Resource is an exchange of a page.
type Resource struct {
	ID [exchange.IDSize]byte
	// Start is its first byte, End the last byte of the answer; 0: it isn't known.
	Start, End int64
	Timing     exchange.Timing
	// Method, Target and Host are as sent. Type is the media type of the answer. Status is 0 without an answer.
	Method, Target, Host, Type string
	Status                     int
	// Bytes are those of the response, head included.
	Bytes int64
	// Failed: its outcome is failure. Whole: its grade is complete.
	Failed, Whole bool
	// Why says of what it was inferred that it belongs to the page, and Confidence, from 0 to 1, how sure that is.
	Why        Why
	Confidence float64
	// Apart says why it doesn't count for the load; InLoad: it does.
	Apart  Apart
	InLoad bool
}

// Why says of what a membership was inferred.
type Why uint8

// The reasons of memberships.
const (
	// Document: it is the page's document.
	Document Why = iota
	// Redirect: it redirected to the document, or was asked for because a member redirected to it.
	Redirect
	// Referer: its Referer is the URL of the page, or of a member, such as a style sheet or a frame.
	Referer
	// RefererOrigin: only the origin of its Referer, or its Origin, is that of the page.
	RefererOrigin
	// SecFetch: it has no Referer, and Sec-Fetch-Site fits.
	SecFetch
	// Time: it says nothing of where it comes from, and the page was loading from the same host.
	Time
)

var whyNames = [...]string{"document", "redirect", "referer", "referer-origin", "sec-fetch", "time"}

func (w Why) String() string { return whyNames[w] }

// Apart says why a member of a page doesn't count for its load.
type Apart uint8

// The reasons to be left out of the load.
const (
	// Counts: there is none.
	Counts Apart = iota
	// Late: it began after the quiet moment that ended the load.
	Late
	// Stream: its length says nothing (Exchange.Stream).
	Stream
	// Beacon: it only tells the server something: sendBeacon, ping, a report.
	Beacon
	// Prefetch: it is for a page to come.
	Prefetch
	// Favicon: it is an icon of the window.
	Favicon
	// Media: sound and pictures that move, which load as they play.
	Media
	// ServiceWorker: it is the script of one.
	ServiceWorker
	// Download: asked for as a document, it leaves the window as it is: an attachment, or no content.
	Download
)

var apartNames = [...]string{"", "late", "stream", "beacon", "prefetch", "favicon", "media", "service-worker", "download"}

func (a Apart) String() string { return apartNames[a] }
