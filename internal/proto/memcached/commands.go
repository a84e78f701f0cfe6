package memcached

// kinds is a set of kinds of request: those that are answered alike.
type kinds uint32

// The kinds of request.
const (
	getting kinds = 1 << iota
	storing
	counting
	deleting
	touching
	metaGet
	metaSet
	metaDelete
	metaCount
	metaNoop
	metaDebug
	statistics
	versions
	dumping
	watching
	configuring
	other
	binaryOp

	metas = metaGet | metaSet | metaDelete | metaCount
	// retrieving are those of whose keys a quiet answer says that they aren't there.
	retrieving = getting | metaGet
	// looking are those that find a key, or don't.
	looking = retrieving | counting | deleting | touching | metaDelete | metaCount
	all     = binaryOp - 1
)

// command describes a command of the text protocol.
type command struct {
	kind kinds
	// least is how many words follow it at least. keys is the place of its first key, one for the first word behind the command, 0
	// when it has none; last is the place of the last, many for all.
	least, keys, last int
	// exptime and size are the places of the time to live and of the length of the value that follows, 0 when there is none.
	exptime, size int
	// silent: no answer ever comes. sure: the first words of a connection tell the protocol; without it other protocols have the command
	// too (beanstalkd: delete, touch and stats; gearman: version; Redis: config), and the answer tells.
	silent, sure bool
}

const many = 1 << 30

// commands are those of the text protocol.
var commands = map[string]command{
	"get":  {kind: getting, least: 1, keys: 1, last: many, sure: true},
	"gets": {kind: getting, least: 1, keys: 1, last: many, sure: true},
	"gat":  {kind: getting, least: 2, keys: 2, last: many, exptime: 1, sure: true},
	"gats": {kind: getting, least: 2, keys: 2, last: many, exptime: 1, sure: true},

	"set":     {kind: storing, least: 4, keys: 1, last: 1, exptime: 3, size: 4, sure: true},
	"add":     {kind: storing, least: 4, keys: 1, last: 1, exptime: 3, size: 4, sure: true},
	"replace": {kind: storing, least: 4, keys: 1, last: 1, exptime: 3, size: 4, sure: true},
	"append":  {kind: storing, least: 4, keys: 1, last: 1, exptime: 3, size: 4, sure: true},
	"prepend": {kind: storing, least: 4, keys: 1, last: 1, exptime: 3, size: 4, sure: true},
	"cas":     {kind: storing, least: 5, keys: 1, last: 1, exptime: 3, size: 4, sure: true},

	"incr":   {kind: counting, least: 2, keys: 1, last: 1, sure: true},
	"decr":   {kind: counting, least: 2, keys: 1, last: 1, sure: true},
	"delete": {kind: deleting, least: 1, keys: 1, last: 1},
	"touch":  {kind: touching, least: 2, keys: 1, last: 1, exptime: 2},

	"mg": {kind: metaGet, least: 1, keys: 1, last: 1, sure: true},
	"ms": {kind: metaSet, least: 2, keys: 1, last: 1, size: 2, sure: true},
	"md": {kind: metaDelete, least: 1, keys: 1, last: 1, sure: true},
	"ma": {kind: metaCount, least: 1, keys: 1, last: 1, sure: true},
	"me": {kind: metaDebug, least: 1, keys: 1, last: 1},
	"mn": {kind: metaNoop, sure: true},

	"stats":          {kind: statistics},
	"version":        {kind: versions},
	"config":         {kind: configuring, least: 1},
	"watch":          {kind: watching},
	"lru_crawler":    {kind: dumping | other, least: 1, sure: true},
	"flush_all":      {kind: other, sure: true},
	"verbosity":      {kind: other, least: 1, sure: true},
	"cache_memlimit": {kind: other, least: 1, sure: true},
	"lru":            {kind: other, least: 1},
	"slabs":          {kind: other, least: 1},
	"misbehave":      {kind: other},
	"refresh_certs":  {kind: other},
	"quit":           {kind: other, silent: true},
	"shutdown":       {kind: other, silent: true},
}

// answer describes a word with which a line of a response begins.
type answer struct {
	kinds kinds
	// shape says what the line is.
	shape shape
	// hit and miss say which requests it tells that the key was, or wasn't, there.
	hit, miss kinds
	// surely: at the start of a segment of a connection that is known, the word alone tells that a response begins there; sure: at
	// the start of a connection.
	surely, sure bool
}

// shape is what a line of a response is.
type shape uint8

const (
	// single: the whole response.
	single shape = iota
	// item: a part, with a value behind it; the response goes on. itemAlone: it doesn't.
	item
	itemAlone
	// entry: a part without a value; the response goes on.
	entry
	// closing: the end of a response of parts.
	closing
	// failure: the whole response, or the end of one.
	failure
	// result: a value that is in the line itself.
	result
	// event: what a watcher is told, which is no response.
	event
)

// answers are the words of the responses of the text protocol.
var answers = map[string]answer{
	"VALUE":  {kinds: getting, shape: item, sure: true},
	"STAT":   {kinds: statistics, shape: entry, sure: true},
	"ITEM":   {kinds: statistics, shape: entry},
	"CONFIG": {kinds: configuring, shape: item},
	"END":    {kinds: getting | statistics | dumping | configuring, shape: closing},

	"VA": {kinds: metaGet | metaCount, shape: itemAlone, hit: metaGet | metaCount},
	"HD": {kinds: metas, hit: metaGet | metaCount | metaDelete},
	"EN": {kinds: metaGet | metaDebug, miss: metaGet},
	"NF": {kinds: metaSet | metaDelete | metaCount, miss: metaDelete | metaCount},
	"NS": {kinds: metaSet | metaCount},
	"EX": {kinds: metaSet | metaDelete | metaCount},
	"MN": {kinds: metaNoop},
	"ME": {kinds: metaDebug, shape: result},

	"STORED":     {kinds: storing, sure: true},
	"NOT_STORED": {kinds: storing, surely: true, sure: true},
	"EXISTS":     {kinds: storing, surely: true},
	"NOT_FOUND":  {kinds: storing | counting | deleting | touching, miss: counting | deleting | touching, surely: true},
	"DELETED":    {kinds: deleting, hit: deleting, surely: true},
	"TOUCHED":    {kinds: touching, hit: touching, surely: true},

	"OK":       {kinds: other | watching | statistics},
	"RESET":    {kinds: statistics},
	"VERSION":  {kinds: versions, shape: result, surely: true, sure: true},
	"BUSY":     {kinds: other | dumping},
	"BADCLASS": {kinds: other | dumping},
	"NOSPARE":  {kinds: other},
	"NOTFULL":  {kinds: other},
	"UNSAFE":   {kinds: other},
	"SAME":     {kinds: other},

	"ERROR":        {kinds: all, shape: failure},
	"CLIENT_ERROR": {kinds: all, shape: failure, surely: true, sure: true},
	"SERVER_ERROR": {kinds: all, shape: failure, sure: true}, // which may end a response
}

// The kinds of line of a response that don't begin with a word of their own.
var (
	// number is what incr and decr answer.
	number = answer{kinds: counting, shape: result, hit: counting}
	// dumped is a line of lru_crawler metadump, key=NAME and so on.
	dumped = answer{kinds: dumping, shape: entry}
	// watched is a line that a watcher is told, ts=TIME and so on.
	watched = answer{kinds: watching, shape: event}
)

const (
	dumpedPrefix  = "key="
	watchedPrefix = "ts="
)

// lookUp returns what a line begins with.
func lookUp(word []byte) (a answer, ok bool) {
	if a, ok = answers[string(word)]; ok {
		return a, true
	}
	switch {
	case isNumber(word):
		return number, true
	case hasPrefix(word, dumpedPrefix):
		return dumped, true
	case hasPrefix(word, watchedPrefix):
		return watched, true
	}
	return answer{}, false
}

func hasPrefix(b []byte, text string) bool {
	return len(b) >= len(text) && string(b[:len(text)]) == text
}
