// Package keysetdjose has go-jose sign and decrypt with the keys of keysetd.
//
//	c, err := client.Dial("")
//	signer, err := keysetdjose.NewSigner(c, "default", jose.ES256, (&jose.SignerOptions{}).WithType("JWT"))
//	token, err := jwt.Signed(signer).Claims(claims).Serialize()
//
//	plaintext, err := message.Decrypt(keysetdjose.NewKeyDecrypter(c, "id-tokens"))
//
// What is signed goes to the daemon whole and is judged there as claims and header are: the payload
// has to be claims of a keyset of purpose jwt or any.
//
// go-jose's interfaces take no context, so each call has 30 seconds.
package keysetdjose

import "time"

// callTimeout bounds what a call of go-jose's asks of the daemon, retries included.
const callTimeout = 30 * time.Second
