package door

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "keysetd.example/api/v1"
)

// errorDomain is that of the reasons in an ErrorInfo.
const errorDomain = "keysetd"

// statusOf says over gRPC what writeProblem says over HTTP.
func statusOf(e *v1.Error) *status.Status {
	detail := e.Detail
	if !utf8.ValidString(detail) || !utf8.ValidString(e.Field) {
		e = internal()
		detail = e.Detail
	}
	info := &errdetails.ErrorInfo{Reason: string(e.Reason), Domain: errorDomain, Metadata: map[string]string{}}
	if e.Field != "" {
		info.Metadata["field"] = e.Field
	}
	details := []protoadapt.MessageV1{info}
	if e.RetryAfterMillis > 0 {
		info.Metadata["retry_after_ms"] = strconv.FormatInt(e.RetryAfterMillis, 10)
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(e.RetryAfterMillis) * time.Millisecond)})
	}
	bare := status.New(statuses[e.Reason].grpc, detail)
	full, err := bare.WithDetails(details...)
	if err != nil {
		return bare
	}
	return full
}

// unknownField returns the number of a field that no message of this version has, and the
// JSON pointer of the message it stands in.
func unknownField(m protoreflect.Message, at string) (in string, number protoreflect.FieldNumber, found bool) {
	if raw := m.GetUnknown(); len(raw) > 0 {
		return at, firstField(raw), true
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		below := at + "/" + string(f.Name())
		if !f.IsList() {
			in, number, found = unknownField(v.Message(), below)
			return !found
		}
		for i := 0; i < v.List().Len() && !found; i++ {
			in, number, found = unknownField(v.List().Get(i).Message(), below+"/"+strconv.Itoa(i))
		}
		return !found
	})
	return in, number, found
}

func firstField(raw protoreflect.RawFields) protoreflect.FieldNumber {
	number, _, _ := protowire.ConsumeTag(raw)
	return number
}

func unknownFieldError(in string, number protoreflect.FieldNumber) *v1.Error {
	return &v1.Error{Reason: v1.BadRequest, Field: in, Detail: fmt.Sprintf("field %d is not one that this version of keysetd knows, and is not overlooked", number)}
}
