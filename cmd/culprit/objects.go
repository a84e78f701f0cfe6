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
