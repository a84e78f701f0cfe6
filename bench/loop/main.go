// Command loop reads the packets of a capture and does nothing with them: the floor below which no
// reading of the file can come.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/culprit-http/culprit/internal/capture"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: loop FILE")
		os.Exit(2)
	}
	packets, bytes, err := count(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "loop:", err)
		os.Exit(1)
	}
	fmt.Println(packets, bytes)
}

func count(file string) (packets, bytes int, err error) {
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer source.Close()
	var r capture.Record
	for {
		switch err := source.Next(&r); err {
		case nil:
			packets++
			bytes += len(r.Data)
		case io.EOF:
			return packets, bytes, nil
		default:
			return packets, bytes, err
		}
	}
}
