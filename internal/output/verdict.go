package output

import "github.com/culprit-http/culprit/internal/exchange"

// telling says where an exchange shows what a verdict would say.
type telling uint8

const (
	// byReason: in the reason of a grade that isn't complete. byStatus: in the status, or the error.
	byReason telling = iota + 1
	byStatus
	// unnamed: in the status, unless it is known which upstream is meant.
	unnamed
)

// told are the situations that are shown without a verdict.
var told = [exchange.NumSituations]telling{
	exchange.ConnectionRefused: byReason,
	exchange.Unreachable:       byReason,
	exchange.ResetMidResponse:  byReason,
	exchange.EarlyResponse:     byReason,
	exchange.TLSFailed:         byReason,
	exchange.ServerError:       byStatus,
	exchange.ClientError:       byStatus,
	exchange.FailedHop:         unnamed,
	exchange.ServerTimeout:     unnamed,
}

// Verdict returns who is to blame and why, in a sentence; empty where nobody is, and where the status, the error or the reason of the
// grade say the same.
func Verdict(x *exchange.Exchange) string {
	b := &x.Blame
	if b.Who <= exchange.Nobody {
		return ""
	}
	if b.Who != exchange.Unclear {
		switch told[b.Situation] {
		case byStatus:
			return ""
		case byReason:
			if x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered {
				return ""
			}
		case unnamed:
			if b.Upstream == "" {
				return ""
			}
		}
	}
	return x.Why()
}
