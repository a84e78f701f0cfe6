package remote

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// band is a bucket of magnitudes: the numbers from from to to, without it, which have that key.
type band struct{ key, from, to int64 }

// magnitudes returns the buckets of store.ByMagnitude, in rising order.
func magnitudes() (all []band) {
	const perPower, powers = 8, 18
	all = []band{{0, math.MinInt64, 1}}
	for k := range perPower*powers + 1 {
		lower := math.Pow(10, float64(k)/perPower)
		key, from := int64(math.Round(lower)), int64(math.Ceil(lower))
		last := &all[len(all)-1]
		if last.key == key {
			continue
		}
		last.to = from
		if last.from >= last.to { // no whole number is in it
			all = all[:len(all)-1]
		}
		all = append(all, band{key, from, math.MaxInt64})
	}
	return all
}

// Of IPv4 and IPv6, the leading bits that make a network; see store.ByNetwork.
const bits4, bits6 = 24, 48

// addressKey is the key of an address, or of its network.
func addressKey(g store.Group, text string) (store.Key, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return store.Key{}, unexpected(err)
	}
	addr = addr.Unmap()
	if g.By != store.ByNetwork {
		return store.Key{Kind: exchange.IP, Text: addr.String()}, nil
	}
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	return store.Key{Kind: exchange.Text, Text: netip.PrefixFrom(addr, bits).Masked().String()}, nil
}

// oneOf selects the documents of groups.
func (a *aggregate) oneOf(groups []*group) object {
	queries := make([]object, len(groups))
	for i, g := range groups {
		conditions := make([]object, len(g.keys))
		for k := range g.keys {
			conditions[k] = a.ofKey(a.q.Groups[k], &g.keys[k])
		}
		queries[i] = boolean("filter", conditions...)
	}
	return boolean("should", queries...)
}

// ofKey selects the documents that have a key in a group.
func (a *aggregate) ofKey(g store.Group, k *store.Key) object {
	f := a.layout.as[g.Field.Name].name
	from, to := k.Int, k.Int
	switch {
	case k.Kind == exchange.Absent:
		return not(exists(f))
	case g.By == store.ByNetwork:
		if p, err := netip.ParsePrefix(k.Text); err == nil {
			return network(f, p)
		}
		return none()
	case g.By == store.ByClass:
		n, err := strconv.ParseInt(strings.TrimSuffix(k.Text, "xx"), 10, 64)
		if err != nil {
			return none()
		}
		from, to = n*classWidth, n*classWidth+classWidth-1
	case g.By == store.ByMagnitude:
		for _, b := range magnitudes() {
			if b.key == k.Int {
				from, to = b.from, b.to-1
			}
		}
	case k.Kind == exchange.Text, k.Kind == exchange.IP:
		return term(f, shown(k.Text))
	case k.Kind == exchange.Bool:
		return term(f, k.Int != 0)
	}
	return object{"range": object{f: object{"gte": from, "lte": to}}}
}
