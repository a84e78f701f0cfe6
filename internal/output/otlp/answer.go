package otlp

import (
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of what a receiver may answer.
const (
	// maxAnswer is how much of an answer is read, in bytes; what is longer isn't one.
	maxAnswer = 64 << 10
	// maxMessage is how much of a receiver's message is shown, in bytes.
	maxMessage = 300
	// maxLater is the longest time for which a receiver can put off the next attempt.
	maxLater = 10 * time.Minute
)

// answer is what a receiver says to a request that it has taken.
type answer struct {
	// rejected is how many of the items it has refused all the same; which, it doesn't say.
	rejected int64
	message  string
}

// readAnswer reads an ExportTraceServiceResponse or an ExportMetricsServiceResponse. What can't be read says nothing: the
// request was taken.
func readAnswer(b []byte) (a answer) {
	each(b, func(n protowire.Number, _ uint64, partial []byte) {
		if n != 1 {
			return
		}
		each(partial, func(n protowire.Number, number uint64, text []byte) {
			switch n {
			case 1:
				a.rejected = int64(number)
			case 2:
				a.message = plain(text)
			}
		})
	})
	return a
}

// status is a google.rpc.Status.
type status struct {
	message string
	// later is when to try again; 0: it doesn't say.
	later time.Duration
}

// readStatus reads a google.rpc.Status with, possibly, a google.rpc.RetryInfo.
func readStatus(b []byte) (s status) {
	each(b, func(n protowire.Number, _ uint64, field []byte) {
		switch n {
		case 2:
			s.message = plain(field)
		case 3:
			var kind string
			var value []byte
			each(field, func(n protowire.Number, _ uint64, b []byte) {
				switch n {
				case 1:
					kind = string(b)
				case 2:
					value = b
				}
			})
			if strings.HasSuffix(kind, "/google.rpc.RetryInfo") {
				s.later = readRetryInfo(value)
			}
		}
	})
	return s
}

// readRetryInfo returns the delay of a RetryInfo, at least one nanosecond: that there is one says that trying again makes sense.
func readRetryInfo(b []byte) time.Duration {
	var later time.Duration
	each(b, func(n protowire.Number, _ uint64, delay []byte) {
		if n != 1 {
			return
		}
		each(delay, func(n protowire.Number, number uint64, _ []byte) {
			switch n {
			case 1:
				later += time.Duration(min(max(int64(number), 0), int64(maxLater/time.Second))) * time.Second
			case 2:
				later += time.Duration(min(max(int64(number), 0), 1e9-1))
			}
		})
	})
	return min(max(later, 1), maxLater)
}

// each calls f for each field of a message, with its number or its bytes, as far as the message can be read.
func each(b []byte, f func(n protowire.Number, number uint64, content []byte)) {
	for len(b) > 0 {
		n, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return
		}
		b = b[tag:]
		size := protowire.ConsumeFieldValue(n, kind, b)
		if size < 0 {
			return
		}
		switch kind {
		case protowire.VarintType:
			number, _ := protowire.ConsumeVarint(b)
			f(n, number, nil)
		case protowire.BytesType:
			content, _ := protowire.ConsumeBytes(b)
			f(n, 0, content)
		}
		b = b[size:]
	}
}

// plain makes a line for people of what a receiver says.
func plain(b []byte) string {
	if len(b) > maxMessage {
		b = append(b[:maxMessage:maxMessage], "…"...)
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
	return strings.Join(strings.Fields(text), " ")
}
