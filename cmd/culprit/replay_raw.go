package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/replay"
)

// rawReplaying is a run of culprit replay --raw.
type rawReplaying struct {
	capturing
	recording *replay.RawRecording
	outcomes  struct{ connections, failed, short, differ uint64 }
	late      int64
	stdout    target
}

// Exchanges, Idle and Chunks implement pipeline.Follower.
func (r *rawReplaying) Exchanges(_, _ []*exchange.Exchange) error { return nil }

// Idle implements pipeline.Receiver.
func (r *rawReplaying) Idle() error { return nil }

// Chunks implements pipeline.Follower.
func (r *rawReplaying) Chunks(list []follow.Chunk) error {
	for i := range list {
		if err := r.recording.Add(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// replayRaw sends the bytes of connections.
func replayRaw(ctx context.Context, cmd *cobra.Command, c *config.Replay, to *url.URL) error {
	r := &rawReplaying{recording: replay.NewRawRecording(openSpool), stdout: describe(cmd.OutOrStdout(), c.Color)}
	own := c.Capture
	own.MaxBody, own.Reveal = 0, true
	r.config, r.stderr = &own, cmd.ErrOrStderr()
	if err := r.parse(); err != nil {
		return err
	}
	keep, err := rawFolder(c)
	if err != nil {
		return err
	}
	if keep != nil {
		r.warn("%s", follow.RawWarning)
	}
	inputs, err := r.open(ctx, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer r.close()
	r.progress = newProgress(r.stderr, inputs, false)
	r.analysis(0)
	r.pipeline.Follow = follow.Plain
	stats, err := r.capturing.run(ctx, r)
	r.progress.clear()
	if err != nil {
		return &statusError{exitFailed, err}
	}
	r.number = 1 // that nothing was found is said here
	r.report(&stats, nil)
	r.recording.Prepare()
	r.tellLeftOut()
	if r.recording.Len() == 0 {
		return &statusError{exitFailed, errors.New("there is nothing to send")}
	}
	speed, _ := c.Factor() // which was checked
	r.say("sending %s on %s to %s; secrets in them go with them", plural(uint64(r.recording.Bytes), "byte"), plural(uint64(r.recording.Len()), "connection"), safe(c.To))
	if c.DryRun {
		return nil
	}
	began := time.Now()
	err = replay.RunRaw(ctx, r.recording, &replay.RawOptions{
		To: to, Speed: speed, Concurrency: c.Connections(), Timeout: c.Timeout, Insecure: c.Insecure, Keep: keep, Done: r.done,
	})
	interrupted := errors.Is(err, context.Canceled) && ctx.Err() != nil
	if err != nil && !interrupted {
		return &statusError{exitFailed, err}
	}
	o := &r.outcomes
	late := ""
	if speed > 0 {
		late = "; late by at most " + duration(r.late)
	}
	if _, err := fmt.Fprintf(r.stdout.w, "%s in %s: %s failed, %s with fewer bytes back than recorded, %s with other bytes%s\n",
		plural(o.connections, "connection"), duration(int64(time.Since(began))), count(o.failed), count(o.short), count(o.differ), late); err != nil && !errors.Is(err, syscall.EPIPE) {
		return &statusError{exitFailed, err}
	}
	switch {
	case interrupted:
		r.lose("interrupted: %s not made, or not ended", plural(uint64(r.recording.Len())-o.connections, "connection"))
	case o.failed > 0:
		return &statusError{exitFailed, fmt.Errorf("%s of %s failed", plural(o.failed, "connection"), count(o.connections))}
	}
	if r.lossy {
		return errLossy
	}
	return nil
}

func (r *rawReplaying) tellLeftOut() {
	rec := r.recording
	for _, l := range [...]struct {
		n    uint64
		what string
	}{
		{rec.Midstream, "that had begun before the recording"}, {rec.Holed, "with holes in what the client sent"},
		{rec.Undecrypted, "that couldn't be decrypted: see --keylog"},
	} {
		if l.n > 0 {
			r.lose("left out: %s %s", plural(l.n, "connection"), l.what)
		}
	}
	if rec.Empty > 0 {
		r.say("left out: %s on which nothing was said", plural(rec.Empty, "connection"))
	}
}

// rawFolder opens the folder that keeps what comes back, if there is to be one.
func rawFolder(c *config.Replay) (func(number int, client string) (io.WriteCloser, error), error) {
	if len(c.Outputs) == 0 {
		return nil, nil
	}
	name, dir, _ := strings.Cut(c.Outputs[0], "=")
	if len(c.Outputs) > 1 || name != folder || dir == "" {
		return nil, usage(fmt.Errorf("with --raw, there is -o %s=DIR, once: a file for what came back on each connection", folder))
	}
	if c.DryRun {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &statusError{exitFailed, err}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &statusError{exitFailed, err}
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return nil, &statusError{exitFailed, err}
	} else if len(entries) > 0 && !c.Force {
		return nil, &statusError{exitFailed, fmt.Errorf("-o %s=%s: the folder isn't empty; name another, or --force writes over files of the same names", folder, dir)}
	}
	return func(number int, client string) (io.WriteCloser, error) {
		name := fmt.Sprintf("%06d-%s", number+1, strings.NewReplacer(":", ".", "[", "", "]", "").Replace(client))
		flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if c.Force {
			flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		return root.OpenFile(name, flags, 0o600)
	}, nil
}

// done tells what came of a connection.
func (r *rawReplaying) done(o *replay.RawOutcome) error {
	n := &r.outcomes
	n.connections++
	r.late = max(r.late, o.Late)
	text := "as recorded"
	switch {
	case o.Err != nil:
		n.failed++
		text = safe(replay.Cause(o.Err))
	case o.DiffersAt >= 0:
		n.differ++
		text = "differs from byte " + count(uint64(o.DiffersAt)) + " on"
	case o.Got < o.Recorded:
		n.short++
		text = "fewer"
	case o.Incomplete:
		text = "the recording has a hole"
	case o.Got > o.Recorded:
		n.differ++
		text = "more"
	}
	_, err := fmt.Fprintf(r.stdout.w, "%d %s: sent %s of %s bytes, got %s, recorded %s: %s\n", o.Number+1, safe(o.Client), count(uint64(o.Sent)), count(uint64(o.Wanted)),
		count(uint64(o.Got)), count(uint64(o.Recorded)), text)
	if errors.Is(err, syscall.EPIPE) { // who closes the pipe has seen enough; what was begun is ended
		return nil
	}
	return err
}
