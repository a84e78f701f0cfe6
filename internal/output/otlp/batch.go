package otlp

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/culprit-http/culprit/internal/ship"
)

// batch puts the bodies of events of one kind into one request, in which those of the same resource and scope stand together:
// resource and scope are there once for all of them.
type batch struct {
	groups []group
	index  map[string]int // of groups, by resource and scope as they are encoded
	key    []byte
}

// group is what has the same resource and scope.
type group struct {
	resource, scope []byte
	items           [][]byte
	size            int // of the items
}

// append appends the request. Bodies that it can't read stand for themselves.
func (b *batch) append(dst []byte, events []ship.Event, indices []int) []byte {
	if b.index == nil {
		b.index = map[string]int{}
	}
	clear(b.index)
	n := 0
	for _, i := range indices {
		resource, scope, items, ok := split(events[i].Body)
		if !ok {
			dst = append(dst, events[i].Body...)
			continue
		}
		b.key = append(append(b.key[:0], resource...), scope...)
		at, known := b.index[string(b.key)]
		if !known {
			if n == len(b.groups) {
				b.groups = append(b.groups, group{})
			}
			at = n
			n++
			b.index[string(b.key)] = at
			g := &b.groups[at]
			g.resource, g.scope, g.items, g.size = resource, scope, g.items[:0], 0
		}
		g := &b.groups[at]
		g.items = append(g.items, items)
		g.size += len(items)
	}
	for i := range b.groups[:n] {
		g := &b.groups[i]
		scope := len(g.scope) + g.size
		dst = protowire.AppendTag(dst, requestResources, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(len(g.resource)+protowire.SizeTag(resourceScopes)+protowire.SizeBytes(scope)))
		dst = append(dst, g.resource...)
		dst = protowire.AppendTag(dst, resourceScopes, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(scope))
		dst = append(dst, g.scope...)
		for _, items := range g.items {
			dst = append(dst, items...)
		}
		clear(g.items) // they are the caller's
		g.resource, g.scope = nil, nil
	}
	return dst
}

// split takes a body apart, as Encoder has made it: what comes before the scope, what comes before the items, and the items,
// each with their tags.
func split(body []byte) (resource, scope, items []byte, ok bool) {
	inner, rest, ok := firstField(body, requestResources)
	if !ok || len(rest) > 0 {
		return nil, nil, nil, false
	}
	at, ok := until(inner, resourceScopes)
	if !ok {
		return nil, nil, nil, false
	}
	resource = inner[:at]
	inner, rest, ok = firstField(inner[at:], resourceScopes)
	if !ok || len(rest) > 0 {
		return nil, nil, nil, false
	}
	if at, ok = until(inner, scopeItems); !ok {
		return nil, nil, nil, false
	}
	return resource, inner[:at], inner[at:], true
}

// firstField returns the content of the first field of a message, which must have that number, and what comes behind it.
func firstField(b []byte, number protowire.Number) (content, rest []byte, ok bool) {
	n, kind, tag := protowire.ConsumeTag(b)
	if tag < 0 || n != number || kind != protowire.BytesType {
		return nil, nil, false
	}
	content, size := protowire.ConsumeBytes(b[tag:])
	if size < 0 {
		return nil, nil, false
	}
	return content, b[tag+size:], true
}

// until returns where the first field of that number begins.
func until(b []byte, number protowire.Number) (at int, ok bool) {
	for at < len(b) {
		n, kind, tag := protowire.ConsumeTag(b[at:])
		if tag < 0 {
			return 0, false
		}
		if n == number {
			return at, true
		}
		size := protowire.ConsumeFieldValue(n, kind, b[at+tag:])
		if size < 0 {
			return 0, false
		}
		at += tag + size
	}
	return 0, false
}
