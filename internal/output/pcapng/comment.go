package pcapng

import (
	"strconv"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// maxOption is the longest value of an option, in bytes: its length has 16 bits, and comes with padding.
const maxOption = 65532

// maxName is how much of a method, a host or a target a comment shows, in bytes as sent: the packet has the
// rest.
const maxName = 1 << 10

const incompleteComment = "culprit: recorded incompletely: packets of this exchange were let go of for lack of memory"

// AppendComment appends what the first packet of an exchange says of it.
func AppendComment(dst []byte, x *exchange.Exchange) []byte {
	dst = append(dst, "culprit: exchange "...)
	dst = strconv.AppendUint(dst, x.Number, 10)
	dst = append(dst, ": "...)
	server := x.Flow.End(x.Server())
	if m := &x.Request; x.HasRequest {
		dst = appendName(dst, m.Bytes(m.Method))
		dst = append(dst, ' ')
		target := m.Bytes(m.Target)
		if len(target) > 0 && (target[0] == '/' || target[0] == '*') {
			if host := m.Field("host"); len(host) > 0 {
				dst = appendName(dst, host)
			} else {
				dst = append(dst, server...)
			}
			if target[0] == '*' {
				dst = append(dst, ' ')
			}
		}
		dst = appendName(dst, target)
	} else {
		dst = append(dst, "a request that wasn't seen, to "...)
		dst = append(dst, server...)
	}
	if x.HasResponse && x.Response.Status > 0 {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(x.Response.Status), 10)
	}
	if x.Timing.Duration >= 0 {
		dst = append(dst, ' ')
		dst = terminal.AppendDuration(dst, x.Timing.Duration)
	}
	dst = append(dst, ", grade "...)
	dst = append(dst, x.Grade.String()...)
	if x.Reason != "" {
		dst = append(dst, ": "...)
		dst = terminal.AppendSafe(dst, []byte(x.Reason))
	}
	return dst
}

// appendName appends bytes from the wire, escaped and cut.
func appendName(dst, b []byte) []byte {
	if len(b) <= maxName {
		return terminal.AppendSafe(dst, b)
	}
	const tail = maxName / 4
	dst = terminal.AppendSafe(dst, b[:maxName-tail])
	dst = append(dst, terminal.Ellipsis...)
	return terminal.AppendSafe(dst, b[len(b)-tail:])
}

// text makes a string fit for an option: valid UTF-8 without control characters, and not too long.
func text(s string) []byte {
	b := terminal.AppendSafe(nil, []byte(s))
	if len(b) <= maxOption {
		return b
	}
	b = b[:maxOption]
	for len(b) > 0 && !utf8.RuneStart(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b[:len(b)-1] // the start of a character that may have been cut
}
