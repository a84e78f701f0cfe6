// Package keytap makes the TLS keys of programs that are run under observation reach a key log's store, without privileges and without a change
// to the programs.
//
// # Theory of operation
//
// Each TLS library has its own way to be asked for keys; those of RFC 9850 lines are asked by the environment that the program gets, Go by a
// breakpoint:
//
//	GnuTLS, NSS, curl, ...   SSLKEYLOGFILE=pipe "keys"       --+
//	node                     NODE_OPTIONS=--tls-keylog=...   --+--> pipes in a private folder --> Store
//	OpenSSL (libssl.so)      LD_PRELOAD=shim, pipe "shim"    --+                                    ^
//	Go                       breakpoint on crypto/tls.(*Config).writeKeyLog -- its arguments -------+
//
// The pipes are named ones in a folder that is the user's alone, so that no key is ever on a disk, and none is left behind whatever ends this
// process; Close removes the names, too. A goroutine reads them, or writers would have to wait; Sync reads what there is at once, for those who
// are about to need it. What a key log of the user's would have got, it still gets.
//
// A key may come after the bytes that it opens: a client derives those of TLS 1.3 when it has read the server's answer.
//
// What has no such way (Java, rustls, libraries that are linked in statically) isn't opened, and Why says so.
package keytap
