package pipeline

import (
	"reflect"
	"testing"
)

// No total is forgotten when those of several pipelines are summed up.
func TestAddSumsEverything(t *testing.T) {
	var part, sum Stats
	fill(reflect.ValueOf(&part).Elem())
	sum.add(&part)
	if !reflect.DeepEqual(sum, part) {
		t.Errorf("got\n%+v, want\n%+v", sum, part)
	}
}

// fill makes all numbers 1.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(reflect.ValueOf("x"), element)
		v.Set(m)
	}
}
