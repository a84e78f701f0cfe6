package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/endpoint"
)

// maxSecretFile is the largest size of a file with a certificate, a key or a password.
const maxSecretFile = 1 << 20

// settings are the settings of one output, as they are asked for. Each method names a key, and what holds when it isn't
// there; what is wrong is kept for the end, so that all of it can be told at once.
type settings struct {
	output *config.Output
	asked  []string
	errs   []error
	// files are those that were read.
	files []string
}

// fail notes what is wrong with a setting.
func (s *settings) fail(key, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("%s: %s: %s", s.output.Text, key, fmt.Sprintf(format, args...)))
}

// err returns what is wrong, with the settings that nobody asked for.
func (s *settings) err() error {
	for _, set := range s.output.Settings {
		if !slices.Contains(s.asked, set.Key) {
			slices.Sort(s.asked)
			s.errs = append(s.errs, fmt.Errorf("%s: there is no setting %s; there are %s", s.output.Text, set.Key, strings.Join(slices.Compact(s.asked), ", ")))
		}
	}
	return errors.Join(s.errs...)
}

// lookup returns the value of a setting, with what it takes of the environment.
func (s *settings) lookup(key string) (value string, there bool) {
	s.asked = append(s.asked, key)
	for _, set := range s.output.Settings {
		if set.Key != key {
			continue
		}
		value, err := config.Expand(set.Value, os.LookupEnv)
		if err != nil {
			s.fail(key, "%v", err)
			return "", false
		}
		return value, true
	}
	return "", false
}

// target returns where the output goes; otherwise, if the user names no place.
func (s *settings) target(otherwise string) string {
	if !s.output.HasTarget {
		return otherwise
	}
	target, err := config.Expand(s.output.Target, os.LookupEnv)
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
	}
	return target
}

func (s *settings) text(key, otherwise string) string {
	if value, there := s.lookup(key); there {
		return value
	}
	return otherwise
}

// list is a text with commas between its parts; nil when it isn't there.
func (s *settings) list(key string) (all []string) {
	for part := range strings.SplitSeq(s.text(key, ""), ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// choice is a text that is one of some.
func (s *settings) choice(key string, all ...string) string {
	value := s.text(key, all[0])
	if !slices.Contains(all, value) {
		s.fail(key, "%q: want one of %s", value, strings.Join(all, ", "))
	}
	return value
}

func (s *settings) flag(key string, otherwise bool) bool {
	value, there := s.lookup(key)
	if !there {
		return otherwise
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		s.fail(key, "%q: want true or false", value)
	}
	return b
}

// number is from low to high.
func (s *settings) number(key string, otherwise, low, high int) int {
	value, there := s.lookup(key)
	if !there {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		s.fail(key, "%q: want a number from %d to %d", value, low, high)
	}
	return n
}

// size is from low to high, in bytes.
func (s *settings) size(key string, otherwise, low, high config.Size) int64 {
	value, there := s.lookup(key)
	if !there {
		return int64(otherwise)
	}
	var n config.Size
	if err := n.Set(value); err != nil {
		s.fail(key, "%q: %v", value, err)
	} else if n < low || n > high {
		s.fail(key, "%s: want from %v to %v", value, low, high)
	}
	return int64(n)
}

func (s *settings) duration(key string, otherwise, low, high time.Duration) time.Duration {
	value, there := s.lookup(key)
	if !there {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < low || d > high {
		s.fail(key, "%q: want a time from %v to %v, such as 30s", value, low, high)
	}
	return d
}

// file returns what is in the file that a setting names.
func (s *settings) file(key string) string {
	path, there := s.lookup(key)
	if !there || path == "" {
		return ""
	}
	s.files = append(s.files, path)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(f, maxSecretFile+1)); err == nil {
			if len(b) > maxSecretFile {
				s.fail(key, "%s has more than %d bytes", path, maxSecretFile)
			}
			return string(b)
		}
	}
	s.fail(key, "%v", err)
	return ""
}

// secret is a text that stands in the configuration, or in the file that key_file names.
func (s *settings) secret(key string) string {
	value, there := s.lookup(key)
	inFile := strings.TrimSpace(s.file(key + "_file"))
	switch {
	case there && inFile != "":
		s.fail(key, "it is there, and %s_file is, too: leave one of them out", key)
	case there:
		return value
	}
	return inFile
}

// endpoint returns how the receiver is reached. Credentials of the URL go before settings.
func (s *settings) endpoint(dial endpoint.DialFunc, url endpoint.Auth) endpoint.Options {
	o := endpoint.Options{
		Dial: dial, UserAgent: "culprit/" + version, Timeout: s.connectTimeout(),
		TLS: s.tls(), Auth: endpoint.Auth{User: s.text("user", ""), Password: s.secret("password"), APIKey: s.secret("api_key"), Bearer: s.secret("bearer")},
	}
	if url.User != "" {
		o.Auth.User, o.Auth.Password = url.User, url.Password
	}
	if o.Auth.APIKey != "" && (o.Auth.Bearer != "" || o.Auth.User != "") || o.Auth.Bearer != "" && o.Auth.User != "" {
		s.fail("api_key", "there are several credentials: leave one of api_key, bearer and user")
	}
	return o
}

// streamEndpoint returns how a receiver is reached that isn't asked by HTTP, and has no credentials but a certificate.
func (s *settings) streamEndpoint(dial endpoint.DialFunc) endpoint.Options {
	return endpoint.Options{Dial: dial, Timeout: s.connectTimeout(), TLS: s.tls()}
}

func (s *settings) connectTimeout() time.Duration {
	return s.duration("connect_timeout", endpoint.DialTimeout, 100*time.Millisecond, 5*time.Minute)
}

// plainTLS refuses settings of TLS where there is none.
func (s *settings) plainTLS(plain bool, scheme string) {
	for _, set := range s.output.Settings {
		if plain && slices.Contains([]string{"ca", "cert", "key", "server_name", "insecure"}, set.Key) {
			s.fail(set.Key, "the target isn't encrypted: it wants %s", scheme)
		}
	}
}

// tls returns how servers are checked.
func (s *settings) tls() endpoint.TLS {
	t := endpoint.TLS{CA: s.file("ca"), Cert: s.file("cert"), Key: s.file("key"), ServerName: s.text("server_name", ""), Insecure: s.flag("insecure", false)}
	if _, err := t.Config(); err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", s.output.Text, err))
	}
	return t
}
