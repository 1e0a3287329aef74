/* The system, for Linux, macOS, Windows, and for none. */
#include "platform.h"

#include "edgecvx.h"

int ecvx_fail(char *error, const char *text, int64_t number) {
    if (!error) return 1;
    size_t at = 0;
    for (; *text && at + 1 < ECVX_ERROR; text++) {
        if (*text != '#') {
            error[at++] = *text;
            continue;
        }
        char digits[24];
        int count = 0;
        uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
        do digits[count++] = (char)('0' + rest % 10);
        while (rest /= 10);
        if (number < 0) digits[count++] = '-';
        while (count && at + 1 < ECVX_ERROR) error[at++] = digits[--count];
    }
    error[at] = 0;
    return 1;
}

#if defined(ECVX_FREESTANDING)

#ifdef __wasm__
/* A heap for a page that opens a model and keeps it: few blocks, one behind the other; a new one is put where it fits first. */
extern unsigned char __heap_base;
static size_t heap_bytes; /* of all blocks */

/* At the beginning of a block: its bytes, these included, and whether it is free. */
typedef struct {
    _Alignas(16) size_t bytes;
    size_t is_free;
} HeapBlock;

/* The first free block with room; or where one can be put behind the last. Free ones side by side become one. */
static HeapBlock *heap_find(size_t bytes, HeapBlock *first) {
    HeapBlock *block = first, *end = (HeapBlock *)((size_t)first + heap_bytes), *next;
    for (; block != end; block = next) {
        next = (HeapBlock *)((size_t)block + block->bytes);
        if (!block->is_free) continue;
        for (; next != end && next->is_free; next = (HeapBlock *)((size_t)block + block->bytes)) block->bytes += next->bytes;
        if (block->bytes >= bytes || next == end) break;
    }
    return block;
}

void *malloc(size_t size) {
    HeapBlock *first = (HeapBlock *)(((size_t)&__heap_base + 15) / 16 * 16);
    const size_t bytes = (size + sizeof(HeapBlock) + 15) / 16 * 16;
    HeapBlock *block = heap_find(bytes, first);
    const size_t before = (size_t)block - (size_t)first, end = (size_t)block + bytes;
    if (bytes < size || end < bytes) return NULL;
    if (before < heap_bytes && block->bytes >= bytes) { /* what is left of it is the next one's */
        if (block->bytes > bytes) *(HeapBlock *)end = (HeapBlock){block->bytes - bytes, 1};
    } else {
        const size_t have = __builtin_wasm_memory_size(0) << 16;
        if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1) return NULL;
        heap_bytes = before + bytes;
    }
    *block = (HeapBlock){bytes, 0};
    return block + 1;
}

void free(void *memory) {
    if (memory) ((HeapBlock *)memory)[-1].is_free = 1;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    unsigned char *t = to;
    const unsigned char *f = from;
    while (size--) *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t size) {
    unsigned char *t = to;
    while (size--) *t++ = (unsigned char)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;
    for (; size; size--, x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}
#endif

ecvx_mapping ecvx_map(const char *path, char *error) {
    (void)path;
    ecvx_fail(error, "this build of the engine reads no files: open the model from memory", 0);
    return (ecvx_mapping){0};
}

void ecvx_unmap(ecvx_mapping mapping) { (void)mapping; }

struct ecvx_lock {
    int unused;
};
ecvx_lock *ecvx_lock_make(void) { return malloc(sizeof(ecvx_lock)); }
void ecvx_lock_take(ecvx_lock *lock) { (void)lock; }
void ecvx_lock_give(ecvx_lock *lock) { (void)lock; }
void ecvx_lock_drop(ecvx_lock *lock) { free(lock); }
void ecvx_lock_shared(void) {}
void ecvx_unlock_shared(void) {}

#ifndef __wasm_atomics__ /* else see lent_threads.c */
struct ecvx_team {
    int unused;
};
ecvx_team *ecvx_team_make(int threads) { return threads == 1 ? malloc(sizeof(ecvx_team)) : NULL; }
void ecvx_team_run(ecvx_team *team, void (*job)(void *what, int thread), void *what) {
    (void)team;
    job(what, 0);
}
void ecvx_team_meet(ecvx_team *team, void (*serial)(void *what), void *what) {
    (void)team;
    if (serial) serial(what);
}
void ecvx_team_drop(ecvx_team *team) { free(team); }
#endif

#else

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef SRWLOCK Mutex;
typedef CONDITION_VARIABLE Condition;
typedef HANDLE Thread;
static SRWLOCK shared_lock = SRWLOCK_INIT;

static int mutex_make(Mutex *m) { return InitializeSRWLock(m), 1; }
static void mutex_take(Mutex *m) { AcquireSRWLockExclusive(m); }
static void mutex_give(Mutex *m) { ReleaseSRWLockExclusive(m); }
static void mutex_drop(Mutex *m) { (void)m; }
static int condition_make(Condition *c) { return InitializeConditionVariable(c), 1; }
static void condition_wait(Condition *c, Mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void condition_wake(Condition *c) { WakeAllConditionVariable(c); }
static void condition_drop(Condition *c) { (void)c; }
static int thread_start(Thread *t, DWORD(WINAPI *body)(void *), void *what) {
    *t = CreateThread(NULL, 0, body, what, 0, NULL);
    return *t != NULL;
}
static void thread_join(Thread t) {
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}
#define THREAD_BODY(name, argument) static DWORD WINAPI name(void *argument)

ecvx_mapping ecvx_map(const char *path, char *error) {
    ecvx_mapping none = {0}, found = {0};
    WCHAR wide[4096];
    if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, 4096))
        return ecvx_fail(error, "the path of the model is no text in UTF-8", 0), none;
    HANDLE file = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return ecvx_fail(error, "the model cannot be opened: error #", GetLastError()), none;
    LARGE_INTEGER size;
    HANDLE view = GetFileSizeEx(file, &size) && size.QuadPart > 0 && (uint64_t)size.QuadPart <= SIZE_MAX / 2
                      ? CreateFileMappingW(file, NULL, PAGE_READONLY, 0, 0, NULL)
                      : NULL;
    if (view) {
        found.bytes = MapViewOfFile(view, FILE_MAP_READ, 0, 0, 0);
        CloseHandle(view);
    }
    CloseHandle(file);
    if (!found.bytes) return ecvx_fail(error, "the model cannot be read: it is empty or no file", 0), none;
    found.size = (size_t)size.QuadPart;
    found.mapped = 1;
    return found;
}

void ecvx_unmap(ecvx_mapping mapping) {
    if (mapping.mapped) UnmapViewOfFile(mapping.bytes);
}
#else
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef pthread_mutex_t Mutex;
typedef pthread_cond_t Condition;
typedef pthread_t Thread;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static int mutex_make(Mutex *m) { return !pthread_mutex_init(m, NULL); }
static void mutex_take(Mutex *m) { pthread_mutex_lock(m); }
static void mutex_give(Mutex *m) { pthread_mutex_unlock(m); }
static void mutex_drop(Mutex *m) { pthread_mutex_destroy(m); }
static int condition_make(Condition *c) { return !pthread_cond_init(c, NULL); }
static void condition_wait(Condition *c, Mutex *m) { pthread_cond_wait(c, m); }
static void condition_wake(Condition *c) { pthread_cond_broadcast(c); }
static void condition_drop(Condition *c) { pthread_cond_destroy(c); }
static int thread_start(Thread *t, void *(*body)(void *), void *what) { return !pthread_create(t, NULL, body, what); }
static void thread_join(Thread t) { pthread_join(t, NULL); }
#define THREAD_BODY(name, argument) static void *name(void *argument)

ecvx_mapping ecvx_map(const char *path, char *error) {
    ecvx_mapping none = {0}, found = {0};
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return ecvx_fail(error, "the model cannot be opened: error #", errno), none;
    struct stat about;
    if (fstat(file, &about) || !S_ISREG(about.st_mode) || about.st_size <= 0 || (uint64_t)about.st_size > SIZE_MAX / 2) {
        close(file);
        return ecvx_fail(error, "the model cannot be read: it is empty or no file", 0), none;
    }
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    const int reason = errno;
    close(file);
    if (bytes == MAP_FAILED) return ecvx_fail(error, "the model cannot be mapped: error #", reason), none;
    found.bytes = bytes;
    found.size = (size_t)about.st_size;
    found.mapped = 1;
    return found;
}

void ecvx_unmap(ecvx_mapping mapping) {
    if (mapping.mapped) munmap((void *)(uintptr_t)mapping.bytes, mapping.size);
}
#endif

#ifdef _WIN32
void ecvx_lock_shared(void) { AcquireSRWLockExclusive(&shared_lock); }
void ecvx_unlock_shared(void) { ReleaseSRWLockExclusive(&shared_lock); }
#else
void ecvx_lock_shared(void) { pthread_mutex_lock(&shared_lock); }
void ecvx_unlock_shared(void) { pthread_mutex_unlock(&shared_lock); }
#endif

struct ecvx_lock {
    Mutex mutex;
};

ecvx_lock *ecvx_lock_make(void) {
    ecvx_lock *lock = malloc(sizeof *lock);
    if (lock && !mutex_make(&lock->mutex)) {
        free(lock);
        return NULL;
    }
    return lock;
}
void ecvx_lock_take(ecvx_lock *lock) { mutex_take(&lock->mutex); }
void ecvx_lock_give(ecvx_lock *lock) { mutex_give(&lock->mutex); }
void ecvx_lock_drop(ecvx_lock *lock) {
    if (!lock) return;
    mutex_drop(&lock->mutex);
    free(lock);
}

/* A few thousand looks, some tens of microseconds, before a thread goes to sleep: the others are never far behind
 * within a run, and a board that is busy with something else gets its processor back. */
enum { LOOKS = 4000, MOST_THREADS = 256 };

typedef struct {
    ecvx_team *team;
    int number;
} Member;

struct ecvx_team {
    /* What some look at all the time lies apart from what others write. */
    _Alignas(64) _Atomic unsigned job_number; /* grows by one when there is a job */
    _Atomic unsigned meeting;                 /* grows by one when all have met */
    _Alignas(64) _Atomic int waiting;         /* for the others, in a meeting */
    _Alignas(64) _Atomic int sleeping;        /* those that have looked long enough */
    _Atomic int ending;
    int threads, started; /* the caller included; and those beside it */
    void (*job)(void *what, int thread);
    void *what;
    Mutex mutex;
    Condition woken;
    Thread thread[MOST_THREADS];
    Member member[MOST_THREADS];
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until a counter is no longer what it was. */
static void await_change(ecvx_team *team, _Atomic unsigned *counter, unsigned before) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(counter, memory_order_acquire) != before) return;
        relax();
    }
    mutex_take(&team->mutex);
    atomic_fetch_add(&team->sleeping, 1); /* before the last look: who changes the counter then sees a sleeper */
    while (atomic_load(counter) == before) condition_wait(&team->woken, &team->mutex);
    atomic_fetch_sub(&team->sleeping, 1);
    mutex_give(&team->mutex);
}

static void change(ecvx_team *team, _Atomic unsigned *counter) {
    atomic_fetch_add(counter, 1);
    if (!atomic_load(&team->sleeping)) return;
    mutex_take(&team->mutex);
    condition_wake(&team->woken);
    mutex_give(&team->mutex);
}

THREAD_BODY(work, argument) {
    const Member member = *(const Member *)argument;
    ecvx_team *team = member.team;
    unsigned seen = 0;
    for (;;) {
        await_change(team, &team->job_number, seen);
        seen++;
        if (atomic_load(&team->ending)) return 0;
        team->job(team->what, member.number);
        ecvx_team_meet(team, NULL, NULL);
    }
}

ecvx_team *ecvx_team_make(int threads) {
    if (threads < 1 || threads > MOST_THREADS) return NULL;
    ecvx_team *team = ecvx_zeros(sizeof *team);
    if (!team) return NULL;
    team->threads = threads;
    if (!mutex_make(&team->mutex)) {
        ecvx_free(team);
        return NULL;
    }
    if (!condition_make(&team->woken)) {
        mutex_drop(&team->mutex);
        ecvx_free(team);
        return NULL;
    }
    for (int i = 1; i < threads; i++) {
        team->member[i] = (Member){team, i};
        if (!thread_start(&team->thread[i], work, &team->member[i])) {
            ecvx_team_drop(team);
            return NULL;
        }
        team->started++;
    }
    return team;
}

void ecvx_team_run(ecvx_team *team, void (*job)(void *what, int thread), void *what) {
    team->job = job;
    team->what = what;
    if (team->threads > 1) change(team, &team->job_number);
    job(what, 0);
    ecvx_team_meet(team, NULL, NULL);
}

void ecvx_team_meet(ecvx_team *team, void (*serial)(void *what), void *what) {
    if (team->threads > 1) {
        const unsigned now = atomic_load_explicit(&team->meeting, memory_order_acquire);
        if (atomic_fetch_add(&team->waiting, 1) + 1 < team->threads) {
            await_change(team, &team->meeting, now);
            return;
        }
        atomic_store(&team->waiting, 0);
    }
    if (serial) serial(what);
    if (team->threads > 1) change(team, &team->meeting);
}

void ecvx_team_drop(ecvx_team *team) {
    if (!team) return;
    atomic_store(&team->ending, 1);
    change(team, &team->job_number);
    for (int i = 1; i <= team->started; i++) thread_join(team->thread[i]);
    condition_drop(&team->woken);
    mutex_drop(&team->mutex);
    ecvx_free(team);
}
#endif

void *ecvx_zeros(size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    unsigned char *raw = malloc(size + 128);
    if (!raw) return NULL;
    unsigned char *start = raw + (128 - (uintptr_t)raw % 64); /* 65 to 128 bytes behind, so there is room for a pointer */
    memcpy(start - sizeof raw, &raw, sizeof raw);
    memset(start, 0, size);
    return start;
}

void ecvx_free(void *memory) {
    unsigned char *raw;
    if (!memory) return;
    memcpy(&raw, (unsigned char *)memory - sizeof raw, sizeof raw);
    free(raw);
}
