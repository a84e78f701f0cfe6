package segment_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

func BenchmarkBatch(b *testing.B) {
	g := generate.New(generate.Options{Seed: 1})
	var batch record.Batch
	for b.Loop() {
		batch.Reset()
		batch.Add(g.Next())
	}
	b.ReportMetric(float64(len(batch.Bytes())), "B/row")
}

func BenchmarkBuild(b *testing.B) {
	g := generate.New(generate.Options{Seed: 1})
	var batch record.Batch
	for range 20000 {
		batch.Add(g.Next())
	}
	decoder, _ := record.NewDecoder(record.Header())
	for b.Loop() {
		builder := vector.NewBuilder()
		_ = decoder.Each(batch.Bytes(), func(r *record.Row) error { builder.Append(r); return nil })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/row")
}

func BenchmarkWrite(b *testing.B) {
	const n = 96 << 10
	m, _ := exchanges(b, n)
	order := m.Order()
	var file bytes.Buffer
	for b.Loop() {
		file.Reset()
		w := segment.NewWriter(&file)
		if err := w.Write(m, order); err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
	b.ReportMetric(float64(file.Len())/n, "B/row")
	f, err := parquet.OpenFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		b.Fatal(err)
	}
	type col struct {
		name string
		size int64
	}
	var cols []col
	bloom := int64(0)
	for _, c := range f.Metadata().RowGroups[0].Columns {
		name := ""
		for _, p := range c.MetaData.PathInSchema {
			name += p + "/"
		}
		cols = append(cols, col{name, c.MetaData.TotalCompressedSize})
		bloom += int64(c.MetaData.BloomFilterLength)
	}
	sort.Slice(cols, func(i, k int) bool { return cols[i].size > cols[k].size })
	for _, c := range cols[:60] {
		fmt.Fprintf(os.Stderr, "%7.2f %s\n", float64(c.size)/n, c.name)
	}
	fmt.Fprintf(os.Stderr, "bloom %.2f\n", float64(bloom)/n)
}

func BenchmarkRead(b *testing.B) {
	m, _ := exchanges(b, segment.MaxRows)
	file := write(b, m)
	s := open(b, file)
	for _, name := range []string{"@timestamp", "http.response.status_code", "culprit.route", "event.duration", "url.original", "client.ip", "client.geo.country_iso_code", "event.id", "http.request.headers"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, _ := s.Parts()[0].Open()
				col := record.Index(name)
				switch record.Columns[col].Form {
				case record.Ints:
					_, _ = c.Ints(col)
				case record.Texts:
					_, _ = c.Texts(col)
				case record.Headers:
					_, _ = c.Headers(col)
				}
				c.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/segment.MaxRows, "ns/row")
		})
	}
	b.Run("row", func(b *testing.B) {
		var row record.Row
		for b.Loop() {
			c, _ := s.Parts()[0].Open()
			row.Reset()
			_ = c.Row(77777, nil, &row)
			c.Release()
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			open(b, file)
		}
	})
}

var _ = io.Discard
var _ = time.Now
