package daemon

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/audit"
	"keysetd.example/internal/config"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
)

// sealed is a stage with the reserved keyset on it, and a log that it seals.
type sealed struct {
	*stage
	trail *audit.Log
	path  string
}

func newSealed(t *testing.T) *sealed {
	t.Helper()
	s := &sealed{stage: newStage(t, signingKeyset), path: filepath.Join(t.TempDir(), "audit.jsonl")}
	s.seal = &sealer{key: s.key}
	s.open()
	return s
}

// open opens the log, as a start of the daemon does.
func (s *sealed) open() {
	s.t.Helper()
	var err error
	if s.trail, err = audit.Open(s.path, audit.Options{Sealer: s.seal, Installation: "here"}); err != nil {
		s.t.Fatal(err)
	}
}

// audit shows the reserved keyset with these generations, each of one key.
func (s *sealed) audit(generations ...rotation.Generation) {
	s.t.Helper()
	k := &rotation.Keyset{Name: config.AuditKeyset, Configured: true, Document: rotation.Document{
		Format: rotation.Format, Keyset: config.AuditKeyset, Generations: generations,
	}}
	active, _ := k.Document.Active()
	k.Signing = active.Keys
	if err := s.publish(snapshot(k)); err != nil {
		s.t.Fatal(err)
	}
}

// of makes a generation of one key of this spec.
func (s *sealed) of(number int, state rotation.State, spec keyspec.Spec) rotation.Generation {
	return s.generation(number, state, s.kid(spec)+":"+string(spec))
}

func (s *sealed) kid(spec keyspec.Spec) string {
	s.t.Helper()
	kid, err := jwks.KeyID(s.world.Keys[spec].Public)
	if err != nil {
		s.t.Fatal(err)
	}
	return kid
}

// act writes a line.
func (s *sealed) act() {
	s.t.Helper()
	if err := s.trail.Append(s.t.Context(), audit.Record{Operation: "jwt", Outcome: audit.Granted}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sealed) checkpoint() {
	s.t.Helper()
	if err := s.trail.Checkpoint(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sealed) close() {
	s.t.Helper()
	if err := s.trail.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// TestSuccession: an audit key of any spec follows another, through restarts and files, and whoever trusts the
// first trusts the last. None of them is shown to anybody else.
func TestSuccession(t *testing.T) {
	s := newSealed(t)
	specs := []keyspec.Spec{keyspec.P256, keyspec.RSA2048, keyspec.Ed25519, keyspec.P384, keyspec.P521}
	files := []string{s.path}
	var kids []string
	for i, spec := range specs {
		now := []rotation.Generation{s.of(i+1, rotation.Active, spec)}
		if i > 0 {
			now = append(now, s.of(i, rotation.Retired, specs[i-1]))
		}
		s.audit(now...) // before the next one is made
		s.act()
		s.checkpoint()
		if i+1 < len(specs) {
			s.audit(append(now, s.of(i+2, rotation.Pending, specs[i+1]))...)
			s.checkpoint() // although nothing else happened
		}
		kids = append(kids, s.kid(spec))
		switch i {
		case 1: // a restart
			s.close()
			s.open()
		case 2: // logrotate
			files = append(files, s.path+".1")
			if err := os.Rename(s.path, s.path+".1"); err != nil {
				t.Fatal(err)
			}
			if err := s.trail.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.close()
	if page, _ := s.page(config.AuditKeyset); page != nil {
		t.Errorf("the page of keyset audit has %v", page)
	}
	if list, err := s.service.Keysets(t.Context(), operator); err != nil || len(list.Keysets) != 0 {
		t.Errorf("callers see %+v, %v", list, err)
	}
	r, err := audit.Verify(files, audit.VerifyOptions{KIDs: kids[:1]})
	if err != nil || r.Fault != nil {
		t.Fatalf("%v, %v", r.Fault, err)
	}
	var signed []string
	for _, k := range r.Keys {
		signed = append(signed, k.KID)
	}
	if !slices.Equal(signed, kids) {
		t.Errorf("checkpoints are by %v, want %v", signed, kids)
	}
	r, err = audit.Verify(files, audit.VerifyOptions{KIDs: kids[1:]})
	if err != nil || r.Fault == nil || r.Fault.Kind != audit.UnknownKey {
		t.Errorf("the first key is not trusted, and found is %v, %v", r.Fault, err)
	}
}

// TestEmergencySuccession: for a key that took over before it was introduced nobody vouches.
func TestEmergencySuccession(t *testing.T) {
	s := newSealed(t)
	s.audit(s.of(1, rotation.Active, keyspec.P256))
	s.act()
	s.checkpoint()
	s.audit(s.of(2, rotation.Active, keyspec.P384))
	s.act()
	s.close()
	first, second := s.kid(keyspec.P256), s.kid(keyspec.P384)
	for _, c := range []struct {
		kids []string
		want audit.Kind
	}{{[]string{first}, audit.UnknownKey}, {[]string{first, second}, ""}} {
		r, err := audit.Verify([]string{s.path}, audit.VerifyOptions{KIDs: c.kids})
		if err != nil {
			t.Fatal(err)
		}
		found := audit.Kind("")
		if r.Fault != nil {
			found = r.Fault.Kind
		}
		if found != c.want {
			t.Errorf("trusting %v: %v, want %q", c.kids, r.Fault, c.want)
		}
	}
}

// TestNothingSeals: without a key that signs, or with one whose token cannot, there are no checkpoints, and
// nobody else is troubled.
func TestNothingSeals(t *testing.T) {
	s := newSealed(t)
	s.act()
	if err := s.trail.Checkpoint(t.Context()); err == nil || s.seal.Keys() != nil {
		t.Errorf("a checkpoint before any key was shown: %v, %v", err, s.seal.Keys())
	}
	s.audit(s.of(1, rotation.Pending, keyspec.P256))
	if keys := s.seal.Keys(); keys != nil {
		t.Errorf("a pending key alone seals: %v", keys)
	}
	if _, err := s.seal.Seal(t.Context(), []byte("{}")); err == nil {
		t.Error("sealed by no key")
	}
	s.audit(s.of(1, rotation.Active, keyspec.P256))
	trouble := errors.New("the token is away")
	s.world.Keys[keyspec.P256].Fail(trouble)
	if err := s.trail.Checkpoint(t.Context()); !errors.Is(err, trouble) {
		t.Errorf("%v", err)
	}
	s.world.Keys[keyspec.P256].Fail(nil)
	s.close()
	r, err := audit.Verify([]string{s.path}, audit.VerifyOptions{KIDs: []string{s.kid(keyspec.P256)}})
	if err != nil || r.Fault != nil || r.Covered == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// pssAlone is an RSA key whose token has PSS alone.
type pssAlone struct{ tokenKey }

func (pssAlone) Unsupported(opts crypto.SignerOpts) bool {
	_, pss := opts.(*rsa.PSSOptions)
	return !pss
}

// TestSealsByWhatTheTokenHas: where the token lacks an algorithm of the key's, the next one signs.
func TestSealsByWhatTheTokenHas(t *testing.T) {
	s := newSealed(t)
	s.seal.key = func(k rotation.Key) (tokenKey, error) {
		key, err := s.key(k)
		return pssAlone{key}, err
	}
	s.audit(s.of(1, rotation.Active, keyspec.RSA2048))
	compact, err := s.seal.Seal(t.Context(), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		t.Fatal(err)
	}
	header := jws.Signatures[0].Protected
	if _, err := jws.Verify(s.world.Keys[keyspec.RSA2048].Public); err != nil || header.KeyID != s.kid(keyspec.RSA2048) || header.ExtraHeaders["typ"] != audit.CheckpointType {
		t.Errorf("%v: %+v", err, header)
	}
}
