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

enum { OpenSession = 12, GetSessionInfo = 15, Login = 18, GetAttributeValue = 24, DestroyObject = 22,
       DecryptInit = 33, Decrypt = 34, SignInit = 42, Sign = 43, GenerateKeyPair = 59, DeriveKey = 62, COUNT = 68 };

struct list { unsigned char version[2]; ulong_t (*f[COUNT])(); };

static struct list real, ours;
static const char *fault;
static atomic_int signing, generating, calls, opened, active;
static atomic_ulong derived;

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
	ulong_t i, rv;
	for (i = 0; i < n; i++)
		if (is("no-sign-recover") && a[i].type == 0x109)
			return 0x12; /* CKR_ATTRIBUTE_TYPE_INVALID */
	rv = real.f[GetAttributeValue](s, o, a, n);
	if (rv == 0 && n == 1 && a[0].type == 0x11 && o == derived) {
		unsigned char *v = a[0].value;
		if (is("derive-lies"))
			a[0].len = 1 << 20;
		while (is("derive-strips") && a[0].len > 0 && v[0] == 0)
			memmove(v, v + 1, --a[0].len);
		if (is("derive-unreadable"))
			return 0x11; /* CKR_ATTRIBUTE_SENSITIVE */
	}
	return rv;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *app, void *notify, ulong_t *s)
{
	opened++;
	return real.f[OpenSession](slot, flags, app, notify, s);
}

/* A module whose failed C_Decrypt leaves the session in the middle of it. */
static ulong_t decrypt_init(ulong_t s, void *m, ulong_t key)
{
	if (is("decrypt-stays-active") && active == (int)s)
		return 0x90; /* CKR_OPERATION_ACTIVE */
	return real.f[DecryptInit](s, m, key);
}

static ulong_t sign_init(ulong_t s, void *m, ulong_t key)
{
	if (is("decrypt-stays-active") && active == (int)s)
		return 0x90;
	return real.f[SignInit](s, m, key);
}

static ulong_t decrypt(ulong_t s, void *in, ulong_t n, void *out, ulong_t *on)
{
	ulong_t rv = real.f[Decrypt](s, in, n, out, on);
	if (rv != 0)
		active = s;
	if (rv == 0 && is("decrypt-lies"))
		*on = 1 << 20;
	if (is("decrypt-loses"))
		return 0x30; /* CKR_DEVICE_ERROR */
	if (is("decrypt-vendor"))
		return 0x80000001;
	if (getenv("OPENED")) { /* tells the test how many sessions there have been */
		int fd = open(getenv("OPENED"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
		unsigned char b = opened;
		if (write(fd, &b, 1) == 1)
			close(fd);
	}
	return rv;
}

static ulong_t derive_key(ulong_t s, void *m, ulong_t base, struct attribute *a, ulong_t n, ulong_t *key)
{
	ulong_t rv, class;
	struct attribute left = { 0, &class, sizeof class };
	if (is("derive-is-tidy") && derived && real.f[GetAttributeValue](s, derived, &left, 1UL) == 0)
		return 5; /* the secret before is still there */
	rv = real.f[DeriveKey](s, m, base, a, n, key);
	if (rv == 0)
		derived = *key;
	return rv;
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
	ours.f[OpenSession] = (ulong_t (*)())open_session;
	ours.f[DecryptInit] = (ulong_t (*)())decrypt_init;
	ours.f[Decrypt] = (ulong_t (*)())decrypt;
	ours.f[SignInit] = (ulong_t (*)())sign_init;
	ours.f[DeriveKey] = (ulong_t (*)())derive_key;
	ours.f[GenerateKeyPair] = (ulong_t (*)())generate_key_pair;
	*out = &ours;
	return 0;
}
