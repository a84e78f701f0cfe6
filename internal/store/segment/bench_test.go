package segment_test

import (
	"bytes"
	"testing"

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
