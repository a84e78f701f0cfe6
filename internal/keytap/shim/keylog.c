/*
 * The key-log shim: preloaded into a program, it has OpenSSL write the secrets of its TLS sessions to the pipe that CULPRIT_KEYLOG names, also
 * if the program never asked for a key log.
 *
 * It stands before the functions by which programs make and set up an SSL_CTX, and gives each SSL_CTX a callback of its own. A callback that
 * the program sets is kept with the SSL_CTX, and called after the shim's.
 *
 * A program may have several copies of libssl, and such as are not in its global scope, as Python's. So the function behind the shim is looked
 * up for each call: in the object that has the method of the new SSL_CTX, or in the one that called and what that is linked with, else in the
 * global scope. What belongs to one libssl is in a struct library.
 *
 *      program --SSL_CTX_new--> shim --> libssl's SSL_CTX_new; set_keylog_callback(ours)
 *      libssl --ours(line)--> the pipe, and then the program's callback
 *
 * It includes no header, is linked with nothing, and refers to libc weakly, so that one file serves old and new versions of glibc, and musl. It
 * prints nothing, keeps no descriptor, takes no lock, and leaves errno alone. Without the variable it only passes calls through.
 */

#define EXPORT __attribute__((visibility("default")))
#define WEAK __attribute__((weak))

typedef void SSL, SSL_CTX, SSL_METHOD;
typedef void (*keylog)(const SSL *, const char *);

/* What is needed of libc: <dlfcn.h>, <fcntl.h>, <unistd.h>, <stdlib.h>, <errno.h>. */
typedef struct {
	const char *file;
	void *base;
	const char *name;
	void *address;
} Dl_info;

WEAK int dladdr(const void *, Dl_info *);
WEAK void *dlopen(const char *, int);
WEAK int dlclose(void *);
WEAK void *dlsym(void *, const char *);
WEAK char *dlerror(void);
WEAK int open(const char *, int, ...);
WEAK long write(int, const void *, unsigned long);
WEAK int close(int);
WEAK char *getenv(const char *);
WEAK int *__errno_location(void);

enum {
	RTLD_LAZY = 1,
	RTLD_NOLOAD = 4,
	O_RDWR = 2,
	O_NOCTTY = 0400,
	O_APPEND = 02000,
	O_CLOEXEC = 02000000,
	EINTR = 4,
};
#define RTLD_NEXT ((void *)-1)

/* CRYPTO_EX_INDEX_SSL_CTX of <openssl/crypto.h>, since 1.1.0. */
#define CLASS_SSL_CTX 1

/* A line has at most 31 + 1 + 64 + 1 + 128 characters, and a longer one is of no use. */
#define MAX_LINE 511
#define MAX_PATH 1023

static char path[MAX_PATH + 1];
static int path_known;

/* pipe_path returns where lines go, 0 if nowhere. Threads that come at once write the same. */
static const char *pipe_path(void)
{
	if (!__atomic_load_n(&path_known, __ATOMIC_ACQUIRE)) {
		const char *from = getenv ? getenv("CULPRIT_KEYLOG") : 0;
		unsigned n = 0;
		while (from && from[n] && n <= MAX_PATH)
			n++;
		if (n <= MAX_PATH)
			for (unsigned i = 0; i < n; i++)
				path[i] = from[i];
		__atomic_store_n(&path_known, 1, __ATOMIC_RELEASE);
	}
	return path[0] ? path : 0;
}

/* put writes a line at once. The pipe is opened for reading, too: so neither that nor the writing fails or waits when nobody reads any more. */
static void put(const char *line)
{
	char text[MAX_LINE + 1];
	unsigned n = 0;
	const char *to = pipe_path();
	if (!to || !open || !write || !close || !__errno_location)
		return;
	for (; line[n]; n++) {
		if (n == MAX_LINE)
			return;
		text[n] = line[n];
	}
	text[n++] = '\n';
	int before = *__errno_location();
	int fd = open(to, O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0) {
		while (write(fd, text, n) < 0 && *__errno_location() == EINTR)
			;
		close(fd);
	}
	*__errno_location() = before;
}

/* library is one libssl. Whoever comes fills it in, and all fill in the same. */
struct library {
	void *key; /* its SSL_CTX_new */
	void (*set)(SSL_CTX *, keylog);
	keylog (*get)(const SSL_CTX *);
	int (*keep)(SSL_CTX *, int, void *);
	void *(*kept)(const SSL_CTX *, int);
	SSL_CTX *(*ctx_of)(const SSL *);
	int index; /* by which the program's callback is kept, plus 1 */
	int ready;
};

#define LIBRARIES 4
static struct library libraries[LIBRARIES];

/* ours is what a callback does. */
static void ours(struct library *l, const SSL *ssl, const char *line)
{
	put(line);
	int index = __atomic_load_n(&l->index, __ATOMIC_ACQUIRE);
	SSL_CTX *ctx = index > 0 ? l->ctx_of(ssl) : 0;
	keylog theirs = ctx ? (keylog)l->kept(ctx, index - 1) : 0;
	if (theirs)
		theirs(ssl, line);
}

/* A callback isn't told which libssl calls it. */
static void ours0(const SSL *ssl, const char *line) { ours(&libraries[0], ssl, line); }
static void ours1(const SSL *ssl, const char *line) { ours(&libraries[1], ssl, line); }
static void ours2(const SSL *ssl, const char *line) { ours(&libraries[2], ssl, line); }
static void ours3(const SSL *ssl, const char *line) { ours(&libraries[3], ssl, line); }
static const keylog callbacks[LIBRARIES] = {ours0, ours1, ours2, ours3};

static keylog callback_of(struct library *l) { return callbacks[l - libraries]; }

/* in looks a function up in the object that has an address, and what that is linked with. */
static void *in(const void *address, const char *name, void *own)
{
	Dl_info info;
	void *f = 0, *object;
	if (address && dladdr(address, &info) && info.file && (object = dlopen(info.file, RTLD_LAZY | RTLD_NOLOAD))) {
		f = dlsym(object, name);
		dlclose(object);
	}
	return f == own ? 0 : f;
}

/* find looks up what a call would have reached without the shim, whose own function isn't it: by the method, which is data of the right libssl,
 * else by where the call came from. That may be wrong, since a call in a function's last line leaves no trace of the function. */
static void *find(const char *name, void *own, const SSL_METHOD *method, const void *caller)
{
	void *f;
	if (!dladdr || !dlopen || !dlclose || !dlsym || !dlerror)
		return 0;
	if ((f = in(method, name, own)) || (f = in(caller, name, own)))
		return f;
	f = dlsym(RTLD_NEXT, name);
	if (f == own)
		f = 0;
	for (unsigned i = 0; !f && i < LIBRARIES; i++)
		f = in(__atomic_load_n(&libraries[i].key, __ATOMIC_ACQUIRE), name, own);
	dlerror(); /* what wasn't found isn't the program's */
	return f;
}

EXPORT SSL_CTX *SSL_CTX_new(const SSL_METHOD *);

/* library_of returns the libssl that a call from a place goes to; 0: nothing is to be done there. */
static struct library *library_of(void *key, const SSL_METHOD *method, const void *caller)
{
	struct library *l = libraries;
	if (!pipe_path())
		return 0;
	if (!key)
		key = find("SSL_CTX_new", (void *)SSL_CTX_new, method, caller);
	if (!key)
		return 0;
	for (;; l++) {
		void *none = 0;
		if (l == libraries + LIBRARIES)
			return 0;
		if (__atomic_compare_exchange_n(&l->key, &none, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || none == key)
			break;
	}
	if (!__atomic_load_n(&l->ready, __ATOMIC_ACQUIRE)) {
		int (*reserve)(int, long, void *, void *, void *, void *) = in(key, "CRYPTO_get_ex_new_index", 0);
		l->set = in(key, "SSL_CTX_set_keylog_callback", 0);
		l->get = in(key, "SSL_CTX_get_keylog_callback", 0);
		l->keep = in(key, "SSL_CTX_set_ex_data", 0);
		l->kept = in(key, "SSL_CTX_get_ex_data", 0);
		l->ctx_of = in(key, "SSL_get_SSL_CTX", 0);
		if (reserve && l->keep && l->kept && l->ctx_of) {
			int none = 0, index = reserve(CLASS_SSL_CTX, 0, 0, 0, 0, 0);
			if (index >= 0)
				__atomic_compare_exchange_n(&l->index, &none, index + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		}
		__atomic_store_n(&l->ready, 1, __ATOMIC_RELEASE);
	}
	return l->set && l->get ? l : 0;
}

/* tap gives an SSL_CTX the shim's callback, keeping one that is there. */
static void tap(struct library *l, SSL_CTX *ctx)
{
	if (!l || !ctx)
		return;
	keylog there = l->get(ctx);
	int index = __atomic_load_n(&l->index, __ATOMIC_ACQUIRE);
	if (there == callback_of(l) || (there && (index <= 0 || !l->keep(ctx, index - 1, (void *)there))))
		return;
	l->set(ctx, callback_of(l));
}

EXPORT SSL_CTX *SSL_CTX_new(const SSL_METHOD *method)
{
	void *caller = __builtin_return_address(0);
	SSL_CTX *(*real)(const SSL_METHOD *) = find("SSL_CTX_new", (void *)SSL_CTX_new, method, caller);
	if (!real)
		return 0;
	SSL_CTX *ctx = real(method);
	tap(library_of((void *)real, method, caller), ctx);
	return ctx;
}

EXPORT SSL_CTX *SSL_CTX_new_ex(void *of, const char *properties, const SSL_METHOD *method)
{
	void *caller = __builtin_return_address(0);
	SSL_CTX *(*real)(void *, const char *, const SSL_METHOD *) = find("SSL_CTX_new_ex", (void *)SSL_CTX_new_ex, method, caller);
	if (!real)
		return 0;
	SSL_CTX *ctx = real(of, properties, method);
	tap(library_of(0, method, caller), ctx);
	return ctx;
}

EXPORT void SSL_CTX_set_keylog_callback(SSL_CTX *ctx, keylog theirs)
{
	void *caller = __builtin_return_address(0);
	void (*real)(SSL_CTX *, keylog) = find("SSL_CTX_set_keylog_callback", (void *)SSL_CTX_set_keylog_callback, 0, caller);
	struct library *l = library_of(0, 0, caller);
	int index = l ? __atomic_load_n(&l->index, __ATOMIC_ACQUIRE) : 0;
	if (!real)
		return;
	if (index > 0 && l->keep(ctx, index - 1, (void *)theirs))
		real(ctx, callback_of(l));
	else
		real(ctx, theirs);
}

EXPORT keylog SSL_CTX_get_keylog_callback(const SSL_CTX *ctx)
{
	void *caller = __builtin_return_address(0);
	keylog (*real)(const SSL_CTX *) = find("SSL_CTX_get_keylog_callback", (void *)SSL_CTX_get_keylog_callback, 0, caller);
	struct library *l = library_of(0, 0, caller);
	keylog there = real ? real(ctx) : 0;
	if (!l || there != callback_of(l))
		return there;
	int index = __atomic_load_n(&l->index, __ATOMIC_ACQUIRE);
	return index > 0 ? (keylog)l->kept(ctx, index - 1) : 0;
}
