/*
 * SoftHSM with one fault, named by the environment variable FAULT. Built by the tests.
 * The function list is taken as what it is in memory: a version and pointers.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
struct attribute { ulong_t type; void *value; ulong_t len; };

enum { GetSessionInfo = 15, Login = 18, GetAttributeValue = 24, DestroyObject = 22,
       Sign = 43, GenerateKeyPair = 59, COUNT = 68 };

struct list { unsigned char version[2]; ulong_t (*f[COUNT])(); };

static struct list real, ours;
static const char *fault;
static atomic_int signing, generating, calls;

static int is(const char *name) { return strcmp(fault, name) == 0; }

static ulong_t get_session_info(ulong_t s, ulong_t *info)
{
	ulong_t rv = real.f[GetSessionInfo](s, info);
	if (is("login-lost"))
		info[1] = 0; /* CKS_RO_PUBLIC_SESSION */
	return rv;
}

static ulong_t login(ulong_t s, ulong_t user, void *pin, ulong_t len)
{
	return is("already-logged-in") ? 0x100 : real.f[Login](s, user, pin, len);
}

static ulong_t get_attribute_value(ulong_t s, ulong_t o, struct attribute *a, ulong_t n)
{
	ulong_t i;
	for (i = 0; i < n; i++)
		if (is("no-sign-recover") && a[i].type == 0x109)
			return 0x12; /* CKR_ATTRIBUTE_TYPE_INVALID */
	return real.f[GetAttributeValue](s, o, a, n);
}

static ulong_t destroy_object(ulong_t s, ulong_t o)
{
	if (signing > 0)
		abort(); /* as some modules do */
	return real.f[DestroyObject](s, o);
}

static ulong_t sign(ulong_t s, void *data, ulong_t data_len, void *sig, ulong_t *sig_len)
{
	ulong_t rv;
	if (is("sign-hangs")) {
		close(creat(getenv("HANGS"), 0600)); /* tells the test */
		for (;;)
			pause();
	}
	if (is("sign-fails-once") && calls++ == 0)
		return 0x30; /* CKR_DEVICE_ERROR; the operation is still active */
	signing++;
	if (is("sign-is-slow"))
		usleep(20000);
	rv = real.f[Sign](s, data, data_len, sig, sig_len);
	signing--;
	if (is("sign-lies"))
		*sig_len = 1 << 20;
	return rv;
}

static ulong_t generate_key_pair(ulong_t s, void *m, struct attribute *pub, ulong_t npub,
	struct attribute *priv, ulong_t npriv, ulong_t *hpub, ulong_t *hpriv)
{
	ulong_t i, rv;
	for (i = 0; i < npriv; i++)
		if (is("no-modifiable") && priv[i].type == 0x170)
			return 0xD1; /* CKR_TEMPLATE_INCONSISTENT */
	if (generating++ > 0)
		abort();
	if (is("generate-is-slow"))
		usleep(20000);
	rv = real.f[GenerateKeyPair](s, m, pub, npub, priv, npriv, hpub, hpriv);
	generating--;
	if (rv == 0 && is("generate-lies"))
		return 0xD1; /* it did the work all the same */
	return rv;
}

ulong_t C_GetFunctionList(struct list **out)
{
	struct list *softhsm;
	ulong_t (*get)(struct list **);
	void *h = dlopen(getenv("SOFTHSM"), RTLD_NOW);

	fault = getenv("FAULT");
	if (is("no-list"))
		return 5; /* CKR_GENERAL_ERROR */
	get = (ulong_t (*)(struct list **))dlsym(h, "C_GetFunctionList");
	get(&softhsm);
	real = ours = *softhsm;
	if (is("gap"))
		ours.f[Sign] = NULL;
	else
		ours.f[Sign] = (ulong_t (*)())sign;
	ours.f[GetSessionInfo] = (ulong_t (*)())get_session_info;
	ours.f[Login] = (ulong_t (*)())login;
	ours.f[GetAttributeValue] = (ulong_t (*)())get_attribute_value;
	ours.f[DestroyObject] = (ulong_t (*)())destroy_object;
	ours.f[GenerateKeyPair] = (ulong_t (*)())generate_key_pair;
	*out = &ours;
	return 0;
}
