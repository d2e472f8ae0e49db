/*
 * head_chunk.c: points in few bytes.
 *
 * Why so: most series of a monitor are constant or small integers at a steady interval, and the
 * target for the whole agent is 6 MiB. A point is one head byte (how the value is stored, and the
 * change of the interval when that is small), then what did not fit: a constant series polled with
 * less than 31 ms of jitter costs 1 byte a point, a counter 2 or 3, any double at most 10 and its
 * time. Byte-aligned on purpose: bit packing would save about a third of little.
 * Invariant: decode(append*(points)) gives the same times and the same 64 bits of each value.
 *
 * Head byte: bits 7-6 the value (0 as before, 1 integer difference as varint, 2 XOR bytes);
 * bits 5-0 the zigzag change of the interval, or 63: a varint follows.
 */
#include "head_parts.h"

#include <endian.h>
#include <math.h>

#include "pgvigil/base/mem.h"

#define DOD_FAR     63u
#define VALUE_SAME  0u
#define VALUE_INT   1u
#define VALUE_XOR   2u
#define INLINE      inline __attribute__((always_inline)) /* what is done for each point */
#define POINT_MAX   (1 + 10 + 10)
#define CHUNK_START 18                 /* 48 bytes with the header */
#define EXACT_INT   9007199254740992.0 /* 2^53 */

static INLINE uint64_t bits_of(double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

static INLINE double value_of(uint64_t u)
{
    double v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static INLINE int64_t unzigzag(uint64_t u)
{
    return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
}

static size_t put_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

static INLINE uint64_t get_varint(const uint8_t **p)
{
    uint64_t v = 0;

    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return v;
    }
}

/* An integer that a double holds exactly; -0 is not one, or its sign would be lost. */
static bool is_exact_int(double v)
{
    return fabs(v) < EXACT_INT && bits_of((double)(int64_t)v) == bits_of(v);
}

/* The low nibble counts the bytes, the high one the zero bytes cut off below them. */
static size_t put_xor(uint8_t *out, uint64_t x)
{
    unsigned low = (unsigned)__builtin_ctzll(x) / 8;
    unsigned bytes = 8 - low - (unsigned)__builtin_clzll(x) / 8;

    x >>= low * 8;
    out[0] = (uint8_t)(low << 4 | bytes);
    for (unsigned i = 0; i < bytes; i++)
        out[1 + i] = (uint8_t)(x >> (8 * i));
    return 1 + bytes;
}

/* The bytes that are there end with the chunk; `fast` says that eight more can be read anyway. */
static INLINE uint64_t get_xor(const uint8_t **p, bool fast)
{
    unsigned low = **p >> 4, bytes = **p & 15, above = 64 - 8 * bytes;
    uint64_t x = 0;

    (*p)++;
    if (fast) {
        memcpy(&x, *p, sizeof(x));
        *p += bytes;
        return le64toh(x) << above >> (above - 8 * low);
    }
    for (unsigned i = 0; i < bytes; i++)
        x |= (uint64_t) * (*p)++ << (8 * i);
    return x << (8 * low);
}

struct chunk *chunk_create(int64_t t, double v, struct chunk_tail *tail)
{
    struct chunk *c = mem_alloc(sizeof(*c) + CHUNK_START);

    *c = (struct chunk){.t_first = t, .t_last = t, .v_first = v, .n = 1, .cap = CHUNK_START};
    *tail = (struct chunk_tail){.t = t, .v = v};
    return c;
}

bool chunk_is_full(const struct chunk *c)
{
    return c->n == CHUNK_POINTS;
}

static struct chunk *resize(struct chunk *c, size_t cap)
{
    c = mem_realloc_array(c, 1, sizeof(*c) + cap);
    c->cap = (uint16_t)cap;
    return c;
}

struct chunk *chunk_append(struct chunk *c, struct chunk_tail *tail, int64_t t, double v)
{
    uint8_t point[POINT_MAX];
    size_t n = 1;
    int64_t dt = t - tail->t;
    uint64_t dod = zigzag(dt - tail->dt);
    unsigned kind = VALUE_XOR;

    if (dod >= DOD_FAR)
        n += put_varint(point + n, dod - DOD_FAR);
    if (bits_of(v) == bits_of(tail->v)) {
        kind = VALUE_SAME;
    } else if (is_exact_int(v) && is_exact_int(tail->v)) {
        kind = VALUE_INT;
        n += put_varint(point + n, zigzag((int64_t)v - (int64_t)tail->v));
    } else {
        n += put_xor(point + n, bits_of(v) ^ bits_of(tail->v));
    }
    point[0] = (uint8_t)(kind << 6 | (dod < DOD_FAR ? dod : DOD_FAR));

    if (c->used + n > c->cap)
        c = resize(c, (size_t)c->cap + c->cap / 2 + POINT_MAX);
    memcpy(c->data + c->used, point, n);
    c->used = (uint16_t)(c->used + n);
    c->n++;
    c->t_last = t;
    *tail = (struct chunk_tail){.t = t, .dt = dt, .v = v};
    return c;
}

struct chunk *chunk_shrink(struct chunk *c)
{
    return c->used == c->cap ? c : resize(c, c->used);
}

size_t chunk_bytes(const struct chunk *c)
{
    return sizeof(*c) + c->cap;
}

struct decoder {
    const uint8_t *p, *end;
    int64_t t, dt;
    uint64_t bits; /* of the value; as a double it would wander between two kinds of registers */
};

static INLINE struct decoder decoder_of(const struct chunk *c)
{
    return (struct decoder){
        .p = c->data, .end = c->data + c->used, .t = c->t_first, .bits = bits_of(c->v_first)};
}

static INLINE struct point decoded(const struct decoder *d)
{
    return (struct point){d->t, value_of(d->bits)};
}

static INLINE struct point decode_point(struct decoder *d, bool fast)
{
    const uint8_t *p = d->p;
    unsigned kind = *p >> 6;
    uint64_t dod = *p++ & 63;

    if (dod != 0) {
        if (dod == DOD_FAR)
            dod += get_varint(&p);
        d->dt += unzigzag(dod);
    }
    d->t += d->dt;
    if (kind == VALUE_INT)
        d->bits = bits_of((double)((int64_t)value_of(d->bits) + unzigzag(get_varint(&p))));
    else if (kind == VALUE_XOR)
        d->bits ^= get_xor(&p, fast);
    d->p = p;
    return decoded(d);
}

/* All but the last few points of a chunk go this way. */
static INLINE bool can_fast(const struct decoder *d)
{
    return d->end - d->p >= POINT_MAX + 8;
}

static void decode_rest(struct decoder d, struct point *out, size_t i, size_t n)
{
    for (; i < n && can_fast(&d); i++)
        out[i] = decode_point(&d, true);
    for (; i < n; i++)
        out[i] = decode_point(&d, false);
}

void chunk_decode(const struct chunk *c, struct point out[CHUNK_POINTS])
{
    struct decoder d = decoder_of(c);

    out[0] = decoded(&d);
    decode_rest(d, out, 1, c->n);
}

void chunk_decode_two(const struct chunk *a, const struct chunk *b,
                      struct point out_a[CHUNK_POINTS], struct point out_b[CHUNK_POINTS])
{
    struct decoder x = decoder_of(a), y = decoder_of(b);
    size_t both = a->n < b->n ? a->n : b->n, i = 1;

    out_a[0] = decoded(&x);
    out_b[0] = decoded(&y);
    for (; i < both && can_fast(&x) && can_fast(&y); i++) {
        out_a[i] = decode_point(&x, true);
        out_b[i] = decode_point(&y, true);
    }
    decode_rest(x, out_a, i, a->n);
    decode_rest(y, out_b, i, b->n);
}
