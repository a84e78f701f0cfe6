package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rotation says over how many files a recording goes, and when each of them ends. The zero value is one file
// that never ends. It implements pflag.Value.
type Rotation struct {
	// Files are used in turn.
	Files int
	// Size ends a file before it is larger, Every when its packets span that much capture time; 0: never.
	Size  Size
	Every time.Duration
}

// The bounds of a rotation. All files stay open, so their number is bounded.
const (
	maxRotationFiles = 1000
	minRotationSize  = 64 << 10
	minRotationTime  = time.Second
	maxRotationTime  = 10 * 365 * 24 * time.Hour
)

// rotationForm is what a rotation looks like.
const rotationForm = "want COUNTxSIZE, COUNTxTIME or COUNTxSIZE,TIME, such as 10x100MB, 24x1h or 10x100MB,1h"

// Set implements pflag.Value.
func (r *Rotation) Set(text string) error {
	count, rest, ok := strings.Cut(text, "x")
	n, err := strconv.ParseUint(strings.TrimSpace(count), 10, 32)
	if !ok || err != nil {
		return fmt.Errorf("%s", rotationForm)
	}
	if n < 1 || n > maxRotationFiles {
		return fmt.Errorf("%d files: from 1 to %d", n, maxRotationFiles)
	}
	to := Rotation{Files: int(n)}
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.TrimSpace(part)
		every, timeErr := time.ParseDuration(part)
		var size Size
		sizeErr := size.Set(part)
		switch {
		case timeErr == nil && every != 0:
			switch {
			case to.Every != 0:
				return fmt.Errorf("two times: %s", rotationForm)
			case every < minRotationTime || every > maxRotationTime:
				return fmt.Errorf("%v a file: from %v to 10 years", every, minRotationTime)
			}
			to.Every = every
		case sizeErr == nil:
			switch {
			case to.Size != 0:
				return fmt.Errorf("two sizes: %s", rotationForm)
			case size < minRotationSize:
				return fmt.Errorf("%s a file: at least %v", part, Size(minRotationSize))
			case size > math.MaxInt64/2/maxRotationFiles:
				return fmt.Errorf("%s a file is too much", part)
			}
			to.Size = size
		default:
			return fmt.Errorf("%q is neither a size nor a time: %s", part, rotationForm)
		}
	}
	*r = to
	return nil
}

// Type implements pflag.Value.
func (r *Rotation) Type() string { return "rotation" }

// String gives the form that Set takes, empty for the zero value.
func (r *Rotation) String() string {
	if r.Files == 0 {
		return ""
	}
	var parts []string
	if r.Size > 0 {
		parts = append(parts, r.Size.String())
	}
	if r.Every > 0 {
		parts = append(parts, shortDuration(r.Every))
	}
	return strconv.Itoa(r.Files) + "x" + strings.Join(parts, ",")
}

// shortDuration leaves out zero minutes and seconds.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
