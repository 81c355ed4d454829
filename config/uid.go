package config

import (
	"math"
	"strconv"

	"tokenbroker/entra"
)

// UID is the number of a Unix user. The zero value is none: root is
// UID{Number: 0, Set: true}.
type UID struct {
	Number int
	Set    bool
}

// overflowUID is what Linux shows in place of every user that the reader's user
// namespace does not know, unless it is told otherwise: user_namespaces(7),
// /proc/sys/kernel/overflowuid. It is also nobody's, in most systems.
const overflowUID = 65534

// parseUID accepts a user's number in plain decimal: 0100 is 64 to one reader
// and 100 to another. The greatest number is no user's, chown(2).
func parseUID(text string) (UID, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil, n == math.MaxUint32, strconv.FormatUint(n, 10) != text:
		return UID{}, invalid("uid %s: want the number of a user, as id -u prints it", entra.Quote(text))
	case n == overflowUID:
		return UID{}, invalid("uid %d: the kernel shows it for every user that it cannot tell, so it proves nothing; run the caller as another user, or use key_file", n)
	}
	return UID{Number: int(n), Set: true}, nil
}
