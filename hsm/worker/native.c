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
		   f->SignInit == NULL || f->Sign == NULL) {
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
