package config

import (
	"strings"
	"testing"
	"time"
)

// None of the states means both, none of the kinds TCP and UDP.
func TestSocketsValidate(t *testing.T) {
	both := Sockets{Listening: true, Established: true, TCP: true, UDP: true}
	for given, want := range map[Sockets]Sockets{
		DefaultSockets():               both,
		{Listening: true, TCP: true}:   {Listening: true, TCP: true},
		{Established: true, UDP: true}: {Established: true, UDP: true},
		{Unix: true}:                   {Listening: true, Established: true, Unix: true},
		{PID: 1, Process: "a"}:         {PID: 1, Process: "a", Listening: true, Established: true, TCP: true, UDP: true},
	} {
		if err := given.Validate(); err != nil || given != want {
			t.Errorf("%+v, %v; want %+v", given, err, want)
		}
	}
	watch := Sockets{Watch: true, Interval: 2 * time.Second, Interface: "any", Listening: true, Established: true, TCP: true}
	for given, want := range map[Sockets]Sockets{
		{Watch: true}: watch,
		{Watch: true, Interval: time.Second, Interface: "eth0", UDP: true, Listening: true}: {
			Watch: true, Interval: time.Second, Interface: "eth0", UDP: true, Listening: true},
	} {
		if err := given.Validate(); err != nil || given != want {
			t.Errorf("%+v, %v; want %+v", given, err, want)
		}
	}
	for given, want := range map[Sockets]string{
		{Interval: time.Second}:                  "need --watch",
		{Duration: time.Second}:                  "need --watch",
		{Interface: "eth0"}:                      "need --watch",
		{CaptureFilter: "port 80"}:               "need --watch",
		{Ring: 1 << 20}:                          "need --watch",
		{Watch: true, Interval: time.Nanosecond}: "--interval 1ns: from 200ms to 1h0m0s",
		{Watch: true, Interval: 2 * time.Hour}:   "--interval 2h0m0s: from 200ms to 1h0m0s",
		{Watch: true, Duration: -1}:              "--duration -1ns is negative",
		{Watch: true, Ring: 1}:                   "--ring 1: ",
		{Watch: true, Ring: -1 << 20}:            "--ring",
		{Watch: true, Reveal: true}:              "--reveal",
	} {
		if err := given.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", given, err, want)
		}
	}
	live := watch.Live()
	if !live.On() || !live.NoProcess || !live.Sockets || live.Ring != defaultLive().Ring || (&Sockets{Ring: 1 << 22}).Live().Ring != 1<<22 {
		t.Errorf("%+v", live)
	}
	if err := (&Sockets{PID: -1}).Validate(); err == nil || err.Error() != "--pid -1: process ids are positive" {
		t.Errorf("%v", err)
	}
}
