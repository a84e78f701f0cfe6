package preview

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/culprit-http/culprit/internal/exchange"
)

// unknownKind is what a body looks like that looks like nothing that is known.
const unknownKind = "application/octet-stream"

// binary tells what a body is that can't be shown.
func (w *work) binary() {
	w.Form = Binary
	sum := sha256.Sum256(w.b.Bytes)
	w.SHA256 = hex.EncodeToString(sum[:])
	if w.b.Undecoded != "" {
		return // what it looks like is its coding
	}
	kind, _, _ := bytes.Cut([]byte(http.DetectContentType(w.b.Bytes)), []byte(";"))
	if string(kind) != unknownKind && !bytes.Equal(kind, exchange.MediaType(w.m)) {
		w.Kind = string(kind)
	}
}
