// Package spool keeps what is to be delivered on disk until it is: a ship.Queue in a folder.
//
// # Theory of operation
//
// A spool is a folder of numbered files, its segments. Events are numbered in the order of Append; a frame of them is
// compressed, gets a checksum and is appended to the newest segment with one write(2), so that it survives the end of the
// process. A goroutine syncs what was written within a second, so that it survives the end of power. What is done is a set of
// numbers, written to a file of its own, the cursor, just as late.
//
//	Append --> [ 7 | 8 | 9 > --sync--> durable          numbers:   done ......... low  . . done . . end
//	             |       |                                          (gone)         |   out, waiting
//	Next <-------+-------+                                                        cursor
//	             read back, unless the frame isn't durable yet: such frames are in memory too
//	Done ------> a segment that is done as a whole is deleted
//
// Segments tell where their numbers begin, and where those before them ended, and frames tell their own: so what is waiting
// is known without reading more than the newest segment, what is damaged is counted in events, and no event is counted
// twice.
//
// What goes wrong, and what follows from it:
//
//   - There is no room in the spool: the oldest segment goes, and what is in it neither done nor being delivered counts
//     as dropped. A chunk that is being delivered is in memory, and counts as what becomes of it.
//   - There is no room on the disk: Append returns an error, and nothing of the frame is left. It works again when there is
//     room.
//   - Sync fails. The kernel then takes what it couldn't write for written. So the file isn't used any more: what isn't known
//     durable is in memory, and is written again to a new segment, which says where it begins. What the old one has from
//     there on doesn't count.
//   - The power goes. What wasn't synced is there in part or not at all, perhaps between remains of deleted files: frames
//     begin with a marker, random for each segment, which no remains have. New segments are begun then; nothing is
//     written behind a torn end. Numbers that the cursor knows aren't used again, even if their events are lost.
//   - A sector goes bad. The next frame is found by the marker, and the events between are counted as damaged.
//
// The log of the store (package wal) isn't used: it is read once, at the start, and forgets whole files. A spool is read all
// the time, from the place where it was left, forgets in any order, and counts events.
//
// Frames are compressed with S2. For JSON documents of 2.5 KB in frames of 256 KiB, zstd's fastest level writes a third
// less and takes twice the time of a processor that is needed elsewhere.
package spool
