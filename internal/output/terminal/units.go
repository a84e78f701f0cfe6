package terminal

import "strconv"

type unit struct {
	size float64
	name string
}

var (
	timeUnits = []unit{{1e3, " µs"}, {1e6, " ms"}, {1e9, " s"}}
	byteUnits = []unit{{1 << 10, " KiB"}, {1 << 20, " MiB"}, {1 << 30, " GiB"}, {1 << 40, " TiB"}, {1 << 50, " PiB"}, {1 << 60, " EiB"}}
)

// AppendDuration appends a duration of ns nanoseconds with three significant digits and its unit:
// 850 ns, 312 µs, 18.0 ms, 1.24 s, 2 m 05 s, 3 h 20 m. A negative one is unknown, and shown as "?".
func AppendDuration(dst []byte, ns int64) []byte {
	const second, minute, hour = 1e9, 60e9, 3600e9
	switch {
	case ns < 0:
		return append(dst, '?')
	case ns < 1000:
		return append(strconv.AppendInt(dst, ns, 10), " ns"...)
	case ns < minute-second/20: // what rounds to 60.0 s is a minute
		return appendUnits(dst, float64(ns), timeUnits, 1000)
	case ns < hour-second/2:
		s := (ns + second/2) / second
		return appendPair(dst, s/60, " m ", s%60, " s")
	}
	m := ns / minute
	if ns%minute >= minute-second/2 { // adding first could overflow
		m++
	}
	return appendPair(dst, m/60, " h ", m%60, " m")
}

func appendPair(dst []byte, a int64, aUnit string, b int64, bUnit string) []byte {
	dst = strconv.AppendInt(dst, a, 10)
	dst = append(dst, aUnit...)
	dst = append(dst, byte('0'+b/10), byte('0'+b%10))
	return append(dst, bUnit...)
}

// AppendBytes appends a size in binary units with three significant digits: 312 B, 33.1 KiB,
// 11.9 MiB. A negative one is unknown, and shown as "?".
func AppendBytes(dst []byte, n int64) []byte {
	switch {
	case n < 0:
		return append(dst, '?')
	case n < 1024:
		return append(strconv.AppendInt(dst, n, 10), " B"...)
	}
	return appendUnits(dst, float64(n), byteUnits, 1024)
}

// appendUnits writes n in the first unit in which it rounds to less than limit.
func appendUnits(dst []byte, n float64, units []unit, limit float64) []byte {
	u := units[0]
	for _, u = range units {
		if n/u.size < limit-0.5 {
			break
		}
	}
	v, decimals := n/u.size, 0
	switch {
	case v < 9.995:
		decimals = 2
	case v < 99.95:
		decimals = 1
	}
	return append(strconv.AppendFloat(dst, v, 'f', decimals, 64), u.name...)
}

// AppendCount appends a number with commas between the thousands: 109,000.
func AppendCount(dst []byte, n int64) []byte {
	var buf [20]byte
	digits := strconv.AppendInt(buf[:0], n, 10)
	if n < 0 {
		dst, digits = append(dst, '-'), digits[1:]
	}
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c)
	}
	return dst
}
