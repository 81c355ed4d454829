package defenderemu

// predicate is a condition on a row: of a list for $filter, of a table for a
// hunting query.
type predicate[R any] func(row R) bool

func (p predicate[R]) and(q predicate[R]) predicate[R] {
	return func(row R) bool { return p(row) && q(row) }
}

func (p predicate[R]) or(q predicate[R]) predicate[R] {
	return func(row R) bool { return p(row) || q(row) }
}

func (p predicate[R]) not() predicate[R] {
	return func(row R) bool { return !p(row) }
}

// chain reads conditions for as long as there is a word between them.
func chain[R any](read func() (predicate[R], error), more func() bool, join func(p, q predicate[R]) predicate[R]) (predicate[R], error) {
	left, err := read()
	for err == nil && more() {
		var right predicate[R]
		if right, err = read(); err == nil {
			left = join(left, right)
		}
	}
	return left, err
}

// maxDepth bounds how deep a condition may nest, so that nobody's parentheses
// use up the stack.
const maxDepth = 50

// comparison returns what an operator makes of the order of two scalars: eq and
// ne know null, the others are false where there is no order.
func comparison(operator string) func(a, b any) bool {
	ordered := func(holds func(c int) bool) func(a, b any) bool {
		return func(a, b any) bool {
			c, ok := order(a, b)
			return ok && holds(c)
		}
	}
	switch operator {
	case "eq":
		return same
	case "ne":
		return func(a, b any) bool { return !same(a, b) }
	case "lt":
		return ordered(func(c int) bool { return c < 0 })
	case "le":
		return ordered(func(c int) bool { return c <= 0 })
	case "gt":
		return ordered(func(c int) bool { return c > 0 })
	case "ge":
		return ordered(func(c int) bool { return c >= 0 })
	}
	return nil
}
