/*
 * A program that has two libraries like OpenSSL's, neither in its global scope, and uses both from many threads: each of them ends it when it is
 * given what belongs to the other one. It is compiled in parts: LIBRARY, PLUGIN (which is linked with one), and the program, whose arguments are
 * the plugins.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct method { int id; } METHOD;
typedef struct ssl SSL;
typedef void (*keylog)(const SSL *, const char *);
typedef struct ctx {
	int id;
	keylog log;
	void *data[8];
} CTX;
struct ssl { CTX *ctx; };

const METHOD *TLS_method(void);
CTX *SSL_CTX_new(const METHOD *);
void SSL_CTX_set_keylog_callback(CTX *, keylog);
keylog SSL_CTX_get_keylog_callback(const CTX *);
void handshake(CTX *);

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

#if defined(LIBRARY)
static const METHOD method = {LIBRARY};
const METHOD *TLS_method(void) { return &method; }
static void mine(int id) { if (id != LIBRARY) abort(); }
/* As OpenSSL 3 does: the last thing that one does is to call the other. */
CTX *SSL_CTX_new_ex(void *of, const char *properties, const METHOD *m)
{
	(void)of, (void)properties;
	mine(m->id);
	CTX *c = calloc(1, sizeof *c);
	c->id = LIBRARY;
	return c;
}
CTX *SSL_CTX_new(const METHOD *m) { return SSL_CTX_new_ex(0, 0, m); }
void SSL_CTX_set_keylog_callback(CTX *c, keylog l) { mine(c->id); c->log = l; }
keylog SSL_CTX_get_keylog_callback(const CTX *c) { mine(c->id); return c->log; }
int CRYPTO_get_ex_new_index(int class, long l, void *p, void *a, void *b, void *c)
{
	static int last;
	(void)l, (void)p, (void)a, (void)b, (void)c;
	if (class != 1)
		abort();
	return LIBRARY + __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED) % 4;
}
int SSL_CTX_set_ex_data(CTX *c, int i, void *p) { mine(c->id); c->data[i] = p; return 1; }
void *SSL_CTX_get_ex_data(const CTX *c, int i) { mine(c->id); return c->data[i]; }
CTX *SSL_get_SSL_CTX(const SSL *s) { mine(s->ctx->id); return s->ctx; }
void handshake(CTX *c)
{
	SSL s = {c};
	if (c->log)
		c->log(&s, "LIBRARY_" TEXT(LIBRARY) " 00 00");
}

#elif defined(PLUGIN)
static __thread int logged;
static void own(const SSL *s, const char *line) { (void)s; logged += !strcmp(line, "LIBRARY_" TEXT(PLUGIN) " 00 00"); }
void use(void)
{
	CTX *c = SSL_CTX_new(TLS_method());
	if (!c || SSL_CTX_get_keylog_callback(c))
		abort();
	handshake(c);
	SSL_CTX_set_keylog_callback(c, own);
	if (SSL_CTX_get_keylog_callback(c) != own)
		abort();
	handshake(c);
	SSL_CTX_set_keylog_callback(c, 0);
	handshake(c);
	if (logged != 1)
		abort();
}

#else
static void *thread(void *use)
{
	((void (*)(void))use)();
	return 0;
}
int main(int argc, char **argv)
{
	pthread_t all[16];
	int n = 0;
	for (int i = 1; i < argc; i++) {
		void *plugin = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		if (!plugin)
			return puts(dlerror()), 1;
		for (int j = 0; j < 8; j++)
			pthread_create(&all[n++], 0, thread, dlsym(plugin, "use"));
	}
	while (n > 0)
		pthread_join(all[--n], 0);
	return 0;
}
#endif
