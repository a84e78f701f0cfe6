package keytap

import (
	"bytes"
	"io"
	"path"
	"strings"
)

// way is how keys are had of a library.
type way uint8

const (
	none    way = iota // not at all
	byShim             // the shim has it write them
	byFile             // it heeds SSLKEYLOGFILE
	byNode             // node's option
	byBreak            // a breakpoint of Go
)

// known is a TLS library, or a run time that has its own.
type known struct {
	name string
	way  way
	// files begin the names of the shared objects that it is, or that the run time is made of. marks are texts that programs have into which
	// it is linked.
	files, marks []string
	// alone: a program that has it uses no other.
	alone bool
	// without says why there are no keys, where that depends on nothing else: the end of a sentence.
	without string
}

// libraries are what is known, what is likelier to be the one in use first: run times that come with a library, then what is linked in, then
// shared libraries, of which a program may have loaded several.
var libraries = []known{
	{name: "Java", files: []string{"libjvm.so"},
		without: "Java's own TLS writes no key log (an agent can: java -javaagent:extract-tls-secrets.jar=$" + keylogVariable + "; " +
			"JAVA_TOOL_OPTIONS=-Djavax.net.debug=ssl,record,plaintext prints what is sent)"},
	{name: ".NET", files: []string{"libcoreclr.so", "libclrjit.so"},
		without: ".NET looks OpenSSL's functions up by itself, where the key-log shim doesn't see it"},
	{name: "node", way: byNode, alone: true, marks: []string{"\x00" + nodeOption + "\x00"}},
	{name: "rustls", marks: []string{"/rustls-0."},
		without: "rustls is linked into the program, and writes a key log only if the program asks it to (rustls::KeyLogFile)"},
	{name: "BoringSSL", marks: []string{"boringssl/src/ssl/", "third_party/boringssl/", "BoringSSL"}, files: []string{"libconscrypt", "libnetty_tcnative"},
		without: "BoringSSL is linked into the program, where the key-log shim doesn't reach it"},
	{name: "OpenSSL, linked in", marks: []string{"ssl/statem/statem"},
		without: "OpenSSL is linked into the program, where the key-log shim doesn't reach it"},
	{name: "OpenSSL", way: byShim, files: []string{"libssl.so.1", "libssl.so.3", "libssl.so.4", "libssl-"}},
	{name: "GnuTLS", way: byFile, files: []string{"libgnutls.so"}},
	{name: "NSS", way: byFile, files: []string{"libssl3.so"}},
	{name: "LibreSSL", files: []string{"libssl.so."}, without: "LibreSSL writes no key log"},
	{name: "mbed TLS", files: []string{"libmbedtls.so", "libmbedtls-"}, marks: []string{"mbedtls_ssl_"},
		without: "mbed TLS gives its keys only to the program itself"},
	{name: "wolfSSL", files: []string{"libwolfssl.so"}, without: "wolfSSL gives its keys only to the program itself"},
	{name: "s2n", files: []string{"libs2n.so"}, without: "s2n gives its keys only to the program itself"},
	{name: "BearSSL", files: []string{"libbearssl.so"}, without: "BearSSL gives its keys to nobody"},
}

// goTLS is Go's, which is told by its program alone.
var goTLS = known{name: "Go", way: byBreak, alone: true}

// loaded returns the libraries among the files that a process has mapped.
func loaded(files []string) (found []*known) {
	taken := map[string]bool{}
	for i := range libraries {
		l, there := &libraries[i], false
		for _, f := range files {
			base := path.Base(f)
			if taken[f] || base == shimFile {
				continue
			}
			for _, begin := range l.files {
				if strings.HasPrefix(base, begin) {
					taken[f], there = true, true
				}
			}
		}
		if there {
			found = append(found, l)
		}
	}
	return found
}

const (
	// chunk is how much of a program is searched at a time, and overlap how much of it again, in bytes: more than the longest mark.
	chunk   = 1 << 20
	overlap = 64
	// maxSearched is how much of a program is searched, in bytes.
	maxSearched = 512 << 20
)

// linked returns the libraries that are linked into a program, by the texts that they have in them.
func linked(r io.Reader) (found []*known, err error) {
	there := make([]bool, len(libraries))
	r = io.LimitReader(r, maxSearched)
	buf := make([]byte, 0, chunk+overlap)
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+chunk])
		buf = buf[:len(buf)+n]
		for i := range libraries {
			for _, m := range libraries[i].marks {
				there[i] = there[i] || bytes.Contains(buf, []byte(m))
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return nil, err
		}
		buf = buf[:copy(buf, buf[len(buf)-overlap:])]
	}
	for i, t := range there {
		if t {
			found = append(found, &libraries[i])
		}
	}
	return found, nil
}
