package statement

import "bytes"

// Commands of MongoDB are written as its shell takes them, db.collection.find({"age": {"$gt": 30}}): what is before the
// parenthesis is kept, and of the JSON within the names and operators. Values are replaced by ?, and of the items of an
// array those that are like the one before are left out.

// jsonReader goes through JSON that may be cut or malformed.
type jsonReader struct {
	w     *writer
	text  []byte
	at    int
	finds bool
	found []Literal
	// name is that of the member at hand; opens are the open brackets.
	name  []byte
	opens [maxDepth]bracket
	depth int
	// spaced: a space is due before what comes next. value: a value was written, and nothing since.
	spaced, value bool
}

// bracket is an open bracket.
type bracket struct {
	array bool
	items list
	name  []byte
}

// documents writes the template of a command.
func (w *writer) documents(method, text []byte, cut bool) {
	r := jsonReader{w: w, text: text}
	r.call(method)
	r.run()
	if !cut {
		return
	}
	// The last item of an array may be a part of one like the others.
	for d := range min(r.depth, maxDepth) {
		if b := &r.opens[d]; b.array && b.items.any {
			w.truncate(b.items.end)
			break
		}
	}
}

func documentLiterals(w *writer, dst []Literal, _, text []byte) []Literal {
	r := jsonReader{w: w, text: text, finds: true, found: dst}
	r.call(nil)
	r.run()
	return r.found
}

// call writes what is before the parenthesis, or the command where the text has none.
func (r *jsonReader) call(method []byte) {
	for r.at < len(r.text) && !inName(r.text[r.at]) && bytes.IndexByte(structure, r.text[r.at]) < 0 {
		r.at++
	}
	name := r.text[r.at:r.nameEnd(r.at)]
	r.at += len(name)
	if len(name) == 0 {
		name = method
	}
	if r.finds {
		return
	}
	for _, c := range name {
		if !inName(c) {
			c = '_'
		}
		r.w.out = append(r.w.out, c)
	}
	r.w.fits()
	r.spaced = len(name) > 0
}

// structure are the bytes that mean something outside of names.
var structure = []byte("{}[](),\"'?")

// nameEnd returns where the name ends that begins at i.
func (r *jsonReader) nameEnd(i int) int {
	for i < len(r.text) && inName(r.text[i]) {
		i++
	}
	return i
}

// inName reports whether a byte may be of the names of databases, collections and commands.
func inName(c byte) bool { return bytesOf[c]&isPart != 0 || c == '.' || c == '-' || c == '+' }

// run takes all tokens.
func (r *jsonReader) run() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '{', c == '[', c == '(':
			r.open(c)
		case c == '}', c == ']', c == ')':
			r.close(c)
		case c == ',':
			r.comma()
		case c == '"', c == '\'':
			r.quoted(r.at)
		case c == '?':
			r.at++
			r.add(r.at-1, r.at, r.at-1, r.at)
		case inName(c):
			r.word(r.at)
		default:
			r.at++
		}
	}
}

func (r *jsonReader) bracket() *bracket {
	if r.depth > 0 && r.depth <= maxDepth {
		return &r.opens[r.depth-1]
	}
	return nil
}

func (r *jsonReader) open(c byte) {
	r.at++
	if c == '(' && r.depth == 0 && !r.value {
		r.spaced = false // of the call
	}
	r.put([]byte{c})
	r.spaced, r.value = false, false
	r.depth++
	if b := r.bracket(); b != nil {
		*b = bracket{array: c == '[', name: r.name}
		b.items.begin(r.w)
	}
}

func (r *jsonReader) close(c byte) {
	r.at++
	if b := r.bracket(); b != nil {
		if b.array && !r.finds {
			b.items.ended(r.w)
		}
		r.name = b.name
	}
	r.depth = max(r.depth-1, 0)
	r.spaced = false
	r.put([]byte{c})
	r.spaced, r.value = true, false
}

func (r *jsonReader) comma() {
	r.at++
	b := r.bracket()
	if b != nil && b.array && !r.finds {
		b.items.ended(r.w)
	}
	r.spaced = false
	r.put(commaText)
	r.spaced, r.value = true, false
	if b != nil {
		b.items.begin(r.w)
		r.name = b.name
	}
}

// put writes a token.
func (r *jsonReader) put(text []byte) {
	if r.finds {
		return
	}
	if r.spaced {
		r.w.out = append(r.w.out, ' ')
	}
	r.w.out = append(r.w.out, text...)
	r.w.fits()
}

// quoted is a string: the name of a member if a colon follows, else a value.
func (r *jsonReader) quoted(from int) {
	quote := r.text[from]
	i := from + 1
	for i < len(r.text) && r.text[i] != quote {
		if r.text[i] == '\\' {
			i++
		}
		i++
	}
	i = min(i, len(r.text))
	to := min(i+1, len(r.text))
	r.at = to
	r.nameOrValue(from, to, from+1, i)
}

// word is a number, a constant, a name without quotes, or a call such as ObjectId("...").
func (r *jsonReader) word(from int) {
	i := r.nameEnd(from)
	r.at = i
	if i < len(r.text) && r.text[i] == '(' && r.depth > 1 {
		// All of the call is a value, up to its end.
		if n := bytes.IndexByte(r.text[i:], ')'); n >= 0 {
			i += n + 1
		} else {
			i = len(r.text)
		}
		r.at = i
		r.add(from, i, from, i)
		return
	}
	r.nameOrValue(from, i, from, i)
}

func (r *jsonReader) nameOrValue(from, to, textFrom, textTo int) {
	i := to
	for i < len(r.text) && r.text[i] <= ' ' {
		i++
	}
	b := r.bracket()
	if i < len(r.text) && r.text[i] == ':' && (b == nil || !b.array) {
		r.at = i + 1
		if r.name == nil || textFrom == textTo || r.text[textFrom] != '$' { // an operator is about the member that it is in
			r.name = r.text[textFrom:textTo]
		}
		if r.finds {
			return
		}
		r.w.other = append(append(r.w.other[:0], r.w.oneLine(r.text[from:to])...), ':')
		r.put(r.w.other)
		r.spaced, r.value = true, false
		return
	}
	r.add(from, to, textFrom, textTo)
}

// add writes a value, or adds it to the literals. Values in a row, which JSON hasn't, are one.
func (r *jsonReader) add(from, to, textFrom, textTo int) {
	if r.finds {
		if string(r.text[from:to]) != "?" {
			r.found = append(r.found, Literal{From: from, To: to, TextFrom: textFrom, TextTo: textTo, Name: r.name})
		}
		return
	}
	if !r.value {
		r.put(question)
	}
	r.spaced, r.value = true, true
}

// describeShell returns the last part of what is before the parenthesis, and what is between the database and it.
func describeShell(template []byte) (operation, collection string) {
	n := bytes.IndexAny(template, "({[\"' ")
	if n < 0 {
		n = len(template)
	}
	name := template[:n]
	last := bytes.LastIndexByte(name, '.')
	operation = string(name[last+1:])
	if first := bytes.IndexByte(name, '.'); first >= 0 && first < last {
		collection = string(name[first+1 : last])
	}
	if len(operation) > MaxName || len(collection) > MaxName {
		return "", ""
	}
	return operation, collection
}
