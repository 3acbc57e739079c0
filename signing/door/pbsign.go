package door

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
)

func jwtRequest(in *pb.SignJWTRequest) (*v1.JWTRequest, *v1.Error) {
	req := &v1.JWTRequest{Claims: in.GetClaims(), SigningInput: in.GetSigningInput(), Alg: in.GetAlg(), KID: in.GetKid()}
	if h := in.GetHeader(); len(h) > 0 {
		if len(h) > maxHeaderMember {
			return nil, &v1.Error{Reason: v1.TooLarge, Field: "/header", Detail: fmt.Sprintf("the header has %d bytes; it may have %d", len(h), maxHeaderMember)}
		}
		if err := json.Unmarshal(h, &req.Header); err != nil {
			return nil, headerError(err)
		}
	}
	return req, nil
}

// headerError says what is wrong with the JSON of a header, in the terms of the HTTP body.
func headerError(err error) *v1.Error {
	e := bodyError(err)
	e.Reason, e.Field = v1.BadHeader, "/header"+e.Field
	if _, ok := errors.AsType[*json.SemanticError](err); ok {
		e.Detail = "the header must be a JSON object"
	}
	return e
}

func jwtResponse(in *v1.JWTReply) (*pb.SignJWTResponse, error) {
	signature, err := signatureBytes(in.Signature)
	if err != nil {
		return nil, err
	}
	return &pb.SignJWTResponse{Token: in.Token, Signature: signature, Kid: in.KID, Alg: in.Alg}, nil
}

func assertionRequest(in *pb.SignClientAssertionRequest) *v1.ClientAssertionRequest {
	return &v1.ClientAssertionRequest{ClientID: in.GetClientId(), Audience: in.GetAudience(), Alg: in.GetAlg(), KID: in.GetKid(), Lifetime: in.GetLifetime()}
}

func assertionResponse(in *v1.ClientAssertionReply) *pb.SignClientAssertionResponse {
	return &pb.SignClientAssertionResponse{
		ClientAssertion: in.ClientAssertion, ClientAssertionType: in.ClientAssertionType, Kid: in.KID, Alg: in.Alg, ExpiresAt: stamp(in.ExpiresAt),
	}
}

func signRequest(in *pb.SignRequest) *v1.SignRequest {
	req := &v1.SignRequest{Alg: in.GetAlg(), Encoding: in.GetEncoding(), KID: in.GetKid()}
	switch input := in.GetInput().(type) {
	case *pb.SignRequest_Payload:
		req.Payload = new(base64.RawURLEncoding.EncodeToString(input.Payload))
	case *pb.SignRequest_Digest:
		req.Digest = new(base64.RawURLEncoding.EncodeToString(input.Digest))
	}
	return req
}

func signResponse(in *v1.SignReply) (*pb.SignResponse, error) {
	signature, err := signatureBytes(in.Signature)
	if err != nil {
		return nil, err
	}
	return &pb.SignResponse{Signature: signature, Kid: in.KID, Alg: in.Alg}, nil
}

func signatureBytes(encoded string) ([]byte, error) {
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("a signature of the service's is no base64url: %w", err)
	}
	return signature, nil
}

// batchItem reads the item at index i. One that is not set is the service's to refuse.
func batchItem(in *pb.BatchItem, i int) (item v1.BatchItem, bad *v1.Error) {
	var keyset string
	switch {
	case in.GetJwt() != nil:
		keyset = in.GetJwt().GetKeyset()
		item.JWT, bad = jwtRequest(in.GetJwt())
	case in.GetSign() != nil:
		keyset = in.GetSign().GetKeyset()
		item.Sign = signRequest(in.GetSign())
	case in.GetClientAssertion() != nil:
		keyset = in.GetClientAssertion().GetKeyset()
		item.ClientAssertion = assertionRequest(in.GetClientAssertion())
	}
	if keyset != "" {
		bad = &v1.Error{Reason: v1.BadRequest, Field: "/keyset", Detail: "an item of a batch has no keyset of its own; leave it out"}
	}
	if bad != nil {
		bad.Field = fmt.Sprintf("/items/%d/%s%s", i, itemKind(in), bad.Field)
	}
	return item, bad
}

func itemKind(in *pb.BatchItem) string {
	switch {
	case in.GetJwt() != nil:
		return "jwt"
	case in.GetSign() != nil:
		return "sign"
	}
	return "client_assertion"
}

func batchResult(in *v1.BatchResult) (*pb.BatchResult, error) {
	switch {
	case in.JWT != nil:
		reply, err := jwtResponse(in.JWT)
		return &pb.BatchResult{Result: &pb.BatchResult_Jwt{Jwt: reply}}, err
	case in.Sign != nil:
		reply, err := signResponse(in.Sign)
		return &pb.BatchResult{Result: &pb.BatchResult_Sign{Sign: reply}}, err
	case in.ClientAssertion != nil:
		return &pb.BatchResult{Result: &pb.BatchResult_ClientAssertion{ClientAssertion: assertionResponse(in.ClientAssertion)}}, nil
	case in.Error != nil:
		e := in.Error
		return &pb.BatchResult{Result: &pb.BatchResult_Error{Error: &pb.Error{
			Reason: string(e.Reason), Detail: e.Detail, Field: e.Field, RetryAfterMs: e.RetryAfterMillis,
		}}}, nil
	}
	return nil, errors.New("the service left an item of a batch without a result")
}

func policyTestRequest(in *pb.PolicyTestRequest) *v1.PolicyTestRequest {
	return &v1.PolicyTestRequest{
		UID: in.Uid, GID: in.Gid, Groups: in.GetGroups(), Operation: in.GetOperation(), Keyset: in.GetKeyset(),
		Alg: in.GetAlg(), Typ: in.GetTyp(), Claims: jsontext.Value(in.GetClaims()),
		ClientID: in.GetClientId(), Audience: in.GetAudience(), Lifetime: in.GetLifetime(),
	}
}

// stamp is nil for an instant that is not known.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// instant is zero where it was left out, and an error where it is none.
func instant(at *timestamppb.Timestamp, field string) (time.Time, *v1.Error) {
	if at == nil {
		return time.Time{}, nil
	}
	if err := at.CheckValid(); err != nil {
		return time.Time{}, &v1.Error{Reason: v1.BadRequest, Field: field, Detail: "the instant is not one: " + signing.Clip(err.Error())}
	}
	return at.AsTime(), nil
}
