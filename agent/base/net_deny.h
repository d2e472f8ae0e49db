/*
 * net_deny.h: which addresses outgoing requests must not reach. Pure; used by http_client.c.
 */
#ifndef PGVIGIL_AGENT_BASE_NET_DENY_H
#define PGVIGIL_AGENT_BASE_NET_DENY_H

#include <sys/socket.h>

#include "pgvigil/base/err.h"
#include "pgvigil/base/http_client.h"

#define NET_TEXT_MAX 64

/* IPv4 is kept as IPv6 mapped (::ffff:a.b.c.d), so that one comparison serves both. */
struct net_range {
    uint8_t addr[16];
    unsigned bits;
};

struct net_deny {
    struct net_range ranges[HTTP_DENY_MAX];
    size_t count;
    bool allow_loopback;
};

bool net_deny_init(struct net_deny *deny, const char *const *cidrs, size_t count,
                   bool allow_loopback, struct err *err) MUST_CHECK;
/* True for what must not be reached, also for families other than IPv4 and IPv6. */
bool net_deny_matches(const struct net_deny *deny, const struct sockaddr *addr);
/* Numeric text of an address; returns out. */
const char *net_format(const struct sockaddr *addr, char out[NET_TEXT_MAX]);

#endif
