package redact

import "bytes"

// The lengths of card numbers, in digits (ISO/IEC 7812).
const (
	minCard = 13
	maxCard = 19
)

// cardRanges are the ranges of the first four digits that payment cards have, and the lengths of
// their numbers.
var cardRanges = []struct{ from, to, min, max int }{
	{2200, 2204, 16, 19}, // Mir
	{2221, 2720, 16, 16}, // Mastercard
	{3000, 3059, 14, 19}, // Diners Club
	{3400, 3499, 15, 15}, // American Express
	{3528, 3589, 16, 19}, // JCB
	{3600, 3699, 14, 19}, // Diners Club
	{3700, 3799, 15, 15}, // American Express
	{3800, 3999, 14, 19}, // Diners Club
	{4000, 4999, 13, 13}, // Visa
	{4000, 4999, 16, 16},
	{4000, 4999, 19, 19},
	{5000, 5099, 13, 19}, // Maestro
	{5100, 5599, 16, 16}, // Mastercard
	{5600, 5899, 13, 19}, // Maestro
	{6011, 6011, 16, 19}, // Discover
	{6200, 6299, 16, 19}, // UnionPay
	{6300, 6399, 13, 19}, // Maestro
	{6440, 6599, 16, 19}, // Discover
	{6700, 6799, 13, 19}, // Maestro
}

// cardLen returns the length of the card number that b begins with, 0 when there is none. Single
// spaces or dashes may stand between its digits, and no letter or digit behind it but the beginning of a
// token, which won't be there any more when it is redacted.
func cardLen(b []byte) int {
	var digits [maxCard]byte
	n, length := 0, 0
	for i := 0; i < len(b); {
		if isDigit(b[i]) {
			if n == maxCard {
				break
			}
			digits[n] = b[i] - '0'
			n++
			i++
			if n >= minCard && endsNumber(b[i:]) && isCard(digits[:n]) {
				length = i
			}
			continue
		}
		s := separatorLen(b[i:])
		if s == 0 || n == 0 {
			break
		}
		if i+s >= len(b) || !isDigit(b[i+s]) {
			break
		}
		i += s
	}
	return length
}

// cardAcross returns where in v[i:end] a card number begins that goes on beyond end, which is a blank, and its length, 0 when none does.
func cardAcross(v []byte, i, end, to int) (from, length int) {
	if end >= to || v[end] != ' ' || end == i || !isDigit(v[end-1]) {
		return 0, 0
	}
	for from = end - 1; from >= max(i, end-2*maxCard); from-- {
		switch c := v[from]; {
		case !isDigit(c) && c != '-' && c != '+':
			return 0, 0
		case !isDigit(c) || from > i && (v[from-1] == '.' || isAlphanumeric(v[from-1])):
			continue
		}
		if length = cardLen(v[from:to]); length > end-from {
			return from, length
		}
	}
	return 0, 0
}

// mayHoldCard reports whether cardLen may find something in b. It looks at few bytes of ordinary text: of two
// neighbours in a card number, one is a digit.
func mayHoldCard(b []byte) bool {
	from := 0 // no number begins before it
	for {
		i := from + minCard - 1
		if i >= len(b) {
			return false
		}
		if (kinds[b[i]]|kinds[b[i-1]])&digit == 0 {
			from = i + 1
			continue
		}
		if middle := i - minCard/2; (kinds[b[middle]]|kinds[b[middle-1]])&digit == 0 {
			from = middle + 1
			continue
		}
		start := i
		for start > from && (isDigit(b[start]) || isDigit(b[start-1])) {
			start--
		}
		digits, end := 0, start
		for end < len(b) && (end < i || isDigit(b[end]) || isDigit(b[end-1])) {
			if isDigit(b[end]) {
				digits++
			}
			end++
		}
		if digits >= minCard {
			return true
		}
		from = end
	}
}

// isPlainCard reports whether the card number v[i:i+length] is one by plainCards.
func isPlainCard(v []byte, i, length int) bool {
	digits := 0
	for _, c := range v[i : i+length] {
		if isDigit(c) {
			digits++
		}
	}
	before := i >= 2 && v[i-1] == '-' && isAlphanumeric(v[i-2])
	end := i + length
	after := end+1 < len(v) && v[end] == '-' && isAlphanumeric(v[end+1])
	return 14 <= digits && digits <= 16 && !before && !after
}

// endsNumber reports whether a number may end before b.
func endsNumber(b []byte) bool {
	return len(b) == 0 || !isAlphanumeric(b[0]) || bytes.HasPrefix(b, tokenStart)
}

// separatorLen returns the length of the separator of digit groups that b begins with, 0 when there
// is none.
func separatorLen(b []byte) int {
	switch {
	case b[0] == ' ', b[0] == '-', b[0] == '+':
		return 1
	case bytes.HasPrefix(b, []byte("%20")), bytes.HasPrefix(b, []byte("%2D")), bytes.HasPrefix(b, []byte("%2d")):
		return 3
	}
	return 0
}

// isCard reports whether digits have the beginning, the length and the check digit of a card number.
func isCard(digits []byte) bool {
	prefix := 0
	for _, d := range digits[:4] {
		prefix = prefix*10 + int(d)
	}
	for _, r := range cardRanges {
		if r.from <= prefix && prefix <= r.to && r.min <= len(digits) && len(digits) <= r.max {
			return luhn(digits)
		}
	}
	return false
}

// luhn reports whether the check digit is right (ISO/IEC 7812-1 annex B).
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
