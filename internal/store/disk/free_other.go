//go:build !linux && !darwin

package disk

// Free returns ErrUnknown: there is no portable way to ask.
func Free(string) (int64, error) { return 0, ErrUnknown }
