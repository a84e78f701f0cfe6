package redact

// Text hides the secrets of a text of a media type, such as what a body was decoded to. It returns b itself when there are
// none. It isn't safe for concurrent use with other calls of the Redactor.
func (r *Redactor) Text(mediaType string, b []byte) []byte {
	r.find(b, bodyFinder([]byte(mediaType), b))
	if len(r.spans) == 0 {
		return b
	}
	return r.appendRedacted(nil, b)
}
