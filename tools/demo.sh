#!/usr/bin/env bash
# Runs `demo`, and then every line that it prints, with the real curl in a real
# shell: each has to answer 200 with JSON, and the link to the next page of the
# first has to lead on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

need_curl() {
	command -v curl >/dev/null && return
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "install curl, and run this again" >&2
		return 1
	fi
	echo "installing curl"
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends curl
}
need_curl

dir=$(mktemp -d)
demo=""
cleanup() {
	[ -z "$demo" ] || kill "$demo" 2>/dev/null || true
	[ -z "$demo" ] || wait "$demo" || true
	rm -rf "$dir"
}
trap cleanup EXIT

CGO_ENABLED=0 go build -buildvcs=false -o "$dir/tokenbroker" .
"$dir/tokenbroker" demo --callers localhost:0 --ops localhost:0 >"$dir/out" 2>"$dir/log" &
demo=$!
for _ in $(seq 100); do
	grep -q 'Ctrl-C' "$dir/out" && break
	kill -0 "$demo" || { cat "$dir/log" >&2; exit 1; }
	sleep 0.1
done

# ask 'curl -s …' runs the line as it stands, with two options that show how it went.
ask() {
	local status
	status=$(sh -c "$1 --max-time 30 -o '$dir/body' -w '%{http_code} %{content_type}'")
	case "$status $(head -c 1 "$dir/body")" in
	"200 application/json"*" {") echo "200  $1" ;;
	*)
		echo "$status  $1" >&2
		head -c 500 "$dir/body" >&2
		return 1
		;;
	esac
}

grep -o 'curl -s.*' "$dir/out" >"$dir/lines"
count=$(wc -l <"$dir/lines")
[ "$count" -ge 4 ] || { echo "demo prints $count lines to try, want four or more" >&2; exit 1; }
next=""
while read -r line; do
	ask "$line" </dev/null
	[ -n "$next" ] || next=$(grep -o '"@odata.nextLink":"[^"]*"' "$dir/body" | cut -d '"' -f 4) || true
done <"$dir/lines"

case $next in
http://localhost:*/proxy/defender/api/incidents\?*) ask "curl -s '$next'" ;;
*)
	echo "the next page of incidents is at '$next', want it at the broker" >&2
	exit 1
	;;
esac

# Ctrl-C, or a kubelet: it ends well.
kill "$demo"
wait "$demo"
demo=""
