package door

import (
	pb "keysetd.example/api/v1/keysetdpb"

	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// method is what gRPC has to know of one of ours.
type method struct {
	operation policy.Operation
	act       bool // an operator's, which may take actTimeout
}

// methods is the table of doors (design.md) for gRPC. What is not in it is not ours: health and
// reflection.
var methods = map[string]method{
	pb.Signer_SignJWT_FullMethodName:             {operation: policy.JWT},
	pb.Signer_SignClientAssertion_FullMethodName: {operation: policy.ClientAssertion},
	pb.Signer_Sign_FullMethodName:                {operation: policy.Sign},
	pb.Signer_Batch_FullMethodName:               {operation: signing.OpBatch},
	pb.Signer_Decrypt_FullMethodName:             {operation: policy.Decrypt},
	pb.Signer_GetKey_FullMethodName:              {operation: policy.Read},
	pb.Keysets_List_FullMethodName:               {operation: policy.Read},
	pb.Keysets_Get_FullMethodName:                {operation: policy.Read},
	pb.Keysets_Plan_FullMethodName:               {operation: policy.Read},
	pb.Keysets_History_FullMethodName:            {operation: policy.Read},
	pb.Keysets_Keys_FullMethodName:               {operation: policy.Read},
	pb.Keysets_Rotate_FullMethodName:             {policy.Rotate, true},
	pb.Keysets_Revoke_FullMethodName:             {policy.Revoke, true},
	pb.Keysets_Freeze_FullMethodName:             {policy.Freeze, true},
	pb.Keysets_Thaw_FullMethodName:               {policy.Freeze, true},
	pb.Keysets_CSR_FullMethodName:                {operation: policy.Certificate},
	pb.Keysets_ImportCertificate_FullMethodName:  {policy.Certificate, true},
	pb.Admin_Reload_FullMethodName:               {policy.Admin, true},
	pb.Admin_AcceptToken_FullMethodName:          {operation: policy.Admin},
	pb.Admin_RetryPIN_FullMethodName:             {operation: policy.Admin},
	pb.Admin_AcceptClock_FullMethodName:          {policy.Admin, true},
	pb.Admin_WhoAmI_FullMethodName:               {operation: signing.OpWhoAmI},
	pb.Admin_PolicyTest_FullMethodName:           {operation: policy.Admin},
}
