package defenderemu

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// dice is chance that comes out the same every time: the data set is lifelike
// and yet a test can rely on it.
type dice struct{ *rand.Rand }

// newDice makes the dice of a tenant. The tenant decides too, so that two
// tenants never show the same machines.
func newDice(seed uint64, tenant string) dice {
	h := fnv.New64a()
	h.Write([]byte(tenant))
	return dice{rand.New(rand.NewPCG(seed, h.Sum64()))} // #nosec G404 -- nothing here is secret, and repeatable is the point
}

// hex returns n hexadecimal digits.
func (d dice) hex(n int) string { return d.from("0123456789abcdef", n) }

// digits returns n decimal digits, none of them zero.
func (d dice) digits(n int) string { return d.from("123456789", n) }

// from returns n characters of an alphabet.
func (d dice) from(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[d.IntN(len(alphabet))]
	}
	return string(b)
}

// guid returns a GUID.
func (d dice) guid() string {
	h := d.hex(32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// within returns a duration below most.
func (d dice) within(most time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(most)))
}

// percent is true in n of a hundred cases.
func (d dice) percent(n int) bool { return d.IntN(100) < n }

// address returns an address in 10.0.0.0/8.
func (d dice) address() string {
	return fmt.Sprintf("10.%d.%d.%d", d.IntN(4), d.IntN(256), 1+d.IntN(254))
}

// pick chooses one.
func pick[T any](d dice, of []T) T { return of[d.IntN(len(of))] }
