#!/bin/sh
# Shows the sample in the web UI: imports it into a store of its own, and opens the page, until Ctrl-C.
# Usage: demo.sh CULPRIT. BROWSER is the program that opens a URL.
set -eu
serve=
culprit=$(realpath "$1")
cd "$(dirname "$0")"
work=$(mktemp -d)
chmod 755 "$work" # culprit becomes nobody, and keeps its store in there
end() {
	trap '' INT TERM # make passes Ctrl-C on, which has come already
	[ -z "$serve" ] || kill -INT "$serve" 2>/dev/null || true
	[ -z "$serve" ] || wait "$serve" || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 0' INT TERM
mkfifo "$work/url"

"$culprit" serve -r shop.pcapng.zst --config culprit.yaml --geoip places.mmdb --store "$work/store" \
	--listen "${LISTEN:-127.0.0.1:0}" >"$work/url" &
serve=$!
read -r url <"$work/url" || exit 1
echo
echo "The web UI shows a sample capture of a small shop. Ctrl-C ends it."
echo "$url"
open=${BROWSER:-}
if [ -z "$open" ] && [ "$(id -u)" != 0 ]; then # no browser should run as root
	if [ "$(uname)" = Darwin ]; then
		open=open
	elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open >/dev/null; then
		open=xdg-open
	fi
fi
if [ -n "$open" ]; then
	"$open" "$url" || true
else
	echo "Open this URL in a browser on this machine."
fi
wait $serve
