/* Threads of WebAssembly, which cannot start any: they are lent by whoever calls the engine.
 *
 * For each one the engine sets a place up, a stack and behind it a box in which it is given work. Another instance of this
 * module on the same memory puts its stack pointer there and calls ecvx_thread_work, which returns when threads are ended.
 * Places are made, and models opened, run and closed, by one thread alone: the one that made the memory.
 */
#if defined(ECVX_FREESTANDING) && defined(__wasm_atomics__)
#include "edgecvx.h"
#include "platform.h"

/* Some tenths of a millisecond of looking, before a thread sleeps: one that slept is put where it was woken from when no
 * processor is idle, behind the thread that waits for it. */
enum { LOOKS = 200000, MOST_THREADS = 256, STACK = 64 * 1024 };

/* Where a lent thread is given work. */
typedef struct LentThread {
    _Alignas(64) _Atomic unsigned job_number; /* grows by one when there is a job, or the end */
    _Atomic int sleeping;
    _Atomic unsigned done; /* as job_number, when the thread has left its last job */
    int number;            /* the lender's own thread is number 0 */
    ecvx_team *team;       /* whose job it is; NULL: the end */
    struct LentThread *next;
} LentThread;

static LentThread *lent_threads; /* the last one first */

struct ecvx_team {
    /* What some look at all the time lies apart from what others write. */
    _Alignas(64) _Atomic unsigned meeting; /* grows by one when all have met */
    _Atomic int sleeping;
    _Alignas(64) _Atomic int waiting; /* for the others, in a meeting */
    int threads;                      /* the caller included */
    void (*job)(void *what, int thread);
    void *what;
};

/* Until a counter is no longer what it was. */
static void await_change(_Atomic unsigned *counter, unsigned before, _Atomic int *sleeping) {
    for (int i = 0; i < LOOKS; i++)
        if (atomic_load_explicit(counter, memory_order_acquire) != before) return;
    atomic_fetch_add(sleeping, 1); /* before the last look: who changes the counter then sees a sleeper */
    while (atomic_load(counter) == before) __builtin_wasm_memory_atomic_wait32((int *)counter, (int)before, -1);
    atomic_fetch_sub(sleeping, 1);
}

static void change(_Atomic unsigned *counter, _Atomic int *sleeping) {
    atomic_fetch_add(counter, 1);
    if (atomic_load(sleeping)) __builtin_wasm_memory_atomic_notify((int *)counter, (unsigned)-1);
}

/* Until the lent threads of a team have left their last meeting, which they read of until then. */
static void await_leaving(int threads) {
    for (LentThread *t = lent_threads; t; t = t->next)
        for (unsigned done; t->number < threads && (done = atomic_load(&t->done)) != atomic_load(&t->job_number);)
            __builtin_wasm_memory_atomic_wait32((int *)&t->done, (int)done, 100000); /* nobody notifies: nanoseconds */
}

/* A place for one thread more; NULL where there is no memory. Its stack ends where the place begins. */
ECVX_API LentThread *ecvx_thread_make(void) {
    const int number = lent_threads ? lent_threads->number + 1 : 1;
    unsigned char *room = number < MOST_THREADS ? ecvx_zeros(STACK + sizeof(LentThread)) : NULL;
    if (!room) return NULL;
    LentThread *made = (LentThread *)(void *)(room + STACK);
    made->number = number;
    made->next = lent_threads;
    return lent_threads = made;
}

ECVX_API void ecvx_thread_work(LentThread *self) {
    for (unsigned seen = 0;; seen++) {
        await_change(&self->job_number, seen, &self->sleeping);
        ecvx_team *team = self->team;
        if (!team) return;
        team->job(team->what, self->number);
        ecvx_team_meet(team, NULL, NULL);
        atomic_store(&self->done, seen + 1);
    }
}

/* Lets all threads return; nothing is run with more than one from then on. */
ECVX_API void ecvx_threads_end(void) {
    await_leaving(MOST_THREADS);
    for (LentThread *t = lent_threads; t; t = t->next) {
        t->team = NULL;
        change(&t->job_number, &t->sleeping);
    }
    lent_threads = NULL; /* their places stay: who has them is about to read them */
}

ecvx_team *ecvx_team_make(int threads) {
    if (threads < 1 || threads > 1 + (lent_threads ? lent_threads->number : 0)) return NULL;
    ecvx_team *team = ecvx_zeros(sizeof *team);
    if (team) team->threads = threads;
    return team;
}

void ecvx_team_run(ecvx_team *team, void (*job)(void *what, int thread), void *what) {
    team->job = job;
    team->what = what;
    for (LentThread *t = lent_threads; t; t = t->next) {
        if (t->number >= team->threads) continue;
        t->team = team;
        change(&t->job_number, &t->sleeping);
    }
    job(what, 0);
    ecvx_team_meet(team, NULL, NULL);
}

void ecvx_team_meet(ecvx_team *team, void (*serial)(void *what), void *what) {
    if (team->threads > 1) {
        const unsigned now = atomic_load_explicit(&team->meeting, memory_order_acquire);
        if (atomic_fetch_add(&team->waiting, 1) + 1 < team->threads) {
            await_change(&team->meeting, now, &team->sleeping);
            return;
        }
        atomic_store(&team->waiting, 0);
    }
    if (serial) serial(what);
    if (team->threads > 1) change(&team->meeting, &team->sleeping);
}

void ecvx_team_drop(ecvx_team *team) {
    if (team) await_leaving(team->threads);
    ecvx_free(team);
}
#endif
