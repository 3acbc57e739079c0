#include "native.h"

#include <dlfcn.h>
#include <stdio.h>

struct ks_functions *ks_load(const char *path, void **handle, char *why, size_t why_len)
{
	ks_ulong (*get)(struct ks_functions **);
	struct ks_functions *f = NULL;
	const char *reason = "";
	ks_ulong rv;
	/* RTLD_NOW: a symbol that is missing is an error here, not a crash later. */
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (h == NULL) {
		reason = dlerror();
		snprintf(why, why_len, "%s", reason != NULL ? reason : "dlopen gives no reason");
		return NULL;
	}
	*(void **)&get = dlsym(h, "C_GetFunctionList");
	if (get == NULL) {
		snprintf(why, why_len, "it has no function C_GetFunctionList");
	} else if ((rv = get(&f)) != 0) {
		snprintf(why, why_len, "its C_GetFunctionList returns CKR 0x%lX", rv);
	} else if (f == NULL || f->InitToken == NULL || f->InitPIN == NULL || f->Login == NULL ||
		   f->SignInit == NULL || f->Sign == NULL || f->DecryptInit == NULL || f->Decrypt == NULL ||
		   f->DeriveKey == NULL || f->GetAttributeValue == NULL || f->DestroyObject == NULL) {
		snprintf(why, why_len, "its function list has gaps");
	} else {
		*handle = h;
		return f;
	}
	dlclose(h);
	return NULL;
}

struct ks_functions *ks_list_of(void *ctx)
{
	struct { void *handle; struct ks_functions *sym; } *c = ctx;

	return c->sym;
}

void ks_unload(void *handle)
{
	dlclose(handle);
}

ks_ulong ks_login(struct ks_functions *f, ks_ulong session, ks_ulong user, ks_byte *pin, ks_ulong pin_len)
{
	return f->Login(session, user, pin, pin_len);
}

ks_ulong ks_init_token(struct ks_functions *f, ks_ulong slot, ks_byte *pin, ks_ulong pin_len, ks_byte *label)
{
	return f->InitToken(slot, pin, pin_len, label);
}

ks_ulong ks_init_pin(struct ks_functions *f, ks_ulong session, ks_byte *pin, ks_ulong pin_len)
{
	return f->InitPIN(session, pin, pin_len);
}

struct ks_signed ks_sign(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_ulong hash, ks_ulong mgf, ks_ulong salt_len,
	ks_byte *data, ks_ulong data_len, ks_byte *signature, ks_ulong signature_len)
{
	struct ks_pss pss = { hash, mgf, salt_len };
	struct ks_mechanism m = { mechanism, NULL, 0 };
	struct ks_signed result = { 0, 0, signature_len };

	if (hash != 0) {
		m.parameter = &pss;
		m.parameter_len = sizeof pss;
	}
	result.rv = f->SignInit(session, &m, key);
	if (result.rv == 0) {
		result.in_sign = 1;
		result.rv = f->Sign(session, data, data_len, signature, &result.len);
	}
	return result;
}

struct ks_decrypted ks_decrypt(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_ulong hash, ks_ulong mgf,
	ks_byte *data, ks_ulong data_len, ks_byte *plain, ks_ulong plain_len)
{
	struct ks_oaep oaep = { hash, mgf, 1 /* CKZ_DATA_SPECIFIED */, NULL, 0 };
	struct ks_mechanism m = { mechanism, &oaep, sizeof oaep };
	struct ks_decrypted result = { 0, 0, plain_len };

	result.rv = f->DecryptInit(session, &m, key);
	if (result.rv == 0) {
		result.step = 1;
		result.rv = f->Decrypt(session, data, data_len, plain, &result.len);
	}
	return result;
}

struct ks_decrypted ks_derive(struct ks_functions *f, ks_ulong session, ks_ulong key,
	ks_ulong mechanism, ks_byte *point, ks_ulong point_len, ks_byte *secret, ks_ulong secret_len)
{
	struct ks_ecdh1 ecdh = { 1 /* CKD_NULL */, 0, NULL, point_len, point };
	struct ks_mechanism m = { mechanism, &ecdh, sizeof ecdh };
	ks_ulong class = 4 /* CKO_SECRET_KEY */, type = 0x10 /* CKK_GENERIC_SECRET */, object = 0, rv;
	ks_byte yes = 1, no = 0;
	struct ks_attribute template[] = {
		{ 0x000, &class, sizeof class },           /* CKA_CLASS */
		{ 0x100, &type, sizeof type },             /* CKA_KEY_TYPE */
		{ 0x001, &no, 1 },                         /* CKA_TOKEN */
		{ 0x103, &no, 1 },                         /* CKA_SENSITIVE */
		{ 0x162, &yes, 1 },                        /* CKA_EXTRACTABLE */
		{ 0x161, &secret_len, sizeof secret_len }, /* CKA_VALUE_LEN */
	};
	struct ks_attribute value = { 0x011 /* CKA_VALUE */, secret, secret_len };
	struct ks_decrypted result = { 0, 0, 0 };

	result.rv = f->DeriveKey(session, &m, key, template, sizeof template / sizeof template[0], &object);
	if (result.rv != 0)
		return result;
	result.step = 1;
	result.rv = f->GetAttributeValue(session, object, &value, 1);
	result.len = value.value_len;
	rv = f->DestroyObject(session, object);
	if (result.rv == 0) {
		result.step = 2;
		result.rv = rv;
	}
	return result;
}
