// Package process tells which process owns a socket, in which container and systemd unit it runs, and what
// sockets there are in a network namespace. It asks the kernel by sock_diag (netlink) and procfs.
package process
