package timing

import "container/heap"

// offer is what a row would gain from a column.
type offer struct {
	column int
	gain   float64
}

// assignment finds who gets whom: at most one column each, each column once, so that the sum of the gains is largest. A
// row that gains most by having none gets none, -1. It adds row after row along the cheapest path of exchanges, with
// Dijkstra's algorithm on costs made non-negative by prices (Jonker and Volgenant 1987), on the offers alone: what isn't
// offered doesn't exist. With r rows, o offers a row, and paths that reach k rows, it takes r k o log(k o) steps.
type assignment struct {
	offers [][]offer
	price  []float64 // of columns
	owner  []int     // of columns: a row, or -1
	has    []int     // of rows
	dist   []float64 // of columns, valid where round is that of now
	from   []int     // the row through which a column was reached
	done   []bool
	round  []int
	queue  distances
}

type distances []struct {
	dist   float64
	column int
}

func (q distances) Len() int           { return len(q) }
func (q distances) Less(i, j int) bool { return q[i].dist < q[j].dist }
func (q distances) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *distances) Push(x any) {
	*q = append(*q, x.(struct {
		dist   float64
		column int
	}))
}
func (q *distances) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// solve returns the column of each row; it is overwritten by the next call.
func (a *assignment) solve(offers [][]offer, columns int) []int {
	rows := len(offers)
	// Column columns+i is row i's own, for none, with a gain of 0.
	all := columns + rows
	a.offers = offers
	a.price, a.dist = make([]float64, all), make([]float64, all)
	a.owner, a.from, a.round = make([]int, all), make([]int, all), make([]int, all)
	a.done = make([]bool, all)
	a.has = make([]int, rows)
	for i := range a.owner {
		a.owner[i] = -1
	}
	paid := make([]float64, rows)
	for i := range rows {
		a.add(i, columns, paid)
	}
	for i, c := range a.has {
		if c >= columns {
			a.has[i] = -1
		}
	}
	return a.has
}

func (a *assignment) add(row, columns int, paid []float64) {
	a.queue = a.queue[:0]
	var reached []int
	visit := func(r int, base float64) {
		try := func(column int, gain float64) {
			d := base - gain - paid[r] - a.price[column]
			if a.round[column] != row+1 {
				a.round[column], a.done[column] = row+1, false
			} else if a.done[column] || d >= a.dist[column] {
				return
			}
			a.dist[column], a.from[column] = d, r
			heap.Push(&a.queue, struct {
				dist   float64
				column int
			}{d, column})
		}
		for _, o := range a.offers[r] {
			try(o.column, o.gain)
		}
		try(columns+r, 0)
	}
	least := 0.0
	for _, o := range a.offers[row] {
		least = min(least, -o.gain-a.price[o.column])
	}
	paid[row] = least
	visit(row, 0)
	end, total := -1, 0.0
	for a.queue.Len() > 0 {
		x := heap.Pop(&a.queue).(struct {
			dist   float64
			column int
		})
		if a.done[x.column] || x.dist > a.dist[x.column] {
			continue
		}
		a.done[x.column] = true
		if a.owner[x.column] < 0 {
			end, total = x.column, x.dist
			break
		}
		reached = append(reached, x.column)
		visit(a.owner[x.column], x.dist)
	}
	paid[row] += total
	for _, c := range reached {
		a.price[c] += a.dist[c] - total
		paid[a.owner[c]] += total - a.dist[c]
	}
	for c := end; ; {
		r := a.from[c]
		a.owner[c] = r
		c, a.has[r] = a.has[r], c
		if r == row {
			break
		}
	}
}
