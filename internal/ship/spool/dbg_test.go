package spool
import ("testing";"fmt";"os";"strconv";"slices";"maps")
func TestDbg(t *testing.T) {
	seed, _ := strconv.Atoi(os.Getenv("SEED"))
	dbg = true
	err := run(uint64(seed), map[string]int{})
	fmt.Println(err)
	_ = slices.Sorted[int]; _ = maps.Keys[map[int]int]
}
