#!/bin/sh
# Makes the sample capture anew: six minutes and a half of a small shop, on real proxies. It needs Linux, nginx, HAProxy, zstd
# and ip(8), and root or a system that lets users make namespaces; it says what is missing. Each time it comes out a little
# different, so that the tests are run on it at the end. On a busy machine they may fail: when requests were on their way to
# app-2 as it was stopped, which it never read, it can't have counted them. Run it again then.
# -places makes only places.mmdb anew.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
case " $* " in
*" -places "*) ;;
*)
	missing=
	for program in nginx haproxy zstd ip; do
		command -v "$program" >/dev/null || missing="$missing $program"
	done
	if [ -n "$missing" ]; then
		echo "not installed:$missing. On Debian or Ubuntu, as root: apt-get install nginx-light haproxy zstd iproute2" >&2
		exit 1
	fi
	;;
esac
go run ./internal/lab/cmd/shop -o testdata/sample "$@"
go test -count=1 ./internal/lab/cmd/shop
