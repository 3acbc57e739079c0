/*
 * What this package calls in a PKCS#11 module without the help of miekg/pkcs11.
 *
 * Written from the text of PKCS#11 v2.40 (sections 3 and 5): the types are those of the
 * Unix binding, where CK_ULONG is unsigned long and nothing is packed.
 */
#ifndef KEYSETD_NATIVE_H
#define KEYSETD_NATIVE_H

#include <stddef.h>

typedef unsigned long ks_ulong; /* CK_ULONG, CK_RV and all handles */
typedef unsigned char ks_byte;  /* CK_BYTE, CK_UTF8CHAR */

struct ks_mechanism { /* CK_MECHANISM */
	ks_ulong mechanism;
	void *parameter;
	ks_ulong parameter_len;
};

struct ks_pss { /* CK_RSA_PKCS_PSS_PARAMS */
	ks_ulong hash;
	ks_ulong mgf;
	ks_ulong salt_len;
};

struct ks_oaep { /* CK_RSA_PKCS_OAEP_PARAMS */
	ks_ulong hash;
	ks_ulong mgf;
	ks_ulong source;
	void *source_data;
	ks_ulong source_data_len;
};

struct ks_ecdh1 { /* CK_ECDH1_DERIVE_PARAMS */
	ks_ulong kdf;
	ks_ulong shared_data_len;
	ks_byte *shared_data;
	ks_ulong public_data_len;
	ks_byte *public_data;
};

struct ks_attribute { /* CK_ATTRIBUTE */
	ks_ulong type;
	void *value;
	ks_ulong value_len;
};

typedef ks_ulong (*ks_unused)(void); /* a function that is not called from here */

/* CK_FUNCTION_LIST up to the last function that is called from here. */
struct ks_functions {
	struct { ks_byte major, minor; } version;
	ks_unused Initialize, Finalize, GetInfo, GetFunctionList;
	ks_unused GetSlotList, GetSlotInfo, GetTokenInfo, GetMechanismList, GetMechanismInfo;
	ks_ulong (*InitToken)(ks_ulong slot, ks_byte *pin, ks_ulong pin_len, ks_byte *label);
	ks_ulong (*InitPIN)(ks_ulong session, ks_byte *pin, ks_ulong pin_len);
	ks_unused SetPIN;
	ks_unused OpenSession, CloseSession, CloseAllSessions, GetSessionInfo;
	ks_unused GetOperationState, SetOperationState;
	ks_ulong (*Login)(ks_ulong session, ks_ulong user, ks_byte *pin, ks_ulong pin_len);
	ks_unused Logout;
	ks_unused CreateObject, CopyObject;
	ks_ulong (*DestroyObject)(ks_ulong session, ks_ulong object);
	ks_unused GetObjectSize;
	ks_ulong (*GetAttributeValue)(ks_ulong session, ks_ulong object, struct ks_attribute *template, ks_ulong count);
	ks_unused SetAttributeValue;
	ks_unused FindObjectsInit, FindObjects, FindObjectsFinal;
	ks_unused EncryptInit, Encrypt, EncryptUpdate, EncryptFinal;
	ks_ulong (*DecryptInit)(ks_ulong session, struct ks_mechanism *mechanism, ks_ulong key);
	ks_ulong (*Decrypt)(ks_ulong session, ks_byte *data, ks_ulong data_len, ks_byte *plain, ks_ulong *plain_len);
	ks_unused DecryptUpdate, DecryptFinal;
	ks_unused DigestInit, Digest, DigestUpdate, DigestKey, DigestFinal;
	ks_ulong (*SignInit)(ks_ulong session, struct ks_mechanism *mechanism, ks_ulong key);
	ks_ulong (*Sign)(ks_ulong session, ks_byte *data, ks_ulong data_len, ks_byte *signature, ks_ulong *signature_len);
	ks_unused SignUpdate, SignFinal, SignRecoverInit, SignRecover;
	ks_unused VerifyInit, Verify, VerifyUpdate, VerifyFinal, VerifyRecoverInit, VerifyRecover;
	ks_unused DigestEncryptUpdate, DecryptDigestUpdate, SignEncryptUpdate, DecryptVerifyUpdate;
	ks_unused GenerateKey, GenerateKeyPair, WrapKey, UnwrapKey;
	ks_ulong (*DeriveKey)(ks_ulong session, struct ks_mechanism *mechanism, ks_ulong base,
		struct ks_attribute *template, ks_ulong count, ks_ulong *key);
};

struct ks_signed {
	ks_ulong rv;      /* CKR_OK, or what the function that failed returned */
	ks_ulong in_sign; /* 0: C_SignInit failed; 1: C_Sign was called */
	ks_ulong len;     /* of the signature, as the module says */
};

struct ks_decrypted {
	ks_ulong rv;   /* CKR_OK, or what the function that failed returned */
	ks_ulong step; /* which function that was: 0, 1 and so on, as the function below calls them */
	ks_ulong len;  /* of the plaintext, as the module says */
};

/*
 * ks_load opens the module at path and returns its functions. On failure it returns NULL
 * and writes the reason, ended by 0, to why. The handle is for ks_unload.
 */
struct ks_functions *ks_load(const char *path, void **handle, char *why, size_t why_len);
void ks_unload(void *handle);

/* ks_list_of returns the functions that miekg/pkcs11 v1.1.2 calls by this struct ctx of its. */
struct ks_functions *ks_list_of(void *ctx);

ks_ulong ks_login(struct ks_functions *f, ks_ulong session, ks_ulong user, ks_byte *pin, ks_ulong pin_len);
ks_ulong ks_init_token(struct ks_functions *f, ks_ulong slot, ks_byte *pin, ks_ulong pin_len, ks_byte *label);
ks_ulong ks_init_pin(struct ks_functions *f, ks_ulong session, ks_byte *pin, ks_ulong pin_len);

/*
 * ks_sign calls C_SignInit and C_Sign. hash 0 means a mechanism without parameters;
 * otherwise hash, mgf and salt_len are those of CKM_RSA_PKCS_PSS.
 */
struct ks_signed ks_sign(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_ulong hash, ks_ulong mgf, ks_ulong salt_len,
	ks_byte *data, ks_ulong data_len, ks_byte *signature, ks_ulong signature_len);

/*
 * ks_decrypt calls C_DecryptInit and C_Decrypt with CKM_RSA_PKCS_OAEP, without a label. They get the hash
 * and mgf in their parameters.
 */
struct ks_decrypted ks_decrypt(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_ulong hash, ks_ulong mgf,
	ks_byte *data, ks_ulong data_len, ks_byte *plain, ks_ulong plain_len);

/*
 * ks_derive calls C_DeriveKey with CKM_ECDH1_DERIVE and no key derivation function, for a secret of secret_len bytes that is
 * the session's; C_GetAttributeValue, for its value; and C_DestroyObject, if there is a secret, whatever
 * came before. What is written is at the front of secret, and may be shorter.
 */
struct ks_decrypted ks_derive(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_byte *point, ks_ulong point_len, ks_byte *secret, ks_ulong secret_len);

#endif
