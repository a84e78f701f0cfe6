package main

import (
	"github.com/culprit-http/culprit/internal/output/files"
	"github.com/culprit-http/culprit/internal/output/objects"
)

// keepObjects has an output of half-streams keep what their messages carry, too, in files of the same folder.
func keepObjects(o *files.Output, f objects.Folder, options objects.Options) *objects.Keeper {
	options.Missing = o.Missing
	options.Kept = func(kept *objects.Object) error {
		from := kept.Offset
		if kept.Part {
			from = -1
		}
		o.Kept(files.Object{Name: kept.Name, Size: kept.Size, From: from, MD5: kept.MD5, SHA256: kept.SHA256, Flow: kept.Flow, Dir: kept.Dir})
		return nil
	}
	k := objects.New(f, options)
	o.Objects = k
	return k
}

// accountObjects says what is missing of what messages carry.
func (t *tracing) accountObjects(o *files.Output) {
	k, ok := o.Objects.(*objects.Keeper)
	if !ok {
		return
	}
	st := k.Stats()
	for _, lost := range []struct {
		n         uint64
		what, why string
	}{
		{st.Incomplete, "body file", "not complete; their names end with " + objects.IncompleteSuffix + ", and " + files.MissingName + " says why"},
		{st.Undecoded, "body file", "as it was sent, since it can't be decoded; " + files.MissingName + " says why"},
		{st.Refused, "body file", "left out, since there were " + count(objects.MaxFiles) + " files"},
		{st.Unlisted, "part", "left out, since a body has more than " + count(objects.MaxParts)},
	} {
		if lost.n > 0 {
			t.lose("-o %s: %s: %s", folder, plural(lost.n, lost.what), lost.why)
		}
	}
}

// totalOfObjects says what was kept of what messages carry; empty if that isn't kept.
func totalOfObjects(o *files.Output) string {
	k, ok := o.Objects.(*objects.Keeper)
	if !ok {
		return ""
	}
	st := k.Stats()
	return " and " + plural(st.Files, "body file")
}
