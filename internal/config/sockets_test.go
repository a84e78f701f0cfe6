package config

import "testing"

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
	if err := (&Sockets{PID: -1}).Validate(); err == nil || err.Error() != "--pid -1: process ids are positive" {
		t.Errorf("%v", err)
	}
}
