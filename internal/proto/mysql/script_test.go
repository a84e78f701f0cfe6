package mysql

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// packet returns a packet, or several where the payload is larger than one holds.
func packet(sequence byte, payload string) string {
	var b strings.Builder
	for {
		n := min(len(payload), maxPacket)
		b.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), sequence})
		b.WriteString(payload[:n])
		payload, sequence = payload[n:], sequence+1
		if n < maxPacket {
			return b.String()
		}
	}
}

// lines makes a script of steps: the first byte of each is its direction.
func lines(steps ...string) string {
	var b strings.Builder
	for _, s := range steps {
		if strings.HasPrefix(s[1:], "gap ") || strings.HasPrefix(s[1:], "close ") || strings.HasPrefix(s[1:], "repeat ") {
			b.WriteString(s + "\n")
			continue
		}
		b.WriteString(s[:1] + " ")
		for i := 1; i < len(s); i++ {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func lenenc(n uint64) string {
	switch {
	case n < 0xfb:
		return string([]byte{byte(n)})
	case n < 1<<16:
		return string(binary.LittleEndian.AppendUint16([]byte{0xfc}, uint16(n)))
	case n < 1<<24:
		return string([]byte{0xfd, byte(n), byte(n >> 8), byte(n >> 16)})
	}
	return string(binary.LittleEndian.AppendUint64([]byte{0xfe}, n))
}

func text(s string) string { return lenenc(uint64(len(s))) + s }

func le16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func le64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

const (
	capsBase   = capLongPassword | capProtocol41 | capSecureConnection | capPluginAuth | capConnectWithDB | 1<<7 | 1<<16 | 1<<17
	capsNew    = capsBase | capDeprecateEOF
	autocommit = 2
)

// greeting10 is a server's greeting.
func greeting10(caps uint64) string {
	b := "\x0a" + "8.0.36\x00" + le32(77) + "salt5678\x00" + le16(int(caps&0xffff)) + "\xff" + le16(autocommit) + le16(int(caps>>16&0xffff)) +
		"\x15" + strings.Repeat("\x00", 6) + le32(int(caps>>32)) + "salt90123456\x00" + "mysql_native_password\x00"
	return packet(0, b)
}

// response41 is a client's answer to it.
func response41(sequence byte, caps uint64, user, database string) string {
	b := le32(int(uint32(caps))) + le32(1<<24) + "\x2d" + strings.Repeat("\x00", 19) + le32(int(caps>>32)) + user + "\x00" + "\x06secret"
	if caps&capConnectWithDB != 0 {
		b += database + "\x00"
	}
	return packet(sequence, b+"mysql_native_password\x00")
}

func ok(sequence byte, affected, insertID uint64, status, warnings int) string {
	return packet(sequence, "\x00"+lenenc(affected)+lenenc(insertID)+le16(status)+le16(warnings))
}

// endOK is the OK that takes the place of an EOF.
func endOK(sequence byte, status int) string {
	return packet(sequence, "\xfe\x00\x00"+le16(status)+le16(0))
}

func eof(sequence byte, status int) string { return packet(sequence, "\xfe"+le16(0)+le16(status)) }

func fail(sequence byte, number int, state, message string) string {
	if state != "" {
		state = "#" + state
	}
	return packet(sequence, "\xff"+le16(number)+state+message)
}

func column(sequence byte, name string, code byte, flags int) string {
	return packet(sequence, text("def")+text("shop")+text("t")+text("t")+text(name)+text(name)+"\x0c"+le16(45)+le32(20)+string([]byte{code})+le16(flags)+"\x00"+"\x00\x00")
}

func row(sequence byte, cells ...string) string {
	var b strings.Builder
	for _, c := range cells {
		if c == "NULL" {
			b.WriteByte(0xfb)
			continue
		}
		b.WriteString(text(c))
	}
	return packet(sequence, b.String())
}

func query(statement string) string { return packet(0, "\x03"+statement) }

// set is a result of two columns and the rows a NULL and b 2.
func set(sequence byte, byEOF bool, status int) string {
	s := packet(sequence, "\x02") + column(sequence+1, "name", 253, 0) + column(sequence+2, "n", typeLong, 0)
	sequence += 3
	if byEOF {
		s += eof(sequence, status)
		sequence++
	}
	s += row(sequence, "a\tb", "NULL") + row(sequence+1, "b", "2")
	if byEOF {
		return s + eof(sequence+2, status)
	}
	return s + endOK(sequence+2, status)
}

// enter is a login with these capabilities, as steps.
func enter(caps uint64) []string {
	return []string{"<" + greeting10(caps), ">" + response41(1, caps, "ann", "shop"), "<" + ok(2, 0, 0, autocommit, 0)}
}

// in makes a script of a login and more steps.
func in(caps uint64, steps ...string) string { return lines(append(enter(caps), steps...)...) }

// squeezed returns an outer packet. algorithm is zlib, zstd, or empty.
func squeezed(sequence byte, algorithm, inner string) string {
	var b bytes.Buffer
	switch algorithm {
	case "":
		b.WriteString(inner)
	case "zlib":
		w := zlib.NewWriter(&b)
		w.Write([]byte(inner))
		w.Close()
	case "zstd":
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		w.Write([]byte(inner))
		w.Close()
	}
	n, plain := b.Len(), len(inner)
	if algorithm == "" {
		plain = 0
	}
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), sequence, byte(plain), byte(plain >> 8), byte(plain >> 16)}) + b.String()
}
