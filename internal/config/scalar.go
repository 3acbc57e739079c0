package config

import (
	"errors"
	"io/fs"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/audit"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// scalar reads a type from the text of a YAML string. Its errors never repeat the text.
type scalar struct {
	hint  string // what to write, for values that are no text; may be empty
	parse func(text string) (any, error)
}

// scalars are the types that are written as text.
var scalars = map[reflect.Type]scalar{
	reflect.TypeFor[string]():                  {"", func(s string) (any, error) { return s, nil }},
	reflect.TypeFor[Expression]():              {"", func(s string) (any, error) { return Expression(s), nil }},
	reflect.TypeFor[time.Duration]():           {aDuration, erase(parseDuration)},
	reflect.TypeFor[Period]():                  {aDuration + ", or manual", erase(parsePeriod)},
	reflect.TypeFor[Retain]():                  {aDuration + ", or until-revoked", erase(parseRetain)},
	reflect.TypeFor[fs.FileMode]():             {aMode, erase(parseMode)},
	reflect.TypeFor[keyspec.Spec]():            {"", erase(parseSpec)},
	reflect.TypeFor[rotation.KeyType]():        {"", erase(parseKeyType)},
	reflect.TypeFor[KeyID]():                   {aKeyID, erase(parseKeyID)},
	reflect.TypeFor[jose.SignatureAlgorithm](): {"", erase(parseAlgorithm)},
	reflect.TypeFor[policy.Operation]():        {"", erase(policy.ParseOperation)},
	reflect.TypeFor[audit.Sync]():              {"", oneOf(audit.SyncSecond, audit.SyncAlways)},
	reflect.TypeFor[Verify]():                  {"", oneOf(VerifyRSA, VerifyAll, VerifyNone)},
	reflect.TypeFor[Purpose]():                 {"", oneOf(JWT, Raw, Any, Enc)},
	reflect.TypeFor[Mode]():                    {"", oneOf(Dynamic, Static)},
	reflect.TypeFor[AssertionTyp]():            {"", oneOf(TypJWT, TypClientAuthentication)},
	reflect.TypeFor[AudienceForm]():            {"", oneOf(AudienceString, AudienceArray)},
	reflect.TypeFor[RootPolicy]():              {"", oneOf(DropRoot, KeepRoot)},
	reflect.TypeFor[x5c.Usage]():               {"", func(s string) (any, error) { return x5c.Usage(s), nil }},
	reflect.TypeFor[CertificateIssuer]():       {"", oneOf(SelfSigned, IssuedByCA, External, NoCertificate)},
}

func erase[T any](parse func(string) (T, error)) func(string) (any, error) {
	return func(s string) (any, error) { return parse(s) }
}

// oneOf reads one of the words that this version knows. Those of later are named as such.
func oneOf[T ~string](words ...T) func(string) (any, error) {
	var list []string
	for _, w := range words {
		list = append(list, string(w))
	}
	must := "must be " + strings.Join(list, " or ")
	if len(list) > 2 {
		must = "must be one of " + strings.Join(list, ", ")
	}
	return func(s string) (any, error) {
		for _, w := range words {
			if string(w) == s {
				return w, nil
			}
		}
		return nil, errors.New(must)
	}
}

const (
	aDuration   = "a duration with its unit, as in 90s, 12h, 0.5d"
	maxDuration = 100 * 365 * 24 * time.Hour
)

var days = regexp.MustCompile(`^[0-9]{1,6}(\.[0-9]{1,6})?d$`)

// parseDuration reads Go's durations and days; negative ones, and those over a hundred
// years, are refused. A "day" is 24 hours.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days.MatchString(s) {
		var n float64
		if n, err = strconv.ParseFloat(strings.TrimSuffix(s, "d"), 64); err == nil {
			d = time.Duration(math.Round(n * float64(24*time.Hour)))
		}
	}
	switch {
	case err != nil:
		return 0, errors.New("must be " + aDuration)
	case d <= 0:
		return 0, errors.New("must be longer than 0; leave it out for the default")
	case d > maxDuration:
		return 0, errors.New("is longer than a hundred years")
	}
	return d, nil
}

func parsePeriod(s string) (Period, error) {
	if s == "manual" {
		return Period{Manual: true}, nil
	}
	d, err := parseDuration(s)
	return Period{Duration: d}, err
}

func parseRetain(s string) (Retain, error) {
	if s == "until-revoked" {
		return Retain{UntilRevoked: true}, nil
	}
	d, err := parseDuration(s)
	return Retain{Duration: d}, err
}

const aMode = `an octal file mode in quotes, as in "0660"`

func parseMode(s string) (fs.FileMode, error) {
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m > 0o777 || len(s) > 4 {
		return 0, errors.New("must be " + aMode)
	}
	return fs.FileMode(m), nil
}

func parseSpec(s string) (keyspec.Spec, error) {
	spec, err := keyspec.Parse(s)
	if err != nil {
		return "", errors.New("must be one of " + join(keyspec.All()))
	}
	return spec, nil
}

func parseAlgorithm(s string) (jose.SignatureAlgorithm, error) {
	alg, err := jwa.Parse(s)
	if err != nil {
		return "", errors.New("must be one of " + join(jwa.All()))
	}
	return alg, nil
}

func join[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return strings.Join(list, ", ")
}
