/*
 * resolve.c: name look-ups with a memory of the last good answers.
 *
 * getaddrinfo blocks as long as the name servers like, so this runs in workers, and several of them
 * may be inside at once: the mutex guards the memory only and is never held over a look-up. The
 * source is replaceable because a hanging or lying resolver is a fault that tests must inject.
 * Invariant: the memory holds each name once and at most RESOLVE_CACHE_MAX of them; what was used
 * longest ago goes first.
 */
#include "pgvigil/base/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct remembered {
    uint64_t hash;
    char *host;
    uint64_t last_use;
    struct resolve_answer answer;
};

typedef bool (*resolve_source)(const char *host, struct resolve_answer *out, struct err *err,
                               void *arg);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct remembered *memory[RESOLVE_CACHE_MAX];
static size_t memory_count;
static uint64_t use_counter;
static resolve_source replaced_source;
static void *replaced_arg;

bool resolve_needed(const char *host)
{
    if (!host || !*host || *host == '/' || *host == '@')
        return false;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return true;
    freeaddrinfo(list);
    return false;
}

static bool contains(const struct resolve_answer *answer, const char *addr)
{
    for (size_t i = 0; i < answer->count; i++) {
        if (str_eq(answer->addrs[i], addr))
            return true;
    }
    return false;
}

static void add_address(struct resolve_answer *out, const struct addrinfo *ai)
{
    char text[RESOLVE_TEXT_MAX];
    if (out->count == RESOLVE_ADDRS_MAX)
        return;
    if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
        return;
    if (!contains(out, text))
        str_copy(out->addrs[out->count++], RESOLVE_TEXT_MAX, text);
}

static bool ask_system(const char *host, struct resolve_answer *out, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0)
        return err_set(err, ERR_NET, "host '%s' cannot be resolved: %s", host, gai_strerror(rc));
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
        add_address(out, ai);
    freeaddrinfo(list);
    if (out->count == 0)
        return err_set(err, ERR_NET, "host '%s' has no address", host);
    return true;
}

static struct remembered *find_locked(const char *host, uint64_t hash)
{
    for (size_t i = 0; i < memory_count; i++) {
        if (memory[i]->hash == hash && str_eq(memory[i]->host, host))
            return memory[i];
    }
    return NULL;
}

/* A new entry, or the one that was used longest ago, made ready for another name. */
static struct remembered *take_slot_locked(void)
{
    if (memory_count < RESOLVE_CACHE_MAX)
        return memory[memory_count++] = mem_alloc(sizeof(struct remembered));
    struct remembered *oldest = memory[0];
    for (size_t i = 1; i < memory_count; i++) {
        if (memory[i]->last_use < oldest->last_use)
            oldest = memory[i];
    }
    mem_free(oldest->host);
    return oldest;
}

static void remember(const char *host, const struct resolve_answer *answer)
{
    uint64_t hash = str_hash(host, strlen(host), STR_HASH_SEED);
    pthread_mutex_lock(&mutex);
    struct remembered *entry = find_locked(host, hash);
    if (!entry) {
        entry = take_slot_locked();
        entry->host = mem_strdup(host);
        entry->hash = hash;
    }
    entry->answer = *answer;
    entry->last_use = ++use_counter;
    pthread_mutex_unlock(&mutex);
}

bool resolve_last_good(const char *host, struct resolve_answer *out)
{
    uint64_t hash = str_hash(host, strlen(host), STR_HASH_SEED);
    pthread_mutex_lock(&mutex);
    struct remembered *entry = find_locked(host, hash);
    if (entry) {
        *out = entry->answer;
        entry->last_use = ++use_counter;
    }
    pthread_mutex_unlock(&mutex);
    return entry != NULL;
}

static bool ask(const char *host, struct resolve_answer *out, struct err *err)
{
    pthread_mutex_lock(&mutex);
    resolve_source source = replaced_source;
    void *arg = replaced_arg;
    pthread_mutex_unlock(&mutex);
    *out = (struct resolve_answer){0};
    return source ? source(host, out, err, arg) : ask_system(host, out, err);
}

bool resolve_host(const char *host, struct resolve_answer *out, bool *stale, struct err *err)
{
    struct err failure = {0};
    *stale = false;
    if (ask(host, out, &failure)) {
        remember(host, out);
        return true;
    }
    *stale = resolve_last_good(host, out);
    if (!*stale)
        *err = failure;
    return *stale;
}

void resolve_set_source(bool (*source)(const char *host, struct resolve_answer *out,
                                       struct err *err, void *arg),
                        void *arg)
{
    pthread_mutex_lock(&mutex);
    replaced_source = source;
    replaced_arg = arg;
    pthread_mutex_unlock(&mutex);
}
