//go:build !linux

package logstash

import "net"

// unacknowledged can't be told here.
func unacknowledged(net.Conn) (bytes int, known bool) { return 0, false }
