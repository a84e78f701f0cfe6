package redact

import (
	"bytes"
	"path"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// MaxProcesses is how many processes a Redactor remembers the redacted form of. When there are more, it
// forgets them all, and does the work again.
const MaxProcesses = 1024

// hiddenProcess is a process without the secrets of its arguments, and the fingerprints of those.
type hiddenProcess struct {
	process *exchange.Process
	secrets []string
}

// process returns the process with the secrets of its arguments hidden: itself when there are none, or a copy,
// since many exchanges share it.
func (r *Redactor) process(p *exchange.Process) *exchange.Process {
	if p == nil || len(p.Args) == 0 {
		return p
	}
	h, ok := r.processes[p]
	if !ok {
		h = r.hide(p)
		if r.processes == nil {
			r.processes = map[*exchange.Process]hiddenProcess{}
		} else if len(r.processes) >= MaxProcesses {
			clear(r.processes)
		}
		r.processes[p], r.processes[h.process] = h, h
	}
	for _, f := range h.secrets {
		r.list(f)
	}
	return h.process
}

func (r *Redactor) hide(p *exchange.Process) hiddenProcess {
	listed := r.listed
	r.listed = nil
	h := hiddenProcess{process: p}
	if args := r.Arguments(p.Args); &args[0] != &p.Args[0] {
		hidden := *p
		hidden.Args = args
		h.process = &hidden
	}
	h.secrets, r.listed = r.listed, listed
	return h
}

// Arguments hides the secrets in the arguments of a process, its name first. It returns args themselves when
// there are none, else a copy.
func (r *Redactor) Arguments(args []string) []string {
	a := arguments{Redactor: r}
	out := args
	for i, arg := range args {
		v := []byte(arg)
		r.spans = r.spans[:0]
		a.piece(v, 0, len(v), 0)
		if len(r.patterns) > 0 {
			r.match(v)
		}
		if len(r.spans) == 0 {
			continue
		}
		if &out[0] == &args[0] {
			out = slices.Clone(args)
		}
		out[i] = string(r.appendRedacted(nil, v))
	}
	return out
}

// maxQuotes is how deep commands within quotes of commands are taken apart.
const maxQuotes = 4

// arguments is the way through the arguments of one process.
type arguments struct {
	*Redactor
	// options are those of the program that was named last.
	options []option
	// awaited says what the next argument is, if the one before told.
	awaited value
	// rest: the last piece was the name of a header whose value is all that follows.
	rest finder
}

// value says how to find the secrets of a value: none are in one shorter than min.
type value struct {
	find finder
	min  int
}

// option is a way in which a program is given a secret, where its name alone doesn't say so.
type option struct {
	// name is the option with its dashes.
	name string
	// attached: the value stands in the same argument, behind the name. next: it may be the next argument.
	attached, next bool
	find           finder
}

// programs are known by their names, in which * stands for anything.
var programs = []struct {
	names   []string
	options []option
}{
	{[]string{"mysql*", "mariadb*", "7z*"}, []option{{"-p", true, false, (*Redactor).whole}}},
	{[]string{"sshpass", "mongo*", "cqlsh*"}, []option{{"-p", true, true, (*Redactor).whole}}},
	{[]string{"redis-cli", "valkey-cli", "keydb-cli"}, []option{{"-a", false, true, (*Redactor).whole}}},
	{[]string{"curl"}, []option{
		{"-u", true, true, (*Redactor).userPassword}, {"--user", false, true, (*Redactor).userPassword},
		{"-U", true, true, (*Redactor).userPassword}, {"--proxy-user", false, true, (*Redactor).userPassword},
		{"-b", true, true, (*Redactor).cookieOption}, {"--cookie", false, true, (*Redactor).cookieOption},
		{"--oauth2-bearer", false, true, (*Redactor).whole},
	}},
	{[]string{"http", "https", "xh", "xhs"}, []option{{"-a", true, true, (*Redactor).whole}}},
	{[]string{"ab"}, []option{
		{"-A", true, true, (*Redactor).userPassword}, {"-P", true, true, (*Redactor).userPassword}, {"-C", true, true, (*Redactor).cookieOption},
	}},
	{[]string{"ldap*"}, []option{{"-w", true, true, (*Redactor).whole}}},
	{[]string{"smbclient", "rpcclient", "net", "lftp"}, []option{{"-U", true, true, (*Redactor).userPassword}, {"-u", true, true, (*Redactor).userPassword}}},
	{[]string{"sqlcmd", "bcp", "isql", "tsql", "zip", "unzip", "ipmitool", "mosquitto_*"}, []option{{"-P", true, true, (*Redactor).whole}}},
	{[]string{"plink", "pscp", "psftp", "putty"}, []option{{"-pw", false, true, (*Redactor).whole}}},
	{[]string{"snmp*"}, []option{
		{"-c", true, true, (*Redactor).whole}, {"-A", true, true, (*Redactor).whole}, {"-X", true, true, (*Redactor).whole},
	}},
	{[]string{"xfreerdp", "wlfreerdp"}, []option{{"/p:", true, false, (*Redactor).whole}}},
	{[]string{"openssl"}, []option{
		{"-passin", false, true, (*Redactor).whole}, {"-passout", false, true, (*Redactor).whole}, {"-k", false, true, (*Redactor).whole},
	}},
}

// programOptions returns what is known of the program of that path or name.
func programOptions(program []byte) []option {
	name := string(program[bytes.LastIndexByte(program, '/')+1:])
	for i := range programs {
		for _, pattern := range programs[i].names {
			if ok, _ := path.Match(pattern, name); ok {
				return programs[i].options
			}
		}
	}
	return nil
}

// userPassword is a user name, and a password if a separator says so.
func (r *Redactor) userPassword(v []byte) {
	if bytes.ContainsAny(v, ":%,") {
		r.whole(v)
	}
}

// cookieOption are cookies, or the name of a file with cookies.
func (r *Redactor) cookieOption(v []byte) {
	if bytes.IndexByte(v, '=') >= 0 {
		r.cookies(v)
	}
}

// piece is an argument, or a word of a command that is one argument: v[from:to].
func (a *arguments) piece(v []byte, from, to, depth int) {
	if from < to && (v[from] == '"' || v[from] == '\'') {
		quote := v[from]
		from++
		if to > from && v[to-1] == quote {
			to--
		}
	}
	if awaited := a.awaited; awaited.find != nil {
		a.awaited = value{}
		if !looksLikeOption(v[from:to]) {
			if to-from >= awaited.min {
				a.within(v, from, to, awaited.find)
			}
			return
		}
	}
	from = a.named(v, from, to)
	switch {
	case from == to:
	case v[from] == '{':
		a.members(v, from, to)
	case depth < maxQuotes && wordEnd(v, from, to) < to:
		a.words(v, from, to, depth+1)
	case !a.option(v, from, to):
		a.scan(v, from, to)
	}
}

// words are the pieces of a command.
func (a *arguments) words(v []byte, i, to, depth int) {
	for i < to {
		end := wordEnd(v, i, to)
		a.piece(v, i, end, depth)
		for i = end; i < to && v[i] <= ' '; {
			i++
		}
		if find := a.rest; find != nil {
			a.rest = nil
			a.within(v, i, to, find)
			return
		}
	}
	a.rest = nil
}

// wordEnd returns where the word ends that begins at v[i]: at white space that isn't in quotes, or at to.
func wordEnd(v []byte, i, to int) int {
	quote := byte(0)
	for i < to {
		c := v[i]
		switch {
		case c == markStart[0] && markLen(v[i:to]) > 0:
			i += markLen(v[i:to])
			continue
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'':
			quote = c
		case c == '\\':
			i++
		case c <= ' ':
			return i
		}
		i++
	}
	return to
}

// named takes name=value, --name=value and name: value from the beginning of a piece. It returns where what
// isn't looked at yet begins: to, when all of it was a secret with its name.
func (a *arguments) named(v []byte, from, to int) int {
	for i := from; i < to; i++ {
		switch c := v[i]; {
		case c == '-', c == '_', c == '.', c == '[', c == ']', isAlphanumeric(c):
		case c == '=' && i > from:
			name := v[from:i]
			from = i + 1
			if shortest := a.parameter(name); shortest > 0 && to-from >= shortest {
				a.add(v, from, to)
				return to
			}
		case c == ':' && i > from && !bytes.HasPrefix(v[i:to], []byte("://")):
			find, shortest := a.headerOrName(bytes.TrimLeft(v[from:i], "-"))
			if find == nil {
				return from
			}
			value := skipBlank(v, i+1, to)
			switch {
			case value == to:
				a.rest = find
			case to-value >= shortest:
				a.within(v, value, to, find)
			}
			return to
		default:
			return from
		}
	}
	return from
}

// headerOrName returns what finds the secrets in the value of a header, or of a thing of that name, and nil
// when it holds none.
func (a *arguments) headerOrName(name []byte) (find finder, shortest int) {
	for i := range a.names.headers {
		if h := &a.names.headers[i]; proto.EqualFold(name, h.name) {
			return h.find, 1
		}
	}
	if shortest = a.parameter(name); shortest > 0 {
		return (*Redactor).whole, shortest
	}
	return nil, 0
}

// option takes an option without an equals sign, or the name of a program. It returns false when there may be
// more in it.
func (a *arguments) option(v []byte, from, to int) bool {
	word := v[from:to]
	for i := range a.options {
		switch o := &a.options[i]; {
		case string(word) == o.name && o.next:
			a.awaited = value{o.find, 1}
			return true
		case o.attached && len(word) > len(o.name) && string(word[:len(o.name)]) == o.name:
			a.within(v, from+len(o.name), to, o.find)
			return true
		}
	}
	if word[0] != '-' {
		if options := programOptions(word); options != nil {
			a.options = options
		}
		return false
	}
	name := bytes.TrimLeft(word, "-")
	if len(name) < 2 || bytes.HasPrefix(name, []byte("no-")) {
		return false
	}
	for _, c := range name {
		if c != '-' && c != '_' && c != '.' && !isAlphanumeric(c) {
			return false
		}
	}
	shortest := a.parameter(name)
	if shortest > 0 {
		a.awaited = value{(*Redactor).whole, shortest}
	}
	return shortest > 0
}

// looksLikeOption reports whether v is an option rather than the value of the one before: a secret that begins
// with a dash has more than lower-case letters.
func looksLikeOption(v []byte) bool {
	if len(v) < 2 || v[0] != '-' {
		return false
	}
	for _, c := range v {
		switch {
		case c == '=':
			return true
		case c != '-' && (c < 'a' || c > 'z'):
			return false
		}
	}
	return true
}

// dataSources are what follows the user and the password in the data source names of Go's MySQL driver.
var dataSources = [][]byte{[]byte("@tcp("), []byte("@unix("), []byte("@(")}

// scan finds the user information of data source names, and what free does.
func (a *arguments) scan(v []byte, i, to int) {
	for _, s := range dataSources {
		if at := bytes.Index(v[i:to], s); at > 0 && bytes.IndexByte(v[i:i+at], ':') >= 0 {
			a.add(v, i, i+at)
			i += at
			break
		}
	}
	a.free(v, i, to)
}
