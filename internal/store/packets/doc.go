// Package packets keeps the packets that carried exchanges, in a ring of pcapng files, so that those of one
// exchange can be had again.
//
// # Theory of operation
//
// A Keeper takes packets from a pipeline and puts them, as blocks of a file, into a buffer. A goroutine writes whole
// buffers to the newest file of the folder; when the file is full it is indexed, and the oldest one goes.
//
//	Keeper.Packet --> buffer --> NNNNNN.pcapng --full--> NNNNNN.index
//	                                  |                       |
//	Write <---- choose <---- decode --+------ look up --------+
//
// The index of a file says for each connection where its packets are, by a hash of the tap, the addresses, the ports
// and the transport. It says nothing that isn't in the file: one that is missing or damaged is made again by
// reading the file, and has the same bytes then. What it points to is read and decoded before it is believed, so a
// hash that two connections share, or an index that lies, costs time and nothing else.
//
// Ports are used again, and numbers of packets begin again with each capture, so an exchange is found by its connection,
// by time, and then by the numbers of its first and last packet, which each block carries as its id.
//
// Nothing is synced: packets are worth less than what waiting for a disk costs. What a crash tears is cut off at the
// last whole block. A reader needs the folder only, and may be another process: a file is appended to until it is full,
// doesn't change then, and goes as a whole.
package packets
