package door

import (
	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
)

// each translates a list.
func each[From, To any](in []From, translate func(*From) To) []To {
	out := make([]To, len(in))
	for i := range in {
		out[i] = translate(&in[i])
	}
	return out
}

func keysetState(in *v1.Keyset) *pb.Keyset {
	return &pb.Keyset{
		Name: in.Name, Purpose: in.Purpose, Mode: in.Mode, Issuer: in.Issuer, Ready: in.Ready, Problem: in.Problem,
		Algorithms: in.Algorithms, Generations: each(in.Generations, generation), FrozenUntil: stamp(in.FrozenUntil),
		Coming: each(in.Coming, coming), Revoked: each(in.Revoked, revokedKey), NextRotation: stamp(in.NextRotation),
		Warnings: in.Warnings,
	}
}

func coming(in *v1.Coming) *pb.Coming { return &pb.Coming{Algorithm: in.Algorithm, At: stamp(in.At)} }

func generation(in *v1.Generation) *pb.Generation {
	return &pb.Generation{Number: int64(in.Number), State: in.State, Since: stamp(in.Since), Until: stamp(in.Until), Keys: each(in.Keys, key)}
}

func key(in *v1.Key) *pb.Key {
	return &pb.Key{
		Kid: in.KID, Spec: in.Spec, Token: in.Token, Id: in.ID, Algorithms: in.Algorithms,
		Lost: stamp(in.Lost), NotAfter: stamp(in.NotAfter),
	}
}

func revokedKey(in *v1.RevokedKey) *pb.RevokedKey {
	return &pb.RevokedKey{Kid: in.KID, At: stamp(in.At), By: in.By, Reason: in.Reason, Kept: in.Kept}
}

func token(in *v1.Token) *pb.Token {
	return &pb.Token{
		Name: in.Name, Up: in.Up, Label: in.Label, Serial: in.Serial, Model: in.Model,
		FoundSerial: in.FoundSerial, Since: stamp(in.Since), Problem: in.Problem,
	}
}

func plannedStep(in *v1.PlannedStep) *pb.PlannedStep {
	return &pb.PlannedStep{At: stamp(in.At), Step: in.Step, Generation: int64(in.Generation), Reason: in.Reason}
}

func event(in *v1.Event) *pb.Event {
	return &pb.Event{At: stamp(in.At), What: in.What, Generation: int64(in.Generation), Kids: in.KIDs, By: in.By, Why: in.Why}
}

func listedKey(in *v1.ListedKey) *pb.ListedKey {
	return &pb.ListedKey{
		Kid: in.KID, Current: in.Current, Next: in.Next, Previous: in.Previous,
		CurrentSince: stamp(in.CurrentSince), CurrentUntil: stamp(in.CurrentUntil),
		Cert: in.Cert, Pkcs7: in.PKCS7, Fingerprint: in.Fingerprint, Thumbprint: in.Thumbprint,
		Revoked: in.Revoked, RevokedAt: stamp(in.RevokedAt),
		Spec: in.Spec, Generation: int64(in.Generation), State: in.State,
	}
}

func keysetChange(in *v1.KeysetChange) *pb.KeysetChange {
	return &pb.KeysetChange{Keyset: in.Keyset, Change: in.Change, At: stamp(in.At)}
}

func grant(in *v1.Grant) *pb.Grant {
	return &pb.Grant{
		Name: in.Name, Keysets: in.Keysets, Operations: in.Operations, Algorithms: in.Algorithms, Types: in.Types,
		ClientIds: in.ClientIDs, Audiences: in.Audiences, Claims: in.Claims, Rate: in.Rate, Burst: int64(in.Burst), Priority: int64(in.Priority),
	}
}
