//go:build linux

// Command situations makes what internal/lab/situations knows how to make, and judges culprit by it.
//
//	go run ./internal/lab/cmd/situations list
//	go run ./internal/lab/cmd/situations record [-n 200] FOLDER [SITUATION...]
//	go run ./internal/lab/cmd/situations judge [-culprit bin/culprit] [-show N] FOLDER [SITUATION...]
//	go run ./internal/lab/cmd/situations stack [-requests 1000] [-at-once 50] FOLDER
//	go run ./internal/lab/cmd/situations links [-culprit bin/culprit] [-show N] FOLDER
//
// stack records a chain of proxies, an app, a database and a cache, with and without ids; links judges how culprit links their exchanges.
// A recording of a situation is a folder of that name: client.pcapng, middle.pcapng, server.pcapng and truth.tsv.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/lab/situations"
	"github.com/culprit-http/culprit/internal/lab/situations/judge"
	"github.com/culprit-http/culprit/internal/lab/stack"
)

func main() {
	flags := flag.NewFlagSet("situations", flag.ExitOnError)
	program := flags.String("culprit", "bin/culprit", "the program to judge")
	show := flags.Int("show", 3, "how many verdicts to show of each kind that aren't right")
	n := flags.Int("n", 200, "about how many exchanges of each situation")
	if len(os.Args) < 2 {
		usage()
	}
	requests := flags.Int("requests", 1000, "how many requests the stack gets")
	atOnce := flags.Int("at-once", 50, "how many of them at once")
	_ = flags.Parse(os.Args[2:])
	switch args := flags.Args(); os.Args[1] {
	case "list":
		for _, s := range situations.Table() {
			fmt.Printf("%-18s %s\n", s.Name, s.What)
		}
	case "record":
		if len(args) == 0 {
			usage()
		}
		hurry()
		os.Exit(lab.Run(func() int { return status(record(args[0], args[1:], *n)) }))
	case "stack":
		if len(args) != 1 {
			usage()
		}
		hurry()
		os.Exit(lab.Run(func() int { return status(stack.Record(*requests, *atOnce, args[0])) }))
	case "links":
		if len(args) != 1 {
			usage()
		}
		os.Exit(status(links(*program, args[0], *show)))
	case "judge":
		if len(args) == 0 {
			usage()
		}
		os.Exit(status(judgeAll(*program, args[0], args[1:], *show)))
	default:
		usage()
	}
}

// hurry puts what is recorded before other programs of the machine, where that is allowed: links that are late would be in the captures. It
// holds for the calling thread and what it starts.
func hurry() {
	const most = -15
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, most)
}

func usage() {
	fmt.Fprintln(os.Stderr, "situations list | record [-n N] FOLDER [SITUATION...] | judge [-culprit FILE] [-show N] FOLDER [SITUATION...] | stack [-requests N] [-at-once N] FOLDER | links [-culprit FILE] [-show N] FOLDER")
	os.Exit(2)
}

// status is the exit status of a run that ended with err, which it shows.
func status(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "situations:", err)
	return 1
}

// chosen are the situations of the given names, all without any.
func chosen(names []string) (all []situations.Situation, err error) {
	for _, s := range situations.Table() {
		if len(names) == 0 || slices.Contains(names, s.Name) {
			all = append(all, s)
		}
	}
	if len(all) < len(names) {
		return nil, fmt.Errorf("not all of %q are situations: list shows them", names)
	}
	return all, nil
}

func record(folder string, names []string, n int) error {
	all, err := chosen(names)
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := situations.Record(&s, n, filepath.Join(folder, s.Name)); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "recorded", s.Name)
	}
	return nil
}

func judgeAll(program, folder string, names []string, show int) error {
	all, err := chosen(names)
	if err != nil {
		return err
	}
	var rows []judge.Row
	for _, s := range all {
		recorded := filepath.Join(folder, s.Name)
		if _, err := os.Stat(recorded); os.IsNotExist(err) {
			fmt.Printf("%s wasn't recorded\n", s.Name)
			continue
		}
		r, err := judgeOne(program, recorded, &s, show)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		rows = append(rows, r...)
	}
	if err := judge.Print(os.Stdout, rows); err != nil {
		return err
	}
	if sum, want := judge.Sum(rows), judge.Wanted(); !sum.Reached(want) {
		return fmt.Errorf("the targets aren't reached: %.0f %% right on one cause, %.0f %% on two, confident on %.0f %%", 100*want.Single, 100*want.Pair, 100*want.Decided)
	}
	return nil
}

// judgeOne has culprit read the captures of a recording, each by itself, and compares.
func judgeOne(program, folder string, s *situations.Situation, show int) ([]judge.Row, error) {
	truth, err := situations.ReadTruth(folder)
	if err != nil {
		return nil, err
	}
	said, err := judge.Ask(program, folder)
	if err != nil {
		return nil, err
	}
	type place struct {
		kind string
		tap  situations.Tap
	}
	shown := map[place]int{}
	return judge.Compare(s, truth, said, func(r *judge.Row, t situations.Truth, x *judge.Said) {
		p := place{r.Kind, r.Tap}
		if shown[p]++; shown[p] > show {
			return
		}
		if x == nil {
			fmt.Printf("%s at %s isn't shown (%s)\n", t.Key, r.Tap, t.Note)
			return
		}
		fmt.Printf("%v\n    expected %s; %s\n", x, s.Kind(r.Kind).Expected[r.Tap], t.Note)
	})
}

// links has culprit link the exchanges of the stack, and compares.
func links(program, folder string, show int) error {
	var missed []error
	for _, name := range []string{stack.WithIDs, stack.WithoutIDs} {
		truth, err := stack.ReadTruth(filepath.Join(folder, name, stack.TruthFile))
		if err != nil {
			return err
		}
		said, err := stack.Ask(program, filepath.Join(folder, name))
		if err != nil {
			return err
		}
		shown := 0
		all, err := stack.Judge(bytes.NewReader(said), truth, func(m stack.Mislinked) {
			if shown++; shown <= show {
				fmt.Printf("%s: %+v\n", name, m)
			}
		})
		if err != nil {
			return err
		}
		fmt.Println(name)
		share, err := stack.Print(os.Stdout, all)
		if err != nil {
			return err
		}
		if least := stack.Least()[name]; share < least {
			missed = append(missed, fmt.Errorf("%s: the target isn't reached: %.0f %%", name, 100*least))
		}
	}
	return errors.Join(missed...)
}
