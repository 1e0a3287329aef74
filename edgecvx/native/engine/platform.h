/* What the engine takes from the system: memory, a few bytes moved, a file mapped, threads.
 *
 * With ECVX_FREESTANDING no system header is read: memory comes from functions of these names in the program the
 * engine is part of (on wasm from its own linear memory), there is one thread, and models are opened from memory.
 */
#ifndef ECVX_PLATFORM_H
#define ECVX_PLATFORM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file of a model is little-endian, and it is read as it lies there"
#endif

#ifdef ECVX_FREESTANDING
void *malloc(size_t size);
void free(void *memory);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
#else
#include <stdlib.h>
#include <string.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* A text of which one part is a number: `#` in it is replaced. Returns 1, so that a failing function can return it. */
int ecvx_fail(char *error, const char *text, int64_t number);

/* A file, read-only: `bytes` is NULL where it could not be had. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    int mapped;
} ecvx_mapping;

ecvx_mapping ecvx_map(const char *path, char *error);
void ecvx_unmap(ecvx_mapping mapping);

/* Memory aligned to 64 bytes, all zero; NULL where there is none. */
void *ecvx_zeros(size_t size);
void ecvx_free(void *memory);

/* One lock for what all handles of a process share. */
void ecvx_lock_shared(void);
void ecvx_unlock_shared(void);

/* A lock of a handle. */
typedef struct ecvx_lock ecvx_lock;
ecvx_lock *ecvx_lock_make(void);
void ecvx_lock_take(ecvx_lock *lock);
void ecvx_lock_give(ecvx_lock *lock);
void ecvx_lock_drop(ecvx_lock *lock);

/* Threads that work on one job at a time. A job is a function that each of them calls with its own number; the caller
 * is number 0. */
typedef struct ecvx_team ecvx_team;
ecvx_team *ecvx_team_make(int threads);
void ecvx_team_run(ecvx_team *team, void (*job)(void *what, int thread), void *what);
/* Waits for all; `serial` is called by the last one to come, before anybody goes on. */
void ecvx_team_meet(ecvx_team *team, void (*serial)(void *what), void *what);
void ecvx_team_drop(ecvx_team *team);

#endif
