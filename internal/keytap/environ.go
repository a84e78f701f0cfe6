package keytap

import (
	"slices"
	"strings"
)

// The variables that programs take their key logs from.
const (
	keylogVariable  = "SSLKEYLOGFILE"
	nodeVariable    = "NODE_OPTIONS"
	nodeOption      = "--tls-keylog"
	preloadVariable = "LD_PRELOAD"
	// shimVariable is that of the shim.
	shimVariable = "CULPRIT_KEYLOG"
	// shimFile is the name of the shim's file.
	shimFile = "culprit-keylog.so"
)

// value returns the value of a variable, as getenv(3) would: the first one counts.
func value(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// with returns an environment with a variable, whose other values are gone.
func with(env []string, name, value string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	return append(env, name+"="+value)
}

// quietNode is a script that node is to run first: it keeps one warning back, which node gives in each process that makes a TLS connection.
const quietNode = `'use strict';
const warn = process.emitWarning;
process.emitWarning = function (warning) {
	if (typeof warning === 'string' && warning.startsWith('Using ` + nodeOption + ` ')) {
		process.emitWarning = warn;
		return;
	}
	return Reflect.apply(warn, this, arguments);
};
`

// nodeOptions returns node's options with the key log's and the script's; own: there is a key log among them, and they are left as they are.
func nodeOptions(options, keys, quiet string) (_ string, own bool) {
	for _, o := range strings.Fields(options) {
		if o = strings.Trim(o, `"`); o == nodeOption || strings.HasPrefix(o, nodeOption+"=") {
			return options, true
		}
	}
	if options != "" {
		options += " "
	}
	return options + nodeOption + "=" + nodeQuote(keys) + " --require=" + nodeQuote(quiet), false
}

// nodeQuote quotes a value: node takes the quotes off, and one backslash before a quote or another backslash.
func nodeQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// preload returns a list of shared objects with one more at its end.
func preload(list, path string) string {
	if list == "" {
		return path
	}
	return list + ":" + path
}

// preloadable reports whether a path can stand in such a list: spaces and colons part paths, and dollars are expanded (ld.so(8)).
func preloadable(path string) bool { return !strings.ContainsAny(path, " \t\n:;$") }
