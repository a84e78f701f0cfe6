package timing

import (
	"os"
	"strconv"
)

func envInt(n string, p *int) {
	if v, err := strconv.Atoi(os.Getenv(n)); err == nil {
		*p = v
	}
}

func init() {
	envInt("ITER", &iterations)
	envInt("SEARCH", &search)
	k := int(keep * 100)
	envInt("KEEP", &k)
	keep = float32(k) / 100
	k = int(once * 100)
	envInt("ONCE", &k)
	once = float32(k) / 100
}
