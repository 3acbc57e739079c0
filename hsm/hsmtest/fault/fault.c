/*
 * A PKCS#11 module that forwards to the one at KEYSETD_FAULT_MODULE, and does what the
 * rules in the control file at KEYSETD_FAULT_CONTROL say. The file is mapped and shared: the
 * test writes rules while modules in any number of processes take them, one call each. With no
 * rule a call costs one load. hsmtest.NewFaulty builds it against miekg/pkcs11's headers.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pkcs11go.h"

enum { RULES = 64, ATTRIBUTES = 4096 };
enum kind { FAIL = 1, AFTER, DELAY, HANG, CRASH, LATER };

/* What follows is laid out as in faultpage.go. */
struct rule {
	char function[32];
	/* Lower half: how many calls it is still for. Upper half: a number that no other rule
	   has, so that a call cannot take a rule that has taken the place of the one it read. */
	_Atomic uint64_t left;
	uint32_t kind, millis;
	uint64_t code;
};

struct page {
	_Atomic uint32_t rules;    /* how many of the array are in use */
	_Atomic uint32_t release;  /* changes when calls that hang shall go on */
	_Atomic uint32_t taken;    /* how many calls took a rule */
	_Atomic uint32_t recorded; /* length of attributes, once they are complete */
	struct rule rule[RULES];
	unsigned char attributes[ATTRIBUTES]; /* of the key pair that LATER is to make */
};

static struct page *page;
static CK_FUNCTION_LIST *real, ours;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pause_for(uint32_t millis)
{
	struct timespec t = { millis / 1000, millis % 1000 * 1000000L };

	while (nanosleep(&t, &t) != 0)
		;
}

/* take tells whether a rule is there for the function, and takes one call from it. */
static int take(const char *function, struct rule *r)
{
	uint32_t i, n = atomic_load_explicit(&page->rules, memory_order_acquire);

	for (i = 0; i < n && i < RULES; i++) {
		uint64_t left = atomic_load(&page->rule[i].left);
		while ((uint32_t)left > 0) {
			memcpy(r, &page->rule[i], sizeof *r);
			if (strncmp(r->function, function, sizeof r->function) != 0)
				break;
			if (atomic_compare_exchange_weak(&page->rule[i].left, &left, left - 1))
				return 1;
		}
	}
	return 0;
}

/* before does what a rule wants done before the call, and tells whether the call is made. */
static int before(const struct rule *r)
{
	uint32_t release = atomic_load(&page->release);

	atomic_fetch_add(&page->taken, 1);
	switch (r->kind) {
	case DELAY:
		pause_for(r->millis);
		return 1;
	case HANG:
		while (atomic_load(&page->release) == release)
			pause_for(1);
		return 1;
	case CRASH:
		signal(SIGABRT, SIG_DFL); /* Go's handler would print a page */
		abort();
	}
	return r->kind == AFTER;
}

static uint32_t record(uint32_t at, CK_ATTRIBUTE *a, CK_ULONG n)
{
	CK_ULONG i;

	for (i = 0; i < n; i++) {
		uint32_t head[2] = { a[i].type, a[i].ulValueLen };
		if (a[i].ulValueLen > ATTRIBUTES - at - sizeof head)
			abort(); /* the test shall not believe in half a template */
		memcpy(page->attributes + at, head, sizeof head);
		memcpy(page->attributes + at + sizeof head, a[i].pValue, a[i].ulValueLen);
		at += sizeof head + a[i].ulValueLen;
	}
	return at;
}

/* FORWARD defines the function of that name, which calls the real one or does as a rule says. */
#define FORWARD(name, params, args, recording)                           \
	static CK_RV f_##name params                                     \
	{                                                                \
		struct rule r = { .kind = 0 };                           \
		CK_RV rv = CKR_OK;                                       \
		if (!take(#name, &r))                                    \
			return real->name args;                          \
		recording;                                               \
		if (before(&r))                                          \
			rv = real->name args;                            \
		return r.kind == FAIL || r.kind == LATER || (r.kind == AFTER && rv == CKR_OK) ? r.code : rv; \
	}
#define F(name, params, args) FORWARD(name, params, args, (void)0)

#define RECORD \
	if (r.kind == LATER) \
		atomic_store(&page->recorded, record(record(0, pub, npub), priv, npriv))

typedef CK_SESSION_HANDLE S;
typedef CK_OBJECT_HANDLE O;
typedef CK_ATTRIBUTE *A;
typedef CK_MECHANISM *M;
typedef CK_BYTE *B;
typedef CK_ULONG N;
typedef CK_ULONG *NP;

F(C_Initialize, (void *p), (p))
F(C_Finalize, (void *p), (p))
F(C_GetInfo, (CK_INFO *i), (i))
F(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *list, NP n), (present, list, n))
F(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *i), (slot, i))
F(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *i), (slot, i))
F(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, NP n), (slot, list, n))
F(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE t, CK_MECHANISM_INFO *i), (slot, t, i))
F(C_InitToken, (CK_SLOT_ID slot, B pin, N n, B label), (slot, pin, n, label))
F(C_InitPIN, (S s, B pin, N n), (s, pin, n))
F(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, S *s), (slot, flags, app, notify, s))
F(C_CloseSession, (S s), (s))
F(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))
F(C_GetSessionInfo, (S s, CK_SESSION_INFO *i), (s, i))
F(C_Login, (S s, CK_USER_TYPE user, B pin, N n), (s, user, pin, n))
F(C_Logout, (S s), (s))
F(C_CreateObject, (S s, A a, N n, O *o), (s, a, n, o))
F(C_DestroyObject, (S s, O o), (s, o))
F(C_GetAttributeValue, (S s, O o, A a, N n), (s, o, a, n))
F(C_SetAttributeValue, (S s, O o, A a, N n), (s, o, a, n))
F(C_FindObjectsInit, (S s, A a, N n), (s, a, n))
F(C_FindObjects, (S s, O *o, N max, NP n), (s, o, max, n))
F(C_FindObjectsFinal, (S s), (s))
F(C_DecryptInit, (S s, M m, O key), (s, m, key))
F(C_Decrypt, (S s, B in, N n, B out, NP on), (s, in, n, out, on))
F(C_SignInit, (S s, M m, O key), (s, m, key))
F(C_Sign, (S s, B data, N n, B sig, NP sn), (s, data, n, sig, sn))
FORWARD(C_GenerateKeyPair, (S s, M m, A pub, N npub, A priv, N npriv, O *hpub, O *hpriv),
	(s, m, pub, npub, priv, npriv, hpub, hpriv), RECORD)
F(C_DeriveKey, (S s, M m, O base, A a, N n, O *o), (s, m, base, a, n, o))
F(C_GenerateRandom, (S s, B out, N n), (s, out, n))

static CK_RV f_C_GetFunctionList(CK_FUNCTION_LIST **list);

static void load(void)
{
	CK_RV (*get)(CK_FUNCTION_LIST **);
	const char *path = getenv("KEYSETD_FAULT_MODULE"), *control = getenv("KEYSETD_FAULT_CONTROL");
	void *module = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	int fd = control != NULL ? open(control, O_RDWR | O_CLOEXEC) : -1;
	void *map = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (module == NULL || map == MAP_FAILED) {
		fprintf(stderr, "fault module: cannot open module %s or control file %s\n", path, control);
		return;
	}
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	page = map;
	if (get == NULL || get(&real) != CKR_OK)
		return;
	ours = *real;
	ours.C_GetFunctionList = f_C_GetFunctionList;
#define USE(name) ours.name = f_##name
	USE(C_Initialize), USE(C_Finalize), USE(C_GetInfo), USE(C_GetSlotList), USE(C_GetSlotInfo);
	USE(C_GetTokenInfo), USE(C_GetMechanismList), USE(C_GetMechanismInfo), USE(C_InitToken), USE(C_InitPIN);
	USE(C_OpenSession), USE(C_CloseSession), USE(C_CloseAllSessions), USE(C_GetSessionInfo), USE(C_Login);
	USE(C_Logout), USE(C_CreateObject), USE(C_DestroyObject), USE(C_GetAttributeValue), USE(C_SetAttributeValue);
	USE(C_FindObjectsInit), USE(C_FindObjects), USE(C_FindObjectsFinal), USE(C_DecryptInit), USE(C_Decrypt);
	USE(C_SignInit), USE(C_Sign), USE(C_GenerateKeyPair), USE(C_DeriveKey), USE(C_GenerateRandom);
}

static CK_RV f_C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	pthread_once(&once, load);
	if (real == NULL)
		return CKR_GENERAL_ERROR;
	*list = &ours;
	return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	return f_C_GetFunctionList(list);
}
