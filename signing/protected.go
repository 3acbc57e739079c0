package signing

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
)

// protectedHeader is the header of a signing input. The caller composed it, so it is held to what
// keysetd would have written for the same request.
type protectedHeader struct {
	raw           []byte
	alg, kid, typ string // typ is "" where there is none
	// own are the members that are the key's to say: there or not, but not otherwise.
	own map[string]jsontext.Value
}

// parseProtected judges all of a header that can be judged without its key.
func parseProtected(raw []byte, s HeaderSettings) (protectedHeader, error) {
	h := protectedHeader{raw: raw, own: map[string]jsontext.Value{}}
	if jsontext.Value(raw).Kind() != '{' {
		return h, badInput("the header is not a JSON object")
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil {
		return h, badInput("the header is not valid JSON: %s", Clip(err.Error()))
	}
	var err error
	if h.alg, err = take(members, "alg"); err != nil {
		return h, err
	}
	if h.alg == "" {
		return h, badInput("the header has no alg, or an empty one")
	}
	if !s.NoKID { // where there is to be none, it is not the caller's to set
		if h.kid, err = take(members, "kid"); err != nil {
			return h, err
		}
		if h.kid == "" {
			return h, badInput("the header has no kid, or an empty one; verifiers of a set with several keys need it")
		}
	}
	for _, name := range s.own() {
		if value, has := members[name]; has {
			h.own[name] = value
			delete(members, name)
		}
	}
	asked, err := s.judge(members)
	if err == nil {
		err = s.judgeTaken(asked.typ)
	}
	h.typ = asked.typ
	return h, err
}

// own are the header parameters besides alg and kid that are the keyset's to set.
func (s HeaderSettings) own() (names []string) {
	if s.X5C {
		names = append(names, "x5c")
	}
	if s.X5TS256 {
		names = append(names, "x5t#S256")
	}
	if s.JKU != "" {
		names = append(names, "jku")
	}
	return names
}

// judgeOwn decides whether the header says of the key what the key's own header says.
func (h protectedHeader) judgeOwn(key *ownHeader) error {
	for _, name := range slices.Sorted(maps.Keys(h.own)) { // sorted: the same fault is named each time
		if !key.carries(name, h.own[name]) {
			return refuse(v1.BadHeader, "/signing_input", "the header parameter %q is not what the keyset has there; leave it out", name)
		}
	}
	return nil
}

// take removes a member and returns its value, "" where it is not there. null is no string.
func take(members map[string]jsontext.Value, name string) (string, error) {
	v, has := members[name]
	if !has {
		return "", nil
	}
	delete(members, name)
	s, ok := text(v)
	if !ok {
		return "", refuse(v1.BadHeader, "/signing_input", "the header parameter %q must be a string", name)
	}
	return s, nil
}
