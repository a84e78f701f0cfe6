package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/culprit-http/culprit/internal/privilege"
)

// dropWithoutCapture gives up what a process doesn't need that reads files, and the store's folder. It says what it did, one
// thing a line.
func dropWithoutCapture(o privilege.Options) ([]string, error) {
	if len(o.ReadPaths) > 0 { // which the user may not be allowed to read; Landlock keeps it to these
		o.Keep = []privilege.Cap{privilege.CapDACReadSearch}
		if len(privilege.Missing(o.Keep...)) > 0 {
			o.Keep = []privilege.Cap{privilege.CapDACOverride} // which containers have by default, and will do
		}
	}
	report, err := privilege.Drop(o)
	if err != nil {
		return nil, fmt.Errorf("giving up privileges: %w", err)
	}
	return strings.Split(report.String(), "\n"), nil
}

// handOverStore makes the folder of the store, and gives it to the user that the process is going to be.
func handOverStore(dir, user string) error {
	if err := makeFolder(dir); err != nil {
		return err
	}
	return handOver(dir, user, storeNames)
}

// handOver gives a folder, with what is in it by those names, to the user that the process is going to be. It makes the folder
// if it isn't there.
func handOver(dir, user string, names []string) error {
	if err := makePrivate(dir); err != nil {
		return err
	}
	uid, gid, change, err := privilege.Becomes(user)
	if err != nil || !change || os.Geteuid() != 0 {
		return err
	}
	root, err := os.OpenRoot(dir) // nobody who may write there can lead out of it
	if err != nil {
		return err
	}
	defer root.Close()
	err = root.Lchown(".", uid, gid)
	if user == "" && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM)) {
		return nil // the process won't become that user here, either
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fs.WalkDir(root.FS(), name, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			switch {
			case !ok || int(st.Uid) == uid && int(st.Gid) == gid:
				return nil
			case !e.IsDir() && (!e.Type().IsRegular() || st.Nlink > 1):
				// It would be given away under its other name, too.
				return fmt.Errorf("%s is none of the files that belong there: move it away", filepath.Join(dir, path))
			}
			return root.Lchown(path, uid, gid)
		}); err != nil {
			return err
		}
	}
	return nil
}
