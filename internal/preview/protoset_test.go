package preview

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// shop describes the service of the tests.
const shop = `
name: "shop.proto" package: "shop" syntax: "proto3"
dependency: "google/protobuf/timestamp.proto" dependency: "google/protobuf/duration.proto"
dependency: "google/protobuf/any.proto" dependency: "google/protobuf/wrappers.proto"
message_type {
  name: "Order"
  field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "quantity" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { name: "delta" number: 3 type: TYPE_SINT32 label: LABEL_OPTIONAL }
  field { name: "price" number: 4 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
  field { name: "kind" number: 5 type: TYPE_ENUM type_name: ".shop.Kind" label: LABEL_OPTIONAL }
  field { name: "tags" number: 6 type: TYPE_STRING label: LABEL_REPEATED }
  field { name: "sizes" number: 7 type: TYPE_INT32 label: LABEL_REPEATED }
  field { name: "stock" number: 8 type: TYPE_MESSAGE type_name: ".shop.Order.StockEntry" label: LABEL_REPEATED }
  field { name: "at" number: 9 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
  field { name: "within" number: 10 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
  field { name: "extra" number: 11 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
  field { name: "address" number: 12 type: TYPE_MESSAGE type_name: ".shop.Address" label: LABEL_OPTIONAL }
  field { name: "photo" number: 13 type: TYPE_BYTES label: LABEL_OPTIONAL }
  field { name: "password" number: 14 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "gift" number: 15 type: TYPE_BOOL label: LABEL_OPTIONAL }
  field { name: "note" number: 16 type: TYPE_MESSAGE type_name: ".google.protobuf.StringValue" label: LABEL_OPTIONAL }
  field { name: "weights" number: 17 type: TYPE_FLOAT label: LABEL_REPEATED }
  field { name: "code" number: 18 type: TYPE_FIXED64 label: LABEL_OPTIONAL }
  field { name: "floors" number: 19 type: TYPE_MESSAGE type_name: ".shop.Order.FloorsEntry" label: LABEL_REPEATED }
  field { name: "checks" number: 20 type: TYPE_SFIXED32 label: LABEL_REPEATED }
  nested_type { name: "StockEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL } }
  nested_type { name: "FloorsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_SINT32 label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".shop.Address" label: LABEL_OPTIONAL } }
}
message_type {
  name: "Address"
  field { name: "street" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "within" number: 2 type: TYPE_MESSAGE type_name: ".shop.Address" label: LABEL_OPTIONAL }
}
message_type { name: "Receipt" field { name: "token" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }
enum_type { name: "Kind" value { name: "KIND_NONE" number: 0 } value { name: "KIND_EXPRESS" number: 2 } }
service { name: "Orders" method { name: "Place" input_type: ".shop.Order" output_type: ".shop.Receipt" } }
`

func shopFile(t testing.TB) *descriptorpb.FileDescriptorProto {
	t.Helper()
	f := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(shop), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// shopSet is the file that a compiler makes of it.
func shopSet(t testing.TB) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range []protoreflect.FileDescriptor{
		timestamppb.File_google_protobuf_timestamp_proto, durationpb.File_google_protobuf_duration_proto,
		anypb.File_google_protobuf_any_proto, wrapperspb.File_google_protobuf_wrappers_proto,
	} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	return marshal(t, &descriptorpb.FileDescriptorSet{File: append(set.File, shopFile(t))})
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadShop(t testing.TB) *Protoset {
	t.Helper()
	s, err := LoadProtoset(shopSet(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// encode makes the bytes of a message from its text form.
func encode(t testing.TB, name, text string) []byte {
	t.Helper()
	s := loadShop(t)
	m := dynamicpb.NewMessage((&Previewer{o: Options{Protosets: []*Protoset{s}}}).messageType(name))
	if err := (prototext.UnmarshalOptions{Resolver: dynamicpb.NewTypes(s.files)}).Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return marshal(t, m)
}

func TestLoadProtoset(t *testing.T) {
	whole := shopSet(t)
	set := func(change func(s *descriptorpb.FileDescriptorSet)) []byte {
		var s descriptorpb.FileDescriptorSet
		if err := proto.Unmarshal(whole, &s); err != nil {
			t.Fatal(err)
		}
		change(&s)
		return marshal(t, &s)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"whole", whole, ""},
		{"empty", nil, "without any file: make one with protoc"},
		{"source", []byte("syntax = \"proto3\";\nmessage A {}\n"), "the source of descriptors, not the descriptors: make one"},
		{"cut", whole[:len(whole)-3], "not a set of protobuf descriptors"},
		{"JSON", []byte(`{"file":[]}`), "not a set of protobuf descriptors"},
		{"imports left out", set(func(s *descriptorpb.FileDescriptorSet) { s.File = s.File[1:] }),
			"shop.proto imports google/protobuf/timestamp.proto, which isn't in it: make one with protoc --include_imports"},
		{"a type that isn't there", set(func(s *descriptorpb.FileDescriptorSet) {
			s.File[4].Service[0].Method[0].InputType = proto.String(".shop.No")
		}),
			"descriptors that contradict each other: "},
	} {
		_, err := LoadProtoset(c.data)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v instead of %q", c.name, err, c.want)
		}
	}
}

// Several sets are asked one after the other.
func TestSeveralProtosets(t *testing.T) {
	other := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("empty.proto")}}}
	empty, err := LoadProtoset(marshal(t, other))
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{Protosets: []*Protoset{empty, loadShop(t)}})
	in, out := p.method([]byte("shop.Orders"), []byte("Place"))
	if in == nil || in.FullName() != "shop.Order" || out == nil || out.FullName() != "shop.Receipt" {
		t.Errorf("%v, %v", in, out)
	}
	for _, name := range [...][2]string{{"shop.Orders", "No"}, {"shop.No", "Place"}, {"", "Place"}, {"shop", "Order"}, {"a/b", "c"}, {"shop.Orders", ""}} {
		if in, out := p.method([]byte(name[0]), []byte(name[1])); in != nil || out != nil {
			t.Errorf("%q: %v, %v", name, in, out)
		}
	}
	if d := p.messageType("shop.Kind"); d != nil {
		t.Errorf("an enumeration as a message: %v", d)
	}
}
