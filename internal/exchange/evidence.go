package exchange

// Why returns the verdict in a sentence, empty when nobody is blamed.
func (x *Exchange) Why() string {
	if x.Blame.Why != "" || x.Blame.Who <= Nobody {
		return x.Blame.Why
	}
	return Situations[x.Blame.Situation].Meaning
}

// Proofs returns the facts that the verdict rests on, as texts with packet numbers.
func (x *Exchange) Proofs() []string {
	return x.Blame.Facts
}
