package door

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
)

// TestMessagesSayWhatBodiesSay: each member of a JSON body is a field of the message that is
// its counterpart, and the other way round; so the two languages cannot drift apart.
func TestMessagesSayWhatBodiesSay(t *testing.T) {
	for _, pair := range []struct {
		body    any
		message proto.Message
		path    string // fields that stand in the path or the query over HTTP
	}{
		{v1.JWTRequest{}, &pb.SignJWTRequest{}, "keyset"},
		{v1.JWTReply{}, &pb.SignJWTResponse{}, ""},
		{v1.ClientAssertionRequest{}, &pb.SignClientAssertionRequest{}, "keyset"},
		{v1.ClientAssertionReply{}, &pb.SignClientAssertionResponse{}, ""},
		{v1.SignRequest{}, &pb.SignRequest{}, "keyset"},
		{v1.SignReply{}, &pb.SignResponse{}, ""},
		{v1.BatchRequest{}, &pb.BatchRequest{}, "keyset"},
		{v1.DecryptRequest{}, &pb.DecryptRequest{}, "keyset"},
		{v1.DecryptReply{}, &pb.DecryptResponse{}, ""},
		{v1.ActiveKey{}, &pb.GetKeyResponse{}, ""},
		{v1.BatchItem{}, &pb.BatchItem{}, ""},
		{v1.BatchReply{}, &pb.BatchResponse{}, ""},
		{v1.BatchResult{}, &pb.BatchResult{}, ""},
		{v1.Error{}, &pb.Error{}, ""},
		{v1.KeysetList{}, &pb.ListResponse{}, ""},
		{v1.Keyset{}, &pb.Keyset{}, ""},
		{v1.Coming{}, &pb.Coming{}, ""},
		{v1.Generation{}, &pb.Generation{}, ""},
		{v1.Key{}, &pb.Key{}, ""},
		{v1.RevokedKey{}, &pb.RevokedKey{}, ""},
		{v1.Token{}, &pb.Token{}, ""},
		{v1.Plan{}, &pb.PlanResponse{}, ""},
		{v1.PlannedStep{}, &pb.PlannedStep{}, ""},
		{v1.History{}, &pb.HistoryResponse{}, ""},
		{v1.Event{}, &pb.Event{}, ""},
		{v1.KeyList{}, &pb.KeysResponse{}, ""},
		{v1.ListedKey{}, &pb.ListedKey{}, ""},
		{v1.CSRList{}, &pb.CSRResponse{}, ""},
		{v1.CertificateRequest{}, &pb.CertificateRequest{}, ""},
		{v1.ImportCertificateRequest{}, &pb.ImportCertificateRequest{}, "keyset"},
		{v1.RotateRequest{}, &pb.RotateRequest{}, "keyset"},
		{v1.RevokeRequest{}, &pb.RevokeRequest{}, "keyset"},
		{v1.FreezeRequest{}, &pb.FreezeRequest{}, "keyset"},
		{v1.ThawRequest{}, &pb.ThawRequest{}, "keyset"},
		{v1.ActReply{}, &pb.RevokeResponse{}, ""},
		{v1.ReloadRequest{}, &pb.ReloadRequest{}, ""},
		{v1.ReloadReply{}, &pb.ReloadResponse{}, ""},
		{v1.KeysetChange{}, &pb.KeysetChange{}, ""},
		{v1.AcceptRequest{}, &pb.AcceptTokenRequest{}, "token"},
		{v1.WhoAmI{}, &pb.WhoAmIResponse{}, ""},
		{v1.Grant{}, &pb.Grant{}, ""},
		{v1.PolicyTestRequest{}, &pb.PolicyTestRequest{}, ""},
		{v1.PolicyTestReply{}, &pb.PolicyTestResponse{}, ""},
	} {
		var members, fields []string
		typ := reflect.TypeOf(pair.body)
		for f := range typ.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				members = append(members, name)
			}
		}
		descriptor := pair.message.ProtoReflect().Descriptor().Fields()
		for i := range descriptor.Len() {
			if name := string(descriptor.Get(i).Name()); name != pair.path {
				fields = append(fields, name)
			}
		}
		slices.Sort(members)
		slices.Sort(fields)
		if !slices.Equal(members, fields) {
			t.Errorf("%v has %q, %s has %q", typ, members, pair.message.ProtoReflect().Descriptor().Name(), fields)
		}
	}
}

// Every method of the proto is served, and has its row in the table of doors.
func TestEveryMethodIsServed(t *testing.T) {
	served := newLanguage(Config{}, newBudget("bytes", 1, 1)).GetServiceInfo()
	seen := 0
	services := pb.File_v1_keysetd_proto.Services()
	for i := range services.Len() {
		s := services.Get(i)
		if _, ok := served[string(s.FullName())]; !ok {
			t.Errorf("%s is not served", s.FullName())
		}
		for j := range s.Methods().Len() {
			seen++
			if name := methodName(s.Methods().Get(j)); methods[name].operation == "" {
				t.Errorf("%s has no operation", name)
			}
		}
	}
	if seen != len(methods) {
		t.Errorf("the table has %d methods and the proto %d", len(methods), seen)
	}
}

func methodName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}
