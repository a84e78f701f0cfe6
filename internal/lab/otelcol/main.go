// Command otelcol is the OTLP receiver of the OpenTelemetry Collector, for tests: what it receives it appends to a file, each
// request a line of JSON, before it acknowledges. It is a module of its own, so that none of what it needs is among the
// dependencies of culprit.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	http := flag.String("http", "127.0.0.1:4318", "`ADDRESS` for OTLP/HTTP")
	grpc := flag.String("grpc", "127.0.0.1:4317", "`ADDRESS` for OTLP/gRPC")
	cert := flag.String("cert", "", "`FILE` with the certificate; none: plain text")
	key := flag.String("key", "", "`FILE` with its key")
	to := flag.String("to", "", "`FILE` to append to")
	flag.Parse()
	if err := run(*http, *grpc, *cert, *key, *to); err != nil {
		fmt.Fprintln(os.Stderr, "otelcol:", err)
		os.Exit(1)
	}
}

// run receives until it is asked to end. It prints a line when it is ready.
func run(http, grpc, cert, key, to string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	traces, err := consumer.NewTraces(func(_ context.Context, t ptrace.Traces) error {
		b, err := (&ptrace.JSONMarshaler{}).MarshalTraces(t)
		return line(f, b, err)
	})
	if err != nil {
		return err
	}
	metrics, err := consumer.NewMetrics(func(_ context.Context, m pmetric.Metrics) error {
		b, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(m)
		return line(f, b, err)
	})
	if err != nil {
		return err
	}

	side := func(address string) map[string]any {
		m := map[string]any{"endpoint": address}
		if cert != "" {
			m["tls"] = map[string]any{"cert_file": cert, "key_file": key}
		}
		return m
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	given := map[string]any{"protocols": map[string]any{"http": side(http), "grpc": side(grpc)}}
	if err := confmap.NewFromStringMap(given).Unmarshal(config); err != nil {
		return err
	}
	settings := receivertest.NewNopSettings(factory.Type())
	forTraces, err := factory.CreateTraces(ctx, settings, config, traces)
	if err != nil {
		return err
	}
	forMetrics, err := factory.CreateMetrics(ctx, settings, config, metrics)
	if err != nil {
		return err
	}
	// Both are one receiver, which is started by the first call.
	host := componenttest.NewNopHost()
	if err := forTraces.Start(ctx, host); err != nil {
		return err
	}
	if err := forMetrics.Start(ctx, host); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return forTraces.Shutdown(context.Background())
}

// line appends a line by one write: once the system has it, it survives this process. It begins with a line end, as a line
// before it may have been cut off when another process was killed.
func line(f *os.File, b []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = f.Write(slices.Concat([]byte{'\n'}, b, []byte{'\n'}))
	return err
}
