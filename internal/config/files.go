package config

import "fmt"

// Files is what -o files=DIR can be told by its settings.
type Files struct {
	// Index: beside each file is an index of when its bytes came. Packets: the packets of each connection have a file, too.
	Index, Packets bool
	// Report: there is a report, which has these digests of each file.
	Report      bool
	MD5, SHA256 bool
	// Bodies: what messages of HTTP carry has files of its own. Parts: so has each part of a multipart body, Messages each message of a gRPC
	// body, Sessions each message of a WebSocket.
	Bodies, Parts, Messages, Sessions bool
	// MaxBytes is how much is kept of a half-stream; 0: all of it. MaxOpen is how many files are open at a time.
	MaxBytes Size
	MaxOpen  int
}

// DefaultFiles returns the defaults.
func DefaultFiles() Files { return Files{Report: true, Bodies: true, MaxOpen: 128} }

// SetHash chooses a digest by its name.
func (f *Files) SetHash(name string) error {
	switch name {
	case "md5":
		f.MD5 = true
	case "sha256":
		f.SHA256 = true
	default:
		return fmt.Errorf("%q: want md5, sha256 or both, with a comma between them", name)
	}
	return nil
}

// SetObject chooses what has files of its own beside bodies, by its name.
func (f *Files) SetObject(name string) error {
	switch name {
	case "parts":
		f.Parts = true
	case "grpc":
		f.Messages = true
	case "messages":
		f.Sessions = true
	default:
		return fmt.Errorf("%q: want parts, grpc, messages, with commas between them", name)
	}
	return nil
}

// Validate checks what the settings mean together.
func (f *Files) Validate() error {
	switch {
	case (f.MD5 || f.SHA256) && !f.Report:
		return fmt.Errorf("hash: digests are told in the report, and report=no leaves that out")
	case (f.Parts || f.Messages) && !f.Bodies:
		return fmt.Errorf("objects: parts and messages of bodies are taken out of these, and bodies=no leaves them out")
	}
	return nil
}
