package statement

// keywordFlags say what a keyword of SQL tells of what comes next.
type keywordFlags uint16

const (
	// asks: an operand comes next, so that a sign belongs to it.
	asks keywordFlags = 1 << iota
	// keeps: NULL, TRUE or FALSE behind it is a part of the statement rather than a value.
	keeps
	// holds: the name before it is still that of the value behind it.
	holds
	// lists: parentheses behind it hold a list.
	lists
	// rows: rows come next.
	rows
	// into: a table comes next, and perhaps its columns in parentheses.
	into
	// tables: a table comes next.
	tables
	// modifies: it may stand between such a keyword and the table.
	modifies
	// constant: it is a literal.
	constant
	// locks: UPDATE behind it names no table. distinct: FROM behind it names none.
	locks
	distinct
	// commands: a statement begins with it that others may hold.
	commands
)

// keyword is a word of SQL that isn't a name.
type keyword struct {
	text  string
	flags keywordFlags
	bytes []byte
}

// keywords are those that structure statements. Words that are names more often, such as DATE or STATUS, aren't here.
var keywords = newKeywords([]keyword{
	{text: "SELECT", flags: asks | commands}, {text: "INSERT", flags: into | tables | commands}, {text: "REPLACE", flags: into | tables | commands}, {text: "UPDATE", flags: tables | commands}, {text: "DELETE", flags: commands},
	{text: "MERGE", flags: commands}, {text: "WITH"}, {text: "RECURSIVE"}, {text: "FROM", flags: tables | keeps}, {text: "WHERE", flags: asks}, {text: "GROUP"}, {text: "ORDER"}, {text: "BY", flags: asks | holds},
	{text: "HAVING", flags: asks}, {text: "LIMIT", flags: asks}, {text: "OFFSET", flags: asks}, {text: "FETCH"}, {text: "FIRST"}, {text: "NEXT"}, {text: "ROWS"}, {text: "ROW"}, {text: "ONLY", flags: modifies},
	{text: "UNION"}, {text: "INTERSECT"}, {text: "EXCEPT"}, {text: "ALL", flags: holds}, {text: "ANY", flags: holds}, {text: "SOME", flags: holds}, {text: "DISTINCT", flags: asks | distinct},
	{text: "AS", flags: holds}, {text: "ON", flags: asks | locks}, {text: "USING"}, {text: "JOIN", flags: tables}, {text: "INNER"}, {text: "LEFT"}, {text: "RIGHT"}, {text: "FULL"}, {text: "OUTER"}, {text: "CROSS"},
	{text: "NATURAL"}, {text: "LATERAL", flags: modifies}, {text: "STRAIGHT_JOIN", flags: tables}, {text: "AND", flags: asks}, {text: "OR", flags: asks | modifies}, {text: "XOR", flags: asks}, {text: "NOT", flags: asks | keeps | holds | modifies},
	{text: "IN", flags: lists | asks | holds}, {text: "IS", flags: keeps | asks | holds}, {text: "LIKE", flags: asks | holds}, {text: "ILIKE", flags: asks | holds}, {text: "RLIKE", flags: asks | holds}, {text: "REGEXP", flags: asks | holds},
	{text: "SIMILAR", flags: holds}, {text: "TO", flags: asks | holds}, {text: "ESCAPE", flags: asks}, {text: "BETWEEN", flags: asks | holds}, {text: "EXISTS", flags: modifies}, {text: "CASE", flags: asks}, {text: "WHEN", flags: asks}, {text: "THEN", flags: asks},
	{text: "ELSE", flags: asks}, {text: "END"}, {text: "NULL", flags: constant}, {text: "TRUE", flags: constant}, {text: "FALSE", flags: constant}, {text: "DIV", flags: asks}, {text: "MOD", flags: asks}, {text: "INTERVAL", flags: asks},
	{text: "ASC"}, {text: "DESC"}, {text: "NULLS"}, {text: "COLLATE"}, {text: "BINARY", flags: asks | holds}, {text: "OVER"}, {text: "PARTITION"}, {text: "WINDOW"},
	{text: "INTO", flags: into | tables}, {text: "VALUES", flags: rows | asks}, {text: "SET", flags: asks | keeps}, {text: "DEFAULT", flags: asks | keeps | holds}, {text: "RETURNING", flags: asks}, {text: "RETURN", flags: asks}, {text: "DUPLICATE"}, {text: "KEY", flags: locks},
	{text: "CONFLICT"}, {text: "DO", flags: asks | locks}, {text: "NOTHING"}, {text: "IGNORE", flags: modifies}, {text: "LOW_PRIORITY", flags: modifies}, {text: "HIGH_PRIORITY", flags: modifies}, {text: "DELAYED", flags: modifies},
	{text: "QUICK", flags: modifies}, {text: "FOR", flags: locks}, {text: "SHARE"}, {text: "LOCK"}, {text: "SKIP"}, {text: "LOCKED"}, {text: "NOWAIT"}, {text: "OF"},
	{text: "CREATE"}, {text: "ALTER"}, {text: "DROP"}, {text: "TRUNCATE", flags: tables}, {text: "RENAME"}, {text: "TABLE", flags: into | tables | modifies}, {text: "TABLES", flags: tables}, {text: "TEMPORARY"},
	{text: "INDEX"}, {text: "UNIQUE"}, {text: "PRIMARY"}, {text: "FOREIGN"}, {text: "REFERENCES", flags: tables}, {text: "CONSTRAINT"}, {text: "CASCADE"}, {text: "RESTRICT"}, {text: "COLUMN"},
	{text: "ADD"}, {text: "IF", flags: modifies}, {text: "CONCURRENTLY", flags: modifies}, {text: "VIEW"}, {text: "TRIGGER"}, {text: "FUNCTION"}, {text: "PROCEDURE"}, {text: "DATABASE"},
	{text: "BEGIN"}, {text: "START"}, {text: "TRANSACTION"}, {text: "COMMIT"}, {text: "ROLLBACK"}, {text: "SAVEPOINT"}, {text: "RELEASE"}, {text: "CALL"}, {text: "EXECUTE"},
	{text: "PREPARE"}, {text: "DEALLOCATE"}, {text: "EXPLAIN"}, {text: "ANALYZE"}, {text: "DESCRIBE", flags: tables}, {text: "SHOW"}, {text: "USE"}, {text: "GRANT"}, {text: "REVOKE"},
	{text: "LISTEN"}, {text: "UNLISTEN"}, {text: "NOTIFY"}, {text: "COPY", flags: tables}, {text: "VACUUM"}, {text: "CAST"}, {text: "ARRAY"}, {text: "GLOBAL"}, {text: "SESSION"}, {text: "LOCAL"}, {text: "NAMES"},
	{text: "SQL_NO_CACHE"}, {text: "SQL_CALC_FOUND_ROWS"},
})

// keywordTable finds keywords by their hash; those with the same place stand behind each other.
type keywordTable [4096]*keyword

// wordHash adds a byte to the hash of a word, whose case doesn't count.
func wordHash(h uint32, c byte) uint32 { return h*33 + uint32(c|0x20) }

func (t *keywordTable) slot(h uint32) int { return int((h ^ h>>12) % uint32(len(t))) }

// newKeywords makes the table.
func newKeywords(all []keyword) *keywordTable {
	t := new(keywordTable)
	for i := range all {
		all[i].bytes = []byte(all[i].text)
		h := uint32(0)
		for _, c := range all[i].bytes {
			h = wordHash(h, c)
		}
		at := t.slot(h)
		for t[at] != nil {
			at = (at + 1) % len(t)
		}
		t[at] = &all[i]
	}
	return t
}

// find returns the keyword that a word with that hash is, nil when it is a name.
func (t *keywordTable) find(w []byte, h uint32) *keyword {
	for at := t.slot(h); t[at] != nil; at = (at + 1) % len(t) {
		if k := t[at]; len(k.text) == len(w) && sameFold(w, k.text) {
			return k
		}
	}
	return nil
}

// sameFold reports whether b is s, in upper case, but for the case of ASCII letters. They have the same length.
func sameFold(b []byte, s string) bool {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
