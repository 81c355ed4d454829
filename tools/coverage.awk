# Reads a coverage profile of `go test -coverprofile`, prints the share of
# statements that ran, by package and in total, and exits with 1 where the total
# is below `floor` (percent):
#
#	awk -v floor=85 -f tools/coverage.awk bin/coverage.out
#
# With -coverpkg=./... every test binary reports on every package, so one block
# appears many times: it counts once, and as covered if any binary ran it.

$1 == "mode:" { next }

# tokenbroker/entra/scope.go:10.2,12.3 <statements> <times it ran>
{
	statements[$1] = $2
	if ($3 > 0) ran[$1] = 1
}

END {
	for (block in statements) {
		pkg = block
		sub(/\/[^\/]*$/, "", pkg)
		total[pkg] += statements[block]; all += statements[block]
		if (block in ran) { covered[pkg] += statements[block]; allcovered += statements[block] }
	}
	if (all == 0) { print "the profile is empty"; exit 1 }
	for (pkg in total) printf "%5.1f %%  %s\n", 100 * covered[pkg] / total[pkg], pkg | "sort -k 3"
	close("sort -k 3")
	percent = 100 * allcovered / all
	printf "%5.1f %%  in total; the floor is %s %%\n", percent, floor
	if (percent < floor) exit 1
}
