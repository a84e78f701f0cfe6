package terminal

import "github.com/rivo/uniseg"

// Ellipsis stands for what was cut.
const Ellipsis = "…"

// Width returns how many columns safe text takes.
func Width(b []byte) int {
	if isASCII(b) {
		return len(b)
	}
	return uniseg.StringWidth(string(b))
}

// Fit returns the length in bytes of the longest beginning of safe text that takes no more than
// width columns. It never splits a character and its accents.
func Fit(b []byte, width int) int {
	width = max(width, 0)
	if isASCII(b) {
		return min(len(b), width)
	}
	n, state := 0, -1
	for rest := b; len(rest) > 0; {
		var cluster []byte
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeCluster(rest, state)
		if w > width {
			break
		}
		n += len(cluster)
		width -= w
	}
	return n
}

// AppendMiddle appends safe text cut to width columns: its beginning and its end, with an ellipsis
// for the middle. The beginning gets three quarters.
func AppendMiddle(dst, b []byte, width int) []byte {
	total := Width(b)
	switch {
	case total <= width:
		return append(dst, b...)
	case width <= 0:
		return dst
	}
	tail := (width - 1) / 4
	head := Fit(b, width-1-tail)
	dst = append(dst, b[:head]...)
	dst = append(dst, Ellipsis...)
	from := Fit(b, total-tail)
	for rest := b[from:]; Width(rest) > tail; rest = b[from:] { // a wide character lies across the cut
		cluster, _, _, _ := uniseg.FirstGraphemeCluster(rest, -1)
		from += len(cluster)
	}
	return append(dst, b[from:]...)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
