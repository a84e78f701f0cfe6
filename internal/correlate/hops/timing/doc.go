// Package timing says which calls a request caused, from when they were made.
package timing
