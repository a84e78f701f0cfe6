package firehose

// Waiting returns how many bytes wait in a queue, with the room that is kept for end marks.
func (o *Output) Waiting() int {
	q := o.places[0].sink.(*queue)
	n := q.reserved
	for i := range q.entries {
		n += len(q.entries[i].text)
	}
	return n
}
