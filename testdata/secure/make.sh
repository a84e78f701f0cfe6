#!/bin/sh
# Makes the capture of this folder anew: some seconds. It needs Linux, ip(8), and root or a system that lets users make
# namespaces. Each time it comes out a little different.
set -eu
cd "$(dirname "$0")/../.."
go run ./testdata/secure -o testdata/secure
