package statement

import "bytes"

// Commands of Redis and memcached are words with blanks between them, and quotes around what holds blanks. Of their
// arguments, templates have the patterns of keys, what scripts are called, and a ? for the rest, once for all in a row.

// command says what the arguments of a command are. Arguments are counted from 1, behind the command.
type command struct {
	// first is the first key, last the last, from the end if it is below zero, and step how far it is from one to the next.
	// first is 0 when there are none.
	first, last, step int
	// count is the argument that says how many keys follow it; 0: none does.
	count int
	// behind is the word behind which the first half of the arguments are keys.
	behind string
	// secret is the argument from which on all are credentials; 0: none is. told are the words that credentials follow.
	secret int
	told   []telling
	// script says what the first argument is, where it is a script.
	script scriptForm
	// stores is how far behind a key its value is, where a command stores one; 0: it doesn't.
	stores int
	// rules: arguments that begin with a sign are credentials, such as >password.
	rules bool
}

// telling is a word behind which credentials stand, and how many.
type telling struct {
	word string
	n    int
}

// argument is one word of a text: its place, and that of what is within its quotes.
type argument struct{ from, to, textFrom, textTo int }

// nextArgument returns the word that begins at i or behind the blanks there. It is empty, at the end, when there is none.
func nextArgument(text []byte, i int) argument {
	for i < len(text) && text[i] <= ' ' {
		i++
	}
	a := argument{from: i, textFrom: i}
	quote := byte(0)
	if i < len(text) && (text[i] == '"' || text[i] == '\'') {
		quote = text[i]
		i++
		a.textFrom = i
		for i < len(text) && text[i] != quote {
			if text[i] == '\\' {
				i++
			}
			i++
		}
		i = min(i, len(text))
		a.textTo = i
	}
	for i < len(text) && text[i] > ' ' { // behind the quote may stand how long it was
		if text[i] == redacted[0] {
			i += markLen(text[i:])
		}
		i++
	}
	a.to = i
	if quote == 0 {
		a.textTo = i
	}
	return a
}

// redacted is what marks of redaction begin with, which have blanks in them.
const redacted = "…[redacted "

// markLen returns how long the mark is that b begins with, without its end; 0 when there is none.
func markLen(b []byte) int {
	const maxMark = 40
	if len(b) < len(redacted) || string(b[:len(redacted)]) != redacted {
		return 0
	}
	return max(bytes.IndexByte(b[:min(len(b), maxMark)], ']'), 0)
}

// vocabulary are the commands of a protocol.
type vocabulary struct {
	number   byte
	commands map[string]*command
	// containers are the commands whose first argument is a part of their names.
	containers map[string]bool
	// other is any command that isn't known.
	other *command
	// options are the words that may stand among the arguments of any command, in upper case; all: no argument is data.
	options map[string]bool
	all     bool
}

// language makes the language of a vocabulary.
func (v *vocabulary) language() *language {
	return &language{
		number:   v.number,
		shape:    v.shape,
		literals: func(_ *writer, dst []Literal, method, text []byte) []Literal { return v.literals(dst, method, text) },
		describe: v.describe,
	}
}

// maxCommand is how long the name of a command is at most, in bytes. What is longer is none.
const maxCommand = 64

// find returns what is known of a command. word2 is its second word, if that is known.
func (v *vocabulary) find(word1, word2 []byte) (c *command, container bool) {
	var name [2*maxCommand + 1]byte
	if len(word1) > maxCommand {
		return v.other, false
	}
	n := upper(name[:0], word1)
	if v.containers[string(n)] && len(word2) > 0 && len(word2) <= maxCommand {
		container = true
		n = upper(append(n, ' '), word2)
	}
	if c = v.commands[string(n)]; c == nil {
		c = v.other
	}
	return c, container
}

func upper(dst, b []byte) []byte {
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// command returns the words of the command that a text is of, what is known of it, and where its arguments begin: the
// text may begin with the command or not.
func (v *vocabulary) command(method, text []byte) (words [2][]byte, c *command, at int) {
	first := nextArgument(text, 0)
	second := nextArgument(text, first.to)
	word1, word2 := text[first.from:first.to], text[second.from:second.to]
	main, sub, two := bytes.Cut(method, []byte(" "))
	if !isCommand(main) || two && !isCommand(sub) {
		c, container := v.find(word1, word2)
		if container {
			return [2][]byte{word1, word2}, c, second.to
		}
		return [2][]byte{word1}, c, first.to
	}
	c, _ = v.find(main, sub)
	words = [2][]byte{main, sub}
	if !bytes.EqualFold(word1, main) {
		return words, c, 0
	}
	if len(sub) > 0 && bytes.EqualFold(word2, sub) {
		return words, c, second.to
	}
	return words, c, first.to
}

// places are where the keys of a command at hand are.
type places struct {
	*command
	// total is how many arguments there are.
	total int
	// from is the first of the keys that an argument tells of, to the one behind the last; behind is the word before them.
	from, to, behind int
}

// places counts the arguments that begin at a place, and finds out which are keys.
func (c *command) places(text []byte, at int) places {
	p := places{command: c}
	if c.last >= 0 && c.count == 0 && c.behind == "" {
		return p
	}
	for a := nextArgument(text, at); a.from < a.to; a = nextArgument(text, a.to) {
		p.total++
		w := text[a.textFrom:a.textTo]
		if p.total == c.count {
			p.from = p.total + 1
			p.to = p.from + number(w)
		}
		if p.behind == 0 && c.behind != "" && bytes.EqualFold(w, []byte(c.behind)) {
			p.behind = p.total
		}
	}
	if p.behind > 0 {
		p.from = p.behind + 1
		p.to = p.from + (p.total-p.behind)/2
	}
	return p
}

// isKey reports whether the argument of that number is a key.
func (p *places) isKey(n int) bool {
	if p.from <= n && n < p.to {
		return true
	}
	last := p.last
	if last < 0 {
		last += p.total + 1
	}
	return p.first > 0 && p.first <= n && n <= last && (n-p.first)%max(p.step, 1) == 0
}

// isStructure reports whether the argument of that number tells where the keys are.
func (p *places) isStructure(n int, w []byte) bool {
	return n == p.behind && n > 0 || n == p.count && number(w) > 0
}

// shape writes the template of a command.
func (v *vocabulary) shape(w *writer, method, text []byte, _ bool) {
	words, c, at := v.command(method, text)
	for _, word := range words {
		if len(word) == 0 {
			continue
		}
		if len(w.out) > 0 {
			w.out = append(w.out, ' ')
		}
		w.out = appendCommand(w.out, word)
	}
	w.fits()
	p := c.places(text, at)
	var items list
	n, wasKey := 0, false
	for a := nextArgument(text, at); a.from < a.to; a = nextArgument(text, a.to) {
		n++
		arg := text[a.textFrom:a.textTo]
		isKey := p.isKey(n)
		if p.begins(n) {
			if n > 1 {
				items.ended(w)
			}
			if !p.joins(n, isKey) || p.step <= 1 && isKey != wasKey {
				items.any = false
			}
			items.begin(w)
		}
		wasKey = isKey
		w.out = append(w.out, ' ')
		switch {
		case n == 1 && c.script != noScript:
			w.appendScript(text, a, c.script)
		case p.isStructure(n, arg):
			w.out = upper(w.out, arg)
		case isKey:
			w.out = appendPattern(w.out, arg)
		default:
			w.out = append(w.out, '?')
		}
		w.fits()
	}
	if n > 0 {
		items.ended(w)
	}
}

// begins reports whether the argument of that number begins an item that may be like the one before.
func (p *places) begins(n int) bool {
	return n == 1 || p.step <= 1 || n > p.first && (n-p.first)%p.step == 0
}

// joins reports whether an argument may be left out when the one before has the same pattern: not where that would move
// the keys to other places.
func (p *places) joins(n int, isKey bool) bool {
	switch {
	case p.behind > 0:
		return n < p.behind
	case isKey:
		return p.last < 0
	}
	return n > p.count+1 || p.count == 0
}

// isCommand reports whether a word looks like one of a command.
func isCommand(word []byte) bool {
	for _, c := range word {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\'' {
			return false
		}
	}
	return len(word) > 0 && len(word) <= maxCommand
}

// appendCommand appends a word of a command, as it is when it looks like one.
func appendCommand(dst, word []byte) []byte {
	if !isCommand(word) {
		return append(dst, '?')
	}
	return append(dst, word...)
}

// literals finds the arguments that aren't keys. Their names are the arguments before them, as in HSET user:1 password x, or
// the ends of the keys that they are stored under, as in SET user:1:password x.
func (v *vocabulary) literals(dst []Literal, method, text []byte) []Literal {
	_, c, at := v.command(method, text)
	p := c.places(text, at)
	n, told := 0, 0
	keyAt, key := 0, []byte(nil)
	var before []byte
	for a := nextArgument(text, at); a.from < a.to; a = nextArgument(text, a.to) {
		n++
		arg := text[a.textFrom:a.textTo]
		l := Literal{From: a.from, To: a.to, TextFrom: a.textFrom, TextTo: a.textTo, Name: before}
		if keyAt > 0 && n == keyAt+c.stores {
			l.Name = key
		}
		before = arg
		if p.isKey(n) {
			before = nil
			if c.stores > 0 {
				keyAt, key = n, arg[bytes.LastIndexAny(arg, ":/|")+1:]
			}
		}
		switch {
		case told > 0:
			told--
			l.Secret = true
		case c.secret > 0 && n >= c.secret, c.rules && len(arg) > 1 && bytes.IndexByte([]byte("><#!"), arg[0]) >= 0:
			l.Secret = true
		default:
			told = c.tells(arg)
		}
		switch {
		case !l.Secret && (v.all || told > 0 || p.isKey(n) || p.isStructure(n, arg) || v.isOption(arg)):
		case len(arg) == 1 && arg[0] == '?' && a.to-a.from == 1, bytes.Equal(arg, hidden): // hidden already
		default:
			dst = append(dst, l)
		}
	}
	return dst
}

// hidden is what parsers show in place of credentials.
var hidden = []byte("…[redacted]")

// isOption reports whether a word is an option, such as EX, rather than data.
func (v *vocabulary) isOption(word []byte) bool {
	var name [maxOption]byte
	return len(word) <= maxOption && v.options[string(upper(name[:0], word))]
}

// maxOption is how long an option is at most.
const maxOption = 12

// tells returns how many credentials follow a word.
func (c *command) tells(word []byte) int {
	for i := range c.told {
		if bytes.EqualFold(word, []byte(c.told[i].word)) {
			return c.told[i].n
		}
	}
	return 0
}

// describe returns the command of a template, and what its first key begins with.
func (v *vocabulary) describe(template []byte) (operation, collection string) {
	words, c, at := v.command(nil, template)
	operation = string(words[0])
	if len(words[1]) > 0 {
		operation += " " + string(words[1])
	}
	p := c.places(template, at)
	n := 0
	for a := nextArgument(template, at); a.from < a.to; a = nextArgument(template, a.to) {
		if n++; p.isKey(n) {
			return operation, string(keyPrefix(template[a.from:a.to]))
		}
	}
	return operation, ""
}
