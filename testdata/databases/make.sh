#!/bin/sh
# Makes the capture of this folder anew: some seconds. It needs Linux, root, ip(8), mariadbd, postgres, redis-server and dnsmasq.
# Each time it comes out a little different.
set -eu
cd "$(dirname "$0")/../.."
go run ./testdata/databases -o testdata/databases
