package worker

import (
	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// What miekg/pkcs11 v1.1.2 does not name (PKCS#11 v3.0 §2.3.1).
const (
	ckkECEdwards           = 0x40
	ckmECEdwardsKeyPairGen = 0x1055
	ckmEdDSA               = 0x1057
)

// mechanism is a CKM_ with its parameters, the key that it wants and the data.
type mechanism struct {
	number          uint
	hash, mgf, salt uint // CK_RSA_PKCS_PSS_PARAMS or _OAEP_PARAMS (PKCS#11 v2.40 §2.1.7, §2.1.9), where hash is not 0
	kind            uint // CKA_KEY_TYPE
	lengths         []int
}

var mechanisms = map[wire.Mechanism]mechanism{
	wire.RSAPKCS:   {number: pkcs11.CKM_RSA_PKCS, kind: pkcs11.CKK_RSA},
	wire.RSAPSS256: pss(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32),
	wire.RSAPSS384: pss(pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48),
	wire.RSAPSS512: pss(pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, 64),
	wire.ECDSA:     {number: pkcs11.CKM_ECDSA, kind: pkcs11.CKK_EC, lengths: []int{32, 48, 64}},
	wire.EdDSA:     {number: ckmEdDSA, kind: ckkECEdwards},
}

// decryptions are those of wire.DecryptRequest; with several lengths of data, one for each curve.
var decryptions = map[wire.Mechanism]mechanism{
	wire.OAEPSHA1:   {number: pkcs11.CKM_RSA_PKCS_OAEP, kind: pkcs11.CKK_RSA, hash: pkcs11.CKM_SHA_1, mgf: pkcs11.CKG_MGF1_SHA1},
	wire.OAEPSHA256: {number: pkcs11.CKM_RSA_PKCS_OAEP, kind: pkcs11.CKK_RSA, hash: pkcs11.CKM_SHA256, mgf: pkcs11.CKG_MGF1_SHA256},
	wire.ECDH1:      {number: pkcs11.CKM_ECDH1_DERIVE, kind: pkcs11.CKK_EC, lengths: []int{1 + 2*32, 1 + 2*48, 1 + 2*66}},
}

func pss(hash, mgf uint, length int) mechanism {
	return mechanism{
		number: pkcs11.CKM_RSA_PKCS_PSS, kind: pkcs11.CKK_RSA,
		hash: hash, mgf: mgf, salt: uint(length), lengths: []int{length},
	}
}
