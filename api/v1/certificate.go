package v1

import "time"

// CSRList is the reply to GET /v1/keysets/NAME/csr. It is empty where certificates do not come from outside.
type CSRList struct {
	Requests []CertificateRequest `json:"requests"`
}

// CertificateRequest is the request for the certificate of one key.
type CertificateRequest struct {
	KID        string `json:"kid"`
	Generation int    `json:"generation"`
	// State of the generation: pending, active or retired.
	State string `json:"state"`
	// CSR is a PKCS #10 request in PEM (RFC 7468 §7), signed by the key.
	CSR string `json:"csr"`
	// NeededBy is when the certificate is to be handed in, so that nothing happens late; absent where
	// nothing waits for it.
	NeededBy time.Time `json:"needed_by,omitzero"`
	// ValidUntil is the end to ask for: a chain that ends earlier may be refused.
	ValidUntil time.Time `json:"valid_until"`
}

// ImportCertificateRequest is the body of POST /v1/keysets/NAME/certificate.
type ImportCertificateRequest struct {
	// KID of the key that the certificate is for.
	KID string `json:"kid"`
	// Chain is the certificate and those above it in PEM (RFC 7468 §5), in any order, with or without the root.
	Chain string `json:"chain"`
}
