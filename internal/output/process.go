package output

import (
	"path"

	"github.com/culprit-http/culprit/internal/exchange"
)

// ProcessName returns what people call a process: its command name, or else that of its program; empty when
// neither is known. It isn't escaped.
func ProcessName(p *exchange.Process) string {
	switch {
	case p == nil:
		return ""
	case p.Name == "" && p.Executable != "":
		return path.Base(p.Executable)
	}
	return p.Name
}
