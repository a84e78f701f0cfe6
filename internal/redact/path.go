package redact

import "bytes"

// minPathSecret is how long a segment of a path is at least that is a secret by its look.
const minPathSecret = 8

// pathReach is how many segments behind a word of pathWords may be secrets.
const pathReach = 2

// pathWords are segments of paths that are followed by secrets: by links that were mailed to somebody, or that
// whoever knows them may follow. They are in plain form, as secretNames are.
var pathWords = []secretName{
	{"reset", 1, true, builtIn}, {"passwordreset", 1, false, builtIn}, {"resetpassword", 1, false, builtIn}, {"forgotpassword", 1, false, builtIn},
	{"recover", 1, false, builtIn}, {"recovery", 1, false, builtIn}, {"token", 1, true, builtIn}, {"invite", 1, true, builtIn},
	{"invites", 1, false, builtIn}, {"invitation", 1, true, builtIn}, {"invitations", 1, false, builtIn}, {"verify", 1, false, builtIn},
	{"verifyemail", 1, false, builtIn}, {"emailverify", 1, false, builtIn}, {"verification", 1, true, builtIn}, {"confirm", 1, false, builtIn},
	{"confirmemail", 1, false, builtIn}, {"emailconfirm", 1, false, builtIn}, {"confirmation", 1, true, builtIn}, {"activate", 1, false, builtIn},
	{"activation", 1, false, builtIn}, {"unsubscribe", 1, false, builtIn}, {"magic", 1, false, builtIn}, {"magiclink", 1, false, builtIn},
	{"login", 1, false, builtIn}, {"signin", 1, false, builtIn}, {"join", 1, false, builtIn}, {"share", 1, false, builtIn},
	{"shared", 1, false, builtIn}, {"sharelink", 1, false, builtIn}, {"secret", 1, true, builtIn}, {"secrets", 1, false, builtIn},
	{"apikey", 1, false, builtIn}, {"webhook", 1, false, builtIn}, {"webhooks", 1, false, builtIn}, {"hook", 1, false, builtIn},
	{"hooks", 1, false, builtIn}, {"sessionid", 1, false, builtIn},
}

// path is the path of a URL: parameters, what looks like a secret, and random segments behind telling words.
func (r *Redactor) path(v []byte, i, to int) {
	random, parameters := glance(v[i:to])
	parameters = parameters || containsToken(v[i:to]) || mayHoldCard(v[i:to])
	if !random && !parameters {
		return
	}
	parameters = parameters || bytes.ContainsAny(v[i:to], "%@") || bytes.Contains(v[i:to], privateKeyStart)
	reach := 0 // how many segments more may be secrets
	for i < to {
		end := next(v, i, to, &slash)
		start, segment := i, i // what ends before its parameters
		for segment < end && v[segment] != ';' {
			segment++
		}
		switch {
		case reach > 0 && isRandom(v[i:segment]):
			reach--
			r.add(v, i, segment)
			i = segment
		default:
			reach = max(reach-1, 0)
		}
		if parameters {
			r.parameters(v, i, end, &pathNames, &pathNames)
		}
		if random && end < to && r.isPathWord(v[start:segment]) {
			reach = pathReach
		}
		i = end + 1
	}
}

var slash = newDelimiters("/")

// isPathWord reports whether secrets follow a segment: by the rules, or by the table.
func (r *Redactor) isPathWord(segment []byte) bool {
	if s := r.names.lookup(segment); s != nil && s.origin != builtIn {
		return s.origin == named
	}
	for i := range pathWords {
		if pathWords[i].is(segment) {
			return true
		}
	}
	return false
}

// What glance tells bytes apart by.
const (
	digit = 1 << iota
	lower
	upper
	equals
	marks
)

// kinds are those of bytes.
var kinds = newKinds()

func newKinds() (k [256]uint8) {
	for i := range 26 {
		k['a'+i], k['A'+i] = lower, upper
	}
	for i := range 10 {
		k['0'+i] = digit
	}
	k['='], k[markStart[0]] = equals, marks
	return k
}

// glance reports whether a segment of a path may be random, and whether parameters may be in one.
func glance(v []byte) (random, parameters bool) {
	var segment, all uint8
	start := 0
	for i := 0; ; i++ {
		if i < len(v) && v[i] != '/' {
			segment |= kinds[v[i]]
			continue
		}
		all |= segment
		if i-start >= minPathSecret && (segment&digit != 0 && segment&(lower|upper) != 0 || segment&(lower|upper) == lower|upper || segment&marks != 0) {
			random = true
		}
		if i >= len(v) {
			return random, all&equals != 0
		}
		start, segment = i+1, 0
	}
}

// isRandom reports whether a segment looks like a secret rather than a word or a number: it has letters and
// digits, or is long and has lower and upper case. Marks don't count.
func isRandom(segment []byte) bool {
	const minLetters = 16
	var n, digits, lower, upper int
	for i := 0; i < len(segment); i++ {
		switch c := segment[i]; {
		case isDigit(c):
			digits++
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case c == markStart[0] && markLen(segment[i:]) > 0:
			i += markLen(segment[i:]) - 1
			continue
		}
		n++
	}
	return n >= minPathSecret && digits > 0 && lower+upper > 0 || n >= minLetters && lower > 0 && upper > 0
}
