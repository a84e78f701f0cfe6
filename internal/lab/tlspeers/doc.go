// Package tlspeers starts other people's programs that speak TLS and HTTP with each other, and records what they say:
// the packets, the keys that they log, and the messages as they were before encryption. It is for tests, on Linux,
// and stays out of the program.
//
// A Wire is a relay between a client and a server that writes what passes as packets; it needs no privileges. Server
// and Client are openssl's s_server and s_client, with the test at both ends of their pipes: it decides what is said, and
// when keys are updated, sessions taken up again and handshakes repeated. WriteSite prepares nginx.
package tlspeers
