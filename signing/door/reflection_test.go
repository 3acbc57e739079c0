package door

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// TestAsGrpcurlDoes: with nothing but the socket, a client lists the services, learns their
// messages, and calls a method with JSON:
//
//	grpcurl -plaintext -unix -d '{"keyset":"raw","alg":"EdDSA","payload":"aGk="}' /run/keysetd/keysetd.sock keysetd.v1.Signer/Sign
func TestAsGrpcurlDoes(t *testing.T) {
	h := open(t)
	c := h.grpc(t)
	stream, err := reflectionpb.NewServerReflectionClient(c).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	listed := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if names := listed.GetListServicesResponse().String(); !strings.Contains(names, "keysetd.v1.Signer") || !strings.Contains(names, "keysetd.v1.Admin") {
		t.Errorf("services %s", names)
	}
	files := fetch(t, func(symbol string) [][]byte {
		return ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
		}).GetFileDescriptorResponse().GetFileDescriptorProto()
	}, "keysetd.v1.Signer", "google.protobuf.Timestamp")

	if reply := invoke(t, c, files, "keysetd.v1.Signer", "Sign", `{"keyset":"raw","alg":"EdDSA","payload":"aGk="}`); !strings.Contains(reply, `"signature":`) {
		t.Errorf("Sign: %s", reply)
	}
	if reply := invoke(t, c, files, "keysetd.v1.Admin", "WhoAmI", `{}`); os.Getuid() != 0 && !strings.Contains(reply, `"uid":`) || !strings.Contains(reply, `"grants":`) {
		t.Errorf("WhoAmI: %s", reply)
	}
}

func fetch(t *testing.T, ask func(symbol string) [][]byte, symbols ...string) *protoregistry.Files {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	seen := map[string]bool{}
	for _, symbol := range symbols {
		for _, raw := range ask(symbol) {
			file := new(descriptorpb.FileDescriptorProto)
			if err := proto.Unmarshal(raw, file); err != nil {
				t.Fatal(err)
			}
			if !seen[file.GetName()] {
				seen[file.GetName()], set.File = true, append(set.File, file)
			}
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// invoke calls a method that only reflection knows.
func invoke(t *testing.T, c *grpc.ClientConn, files *protoregistry.Files, service, method, body string) string {
	t.Helper()
	d, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		t.Fatal(err)
	}
	m := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method))
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(body), in); err != nil {
		t.Fatal(err)
	}
	if err := c.Invoke(t.Context(), "/"+service+"/"+method, in, out); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	reply, err := protojson.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(reply), `": `, `":`)
}
