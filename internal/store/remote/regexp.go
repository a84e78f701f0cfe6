package remote

import (
	"regexp/syntax"
	"strings"
	"unicode"
)

// maxRegexp bounds the text of regular expressions that clusters are asked to match (index.max_regex_length is 1,000).
const maxRegexp = 800

// matches returns the bounds of the texts in which an RE2 expression is found. Lucene's language of regular expressions has no
// anchors, and always means the whole text.
func matches(field, expression string, lowered bool) bounds {
	unknown := between(exists(field), none())
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return unknown
	}
	l := lucene{lowered: lowered}
	text, ok := l.whole(re.Simplify())
	if !ok || len(text) > maxRegexp {
		return unknown
	}
	q := object{"regexp": object{field: object{"value": text, "flags": "NONE"}}}
	return between(either(q, escapes(field)), without(q, escapes(field)))
}

// lucene writes expressions in Lucene's language.
type lucene struct {
	// lowered: the text is made lower case before it is matched.
	lowered bool
	b       strings.Builder
}

// whole returns the expression for a text in which re is found; ok: there is one.
func (l *lucene) whole(re *syntax.Regexp) (text string, ok bool) {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	begin, end := false, false
	for len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		begin, parts = true, parts[1:]
	}
	for len(parts) > 0 && parts[len(parts)-1].Op == syntax.OpEndText {
		end, parts = true, parts[:len(parts)-1]
	}
	if !begin {
		l.b.WriteString(".*")
	}
	for _, p := range parts {
		if !l.write(p) {
			return "", false
		}
	}
	if !end {
		l.b.WriteString(".*")
	}
	if l.b.Len() == 0 {
		return "()", true
	}
	return l.b.String(), true
}

// write writes an expression; false: Lucene has no such.
func (l *lucene) write(re *syntax.Regexp) bool {
	if l.b.Len() > maxRegexp {
		return false
	}
	switch re.Op {
	case syntax.OpEmptyMatch: // repetitions that are counted, Simplify has written out
		l.b.WriteString("()")
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			runes := []rune{r, r}
			if re.Flags&syntax.FoldCase != 0 {
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					runes = append(runes, f, f)
				}
			}
			if !l.class(runes) {
				return false
			}
		}
	case syntax.OpCharClass:
		return l.class(re.Rune)
	case syntax.OpAnyChar:
		l.b.WriteByte('.')
	case syntax.OpAnyCharNotNL:
		l.b.WriteString("[^\n]")
	case syntax.OpCapture:
		return l.group(re.Sub[0], "")
	case syntax.OpStar:
		return l.group(re.Sub[0], "*")
	case syntax.OpPlus:
		return l.group(re.Sub[0], "+")
	case syntax.OpQuest:
		return l.group(re.Sub[0], "?")
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !l.write(sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		l.b.WriteByte('(')
		for i, sub := range re.Sub {
			if i > 0 {
				l.b.WriteByte('|')
			}
			if !l.write(sub) {
				return false
			}
		}
		l.b.WriteByte(')')
	default:
		return false
	}
	return true
}

func (l *lucene) group(re *syntax.Regexp, times string) bool {
	l.b.WriteByte('(')
	ok := l.write(re)
	l.b.WriteString(")" + times)
	return ok
}

// class writes pairs of runes: from each first to each second.
func (l *lucene) class(runes []rune) bool {
	if l.lowered {
		runes = lowerOnly(runes)
	}
	if len(runes) == 0 {
		return false
	}
	if len(runes) == 2 && runes[0] == runes[1] {
		l.rune(runes[0])
		return true
	}
	l.b.WriteByte('[')
	for i := 0; i < len(runes); i += 2 {
		l.rune(runes[i])
		if runes[i] != runes[i+1] {
			l.b.WriteByte('-')
			l.rune(runes[i+1])
		}
	}
	l.b.WriteByte(']')
	return true
}

func (l *lucene) rune(r rune) {
	if r < 0x80 && r > ' ' && !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
		l.b.WriteByte('\\')
	}
	l.b.WriteRune(r)
}

// lowerOnly returns a class of what becomes one of the runes when its ASCII letters are made lower case.
func lowerOnly(runes []rune) (all []rune) {
	for i := 0; i < len(runes); i += 2 {
		from, to := runes[i], runes[i+1]
		if from < 'A' {
			all = append(all, from, min(to, 'A'-1))
		}
		if to > 'Z' {
			all = append(all, max(from, 'Z'+1), to)
		}
		if from, to := max(from, 'a'), min(to, 'z'); from <= to {
			all = append(all, from-'a'+'A', to-'a'+'A')
		}
	}
	return all
}
