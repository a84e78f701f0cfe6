package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// DashboardsPort is where Kibana and OpenSearch Dashboards listen.
const DashboardsPort = 5601

// lastOfOpenSearch: OpenSearch Dashboards began to count anew, and is behind Kibana's versions that matter.
const lastOfOpenSearch = 6

// Dashboards returns what a server of Kibana or OpenSearch Dashboards is, which a Client can talk to as well.
func (c *Client) Dashboards(ctx context.Context) (Product, error) {
	var status struct{ Version struct{ Number string } }
	if err := c.JSON(ctx, http.MethodGet, "/api/status", nil, &status); err != nil {
		return Product{}, err
	}
	p := Product{Version: status.Version.Number, Major: major(status.Version.Number)}
	if p.Major == 0 {
		return Product{}, fmt.Errorf("%s doesn't say its version: is it Kibana or OpenSearch Dashboards, and may the user ask?", c.nodes[0].url.Redacted())
	}
	p.OpenSearch = p.Major <= lastOfOpenSearch
	return p, nil
}

// Import loads saved objects, one a line, in place of those of the same ids. It returns how many were loaded, and what
// is wrong with the others.
func (c *Client) Import(ctx context.Context, name string, objects []byte) (loaded int, problems []string, err error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	file, err := w.CreateFormFile("file", name)
	if err == nil {
		if _, err = file.Write(objects); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return 0, nil, err
	}
	text, err := c.Do(ctx, &Request{
		Method: http.MethodPost, Path: "/api/saved_objects/_import", Query: url.Values{"overwrite": {"true"}},
		ContentType: w.FormDataContentType(), Body: form.Bytes(),
		// Each product wants one of them, whatever it says.
		Header: http.Header{"Kbn-Xsrf": {"culprit"}, "Osd-Xsrf": {"culprit"}},
	})
	if err != nil {
		return 0, nil, err
	}
	var answer struct {
		Success      bool
		SuccessCount int
		Errors       []struct {
			ID, Type, Title string
			Error           struct {
				Type, Message string
				References    []struct{ ID, Type string }
			}
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, nil, fmt.Errorf("the answer isn't that of an import: %w", err)
	}
	for _, e := range answer.Errors {
		problem := fmt.Sprintf("%s %s: %s", e.Type, e.ID, strings.ReplaceAll(e.Error.Type, "_", " "))
		if e.Error.Message != "" {
			problem += ": " + e.Error.Message
		}
		for _, r := range e.Error.References {
			problem += fmt.Sprintf(", %s %s", r.Type, r.ID)
		}
		problems = append(problems, printable(problem, maxReason))
	}
	if !answer.Success && len(problems) == 0 {
		problems = append(problems, "the server says that it has failed, and not why")
	}
	return answer.SuccessCount, problems, nil
}
