package exchange

// Process is what is known of the local process that owns one end of a connection. It is made once and never
// changes, so that many exchanges may point to it.
type Process struct {
	// PID is the process id, as the capturing host sees it; 0 when several processes share the socket, and
	// which of them it was isn't known: then only what is the same for all of them is set.
	PID int
	// Name is the command name, as the kernel has it (comm). Args are the arguments, the name of the program
	// first. Executable is the path of the program.
	Name       string
	Args       []string
	Executable string
	// User is the name of the socket's owner, or the number when it has no name.
	User string
	// ContainerID and PodUID are those of the container and the Kubernetes pod that it runs in, Unit is the
	// systemd unit, as far as its control group tells.
	ContainerID, PodUID, Unit string
	// Listening: the local end is the server's, accepted by a listening socket.
	Listening bool
}
