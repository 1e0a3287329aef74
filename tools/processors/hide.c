/*
 * Hides instructions of the real processor from a program and from the programs it starts, at full speed:
 *
 *     EDGECVX_PROCESSOR=AVX2 LD_PRELOAD=libhide.so python …
 *
 * A program learns what its processor can do from CPUID and from /proc/cpuinfo. The kernel can be asked to let CPUID
 * fault (arch_prctl ARCH_SET_CPUID); the handler below executes it, takes away what the named class of processors does
 * not have, and goes on. Kernels that a runtime chooses by CPUID are then those of such a processor, executed by this
 * one: their numbers are that class's, and their times are this machine's times of that class's kernels.
 *
 * Linux, x86-64, a processor (or a hypervisor) with CPUID faulting. Where it is absent, or where the processor itself
 * is less than the class, the program ends with 97, and with 98 where nobody here knows the class.
 *
 * What stays: the C library has chosen its own memcpy and exp before this begins, and XGETBV does not fault. A program
 * that is linked statically never hears of this file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SET_CPUID = 0x1012, CANNOT = 97, BAD_NAME = 98 };
enum { EAX, EBX, ECX, EDX };

/* Groups of instructions, by the first class of processors that has them. */
enum {
    HASWELL = 1,     /* AVX, AVX2, FMA, F16C, BMI */
    SKYLAKE_SP = 2,  /* AVX-512: F, DQ, CD, BW, VL */
    ICE_LAKE = 4,    /* AVX-512: IFMA, VBMI and what came with them */
    GALOIS = 8,      /* GFNI, VAES, VPCLMULQDQ: Ice Lake, and Alder Lake without AVX-512 */
    VNNI = 16,       /* AVX512-VNNI */
    AVX_VNNI = 32,   /* Alder Lake */
    LATER = 64,      /* AMX, BF16 and FP16 in AVX-512, AVX10, the later VNNIs without AVX-512 */
};

#define BIT(n) (1u << (n))

/* One register of one leaf: the bits that announce a group of instructions. */
static const struct { uint32_t leaf, sub; int reg; uint32_t bits; unsigned group; } announced[] = {
    {1, 0, ECX, BIT(12) | BIT(26) | BIT(27) | BIT(28) | BIT(29), HASWELL},
    {7, 0, EBX, BIT(3) | BIT(5) | BIT(8), HASWELL},
    {7, 0, EBX, BIT(16) | BIT(17) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31), SKYLAKE_SP},
    {7, 0, EBX, BIT(21), ICE_LAKE},
    {7, 0, ECX, BIT(1) | BIT(6) | BIT(12) | BIT(14), ICE_LAKE},
    {7, 0, EDX, BIT(2) | BIT(3) | BIT(8), ICE_LAKE},
    {7, 0, ECX, BIT(8) | BIT(9) | BIT(10), GALOIS},
    {7, 0, ECX, BIT(11), VNNI},
    {7, 1, EAX, BIT(4), AVX_VNNI},
    {7, 0, EDX, BIT(22) | BIT(23) | BIT(24) | BIT(25), LATER},
    {7, 1, EAX, BIT(5) | BIT(21) | BIT(23), LATER},
    {7, 1, EDX, BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19), LATER},
};

/* The words of /proc/cpuinfo for the same, the first that fits; a trailing * stands for any ending. */
static const struct { const char *word; unsigned group; } spelled[] = {
    {"avx512_vnni", VNNI},      {"avx512f", SKYLAKE_SP},    {"avx512dq", SKYLAKE_SP}, {"avx512cd", SKYLAKE_SP},
    {"avx512bw", SKYLAKE_SP},   {"avx512vl", SKYLAKE_SP},   {"avx512_bf16", LATER},   {"avx512_fp16", LATER},
    {"avx512*", ICE_LAKE},      {"avx_vnni", AVX_VNNI},     {"avx_*", LATER},         {"avx10*", LATER},
    {"amx_*", LATER},           {"gfni", GALOIS},           {"vaes", GALOIS},         {"vpclmulqdq", GALOIS},
    {"avx", HASWELL},           {"avx2", HASWELL},          {"fma", HASWELL},         {"f16c", HASWELL},
    {"xsave*", HASWELL},        {"bmi*", HASWELL},
};

static const struct { const char *name; unsigned has; } classes[] = {
    {"SSE4.2", 0},
    {"AVX2", HASWELL},
    {"AVX-VNNI", HASWELL | GALOIS | AVX_VNNI},
    {"AVX-512", HASWELL | SKYLAKE_SP},
    {"AVX512-VNNI", HASWELL | SKYLAKE_SP | ICE_LAKE | GALOIS | VNNI},
};

static unsigned hidden;
static struct sigaction theirs; /* what the program would do on SIGSEGV */

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static int next_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    return ((int (*)(int, const struct sigaction *, struct sigaction *))next("sigaction"))(number, action, old);
}

static void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    syscall(SYS_arch_prctl, SET_CPUID, 1);
    __asm__ volatile("cpuid" : "=a"(r[EAX]), "=b"(r[EBX]), "=c"(r[ECX]), "=d"(r[EDX]) : "a"(leaf), "c"(sub));
    syscall(SYS_arch_prctl, SET_CPUID, 0);
    for (size_t i = 0; i < sizeof announced / sizeof *announced; i++)
        if (announced[i].leaf == leaf && (announced[i].sub == sub || leaf == 1) && (announced[i].group & hidden))
            r[announced[i].reg] &= ~announced[i].bits;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)g[REG_RIP];
    if (info->si_code > 0 && info->si_addr == NULL && at[0] == 0x0f && at[1] == 0xa2) {
        int kept = errno;
        uint32_t r[4];
        cpuid((uint32_t)g[REG_RAX], (uint32_t)g[REG_RCX], r);
        g[REG_RAX] = r[EAX], g[REG_RBX] = r[EBX], g[REG_RCX] = r[ECX], g[REG_RDX] = r[EDX];
        g[REG_RIP] += 2;
        errno = kept;
    } else if (theirs.sa_flags & SA_SIGINFO && theirs.sa_sigaction != NULL) {
        theirs.sa_sigaction(number, info, context);
    } else if (theirs.sa_handler != SIG_DFL && theirs.sa_handler != SIG_IGN) {
        theirs.sa_handler(number);
    } else {
        next_sigaction(SIGSEGV, &(struct sigaction){.sa_handler = SIG_DFL}, NULL); /* it faults again, and ends */
        if (info->si_code <= 0)
            raise(number); /* but a signal that somebody sent comes only once */
    }
}

/* The handler stays: a program that sets its own gets what is no CPUID. */
int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    if (number != SIGSEGV || hidden == 0)
        return next_sigaction(number, action, old);
    if (old != NULL)
        *old = theirs;
    if (action != NULL)
        theirs = *action;
    return 0;
}

__sighandler_t signal(int number, __sighandler_t handler)
{
    if (number != SIGSEGV || hidden == 0)
        return ((__sighandler_t(*)(int, __sighandler_t))next("signal"))(number, handler);
    __sighandler_t before = theirs.sa_handler;
    theirs = (struct sigaction){.sa_handler = handler};
    return before;
}

/* A fault that is blocked kills. */
static int masked(const char *name, int how, const sigset_t *set, sigset_t *old)
{
    sigset_t open;
    if (set != NULL && how != SIG_UNBLOCK && hidden != 0) {
        open = *set;
        sigdelset(&open, SIGSEGV);
        set = &open;
    }
    return ((int (*)(int, const sigset_t *, sigset_t *))next(name))(how, set, old);
}

int sigprocmask(int how, const sigset_t *set, sigset_t *old) { return masked("sigprocmask", how, set, old); }
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) { return masked("pthread_sigmask", how, set, old); }

static bool is_hidden(const char *word, size_t length)
{
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++) {
        size_t stem = strcspn(spelled[i].word, "*");
        bool open_end = spelled[i].word[stem] == '*';
        if (length >= stem && strncmp(word, spelled[i].word, stem) == 0 && (open_end || length == stem))
            return spelled[i].group & hidden;
    }
    return false;
}

/* /proc/cpuinfo without the hidden words, in memory. */
static int open_cpuinfo(void)
{
    FILE *in = ((FILE * (*)(const char *, const char *)) next("fopen"))("/proc/cpuinfo", "r");
    if (in == NULL)
        return -1;
    int out = memfd_create("cpuinfo", MFD_CLOEXEC);
    char *line = NULL;
    size_t room = 0;
    while (out >= 0 && getline(&line, &room, in) > 0) {
        char *word = line;
        bool flags = strncmp(line, "flags", 5) == 0;
        while (*word != '\0') {
            size_t length = strcspn(word, " \n"), gap = strspn(word + length, " \n");
            if (!(flags && is_hidden(word, length)))
                dprintf(out, "%.*s", (int)(length + gap), word);
            else if (word[length] == '\n')
                dprintf(out, "\n");
            word += length + gap;
        }
    }
    free(line);
    fclose(in);
    if (out >= 0)
        lseek(out, 0, SEEK_SET);
    return out;
}

static bool is_cpuinfo(const char *path) { return hidden != 0 && path != NULL && strcmp(path, "/proc/cpuinfo") == 0; }

#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...)                                            \
    {                                                                                     \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                                     \
        if (is_cpuinfo(path))                                                             \
            return open_cpuinfo();                                                        \
        return ((int (*)(const char *, int, ...))next(#name))(path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                      \
    int name(int folder, const char *path, int flags, ...)                                \
    {                                                                                     \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                                     \
        if (is_cpuinfo(path))                                                             \
            return open_cpuinfo();                                                        \
        return ((int (*)(int, const char *, int, ...))next(#name))(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                       \
    FILE *name(const char *path, const char *mode)                                        \
    {                                                                                     \
        if (is_cpuinfo(path))                                                             \
            return fdopen(open_cpuinfo(), "r");                                           \
        return ((FILE * (*)(const char *, const char *)) next(#name))(path, mode);        \
    }
FOPEN(fopen)
FOPEN(fopen64)

static void refuse(int code, const char *why, const char *name)
{
    dprintf(2, "hide: %s %s\n", why, name);
    _exit(code);
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("EDGECVX_PROCESSOR");
    if (name == NULL || *name == '\0')
        return;
    size_t i = 0, known = sizeof classes / sizeof *classes;
    while (i < known && strcmp(name, classes[i].name) != 0)
        i++;
    if (i == known)
        refuse(BAD_NAME, "nobody here knows a class of processors", name);
    __builtin_cpu_init();
    const bool contained[] = {
        __builtin_cpu_supports("sse4.2"),
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
        __builtin_cpu_supports("avxvnni"),
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"),
        __builtin_cpu_supports("avx512vnni"),
    };
    _Static_assert(sizeof contained / sizeof *contained == sizeof classes / sizeof *classes, "one for each class");
    if (!contained[i])
        refuse(CANNOT, "this processor is less than", name);
    hidden = ~classes[i].has;
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    next_sigaction(SIGSEGV, &ours, &theirs);
    if (syscall(SYS_arch_prctl, SET_CPUID, 0) != 0)
        refuse(CANNOT, "this processor does not let CPUID fault, so it is no", name);
}
