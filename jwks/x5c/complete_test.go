package x5c_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

func want(roots *x509.CertPool) x5c.Want {
	return x5c.Want{CommonName: request().CommonName, Subject: subject, Roots: roots, Now: noon, Until: day(30)}
}

func TestComplete(t *testing.T) {
	mine := key(t, keyspec.P256).Public()
	root := newAuthority(t, "root", keyspec.RSA2048, nil, nil)
	ca := newAuthority(t, "ca", keyspec.P384, root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	low := newAuthority(t, "low", keyspec.Ed25519, ca, nil) // which ca may not have
	leaf := ca.leaf(t, mine, nil)
	other := newAuthority(t, "other", keyspec.P256, nil, nil)
	twin := newAuthority(t, "root", keyspec.P256, nil, nil)
	sha1 := newAuthority(t, "old root", keyspec.RSA2048, nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	underSHA1 := newAuthority(t, "new", keyspec.P256, sha1, nil)
	byOld := newAuthority(t, "by old", keyspec.P256, sha1, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	alone, err := x509.ParseCertificate(selfSigned(t, request(), key(t, keyspec.P256))[0])
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := x509.ParseCertificate(forged(root.cert.Raw))
	if err != nil {
		t.Fatal(err)
	}
	byDates := func(from, until time.Time) *authority {
		return newAuthority(t, "dated", keyspec.P256, root, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until })
	}
	brief, late := byDates(day(-1), day(20)), byDates(day(1), day(200))
	narrow := newAuthority(t, "narrow", keyspec.P256, root, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"corp.example"} })
	noCA := newAuthority(t, "no CA", keyspec.P256, root, func(c *x509.Certificate) { c.IsCA = false })
	noSign := newAuthority(t, "no sign", keyspec.P256, root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	renewed := &authority{key: ca.key, cert: root.sign(t, &x509.Certificate{
		Subject: ca.cert.Subject, NotBefore: day(-1), NotAfter: day(400), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, SubjectKeyId: []byte{1, 2, 3},
	}, ca.key.Public())}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	shortRoot := &authority{key: weak}
	shortRoot.cert = root.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "short"}, NotBefore: noon, NotAfter: day(40), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}, weak.Public())
	named := func(f func(*pkix.Name)) [][]byte {
		return ders(ca.leaf(t, mine, func(c *x509.Certificate) { f(&c.Subject) }), ca.cert)
	}
	changed := func(f func(*x509.Certificate)) [][]byte { return ders(ca.leaf(t, mine, f), ca.cert) }
	trusted := pool(root.cert)
	for name, tc := range map[string]struct {
		given  [][]byte
		change func(*x5c.Want)
		chain  [][]byte
		want   string // of an error
	}{
		"in order":            {ders(leaf, ca.cert), nil, ders(leaf, ca.cert), ""},
		"root dropped":        {ders(leaf, ca.cert, root.cert), nil, ders(leaf, ca.cert), ""},
		"root kept":           {ders(leaf, ca.cert, root.cert), func(w *x5c.Want) { w.KeepRoot = true }, ders(leaf, ca.cert, root.cert), ""},
		"root added":          {ders(leaf, ca.cert), func(w *x5c.Want) { w.KeepRoot = true }, ders(leaf, ca.cert, root.cert), ""},
		"turned round":        {ders(root.cert, ca.cert, leaf), nil, ders(leaf, ca.cert), ""},
		"given twice":         {ders(leaf, ca.cert, leaf, root.cert, ca.cert), nil, ders(leaf, ca.cert), ""},
		"CA trusted, no root": {ders(leaf), func(w *x5c.Want) { w.Roots = pool(ca.cert) }, ders(leaf, ca.cert), ""},
		"CA and root trusted": {ders(leaf, ca.cert, root.cert), func(w *x5c.Want) { w.Roots = pool(ca.cert, root.cert) }, ders(leaf, ca.cert), ""},
		"itself trusted":      {[][]byte{alone.Raw}, func(w *x5c.Want) { w.Roots, w.Until = pool(alone), midnight }, ders(), ""},
		"old anchor":          {ders(byOld.leaf(t, mine, nil)), func(w *x5c.Want) { w.Roots = pool(byOld.cert) }, nil, "is signed with SHA1-RSA"},
		"root damaged":        {ders(leaf, ca.cert), func(w *x5c.Want) { w.Roots, w.KeepRoot = pool(damaged), true }, nil, "checking the signature of the self-signed"},
		"last second":         {ders(leaf, ca.cert), func(w *x5c.Want) { w.Now = day(30) }, ders(leaf, ca.cert), ""},
		"old root dropped":    {ders(underSHA1.leaf(t, mine, nil), underSHA1.cert, sha1.cert), func(w *x5c.Want) { w.Roots = pool(sha1.cert) }, ders(underSHA1.cert), ""},
		"locality left out":   {named(func(n *pkix.Name) { n.Locality, n.OrganizationalUnit, n.Province = nil, nil, nil }), nil, ders(ca.cert), ""},
		"further unit":        {named(func(n *pkix.Name) { n.OrganizationalUnit = []string{"CA's", "Tokens"} }), nil, ders(ca.cert), ""},
		"attribute added":     {named(func(n *pkix.Name) { n.SerialNumber = "17" }), nil, ders(ca.cert), ""},
		"no key usage":        {changed(func(c *x509.Certificate) { c.KeyUsage = 0 }), nil, ders(ca.cert), ""},
		"permitted name":      {ders(narrow.leaf(t, mine, func(c *x509.Certificate) { c.DNSNames = []string{"a.corp.example"} }), narrow.cert), nil, ders(narrow.cert), ""},
		"nothing":             {nil, nil, nil, "chain is empty"},
		"eleven":              {slices.Repeat(ders(leaf), 11), nil, nil, "11 certificates; a chain may have 10"},
		"no certificate":      {[][]byte{leaf.Raw, {1}}, nil, nil, "parsing certificate 2 of 2"},
		"no roots":            {ders(leaf, ca.cert), func(w *x5c.Want) { w.Roots = nil }, nil, "no roots"},
		"empty roots":         {ders(leaf, ca.cert, root.cert), func(w *x5c.Want) { w.Roots = pool() }, nil, "hand in every CA certificate"},
		"another root":        {ders(leaf, ca.cert, root.cert), func(w *x5c.Want) { w.Roots = pool(other.cert) }, nil, "unknown authority"},
		"root of that name":   {ders(leaf, ca.cert, root.cert), func(w *x5c.Want) { w.Roots = pool(twin.cert) }, nil, "unknown authority"},
		"another key":         {ders(leaf, ca.cert), func(w *x5c.Want) { w.Public = key(t, keyspec.P521).Public() }, nil, "no certificate is for the key"},
		"CAs only":            {ders(ca.cert, root.cert), nil, nil, "no certificate is for the key"},
		"two for the key":     {ders(leaf, ca.leaf(t, mine, nil), ca.cert), nil, nil, "two certificates for the key"},
		"CA missing":          {ders(leaf, root.cert), nil, nil, "unknown authority"},
		"a stranger":          {ders(leaf, other.cert, ca.cert), nil, nil, "take them out: CN=other,O=Corp"},
		"another's leaf":      {ders(leaf, ca.cert, ca.leaf(t, other.key.Public(), nil)), nil, nil, "take them out: CN=default-"},
		"forged leaf":         {[][]byte{forged(leaf.Raw), ca.cert.Raw}, nil, nil, "unknown authority"},
		"forged CA":           {[][]byte{leaf.Raw, forged(ca.cert.Raw)}, nil, nil, "unknown authority"},
		"forged root":         {[][]byte{leaf.Raw, ca.cert.Raw, forged(root.cert.Raw)}, nil, nil, "take them out: CN=root,O=Corp"},
		"path too long":       {ders(low.leaf(t, mine, nil), low.cert, ca.cert), nil, nil, "too many intermediates"},
		"above is no CA":      {ders(noCA.leaf(t, mine, nil), noCA.cert), nil, nil, "unknown authority"},
		"above may not sign":  {ders(noSign.leaf(t, mine, nil), noSign.cert), nil, nil, "unknown authority"},
		"forbidden name":      {ders(narrow.leaf(t, mine, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }), narrow.cert), nil, nil, "not permitted"},
		"critical extension": {changed(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), nil, nil, "unhandled critical extension"},
		"wrong key identifier": {ders(leaf, renewed.cert), nil, nil, "authority key identifier"},
		"expired":              {ders(leaf, ca.cert), func(w *x5c.Want) { w.Now = day(30).Add(time.Second) }, nil, "has expired or is not yet valid"},
		"not yet valid":        {ders(leaf, ca.cert), func(w *x5c.Want) { w.Now = noon.Add(-time.Second) }, nil, "has expired or is not yet valid"},
		"CA not yet valid":     {ders(late.leaf(t, mine, nil), late.cert), nil, nil, "has expired or is not yet valid"},
		"too short":            {ders(leaf, ca.cert), func(w *x5c.Want) { w.Until = day(30).Add(time.Second) }, nil, "until 2026-03-31T12:00:00Z, when the certificate of CN=default-NzbLsXh8uDCcd-6M,OU=Tokens,O=Example,L=Zürich,ST=ZH,C=CH ends, and must be until 2026-03-31T12:00:01Z"},
		"CA too short":         {ders(brief.leaf(t, mine, nil), brief.cert), nil, nil, "until 2026-03-21T12:00:00Z, when the certificate of CN=dated,O=Corp ends"},
		"a CA's":               {changed(func(c *x509.Certificate) { c.IsCA = true }), nil, nil, "is a CA's"},
		"no signatures":        {changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), nil, nil, "does not allow signatures"},
		"signed with SHA-1":    {ders(sha1.leaf(t, mine, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })), func(w *x5c.Want) { w.Roots = pool(sha1.cert) }, nil, "is signed with SHA1-RSA; ask the CA"},
		"old root kept":        {ders(underSHA1.leaf(t, mine, nil), underSHA1.cert), func(w *x5c.Want) { w.Roots, w.KeepRoot = pool(sha1.cert), true }, nil, "root: drop"},
		"short CA":             {ders(shortRoot.leaf(t, mine, nil), shortRoot.cert), nil, nil, "RSA key of 1024 bits"},
		"short root":           {ders(shortRoot.leaf(t, mine, nil)), func(w *x5c.Want) { w.Roots = pool(shortRoot.cert) }, nil, "RSA key of 1024 bits"},
		"another name":         {named(func(n *pkix.Name) { n.CommonName = "default-k2" }), nil, nil, `its common name is ["default-k2"]`},
		"two names": {named(func(n *pkix.Name) {
			n.ExtraNames = []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "admin"}}
		}), nil, nil, "its common name is"},
		"another organization": {named(func(n *pkix.Name) { n.Organization = []string{"Evil"} }), nil, nil, `its organization is ["Evil"], and "Example" was asked for`},
		"two organizations":    {named(func(n *pkix.Name) { n.Organization = []string{"Example", "Evil"} }), nil, nil, "its organization is"},
		"no organization":      {named(func(n *pkix.Name) { n.Organization = nil }), nil, nil, "its organization is []"},
		"another country":      {named(func(n *pkix.Name) { n.Country = []string{"DE"} }), nil, nil, "its country is"},
		"another unit":         {named(func(n *pkix.Name) { n.OrganizationalUnit = []string{"Mail"} }), nil, nil, "its organizational_unit is"},
		"another locality":     {named(func(n *pkix.Name) { n.Locality = []string{"Bern"} }), nil, nil, "its locality is"},
		"another province":     {named(func(n *pkix.Name) { n.Province = []string{"BE"} }), nil, nil, "its province is"},
	} {
		t.Run(name, func(t *testing.T) {
			w := want(trusted)
			w.Public = mine
			if tc.change != nil {
				tc.change(&w)
			}
			chain, err := x5c.Complete(tc.given, w)
			if tc.want != "" {
				if chain != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want an error with %q", err, tc.want)
				}
				var invalid x509.CertificateInvalidError
				if expired := errors.As(err, &invalid) && invalid.Reason == x509.Expired; expired != strings.Contains(tc.want, "has expired") {
					t.Errorf("an error of dates: %v (%v)", expired, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expected := tc.chain
			if len(expected) == 0 || !bytes.Equal(expected[0], leaf.Raw) { // a leaf of its own
				expected = append([][]byte{tc.given[0]}, expected...)
			}
			if !slices.EqualFunc(chain, expected, bytes.Equal) {
				t.Errorf("a chain of %d, want one of %d", len(chain), len(expected))
			}
		})
	}
}

// TestCompleteLongest has one CA key certified twice, under two roots of the same name and
// key: the path that ends last is taken, whichever comes first, unless the other was given.
func TestCompleteLongest(t *testing.T) {
	mine := key(t, keyspec.P256).Public()
	root := newAuthority(t, "root", keyspec.P256, nil, func(c *x509.Certificate) { c.NotAfter = day(29) })
	longer := *root.cert
	longer.NotAfter = day(500)
	again := (&authority{cert: root.cert, key: root.key}).sign(t, &longer, root.key.Public())
	leaf := root.leaf(t, mine, nil)
	for _, roots := range []*x509.CertPool{pool(root.cert, again), pool(again, root.cert)} {
		w := want(roots)
		w.Public, w.KeepRoot = mine, true
		chain, err := x5c.Complete(ders(leaf), w)
		if err != nil || !slices.EqualFunc(chain, ders(leaf, again), bytes.Equal) {
			t.Errorf("not the longer root: %v", err)
		}
		if _, err := x5c.Complete(ders(leaf, root.cert), w); err == nil || !strings.Contains(err.Error(), "until 2026-03-30T12:00:00Z") {
			t.Errorf("the shorter root was given and not taken: %v", err)
		}
	}
}

// TestCompleteAnyOrder shuffles whole chains, some certificates twice, and takes out or
// replaces one.
func TestCompleteAnyOrder(t *testing.T) {
	mine := key(t, keyspec.P256).Public()
	const most = 4
	authorities := []*authority{newAuthority(t, "root", keyspec.P256, nil, nil)}
	for i := range most {
		authorities = append(authorities, newAuthority(t, "ca", keyspec.P256, authorities[i], func(c *x509.Certificate) {
			c.Subject.CommonName += strings.Repeat("+", i)
		}))
	}
	root := authorities[0].cert
	w := want(pool(root))
	w.Public = mine
	whole := make([][]*x509.Certificate, most+1) // by the number of CAs under the root; without it
	for n := range whole {
		whole[n] = []*x509.Certificate{authorities[n].leaf(t, mine, nil)}
		for i := n; i > 0; i-- {
			whole[n] = append(whole[n], authorities[i].cert)
		}
	}
	// Strangers of the same name, which have signed nothing here.
	impostor := func(c *x509.Certificate) *x509.Certificate {
		a := newAuthority(t, "", keyspec.P256, nil, func(x *x509.Certificate) { x.Subject = c.Subject; x.RawSubject = c.RawSubject })
		return a.cert
	}
	impostors := map[*x509.Certificate]*x509.Certificate{}
	for _, c := range whole[most][1:] {
		impostors[c] = impostor(c)
	}
	rapid.Check(t, func(t *rapid.T) {
		chain := whole[rapid.IntRange(0, most).Draw(t, "CAs")]
		given := slices.Clone(chain)
		if rapid.Bool().Draw(t, "with root") {
			given = append(given, root)
		}
		given = append(given, rapid.SliceOfN(rapid.SampledFrom(given), 0, 3).Draw(t, "twice")...)
		given = rapid.Permutation(given).Draw(t, "order")
		got, err := x5c.Complete(ders(given...), w)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, ders(chain...), bytes.Equal) {
			t.Fatalf("not mended")
		}
		if err := x5c.Check(got, mine, noon); err != nil {
			t.Fatal(err)
		}

		i := rapid.IntRange(0, len(chain)-1).Draw(t, "one of them")
		var swapped []*x509.Certificate
		for _, c := range given {
			switch {
			case c != chain[i]:
				swapped = append(swapped, c)
			case i > 0 && rapid.Bool().Draw(t, "replaced"):
				swapped = append(swapped, impostors[c])
			}
		}
		if len(swapped) > 0 {
			if got, err := x5c.Complete(ders(swapped...), w); err == nil || got != nil {
				t.Fatalf("without certificate %d, it was accepted", i)
			}
		}
		bad := ders(given...)
		flip := rapid.IntRange(0, len(bad)-1).Draw(t, "which")
		if slices.ContainsFunc(bad[flip+1:], func(b []byte) bool { return bytes.Equal(b, bad[flip]) }) ||
			slices.ContainsFunc(bad[:flip], func(b []byte) bool { return bytes.Equal(b, bad[flip]) }) {
			return
		}
		bad[flip] = forged(bad[flip])
		if _, err := x5c.Complete(bad, w); err == nil {
			t.Fatalf("with certificate %d forged, it was accepted", flip)
		}
	})
}
