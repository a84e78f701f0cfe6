package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// A ratio compares what culprit does in the same run, in turn, with captures of the same content in other forms.
type ratio struct {
	name string
	// of is the capture, and to the one that it is compared with.
	of, to string
	// unit is of what rates are counted, per second of CPU time.
	unit string
	// amount is how much of it a capture holds.
	amount func(f file) float64
	// cipher is the length of an AES-GCM key in bits, if what is of the capture must be decrypted: 0, if not. Then it can be as
	// fast as the cipher and the other capture together.
	cipher int
	// aim is the least that is wanted.
	aim float64
}

var ratios = []ratio{
	{name: "TLS 1.3, AES-128-GCM", of: bulkTLS13, to: bulkPlain, unit: "MB", amount: megabytesOf, cipher: 128, aim: 0.7},
	{name: "TLS 1.2, AES-256-GCM", of: bulkTLS12, to: bulkPlain, unit: "MB", amount: megabytesOf, cipher: 256, aim: 0.7},
	{name: "HTTP/2, 100 streams", of: gets2, to: gets1, unit: "exchanges", amount: func(f file) float64 { return float64(f.truth.Answered) }, aim: 1. / 3},
}

// megabytesOf is the length of a long answer. What the capture has beside it doesn't count.
func megabytesOf(f file) float64 { return float64(f.body) / 1e6 }

// standing is one round of a ratio: rates, and what they come to.
type standing struct{ of, to, cipher, share float64 }

// compared works a round out of the rates.
func compared(of, to, cipher float64) standing {
	s := standing{of, to, cipher, of / to}
	if cipher > 0 {
		s.share = of * (1/to + 1/cipher)
	}
	return s
}

// measureRatios measures the ratios whose captures are among those given.
func measureRatios(ctx context.Context, w io.Writer, o options, tools []tool, captures []*benchCapture) error {
	at := slices.IndexFunc(tools, func(t tool) bool { return t.name == "culprit -o line" })
	if at < 0 {
		return nil
	}
	named := func(name string) *benchCapture {
		if i := slices.IndexFunc(captures, func(c *benchCapture) bool { return c.name == name }); i >= 0 {
			return captures[i]
		}
		return nil
	}
	var rows [][]string
	for _, r := range ratios {
		of, to := named(r.of), named(r.to)
		if of == nil || to == nil {
			continue
		}
		rounds, err := r.measure(ctx, o, tools[at], of.full, to.full)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		rows = append(rows, r.row(rounds))
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nWhat TLS and HTTP/2 cost: culprit -o line, rates a CPU-second, medians of %d rounds in turn\n\n", o.runs)
	printRows(w, []string{"what", "rate", "without", "the cipher alone", "share", "from", "to", "aim", ""}, rows, o.markdown)
	return nil
}

// measure runs the rounds.
func (r *ratio) measure(ctx context.Context, o options, t tool, of, to file) (rounds []standing, err error) {
	for _, f := range []file{of, to} {
		t.found = with(" 200 ")
		if n, err := findings(ctx, t, f); err != nil {
			return nil, err
		} else if n != f.truth.Answered {
			return nil, fmt.Errorf("culprit found %d of %d answers in %s", n, f.truth.Answered, f.path)
		}
	}
	aead := ""
	if r.cipher > 0 {
		if aead, err = build(ctx, "./bench/aead", o.cache); err != nil {
			return nil, err
		}
	}
	rate := func(amount float64, command []string) (float64, error) {
		u, err := runOnce(ctx, command, nil)
		return amount / max(u.cpu, time.Microsecond).Seconds(), err
	}
	for range o.runs {
		x, err := rate(r.amount(of), t.command(of))
		if err != nil {
			return nil, err
		}
		y, err := rate(r.amount(to), t.command(to))
		if err != nil {
			return nil, err
		}
		z := 0.
		if r.cipher > 0 {
			if z, err = rate(r.amount(of), []string{aead, strconv.Itoa(r.cipher), strconv.FormatInt(of.body, 10)}); err != nil {
				return nil, err
			}
		}
		rounds = append(rounds, compared(x, y, z))
	}
	return rounds, nil
}

// row tells of the rounds.
func (r *ratio) row(rounds []standing) []string {
	middle := func(of func(s standing) float64) float64 {
		all := make([]float64, len(rounds))
		for i, s := range rounds {
			all[i] = of(s)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	slices.SortFunc(rounds, func(a, b standing) int { return int(1e6 * (a.share - b.share)) })
	percent := func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) }
	number := func(f float64) string {
		if f == 0 {
			return "-"
		}
		return thousands(int64(f)) + " " + r.unit
	}
	share := middle(func(s standing) float64 { return s.share })
	verdict := "reached"
	if share < r.aim {
		verdict = "missed"
	}
	return []string{
		r.name, number(middle(func(s standing) float64 { return s.of })), number(middle(func(s standing) float64 { return s.to })),
		number(middle(func(s standing) float64 { return s.cipher })),
		percent(share), percent(rounds[0].share), percent(rounds[len(rounds)-1].share), percent(r.aim), verdict,
	}
}
