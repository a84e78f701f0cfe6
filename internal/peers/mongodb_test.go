//go:build linux

package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// startMongo starts mongo-java-server, a server by others that speaks MongoDB's protocol; MongoDB itself is in no registry that
// tests use. It returns its port.
func startMongo(t *testing.T) (port string) {
	t.Helper()
	java := program(t, "java")
	jars, err := filepath.Glob("testdata/mongo/lib/*.jar")
	if err != nil {
		t.Fatal(err)
	}
	if len(jars) == 0 {
		t.Skip("mongo-java-server isn't there: make deps fetches it")
	}
	at := address(t)
	_, port, _ = net.SplitHostPort(at)
	cmd := exec.Command(java, "-cp", strings.Join(jars, ":"), "testdata/mongo/Server.java", port)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill() })
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if c, err := net.Dial("tcp", at); err == nil {
			c.Close()
			return port
		}
		select {
		case <-poll.C:
		case err := <-exited:
			t.Fatalf("mongo-java-server ended: %v\n%s", err, stderr.String())
		case <-deadline:
			t.Fatal("mongo-java-server doesn't answer")
		}
	}
}

// mongoCommand is a command as the driver saw it, and as culprit did.
type mongoCommand struct {
	Database, Name, Error string
	Rows, Cursor, Changed int64
	// Command is the driver's document; ours lacks what is left out, and is nil where it was cut.
	Command map[string]any
}

type mongoReceiver struct {
	t   *testing.T
	all []mongoCommand
	cut int
}

func (*mongoReceiver) Idle() error { return nil }

func (r *mongoReceiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		q, a := &x.Request, &x.Response
		name := string(q.Bytes(q.Method))
		if x.Protocol != "mongodb" || strings.EqualFold(name, "ismaster") || name == "hello" {
			continue // of which drivers don't tell
		}
		target := string(q.Bytes(q.Target))
		if x.Grade != exchange.Complete || x.Anomalies&^(1<<proto.StatementCut) != 0 {
			r.t.Errorf("%.200s is %s, with anomalies %x", target, x.Grade, x.Anomalies)
		}
		number := func(m *proto.Message, name string) int64 {
			if f := m.Fact(name); f != nil {
				return f.Number
			}
			return 0
		}
		c := mongoCommand{
			Database: string(q.FactText("database")), Name: name, Error: string(a.FactText(proto.FactErrorText)),
			Rows: a.Parts.Count, Cursor: number(a, "cursor"), Changed: number(a, "affected_rows"),
		}
		if x.Anomalies.Has(proto.StatementCut) {
			r.cut++
		} else {
			_, arguments, _ := strings.Cut(target, "(")
			arguments = strings.TrimSuffix(arguments, ")")
			if arguments == "" {
				arguments = "{}"
			}
			if err := json.Unmarshal([]byte(arguments), &c.Command); err != nil {
				r.t.Errorf("%s: %v", target, err)
			}
		}
		r.all = append(r.all, c)
	}
	return nil
}

// TestMongoDB compares each command of an application with what its driver says of it.
func TestMongoDB(t *testing.T) {
	if err := exec.Command(debianPython, "-c", "import pymongo").Run(); err != nil {
		t.Skipf("%s has no pymongo: make deps says how to get it", debianPython)
	}
	port := startMongo(t)
	p := startTap(t)
	client := exec.Command(debianPython, "testdata/mongo/client.py", port)
	var stderr bytes.Buffer
	client.Stderr = &stderr
	out, err := client.Output()
	if err != nil {
		t.Fatalf("the client: %v\n%s", err, stderr.String())
	}
	file := p.stop(t)
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	r := mongoReceiver{t: t}
	if _, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 1 << 30, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 64 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute},
	}, &r); err != nil {
		t.Error(err)
	}
	var want []mongoCommand
	for line := range bytes.Lines(out) {
		var c mongoCommand
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
	}
	if len(r.all) != len(want) || len(want) < 25 {
		t.Fatalf("%d commands, the driver has %d", len(r.all), len(want))
	}
	for i, w := range want {
		have := r.all[i]
		switch w.Name {
		case "insert", "update", "delete":
		default:
			w.Changed = 0 // a number of something else
		}
		switch w.Name {
		case "distinct", "findAndModify", "listDatabases":
			have.Rows = w.Rows // which come without a cursor
		}
		collection, _ := w.Command[w.Name].(string)
		if w.Name != "getMore" {
			delete(w.Command, w.Name)
		}
		for _, around := range []string{"lsid", "$db", "$clusterTime", "$readPreference"} {
			delete(w.Command, around)
		}
		if have.Command == nil {
			w.Command = nil
		}
		if !reflect.DeepEqual(have, w) {
			t.Errorf("command %d on %s:\nculprit    %+v\nthe driver %+v", i, collection, have, w)
		}
	}
	if r.cut != 3 {
		t.Errorf("%d statements were cut; three have a thousand documents each", r.cut)
	}
}
