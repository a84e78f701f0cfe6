package sample

import (
	"fmt"
	"math/big"
	"strings"
)

// Limits of rates.
const (
	// MaxN: at least one in MaxN is kept.
	MaxN = 1_000_000
	// maxRateText is how long the text of a rate may be, in bytes.
	maxRateText = 32
)

// ParseRate reads a share: "10%", "1/10" or "0.1". The share must be one in n, with a whole n of at most MaxN, because each
// exchange that is kept stands for a whole number of them.
func ParseRate(text string) (n uint32, err error) {
	plain, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	plain = strings.TrimSpace(plain)
	share, ok := new(big.Rat), len(plain) <= maxRateText && strings.Trim(plain, "0123456789./") == ""
	if ok {
		_, ok = share.SetString(plain)
	}
	if !ok {
		return 0, fmt.Errorf("%q is no share: write 10%%, 1/10 or 0.1", text)
	}
	if percent {
		share.Mul(share, big.NewRat(1, 100))
	}
	switch {
	case share.Sign() == 0:
		return 0, fmt.Errorf("a share of %s would keep nothing but what is always kept: the smallest is 1/%d", text, MaxN)
	case share.Cmp(big.NewRat(1, 1)) > 0:
		return 0, fmt.Errorf("%s is more than everything: a share is at most 100%%", text)
	case share.Cmp(big.NewRat(1, MaxN)) < 0:
		return 0, fmt.Errorf("a share of %s is too small: the smallest is 1/%d", text, MaxN)
	case share.Num().IsInt64() && share.Num().Int64() != 1:
		more := new(big.Int).Div(share.Denom(), share.Num()).Int64()
		return 0, fmt.Errorf("a share must be one in a whole number, as each exchange that is kept stands for so many: instead of %s write %s or %s",
			text, share1(more), share1(more+1))
	}
	return uint32(share.Denom().Int64()), nil
}

// share1 writes the share of one in n.
func share1(n int64) string {
	return fmt.Sprintf("1/%d (%.3g%%)", n, 100/float64(n))
}
