/*
 * The measure that keysetd is held against: a plain C loop over C_SignInit and C_Sign on
 * a digest, each thread with a session of its own.
 *
 *   cloop MODULE PINFILE ecdsa|rsa KEYID-HEX THREADS SECONDS
 *
 * prints {"signatures": n, "seconds": s, "cpu": s}.
 */
#include "native.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { CKM_RSA_PKCS = 1, CKM_ECDSA = 0x1041, CKO_PRIVATE_KEY = 3, CKA_CLASS = 0, CKA_ID = 0x102, SERIAL_SESSION = 4, OS_LOCKING = 2, USER = 1 };

struct attribute {
	ks_ulong type;
	void *value;
	ks_ulong len;
};

struct initialize_args {
	void *create, *destroy, *lock, *unlock;
	ks_ulong flags;
	void *reserved;
};

/* The functions that native.h has no types for, because keysetd leaves them to miekg/pkcs11. */
typedef ks_ulong (*initialize_fn)(struct initialize_args *);
typedef ks_ulong (*slot_list_fn)(ks_byte present, ks_ulong *slots, ks_ulong *count);
typedef ks_ulong (*open_session_fn)(ks_ulong slot, ks_ulong flags, void *app, void *notify, ks_ulong *session);
typedef ks_ulong (*find_init_fn)(ks_ulong session, struct attribute *template, ks_ulong count);
typedef ks_ulong (*find_fn)(ks_ulong session, ks_ulong *objects, ks_ulong max, ks_ulong *count);
typedef ks_ulong (*session_fn)(ks_ulong session);

static struct ks_functions *f;
static ks_ulong slot, mechanism;
static ks_byte id[64], digest_info[51];
static size_t id_len;
static struct timespec end;

static void die(const char *what, ks_ulong rv)
{
	fprintf(stderr, "cloop: %s: 0x%lX\n", what, rv);
	exit(1);
}

static void must(const char *what, ks_ulong rv)
{
	if (rv != 0)
		die(what, rv);
}

static ks_ulong open_session(ks_ulong slot)
{
	ks_ulong session;
	must("C_OpenSession", ((open_session_fn)f->OpenSession)(slot, SERIAL_SESSION, NULL, NULL, &session));
	return session;
}

static ks_ulong find_key(ks_ulong session)
{
	ks_ulong class = CKO_PRIVATE_KEY, key, count = 0;
	struct attribute template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_ID, id, id_len } };

	must("C_FindObjectsInit", ((find_init_fn)f->FindObjectsInit)(session, template, 2));
	must("C_FindObjects", ((find_fn)f->FindObjects)(session, &key, 1, &count));
	must("C_FindObjectsFinal", ((session_fn)f->FindObjectsFinal)(session));
	if (count != 1)
		die("no such key", count);
	return key;
}

static int before_end(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec);
}

static void *loop(void *count)
{
	ks_ulong session = open_session(slot), key = find_key(session);
	/* ECDSA signs the digest, RSA its DigestInfo (RFC 8017 section 9.2). */
	ks_byte *data = mechanism == CKM_RSA_PKCS ? digest_info : digest_info + 19;
	ks_ulong len = mechanism == CKM_RSA_PKCS ? 51 : 32;
	ks_byte signature[1024];

	while (before_end()) {
		struct ks_signed r = ks_sign(f, session, key, mechanism, 0, 0, 0, data, len, signature, sizeof signature);
		must("signing", r.rv);
		++*(long *)count;
	}
	return NULL;
}

static void login(const char *pin_file)
{
	struct initialize_args args = { .flags = OS_LOCKING };
	ks_ulong slots[16], n = 16, i;
	ks_byte pin[256];
	FILE *file = fopen(pin_file, "r");
	size_t len;

	if (file == NULL || (len = fread(pin, 1, sizeof pin, file)) == 0)
		die("reading the PIN", 0);
	fclose(file);
	if (pin[len - 1] == '\n')
		len--;
	must("C_Initialize", ((initialize_fn)f->Initialize)(&args));
	must("C_GetSlotList", ((slot_list_fn)f->GetSlotList)(1, slots, &n));
	for (i = 0; i < n; i++) {
		slot = slots[i];
		if (ks_login(f, open_session(slot), USER, pin, len) == 0)
			return; /* this session stays open, and with it the login */
	}
	die("no token takes the PIN", 0);
}

int main(int argc, char **argv)
{
	static const ks_byte sha256_prefix[19] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
	char why[512];
	void *handle;
	pthread_t threads[64];
	struct { long count; char alone_on_its_cache_line[120]; } counts[64] = { 0 };
	struct timespec start, now;
	struct rusage used;
	long total = 0;
	int i, n;

	if (argc != 7 || (n = atoi(argv[5])) < 1 || n > 64) {
		fprintf(stderr, "usage: %s MODULE PINFILE ecdsa|rsa KEYID-HEX THREADS SECONDS\n", argv[0]);
		return 2;
	}
	mechanism = strcmp(argv[3], "rsa") == 0 ? CKM_RSA_PKCS : CKM_ECDSA;
	memcpy(digest_info, sha256_prefix, sizeof sha256_prefix);
	for (id_len = 0; id_len < sizeof id && sscanf(argv[4] + 2 * id_len, "%2hhx", &id[id_len]) == 1; id_len++)
		;
	if ((f = ks_load(argv[1], &handle, why, sizeof why)) == NULL) {
		fprintf(stderr, "cloop: %s: %s\n", argv[1], why);
		return 1;
	}
	login(argv[2]);

	clock_gettime(CLOCK_MONOTONIC, &start);
	end = start;
	end.tv_sec += (time_t)atof(argv[6]);
	end.tv_nsec += (long)((atof(argv[6]) - (double)(time_t)atof(argv[6])) * 1e9);
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	for (i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, loop, &counts[i].count) != 0)
			die("pthread_create", 0);
	for (i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		total += counts[i].count;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	getrusage(RUSAGE_SELF, &used);
	printf("{\"signatures\": %ld, \"seconds\": %f, \"cpu\": %f}\n", total,
		(double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9,
		(double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
