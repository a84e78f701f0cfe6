package firehose

// Waiting returns how many bytes wait in a queue, with the room that is kept for the end marks of the streams that are open.
func (o *Output) Waiting() int {
	q := o.places[0].sink.(*queue)
	n := 0
	for _, c := range o.connections {
		for i := range c.stream.half {
			if h := &c.stream.half[i]; h.reserved {
				n += endSize
			}
		}
	}
	for i := range q.entries {
		n += len(q.entries[i].text)
	}
	return n
}
