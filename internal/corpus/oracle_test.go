package corpus

import (
	"bufio"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// entry is one capture of the corpus's index. keys is its key log, empty where there is none, or where it is in the capture.
type entry struct{ name, file, topic, keys string }

// readIndex returns all captures of the corpus.
func readIndex(t *testing.T, root string) []entry {
	t.Helper()
	var entries []entry
	for _, r := range readTable(t, filepath.Join(root, "INDEX.tsv")) {
		e := entry{name: r["name"], file: filepath.Join(root, r["file"]), topic: r["topic"]}
		if strings.HasPrefix(r["keys"], "files/") {
			e.keys = filepath.Join(root, r["keys"])
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		t.Fatalf("%s lists no captures", root)
	}
	return entries
}

// readExpectation returns the exchanges that the oracle found, nil when it wasn't asked.
func readExpectation(t *testing.T, path string) []row {
	t.Helper()
	table := readTable(t, path)
	if table == nil {
		return nil
	}
	rows := make([]row, 0, len(table))
	for _, r := range table {
		var w row
		for f, column := range columns {
			w[f] = unescape(r[column])
		}
		rows = append(rows, w)
	}
	return rows
}

// readTable reads a table of fields separated by tabs: lines with # are comments, and the first other
// line names the columns. It returns nil when there is no such file.
func readTable(t *testing.T, path string) []map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		t.Error(err)
		return nil
	}
	defer file.Close()
	table := []map[string]string{}
	var names []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		if names == nil {
			names = fields
			continue
		}
		if len(fields) != len(names) {
			t.Errorf("%s: %d fields instead of %d: %s", path, len(fields), len(names), lines.Text())
			continue
		}
		r := map[string]string{}
		for i, name := range names {
			r[name] = fields[i]
		}
		table = append(table, r)
	}
	if err := lines.Err(); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return table
}

// unescape undoes the \xNN that stand for bytes that aren't printable.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out = append(out, byte(c))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// escape makes bytes that aren't printable ASCII visible, as unescape reads them.
func escape(s string) string {
	var out []byte
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e {
			out = append(out, `\x`+hex(c>>4)+hex(c&15)...)
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func hex(digit byte) string { return strconv.FormatUint(uint64(digit), 16) }

// disagreement is a difference that is known, and why it is the oracle that is wrong.
type disagreement struct {
	difference
	reason string
}

// readDisagreements returns the known differences by capture.
func readDisagreements(t *testing.T, path string) map[string][]disagreement {
	t.Helper()
	list := map[string][]disagreement{}
	for _, r := range readTable(t, path) {
		if r["reason"] == "" {
			t.Errorf("%s: no reason given: %v", path, r)
		}
		d := disagreement{difference{r["what"], r["oracle"], r["ours"]}, r["reason"]}
		list[r["capture"]] = append(list[r["capture"]], d)
	}
	return list
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
