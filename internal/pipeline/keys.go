package pipeline

import "github.com/culprit-http/culprit/internal/tls"

// secretTLS is the type of a decryption secret that is a TLS key log
// (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html#section-4.7).
const secretTLS = 0x544c534b

// learn adds the keys that the source has newly found to the others. It reports whether there are any.
func (r *run) learn() bool {
	list := r.secrets.Secrets()
	if len(list) == r.learned {
		return false
	}
	for _, s := range list[r.learned:] {
		if s.Type == secretTLS {
			r.config.Keys.Add(s.Data)
			r.config.Keys.SetMayGrow(true) // where there is one, there may be others further on
		}
	}
	r.learned = len(list)
	return true
}

// publish makes the keys that were added known from here on. It returns what workers are told of them. look: more may have come.
func (r *run) publish(look bool) tls.State {
	if r.config.Keys == nil {
		return tls.State{None: true}
	}
	if look && r.config.MoreKeys != nil {
		r.config.MoreKeys()
	}
	k := r.config.Keys
	r.unlooked, r.generation = 0, k.Publish()
	return tls.State{Generation: r.generation, MayGrow: k.MayGrow(), None: k.Empty()}
}

// lookEvery is how many packets may come before more keys are looked for, if nothing waits for them.
const lookEvery = 64

// look looks for more keys once in a while. It reports whether there are any.
func (r *run) look() bool {
	if r.config.MoreKeys == nil {
		return false
	}
	if r.unlooked++; r.unlooked < lookEvery && !r.wanted.Load() {
		return false
	}
	r.unlooked = 0
	r.wanted.Store(false)
	r.config.MoreKeys()
	return r.config.Keys.Publish() != r.generation
}
