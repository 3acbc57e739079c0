package audit

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Outcome of an act.
type Outcome string

// The outcomes.
const (
	// Granted: the act was done and its result may have reached the caller.
	Granted Outcome = "granted"
	// Refused: the caller was not allowed it, or asked for what cannot be.
	Refused Outcome = "refused"
	// Failed: it was allowed, and did not succeed.
	Failed Outcome = "failed"
)

// Caller is the local process that asked, as the kernel told it.
type Caller struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	PID int32  `json:"pid"`
	// Exe is the path of its executable when it connected; empty, and left out of the line,
	// where that is not known.
	Exe string `json:"exe,omitempty"`
}

// Record is one act, granted or refused. As a line, behind what chains it to the others
// (see Head):
//
//	{"seq":…,"prev":"…","time":"2026-11-21T20:20:00.000000000Z","caller":{"uid":1001,"gid":1001,"pid":4242,
//	 "exe":"/usr/bin/op"},"operation":"jwt","keyset":"default","kid":"…","alg":"ES256","digest":"…","jti":"…",
//	 "exp":1795292400,"outcome":"granted"}
//
// Strings longer than 1 KiB are cut and end in "…". Bytes that are no UTF-8 become U+FFFD.
type Record struct {
	// Time of the act, written in UTC with nine decimals. Zero: when Append takes it.
	Time      time.Time `json:"time"`
	Caller    Caller    `json:"caller"`
	Operation string    `json:"operation"`
	// Keyset as it was asked for; it may not exist. Empty strings are left out of the
	// line from here on.
	Keyset string `json:"keyset,omitempty"`
	// Token that an act of operation admin is about.
	Token string `json:"token,omitempty"`
	KID   string `json:"kid,omitempty"`
	Alg   string `json:"alg,omitempty"`
	// Digest is the SHA-256 of the signing input, or the digest that the caller sent; in
	// base64url without padding. Empty: left out.
	Digest Digest `json:"digest,omitempty"`
	JTI    string `json:"jti,omitempty"`
	// Exp in seconds since 1970, as in the token. 0: left out.
	Exp     int64   `json:"exp,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Reason is the reason word of what was not granted, Detail what the caller was told.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Digest is written in base64url without padding.
type Digest []byte

// MarshalText returns d in base64url without padding.
func (d Digest) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, d), nil
}

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = base64.RawURLEncoding.AppendDecode(nil, text)
	return err
}

// timeLayout is RFC 3339 with all nine decimals, so that lines sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// maxString is where a string is cut, in bytes: callers choose jti and keyset.
const maxString = 1 << 10

// appendLine appends r as one line of JSON, unchained.
func (r *Record) appendLine(b []byte) []byte { return append(r.appendBody(b), "}\n"...) }

// appendBody appends r as a JSON object that is still open. It is written by hand because
// it stands in the path of every signature; a test holds it against encoding/json.
func (r *Record) appendBody(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","caller":{"uid":`...)
	b = strconv.AppendUint(b, uint64(r.Caller.UID), 10)
	b = append(b, `,"gid":`...)
	b = strconv.AppendUint(b, uint64(r.Caller.GID), 10)
	b = append(b, `,"pid":`...)
	b = strconv.AppendInt(b, int64(r.Caller.PID), 10)
	b = appendMember(b, `,"exe":`, r.Caller.Exe)
	b = append(b, `},"operation":`...)
	b = appendString(b, r.Operation)
	b = appendMember(b, `,"keyset":`, r.Keyset)
	b = appendMember(b, `,"token":`, r.Token)
	b = appendMember(b, `,"kid":`, r.KID)
	b = appendMember(b, `,"alg":`, r.Alg)
	if len(r.Digest) > 0 {
		b = append(b, `,"digest":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, r.Digest)
		b = append(b, '"')
	}
	b = appendMember(b, `,"jti":`, r.JTI)
	if r.Exp != 0 {
		b = append(b, `,"exp":`...)
		b = strconv.AppendInt(b, r.Exp, 10)
	}
	b = append(b, `,"outcome":`...)
	b = appendString(b, string(r.Outcome))
	b = appendMember(b, `,"reason":`, r.Reason)
	return appendMember(b, `,"detail":`, r.Detail)
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

// appendString appends s as a JSON string (RFC 8259 §7). No byte below 0x20 is ever
// written, so no string can begin a line of its own. Other characters that move the
// cursor of a terminal or turn its direction (C1 controls, the line and paragraph separators,
// format characters) are escaped too.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	cut := len(s) > maxString
	if cut {
		s = s[:maxString]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < 0x20 || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1 && cut && !utf8.FullRuneInString(s[i:]): // cut through
			i = len(s)
			continue
		case r == utf8.RuneError:
			b = append(b, "\ufffd"...)
		case r < 0xa0 || r == 0x2028 || r == 0x2029 || unicode.Is(unicode.Cf, r):
			var units [2]uint16
			for _, u := range utf16.AppendRune(units[:0], r) {
				b = append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	if cut {
		b = append(b, "…"...)
	}
	return append(b, '"')
}
