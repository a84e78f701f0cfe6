package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Output is one output that was asked for: on the command line NAME[=TARGET[?KEY=VALUE&...]], in a file also a map of NAME
// to its settings, of which target is one.
type Output struct {
	// Name is the output's, Target where it goes to; HasTarget: there was an equals sign.
	Name, Target string
	HasTarget    bool
	// Settings are its settings, in their order, each key once.
	Settings []OutputSetting
	// Text is how it was written, for messages; without what comes after the target.
	Text string
}

// OutputSetting is one setting of an output.
type OutputSetting struct{ Key, Value string }

// targetKey is the key of the target in a file.
const targetKey = "target"

// ParseOutput reads an argument of -o. settings says whether an output of a name takes settings: for others, a question mark
// is part of the target.
func ParseOutput(arg string, settings func(name string) bool) (Output, error) {
	end := strings.IndexAny(arg, "=?")
	if end < 0 {
		return Output{Name: arg, Text: arg}, nil
	}
	o := Output{Name: arg[:end], Text: arg, HasTarget: arg[end] == '=', Target: arg[end+1:]}
	if !settings(o.Name) {
		o.Name, o.Target, o.HasTarget = strings.Cut(arg, "=")
		return o, nil
	}
	query := o.Target
	if o.HasTarget {
		o.Target, query, _ = strings.Cut(o.Target, "?")
	} else {
		o.Target = ""
	}
	o.describe()
	if strings.Contains(query, "@") && cutOff(o.Target) {
		o.Text = o.Name
	}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return o, fmt.Errorf("%s: a part without an equals sign: want KEY=VALUE after the question mark, with & between settings (in passwords, they are written %%3F and %%26)", o.Text)
		}
		value, err := url.PathUnescape(value) // plus signs stay: keys in base64 have them
		if err != nil {
			return o, fmt.Errorf("%s: the value of %s: a per cent sign is written %%25", o.Text, key)
		}
		if err := o.set(key, value); err != nil {
			return o, err
		}
	}
	return o, nil
}

// describe makes Text of the name and the target, without credentials.
func (o *Output) describe() {
	o.Text = o.Name
	if o.HasTarget {
		o.Text += "=" + hideCredentials(o.Target)
	}
}

func (o *Output) set(key, value string) error {
	if slices.ContainsFunc(o.Settings, func(s OutputSetting) bool { return s.Key == key }) {
		return fmt.Errorf("%s: %s is there twice", o.Text, key)
	}
	o.Settings = append(o.Settings, OutputSetting{key, value})
	return nil
}

// cutOff reports whether a target looks as if its question mark was one of a password, the first half of which it ends with: there
// is something else than a port.
func cutOff(target string) bool {
	if scheme, rest, ok := strings.Cut(target, "://"); ok && !strings.Contains(scheme, ":") {
		target = rest
	}
	_, port, ok := strings.Cut(target, ":")
	return ok && strings.Trim(port, "0123456789") != ""
}

// hideCredentials leaves out what may be users and passwords: all between the scheme, if there is one, and the last @. Passwords
// may have commas, slashes and more in them; servers before the last of those that come with credentials are left out with them.
func hideCredentials(target string) string {
	at := strings.LastIndexByte(target, '@')
	if at < 0 {
		return target
	}
	scheme, _, ok := strings.Cut(target[:at], "://")
	if ok && !strings.Contains(scheme, "@") && !strings.Contains(scheme, ":") {
		return scheme + "://" + target[at+1:]
	}
	return target[at+1:]
}

// errVariable is the error of a reference that can't be followed.
var errVariable = errors.New("the environment has no such variable")

// variableName matches what is surely the name of a variable.
var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// Expand replaces ${NAME} by what the environment says; $$ is a dollar sign. A variable that isn't set is an error.
func Expand(text string, lookup func(name string) (string, bool)) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	var missing error
	out := strings.ReplaceAll(text, "$$", "\x00")
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(out, "${")
		b.WriteString(before)
		if !ok {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New("there is a ${ without a closing }; where no variable is meant, a dollar sign is written $$")
		}
		value, there := lookup(name)
		if !there {
			if !variableName.MatchString(name) { // maybe a part of a password
				name = "..."
			}
			missing = errors.Join(missing, fmt.Errorf("${%s}: %w", name, errVariable))
		}
		b.WriteString(value)
		out = after
	}
	return strings.ReplaceAll(b.String(), "\x00", "$"), missing
}

// DefaultSpool returns the folder of the spools, for a process of that user.
func DefaultSpool(getenv func(string) string, uid int) (string, error) {
	switch state, home := getenv("XDG_STATE_HOME"), getenv("HOME"); {
	case uid == 0:
		return "/var/spool/culprit", nil
	case filepath.IsAbs(state): // others are to be ignored, says the specification
		return filepath.Join(state, "culprit", "spool"), nil
	case home != "":
		return filepath.Join(home, ".local", "state", "culprit", "spool"), nil
	}
	return "", errors.New("no place for the spools: set HOME or XDG_STATE_HOME, or name a folder with --spool DIR")
}
