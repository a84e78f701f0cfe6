#!/bin/sh
# Makes the captures of this folder anew. They come out the same, byte for byte, until the
# generator changes.
set -eu
cd "$(dirname "$0")/.."
go run ./internal/synth/cmd/synth -scenario demo -seed 1 -o testdata/demo.pcap
