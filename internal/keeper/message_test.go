package keeper

import (
	"bytes"
	"testing"
)

// Messages that are parsed are those that are written, and nothing else is taken.
func FuzzMessage(f *testing.F) {
	f.Add((&request{id: 1, service: "open", payload: []byte{3}}).append(nil))
	f.Add((&reply{id: 1, files: 2, payload: []byte("x")}).append(nil))
	f.Add((&reply{id: 1, err: &Error{Text: "no", Errno: 13}}).append(nil))
	f.Add([]byte{1, 0, 0, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxMessage {
			return
		}
		var req request
		if err := req.parse(b); err == nil {
			if len(req.service) == 0 || len(req.service) > maxName || len(req.payload) > MaxRequest {
				t.Errorf("%+v is over the limits", req)
			}
			if got := req.append(nil); !bytes.Equal(got, b) {
				t.Errorf("request %x is written as %x", b, got)
			}
		}
		var r reply
		if err := r.parse(b); err == nil {
			if r.files > MaxFiles || r.err != nil && r.files > 0 {
				t.Errorf("%+v is over the limits", r)
			}
			if got := r.append(nil); !bytes.Equal(got, b) {
				t.Errorf("reply %x is written as %x", b, got)
			}
		}
	})
}
