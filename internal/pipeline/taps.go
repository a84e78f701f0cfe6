package pipeline

import (
	"path/filepath"
	"sync/atomic"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
)

// taps are the taps that have been seen. The reader adds to them before it sends a tap's first packet;
// workers only read.
type taps struct {
	list atomic.Pointer[[]*exchange.Tap]
}

func (t *taps) known() int {
	if l := t.list.Load(); l != nil {
		return len(*l)
	}
	return 0
}

func (t *taps) get(index uint32) *exchange.Tap { return (*t.list.Load())[index] }

// learn takes the taps of the source that are new.
func (t *taps) learn(all []capture.Tap) {
	var list []*exchange.Tap
	if l := t.list.Load(); l != nil {
		list = append(list, *l...)
	}
	for _, c := range all[len(list):] {
		label := c.Name
		if label == "" {
			label = filepath.Base(c.File)
		}
		list = append(list, &exchange.Tap{Name: c.Name, Label: label, Observer: c.Observer, Recorded: c.Recorded})
	}
	t.list.Store(&list)
}
