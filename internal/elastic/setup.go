package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// DefaultKeep is after how many days indices are deleted, unless told.
const DefaultKeep = 30

// Setup says what to make in a cluster.
type Setup struct {
	// Index is the prefix of the indices' names; empty: DefaultIndex.
	Index string
	// Keep is after how many days an index is deleted; 0: never.
	Keep int
	// Replace puts what is there already, unless it is newer; else only what is missing or older.
	Replace bool
	// DryRun changes nothing.
	DryRun bool
}

// Step is something that Setup has done, or would have.
type Step struct {
	// Text says it for people. Problem: it says what the cluster lacks.
	Text    string
	Problem bool
	// Method, Path and Body are the request, if there is one.
	Method, Path string
	Body         json.RawMessage
}

// Setup makes the index templates and the lifecycle policy. A template that is newer than this program stays.
func (c *Client) Setup(ctx context.Context, s Setup) ([]Step, error) {
	if s.Index == "" {
		s.Index = DefaultIndex
	}
	if err := CheckIndex(s.Index); err != nil {
		return nil, err
	}
	p, err := c.Product(ctx)
	if err != nil {
		return nil, err
	}
	i := &installer{Client: c, Setup: s, types: types{product: p, unknown: map[string]bool{}}}
	if err := i.lifecycle(ctx); err != nil {
		return i.steps, err
	}
	for _, kind := range []string{Exchanges, Rollups} {
		if err := i.template(ctx, kind); err != nil {
			return i.steps, err
		}
	}
	return i.steps, nil
}

// CheckIndex says what is wrong with a prefix of the names of indices.
func CheckIndex(prefix string) error {
	if prefix == "" || len(prefix) > 100 || strings.ToLower(prefix) != prefix || strings.ContainsAny(prefix, `\/*?"<>| ,#:%&+`) || strings.ContainsAny(prefix[:1], "-_.") {
		return fmt.Errorf("index: %q: want up to 100 lower-case letters, digits, - and _, with a letter or digit first", prefix)
	}
	return nil
}

// installer is a Setup at work.
type installer struct {
	*Client
	Setup
	types types
	// policy is the lifecycle policy that templates are to name; empty: none is asked for, or they don't name it.
	policy string
	steps  []Step
}

func (i *installer) say(problem bool, format string, args ...any) {
	i.steps = append(i.steps, Step{Text: fmt.Sprintf(format, args...), Problem: problem})
}

// put puts something, unless this is a dry run.
func (i *installer) put(ctx context.Context, path string, body property, format string, args ...any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if !i.DryRun {
		if _, err := i.Do(ctx, &Request{Method: http.MethodPut, Path: path, Body: text}); err != nil {
			return err
		}
	}
	i.steps = append(i.steps, Step{Text: fmt.Sprintf(format, args...), Method: http.MethodPut, Path: path, Body: text})
	return nil
}

// plainDays is a number of days in the cluster's form.
func plainDays(days int) string { return strconv.Itoa(days) + "d" }

// lifecycle makes the policy that deletes indices, where the cluster has such a thing.
func (i *installer) lifecycle(ctx context.Context) error {
	if i.Keep == 0 {
		i.say(false, "no lifecycle: indices stay until somebody deletes them")
		return nil
	}
	path := "/_ilm/policy/" + i.Index
	if i.types.product.OpenSearch {
		path = "/_plugins/_ism/policies/" + i.Index
	}
	text, err := i.Do(ctx, &Request{Method: http.MethodGet, Path: path})
	refused := (*Error)(nil)
	there := err == nil
	switch {
	case there:
	case !errors.As(err, &refused):
		return err
	case i.types.product.lacksPolicy(refused):
	case refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed || refused.Status == http.StatusGone:
		i.say(true, "this %v has no lifecycles (ILM, ISM): delete old indices yourself", i.types.product)
		return nil
	default:
		return fmt.Errorf("%w; with keep_days: 0 no lifecycle is made", err)
	}
	if !i.types.product.OpenSearch {
		i.policy = i.Index
	}
	if there && !i.Replace {
		i.say(false, "lifecycle policy %s is there", i.Index)
		return nil
	}
	if there && i.types.product.OpenSearch {
		var old struct {
			Seq  int64 `json:"_seq_no"`
			Term int64 `json:"_primary_term"`
		}
		if err := json.Unmarshal(text, &old); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		path += "?" + url.Values{"if_seq_no": {strconv.FormatInt(old.Seq, 10)}, "if_primary_term": {strconv.FormatInt(old.Term, 10)}}.Encode()
	}
	return i.put(ctx, path, i.types.lifecycle(i.Index, i.Keep), "lifecycle policy %s: an index is deleted %d days after it was made", i.Index, i.Keep)
}

// lacksPolicy reports whether the answer to a question for a policy says that there are policies, but not this one.
func (p Product) lacksPolicy(e *Error) bool {
	switch {
	case e.Status != http.StatusNotFound:
		return false
	case !p.OpenSearch:
		return e.Type == "resource_not_found_exception"
	}
	// The second: policies were never made, so that the index that holds them isn't there.
	return e.Type == "status_exception" || e.Type == typeNoIndex && strings.Contains(e.Reason, "ism-config")
}

// unknownType finds the type that a cluster doesn't know in what it says.
var unknownType = regexp.MustCompile(`(?:No handler for type|mapper type) \[(\w+)\]`)

// template makes the template of a kind of index.
func (i *installer) template(ctx context.Context, kind string) error {
	name := i.Index + "-" + kind
	path := "/_index_template/" + name
	there, err := i.there(ctx, path)
	if err != nil {
		return err
	}
	policy := i.policy
	if there.policy != "" && !i.Replace {
		policy = there.policy // somebody has chosen it
	}
	switch {
	case there.version > TemplateVersion:
		i.say(false, "index template %s is of a newer culprit (version %d): it stays", name, there.version)
		return nil
	case there.version == TemplateVersion && there.policy == policy && !i.Replace:
		i.say(false, "index template %s is there (version %d)", name, there.version)
		return nil
	}
	for {
		body := i.types.template(i.Index, kind, policy)
		if err = i.try(ctx, name, body); err == nil {
			err = i.put(ctx, path, body, "index template %s for %s-*, version %d", name, name, TemplateVersion)
		}
		refused := (*Error)(nil)
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			return err
		}
		lacks := unknownType.FindStringSubmatch(refused.Reason)
		if lacks == nil || i.types.unknown[lacks[1]] {
			return err
		}
		i.types.unknown[lacks[1]] = true
		i.say(true, "this %v has no field type %s: another takes its place", i.types.product, lacks[1])
	}
}

// try has the cluster look at a template that won't be put.
func (i *installer) try(ctx context.Context, name string, body property) error {
	if !i.DryRun {
		return nil
	}
	return i.JSON(ctx, http.MethodPost, "/_index_template/_simulate/"+name, body, nil)
}

// installed is what is known of a template that is there.
type installed struct {
	// version is 0 without a template, policy empty without a lifecycle.
	version int
	policy  string
}

// there looks at a template.
func (i *installer) there(ctx context.Context, path string) (installed, error) {
	var all struct {
		Templates []struct {
			Template struct {
				Version  int
				Template struct {
					Settings struct {
						Index struct{ Lifecycle struct{ Name string } }
					}
				}
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	err := i.JSON(ctx, http.MethodGet, path, nil, &all)
	if refused := (*Error)(nil); errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return installed{}, nil
	}
	if err != nil || len(all.Templates) == 0 {
		return installed{}, err
	}
	t := &all.Templates[0].Template
	return installed{max(t.Version, 0), t.Template.Settings.Index.Lifecycle.Name}, nil
}
