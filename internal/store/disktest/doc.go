// Package disktest gives tests real file systems that run full: faultfs is one in memory.
package disktest
