package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobodyID is the user and the group of nobody where there is no list of users, as in an image with one program only.
const nobodyID = 65534

// dropUser makes all threads those of the user that o names. The permitted capabilities stay.
func dropUser(name string) (Step, error) {
	step := Step{Name: "user"}
	explicit := name != ""
	if !explicit {
		if os.Geteuid() != 0 {
			step.Text, step.Done = fmt.Sprintf("still %s, who isn't root", userName(os.Geteuid())), true
			return step, nil
		}
		name = DefaultUser
	}
	uid, gid, err := lookUp(name)
	if err != nil {
		if explicit {
			return step, err
		}
		uid, gid = nobodyID, nobodyID
	}

	// Without this, the capabilities that are to be kept would go with root, and those that take the rest away too.
	if err := prctl(unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return step, fmt.Errorf("keeping capabilities while becoming %s: %w", name, err)
	}
	err = become(uid, gid)
	if off := prctl(unix.PR_SET_KEEPCAPS, 0, 0); off != nil {
		return step, fmt.Errorf("after becoming %s: %w", name, off)
	}
	switch {
	case err == nil && explicit && uid == 0:
		step.Text = "root, as told"
	case err == nil:
		step.Text, step.Done = fmt.Sprintf("%s (uid %d, gid %d)", name, uid, gid), true
	case explicit:
		return step, fmt.Errorf("becoming user %s: %w; start as root, or name no user", name, err)
	default:
		step.Text = fmt.Sprintf("still %s: becoming %s: %v", userName(os.Geteuid()), name, err)
	}
	return step, nil
}

// Becomes says whose files the process can use when Drop has been given that user: one who is to be able to use files of
// root's must be given them before. change: it is another user than now.
func Becomes(name string) (uid, gid int, change bool, err error) {
	explicit := name != ""
	if !explicit {
		if os.Geteuid() != 0 {
			return os.Geteuid(), os.Getegid(), false, nil
		}
		name = DefaultUser
	}
	uid, gid, err = lookUp(name)
	if err != nil && !explicit {
		uid, gid, err = nobodyID, nobodyID, nil
	}
	return uid, gid, err == nil && uid != os.Geteuid(), err
}

// become changes all ids of all threads. It does as much as it can: less of root is better than all of it.
func become(uid, gid int) error {
	var errs []error
	if groups, err := os.Getgroups(); err != nil || len(groups) > 0 {
		if err := syscall.Setgroups(nil); err != nil {
			errs = append(errs, fmt.Errorf("setgroups: %w", err))
		}
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		errs = append(errs, fmt.Errorf("setgid: %w", explainID(err, "gid", gid)))
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		errs = append(errs, fmt.Errorf("setuid: %w", explainID(err, "uid", uid)))
	}
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, ", "))
}

// explainID says what EINVAL means here.
func explainID(err error, kind string, id int) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s %d isn't mapped in this user namespace", kind, id)
	}
	return err
}

// lookUp finds the ids of NAME, UID or UID:GID. A number that is no user's has a group of the same number.
func lookUp(name string) (uid, gid int, err error) {
	first, second, both := strings.Cut(name, ":")
	if both {
		var errs [2]error
		uid, errs[0] = parseID(first)
		gid, errs[1] = parseID(second)
		if errors.Join(errs[:]...) != nil {
			return 0, 0, fmt.Errorf("user %q: give a name, or UID:GID in numbers", name)
		}
		return uid, gid, nil
	}
	number, notNumber := parseID(name)
	found, err := user.Lookup(name)
	if err != nil && notNumber == nil {
		if found, err = user.LookupId(name); err != nil {
			return number, number, nil
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user %q isn't known here: give another, or UID:GID in numbers", name)
	}
	if uid, err = parseID(found.Uid); err != nil {
		return 0, 0, fmt.Errorf("user %q: %w", name, err)
	}
	if gid, err = parseID(found.Gid); err != nil {
		return 0, 0, fmt.Errorf("user %q: %w", name, err)
	}
	return uid, gid, nil
}

// parseID parses the number of a user or a group. -1, which would mean "leave it", isn't one.
func parseID(s string) (int, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err == nil && id == 1<<32-1 {
		err = errors.New("no such id")
	}
	return int(id), err
}

// userName names a user for people.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}
