package preview

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Protoset describes services and messages, as the protobuf compiler understood them.
type Protoset struct{ files *protoregistry.Files }

// howToMake says how such a file comes into being.
const howToMake = "make one with protoc --include_imports --descriptor_set_out=FILE, or with buf build -o FILE"

// LoadProtoset reads a FileDescriptorSet in its binary form. It must have the files that its files import, too. An error says
// what is wrong with it, and how to make one; the caller adds which file it is.
func LoadProtoset(data []byte) (*Protoset, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil || len(set.File) == 0 {
		if bytes.Contains(data, []byte("syntax")) && bytes.Contains(data, []byte("proto3")) && !bytes.ContainsRune(data, 0) {
			return nil, errors.New("this is the source of descriptors, not the descriptors: " + howToMake)
		}
		if err != nil {
			return nil, fmt.Errorf("not a set of protobuf descriptors (%w): %s", err, howToMake)
		}
		return nil, errors.New("a set of protobuf descriptors without any file: " + howToMake)
	}
	there := map[string]bool{}
	for _, f := range set.File {
		there[f.GetName()] = true
	}
	for _, f := range set.File {
		for _, name := range f.Dependency {
			if !there[name] {
				return nil, fmt.Errorf("%s imports %s, which isn't in it: %s", f.GetName(), name, howToMake)
			}
		}
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, fmt.Errorf("descriptors that contradict each other: %w", err)
	}
	return &Protoset{files}, nil
}

// method returns the messages of a method of a service, nil when it isn't described.
func (p *Previewer) method(service, name []byte) (input, output protoreflect.MessageDescriptor) {
	full := protoreflect.FullName(string(service) + "." + string(name))
	if len(service) == 0 || !full.IsValid() {
		return nil, nil
	}
	for _, s := range p.o.Protosets {
		d, _ := s.files.FindDescriptorByName(full)
		if m, ok := d.(protoreflect.MethodDescriptor); ok {
			return m.Input(), m.Output()
		}
	}
	return nil, nil
}

// messageType returns the message of a name, nil when it isn't described.
func (p *Previewer) messageType(name string) protoreflect.MessageDescriptor {
	if !protoreflect.FullName(name).IsValid() {
		return nil
	}
	for _, s := range p.o.Protosets {
		d, _ := s.files.FindDescriptorByName(protoreflect.FullName(name))
		if m, ok := d.(protoreflect.MessageDescriptor); ok {
			return m
		}
	}
	return nil
}
