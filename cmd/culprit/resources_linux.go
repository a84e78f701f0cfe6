package main

import (
	"strconv"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/output/files"
)

// resources returns what the process has used so far, by the names that tcpflow's reports have.
func resources() []files.Element {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return nil
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []files.Element{
		{Name: "utime", Text: seconds(time.Duration(u.Utime.Nano()))}, {Name: "stime", Text: seconds(time.Duration(u.Stime.Nano()))},
		{Name: "maxrss", Text: count(int64(u.Maxrss))}, {Name: "minflt", Text: count(int64(u.Minflt))}, {Name: "majflt", Text: count(int64(u.Majflt))},
		{Name: "nswap", Text: count(int64(u.Nswap))}, {Name: "inblock", Text: count(int64(u.Inblock))}, {Name: "oublock", Text: count(int64(u.Oublock))},
	}
}
