/*
 * net_deny.c: deny list over resolved addresses.
 *
 * A name can be made to point anywhere after the configuration was checked (DNS rebinding), so the
 * list is asked with the address that is about to be connected to. All is compared as IPv6, and
 * every way of writing an IPv4 address inside IPv6 (mapped, compatible, NAT64) is brought to the
 * mapped form first, or ::ffff:169.254.169.254 would walk past a rule for 169.254.0.0/16.
 */
#include "net_deny.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "pgvigil/base/str.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t nat64_prefix[12] = {0, 0x64, 0xff, 0x9b};
static const uint8_t zeros[16];

static void map_v4(const void *v4, uint8_t out[16])
{
    memcpy(out, mapped_prefix, 12);
    memcpy(out + 12, v4, 4);
}

/* :: and ::1 look like compatible forms of 0.0.0.0 and 0.0.0.1, but are their own addresses. */
static void normalise_v6(const uint8_t *v6, uint8_t out[16])
{
    bool is_compatible = memcmp(v6, zeros, 12) == 0 && (v6[12] || v6[13] || v6[14]);
    if (is_compatible || memcmp(v6, nat64_prefix, 12) == 0)
        map_v4(v6 + 12, out);
    else
        memcpy(out, v6, 16);
}

static bool to_bytes(const struct sockaddr *addr, uint8_t out[16])
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof(in));
        map_v4(&in.sin_addr, out);
        return true;
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr, sizeof(in6));
        normalise_v6(in6.sin6_addr.s6_addr, out);
        return true;
    }
    return false;
}

static bool parse_range(const char *cidr, struct net_range *out)
{
    char text[NET_TEXT_MAX];
    uint8_t raw[16];
    int64_t bits = -1;
    if (!str_copy(text, sizeof(text), cidr))
        return false;
    char *slash = strchr(text, '/');
    if (slash) {
        *slash = '\0';
        if (!str_parse_i64(slash + 1, 0, 128, &bits))
            return false;
    }
    if (inet_pton(AF_INET, text, raw) == 1) {
        map_v4(raw, out->addr);
        out->bits = 96 + (unsigned)(bits < 0 ? 32 : bits);
        return bits <= 32;
    }
    if (inet_pton(AF_INET6, text, out->addr) != 1)
        return false;
    out->bits = (unsigned)(bits < 0 ? 128 : bits);
    return true;
}

static bool range_contains(const struct net_range *range, const uint8_t addr[16])
{
    unsigned bytes = range->bits / 8, rest = range->bits % 8;
    if (memcmp(range->addr, addr, bytes) != 0)
        return false;
    unsigned mask = 0xffU << (8 - rest) & 0xffU;
    return rest == 0 || (range->addr[bytes] & mask) == (addr[bytes] & mask);
}

/* 0.0.0.0 and :: count as well: Linux connects them to the host itself. */
static bool is_loopback(const uint8_t addr[16])
{
    if (memcmp(addr, mapped_prefix, 12) == 0)
        return addr[12] == 127 || addr[12] == 0;
    return memcmp(addr, zeros, 15) == 0 && addr[15] <= 1;
}

bool net_deny_init(struct net_deny *deny, const char *const *cidrs, size_t count,
                   bool allow_loopback, struct err *err)
{
    deny->count = 0;
    deny->allow_loopback = allow_loopback;
    if (count > HTTP_DENY_MAX)
        return err_set(err, ERR_LIMIT, "deny list has more than %d entries", HTTP_DENY_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!parse_range(cidrs[i], &deny->ranges[deny->count++]))
            return err_set(err, ERR_INVALID, "deny entry '%s' is no address range", cidrs[i]);
    }
    return true;
}

bool net_deny_matches(const struct net_deny *deny, const struct sockaddr *addr)
{
    uint8_t bytes[16];
    if (!to_bytes(addr, bytes))
        return true;
    if (!deny->allow_loopback && is_loopback(bytes))
        return true;
    for (size_t i = 0; i < deny->count; i++) {
        if (range_contains(&deny->ranges[i], bytes))
            return true;
    }
    return false;
}

const char *net_format(const struct sockaddr *addr, char out[NET_TEXT_MAX])
{
    uint8_t bytes[16];
    str_copy(out, NET_TEXT_MAX, "?");
    if (!to_bytes(addr, bytes))
        return out;
    if (memcmp(bytes, mapped_prefix, 12) == 0)
        inet_ntop(AF_INET, bytes + 12, out, NET_TEXT_MAX);
    else
        inet_ntop(AF_INET6, bytes, out, NET_TEXT_MAX);
    return out;
}
