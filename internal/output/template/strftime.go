package template

import (
	"fmt"
	"strconv"
	"time"
)

// conversions are the strftime conversions that are known (POSIX strftime, C locale), as layouts of
// package time.
var conversions = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006",
	'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02", 'H': "15", 'I': "03", 'j': "002", 'm': "01",
	'M': "04", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06",
	'X': "15:04:05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

// Conversions without a layout.
const (
	epoch   = 's'
	percent = '%'
)

// A timeStep appends a time or fixed text.
type timeStep func(dst []byte, t time.Time) []byte

// strftime compiles a format. Its times are UTC.
func strftime(format string) ([]timeStep, error) {
	var steps []timeStep
	literal := func(s string) {
		steps = append(steps, func(dst []byte, _ time.Time) []byte { return append(dst, s...) })
	}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			literal(format[i : i+1])
			continue
		}
		i++
		if i == len(format) {
			return nil, fmt.Errorf("the time format %q ends with a single %%; write %%%% for a per cent sign", format)
		}
		switch c := format[i]; c {
		case epoch:
			steps = append(steps, func(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) })
		case percent:
			literal("%")
		default:
			layout, ok := conversions[c]
			if !ok {
				return nil, fmt.Errorf("unknown conversion %%%c in the time format %q", c, format)
			}
			steps = append(steps, func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, layout) })
		}
	}
	return steps, nil
}
