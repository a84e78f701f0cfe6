// Package lab makes networks to test live captures on: network namespaces of the program's own, joined by
// virtual Ethernet pairs, bridges, and links in user space that delay, lose and tag; nginx, whose access log is
// the truth; clients that send an exact number of requests; and hostile traffic. It is for tests and
// measurements, on Linux, and stays out of the program.
//
// A program begins with Run, which runs it again in namespaces of its own. Root isn't needed where the system
// lets users make namespaces. Nothing outlives the program: processes end with it, and namespaces and
// interfaces with the last process in them. No packet leaves the namespaces.
package lab
